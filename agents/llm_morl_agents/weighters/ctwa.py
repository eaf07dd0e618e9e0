"""`CTWA`: an objective that the update hardly improves gains weight (arXiv 2602.06869)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bases import Numerics, batch_whitened, group_max, group_total, group_zscore, moments, quotient, rows_of
from .base import Level, Objectives, Signals, State, Weighting, frozen_array
from .bounds import check_bounds

#: The released code's: its targets are set for advantages of this size.
_SAMPLE_STD = Numerics(ddof=1, whiten_ddof=1)


def _advantages(
    rewards: NDArray[np.float64], group: NDArray[np.int64], weights: NDArray[np.float64], level: Level
) -> NDArray[np.float64]:
    """GRPO's (reward level) or GDPO's advantages under (K,) weights, sample std as in the released code, (N,)."""
    values = rewards if level == "reward" else group_zscore(rewards, group, numerics=_SAMPLE_STD)
    present = (~np.isnan(rewards) & (weights > 0)).any(axis=1)
    terms = weights * np.nan_to_num(values)
    scores = np.where(present, terms.sum(axis=1), np.nan)
    if level == "reward":
        magnitude = group_max(np.abs(terms), rows_of(group)).sum(axis=1)
        return group_zscore(scores, group, numerics=_SAMPLE_STD, magnitude=magnitude)
    magnitude = np.array([np.abs(terms).sum(axis=1).max(initial=0.0)])
    return batch_whitened(scores, group, numerics=_SAMPLE_STD, magnitude=magnitude)


def advantage_covariance(
    rewards: NDArray[np.float64], group: NDArray[np.int64], advantages: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over groups of the population covariance of each reward with the advantage, (K,).

    To first order it is how much the policy-gradient step raises the mean of that reward.

    Args:
        rewards: (N, K), NaN left out.
        group: int64 (N,).
        advantages: (N,), NaN left out.

    Returns:
        (K,); NaN for an objective without any group of two rewards. Groups of one are left out.

    >>> advantage_covariance(np.array([[0.0, 5.0], [1.0, 5.0]]), np.array([3, 3]), np.array([-1.0, 1.0]))
    array([0.5, 0. ])
    """
    row = rows_of(group)
    both = ~np.isnan(rewards) & ~np.isnan(advantages)[:, None]
    rewards_in = moments(np.where(both, rewards, np.nan), row)
    weights_in = moments(np.where(both, advantages[:, None], np.nan), row)
    products = np.where(both, rewards_in.centred * weights_in.centred, 0.0)
    covariance = quotient(group_total(products, row), rewards_in.size)
    counted = rewards_in.size > 1
    groups = counted.sum(axis=0)
    mean: NDArray[np.float64] = quotient(np.sum(covariance * counted, axis=0), groups.astype(np.float64))
    return np.where(groups > 0, mean, np.nan)


