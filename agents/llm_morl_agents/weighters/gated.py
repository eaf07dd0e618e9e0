"""`Gated`: an easy objective counts only where a hard one is met (GDPO's conditioned reward, arXiv 2601.05242)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import FLAT
from .base import Objectives, Signals, State, Weighting
from .selection import index_of, per_response

Floats = NDArray[np.float64]


def gate(hard: Floats, threshold: float) -> NDArray[np.bool_]:
    """Whether ``hard >= threshold``, up to rounding of float32 rewards; open where the hard reward is missing.

    Args:
        hard: (N,), NaN where missing.
        threshold: Level to reach.

    >>> gate(np.array([1.0, 0.5, np.nan, np.float32(0.9)]), 0.9).tolist()
    [True, False, True, True]
    """
    return ~(hard < threshold - FLAT * abs(threshold))


@dataclass(frozen=True)
class Gated:
    """Weight 0 for the ``easy`` objectives of each response whose ``on`` reward is below ``threshold``.

    The conditioned reward of GDPO (arXiv 2601.05242), ``r_easy' = r_easy if r_hard >= t else 0``: without it a policy
    that finds the hard objective hard collects the easy one, for example short answers that are wrong, and smaller
    weights hardly help.

    At reward level this is the paper's rule exactly, as a closed gate leaves 0. So 0 must be the worst that the easy
    objective can give: a declared lower bound below 0 is refused, since missing the hard objective would then pay; an
    undeclared one is taken on trust.
    At advantage level it gates the advantage: z-scores are those of the unconditioned easy reward over all
    responses, a response behind a closed gate is neither rewarded nor punished for it, and a good easy reward counts
    less than with the paper's rule, under which closed responses lower the mean. The scores of a group are then not
    centred; whitening mends the mean of the batch alone.

    A missing hard reward closes nothing. With a gate that no response passes the easy objectives are not trained.

    Args:
        easy: Names or indices of the objectives behind the gate; one, or a sequence. None for all but ``on``.
        on: Name or index of the hard objective.
        threshold: In the units of its reward; None for half-way between its declared bounds.

    Raises:
        ValueError: If the threshold is not finite; from ``init``, if an objective is unknown, the hard one is among the
            easy ones, or the default threshold lacks bounds; from the call at reward level, if the declared lower
            bound of an easy objective is negative.

    >>> weighter = Gated(easy="brevity", on="correctness", threshold=1.0)
    >>> state = weighter.init(Objectives(["correctness", "brevity"], [0, 0], [1, 1]))
    >>> rewards, ones = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.zeros(4, int), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> weighter(signals, state)[0].weights[:, 1] * rewards[:, 1]
    array([1., 0., 0., 0.])
    """

    easy: int | str | Sequence[int | str] | None = None
    on: int | str = 0
    threshold: float | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise ValueError(f"Gated(threshold=) must be finite, got {self.threshold!r}")
        if isinstance(self.easy, Sequence) and not isinstance(self.easy, str):
            object.__setattr__(self, "easy", tuple(self.easy))

    def init(self, objectives: Objectives) -> State:
        """The indices of ``easy`` and ``on``, and the ``threshold``."""
        names = objectives.names
        on = index_of(self.on, names, "Gated(on=)")
        given = (self.easy,) if isinstance(self.easy, (int, str)) else self.easy
        if given is None:
            easy = [index for index in range(len(names)) if index != on]
        else:
            easy = sorted({index_of(objective, names, "Gated(easy=)") for objective in given})
        if on in easy:
            raise ValueError(f"Gated(easy=) must not hold the objective of on={self.on!r}, got {self.easy!r}")
        threshold = self.threshold
        if threshold is None:
            low, high = float(objectives.low[on]), float(objectives.high[on])
            if not np.isfinite(high - low):
                raise ValueError(f"Gated(threshold=None) needs the bounds of {names[on]!r}, got {low} and {high}")
            threshold = (low + high) / 2
        return {"easy": easy, "on": on, "threshold": float(threshold)}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (N, K), 0 behind a closed gate and the preference elsewhere; the state as it was."""
        k = len(signals.low)
        resolved = state or self.init(Objectives([str(index) for index in range(k)], signals.low, signals.high))
        easy = np.isin(np.arange(k), resolved["easy"])
        below = easy & np.isfinite(signals.low) & (signals.low < 0)
        if signals.level == "reward" and below.any():
            raise ValueError(
                f"Gated at reward level puts a closed objective at 0, but objective {int(np.argmax(below))} may fall "
                f"to {signals.low[below][0]}: missing the gate would pay; combine advantages instead (gdpo)"
            )
        passed = gate(signals.rewards[:, resolved["on"]], resolved["threshold"])
        weights = np.where(easy & ~passed[:, None], 0.0, signals.preference)
        return Weighting(per_response(weights, signals.group)), state
