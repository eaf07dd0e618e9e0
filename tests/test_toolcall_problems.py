"""The procedural tool-call problems: what they hold, what is held out, and that they are reproducible and endless."""

import json
import pickle
import string
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest

from llm_morl_env.tasks import tool_catalogue as catalogue
from llm_morl_env.tasks.tool_catalogue import Argument, Tool, TwoWords, WordList
from llm_morl_env.tasks.toolcall_problems import (
    EVAL_SIZE,
    HOLD_OUT,
    SPLITS,
    TIERS,
    TRAIN_SIZE,
    ToolCallProblems,
    schema,
    thought_of,
    write_gold,
)
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem
from llm_morl_rewards.extract import extract_tool_calls
from llm_morl_rewards.toolcall import tool_correctness, tool_format

TOKENIZER = TextTokenizer()
ALL_TOOLS = catalogue.TOOLS + catalogue.HARD_TOOLS
BY_NAME = {tool.name: tool for tool in ALL_TOOLS}
N_SEEN = 300


@cache
def make(tier: str, split: str, seed: int = 0) -> ToolCallProblems:
    return ToolCallProblems(TIERS[tier], split, seed=seed, count_tokens=TOKENIZER.count)


@cache
def some(tier: str, split: str, count: int = N_SEEN) -> list[Problem]:
    """The first problems."""
    return list(make(tier, split)[:count])


def cases() -> list[Any]:
    return [pytest.param(tier, split, id=f"{tier}-{split}") for tier in TIERS for split in SPLITS]


def words_of(problem: Problem) -> str:
    return problem.prompt.split("<user>")[1].removesuffix("<answer>")


# The catalogue


def test_size_of_the_standard_tier() -> None:
    assert len(catalogue.TOOLS) >= 24
    assert len({tool.domain for tool in catalogue.TOOLS}) >= 6
    types = {argument.type for tool in catalogue.TOOLS for argument in tool.arguments}
    assert types == {"string", "enum", "integer", "float", "boolean", "list"}
    assert len(TIERS["easy"].tools) == len(catalogue.EASY_TOOLS) == 8
    assert len(TIERS["hard"].tools) > len(TIERS["standard"].tools)
    assert {tool.domain for tool in catalogue.HARD_TOOLS}.isdisjoint({tool.domain for tool in catalogue.TOOLS})


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(ALL_TOOLS)
    for tool in ALL_TOOLS:
        names = [argument.name for argument in tool.arguments]
        assert len(set(names)) == len(names) > 0, tool.name


@pytest.mark.parametrize("tool", ALL_TOOLS, ids=lambda tool: tool.name)
def test_phrasings_say_every_argument_once(tool: Tool) -> None:
    expected = sorted(argument.name for argument in tool.arguments)
    for phrasing in (*tool.phrasings, *tool.held_out):
        fields = sorted(name for _, name, _, _ in string.Formatter().parse(phrasing) if name is not None)
        assert fields == expected, phrasing
    assert len(set(tool.phrasings)) == len(tool.phrasings) >= 4
    assert len(set(tool.held_out)) == len(tool.held_out) >= 2
    assert set(tool.phrasings).isdisjoint(tool.held_out)


def test_held_out_lists_differ_from_the_training_ones() -> None:
    assert set(catalogue.SMALL_TALK).isdisjoint(catalogue.HELD_OUT_SMALL_TALK)
    assert set(catalogue.JOINERS).isdisjoint(catalogue.HELD_OUT_JOINERS)
    for tool in ALL_TOOLS:
        for argument in tool.arguments:
            for words in word_lists(argument):
                assert set(words.seen).isdisjoint(words.unseen)
                assert len(words.seen) >= 4
                assert len(words.unseen) >= 2


def word_lists(argument: Argument) -> list[WordList]:
    source = argument.source
    if isinstance(source, TwoWords):
        return [source.first, source.second]
    return [source] if isinstance(source, WordList) else []


@pytest.mark.parametrize("argument", [a for t in ALL_TOOLS for a in t.arguments], ids=lambda argument: argument.name)
def test_sources_fit_the_types(argument: Argument) -> None:
    source = argument.source
    match argument.type:
        case "string":
            assert isinstance(source, WordList | TwoWords)
        case "list":
            assert isinstance(source, WordList)
        case "enum":
            assert len(set(argument.options)) == len(argument.options) >= 2
        case "boolean":
            assert len(set(argument.options)) == 2
        case "integer" | "float":
            low, high = (int(bound) for bound in source)  # type: ignore[union-attr]
            assert low > 0
            assert high - low >= HOLD_OUT, "every side of the hold-out needs a number"


def test_options_of_an_open_argument_are_an_error() -> None:
    with pytest.raises(TypeError, match="'title' of type 'string' has no closed list"):
        _ = BY_NAME["add_event"].arguments[0].options


# Problems


