"""Judges by rule, what counts as a verdict, and the cache: keys, file, crashes, failures, threads, pickles."""

import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from llm_morl_rewards import Problem
from llm_morl_rewards.judge import CachedJudge, DeterministicJudge, JudgeError, cache_key, check_verdicts

P = Problem("Write a note.", target="note", meta={"n": 1})
Q = {"long": "Is it long?", "kind": "Is it kind?"}


def count_commas(problem, response):
    return response.count(",")


class Asked:
    """A judge that counts its calls, and fails or waits when told to."""

    concurrency = 3

    def __init__(self, identity="asked", answer=None, entered=None, leave=None):
        self.identity, self.answer, self.entered, self.leave = identity, answer, entered, leave
        self.calls = []

    def __call__(self, questions, problem, response_a, response_b):
        self.calls.append((response_a, response_b))
        if self.entered is not None:
            self.entered.release()
            assert self.leave.wait(timeout=30)
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict.fromkeys(questions, 0.5) if self.answer is None else self.answer


class TestVerdicts:
    def test_follow_the_questions(self):
        checked = check_verdicts({"kind": np.float32(0.5), "long": -1}, Q)
        assert list(checked.items()) == [("long", -1.0), ("kind", 0.5)]
        assert all(type(value) is float for value in checked.values())

    @pytest.mark.parametrize(
        ("verdicts", "criteria"),
        [
            ({"long": 1}, ("long", "kind")),
            ({"long": 1, "kind": 1, "more": 1}, ("long", "kind")),
            ([1, 1], ("long", "kind")),
            (None, ("long", "kind")),
            ({"long": 1, "kind": 1.01}, ("kind",)),
            ({"long": float("nan"), "kind": 1}, ("long",)),
            ({"long": "1", "kind": 1}, ("long",)),
            ({"long": True, "kind": 1}, ("long",)),
            ({"long": None, "kind": 1}, ("long",)),
        ],
    )
    def test_anything_else_is_an_error(self, verdicts, criteria):
        with pytest.raises(JudgeError) as caught:
            check_verdicts(verdicts, Q)
        assert caught.value.criteria == criteria


class TestJudgeError:
    def test_names_criteria_rows_and_status(self):
        error = JudgeError("no answer", criteria=["long"], status=500).at((3, 5))
        assert str(error) == "no answer (criteria 'long'; rows 3 and 5; HTTP status 500)"
        assert (error.criteria, error.rows, error.status) == (("long",), (3, 5), 500)

    def test_pickles(self):
        error = JudgeError("no answer", criteria=["long"], rows=[1, 2], status=500)
        loaded = pickle.loads(pickle.dumps(error))
        assert (str(loaded), loaded.rows) == (str(error), (1, 2))

    def test_bare(self):
        assert str(JudgeError("no answer")) == "no answer"


class TestDeterministicJudge:
    @pytest.mark.parametrize(
        ("rule", "a", "b", "verdict"),
        [
            ("longer", "a b", "a", 1),
            ("shorter", "a b", "a", -1),
            ("longer", "a b", "b  a", 0),
            (["please", "thank"], "PLEASE, thanks", "please please", 1),
            (["please"], "none", "please", -1),
            (count_commas, "a,b", "a", 1),
        ],
    )
    def test_rules(self, rule, a, b, verdict):
        judge = DeterministicJudge({"long": rule})
        assert judge({"long": "?"}, P, a, b) == {"long": verdict}
        assert judge({"long": "?"}, P, b, a) == {"long": -verdict}

    def test_pickles_and_has_an_identity(self):
        judge = DeterministicJudge({"long": "longer", "kind": ["please"], "commas": count_commas})
        loaded = pickle.loads(pickle.dumps(judge))
        assert loaded == judge
        assert loaded.identity == judge.identity
        assert "test_judge:count_commas" in judge.identity
        assert judge.identity != DeterministicJudge({"long": "shorter"}).identity

    def test_lambdas_have_no_identity(self):
        with pytest.raises(ValueError, match="import path"):
            _ = DeterministicJudge({"long": lambda problem, response: 0.0}).identity

    @pytest.mark.parametrize("rule", ["longest", [], ["a", 3], 3, None])
    def test_other_rules_are_refused(self, rule):
        with pytest.raises(ValueError, match="rule of 'long'"):
            DeterministicJudge({"long": rule})

    def test_question_without_a_rule(self):
        with pytest.raises(KeyError, match=r"no rule for \['kind'\]"):
            DeterministicJudge({"long": "longer"})(Q, P, "a", "b")

    def test_later_change_of_the_callers_rules_does_not_reach_it(self):
        words = ["please"]
        judge = DeterministicJudge({"kind": words})
        words.append("thank")
        assert judge({"kind": "?"}, P, "thank", "") == {"kind": 0.0}


