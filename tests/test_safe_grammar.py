"""Masks of the help-and-harm task: golds are admitted, and masks are never empty."""

import pickle

import numpy as np
import pytest

from llm_morl_env.tasks.building import SPLITS
from llm_morl_env.tasks.safe_grammar import SafeGrammar, answer_texts
from llm_morl_env.tasks.safe_requests import TIERS, safe_problems
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem

TOKENIZER = TextTokenizer()
GRAMMAR = SafeGrammar(TOKENIZER, max_response_tokens=40)


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_gold_full_and_short_answers_are_admitted(difficulty, split):
    problems = safe_problems(TIERS[difficulty], split, seed=0, count=TOKENIZER.count)
    for index in range(100):
        for name in ("gold", "full", "short"):
            ids = [*TOKENIZER.encode(problems[index].meta[name]), TOKENIZER.eos_id]
            for place, token in enumerate(ids):
                mask = GRAMMAR.allowed(problems[index], ids[:place])
                assert mask[token], (problems[index].meta[name], place)
                assert 1 <= mask.sum() < 80


def test_random_walks_end_and_stay_inside():
    rng, ended = np.random.default_rng(0), 0
    for _ in range(200):
        ids: list[int] = []
        while len(ids) <= 40:
            token = int(rng.choice(np.flatnonzero(GRAMMAR.allowed(Problem(""), ids))))
            if token == TOKENIZER.eos_id:
                break
            ids.append(token)
        assert len(ids) <= 40
        ended += len(ids) < 40
    assert ended > 20


def test_off_the_grammar_and_at_the_cap_only_the_end_is_left():
    inside = TOKENIZER.encode(answer_texts()[0])[:1]
    for ids in ([TOKENIZER.pad_id], [10**6], inside * 40):
        assert np.flatnonzero(GRAMMAR.allowed(Problem(""), ids)).tolist() == [TOKENIZER.eos_id]


def test_it_is_small_when_pickled_and_refuses_no_room():
    data = pickle.dumps(GRAMMAR)
    assert len(data) < 1000
    assert (pickle.loads(data).allowed(Problem(""), []) == GRAMMAR.allowed(Problem(""), [])).all()
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        SafeGrammar(TOKENIZER, max_response_tokens=0)