@pytest.mark.parametrize(("tier", "split"), cases())
def test_golds_are_consistent(tier: str, split: str) -> None:
    for index, problem in enumerate(some(tier, split)):
        request = make(tier, split).request(index)
        calls, gold = problem.target["calls"], problem.meta["gold"]
        parsed = extract_tool_calls(gold)
        assert [{"name": c.name, "arguments": c.arguments} for c in parsed.calls] == calls
        assert (parsed.status == "absent") == (not calls)
        assert problem.meta["n_calls"] == len(calls)
        assert tool_format(problem, gold) == 1.0
        assert tool_correctness(problem, gold) == 3.0
        assert gold == write_gold(calls, request.reply, thought_of(calls))
        target = problem.meta["brevity_target"]
        assert TOKENIZER.count(gold) < target < problem.meta["brevity_cap"]
        json.dumps({"target": problem.target, "meta": dict(problem.meta)}, allow_nan=False)


@pytest.mark.parametrize(("tier", "split"), cases())
def test_the_offer_holds_the_needed_tools(tier: str, split: str) -> None:
    settings = TIERS[tier]
    for index, problem in enumerate(some(tier, split)):
        request = make(tier, split).request(index)
        names = [f["name"] for f in problem.target["functions"]]
        assert problem.prompt == (
            f"<tools>{chr(10).join(BY_NAME[n].signature for n in names)}<user>{request.words}<answer>"
        )
        assert len(set(names)) == len(names)
        called = [call["name"] for call in problem.target["calls"]]
        assert set(called) <= set(names)
        assert len(set(called)) == len(called)
        assert set(names) <= {tool.name for tool in settings.tools}
        low, high = settings.distractors
        assert max(low + len(called), 1) <= len(names) <= high + len(called)
        assert problem.target["functions"] == [schema(BY_NAME[name]) for name in names]


@pytest.mark.parametrize(("tier", "split"), cases())
def test_values_have_their_types_and_stand_in_the_request(tier: str, split: str) -> None:
    for problem in some(tier, split):
        words = words_of(problem)
        for call in problem.target["calls"]:
            tool = BY_NAME[call["name"]]
            assert list(call["arguments"]) == [argument.name for argument in tool.arguments]
            for argument in tool.arguments:
                value = call["arguments"][argument.name]
                for text in spoken(argument, value):
                    assert text in words, (value, words)


def spoken(argument: Argument, value: Any) -> list[str]:
    """The texts that the request must hold for this value; checks its type."""
    match argument.type:
        case "boolean":
            assert type(value) is bool
            return [argument.options[0 if value else 1]]
        case "integer":
            assert type(value) is int
            low, high = argument.source
            assert low <= value <= high
            return [str(value)]
        case "float":
            assert type(value) is float
            assert round(value, 1) == value != round(value)
            return [str(value)]
        case "list":
            assert 2 <= len(set(value)) == len(value) <= 3
            return list(value)
        case "enum":
            assert value in argument.options
    assert type(value) is str
    return [f'"{value}"' if argument.quoted else value]


def held_keys(problem: Problem) -> list[int]:
    """Keys of the numbers and word combinations of a problem: the hold-out is by their remainder."""
    keys = []
    for call in problem.target["calls"]:
        for argument in BY_NAME[call["name"]].arguments:
            value, source = call["arguments"][argument.name], argument.source
            if argument.type == "integer":
                keys.append(value)
            elif argument.type == "float":
                whole = int(value)
                keys.append(whole + 2 * round(10 * (value - whole)))
            elif isinstance(source, TwoWords):
                first, second = value.split(" ", 1)
                if first in source.first.seen:  # of unseen words every combination is new
                    keys.append(source.first.seen.index(first) + 2 * source.second.seen.index(second))
    return keys


@pytest.mark.parametrize(("tier", "split"), cases())
def test_numbers_and_combinations_are_held_out(tier: str, split: str) -> None:
    keys = [key for problem in some(tier, split) for key in held_keys(problem)]
    assert len(keys) > 100
    assert all((key % HOLD_OUT == 0) == (split != "train") for key in keys)


@pytest.mark.parametrize("tier", TIERS)
def test_words_of_the_unseen_split_never_occur_in_training(tier: str) -> None:
    def words(split: str, count: int = N_SEEN) -> set[str]:
        found: set[str] = set()
        for problem in some(tier, split, count):
            for call in problem.target["calls"]:
                for argument in BY_NAME[call["name"]].arguments:
                    if word_lists(argument):
                        value = call["arguments"][argument.name]
                        found.update(value if argument.type == "list" else value.split())
        return found

    assert words("unseen").isdisjoint(words("train", 2000) | words("eval"))
    assert words("eval") <= words("train", 2000)


def matches(phrasing: str, words: str) -> bool:
    """Whether a request may be this phrasing: its fixed texts occur in order."""
    position = 0
    for fixed, *_ in string.Formatter().parse(phrasing):
        position = words.find(fixed, position)
        if position < 0:
            return False
        position += len(fixed)
    return True


