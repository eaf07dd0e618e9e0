"""Procedural word problems: solutions, tiers, hold-outs, strata; and the grammar of their solutions."""

import pickle
import re
from collections import Counter

import pytest

from llm_morl_env.tasks.building import EVAL_SIZE, SPLITS, TRAIN_SIZE
from llm_morl_env.tasks.math_problems import (
    DISTRACTORS,
    FOLLOW_UPS,
    HOLD_OUT,
    NAMES,
    OPENINGS,
    QUESTIONS,
    THINGS,
    TIERS,
    UNSEEN_NAMES,
    UNSEEN_THINGS,
    chain_shares,
    math_problems,
)
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards.math_equations import solve

TOKENIZER = TextTokenizer()
CASES = [(tier, split) for tier in TIERS for split in SPLITS]


def make(tier, split, seed=0):
    return math_problems(TIERS[tier], split, seed=seed, count=TOKENIZER.count)


def operations_of(problem):
    """Left, operator, right, result of each step of the gold answer."""
    found = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)\.", problem.meta["gold"])
    return [(int(left), operator, int(right), int(result)) for left, operator, right, result in found]


def filled(phrase):
    """The phrase as a pattern."""
    escaped = re.sub(r"\\{([abd])\\}", r"[0-9]+", re.escape(phrase))
    return re.compile(re.sub(r"\\{[nmtu]\\}", r"[a-z]+", escaped))


@pytest.mark.parametrize(("tier", "split"), CASES)
def test_solutions_are_right_and_start_from_the_numbers_told(tier, split):
    problems = make(tier, split)
    for index in range(300):
        problem = problems[index]
        steps, before = operations_of(problem), None
        assert len(steps) == problem.meta["steps"] == len(problem.meta["chain"])
        assert "".join(operator for _, operator, _, _ in steps) == problem.meta["chain"]
        told = Counter(re.findall(r"\d+", problem.prompt))
        needed = Counter([str(steps[0][0]), *(str(right) for _, _, right, _ in steps)])
        assert not needed - told, problem.prompt
        for left, operator, right, result in steps:
            assert before in (None, left)
            assert solve(f"{left} {operator} {right}")[0].result == result
            assert 1 <= result <= TIERS[tier].most
            before = result
        assert problem.target == str(before)
        assert problem.meta["gold"].endswith(f" answer: {before}")
        assert problem.prompt == problem.prompt.lower()


@pytest.mark.parametrize("tier", TIERS)
def test_tiers_differ_as_they_say(tier):
    problems = make(tier, "train")[:600]
    steps = {len(operations_of(problem)) for problem in problems}
    extra = {len(re.findall(r"\d+", problem.prompt)) - 1 - len(operations_of(problem)) for problem in problems}
    assert steps == {"easy": {1}, "standard": {1, 2}, "hard": {2, 3}}[tier]
    assert extra == ({1, 2} if tier == "hard" else {0})
    largest = max(max(left, right, result) for problem in problems for left, _, right, result in operations_of(problem))
    assert largest <= TIERS[tier].most
    two_digit = any(op == "*" and a > 9 and b > 9 for p in problems for a, op, b, _ in operations_of(p))
    assert two_digit == (tier == "hard")


@pytest.mark.parametrize(("tier", "split"), CASES)
def test_lengths(tier, split):
    problems = make(tier, split)[:300]
    assert max(TOKENIZER.count(problem.prompt) for problem in problems) <= 120
    assert max(TOKENIZER.count(problem.meta["gold"]) for problem in problems) <= 60
    for problem in problems:
        assert problem.meta["conciseness_target"] == TOKENIZER.count(f"answer: {problem.target}")
        assert problem.meta["conciseness_cap"] == 1.5 * TOKENIZER.count(problem.meta["gold"])


@pytest.mark.parametrize("tier", TIERS)
def test_evaluation_holds_out_numbers_and_phrasings(tier):
    keys = {}
    for split in SPLITS:
        keys[split] = set()
        for problem in make(tier, split)[:EVAL_SIZE]:
            steps = operations_of(problem)
            numbers = (steps[0][0], *(right for _, _, right, _ in steps))
            keys[split].add((problem.meta["chain"], numbers))
            held = sum(place * number for place, number in enumerate(numbers, start=1)) % HOLD_OUT == 0
            assert held == (split != "train")
    assert not keys["train"] & (keys["eval"] | keys["unseen"])
    groups = [*OPENINGS.values(), *FOLLOW_UPS.values(), QUESTIONS, DISTRACTORS]
    training = " ".join(problem.prompt for problem in make(tier, "train")[:1000])
    for phrases in groups:
        assert not filled(phrases[-1]).search(training), phrases[-1]
    for problem in make(tier, "eval"):
        sentences = [filled(phrases[-1]).search(problem.prompt) for phrases in groups[:-1]]
        assert sum(map(bool, sentences)) >= 1, problem.prompt


def test_every_phrasing_of_training_is_met():
    texts = " ".join(problem.prompt for tier in TIERS for problem in make(tier, "train")[:1000])
    for phrases in [*OPENINGS.values(), *FOLLOW_UPS.values(), QUESTIONS, DISTRACTORS]:
        for phrase in phrases[:-1]:
            assert filled(phrase).search(texts), phrase


@pytest.mark.parametrize("tier", TIERS)
def test_unseen_names_and_things(tier):
    words = {split: set(re.findall("[a-z]+", " ".join(p.prompt for p in make(tier, split)[:300]))) for split in SPLITS}
    for split in ("train", "eval"):
        assert not words[split] & {*UNSEEN_NAMES, *UNSEEN_THINGS}
        assert words[split] >= {*NAMES, *THINGS}
    assert not words["unseen"] & {*NAMES, *THINGS}
    assert words["unseen"] >= {*UNSEEN_NAMES, *UNSEEN_THINGS}


@pytest.mark.parametrize(("tier", "split"), [case for case in CASES if case[1] != "train"])
def test_every_prefix_has_the_shares(tier, split):
    chains = [problem.meta["chain"] for problem in make(tier, split)]
    assert len(chains) == EVAL_SIZE
    for size in (24, 100, EVAL_SIZE):
        counts = Counter(chains[:size])
        for chain, share in zip(TIERS[tier].chains, chain_shares(TIERS[tier]), strict=True):
            assert abs(counts[chain] - share * size) <= 1.5


def test_shares_sum_to_one():
    for tier in TIERS.values():
        assert sum(chain_shares(tier)) == pytest.approx(1.0)


def test_training_is_endless_and_seeded():
    problems = make("standard", "train")
    assert len(problems) == TRAIN_SIZE
    assert problems[-1] == make("standard", "train")[TRAIN_SIZE - 1]
    assert problems[:20] != make("standard", "train", seed=1)[:20]
    assert len({problem.prompt for problem in problems[10**9 : 10**9 + 100]}) >= 95
    assert pickle.loads(pickle.dumps(problems))[7] == problems[7]


def test_known_problem():
    """A change of it is a new version of the id."""
    problem = make("standard", "train")[0]
    assert problem.prompt == (
        "<question>grace has 2 boxes with 2 cakes each. then grace finds 2 more. how many cakes does grace have now?"
        "<answer>"
    )
    assert problem.meta["gold"] == "2 * 2 = 4. 4 + 2 = 6. answer: 6"
