"""Episodes as text: prompt, answer, and a bar for each objective."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_morl_rewards import RewardVector

RenderMode = Literal["ansi", "human"]

BAR_WIDTH = 24


def render_episode(
    prompt: str, rewards: RewardVector, result: tuple[str, str, NDArray[np.float32]] | None = None
) -> str:
    """An episode as a text.

    Args:
        prompt: What the policy was given.
        rewards: Names and bounds of the K objectives.
        result: Response, finish reason and reward vector (K,) of a finished episode; None while it runs.

    Returns:
        Lines without trailing newline. Control characters of the texts are escaped, so that a response cannot reach
        the terminal's own commands.
    """
    lines = ["prompt", _indent(prompt)]
    if result is None:
        return "\n".join(lines)
    response, reason, values = result
    lines += [f"answer ({reason})", _indent(response), "reward"]
    width = max(len(name) for name in rewards.names)
    for function, value in zip(rewards, values, strict=True):
        bar = reward_bar(float(value), function.low, function.high)
        lines.append(f"  {function.name:<{width}}  {bar} {float(value):6.2f}  [{function.low:g}, {function.high:g}]")
    return "\n".join(lines)


def reward_bar(value: float, low: float, high: float, width: int = BAR_WIDTH) -> str:
    """A bar that fills from ``low`` to ``high``.

    >>> reward_bar(0.5, 0.0, 1.0, width=6), reward_bar(-3.0, -3.0, 3.0, width=6)
    ('███···', '······')
    """
    filled = round(width * min(max((value - low) / (high - low), 0.0), 1.0))
    return "█" * filled + "·" * (width - filled)


def printable(text: str) -> str:
    r"""The text with control characters, line separators and lone surrogates escaped; newlines stay.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def _indent(text: str) -> str:
    return "\n".join(f"  | {line}" for line in printable(text).split("\n"))
