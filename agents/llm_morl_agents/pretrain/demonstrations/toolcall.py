"""Demonstrations of the procedural tool-call task, clean or with the errors that a beginner makes.

A model this small learns to copy arguments only from clean answers; a short phase of corrupted ones then sets how often
it errs, so that reinforcement learning has something to do. Both draw from the training split alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llm_morl_agents.pretrain.demonstrations.base import Demonstrator, Segments
from llm_morl_env.tasks.tool_catalogue import FILLERS
from llm_morl_env.tasks.toolcall_problems import (
    TIERS,
    Request,
    ToolCallProblems,
    draw_arguments,
    thought_of,
    write_gold,
    write_prompt,
)


@dataclass(frozen=True)
class Corruption:
    """Rates of the errors in a demonstration.

    Args:
        format: A tag is missing, or the thought with its tags.
        value: Each argument's value is another one of its kind.
        key: Each argument's name is one of another argument in the prompt.
        name: Each call's tool is another one in the prompt.
        decision: A needed call is left out, or a needless one made.
    """

    format: float = 0.0
    value: float = 0.0
    key: float = 0.0
    name: float = 0.0
    decision: float = 0.0

    def scaled(self, factor: float) -> Corruption:
        """All rates times a factor."""
        return Corruption(**{name: rate * factor for name, rate in asdict(self).items()})


CLEAN = Corruption()
#: A beginner's. Mostly of the format: a short noisy phase costs more than its nominal rates, since it also flattens
#: what it leaves.
NOISY = Corruption(format=0.30, value=0.18, key=0.05, name=0.05, decision=0.03)


@dataclass(frozen=True)
class ToolCallDemonstrations:
    """Demonstrations of the procedural tool-call task.

    Args:
        seed: Of the problems.
        difficulty: Their tier.
    """

    seed: int
    difficulty: str = "standard"

    def __call__(self, index: int, noise: float, rng: np.random.Generator) -> Segments:
        """See `llm_morl_agents.pretrain.demonstrations.base.Demonstrator`."""
        problems = ToolCallProblems(TIERS[self.difficulty], "train", seed=self.seed, count_tokens=len)
        prompt, response = demonstrate(problems, index, NOISY.scaled(noise), rng)
        return ((prompt, False), (response, True))


def toolcall_demonstrations(*, seed: int, difficulty: str = "standard") -> Demonstrator:
    """Demonstrations of `ToolCall-MO-v0`.

    Raises:
        ValueError: If there is no such tier.
    """
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    return ToolCallDemonstrations(seed, difficulty)


def demonstrate(
    problems: ToolCallProblems, index: int, corruption: Corruption, rng: np.random.Generator
) -> tuple[str, str]:
    """Prompt of problem ``index`` and a demonstrated response, its thought with zero to three sentences of filler."""
    request = problems.request(index)
    calls = _corrupt_calls(request, corruption, rng)
    fillers = [FILLERS[i] for i in rng.permutation(len(FILLERS))[: int(rng.integers(0, 4))]]
    response = write_gold(calls, request.reply, " ".join([*fillers, thought_of(calls)]))
    if rng.random() < corruption.format:
        response = _break_format(response, "tool_call" if calls else "response", rng)
    return write_prompt(request), response


def _corrupt_calls(request: Request, corruption: Corruption, rng: np.random.Generator) -> list[dict[str, Any]]:
    if rng.random() < corruption.decision:
        if request.calls:
            return []
        tool = request.tools[int(rng.integers(len(request.tools)))]
        return [{"name": tool.name, "arguments": draw_arguments(rng, tool, "train")[0]}]
    return [_corrupt_call(call, request, corruption, rng) for call in request.calls]


def _corrupt_call(
    call: dict[str, Any], request: Request, corruption: Corruption, rng: np.random.Generator
) -> dict[str, Any]:
    tool = next(t for t in request.tools if t.name == call["name"])
    others = draw_arguments(rng, tool, "train")[0]
    keys = [a.name for t in request.tools for a in t.arguments]
    arguments = {}
    for key, value in call["arguments"].items():
        said = others[key] if rng.random() < corruption.value else value
        arguments[keys[int(rng.integers(len(keys)))] if rng.random() < corruption.key else key] = said
    wrong_tool = request.tools[int(rng.integers(len(request.tools)))]
    return {"name": wrong_tool.name if rng.random() < corruption.name else tool.name, "arguments": arguments}


def _break_format(response: str, tag: str, rng: np.random.Generator) -> str:
    """Lose the end of the thought, the opening tag, both tags, the closing tag, or the whole thought."""
    opening, closing = (f"<{tag}>\n", f"\n</{tag}>") if tag == "tool_call" else (f"<{tag}>", f"</{tag}>")
    ways: Sequence[Sequence[str]] = (
        ("</think>",),
        (closing,),
        (opening, closing),
        (response.split("</think>\n")[0] + "</think>\n",),
    )
    for piece in ways[int(rng.integers(len(ways)))]:
        response = response.replace(piece, "", 1)
    return response
