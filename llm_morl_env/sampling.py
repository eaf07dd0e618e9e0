"""Which task of a mixture is drawn how often, and how much its loss counts. Shapes: C tasks, N responses.

Two ways to shift a training towards tasks of small weight, from Li et al. 2024 ("Upsample or Upweight? Balanced
Training on Heavily Imbalanced Datasets", arXiv 2410.04579): draw them more often (temperature sampling), or draw by the
weights and multiply their loss (scalarization). The gradient is the same in expectation, and the variance is not: that
of up-weighting is larger, since a rare task's gradient comes seldom and enlarged. Sampling learns faster, and repeats
small data sets sooner; hence the paper's Cooldown, hot at first, cool later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from llm_morl_env import expressions
from llm_morl_env.task import Task
from llm_morl_env.tasks.mixed_problems import TASK, MixedProblems
from llm_morl_rewards import Problem

Shape = Literal["linear", "step"]


class Shares(Protocol):
    """Shares of tasks over the training. A small frozen picklable object.

    Attributes:
        scheduled: Whether ``progress`` matters.
    """

    @property
    def scheduled(self) -> bool:
        """See above."""

    def shares(self, weights: Sequence[float], progress: float) -> NDArray[np.float64]:
        """Shares (C,) that add up to 1, of tasks with these weights."""


def tempered(weights: Sequence[float], tau: float) -> NDArray[np.float64]:
    """Shares of tasks at a temperature: ``p_i = w_i^(1/tau) / sum_j w_j^(1/tau)``.

    >>> tempered([0.9, 0.1], 1.0).round(3).tolist(), tempered([0.9, 0.1], 2.0).round(3).tolist()
    ([0.9, 0.1], [0.75, 0.25])
    """
    exponents = np.log(np.asarray(weights, np.float64)) / tau
    powers = np.exp(exponents - exponents.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


@dataclass(frozen=True)
class Temperature:
    """The weights at a fixed temperature (see `tempered`): 1 takes them as they are, infinity takes all tasks alike.

    Args:
        tau: Above 0; below 1 it favours the tasks of large weight.
    """

    tau: float = 1.0

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ValueError(f"Temperature(tau=) must be above 0, got {self.tau!r}")

    @property
    def scheduled(self) -> bool:
        """False."""
        return False

    def shares(self, weights: Sequence[float], progress: float) -> NDArray[np.float64]:
        """See `Shares.shares`; the progress does not matter."""
        return tempered(weights, self.tau)


@dataclass(frozen=True)
class Cooldown:
    """The weights at a temperature that falls (Li et al. 2024, section on Cooldown), here by the progress t in [0, 1]::

        tau(t) = start + (end - start) * min(t / over, 1)        linear
        tau(t) = start if t < over else end                      step

    Args:
        start: Temperature at the beginning.
        end: Temperature from ``over`` on.
        over: The share of the training that it takes, in (0, 1].
        shape: ``"linear"`` or ``"step"``.

    >>> [Cooldown(5.0, over=0.5).tau(t) for t in (0.0, 0.25, 0.5, 1.0)]
    [5.0, 3.0, 1.0, 1.0]
    """

    start: float
    end: float = 1.0
    over: float = 1.0
    shape: Shape = "linear"

    def __post_init__(self) -> None:
        for option in ("start", "end"):
            if not (np.isfinite(getattr(self, option)) and getattr(self, option) > 0):
                raise ValueError(f"Cooldown({option}=) must be finite and above 0, got {getattr(self, option)!r}")
        if not 0 < self.over <= 1:
            raise ValueError(f"Cooldown(over=) must lie in (0, 1], got {self.over!r}")
        if self.shape not in get_args(Shape):
            raise ValueError(f"Cooldown(shape=) must be one of {get_args(Shape)}, got {self.shape!r}")

    @property
    def scheduled(self) -> bool:
        """True."""
        return True

    def tau(self, progress: float) -> float:
        """The temperature."""
        if self.shape == "step":
            return self.start if progress < self.over else self.end
        return self.start + (self.end - self.start) * min(progress / self.over, 1.0)

    def shares(self, weights: Sequence[float], progress: float) -> NDArray[np.float64]:
        """See `Shares.shares`."""
        return tempered(weights, self.tau(progress))


#: By name.
SAMPLING: Mapping[str, Any] = MappingProxyType({"temperature": Temperature, "cooldown": Cooldown})


def shares_of(value: Shares | str | Mapping[str, Any], parameter: str) -> Shares:
    """The shares that a value means: an object, a text ``"temperature(tau=2)"``, or ``{"shares": "temperature", ...}``.

    Raises:
        ValueError: If a name or an option is unknown, or an option's value refused.
        TypeError: If the value is none of these.
    """
    if isinstance(value, str):
        return cast(Shares, expressions.construct(value, SAMPLING))
    if isinstance(value, Mapping):
        return cast(Shares, expressions.from_mapping(value, SAMPLING, key="shares"))
    if not callable(getattr(value, "shares", None)):
        raise TypeError(f"{parameter} must be a Temperature, a Cooldown, a text or a mapping, got {value!r}")
    return value


@dataclass(frozen=True)
class MixtureSampler:
    """Draws a task by its share, then one of its problems uniformly; each draw on its own.

    With ``upweight`` the loss of task i is multiplied by ``p_i / q_i``, p the shares of ``upweight`` and q those that
    are drawn by: on average as if it were drawn by p. Outside the training split, and so in evaluations, the given
    weights are drawn by.

    Args:
        names: Of the C tasks.
        weights: Of the tasks, above 0, with the sum 1.
        sampling: Shares that are drawn by.
        upweight: Shares that the loss is brought to; None leaves it.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    sampling: Shares = Temperature()
    upweight: Shares | None = None

    @property
    def scheduled(self) -> bool:
        """Whether either changes with the progress."""
        return self.sampling.scheduled or (self.upweight is not None and self.upweight.scheduled)

    @property
    def upweights(self) -> bool:
        """Whether there are loss weights."""
        return self.upweight is not None

    def draw(self, task: Task, count: int, rng: np.random.Generator, progress: float) -> list[int]:
        """See `llm_morl_env.task.Sampler.draw`. Distinct as far as a task has so many problems as are drawn of it."""
        trains = task.split == "train"
        shares = self.sampling.shares(self.weights, progress) if trains else np.asarray(self.weights)
        pools = self._pools(task.problems[task.split])
        shares = np.where([size > 0 for size, _ in pools], shares, 0.0)
        drawn = rng.choice(len(self.names), size=count, p=shares / shares.sum())
        indices = np.empty(count, np.int64)
        for c, (size, index_of) in enumerate(pools):
            rows = np.flatnonzero(drawn == c)
            if len(rows):
                numbers = rng.choice(size, len(rows), replace=size < len(rows))
                indices[rows] = [index_of(int(number)) for number in numbers]
        return [int(i) for i in indices]

    def _pools(self, shown: Sequence[Problem]) -> list[tuple[int, Any]]:
        """For each task how many problems there are, and where the n-th stands."""
        if isinstance(shown, MixedProblems):
            sizes = [min(len(part), shown.count(c)) for c, part in enumerate(shown.parts)]
            return [(size, _Place(shown, c)) for c, size in enumerate(sizes)]
        listed: dict[str, list[int]] = {name: [] for name in self.names}  # of a slice
        for index, problem in enumerate(shown):
            listed[problem.meta[TASK]].append(index)
        return [(len(places), places.__getitem__) for places in listed.values()]

    def loss_weights(self, problems: Sequence[Problem], progress: float) -> NDArray[np.float64]:
        """See `llm_morl_env.task.Sampler.loss_weights`."""
        if self.upweight is None:
            return np.ones(len(problems))
        ratio = self.upweight.shares(self.weights, progress) / self.sampling.shares(self.weights, progress)
        by_task = dict(zip(self.names, ratio.tolist(), strict=True))
        return np.array([by_task[problem.meta[TASK]] for problem in problems], np.float64)


@dataclass(frozen=True)
class _Place:
    """Where the n-th problem of a part stands."""

    problems: MixedProblems
    part: int

    def __call__(self, number: int) -> int:
        return self.problems.index_of(self.part, number)
