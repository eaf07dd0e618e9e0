"""`Frozen` and `Replay`: weights from elsewhere, taken as they are. Controls for experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Objectives, Signals, State, Weighting, frozen_array


@dataclass(frozen=True)
class Frozen:
    """Constant weights that no preference multiplies.

    The control for a dynamic weighter: its mean weights over a run, so that a difference to the dynamic run is due to
    the dynamics and not to where the weights end up on average. Such means contain the preference already, hence it is
    left out; weights of the user's own belong into `Static`.

    Args:
        weights: K finite numbers.
        scale: Multiplies every advantage.

    Raises:
        ValueError: If a number is not finite; from ``init`` and the call, if there are not K weights.

    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=3 * ones, level="reward", step=0)
    >>> Frozen((1.5, 0.5))(signals, {})[0].weights
    array([1.5, 0.5])
    """

    weights: Sequence[float]
    scale: float = 1.0
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        weights = frozen_array("Frozen(weights=)", self.weights, (None,))
        object.__setattr__(self, "weights", tuple(weights.tolist()))  # so that equal weighters compare equal
        frozen_array("Frozen(scale=)", self.scale, ())

    def init(self, objectives: Objectives) -> State:
        """Empty; checks the number of weights."""
        _check_length("Frozen", len(self.weights), len(objectives))
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """The weights (K,) and the scale; the state as it was."""
        _check_length("Frozen", len(self.weights), signals.rewards.shape[1])
        return Weighting(np.array(self.weights), self.scale), state


@dataclass(frozen=True)
class Replay:
    """A recorded path of weights: row t at step t, the last one beyond. No preference multiplies.

    Another seed, or another policy, under the very weights that a dynamic run had: what then differs from the dynamic
    run is its feedback, weights that answer to this policy's rewards.

    Args:
        weights: T rows of K finite numbers.
        scale: T numbers that multiply every advantage of their step; None for 1.

    Raises:
        ValueError: If the rows are not all of one length or a number is not finite; from ``init`` and the call, if
            there are not K columns.

    >>> rewards, ones = np.array([[0.0, 0.5], [1.0, 1.0]]), np.ones(2)
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=7)
    >>> Replay(((1.0, 1.0), (1.5, 0.5)))(signals, {})[0].weights
    array([1.5, 0.5])
    """

    weights: Sequence[Sequence[float]]
    scale: Sequence[float] | None = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if len({np.shape(row) for row in self.weights}) != 1 or np.ndim(self.weights[0]) != 1:
            raise ValueError(f"Replay(weights=) must be at least one row, all of one length, got {self.weights!r}")
        weights = frozen_array("Replay(weights=)", self.weights, (None, None))
        object.__setattr__(self, "weights", tuple(map(tuple, weights.tolist())))
        if self.scale is not None:
            scale = frozen_array("Replay(scale=)", self.scale, (len(weights),))
            object.__setattr__(self, "scale", tuple(scale.tolist()))

    def init(self, objectives: Objectives) -> State:
        """Empty; checks the number of columns."""
        _check_length("Replay", len(self.weights[0]), len(objectives))
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """The weights (K,) and the scale of the step; the state as it was."""
        _check_length("Replay", len(self.weights[0]), signals.rewards.shape[1])
        row = min(signals.step, len(self.weights) - 1)
        return Weighting(np.array(self.weights[row]), 1.0 if self.scale is None else self.scale[row]), state


def _check_length(owner: str, length: int, k: int) -> None:
    if length != k:
        raise ValueError(f"{owner}(weights=) must have {k} entries, one for each objective, got {length}")
