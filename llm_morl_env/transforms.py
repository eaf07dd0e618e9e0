"""Transforms that put weighters to the test: objectives that are noise, and objectives that are flat.

Each is a small frozen object that makes a task of a task, for ``transforms=[...]`` of every id and view. Shapes: N
responses, K objectives.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Front, Task
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import Kind, RewardFunction


@dataclass(frozen=True)
class NoisyObjective:
    """Noise that no policy can influence, on an objective of its own or on one of the task's::

        r_k <- r_k + scale * U,   U uniform on [-1, 1], drawn anew for each response

    The noise comes from the environment's generator, so a seed reproduces it, and drawing it moves that generator on:
    the problems that follow differ from those of the task without noise. Its mean is 0, its standard deviation
    ``scale / sqrt(3)``; the declared bounds grow by ``scale``, so that nothing is clipped and means are unbiased. A
    known Pareto front stays that of expected rewards.

    Args:
        on: The objective that becomes noisy; None adds an objective of nothing but noise, the last one.
        scale: Greatest size of the noise, above 0.
        name: Of the added objective.

    Raises:
        ValueError: If ``scale`` is not above 0; when it is applied, if the task has no such objective, or has ``name``.

    >>> from llm_morl_env import make_task
    >>> NoisyObjective(scale=0.25)(make_task("dentfront")).rewards.names
    ('a', 'b', 'noise')
    >>> NoisyObjective(on="b")(make_task("dentfront")).rewards.low.tolist()
    [0.0, -0.5]
    """

    on: str | None = None
    scale: float = 0.5
    name: str = "noise"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"NoisyObjective(scale=) must be finite and above 0, got {self.scale!r}")

    def __call__(self, task: Task) -> Task:
        """The task with noise."""
        if self.on is None:
            noisy = with_objective(task, ConstantReward(self.name, -self.scale, self.scale), 0.0, "NoisyObjective")
            column = len(task.rewards)
        else:
            names = task.rewards.names
            if self.on not in names:
                raise ValueError(f"NoisyObjective(on=) must be one of {names} of task {task.name!r}, got {self.on!r}")
            column = names.index(self.on)
            functions: list[Any] = list(task.rewards)
            functions[column] = Widened(functions[column], self.scale)
            noisy = replace(task, rewards=RewardVector(functions))
        return replace(noisy, perturbations=(*noisy.perturbations, UniformNoise(column, self.scale)))


@dataclass(frozen=True)
class SaturatedObjective:
    """An extra objective that is the same for every response: solved, or out of reach.

    Nothing can be learnt from it, and a weighter must not amplify it. With ``jitter`` responses differ by the size of a
    rounding error, as scores that were summed in another order do: each text has its own fixed deviation, uniform on
    [0, jitter], towards the middle of [0, 1]. Rewards are float32, so that near 1 differences come in steps of 6e-8,
    and a smaller jitter vanishes.

    Args:
        name: Of the objective, which becomes the last one.
        value: What it is, in [0, 1], its declared bounds.
        jitter: Greatest deviation, in [0, 0.5]. A known Pareto front is stated without it.

    Raises:
        ValueError: If a value is out of its range; when it is applied, if the task has an objective of this name.

    >>> from llm_morl_env import make_task
    >>> task = SaturatedObjective()(make_task("dentfront"))
    >>> task.score([task[0]] * 2, ["ab", "bb"])[:, -1].tolist()
    [1.0, 1.0]
    """

    name: str = "saturated"
    value: float = 1.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for option, high in (("value", 1.0), ("jitter", 0.5)):
            if not 0 <= getattr(self, option) <= high:
                raise ValueError(
                    f"SaturatedObjective({option}=) must lie in [0, {high:g}], got {getattr(self, option)!r}"
                )

    def __call__(self, task: Task) -> Task:
        """The task with the flat objective."""
        reward = ConstantReward(self.name, 0.0, 1.0, self.value, self.jitter)
        return with_objective(task, reward, self.value, "SaturatedObjective")


#: By name, for the command line.
TRANSFORMS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"noisy": NoisyObjective, "saturated": SaturatedObjective}
)


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


class Widened:
    """A reward function with wider bounds.

    Args:
        inner: The reward function.
        by: How far both bounds move out.
    """

    def __init__(self, inner: RewardFunction, by: float) -> None:
        self.inner, self.by = inner, by
        self.name, self.kind = inner.name, inner.kind
        self.low, self.high = inner.low - by, inner.high + by

    def __call__(self, *args: Any) -> Any:
        """What the inner function returns."""
        return self.inner(*args)


@dataclass(frozen=True)
class UniformNoise:
    """Adds ``scale * U``, U uniform on [-1, 1], to a column of rewards (N, K).

    >>> UniformNoise(1, 0.5)(np.zeros((2, 2)), np.random.default_rng(0)).round(2).tolist()
    [[0.0, 0.14], [0.0, -0.23]]
    """

    column: int
    scale: float

    def __call__(self, rewards: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """A fresh array (N, K); draws N numbers."""
        noisy = rewards.copy()
        noisy[:, self.column] += rng.uniform(-self.scale, self.scale, size=len(rewards))
        return noisy


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
