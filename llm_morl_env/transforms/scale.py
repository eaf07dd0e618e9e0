"""`ScaleToUnit`: objectives on the scale [0, 1]. Shapes: N responses, K objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Front, Perturbation, Task
from llm_morl_env.transforms.objectives import Around, column_of
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import RewardFunction


@dataclass(frozen=True)
class ScaleToUnit:
    """Objectives by their declared bounds on [0, 1]::

        r_k' = (r_k - low_k) / (high_k - low_k)

    For weighters that need a common scale, and for mixtures of tasks that bound an objective of one name differently.
    The bounds are the declared ones, not those of a batch: the transform has no state. A known Pareto front, and noise
    that was added before, are scaled along.

    Args:
        objectives: Names; None takes all.

    Raises:
        ValueError: If a name is given twice; when it is applied, if the task lacks one.

    >>> from llm_morl_env import make_task
    >>> task = ScaleToUnit()(make_task("toolcall"))
    >>> task.rewards.low.tolist(), task.rewards.high.tolist()
    ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    >>> float(task.score([task[0]], ["no call"])[0, 1]), float(task.score([task[0]], [task[0].meta["gold"]])[0, 1])
    (0.0, 1.0)
    """

    objectives: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.objectives is None:
            return
        if isinstance(self.objectives, str):
            raise TypeError(f"ScaleToUnit(objectives=) must be a sequence of names, got the str {self.objectives!r}")
        object.__setattr__(self, "objectives", tuple(self.objectives))
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError(f"ScaleToUnit(objectives=) must be distinct, got {self.objectives!r}")

    def __call__(self, task: Task) -> Task:
        """The scaled task."""
        names = task.rewards.names if self.objectives is None else self.objectives
        columns = [column_of(task, name, "ScaleToUnit(objectives=)") for name in names]
        low, width = np.zeros(len(task.rewards)), np.ones(len(task.rewards))
        functions: list[Any] = list(task.rewards)
        for k in columns:
            low[k], width[k] = functions[k].low, functions[k].high - functions[k].low
            functions[k] = Scaled(functions[k])
        line = tuple(low.tolist()), tuple(width.tolist())
        return replace(
            task,
            rewards=RewardVector(functions),
            perturbations=tuple(ScaledPerturbation(perturb, *line) for perturb in task.perturbations),
            front=None if task.front is None else ScaledFront(task.front, *line),
        )


class Scaled(Around):
    """A reward function by its bounds on [0, 1].

    Args:
        inner: The reward function.
    """

    def __init__(self, inner: RewardFunction) -> None:
        super().__init__(inner, low=0.0, high=1.0)

    def __call__(self, *args: Any) -> Any:
        """The reward, or the rewards, as ``kind`` has it."""
        scaled = (np.asarray(self.inner(*args), np.float64) - self.inner.low) / (self.inner.high - self.inner.low)
        return float(scaled) if self.kind == "pointwise" else scaled


@dataclass(frozen=True)
class ScaledPerturbation:
    """A perturbation of rewards as they were before ``(r - low) / width``; both of length K then."""

    inner: Perturbation
    low: tuple[float, ...]
    width: tuple[float, ...]

    def __call__(self, rewards: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """A fresh array (N, K), or wider where objectives were added since."""
        k = len(self.low)
        low, width = np.array(self.low), np.array(self.width)
        before = self.inner(rewards[:, :k] * width + low, rng)
        return np.hstack([(before - low) / width, rewards[:, k:]])


@dataclass(frozen=True)
class ScaledFront:
    """A front after ``(r - low) / width``."""

    inner: Front
    low: tuple[float, ...]
    width: tuple[float, ...]

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Points (F, K)."""
        points: NDArray[np.float64] = (self.inner(problems) - np.array(self.low)) / np.array(self.width)
        return points
