"""Episodes as text: prompt, answers, and a bar for each objective."""

from __future__ import annotations

from collections.abc import Sequence
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
    return "\n".join([*lines, f"answer ({reason})", _indent(response), "reward", *_bars(rewards, values)])


def render_dialogue(
    prompt: str,
    responses: Sequence[str],
    replies: Sequence[str],
    reason: str,
    rewards: RewardVector,
    values: NDArray[np.floating],
) -> str:
    """A dialogue as a text.

    Args:
        prompt: What the policy was given.
        responses: What it said, turn by turn.
        replies: What it was answered; as many, or one less where the dialogue is over.
        reason: Why the dialogue ended; empty while it goes on.
        rewards: Names and bounds of the K objectives.
        values: What the dialogue has earned so far, (K,).

    Returns:
        Lines as those of `render_episode`.
    """
    lines = ["prompt", _indent(prompt)]
    for turn, response in enumerate(responses):
        last = f" ({reason})" if reason and turn == len(responses) - 1 else ""
        lines += [f"turn {turn + 1}{last}", _indent(response)]
        if turn < len(replies):
            lines += ["reply", _indent(replies[turn])]
    if responses:
        lines += ["reward" if reason else "reward so far", *_bars(rewards, values)]
    return "\n".join(lines)


def _bars(rewards: RewardVector, values: NDArray[np.floating]) -> list[str]:
    """A line for each objective."""
    width = max(len(name) for name in rewards.names)
    return [
        f"  {function.name:<{width}}  {reward_bar(float(value), function.low, function.high)} {float(value):6.2f}"
        f"  [{function.low:g}, {function.high:g}]"
        for function, value in zip(rewards, values, strict=True)
    ]


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
