"""Procedural tool-call problems: requests over a catalogue of tools, with gold answers, without end.

Problem i of a split is a pure function of (seed, split, i): nothing is stored, any index can be asked for, and two
processes agree. See `Tier` for what the difficulties differ in, and `llm_morl_env.tasks.tool_catalogue` for the data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_morl_env.tasks import tool_catalogue as catalogue
from llm_morl_env.tasks.building import EVAL_SIZE, SPLITS, TRAIN_SIZE, LazyProblems, stratify
from llm_morl_env.tasks.tool_catalogue import Argument, Tool, TwoWords, WordList
from llm_morl_rewards import Problem

#: A fifth of all numbers and word combinations is held out: those with ``key % HOLD_OUT == 0``.
HOLD_OUT = 5


@dataclass(frozen=True)
class Tier:
    """One difficulty.

    Args:
        tools: The catalogue that requests and distractors are drawn from.
        calls: Probabilities of 1, 2, ... calls among the requests that need one.
        no_call: Share of requests that need no call.
        missing_tool: Share of those no-call requests that ask for a tool which is not offered (the rest is small talk).
        distractors: Least and greatest number of tools shown besides the needed ones.
    """

    tools: tuple[Tool, ...]
    calls: tuple[float, ...]
    no_call: float
    missing_tool: float
    distractors: tuple[int, int]


TIERS = {
    "easy": Tier(tuple(t for t in catalogue.TOOLS if t.name in catalogue.EASY_TOOLS), (1.0,), 0.0, 0.0, (2, 2)),
    "standard": Tier(catalogue.TOOLS, (0.80, 0.15, 0.05), 0.10, 0.0, (2, 3)),
    "hard": Tier(catalogue.TOOLS + catalogue.HARD_TOOLS, (0.50, 0.30, 0.15, 0.05), 0.15, 0.5, (3, 6)),
}


@dataclass(frozen=True)
class Request:
    """A drawn request before it is written as a prompt: the words, the tools shown and the gold calls."""

    words: str
    tools: tuple[Tool, ...]
    calls: tuple[dict[str, Any], ...]
    reply: str


class ToolCallProblems(LazyProblems):
    """The problems of one split.

    Args:
        tier: What to draw; see `TIERS`.
        split: ``train`` (endless), ``eval`` (`EVAL_SIZE` problems with held-out phrasings, numbers and word
            combinations; every prefix holds the tier's shares of 0, 1, 2, ... calls as closely as possible) or
            ``unseen`` (as ``eval``, and its names, places and things never occur in training).
        seed: Seed of the whole task.
        count_tokens: Length of a text, for the ``brevity_*`` entries of ``Problem.meta``.
    """

    def __init__(self, tier: Tier, split: str, *, seed: int, count_tokens: Callable[[str], int]) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
        self.tier, self.split, self.seed, self._count_tokens = tier, split, seed, count_tokens
        self._strata = None if split == "train" else stratify(_stratum_shares(tier), EVAL_SIZE)

    def __len__(self) -> int:
        return TRAIN_SIZE if self._strata is None else EVAL_SIZE

    def request(self, index: int) -> Request:
        """The request behind problem ``index`` (demonstrations are made from it)."""
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        shares = _stratum_shares(self.tier)
        n_calls = int(rng.choice(len(shares), p=shares)) if self._strata is None else self._strata[index]
        return _draw_request(rng, self.tier, n_calls, self.split)

    def problem(self, index: int) -> Problem:
        """See `llm_morl_env.tasks.building.LazyProblems`."""
        request = self.request(index)
        gold = write_gold(request.calls, request.reply, thought_of(request.calls))
        target_tokens = self._count_tokens(gold) + 2
        return Problem(
            prompt=write_prompt(request),
            target={"calls": list(request.calls), "accepted": None, "functions": [schema(t) for t in request.tools]},
            meta={
                "gold": gold,
                "brevity_target": target_tokens,
                "brevity_cap": 1.5 * target_tokens,
                "n_calls": len(request.calls),
            },
        )


def write_prompt(request: Request) -> str:
    """The prompt: signatures of the tools on offer, then the request."""
    return f"<tools>{chr(10).join(t.signature for t in request.tools)}<user>{request.words}<answer>"


def thought_of(calls: Sequence[dict[str, Any]]) -> str:
    """The shortest thought of a gold answer: it names the tools."""
    return f"use {', '.join(json.dumps(c['name']) for c in calls)}." if calls else "no tool."


def write_gold(calls: Sequence[dict[str, Any]], reply: str, thought: str) -> str:
    """A response in ToolRL's format: thought, then one JSON object a call, or a reply where no call is needed."""
    if not calls:
        return f"<think>{thought}</think>\n<response>{reply}</response>"
    lines = "\n".join(write_call(call) for call in calls)
    return f"<think>{thought}</think>\n<tool_call>\n{lines}\n</tool_call>"


def write_call(call: dict[str, Any]) -> str:
    """One call as a line of JSON."""
    return json.dumps({"name": call["name"], "parameters": call["arguments"]}, ensure_ascii=False)


def schema(tool: Tool) -> dict[str, Any]:
    """The tool as a JSON-schema-like function description (the form of the Berkeley leaderboard)."""
    properties: dict[str, dict[str, Any]] = {}
    for argument in tool.arguments:
        json_type = {"enum": "string", "list": "array"}.get(argument.type, argument.type)
        properties[argument.name] = {"type": json_type}
        if argument.type == "enum":
            properties[argument.name]["enum"] = list(argument.options)
        if argument.type == "list":
            properties[argument.name]["items"] = {"type": "string"}
    return {
        "name": tool.name,
        "parameters": {"type": "dict", "properties": properties, "required": [a.name for a in tool.arguments]},
    }


def _stratum_shares(tier: Tier) -> list[float]:
    return [tier.no_call, *((1.0 - tier.no_call) * p for p in tier.calls)]


def _draw_request(rng: np.random.Generator, tier: Tier, n_calls: int, split: str) -> Request:
    held_out = split != "train"
    order = rng.permutation(len(tier.tools))
    n_shown = n_calls + int(rng.integers(tier.distractors[0], tier.distractors[1], endpoint=True))
    missing = n_calls == 0 and rng.random() < tier.missing_tool
    n_needed = 1 if missing else n_calls
    needed = [tier.tools[i] for i in order[:n_needed]]
    offered = [tier.tools[i] for i in order[(1 if missing else 0) : max(n_shown, 1) + (1 if missing else 0)]]
    shown = tuple(offered[i] for i in rng.permutation(len(offered)))
    clauses, calls = [], []
    for tool in needed:
        arguments, spoken = draw_arguments(rng, tool, split)
        phrasings = tool.held_out if held_out else tool.phrasings
        clauses.append(_pick(rng, phrasings).format(**spoken))
        calls.append({"name": tool.name, "arguments": arguments})
    if not needed:
        clauses = [_pick(rng, catalogue.HELD_OUT_SMALL_TALK if held_out else catalogue.SMALL_TALK)]
    joiners = catalogue.HELD_OUT_JOINERS if held_out else catalogue.JOINERS
    words = clauses[0]
    for clause in clauses[1:]:
        words += _pick(rng, joiners) + clause
    if needed:
        words = _pick(rng, catalogue.HELD_OUT_CARRIERS if held_out else catalogue.CARRIERS).format(words)
    return Request(words, shown, () if missing else tuple(calls), _pick(rng, catalogue.REPLIES))


def draw_arguments(rng: np.random.Generator, tool: Tool, split: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Values of a call, and how the request says them. Arguments of one source differ (origin, destination)."""
    values: dict[str, Any] = {}
    spoken: dict[str, str] = {}
    for argument in tool.arguments:
        taken = {spoken[a.name] for a in tool.arguments if a.name in spoken and a.source is argument.source}
        while True:
            value, words = _draw_value(rng, argument, split)
            if words not in taken:
                break
        values[argument.name] = value
        spoken[argument.name] = f'"{words}"' if argument.quoted else words
    return values, spoken


def _draw_value(rng: np.random.Generator, argument: Argument, split: str) -> tuple[Any, str]:
    source = argument.source
    if isinstance(source, TwoWords):
        first, second = _pool(source.first, split), _pool(source.second, split)

        def draw() -> tuple[int, ...]:
            return int(rng.integers(len(first))), int(rng.integers(len(second)))

        # Of unseen words every combination is new.
        i, j = draw() if split == "unseen" else _draw_held(rng, draw, split)
        two_words = f"{first[i]} {second[j]}"
        return two_words, two_words
    if isinstance(source, WordList):
        words = _pool(source, split)
        if argument.type != "list":
            word = _pick(rng, words)
            return word, word
        n_words = min(int(rng.integers(2, 3, endpoint=True)), len(words))
        chosen = [words[i] for i in rng.permutation(len(words))[:n_words]]
        return chosen, _spoken_list(chosen)
    if argument.type == "enum":
        option = _pick(rng, argument.options)
        return option, option
    if argument.type == "boolean":
        true = bool(rng.integers(2))
        return true, argument.options[0 if true else 1]
    low, high = int(source[0]), int(source[1])
    if argument.type == "integer":
        (number,) = _draw_held(rng, lambda: (int(rng.integers(low, high, endpoint=True)),), split)
        return number, str(number)
    whole, tenth = _draw_held(
        rng, lambda: (int(rng.integers(low, high, endpoint=True)), int(rng.integers(1, 10))), split
    )
    return whole + tenth / 10, str(whole + tenth / 10)


def _draw_held(rng: np.random.Generator, draw: Callable[[], tuple[int, ...]], split: str) -> tuple[int, ...]:
    """Draw until the key is on the right side of the hold-out (a fifth of the keys, those divisible by `HOLD_OUT`)."""
    while True:
        key = draw()
        held = (key[0] if len(key) == 1 else key[0] + 2 * key[1]) % HOLD_OUT == 0
        if held == (split != "train"):
            return key


def _pool(source: WordList, split: str) -> tuple[str, ...]:
    return source.unseen if split == "unseen" else source.seen


def _pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _spoken_list(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"
