"""What transforms share: finding an objective, adding one, wrapping one. Shapes: N responses, K objectives."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Front, Task
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import Kind, RewardFunction


class Around:
    """Base of reward functions that call another one: same name, kind and problems, bounds of their own.

    Args:
        inner: The reward function.
        low: Lower bound; None keeps it.
        high: Upper bound; None keeps it.
        kind: None keeps it.
    """

    def __init__(
        self, inner: RewardFunction, *, low: float | None = None, high: float | None = None, kind: Kind | None = None
    ) -> None:
        self.inner, self.name, self.kind = inner, inner.name, inner.kind if kind is None else kind
        self.low, self.high = inner.low if low is None else low, inner.high if high is None else high
        if hasattr(inner, "applies"):
            self.applies = inner.applies


@dataclass(frozen=True)
class ConstantReward:
    """A reward that is ``value``, less or more by a deviation in [0, jitter] that the response alone decides.

    Args:
        name: Of the objective.
        low: Lower bound.
        high: Upper bound.
        value: Within them.
        jitter: Greatest deviation, towards the middle of the bounds.
    """

    name: str
    low: float
    high: float
    value: float = 0.0
    jitter: float = 0.0
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        """The reward."""
        if not self.jitter:
            return self.value
        share = zlib.crc32(response.encode("utf-8", "surrogatepass")) / 0xFFFFFFFF
        return self.value + share * self.jitter * (-1 if self.value > (self.low + self.high) / 2 else 1)


@dataclass(frozen=True)
class ExtendedFront:
    """A front with one more objective, the same for every policy."""

    inner: Front
    value: float

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Points (F, K + 1)."""
        front = self.inner(problems)
        return np.column_stack([front, np.full(len(front), self.value)])


def with_objective(task: Task, reward: Any, expected: float, who: str) -> Task:
    """The task with one more objective, the last, whose expected value no policy changes.

    Raises:
        ValueError: If the task has an objective of that name.
    """
    if reward.name in task.rewards.names:
        raise ValueError(f"{who}(name=): task {task.name!r} has an objective {reward.name!r} already")
    front = None if task.front is None else ExtendedFront(task.front, expected)
    return replace(task, rewards=RewardVector([*task.rewards, reward]), front=front)


def column_of(task: Task, name: str, parameter: str) -> int:
    """The place of an objective.

    Raises:
        ValueError: If the task has no such objective.
    """
    names = task.rewards.names
    if name not in names:
        raise ValueError(f"{parameter} must be one of {names} of task {task.name!r}, got {name!r}")
    return names.index(name)
