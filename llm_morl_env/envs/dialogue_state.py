"""`Conversation`: a dialogue so far, as a value; and what is paid for a turn of it.

Shapes: N responses, K objectives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from llm_morl_env.task import Dialogue, Task
from llm_morl_rewards import Problem
from llm_morl_rewards.turns import join_turns


@dataclass(frozen=True)
class Conversation:
    """What was said so far, and whether and why it is over.

    Args:
        problem: What it began with.
        responses: The policy's turns as they are scored, at most ``max_turns``.
        replies: What the environment answered to each but the last; to the last one too while the dialogue goes on.
        reason: Why it ended: ``"length"``, ``"stop"`` or ``"turns"``; empty while it goes on.
    """

    problem: Problem
    responses: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    reason: str = ""

    def extended(self, task: Task, response: str, reason: str) -> Conversation:
        """The conversation with one more response, and with the reply to it.

        Args:
            task: Its dialogue replies.
            response: Cut at the cap already. The separator of `join_turns`, which no text of ours has, is dropped.
            reason: ``"stop"``, or ``"length"`` where it was cut.

        Raises:
            TypeError: If the dialogue's reply is neither a text nor None.
            ValueError: If it is longer than the dialogue says.
        """
        dialogue = dialogue_of(task)
        responses = (*self.responses, join_turns([response]))
        reply = dialogue.reply(self.problem, responses)
        if reply is None or len(responses) >= dialogue.max_turns:
            why = "length" if reason == "length" else "stop" if reply is None else "turns"
            return Conversation(self.problem, responses, self.replies, why)
        if not isinstance(reply, str):
            raise TypeError(f"task {task.name!r}: dialogue.reply must return a str or None, got {reply!r}")
        length = task.tokenizer.count(reply)
        if length > dialogue.max_reply_tokens:
            raise ValueError(
                f"task {task.name!r}: a reply must be no longer than dialogue.max_reply_tokens="
                f"{dialogue.max_reply_tokens}, got {length} tokens: {reply!r}"
            )
        return Conversation(self.problem, responses, (*self.replies, reply))

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return bool(self.reason)

    @property
    def text(self) -> str:
        """All responses as one text, which the rewards read."""
        return join_turns(self.responses)

    @property
    def reply(self) -> str:
        """What the policy reads next; empty before its first turn and at the end."""
        return "" if self.ended or not self.replies else self.replies[-1]

    @property
    def transcript(self) -> str:
        """The prompt, then responses and replies in turn.

        >>> Conversation(Problem("1?"), ("one", "two"), (" 2? ",), "stop").transcript
        '1?one 2? two'
        """
        replies = (*self.replies, "")
        turns = (response + reply for response, reply in zip(self.responses, replies, strict=False))
        return self.problem.prompt + "".join(turns)


def dialogue_of(task: Task) -> Dialogue:
    """The task's dialogue, of a task that has one."""
    assert task.dialogue is not None  # the constructors of the views see to it
    return task.dialogue


def turn_rewards(values: NDArray[np.float32], paid: NDArray[np.float64], returns: Box) -> NDArray[np.float32]:
    """What a turn earns: the value of the dialogue with it, less what was paid before::

        r_t = V(turns up to t) - sum of r_1 .. r_{t-1},   V(no turns) = 0

    so that rewards add up to the value of the whole dialogue. To subtract what was *paid*, and not the value before,
    keeps rounding errors from adding up: the sum, in double precision, is within a rounding error of one float32 of
    the value, and inside the bounds.

    Args:
        values: V of N dialogues, (N, K) or (K,).
        paid: Sums of the rewards before, of that shape.
        returns: Bounds of V, a Box (K,).

    >>> values, bounds = np.array([0.75, 0.5], np.float32), Box(-1.0, 1.0, (2,))
    >>> turn_rewards(values, np.array([0.25, 1.0]), bounds).tolist()
    [0.5, -0.5]
    """
    rewards: NDArray[np.float32] = (values - paid).astype(np.float32)
    rewards = np.where(paid + rewards > returns.high, np.nextafter(rewards, np.float32(-np.inf)), rewards)
    return np.where(paid + rewards < returns.low, np.nextafter(rewards, np.float32(np.inf)), rewards)


def turn_space(returns: Box) -> Box:
    """Bounds of a turn's reward: the first may be any value, later ones a difference of two; 0 is inside.

    >>> turn_space(Box(-3.0, 3.0, (1,))), turn_space(Box(0.0, 1.0, (1,)))
    (Box(-6.0, 6.0, (1,), float32), Box(-1.0, 1.0, (1,), float32))
    """
    low, high = returns.low.astype(np.float64), returns.high.astype(np.float64)
    low, high = np.minimum(low, low - high), np.maximum(high, high - low)
    return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