class TestCacheKey:
    BASE = ("judge", Q, P, "a", "b")

    @pytest.mark.parametrize(
        "other",
        [
            ("other", Q, P, "a", "b"),
            ("judge", {**Q, "kind": "Is it very kind?"}, P, "a", "b"),
            ("judge", {"long": Q["long"]}, P, "a", "b"),
            ("judge", Q, Problem("Write.", P.target, P.meta), "a", "b"),
            ("judge", Q, Problem(P.prompt, "other", P.meta), "a", "b"),
            ("judge", Q, Problem(P.prompt, P.target, {"n": 2}), "a", "b"),
            ("judge", Q, P, "b", "a"),
            ("judge", Q, P, "ab", ""),
        ],
    )
    def test_holds_everything(self, other):
        assert cache_key(*other) != cache_key(*self.BASE)

    def test_equal_problems_have_one(self):
        assert cache_key("judge", dict(Q), Problem(P.prompt, "note", {"n": 1}), "a", "b") == cache_key(*self.BASE)

    def test_lone_surrogates_are_texts_too(self):
        assert len(cache_key("judge", Q, P, "\ud800", "b")) == 64

    def test_problem_that_is_no_json(self):
        with pytest.raises(TypeError, match="target and meta are JSON values"):
            cache_key("judge", Q, Problem("a", target={1, 2}), "a", "b")


