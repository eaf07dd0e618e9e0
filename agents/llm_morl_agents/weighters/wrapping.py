"""`Wrapper`: what weighters around another weighter share, its declarations and its nested state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .base import Objectives, Probe, Signals, State, Weighter, Weighting

#: Marks the entries of the inner weighter in the state of the outer one.
PREFIX = "inner/"


def nest(state: State) -> dict[str, Any]:
    """The inner state as entries of the outer one.

    >>> nest({"share": [0.5, 0.5]})
    {'inner/share': [0.5, 0.5]}
    """
    return {PREFIX + name: value for name, value in state.items()}


def unnest(state: State) -> dict[str, Any]:
    """The inner weighter's part of the outer state.

    >>> unnest({"inner/share": [0.5, 0.5], "weights": [1.0, 1.0]})
    {'share': [0.5, 0.5]}
    """
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}


@dataclass(frozen=True)
class Wrapper:
    """A weighter around another: asks for what the inner one needs, and keeps its state under ``inner/``.

    Subclasses change the weights. The scale and the combiner of the inner weighting stay as they are.

    Args:
        inner: The weighter whose weights are changed.

    Raises:
        ValueError: If ``inner`` is not a weighter.
    """

    inner: Weighter

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Weighter) or isinstance(self.inner, type):
            raise ValueError(f"{type(self).__name__}(inner=) must be a weighter, got {self.inner!r}")

    @property
    def needs(self) -> frozenset[str]:
        """What the inner weighter needs."""
        return self.inner.needs

    @property
    def probe(self) -> Probe:
        """The inner weighter's; an `AttributeError` where it has none, as for the inner one itself."""
        return cast(Probe, cast(Any, self.inner).probe)

    @property
    def shrinks_groups(self) -> bool:
        """Whether whitening would undo what the inner weighter does."""
        return bool(getattr(self.inner, "shrinks_groups", False))

    def init(self, objectives: Objectives) -> State:
        """The inner state, nested."""
        return nest(self.inner.init(objectives))

    def _decide(self, signals: Signals, state: State) -> tuple[Weighting, Mapping[str, Any]]:
        """The inner weighting, and the inner state, nested."""
        weighting, after = self.inner(signals, unnest(state))
        return weighting, nest(after)


def may_gain(weighting: Weighting, preference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The preference of the objectives that may be given weight: (K,), or of the shape of the weights.

    Under a combiner a weight of 0 says that an objective does not apply: its reward is missing, or flat in the group. A
    sum cannot feel its value of 0, but a minimum can, so it must stay out.

    Args:
        weighting: Of the inner weighter.
        preference: (K,).
    """
    return preference if weighting.combiner is None else preference * (weighting.weights > 0)
