"""`Schedule`: weights that follow the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .base import Objectives, Signals, State, Weighting, frozen_array

#: How weights go from start to end.
Shape = Literal["linear", "cosine", "step"]


def progress(step: int, steps: int, shape: Shape) -> float:
    """How much of the way is done after ``step`` of ``steps`` steps, in [0, 1], 1 from ``steps`` on.

    With ``x = min(step / steps, 1)``: ``x`` for ``"linear"``, ``(1 - cos(pi x)) / 2`` for ``"cosine"``, 0 below 1 and
    1 at 1 for ``"step"``.

    >>> [round(progress(25, 100, shape), 4) for shape in ("linear", "cosine", "step")]
    [0.25, 0.1464, 0.0]
    """
    x = min(step / steps, 1.0)
    if shape == "cosine":
        return float((1 - np.cos(np.pi * x)) / 2)
    return x if shape == "linear" else float(x >= 1)


@dataclass(frozen=True)
class Schedule:
    """Weights that move from ``start`` to ``end`` over the first ``steps`` steps and stay there.

    The plain curriculum, format first and correctness later, that dynamic weighters must beat: as ToolRL's scheduled
    rewards (arXiv 2504.13958, ablations), with weights in place of reward scales. It looks at nothing but the step, so
    a policy that learns faster or slower than expected gets the wrong weights at the wrong time. As with `Static`, only
    ratios matter under GRPO and GDPO; the preference multiplies.

    Args:
        start: K finite, non-negative numbers, not all 0; None stands for ones.
        end: The same.
        steps: Length of the way, at least 1.
        shape: ``"linear"``, ``"cosine"`` (slow at both ends) or ``"step"`` (all at once at ``steps``).

    Raises:
        ValueError: If an option is out of range; from ``init`` and the call, if there are not K weights.

    >>> weighter = Schedule(start=(1, 0), end=(0.5, 1), steps=10)
    >>> [weighter.weights(step, 2).tolist() for step in (0, 5, 10, 99)]
    [[1.0, 0.0], [0.75, 0.5], [0.5, 1.0], [0.5, 1.0]]
    """

    start: Sequence[float] | None = None
    end: Sequence[float] | None = None
    steps: int = 100
    shape: Shape = "linear"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None:
                weights = frozen_array(f"Schedule({name}=)", value, (None,))
                if (weights < 0).any() or not weights.any():
                    raise ValueError(f"Schedule({name}=) must be non-negative and not all 0, got {weights.tolist()}")
                object.__setattr__(self, name, tuple(weights.tolist()))
        if not self.steps >= 1:
            raise ValueError(f"Schedule(steps=) must be at least 1, got {self.steps!r}")
        if self.shape not in get_args(Shape):
            raise ValueError(f"Schedule(shape=) must be one of {get_args(Shape)}, got {self.shape!r}")

    def weights(self, step: int, k: int) -> NDArray[np.float64]:
        """Weights (K,) at a step, before the preference.

        Raises:
            ValueError: If ``start`` or ``end`` has not ``k`` entries.
        """
        ends = []
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None and len(value) != k:
                raise ValueError(f"Schedule({name}=) must have {k} entries, one for each objective, got {value}")
            ends.append(np.ones(k) if value is None else np.array(value))
        done = progress(step, self.steps, self.shape)
        return (1 - done) * ends[0] + done * ends[1]

    def init(self, objectives: Objectives) -> State:
        """Empty; checks the number of weights."""
        self.weights(0, len(objectives))
        return {}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """The step's weights (K,) times the preference; the state as it was."""
        return Weighting(self.weights(signals.step, len(signals.low)) * signals.preference), state