class TestCachedJudge:
    def test_asks_once(self):
        judge = Asked()
        cached = CachedJudge(judge)
        assert cached(Q, P, "a", "b") == cached(Q, P, "a", "b") == {"long": 0.5, "kind": 0.5}
        assert judge.calls == [("a", "b")]
        cached(Q, P, "b", "a")
        assert len(judge.calls) == len(cached) == 2
        assert (cached.identity, cached.concurrency) == ("asked", 3)

    def test_what_it_returns_is_fresh(self):
        cached = CachedJudge(Asked())
        for _ in range(3):
            verdicts = cached(Q, P, "a", "b")
            assert verdicts == {"long": 0.5, "kind": 0.5}
            verdicts["long"] = -1.0

    def test_file_survives_and_holds_no_texts(self, tmp_path):
        path = tmp_path / "new" / "verdicts.jsonl"
        CachedJudge(Asked(), path)(Q, P, "my response", "b")
        again = Asked()
        assert CachedJudge(again, path)(Q, P, "my response", "b") == {"long": 0.5, "kind": 0.5}
        assert not again.calls
        assert "response" not in path.read_text()
        assert CachedJudge(Asked("another"), path)(Q, P, "my response", "b")
        assert len(path.read_text().splitlines()) == 2

    @pytest.mark.parametrize("left", [1, 5, 40, -40, -2, -1])
    def test_crash_in_the_middle_of_a_write(self, tmp_path, left):
        """Whatever part of the last line was written, the rest is read, and what comes next is written properly."""
        path = tmp_path / "verdicts.jsonl"
        cached = CachedJudge(Asked(), path)
        cached(Q, P, "a", "b")
        first = path.read_bytes()
        cached(Q, P, "c", "d")
        last = path.read_bytes()[len(first) :]
        path.write_bytes(first + last[:left])
        for expected in ([("c", "d"), ("e", "f")], []):
            judge = Asked()
            cached = CachedJudge(judge, path)
            for pair in [("a", "b"), ("c", "d"), ("e", "f")]:
                cached(Q, P, *pair)
            assert judge.calls == [call for call in expected if (left, call) != (-1, ("c", "d"))]

    def test_crash_in_the_very_first_write(self, tmp_path):
        path = tmp_path / "verdicts.jsonl"
        path.write_bytes(b'{"key": "12ab')
        CachedJudge(Asked(), path)(Q, P, "a", "b")
        assert len(CachedJudge(Asked(), path)) == 1

    @pytest.mark.parametrize("text", ["import os\n", '{"criteria": []}\n', "[1]\n", "[" * 100_000])
    def test_another_file_is_refused_and_left_alone(self, tmp_path, text):
        path = tmp_path / "precious"
        path.write_text(text)
        with pytest.raises(ValueError, match="no cache of verdicts"):
            CachedJudge(Asked(), path)
        assert path.read_text() == text

    @pytest.mark.parametrize("verdicts", [{"long": 7, "kind": 0}, {"long": 1}, 3])
    def test_lines_that_are_no_verdicts_are_asked_for_again(self, tmp_path, verdicts):
        path = tmp_path / "verdicts.jsonl"
        CachedJudge(Asked(), path)(Q, P, "x", "y")
        line = {"key": cache_key("asked", Q, P, "a", "b"), "verdicts": verdicts}
        path.write_text(path.read_text() + json.dumps(line) + "\n")
        judge = Asked()
        assert CachedJudge(judge, path)(Q, P, "a", "b") == {"long": 0.5, "kind": 0.5}
        assert judge.calls == [("a", "b")]

    @pytest.mark.parametrize(
        "answer", [JudgeError("no answer"), RuntimeError("asleep"), {"long": 1}, {"long": 1, "kind": 2}]
    )
    def test_failures_are_never_kept(self, tmp_path, answer):
        judge = Asked(answer=answer)
        cached = CachedJudge(judge, tmp_path / "verdicts.jsonl")
        for _ in range(2):
            with pytest.raises((JudgeError, RuntimeError)):
                cached(Q, P, "a", "b")
        assert len(judge.calls) == 2
        assert len(cached) == 0
        assert not (tmp_path / "verdicts.jsonl").exists()
        judge.answer = None
        assert cached(Q, P, "a", "b") == {"long": 0.5, "kind": 0.5}

    def test_failure_to_write_is_an_error(self, tmp_path):
        (tmp_path / "verdicts.jsonl").mkdir()
        with pytest.raises(OSError, match="directory"):
            CachedJudge(Asked(), tmp_path / "verdicts.jsonl")

    def test_threads_share_it(self, tmp_path):
        judge = Asked()
        cached = CachedJudge(judge, tmp_path / "verdicts.jsonl")
        pairs = [(f"a{i % 20}", "b") for i in range(400)]
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda pair: cached(Q, P, *pair), pairs))
        assert answers == [{"long": 0.5, "kind": 0.5}] * 400
        assert sorted(judge.calls) == sorted(set(pairs))
        assert len(CachedJudge(Asked(), tmp_path / "verdicts.jsonl")) == 20

    @pytest.mark.parametrize("answer", [None, JudgeError("no answer")])
    def test_of_threads_that_ask_the_same_at_once_one_asks(self, answer):
        """The judge answers the first thread only after the second had its chance to ask."""
        judge = Asked(answer=answer, entered=threading.Semaphore(0), leave=threading.Event())
        cached = CachedJudge(judge)
        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(cached, Q, P, "a", "b")]
            assert judge.entered.acquire(timeout=30)
            running.append(pool.submit(cached, Q, P, "a", "b"))
            assert not judge.entered.acquire(timeout=0.2)
            judge.leave.set()
            if answer is None:
                assert [future.result(30) for future in running] == [{"long": 0.5, "kind": 0.5}] * 2
            else:
                for future in running:
                    with pytest.raises(JudgeError):
                        future.result(30)
        assert len(judge.calls) == 1

    def test_pickles_without_its_memory(self, tmp_path):
        cached = CachedJudge(DeterministicJudge({"long": "longer", "kind": ["please"]}), tmp_path / "v.jsonl")
        before = cached(Q, P, "a b", "a")
        loaded = pickle.loads(pickle.dumps(cached))
        assert repr(loaded) == repr(cached)
        assert len(loaded) == 1
        assert loaded(Q, P, "a b", "a") == before
        assert len(pickle.loads(pickle.dumps(CachedJudge(cached.judge)))) == 0
