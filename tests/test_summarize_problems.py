"""Procedural documents: what they hold, tiers, hold-outs, strata."""

import json
import re

import pytest

from llm_morl_env.tasks import summarize_words as words
from llm_morl_env.tasks.building import EVAL_SIZE, SPLITS, TRAIN_SIZE
from llm_morl_env.tasks.summarize_problems import TIERS, is_held_out, summary_problems
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards.summary import fact_coverage, fact_precision

COUNT = TextTokenizer().count
ATTRIBUTES = {attribute.name: attribute for attribute in words.ATTRIBUTES}
ALL_ITEMS = (*words.ITEMS, *words.UNSEEN_ITEMS)


def pattern(frame):
    parts = re.split(r"\{(\w+)\}", frame)
    return "".join(f"(?P<{p}>[a-z0-9]+)" if i % 2 else re.escape(p) for i, p in enumerate(parts))


FACTS = {frame: re.compile(pattern(frame)) for frame in (*words.FACTS, *words.HELD_OUT_FACTS)}
CHATTER = {frame: re.compile(pattern(frame)) for frame in (*words.CHATTER, *words.HELD_OUT_CHATTER)}


def read(document):
    """The facts of a document as (item, key, value, frame), and the frames of its chatter."""
    facts, chatter = [], []
    for sentence in re.findall(r"[^.]+\.", document):
        found = [(frame, m) for frame, p in FACTS.items() if (m := p.fullmatch(sentence.strip()))]
        if found:
            frame, match = found[0]
            facts.append((match["item"], match["key"], match["value"], frame))
        else:
            (frame,) = (frame for frame, p in CHATTER.items() if p.fullmatch(sentence.strip()))
            chatter.append(frame)
    return facts, chatter


def made(difficulty, split, seed=3, n=300):
    problems = summary_problems(TIERS[difficulty], split, seed=seed, count_tokens=COUNT)
    return [problems[i] for i in range(n)]


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_document_says_what_the_target_holds(difficulty, split):
    tier = TIERS[difficulty]
    for problem in made(difficulty, split):
        facts, chatter = read(problem.meta["document"])
        item, told = problem.target["item"], problem.target["facts"]
        assert {key: value for named, key, value, _ in facts if named == item} == told
        assert list(told) == [key for named, key, _, _ in facts if named == item]  # in the order of the document
        assert problem.target["keys"] == list(dict.fromkeys(key for _, key, _, _ in facts))
        assert problem.target["values"] == list(dict.fromkeys(value for _, _, value, _ in facts))
        assert problem.prompt == f"<doc>{problem.meta['document']}<question>the {item}<answer>"
        assert problem.meta["document_tokens"] == COUNT(problem.meta["document"])
        assert problem.meta["n_facts"] == len(told)
        assert fact_coverage(problem.meta["gold"], told) == fact_precision(problem.meta["gold"], told) == 1.0
        others = [(key, value) for named, key, value, _ in facts if named != item]
        assert tier.facts[0] <= len(told) <= tier.facts[1]
        assert tier.rivals[0] <= sum(key in told for key, _ in others) <= tier.rivals[1]
        assert tier.others[0] <= sum(key not in told for key, _ in others) <= tier.others[1]
        assert tier.chatter[0] <= len(chatter) <= tier.chatter[1]
        assert all(told.get(key) != value for key, value in others)  # the wrong item's value is wrong
        json.dumps([problem.target, problem.meta])


@pytest.mark.parametrize("difficulty", TIERS)
def test_what_evaluation_says_is_never_said_in_training(difficulty):
    seen = [fact for problem in made(difficulty, "train", n=1000) for fact in read(problem.meta["document"])[0]]
    frames = {frame for *_, frame in seen} | {
        frame for problem in made(difficulty, "train") for frame in read(problem.meta["document"])[1]
    }
    combinations = {(item, key, value) for item, key, value, _ in seen}
    numbers = {value for *_, value, _ in seen if value.isdigit()}
    for split in ("eval", "unseen"):
        for problem in made(difficulty, split):
            facts, chatter = read(problem.meta["document"])
            for item, key, value, frame in facts:
                assert (item, key, value) not in combinations
                assert is_held_out(item, ATTRIBUTES[key], value)
                assert value not in numbers
                assert frame not in frames
                if split == "unseen":
                    assert item in words.UNSEEN_ITEMS
                    assert value.isdigit() or value in ATTRIBUTES[key].unseen
            assert not {*chatter} & frames
    assert not any(is_held_out(item, ATTRIBUTES[key], value) for item, key, value in combinations)
    assert {item for item, *_ in combinations} == {*words.ITEMS}


def test_training_mentions_unseen_words_in_chatter_and_writes_every_digit_at_each_place():
    problems = made("standard", "train", n=1000)
    unseen = {*words.UNSEEN_ITEMS, *(word for attribute in words.ATTRIBUTES for word in attribute.unseen)}
    stated = {part for problem in problems for fact in read(problem.meta["document"])[0] for part in fact[:3]}
    assert not unseen & stated
    assert unseen <= {word for problem in problems for word in re.findall(r"\w+", problem.meta["document"])}
    assert unseen.isdisjoint(words.ITEMS)
    numbers = {value for value in stated if value.isdigit()}
    for place in (0, -1):
        assert {number[place] for number in numbers if len(number) == 2} >= {*"123456789"}


def test_every_item_and_key_has_values_on_both_sides_of_the_hold_out():
    for item in words.ITEMS:
        for attribute in words.ATTRIBUTES:
            values = attribute.words or tuple(str(n) for n in range(attribute.numbers[0], attribute.numbers[1] + 1))
            assert {is_held_out(item, attribute, value) for value in values} == {False, True}
    assert len({*words.ITEMS, *words.UNSEEN_ITEMS}) == len(ALL_ITEMS)
    for attribute in words.ATTRIBUTES:
        assert not {*attribute.words} & {*attribute.unseen}
        assert " " not in "".join([attribute.name, *attribute.words, *attribute.unseen])


@pytest.mark.parametrize("difficulty", TIERS)
@pytest.mark.parametrize("split", ["eval", "unseen"])
def test_every_prefix_has_the_numbers_of_facts_evenly(difficulty, split):
    low, high = TIERS[difficulty].facts
    sizes = [problem.meta["n_facts"] for problem in made(difficulty, split, n=100)]
    for stop in range(1, 101):
        counts = [sizes[:stop].count(size) for size in range(low, high + 1)]
        assert max(counts) - min(counts) <= 1


def test_sizes_seeds_and_order():
    problems = summary_problems(TIERS["standard"], "train", seed=1, count_tokens=COUNT)
    assert len(problems) == TRAIN_SIZE
    assert len(summary_problems(TIERS["standard"], "eval", seed=1, count_tokens=COUNT)) == EVAL_SIZE
    assert problems[7] == summary_problems(TIERS["standard"], "train", seed=1, count_tokens=COUNT)[7]
    assert problems[7] != summary_problems(TIERS["standard"], "train", seed=2, count_tokens=COUNT)[7]
    assert problems[7] != problems[8]
    # The facts of the item stand anywhere among the others.
    places = {
        [fact[0] == problem.target["item"] for fact in read(problem.meta["document"])[0]].index(False)
        for problem in made("standard", "train")
    }
    assert places == {0, 1, 2, 3, 4}