@dataclass(frozen=True)
class CTWA:
    """Covariance-targeted weights: ``log lambda_k += learning_rate max(0, target_k - c_k)``.

    CTWA (arXiv 2602.06869 and its released code): ``c_k`` is a running mean, ``c <- (1 - tau) c + tau cov``, started by
    the first batch, of the per-prompt covariance between reward k and the advantage times the clipped ratio. The
    weighter sees the batch before any update of the policy, where the ratio is 1 and nothing is clipped. The advantage
    is GRPO's at reward level and GDPO's at advantage level, under this step's weights, with the sample std.

    A step's batch changes the weights of the next step, as in the released code. They start at 1/K at reward level (1
    at advantage level), times the preference, and are not renormalised: they only grow, so that under losses that keep
    the size of the weights (RLOO, REINFORCE, Dr.GRPO) the step grows with them.

    A covariance cannot exceed the reward's spread. An objective that is solved, or never varies, therefore stays below
    its target and gains weight for ever, a factor ``exp(learning_rate target)`` a step; ``gate`` ends that for what is
    solved.

    Left out: the clip indicator of each token, which is 1 on-policy, and the option of correlations for covariances.

    Args:
        targets: (K,) in units of the rewards. None takes ``0.1 width / sqrt(K)`` with the declared widths: what K
            unrelated objectives reach whose std inside a group is a tenth of their width. For three objectives on
            [0, 1] that is 0.058; the paper has (0.1, 0.05, 0.05) and (0.15, 0.08, 0.08) there.
        tau: Share of the newest batch in the running mean, in (0, 1].
        learning_rate: 0.02 to 0.05 in the paper.
        gate: (K,) batch means from which on an objective gains no more weight, (1, 0.95, 0.95) in the released
            configuration; None for never.

    Raises:
        ValueError: If an option is out of range; from ``init`` and the call, if ``targets`` or ``gate`` has not K
            entries, or ``targets`` is None and a bound is not declared.

    >>> rewards, ones = np.array([[0.0, 0.0], [1.0, 0.0]]), np.ones(2)  # covariances sqrt(1/2) / 2 and 0
    >>> signals = Signals(rewards, np.zeros(2, int), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> weighting, state = CTWA(targets=(0.1, 0.1), learning_rate=1.0)(signals, {})
    >>> weighting.weights, state["log_weights"]
    (array([0.5, 0.5]), array([0. , 0.1]))
    """

    targets: Sequence[float] | None = None
    tau: float = 0.1
    learning_rate: float = 0.02
    gate: Sequence[float] | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("targets", "gate"):
            value = getattr(self, name)
            if value is not None:
                vector = frozen_array(f"CTWA({name}=)", value, (None,))
                object.__setattr__(self, name, tuple(vector.tolist()))  # a tuple, so that equal weighters compare equal
        if not 0 < self.tau <= 1:
            raise ValueError(f"CTWA(tau=) must lie in (0, 1], got {self.tau!r}")
        if not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"CTWA(learning_rate=) must be positive and finite, got {self.learning_rate!r}")

    def _thresholds(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Targets (K,) and gate (K,)."""
        k = len(low)
        for name, given in (("targets", self.targets), ("gate", self.gate)):
            if given is not None and len(given) != k:
                raise ValueError(f"CTWA({name}=) must have {k} entries, one for each objective, got {given}")
        gate = np.full(k, np.inf) if self.gate is None else np.array(self.gate)
        if self.targets is not None:
            return np.array(self.targets), gate
        check_bounds("CTWA(targets=None)", low, high)
        return 0.1 * (high - low) / np.sqrt(k), gate

    def init(self, objectives: Objectives) -> State:
        """The running ``covariance`` (K,), whether it has ``started`` (K,), and the ``log_weights`` (K,)."""
        self._thresholds(objectives.low, objectives.high)
        return _initial(len(objectives))

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,) from the batches before this one; the state holds those for the next."""
        k = signals.rewards.shape[1]
        targets, gate = self._thresholds(signals.low, signals.high)
        memory = state or _initial(k)
        running = np.asarray(memory["covariance"], dtype=np.float64)
        started = np.asarray(memory["started"], dtype=np.bool_)
        log_weights = np.asarray(memory["log_weights"], dtype=np.float64)
        start = 1.0 if signals.level == "advantage" else 1 / k
        weights = start * np.exp(log_weights) * signals.preference

        advantages = _advantages(signals.rewards, signals.group, weights, signals.level)
        seen = advantage_covariance(signals.rewards, signals.group, advantages)
        known = ~np.isnan(seen)
        mixed = np.where(started, (1 - self.tau) * running + self.tau * seen, seen)
        covariance = np.where(known, mixed, running)
        mean = np.sum(moments(signals.rewards, np.zeros(len(signals.rewards), dtype=np.int64)).mean, axis=0)
        behind = np.where(known & (mean < gate), np.maximum(targets - covariance, 0.0), 0.0)
        return Weighting(weights), {
            "covariance": covariance,
            "started": started | known,
            "log_weights": log_weights + self.learning_rate * behind,
        }


def _initial(k: int) -> State:
    return {"covariance": np.zeros(k), "started": np.zeros(k, dtype=np.bool_), "log_weights": np.zeros(k)}
