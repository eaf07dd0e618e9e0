"""`NoisyObjective`: noise that no policy can influence. Shapes: N responses, K objectives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Task
from llm_morl_env.transforms.objectives import Around, ConstantReward, column_of, with_objective
from llm_morl_rewards import RewardVector
from llm_morl_rewards.base import RewardFunction


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
            column = column_of(task, self.on, "NoisyObjective(on=)")
            functions: list[Any] = list(task.rewards)
            functions[column] = Widened(functions[column], self.scale)
            noisy = replace(task, rewards=RewardVector(functions))
        return replace(noisy, perturbations=(*noisy.perturbations, UniformNoise(column, self.scale)))


class Widened(Around):
    """A reward function with wider bounds.

    Args:
        inner: The reward function.
        by: How far both bounds move out.
    """

    def __init__(self, inner: RewardFunction, by: float) -> None:
        super().__init__(inner, low=inner.low - by, high=inner.high + by)

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
