"""`GateObjective`: an easy objective counts only where a hard one was reached. Shapes: N responses, K objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Task
from llm_morl_env.transforms.objectives import Around, column_of
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import KINDS, RewardFunction, applicable, evaluate


@dataclass(frozen=True)
class GateObjective:
    """An objective that counts only where another one reaches a threshold (the conditioned reward)::

        r_easy' = r_easy  if r_on >= threshold  else  low_easy

    So that brevity, say, cannot be earned by a wrong answer. From GDPO (arXiv 2601.05242), section on conditioned
    rewards, where the other value is 0; here it is the easy objective's lower bound, which is 0 for rewards in [0, 1].

    On a problem to which ``on`` does not apply, there is nothing to wait for: the easy objective counts. Noise that was
    added before (`NoisyObjective`) is gated too: the gate opens by the noisy value, and a closed gate has no noise.
    Without such noise the function behind ``on`` is evaluated once more, for the gate. A known Pareto front is known no
    longer.

    Args:
        easy: The objective that is gated; its bounds stay.
        on: The objective that opens the gate.
        threshold: In the unit of ``on``, above its lower bound and at most its upper one.

    Raises:
        ValueError: If the two are one; when it is applied, if the task lacks one or ``threshold`` leaves the bounds.

    >>> from llm_morl_env import make_task
    >>> task = GateObjective("b", on="a", threshold=0.5)(make_task("dentfront"))
    >>> task.score([task[0]] * 2, ["aaabbb", "aabbbb"]).round(2).tolist()
    [[0.5, 0.5], [0.4399999976158142, 0.0]]
    """

    easy: str
    on: str
    threshold: float

    def __post_init__(self) -> None:
        if self.easy == self.on:
            raise ValueError(f"GateObjective(easy=, on=) must be two objectives, got {self.easy!r} twice")

    def __call__(self, task: Task) -> Task:
        """The task with the gate."""
        easy = column_of(task, self.easy, "GateObjective(easy=)")
        on = column_of(task, self.on, "GateObjective(on=)")
        functions: list[Any] = list(task.rewards)
        low, high = functions[on].low, functions[on].high
        if not low < self.threshold <= high:
            raise ValueError(
                f"GateObjective(threshold=) must lie in ({low:g}, {high:g}], the bounds of {self.on!r}, "
                f"got {self.threshold!r}"
            )
        if task.perturbations:
            closing = ClosedGate(easy, on, self.threshold, functions[easy].low)
            return replace(task, perturbations=(*task.perturbations, closing), front=None)
        functions[easy] = Gated(functions[easy], functions[on], self.threshold)
        return replace(task, rewards=RewardVector(functions), front=None)


class Gated(Around):
    """A reward function that has its lower bound where another one stays below a threshold.

    Args:
        inner: The easy one.
        on: The hard one.
        threshold: Of the hard one.
    """

    def __init__(self, inner: RewardFunction, on: RewardFunction, threshold: float) -> None:
        super().__init__(inner, kind=max(inner.kind, on.kind, key=KINDS.index))
        self.on, self.threshold = on, threshold

    def __call__(self, *args: Any) -> Any:
        """The reward, or the rewards, as ``kind`` has it."""
        if self.kind == "pointwise":
            problem, response = args
            return float(self._rewards((problem,), (response,), None)[0])
        problems, responses, *group = args
        return self._rewards(problems, responses, group[0] if group else None)

    def _rewards(
        self, problems: Sequence[Problem], responses: Sequence[str], group: NDArray[np.int64] | None
    ) -> NDArray[np.float64]:
        waits = applicable(self.on, problems)
        closed = waits & (evaluate(self.on, problems, responses, group) < self.threshold)
        return np.where(closed, self.low, evaluate(self.inner, problems, responses, group))


@dataclass(frozen=True)
class ClosedGate:
    """A gate on rewards (N, K) that bear noise already: column ``easy`` is ``low`` where ``on`` stays below.

    >>> ClosedGate(0, 1, 0.5, 0.0)(np.array([[1.0, 0.4], [1.0, 0.6]]), np.random.default_rng(0)).tolist()
    [[0.0, 0.4], [1.0, 0.6]]
    """

    easy: int
    on: int
    threshold: float
    low: float

    def __call__(self, rewards: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """A fresh array (N, K); draws nothing. NaN, an objective that does not apply, closes no gate."""
        gated = rewards.copy()
        gated[rewards[:, self.on] < self.threshold, self.easy] = self.low
        return gated
