"""The masks of the mathematics task: gold answers pass, and only well-formed solutions can be written."""

import pickle
import re

import numpy as np
import pytest

from llm_morl_env.tasks.building import SPLITS
from llm_morl_env.tasks.math_grammar import MAX_STEPS, MathGrammar
from llm_morl_env.tasks.math_problems import TIERS, math_problems
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem

TOKENIZER = TextTokenizer()
GRAMMAR = MathGrammar(TOKENIZER, max_response_tokens=64)
PROBLEM = Problem("")
NUMBER = r"-?(?:0|[1-9]\d{0,3})"
STEP = rf"(?:(?:first|then|next), )?{NUMBER}(?: [-+*/] {NUMBER}){{1,2}} = {NUMBER}\. "
RESPONSE = re.compile(rf"(?:{STEP}){{0,{MAX_STEPS}}}answer: {NUMBER}")


def walk(grammar, rng):
    ids = []
    for _ in range(grammar.max_response_tokens):
        token = int(rng.choice(np.flatnonzero(grammar.allowed(PROBLEM, ids))))
        if token == TOKENIZER.eos_id:
            return TOKENIZER.decode(ids)
        ids.append(token)
    raise AssertionError(f"no end within the cap: {TOKENIZER.decode(ids)!r}")


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("tier", TIERS)
def test_gold_answers_are_accepted_token_by_token(tier, split):
    for problem in math_problems(TIERS[tier], split, seed=0, count=TOKENIZER.count)[:60]:
        ids = [*TOKENIZER.encode(problem.meta["gold"]), TOKENIZER.eos_id]
        refused = [k for k, token in enumerate(ids) if not GRAMMAR.allowed(problem, ids[:k])[token]]
        assert not refused, (problem.meta["gold"], refused)


@pytest.mark.parametrize(
    "text", ["answer: 5", "first, 1 + 2 + 3 = 6. then, 6 / 2 = 3. next, 3 * 3 = 9. answer: 9", "2 - 5 = -3. answer: -3"]
)
def test_other_forms_are_accepted(text):
    ids = [*TOKENIZER.encode(text), TOKENIZER.eos_id]
    assert all(GRAMMAR.allowed(PROBLEM, ids[:k])[token] for k, token in enumerate(ids))


@pytest.mark.parametrize("cap", [8, 16, 24, 64])
def test_random_walks_are_well_formed_and_end(cap):
    grammar, rng = MathGrammar(TOKENIZER, max_response_tokens=cap), np.random.default_rng(cap)
    texts = [walk(grammar, rng) for _ in range(25)]
    assert [text for text in texts if not RESPONSE.fullmatch(text)] == []
    assert len(set(texts)) > 10
    if cap == 64:
        assert {text.count("=") for text in texts} >= {0, 1, 2}
        assert any(text.startswith("first, ") for text in texts)


@pytest.mark.parametrize("cap", [1, 3, 6])
def test_a_cap_too_small_forces_the_shortest_answer(cap):
    grammar, ids = MathGrammar(TOKENIZER, max_response_tokens=cap), []
    while (token := int(np.flatnonzero(grammar.allowed(PROBLEM, ids))[0])) != TOKENIZER.eos_id:
        ids.append(token)
        assert len(ids) < 20
    assert re.fullmatch(r"answer: \d", TOKENIZER.decode(ids))


@pytest.mark.parametrize("text", ["x", "answer 5", "5 = 5", "5 + 5.", "then 5", "<answer>", "answer: 5 ", "12345"])
def test_off_the_grammar_only_the_end_is_left(text):
    assert np.flatnonzero(GRAMMAR.allowed(PROBLEM, TOKENIZER.encode(text))).tolist() == [TOKENIZER.eos_id]


@pytest.mark.parametrize("ids", [[0], [1], [2, 2], [10**6], [-1]])
def test_specials_and_unknown_ids_leave_the_grammar(ids):
    assert np.flatnonzero(GRAMMAR.allowed(PROBLEM, ids)).tolist() == [TOKENIZER.eos_id]


def test_masks_are_fresh_and_copies_answer_alike():
    ids = TOKENIZER.encode("12 + 7 = 19. answer: 19")
    before = len(pickle.dumps(GRAMMAR))
    again = pickle.loads(pickle.dumps(GRAMMAR))
    for k in range(len(ids)):
        mask = GRAMMAR.allowed(PROBLEM, ids[:k])
        expected = mask.copy()
        mask[:] = False
        np.testing.assert_array_equal(GRAMMAR.allowed(PROBLEM, ids[:k]), expected)
        np.testing.assert_array_equal(again.allowed(PROBLEM, np.array(ids[:k])), expected)
        assert expected.shape == (TOKENIZER.vocab_size,)
    assert len(pickle.dumps(GRAMMAR)) == before < 1000


def test_a_cap_below_one_is_an_error():
    with pytest.raises(ValueError, match=r"max_response_tokens=\) must be at least 1, got 0"):
        MathGrammar(TOKENIZER, max_response_tokens=0)