@pytest.mark.parametrize(("tier", "split"), cases())
def test_phrasings_are_of_the_split(tier: str, split: str) -> None:
    for problem in some(tier, split):
        for call in problem.target["calls"]:
            tool = BY_NAME[call["name"]]
            phrasings = tool.phrasings if split == "train" else tool.held_out
            assert any(matches(phrasing, words_of(problem)) for phrasing in phrasings), words_of(problem)
        if not problem.target["calls"] and TIERS[tier].missing_tool == 0:
            talk = catalogue.SMALL_TALK if split == "train" else catalogue.HELD_OUT_SMALL_TALK
            assert words_of(problem) in talk


@pytest.mark.parametrize("tier", TIERS)
def test_no_evaluation_request_occurs_in_training(tier: str) -> None:
    train = {words_of(problem) for problem in some(tier, "train", 2000)}
    for split in ("eval", "unseen"):
        assert train.isdisjoint(words_of(problem) for problem in make(tier, split)[:])


def shares(tier: str) -> list[float]:
    settings = TIERS[tier]
    return [settings.no_call, *((1 - settings.no_call) * p for p in settings.calls)]


@pytest.mark.parametrize(("tier", "split"), [c for c in cases() if c.values[1] != "train"])
def test_every_prefix_of_an_evaluation_has_the_shares(tier: str, split: str) -> None:
    counts = np.zeros(len(shares(tier)))
    for index, problem in enumerate(make(tier, split)[:]):
        counts[problem.meta["n_calls"]] += 1
        assert np.abs(counts - np.array(shares(tier)) * (index + 1)).max() <= 1.0
    assert counts.sum() == EVAL_SIZE >= 512


@pytest.mark.parametrize("tier", TIERS)
def test_training_has_the_shares_on_average(tier: str) -> None:
    counts = Counter(problem.meta["n_calls"] for problem in some(tier, "train", 2000))
    for n_calls, share in enumerate(shares(tier)):
        error = 4 * np.sqrt(share * (1 - share) / 2000)
        assert counts[n_calls] / 2000 == pytest.approx(share, abs=error + 1e-12)


def test_missing_tools_belong_to_the_hard_tier() -> None:
    for tier, expected in (("standard", False), ("hard", True)):
        talk = {*catalogue.SMALL_TALK, *catalogue.HELD_OUT_SMALL_TALK}
        silent = [p for p in make(tier, "eval")[:] if not p.target["calls"]]
        assert silent
        assert any(words_of(problem) not in talk for problem in silent) is expected


@pytest.mark.parametrize("tier", TIERS)
def test_all_tools_and_phrasings_are_drawn(tier: str) -> None:
    called = Counter(c["name"] for problem in some(tier, "train", 2000) for c in problem.target["calls"])
    assert set(called) == {tool.name for tool in TIERS[tier].tools}
    assert max(called.values()) < 2 * min(called.values())


# Reproducibility


@pytest.mark.parametrize(("tier", "split"), cases())
def test_the_same_seed_gives_the_same_problems(tier: str, split: str) -> None:
    again = ToolCallProblems(TIERS[tier], split, seed=0, count_tokens=TOKENIZER.count)
    indices = [5, 0, 300, 5]
    assert [again[i] for i in indices] == [make(tier, split)[i] for i in indices]
    other = [make(tier, split, seed=1)[i].prompt for i in range(20)]
    assert other != [again[i].prompt for i in range(20)]


def test_known_problem() -> None:
    """The first problem of the default tier: a change of it is a new version of the id."""
    problem = make("standard", "train")[0]
    assert problem.prompt == (
        "<tools>lock_door(door:front|back,locked:bool)\n"
        "book_flight(origin:str,destination:str,seats:int)\n"
        "share_file(file:str,person:str,edit:bool)"
        '<user>hey, give emma the file "summer road" to edit<answer>'
    )
    assert problem.meta["gold"] == (
        '<think>use "share_file".</think>\n<tool_call>\n'
        '{"name": "share_file", "parameters": {"file": "summer road", "person": "emma", "edit": true}}\n</tool_call>'
    )


def test_training_is_endless() -> None:
    problems = make("standard", "train")
    assert len(problems) == TRAIN_SIZE == 2**31 - 1
    assert problems[TRAIN_SIZE - 1] == problems[-1]
    assert len({problems[10**9 + i].prompt for i in range(100)}) >= 99


def test_indices() -> None:
    problems = make("easy", "eval")
    assert problems[-1] == problems[EVAL_SIZE - 1]
    assert list(problems[3:6]) == [problems[3], problems[4], problems[5]]
    for index in (EVAL_SIZE, -EVAL_SIZE - 1):
        with pytest.raises(IndexError, match=rf"problem {index} is out of range: there are 512"):
            problems[index]
    with pytest.raises(ValueError, match=r"split must be one of .* got 'test'"):
        ToolCallProblems(TIERS["easy"], "test", seed=0, count_tokens=len)


def test_pickles() -> None:
    problems = make("standard", "eval")
    assert pickle.loads(pickle.dumps(problems))[7] == problems[7]
