"""Candidates: the same for a problem whatever was asked before, equal from a file, valid by the grammar."""

import json
import pickle
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from fake_writer import FakeWriter
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_morl_env.candidates as candidates_module
from llm_morl_agents.cli import main
from llm_morl_env.candidates import (
    GrammarCandidates,
    ModelCandidates,
    StoredCandidates,
    candidate_scores,
    in_order,
    random_and_oracle,
    write_candidates,
)
from llm_morl_env.data import DataError
from llm_morl_env.envs.choice import ChoiceEnv
from llm_morl_env.language_model import Candidate
from llm_morl_env.registration import make_task

TASK = make_task("toolcall", difficulty="easy")


def same(one, other):
    return one.text == other.text and one.finished == other.finished and np.array_equal(one.log_probs, other.log_probs)


def all_same(one, other):
    return all(same(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "candidates.jsonl"
    source = ModelCandidates(TASK, FakeWriter(TASK), k=4)
    assert write_candidates(path, TASK, source, "train", range(5)) == 5
    assert write_candidates(path, TASK, source, "eval", [0, 1, 3]) == 3
    return path


def test_a_problem_has_the_same_candidates_whatever_was_asked_before():
    alone = ModelCandidates(TASK, FakeWriter(TASK), k=4, seed=3)
    together = ModelCandidates(TASK, FakeWriter(TASK), k=4, seed=3)
    batch = together.candidates("train", [7, 2, 5, 2])
    assert all_same(batch, [alone.candidates("train", [i])[0] for i in (7, 2, 5, 2)])
    assert together.language_model.batches == [3]
    assert alone.language_model.batches == [1, 1, 1]
    assert not all_same(batch, together.candidates("eval", [7, 2, 5, 2]))
    assert not all_same(batch, ModelCandidates(TASK, FakeWriter(TASK), k=4, seed=4).candidates("train", [7, 2, 5, 2]))


def test_the_embedded_model_answers_alike_in_any_batch():
    """Order and texts are the same but for near ties, which the rounding of a machine's matrix products may decide.

    A log-probability in the middle of two roundings may be one unit off.
    """
    unit = 10.0**-candidates_module.DECIMALS
    env = ChoiceEnv(TASK, k=4, language_model="tiny", candidate_seed=99)
    kept, numbers = env.source.language_model, range(64)
    seen = []
    for size in (32, 1):
        candidates_module._KEPT.pop(kept, None)
        env._menus.clear()
        for start in range(0, len(numbers), size):
            env.prepare(numbers[start : start + size], "train")
        seen.append([env._menus["train", number] for number in numbers])
    off, changed = 0, 0
    for together, alone in zip(*seen, strict=True):
        texts = [[(c.text, c.finished) for c in menu.candidates] for menu in (together, alone)]
        if texts[0] != texts[1]:
            changed += 1
            continue
        for one, other in zip(together.candidates, alone.candidates, strict=True):
            np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1.001 * unit)
            assert np.all(one.log_probs <= 0)
        np.testing.assert_allclose(together.observation, alone.observation, atol=0.01)
        off += not np.array_equal(together.observation, alone.observation)
    assert off <= 6
    assert changed <= 2


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.integers(-12, 0), min_size=1, max_size=3), min_size=1, max_size=8))
def test_the_order_on_four_decimals_stays(ten_thousandths):
    """That of earlier files, where equals stood by text."""
    values = [np.array(v, np.float32) / 10_000 for v in ten_thousandths]
    group = [Candidate(str(i), v, np.empty(0), True) for i, v in enumerate(values)]
    mean = [round(float(np.mean(v, dtype=np.float64)), 4) for v in values]
    stored = tuple(group[i] for i in sorted(range(len(group)), key=lambda i: (-mean[i], i)))
    assert [c.text for c in in_order(stored)] == [c.text for c in stored]


def test_near_ties_stay_as_they_were_drawn():
    means = [-0.2001, -0.2, -0.2004, -0.1]
    group = [Candidate(str(i), np.array([m], np.float32), np.empty(0), True) for i, m in enumerate(means)]
    assert [c.text for c in in_order(group)] == ["3", "0", "1", "2"]


