"""`GD2PO`: responses whose objectives pull in opposite directions are left out (arXiv 2606.16771)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..bases import group_total, group_zscore, quotient, rows_of
from .base import Objectives, Signals, State, Weighting
from .selection import per_response

#: Which conflicting responses are dropped: all, or those whose objectives nearly cancel.
Mode = Literal["hard", "snr"]


def conflict(z: NDArray[np.float64], eps: float = 1e-8) -> NDArray[np.bool_]:
    """Whether a response has an objective above and another below its group mean, (N,).

    Args:
        z: (N, K) group z-scores; NaN counts as 0.
        eps: Scores of at most this size have no sign.

    >>> conflict(np.array([[1.0, -0.5], [1.0, 0.5], [1.0, 0.0]]))
    array([ True, False, False])
    """
    z = np.nan_to_num(z)
    both: NDArray[np.bool_] = np.any(z > eps, axis=1) & np.any(z < -eps, axis=1)
    return both


def signal_to_noise(z: NDArray[np.float64], eps: float = 1e-8) -> NDArray[np.float64]:
    """``|sum_k z_k| / (sum_k |z_k| + eps)``, (N,) in [0, 1): 1 where the objectives agree, 0 where they cancel.

    >>> signal_to_noise(np.array([[1.0, -0.5], [1.0, 0.5], [1.0, -1.0]])).round(3)
    array([0.333, 1.   , 0.   ])
    """
    z = np.nan_to_num(z)
    ratio: NDArray[np.float64] = np.abs(z.sum(axis=1)) / (np.abs(z).sum(axis=1) + eps)
    return ratio


@dataclass(frozen=True)
class GD2PO:
    """``w_ik = a_k keep_i ratio_p``: conflicting responses are dropped, and their group loses weight by their share.

    GD2PO (arXiv 2606.16771 and its released code). From the group z-scores: ``"hard"`` drops a response that has both
    signs; ``"snr"`` drops it only if ``|sum z| / (sum |z| + eps) < tau`` as well. ``ratio_p`` is the share of group p
    that is kept. It multiplies before the batch is whitened, and a dropped response takes no part in the whitening, so
    this belongs at advantage level under GDPO. With one response kept in the batch nothing is left to learn from.

    The preference ``a`` multiplies the z-scores before they are compared, so that an objective of preference 0 vetoes
    nothing (the released code has no weights; equal ones reproduce it).

    At reward level the same responses are dropped; the others are compared with each other alone, since the baseline is
    then that of the kept ones (a lone one has none: 0, but its raw score under RLOO), and ``ratio_p`` vanishes wherever
    a group std divides.

    It discards most of the batch as K grows: of unrelated objectives a share of ``2^(1 - K)`` agrees. Objectives that
    truly trade off are never moved along their front, as every step along it is a conflict.

    Args:
        mode: ``"hard"`` or ``"snr"``.
        tau: Threshold of ``"snr"``: 0.8 in the released scripts, 0.2 in its default configuration.
        eps: Dead zone of the signs and guard of the ratio; 1e-6 in the released safety variant.

    Raises:
        ValueError: If ``mode`` is unknown, ``tau`` lies outside [0, 1] or ``eps`` is not positive.

    >>> rewards, ones = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.zeros(4, int), 0 * ones, ones, preference=ones, level="advantage", step=0)
    >>> GD2PO()(signals, {})[0].weights[:, 0]
    array([0.5, 0.5, 0. , 0. ])
    """

    mode: Mode = "hard"
    tau: float = 0.8
    eps: float = 1e-8
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"GD2PO(mode=) must be one of {get_args(Mode)}, got {self.mode!r}")
        if not 0 <= self.tau <= 1:
            raise ValueError(f"GD2PO(tau=) must lie in [0, 1], got {self.tau!r}")
        if not (np.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"GD2PO(eps=) must be positive and finite, got {self.eps!r}")

    def init(self, objectives: Objectives) -> State:
        """Empty."""
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (N, K), rows of zeros for what is dropped; the state as it was."""
        relative = quotient(signals.preference, np.asarray(np.max(signals.preference, initial=0.0)))
        z = relative * group_zscore(signals.rewards, signals.group)
        dropped = conflict(z, self.eps)
        if self.mode == "snr":
            dropped &= signal_to_noise(z, self.eps) < self.tau
        row = rows_of(signals.group)
        present = np.any(~np.isnan(signals.rewards), axis=1)
        kept = (present & ~dropped).astype(np.float64)
        ratio = quotient(group_total(kept, row), group_total(present.astype(np.float64), row))
        weights = signals.preference * (kept * ratio[row])[:, None]
        return Weighting(per_response(weights, signals.group)), state
