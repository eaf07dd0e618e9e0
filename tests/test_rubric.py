"""Rubrics as data: the rules of each field, files, round trips, scores of single checks."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from llm_morl_rewards import Problem
from llm_morl_rewards.rubric import CheckError, Criterion, Rubric, RubricError

ROOT = Path(__file__).resolve().parents[1]
P = Problem("")
BRIEF = {"name": "brief", "kind": "check", "check": "max_words", "parameters": {"count": 2}}
CLEAR = {"name": "clear", "kind": "question", "question": "Is it clear?"}
FULL = {
    "criteria": [
        {**BRIEF, "hard": True, "group": "form"},
        {
            "name": "list",
            "kind": "check",
            "check": "matches",
            "parameters": {"pattern": "^- ", "flags": "m"},
            "weight": 3,
        },
        {"name": "own", "kind": "check", "check": "test_rubric:half", "polarity": -1},
        {**CLEAR, "group": "form", "weight": 0.5},
    ]
}


def half(problem, response):
    return 0.5


def scaled(problem, response, *, by):
    return len(response) * by


def returns(value):
    return lambda problem, response: value


class TestCriterion:
    def test_defaults(self):
        criterion = Criterion(**CLEAR)
        assert (criterion.weight, criterion.polarity, criterion.hard, criterion.group) == (1.0, 1, False, None)
        assert criterion.objective == "clear"
        assert Criterion(**CLEAR, group="style").objective == "style"

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": 3}, "name"),
            ({"kind": "score"}, "kind"),
            ({"weight": 0}, "weight"),
            ({"weight": -1}, "weight"),
            ({"weight": float("nan")}, "weight"),
            ({"weight": float("inf")}, "weight"),
            ({"weight": True}, "weight"),
            ({"weight": "1"}, "weight"),
            ({"polarity": 0}, "polarity"),
            ({"polarity": 1.0}, "polarity"),
            ({"polarity": True}, "polarity"),
            ({"hard": "yes"}, "hard"),
            ({"group": ""}, "group"),
            ({"group": 3}, "group"),
            ({"parameters": ["count"]}, "parameters"),
            ({"parameters": {}}, "parameters"),
            ({"parameters": {"count": -1}}, "parameters"),
            ({"parameters": {"words": 3}}, "parameters"),
            ({"question": "Is it brief?"}, "question"),
            ({"check": None}, "check"),
            ({"check": "no_such"}, "check"),
            ({"check": "module:"}, "check"),
            ({"check": ":function"}, "check"),
            ({"check": 3}, "check"),
        ],
    )
    def test_rules_of_a_check(self, changes, field):
        with pytest.raises(RubricError, match=rf"criterion .*: field '{field}'"):
            Criterion(**{**BRIEF, **changes})

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"question": None}, "question"),
            ({"question": " "}, "question"),
            ({"check": "max_words"}, "check"),
            ({"parameters": {"count": 3}}, "parameters"),
            ({"hard": True}, "hard"),
        ],
    )
    def test_rules_of_a_question(self, changes, field):
        with pytest.raises(RubricError, match=rf"criterion 'clear': field '{field}' .*, got "):
            Criterion(**{**CLEAR, **changes})

    def test_later_change_of_the_callers_parameters_does_not_reach_it(self):
        parameters = {"texts": ["tea"]}
        criterion = Criterion("tea", "check", check="contains", parameters=parameters)
        parameters["texts"].append("milk")
        assert criterion.score(P, "tea") == 1.0

    def test_import_paths_are_imported_when_tried_only(self):
        criterion = Criterion("own", "check", check="no_such_module:check")
        with pytest.raises(
            RubricError, match="criterion 'own': field 'check' 'no_such_module:check' cannot be imported"
        ):
            criterion.try_check()

    def test_parameters_must_fit_an_own_check(self):
        Criterion("own", "check", check=scaled, parameters={"by": 0.1}).try_check()
        with pytest.raises(
            RubricError, match=r"criterion 'own': field 'parameters'.*unexpected keyword argument 'times'"
        ):
            Criterion("own", "check", check=scaled, parameters={"by": 0.1, "times": 3}).try_check()


class TestScore:
    @pytest.mark.parametrize(
        ("value", "polarity", "hard", "score"),
        [
            (True, 1, False, 1.0),
            (np.bool_(False), 1, False, 0.0),
            (0.25, 1, False, 0.25),
            (np.float32(0.25), -1, False, 0.75),
            (True, -1, False, 0.0),
            (1, 1, True, 1.0),
            (0.99, 1, True, 0.0),
            (0.01, -1, True, 0.0),
            (False, -1, True, 1.0),
        ],
    )
    def test_polarity_and_constraints(self, value, polarity, hard, score):
        criterion = Criterion("own", "check", check=returns(value), polarity=polarity, hard=hard)
        made = criterion.score(P, "")
        assert made == score
        assert type(made) is float

    def test_parameters_are_given(self):
        assert Criterion("own", "check", check="test_rubric:scaled", parameters={"by": 0.1}).score(P, "ab") == 0.2

    @pytest.mark.parametrize("value", [1.01, -0.01, float("nan"), None, "1", [1.0]])
    def test_what_is_no_score(self, value):
        with pytest.raises(CheckError, match="criterion 'own': a check must return a bool or"):
            Criterion("own", "check", check=returns(value)).score(P, "")

    def test_fault_in_a_check_propagates(self):
        def broken(problem, response):
            return problem.meta["missing"]

        with pytest.raises(CheckError, match=r"criterion 'own': the check failed: KeyError\('missing'\)") as caught:
            Criterion("own", "check", check=broken).score(P, "")
        assert isinstance(caught.value.__cause__, KeyError)

    @pytest.mark.parametrize(("polarity", "hard"), [(1, False), (-1, False), (-1, True)])
    def test_time_limit_is_an_error_or_the_floor(self, polarity, hard):
        parameters = {"pattern": "(a|aa)+$", "timeout_s": 0.02}
        slow = Criterion("slow", "check", check="matches", parameters=parameters, polarity=polarity, hard=hard)
        response = "a" * 60 + "!"
        with pytest.raises(CheckError, match=r"criterion 'slow': the pattern '\(a\|aa\)\+\$' ran for 0.02 s"):
            slow.score(P, response)
        assert slow.score(P, response, on_timeout="floor") == 0.0


class TestRubric:
    def test_from_dict(self):
        rubric = Rubric.from_dict(FULL)
        assert rubric.names == ("brief", "list", "own", "clear")
        assert [c.objective for c in rubric.criteria] == ["form", "list", "own", "form"]
        assert rubric.criteria[1].parameters == {"pattern": "^- ", "flags": "m"}

    def test_round_trip(self):
        rubric = Rubric.from_dict(FULL)
        assert rubric.to_dict() == FULL
        for text in (json.dumps(rubric.to_dict()), json.dumps(json.loads(json.dumps(FULL)))):
            assert Rubric.from_dict(json.loads(text)) == rubric
        assert pickle.loads(pickle.dumps(rubric)) == rubric

    @pytest.mark.parametrize(("name", "write"), [("rubric.json", json.dumps), ("rubric.toml", tomli_w.dumps)])
    def test_files(self, tmp_path, name, write):
        (tmp_path / name).write_text(write(FULL), encoding="utf-8")
        rubric = Rubric.from_file(tmp_path / name)
        assert rubric == Rubric.from_dict(FULL)
        assert rubric == Rubric.from_file(str(tmp_path / name))

    def test_what_to_dict_gives_is_fresh(self):
        rubric = Rubric.from_dict(FULL)
        rubric.to_dict()["criteria"][0]["parameters"]["count"] = 99
        assert rubric.to_dict() == FULL

    def test_callables_are_no_data(self):
        with pytest.raises(RubricError, match="criterion 'own': field 'check' must be an import path"):
            Rubric([Criterion("own", "check", check=half)]).to_dict()

    @pytest.mark.parametrize(
        ("data", "rule"),
        [
            ([], "one key 'criteria', got"),
            ({}, r"one key 'criteria', got \[\]"),
            ({"criteria": [CLEAR], "name": "x"}, r"got \['criteria', 'name'\]"),
            ({"criteria": []}, "at least one criterion"),
            ({"criteria": "clear"}, "must be a list of tables, got 'clear'"),
            ({"criteria": [3]}, "entry 0 of 'criteria' must be a table, got 3"),
            (
                {"criteria": [CLEAR, {**BRIEF, "wieght": 3}]},
                r"criterion 'brief': field 'wieght' is unknown; known are \[",
            ),
            ({"criteria": [CLEAR, {"kind": "check"}]}, "criterion number 2: field 'name' is missing"),
            ({"criteria": [{"name": "clear"}]}, "criterion 'clear': field 'kind' is missing"),
            ({"criteria": [{**CLEAR, "weight": -1}]}, "criterion 'clear': field 'weight' must be .*, got -1"),
            ({"criteria": [CLEAR, BRIEF, CLEAR]}, "criterion 'clear': field 'name' must be distinct"),
            (
                {"criteria": [CLEAR, {**BRIEF, "group": "clear"}]},
                "criterion 'brief': field 'group' must not be the name",
            ),
            (
                {"criteria": [{**BRIEF, "group": "clear"}, CLEAR]},
                "criterion 'brief': field 'group' must not be the name",
            ),
        ],
    )
    def test_what_is_no_rubric(self, data, rule):
        with pytest.raises(RubricError, match=rule):
            Rubric.from_dict(data)

    def test_group_may_be_named_like_a_member(self):
        assert Rubric.from_dict({"criteria": [{**CLEAR, "group": "clear"}, {**BRIEF, "group": "clear"}]})

    def test_entries_are_criteria(self):
        with pytest.raises(RubricError, match="entry 0 of a rubric must be a Criterion"):
            Rubric([CLEAR])

    @pytest.mark.parametrize(
        ("name", "content", "rule"),
        [
            ("rubric.yaml", "", "suffix of a rubric must be one of"),
            ("rubric.toml", "criteria = [", "rubric.toml: "),
            ("rubric.json", "{", "rubric.json: Expecting"),
            ("rubric.json", '{"criteria": [{"name": "x"}]}', "rubric.json: criterion 'x': field 'kind' is missing"),
        ],
    )
    def test_bad_files_are_named(self, tmp_path, name, content, rule):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(RubricError, match=rule):
            Rubric.from_file(tmp_path / name)

    def test_file_that_is_no_text(self, tmp_path):
        (tmp_path / "rubric.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(RubricError, match=r"rubric.toml: .*decode"):
            Rubric.from_file(tmp_path / "rubric.toml")

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            Rubric.from_file(tmp_path / "rubric.toml")


def test_the_file_of_the_documentation_is_the_one_shown():
    text = (ROOT / "docs" / "rubric.toml").read_text(encoding="utf-8")
    assert f"```toml\n{text}```" in (ROOT / "docs" / "rubrics.md").read_text(encoding="utf-8")
    assert Rubric.from_file(ROOT / "docs" / "rubric.toml").names == ("brief", "no_phrases", "says_why", "pushy")