def test_a_file_of_more_decimals_is_copied_as_it_is(stored, tmp_path):
    rows = [json.loads(line) for line in stored.read_text().splitlines()]
    for row in rows:
        row["log_probs"] = [[round(v - 0.00005, 5) for v in values] for values in row["log_probs"]]
    stored.write_text("".join(json.dumps(row) + "\n" for row in rows))
    copied = tmp_path / "copied.jsonl"
    write_candidates(copied, TASK, StoredCandidates(TASK, stored, k=4), "train", range(5))
    assert [json.loads(line) for line in copied.read_text().splitlines()] == rows[:5]


def test_candidates_are_kept_for_the_process_and_the_oldest_give_way(monkeypatch):
    monkeypatch.setattr(candidates_module, "KEPT_PROBLEMS", 3)
    writer = FakeWriter(TASK)
    first, second = (ModelCandidates(TASK, writer, k=4) for _ in range(2))
    kept = first.candidates("train", [0, 1, 2])
    assert all_same(kept, second.candidates("train", [0, 1, 2]))
    assert writer.batches == [3]
    second.candidates("train", [3])
    assert writer.batches == [3, 1]
    assert all_same(kept[1:], first.candidates("train", [1, 2]))
    assert writer.batches == [3, 1]
    assert all_same(kept[:1], first.candidates("train", [0]))
    assert writer.batches == [3, 1, 1]


def test_the_likeliest_stand_first():
    for group in ModelCandidates(TASK, FakeWriter(TASK), k=6).candidates("train", range(9)):
        means = [float(np.mean(c.log_probs, dtype=np.float64)) for c in group]
        assert all(a >= b - 1.1e-3 for a, b in pairwise(means))


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"k": True}, {"k": 2, "temperature": 0.0}, {"k": 2, "temperature": np.inf}]
)
def test_wrong_options_of_a_model_source_are_refused(options):
    with pytest.raises(ValueError, match=r"(k|temperature) must be .*got"):
        ModelCandidates(TASK, FakeWriter(TASK), **options)


def test_a_file_gives_back_what_was_written(stored):
    source, read = ModelCandidates(TASK, FakeWriter(TASK), k=4), StoredCandidates(TASK, stored, k=4)
    for split, numbers in (("train", [4, 0, 2]), ("eval", [3, 1])):
        assert all_same(read.candidates(split, numbers), source.candidates(split, numbers))
    assert (read.covered("train"), read.covered("eval"), read.covered("unseen")) == (5, 2, 0)
    assert all_same(pickle.loads(pickle.dumps(read)).candidates("eval", [3]), read.candidates("eval", [3]))
    fewer = StoredCandidates(TASK, stored, k=2).candidates("train", [1])[0]
    assert all(same(*pair) for pair in zip(fewer, read.candidates("train", [1])[0], strict=False))


def test_a_problem_that_a_file_lacks_is_named(stored):
    with pytest.raises(ValueError, match=r"holds none for problem 2 of 'eval'; problems by split: .*'train': 5"):
        StoredCandidates(TASK, stored, k=4).candidates("eval", [2])


def test_a_file_of_another_task_is_found_out(stored):
    other = make_task("toolcall", difficulty="hard")
    with pytest.raises(DataError, match=r"row 2, column 'prompt': is not the prompt of problem 1 of 'train'"):
        StoredCandidates(other, stored, k=4).candidates("train", [1])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("split", None, "must be a text"),
        ("problem", -1, "must be a number from 0, got -1"),
        ("problem", True, "must be a number from 0, got True"),
        ("problem", 0, "problem 0 of 'train' is there already"),
        ("texts", ["a", "b"], "must hold at least k=4 texts, got 2"),
        ("texts", ["a", "b", "c", 4], "must hold at least k=4 texts"),
        ("log_probs", [[0.0]], "for each of 4 texts, a list of numbers of at most 0"),
        ("log_probs", [[0.1], [], [], []], "a list of numbers of at most 0"),
        ("finished", [1, 0, 1, 0], "must hold true or false for each of 4 texts"),
    ],
)
def test_a_malformed_row_is_named_with_its_field(stored, field, value, message):
    rows = stored.read_text().splitlines()
    rows[1] = json.dumps({**json.loads(rows[1]), field: value})
    stored.write_text("\n".join(rows))
    with pytest.raises(DataError, match=f"row 2, column '{field}': .*{message}"):
        StoredCandidates(TASK, stored, k=4)


def test_a_missing_field_is_named(stored):
    rows = stored.read_text().splitlines()
    rows[2] = json.dumps({key: value for key, value in json.loads(rows[2]).items() if key != "finished"})
    stored.write_text("\n".join(rows))
    with pytest.raises(DataError, match="row 3, column 'finished': is missing"):
        StoredCandidates(TASK, stored, k=4)


