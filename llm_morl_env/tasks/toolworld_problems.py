"""Procedural problems of the multi-turn tool task: a request, the world it is about, and the gold dialogue.

Problem i of a split is a pure function of (seed, split, i). `TIERS` says what the difficulties draw, and
`llm_morl_env.tasks.toolworld_requests` how.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from llm_morl_env.tasks.building import EVAL_SIZE, ProceduralProblems, stratify
from llm_morl_env.tasks.tool_catalogue import Argument, Tool
from llm_morl_env.tasks.toolcall_problems import schema, thought_of, write_gold
from llm_morl_env.tasks.toolworld_requests import KINDS, Call, Draw, Hint, Request
from llm_morl_rewards import Problem
from llm_morl_rewards.extract import ToolCall
from llm_morl_rewards.turns import join_turns
from llm_morl_rewards.world import TOOLS, World, execute, is_error, to_json

#: Share of the requests with a guess of the user's, among those that can have one, and how often it is right.
HINT_SHARE, HINT_RIGHT = 0.5, 0.75
FINAL_REPLY = "here it is"


@dataclass(frozen=True)
class Tier:
    """One difficulty.

    Args:
        kinds: Kinds of request, equally often; see `llm_morl_env.tasks.toolworld_requests.KINDS`.
        hinted: Those of them that may come with a guess of the user's.
        distractors: Least and greatest number of tools shown besides the needed ones.
    """

    kinds: tuple[str, ...]
    hinted: tuple[str, ...]
    distractors: tuple[int, int]

    @property
    def strata(self) -> list[tuple[str, Hint, float]]:
        """Kind, hint and share of each stratum."""
        found: list[tuple[str, Hint, float]] = []
        for kind in self.kinds:
            share = 1.0 / len(self.kinds)
            if kind in self.hinted:
                found += [
                    (kind, "none", share * (1.0 - HINT_SHARE)),
                    (kind, "right", share * HINT_SHARE * HINT_RIGHT),
                    (kind, "wrong", share * HINT_SHARE * (1.0 - HINT_RIGHT)),
                ]
            else:
                found.append((kind, "none", share))
        return found


_EASY = (
    "ask_price",
    "ask_stock",
    "ask_weather",
    "ask_day",
    "add_event",
    "move_event",
    "cancel_event",
    "take",
    "put_back",
)
_CONDITIONS = ("cheaper", "price_if", "stock_if", "weather_if")
_HARD = ("cheaper_paid", "weather_either")
TIERS = MappingProxyType(
    {
        "easy": Tier(_EASY, (), (1, 1)),
        "standard": Tier((*_CONDITIONS, "clear_day"), _CONDITIONS, (0, 1)),
        "hard": Tier((*_HARD, "clear_day", "take_or", "slot_or"), _HARD, (1, 2)),
    }
)

#: The tools as the catalogue of the one-turn task has them, for signatures and schemas.
CATALOGUE = MappingProxyType(
    {
        name: Tool(
            name,
            tool.domain,
            tuple(
                Argument(argument, "integer" if kind == "integer" else "string") for argument, kind in tool.arguments
            ),
            (),
            (),
        )
        for name, tool in TOOLS.items()
    }
)


@dataclass(frozen=True)
class MakeProblem:
    """Makes the problems of one split, for `llm_morl_env.tasks.building.ProceduralProblems`.

    Args:
        tier: What to draw.
        split: Of the problems.
        count: Length of a text, for the ``brevity_*`` entries of ``Problem.meta``.
        strata: Of each problem; None draws them.
    """

    tier: Tier
    split: str
    count: Callable[[str], int]
    strata: tuple[int, ...] | None = None

    def __call__(self, index: int, rng: np.random.Generator) -> Problem:
        """The problem with this index."""
        strata = self.tier.strata
        shares = [share for _, _, share in strata]
        stratum = int(rng.choice(len(shares), p=shares)) if self.strata is None else self.strata[index]
        kind, hint, _ = strata[stratum]
        request = KINDS[kind](Draw(rng, self.split, hint))
        tools = _offered(request, self.tier, rng)
        turns = gold_turns(request.calls, request.answer)
        gold = join_turns(turns)
        goal, cost = _after(request.world, request.calls)
        length = self.count(gold) + 2
        return Problem(
            prompt=write_prompt(tools, request.words),
            target={
                "world": to_json(request.world),
                "goal": to_json(goal),
                "answer": request.answer,
                "calls": list(request.calls),
                "cost": cost,
                "functions": [schema(CATALOGUE[name]) for name in tools],
            },
            meta={"gold": gold, "kind": kind, "hint": hint, "brevity_target": length, "brevity_cap": 2 * length},
        )


def toolworld_problems(tier: Tier, split: str, *, seed: int, count: Callable[[str], int]) -> ProceduralProblems:
    """The problems of one split; outside ``train`` every prefix holds the tier's strata as closely as possible."""
    shares = [share for _, _, share in tier.strata]
    strata = None if split == "train" else tuple(stratify(shares, EVAL_SIZE))
    return ProceduralProblems(MakeProblem(tier, split, count, strata), split, seed=seed)


def write_prompt(tools: Sequence[str], words: str) -> str:
    """The prompt: signatures of the tools on offer, then the request."""
    signatures = "\n".join(CATALOGUE[name].signature for name in tools)
    return f"<tools>{signatures}<user>{words}<answer>"


def gold_turns(calls: Sequence[Call], answer: str | None) -> list[str]:
    """The gold responses: one turn for each call, and one that ends the dialogue.

    >>> gold_turns([{"name": "pay", "arguments": {}}], None)[0].splitlines()[2]
    '{"name": "pay", "parameters": {}}'
    """
    return [*(write_turn([call]) for call in calls), write_final(answer or FINAL_REPLY)]


def write_turn(calls: Sequence[Call], *, before: str = "") -> str:
    """A turn of calls, with a thought that names the tools."""
    return write_gold([dict(call) for call in calls], "", before + thought_of([dict(call) for call in calls]))


def write_final(text: str, *, before: str = "") -> str:
    """The turn that ends the dialogue."""
    return write_gold([], text, before + thought_of([]))


def _offered(request: Request, tier: Tier, rng: np.random.Generator) -> list[str]:
    others = [name for name in TOOLS if name not in request.tools]
    number = int(rng.integers(tier.distractors[0], tier.distractors[1], endpoint=True))
    names = [*request.tools, *(others[i] for i in rng.permutation(len(others))[:number])]
    return [names[i] for i in rng.permutation(len(names))]


def _after(world: World, calls: Sequence[Call]) -> tuple[World, int]:
    """The world after the gold calls, and how many there were, failing ones counted twice."""
    cost = 0
    for call in json.loads(json.dumps(list(calls))):
        world, result = execute(world, ToolCall(call["name"], call["arguments"]))
        cost += 1 + is_error(result)
    return world, cost
