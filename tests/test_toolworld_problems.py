"""The procedural problems of the multi-turn tool task: splits, strata, worlds that need a look."""

import json
import pickle
import re
from collections import Counter

import numpy as np
import pytest

from llm_morl_env.tasks.tool_catalogue import CITIES, DAYS, ITEMS
from llm_morl_env.tasks.toolworld_phrasings import PHRASINGS
from llm_morl_env.tasks.toolworld_problems import (
    CATALOGUE,
    HINT_RIGHT,
    HINT_SHARE,
    TIERS,
    gold_turns,
    toolworld_problems,
)
from llm_morl_env.tasks.toolworld_requests import HOLD_OUT, KINDS, TITLES, Draw
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards.toolworld import replay
from llm_morl_rewards.turns import split_turns
from llm_morl_rewards.world import TOOLS, difference, from_json, is_error

COUNT = TextTokenizer().count


def problems(tier, split="train", number=200, seed=0):
    source = toolworld_problems(TIERS[tier], split, seed=seed, count=COUNT)
    return [source[i] for i in range(number)]


@pytest.mark.parametrize("split", ["train", "eval", "unseen"])
@pytest.mark.parametrize("tier", TIERS)
def test_targets_say_what_the_gold_dialogue_does(tier, split):
    for problem in problems(tier, split):
        target = problem.target
        assert json.loads(json.dumps(target)) == target
        responses = split_turns(problem.meta["gold"])
        assert responses == gold_turns(target["calls"], target["answer"])
        outcome = replay(target, responses)
        assert outcome.final is not None
        assert (outcome.world, outcome.cost) == (from_json(target["goal"]), target["cost"])
        assert outcome.well_formed == outcome.turns == len(target["calls"]) + 1
        offered = {function["name"] for function in target["functions"]}
        assert {call["name"] for call in target["calls"]} <= offered <= set(TOOLS)
        assert all(CATALOGUE[name].signature in problem.prompt for name in offered)
        changed = difference(from_json(target["world"]), from_json(target["goal"]))
        assert changed + (target["answer"] is not None) >= 1
        # Only where trying is the one way to know does a gold call fail.
        assert target["cost"] == len(target["calls"]) or problem.meta["kind"] in ("take_or", "slot_or")


@pytest.mark.parametrize("tier", TIERS)
def test_problems_are_a_function_of_seed_split_and_index(tier):
    first = toolworld_problems(TIERS[tier], "train", seed=3, count=len)
    again = pickle.loads(pickle.dumps(toolworld_problems(TIERS[tier], "train", seed=3, count=len)))
    assert [first[i] for i in (5, 2**31 - 2, 0)] == [again[i] for i in (5, 2**31 - 2, 0)]
    assert first[5] != toolworld_problems(TIERS[tier], "train", seed=4, count=len)[5]
    assert len(toolworld_problems(TIERS[tier], "eval", seed=3, count=len)) == 512


@pytest.mark.parametrize("tier", TIERS)
def test_every_prefix_of_the_evaluation_splits_has_the_shares(tier):
    kinds = [(p.meta["kind"], p.meta["hint"]) for p in problems(tier, "eval", 120)]
    for size in (20, 60, 120):
        counts = Counter(kinds[:size])
        for kind, hint, share in TIERS[tier].strata:
            assert abs(counts[kind, hint] - share * size) <= 2
    assert sum(share for *_, share in TIERS[tier].strata) == pytest.approx(1)


def test_guesses_are_right_as_often_as_they_say():
    found = Counter(p.meta["hint"] for p in problems("standard", "train", 2000) if p.meta["kind"] != "clear_day")
    assert found["none"] / found.total() == pytest.approx(1 - HINT_SHARE, abs=0.04)
    assert found["right"] / (found["right"] + found["wrong"]) == pytest.approx(HINT_RIGHT, abs=0.05)


def test_a_guess_says_nothing_but_its_word_and_the_gold_looks_only_where_it_is_wrong():
    for problem in problems("standard", "train", 600):
        looks = sum(TOOLS[call["name"]].reads for call in problem.target["calls"])
        assert (looks > 0) == (problem.meta["hint"] != "right"), problem
        assert ("think" in problem.prompt) == (problem.meta["hint"] != "none")
    # What the words of a condition say about its truth: nothing.
    yes = [p for p in problems("standard", "train", 3000) if p.prompt.endswith("i think so.<answer>")]
    true = sum(p.meta["hint"] == "right" for p in yes) / len(yes)
    assert true == pytest.approx(HINT_RIGHT, abs=0.07)


@pytest.mark.parametrize(
    "kind", ["cheaper", "price_if", "stock_if", "weather_if", "weather_either", "take_or", "slot_or"]
)
def test_blind_acting_is_right_half_of_the_time(kind):
    """Without a guess, no rule on the request alone does better: the first choice and the second are as likely."""
    rng = np.random.default_rng(0)
    first = 0
    for _ in range(800):
        request = KINDS[kind](Draw(rng, "train"))
        act = [call for call in request.calls if not TOOLS[call["name"]].reads][-1]
        named = [word for word in request.words.replace(",", "").replace(".", "").split() if word in ITEMS.seen]
        if kind.startswith("weather"):
            first += act["name"] == "cancel_event"
        elif kind in ("take_or", "slot_or"):
            first += len(request.calls) == 1
        else:
            first += act["arguments"]["item"] == named[0]
    assert first / 800 == pytest.approx(0.5, abs=0.06)


def test_evaluation_uses_held_out_phrasings_pairs_and_words():
    words = {"train": set(), "eval": set(), "unseen": set()}
    for split, seen in words.items():
        for tier in TIERS:
            for problem in problems(tier, split, 150):
                seen.add(problem.prompt.split("<user>")[1])
    assert not words["train"] & words["eval"]
    unseen = {"honey", "olives", "lima", "delhi", "today", "tomorrow", "party", "talk"}
    tokens = {split: [set(re.findall("[a-z]+", text)) for text in texts] for split, texts in words.items()}
    assert not any(unseen & said for said in tokens["train"] + tokens["eval"])
    assert all(unseen & said for said in tokens["unseen"])


def test_pairs_of_values_are_on_one_side_of_the_hold_out():
    for first, second in ((ITEMS, ITEMS), (CITIES, DAYS), (TITLES, DAYS)):
        pairs = {}
        for split in ("train", "eval", "unseen"):
            draw = Draw(np.random.default_rng(0), split)
            pairs[split] = {draw.pair(first, second) for _ in range(1500)}
            assert all(a != b for a, b in pairs[split])
        assert not pairs["train"] & pairs["eval"]
        total = sum(a != b for a in first.seen for b in second.seen)
        assert len(pairs["train"] | pairs["eval"]) == total
        assert len(pairs["eval"]) == pytest.approx(total / HOLD_OUT, abs=3)


def test_every_kind_is_in_a_tier_and_has_four_phrasings_in_training():
    assert {kind for tier in TIERS.values() for kind in tier.kinds} | {"cheaper"} == set(KINDS)
    assert all(len(set(phrasings)) == len(phrasings) >= 5 for phrasings in PHRASINGS.values())


def test_gold_errors_are_those_of_first_choices():
    for problem in problems("hard", "train", 300):
        outcomes = [is_error(r) for n in range(len(problem.target["calls"])) for r in _results(problem, n)]
        assert sum(outcomes) == problem.target["cost"] - len(outcomes) <= 1
        assert not outcomes[-1]


def _results(problem, number):
    return replay(problem.target, split_turns(problem.meta["gold"])[: number + 1]).results
