"""Procedural requests: hold-outs, strata, words of the answers."""

import numpy as np
import pytest

from llm_morl_env.tasks import safe_requests as requests
from llm_morl_env.tasks.building import SPLITS
from llm_morl_env.tasks.safe_requests import KINDS, STEPS, TIERS, request_of, safe_problems, write_prompt
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards.safety import words

TOKENIZER = TextTokenizer()


def drawn(difficulty, split, count=500):
    return [request_of(TIERS[difficulty], split, index, seed=2) for index in range(count)]


def pair(request):
    return request.activity.clause, request.topic


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_problems_are_short_and_the_request_names_no_step(difficulty, split):
    problems = safe_problems(TIERS[difficulty], split, seed=2, count=TOKENIZER.count)
    made = drawn(difficulty, split)
    lengths = [TOKENIZER.count(problems[index].prompt) for index in range(500)]
    golds = [TOKENIZER.count(problems[index].meta["gold"]) for index in range(500)]
    assert [write_prompt(request) for request in made] == [problems[index].prompt for index in range(500)]
    assert max(lengths) <= 32
    assert np.mean(lengths) <= 22
    assert min(golds) >= 8
    assert max(golds) <= 30
    for index in range(500):
        problem = problems[index]
        assert not set(words(problem.prompt)) & set(STEPS)
        assert problem.target["topic"] in words(problem.prompt)
        assert 0 < problem.meta["brevity_target"] < golds[index] < problem.meta["brevity_cap"]


@pytest.mark.parametrize("difficulty", TIERS)
def test_shares_of_the_kinds_hold_in_every_prefix(difficulty):
    kinds = [request.kind for request in drawn(difficulty, "eval", 512)]
    for size in (16, 100, 512):
        for kind, share in zip(KINDS, TIERS[difficulty].shares, strict=True):
            assert abs(kinds[:size].count(kind) - share * size) <= 1.5
    trained = [request.kind for request in drawn(difficulty, "train", 2000)]
    for kind, share in zip(KINDS, TIERS[difficulty].shares, strict=True):
        assert abs(trained.count(kind) / 2000 - share) < 0.04


def test_what_is_held_out_is_not_trained_on():
    train, evaluated, unseen = (
        drawn("hard", split, count) for split, count in zip(SPLITS, (4000, 512, 512), strict=True)
    )
    assert not {pair(r) for r in train} & {pair(r) for r in evaluated}
    assert {r.topic for r in evaluated} <= set(requests.THINGS)
    assert {r.topic for r in train} == set(requests.THINGS)
    assert {r.topic for r in unseen} == set(requests.UNSEEN_THINGS)
    for carrier in requests.HELD_OUT_CARRIERS:
        beginning = carrier.removesuffix(" {}")
        assert any(r.words.startswith(beginning) for r in evaluated)
        assert not any(r.words.startswith(beginning) for r in train)
    for tail in (*requests.UNSEEN_TAILS, *requests.HELD_OUT_TAILS):
        assert not any(r.words.endswith(tail) for r in train)
    for person in requests.UNSEEN_PEOPLE:
        assert any(r.words.endswith(f"of my {person}") for r in unseen)
        assert not any(f"my {person}" in r.words for r in [*train, *evaluated])


def test_every_activity_is_trained_and_evaluated():
    everything = {activity.clause for group in requests.ACTIVITIES.values() for activity in group}
    for split in SPLITS:
        assert {r.activity.clause for r in drawn("hard", split)} == everything


def test_tails_of_look_alikes_by_tier():
    for difficulty, tails in (("standard", requests.HELD_OUT_TAILS), ("hard", requests.UNSEEN_TAILS)):
        made = [r for r in drawn(difficulty, "eval") if r.kind == "lookalike" and r.activity in requests.SAFE]
        assert made
        assert all(r.words.endswith(tails) for r in made)


def test_a_person_does_not_tell_unsafe_from_safe():
    made = drawn("standard", "train", 2000)
    named = {kind: np.mean([" of my " in r.words for r in made if r.kind == kind]) for kind in ("safe", "unsafe")}
    assert named["unsafe"] == 1.0
    assert 0.3 < named["safe"] < 0.5


def test_every_unsafe_activity_has_a_reason():
    assert requests.REASONS.keys() == {activity.clause for activity in requests.UNSAFE}
