"""Masks of the summarisation task: golds may be written, nothing but clauses can, and there is always an end."""

import pickle

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from llm_morl_env import make_env
from llm_morl_env.tasks.building import SPLITS
from llm_morl_env.tasks.letters import letters_tokenizer
from llm_morl_env.tasks.summarize import summarize_task
from llm_morl_env.tasks.summarize_grammar import SummaryGrammar, splits_by_clause
from llm_morl_env.tasks.summarize_problems import TIERS
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem
from llm_morl_rewards.summary import split_clauses

TOKENIZER = TextTokenizer()
PROBLEM = Problem("", {"keys": ["color", "age"], "values": ["red", "1", "12"]})


def following(text, cap=80, problem=PROBLEM):
    """The tokens that may follow a text, as texts; "" is the end."""
    mask = SummaryGrammar(TOKENIZER, cap).allowed(problem, TOKENIZER.encode(text))
    return {TOKENIZER.decode([i]) for i in np.flatnonzero(mask)}


def test_clause_by_clause():
    assert following("") == {"c", "age", ""}  # an empty summary may end
    assert following("c") == {"ol"}
    assert following("color") == {" re", " "}
    assert following("color re") == {"d"}
    assert following("color red") == {"", ";"}
    assert following("color red;") == {" a"}
    assert following("age 1") == {"2", "", ";"}  # 1 and 12 are both values
    assert following("age 12") == {"", ";"}
    assert following("age 12; color red") == {""}  # no key is left
    assert following("age 12;") == {" c"}


@pytest.mark.parametrize(
    "text",
    ["red", "color blue", "color red; color", "color red; color 1;", "color red ", ";", "<think>", "color;", "é"],
)
def test_what_has_left_the_grammar_may_only_end(text):
    assert following(text) == {""}


def test_only_what_fits_into_the_cap_is_begun():
    gold = "color red; age 12"
    need = TOKENIZER.count(gold) + 1
    assert ";" in following("color red", cap=need)
    assert "2" in following("color red; age 1", cap=need)
    assert following("color red; age 1", cap=need - 1) == {""}
    assert following("color red", cap=need - 2) == {""}
    assert following("", cap=1) == {""}
    assert following("color red", cap=TOKENIZER.count("color red")) == {""}


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_golds_are_admitted(difficulty, split):
    task = summarize_task(difficulty=difficulty).with_split(split)
    for index in range(60):
        problem = task[index]
        ids = [*TOKENIZER.encode(problem.meta["gold"]), TOKENIZER.eos_id]
        for written, token in enumerate(ids):
            mask = task.grammar.allowed(problem, ids[:written])
            assert mask[token]
            assert not mask.all()


@pytest.mark.parametrize("cap", [3, 12, 80])
def test_whatever_the_masks_let_be_written_is_clauses_within_the_cap(cap):
    task = summarize_task(difficulty="hard", max_response_tokens=cap)
    rng, lengths = np.random.default_rng(0), []
    for index in range(60):
        problem, ids = task[index], []
        while True:
            mask = task.grammar.allowed(problem, ids)
            assert mask.any()
            token = int(rng.choice(np.flatnonzero(mask)))
            if token == TOKENIZER.eos_id:
                break
            ids.append(token)
        text = TOKENIZER.decode(ids)
        assert len(ids) < cap
        assert TOKENIZER.encode(text) == ids  # as the tokenizer itself writes it
        clauses = split_clauses(text)
        assert {key for key, _ in clauses} <= {*problem.target["keys"]}
        assert {value for _, value in clauses} <= {*problem.target["values"]}
        assert len({key for key, _ in clauses}) == len(clauses)
        lengths.append(len(clauses))
    assert max(lengths) > 1 or cap < 80


def test_masks_are_fresh_and_the_grammar_is_picklable():
    grammar = pickle.loads(pickle.dumps(SummaryGrammar(TOKENIZER, 80)))
    mask = grammar.allowed(PROBLEM, [])
    mask[:] = False
    assert grammar.allowed(PROBLEM, []).any()


def test_the_token_view_follows_the_masks_to_the_top():
    env = make_env(task="summarize", split="eval", objectives=("coverage", "faithfulness"))
    for index in range(5):
        env.reset(options={"problem": index})
        for token in [*TOKENIZER.encode(env.task[index].meta["gold"]), TOKENIZER.eos_id]:
            assert env.action_masks()[token]
            _, rewards, terminated, *_ = env.step(token)
        assert terminated
        assert rewards.tolist() == [1.0, 1.0]


def one_token_a_word(tmp_path, split):
    """A tokenizer whose only tokens are what the pre-tokenizer cuts; unknown text is one token."""
    tokenizer = Tokenizer(models.WordLevel({"<eos>": 0, "<unk>": 1, ";": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    tokenizer.add_special_tokens(["<eos>"])
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return TextTokenizer(path)


def test_tokenizers_whose_tokens_run_across_clauses_have_neither_masks_nor_front(tmp_path):
    assert splits_by_clause(TOKENIZER)
    whole = one_token_a_word(tmp_path, pre_tokenizers.Split("\n", "removed"))
    assert not splits_by_clause(whole)
    assert not splits_by_clause(letters_tokenizer(8))
    task = summarize_task(tokenizer=whole)
    assert task.grammar is None
    assert task.front is None
    with pytest.raises(ValueError, match="no known Pareto front"):
        task.pareto_front()