@pytest.mark.parametrize("name", ["dentfront", "contextfront", "unlock", "lengthtrap", "toolcall"])
def test_a_grammar_draws_distinct_valid_responses(name):
    task = make_task(name)
    source, tokenizer = GrammarCandidates(task, k=6), task.tokenizer
    groups = source.candidates("eval", [0, 0])
    assert all_same(groups[:1], groups[1:])
    assert len({c.text for c in groups[0]}) == 6
    for candidate in groups[0]:
        written = []
        ids = [*tokenizer.encode(candidate.text), *([tokenizer.eos_id] if candidate.finished else [])]
        if len(ids) != len(candidate.log_probs):  # the canonical encoding may be another than what was drawn
            assert name == "toolcall"
            continue
        for token, log_prob in zip(ids, candidate.log_probs, strict=True):
            allowed = task.grammar.allowed(task.with_split("eval")[0], written)
            assert allowed[token]
            assert log_prob == pytest.approx(-np.log(allowed.sum()), abs=6e-4)
            written.append(token)


def test_a_grammar_of_few_responses_repeats_them():
    task = make_task("dentfront", letters=2, length=1)
    texts = [c.text for c in GrammarCandidates(task, k=5).candidates("train", [0])[0]]
    assert sorted(texts) in (["a", "a", "a", "b", "b"], ["a", "a", "b", "b", "b"])


def test_no_grammar_is_named():
    from dataclasses import replace

    with pytest.raises(ValueError, match="task 'toolcall' has no grammar; write candidates by a model"):
        GrammarCandidates(replace(TASK, grammar=None), k=2)


def test_scores_are_what_the_text_view_pays():
    source = ModelCandidates(TASK, FakeWriter(TASK), k=4)
    scores = candidate_scores(TASK, source, [3, 1], split="eval")
    assert scores.shape == (2, 4, 3)
    env = gym.make("ToolCall-MO-v0", view="text", difficulty="easy")
    for row, number in enumerate((3, 1)):
        for i, candidate in enumerate(source.candidates("eval", [number])[0]):
            env.reset(options={"problem": number, "split": "eval"})
            assert np.array_equal(scores[row, i].astype(np.float32), env.step(candidate.text)[1])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_the_oracle_is_the_best_of_all_choices(seed):
    rng = np.random.default_rng(seed)
    scores, weights = rng.normal(size=(5, 4, 3)), rng.dirichlet(np.ones(3), 6)
    random, oracle = random_and_oracle(scores, weights)
    for choice in rng.integers(4, size=(20, 5)):
        utility = (scores[np.arange(5), choice] @ weights.T).mean(axis=0)
        assert (utility <= oracle + 1e-12).all()
    slots = [(scores[:, i] @ weights.T).mean(axis=0) for i in range(4)]
    np.testing.assert_allclose(random, np.mean(slots, axis=0))
    assert (random <= oracle).all()


def test_the_command_writes_what_the_choice_view_reads(tmp_path, capsys):
    path = tmp_path / "dent.jsonl"
    command = ["candidates", "--env", "DentFront-MO-v0", "--n", "3", "--k", "4", "--out", str(path)]
    assert main([*command, "--split", "train", "eval"]) == 0
    shown = capsys.readouterr().out
    assert "at random" in shown
    assert "2 problems in" in shown  # there is one in each split
    assert not list(tmp_path.glob("*.part"))
    env = gym.make("DentFront-MO-v0", view="choice", k=4, candidates=str(path))
    env.reset(seed=0)
    drawn = GrammarCandidates(make_task("dentfront"), k=4).candidates("train", [0])[0]
    assert [c.text for c in env.unwrapped.source.candidates("train", [0])[0]] == [c.text for c in drawn]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "0"], "n must be at least 1, got 0"),
        (["--source", "oracle"], "source must be auto, model or grammar, got 'oracle'"),
        (["--env", "ToolCall-MultiTurn-MO-v0"], "is a dialogue"),
        (["--env", "DentFront-MO-v0", "--temperature", "2"], "belongs to candidates='model'"),
        (["--split", "later"], "split must be one of"),
    ],
)
def test_mistakes_on_the_command_line_are_told_in_a_line(arguments, message, tmp_path, capsys):
    assert main(["candidates", "--out", str(tmp_path / "x.jsonl"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
