"""`HypervolumeGradient`: weights that point where the policy's mean vector gains most hypervolume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.metrics import pareto_front

from .base import Objectives, Probe, Signals, State, Weighting
from .hypervolume import (
    GROWTH,
    Source,
    archive_of,
    check_bounds,
    check_source,
    checked_reference,
    extension,
    gains,
    measured_point,
)

Floats = NDArray[np.float64]


def box_gradient(point: Floats, reference: Floats) -> Floats:
    """Gradient of the volume of one box, ``prod(v - r) / (v_k - r_k)``, (K,); the point lies above the reference.

    >>> box_gradient(np.array([0.5, 0.2]), np.zeros(2)).tolist()
    [0.2, 0.5]
    """
    gap = point - reference
    return np.array([float(np.prod(np.delete(gap, k))) for k in range(len(gap))])


def hypervolume_gradient(archive: Floats, point: Floats, reference: Floats) -> Floats:
    """Right derivative of ``HV(B + v)`` by each coordinate of v, (K,); exact.

    Raising ``v_k`` pushes one facet of the box of v outwards: the derivative is the (K-1)-dimensional volume of that
    facet less what the points of the archive with ``a_k > v_k`` cover of it (Emmerich and Deutz, 2014, "Time complexity
    and zeros of the hypervolume indicator gradient field"). Volume is piecewise
    multilinear in v; where v is level with a point of the archive left and right derivative differ, and this is the
    one of improvement. All 0 where v is strictly dominated.

    Args:
        archive: (B, K), B may be 0. Larger is better.
        point: (K,), above the reference in every objective.
        reference: (K,).

    >>> hypervolume_gradient(np.array([[0.2, 0.6]]), np.array([0.5, 0.2]), np.zeros(2)).round(9).tolist()
    [0.2, 0.3]
    """
    others = [[j for j in range(len(point)) if j != k] for k in range(len(point))]
    return np.array(
        [
            extension(archive[archive[:, k] > point[k]][:, rest], point[rest], reference[rest])
            for k, rest in enumerate(others)
        ]
    )


@dataclass(frozen=True)
class HypervolumeGradient:
    """Weights proportional to the gradient of ``HV(B + v)`` by the policy's mean vector v, B the front so far.

    This package's own, named apart from `Hypervolume`, which moves no weight. An objective weighs by the volume that
    one unit of it would add: most where the others are high and B does not yet cover the way. The shares are
    normalised to sum 1 at reward level and K at advantage level, so that equal derivatives give equal weights, and the
    preference multiplies. Objectives are put on [0, 1] by their bounds; at reward level the derivative is by the reward
    itself (a chain-rule factor ``1 / (high - low)``), at advantage level, where values are z-scores, by the gain.

    A point that B dominates adds nothing and has no gradient. It then climbs the volume of its own box,
    ``prod(v - r)``, whose gradient is proportional to ``1 / (v_k - r_k)``: a direction that dominates the point, hence
    a way back to the front. ``archive=False`` uses that box at every step, with nothing to remember; it is the
    gradient of `ProportionalFair` up to its handling of group std.

    It misleads where v is noisy, as with ``source="batch"``: lucky batches enter B and stay, later points look
    dominated, and the weights jump between the two gradients. An objective in whose direction B already covers all
    that v would gain weighs 0. Smooth or floor the weights, or take ``archive=False``.

    Args:
        source: ``"batch"``, the mean of the batch's rewards, or ``"validation"``, greedy answers to held-out problems.
        archive: Whether the front so far counts.
        raw_units: Volumes in the units of the rewards instead of on [0, 1]; for rewards without declared bounds. At
            advantage level the weights then depend on these units.
        reference: K numbers in the units of the rewards; None for the declared lower bounds.
        floor: Smallest gap ``v_k - r_k`` that is believed, in the units of the volume. Bounds the ratio of weights;
            objectives at or below the reference count as this far above it.
        every: Steps between validations; in between the shares stay.
        problems: Problems of one validation.

    Raises:
        ValueError: If an option is out of range; from ``init`` and the call, if a bound is needed that is not declared
            or the reference has not K entries.

    >>> rewards, ones = np.array([[0.4, 0.1], [0.6, 0.3]]), np.ones(2)  # means 0.5 and 0.2
    >>> signals = Signals(rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=0)
    >>> HypervolumeGradient()(signals, {})[0].weights.round(3)  # 0.2 and 0.5, to sum 1
    array([0.286, 0.714])
    """

    source: Source = "batch"
    archive: bool = True
    raw_units: bool = False
    reference: Sequence[float] | None = None
    floor: float = 0.01
    every: int = 1
    problems: int = 64

    def __post_init__(self) -> None:
        check_source(self.source, "HypervolumeGradient")
        if not (np.isfinite(self.floor) and self.floor > 0):
            raise ValueError(f"HypervolumeGradient(floor=) must be positive and finite, got {self.floor!r}")
        if self.reference is not None:
            object.__setattr__(self, "reference", tuple(float(value) for value in self.reference))
        Probe(every=self.every, problems=self.problems)

    @property
    def needs(self) -> frozenset[str]:
        """``{"validation"}``, or nothing where the batch is the source."""
        return frozenset({"validation"}) if self.source == "validation" else frozenset()

    @property
    def probe(self) -> Probe:
        """When and on how many problems to validate."""
        return Probe(every=self.every, problems=self.problems)

    def init(self, objectives: Objectives) -> State:
        """Empty: the ``share`` (K,) and the ``archive`` (B, K) come with the first point."""
        self._reference(objectives.low, objectives.high)
        return {}

    def _reference(self, low: Floats, high: Floats) -> Floats:
        check_bounds(low, high, self.raw_units, "HypervolumeGradient")
        given = checked_reference(self.reference, len(low), "HypervolumeGradient")
        if given is None and not np.isfinite(low).all():
            raise ValueError(f"HypervolumeGradient(reference=None) needs the declared lower bounds, got {low}")
        return gains(low if given is None else given, low, high, self.raw_units)

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,). Without a new point the shares and the state stay; equal shares before the first one."""
        k = len(signals.low)
        reference = self._reference(signals.low, signals.high)
        point = measured_point(signals, self.source, self.raw_units)
        if point is not None:
            above = np.maximum(point, reference + self.floor)
            gradient = plain = box_gradient(above, reference)
            remembered: dict[str, Floats] = {}
            if self.archive:
                front = archive_of(state, k)
                gradient = hypervolume_gradient(front, above, reference)
                remembered["archive"] = pareto_front(np.vstack([front, point])) if (point > reference).all() else front
            if gradient.sum() <= GROWTH * plain.sum():
                gradient = plain
            state = {**remembered, "share": gradient / gradient.sum()}
        share = np.asarray(state.get("share", np.full(k, 1 / k)), dtype=np.float64)
        if signals.level == "reward" and not self.raw_units:
            share = share / (signals.high - signals.low)
        factor = k if signals.level == "advantage" else 1
        return Weighting(factor * share / share.sum() * signals.preference), state
