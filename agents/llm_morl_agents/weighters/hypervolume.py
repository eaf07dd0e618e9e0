"""`Hypervolume`: larger steps while the policy extends its Pareto front (arXiv 2509.11452)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.metrics import hypervolume, pareto_front

from ..bases import moments
from .base import Objectives, Probe, Signals, State, Weighting, frozen_array

Floats = NDArray[np.float64]

#: Where the policy's point comes from: its mean vector on held-out problems, or the mean of the batch's rewards.
Source = Literal["validation", "batch"]

#: Volumes up to this share of the box between reference and point are rounding, not growth.
GROWTH = 1e-12


def extension(archive: Floats, point: Floats, reference: Floats) -> float:
    """Hypervolume that a point adds to an archive: ``HV(B + v) - HV(B)``, exactly 0 where it adds none up to rounding.

    Computed as the box of the point less what the archive covers of it, ``prod(v - r) - HV({min(a, v)})``, which
    cancels less than the difference of two large volumes. A point that does not exceed the reference in every
    objective adds 0; so does a duplicate.

    Args:
        archive: (B, K), B may be 0. Larger is better.
        point: (K,).
        reference: (K,).

    >>> archive, reference = np.array([[0.5, 0.2], [0.2, 0.6]]), np.zeros(2)
    >>> [round(extension(archive, np.array(point), reference), 9) for point in ([0.4, 0.5], [0.1, 0.1], [0.9, -1.0])]
    [0.06, 0.0, 0.0]
    """
    if not (point > reference).all() or (archive >= point).all(axis=1).any():
        return 0.0
    covered = hypervolume(np.minimum(archive, point), reference) if len(archive) else 0.0
    box = float(np.prod(point - reference))
    return box - covered if box - covered > GROWTH * box else 0.0


def step_factor(growth: float, temperature: float = 1.0) -> float:
    """``0.5 + 1.5 tanh(growth / temperature)``, in [0.5, 2].

    >>> [round(step_factor(growth), 6) for growth in (0.0, 0.1, 1.0)]
    [0.5, 0.649502, 1.642391]
    """
    return 0.5 + 1.5 * float(np.tanh(growth / temperature))


def check_bounds(low: Floats, high: Floats, raw_units: bool, owner: str) -> None:
    """Raises ValueError unless all bounds are declared, or none is needed."""
    if not raw_units and not np.isfinite(high - low).all():
        raise ValueError(f"{owner}(raw_units=False) needs the declared bounds of every objective, got {low}, {high}")


def gains(values: Floats, low: Floats, high: Floats, raw_units: bool) -> Floats:
    """``(values - low) / (high - low)``, or the values as they are with ``raw_units``."""
    return values if raw_units else (values - low) / (high - low)


def measured_point(signals: Signals, source: Source, raw_units: bool) -> Floats | None:
    """The policy's point (K,) in the units of `gains`; None where it was not measured, or in part only."""
    if source == "validation":
        mean = signals.validation
    else:
        batch = moments(signals.rewards, np.zeros_like(signals.group))
        mean = batch.mean[0] if len(batch.size) and (batch.size > 0).all() else None
    return None if mean is None else gains(mean, signals.low, signals.high, raw_units)


def archive_of(state: State, k: int) -> Floats:
    """The archive (B, K) in a state; JSON forgets the width of an empty one."""
    return np.asarray(state.get("archive", ()), dtype=np.float64).reshape(-1, k)


def check_source(source: str, owner: str) -> None:
    """Raises ValueError unless the source is one of `Source`."""
    if source not in get_args(Source):
        raise ValueError(f"{owner}(source=) must be one of {get_args(Source)}, got {source!r}")


def checked_reference(reference: Sequence[float] | None, k: int, owner: str) -> Floats | None:
    """The reference as an array (K,), None if None.

    Raises:
        ValueError: If it has not K finite entries.
    """
    return None if reference is None else frozen_array(f"{owner}(reference=)", reference, (k,))


@dataclass(frozen=True)
class Hypervolume:
    """Static weights; the advantage is scaled by how much the policy's mean vector v extends its front B::

        dHV = HV(B + v) - HV(B),   scale = 0.5 + 1.5 tanh(dHV / temperature),   B <- front of B + v  if dHV > 0

    Dynamic Reward Weighting, hypervolume-guided (arXiv 2509.11452): 0.5 where the front did not move, up to 2 where it
    moved far. It steers the size of steps alone; the relative weights are the user's preference at every step.

    v is measured before a step's update, so it is the point that the previous update led to: the factor acts on the
    step after it, as in the paper. The first point, that of the initial policy, leaves the factor at 1.

    Two defects of the released code are not kept. It multiplies the rewards, where every later division by their std
    (GRPO, REINFORCE++, GDPO) takes the factor out again, and only RLOO and Dr.GRPO feel it; here ``Weighting.scale``
    multiplies the advantage after normalisation. And it does not clip points below the reference, which contribute
    negative volumes; here they add 0.

    It misleads by its units. Objectives are put on [0, 1] by their declared bounds, so the volume gained in one step
    is tiny (0.01 in each of three objectives next to the reference gives 1e-6) and the factor is close to 0.5 at every
    step but the first: half the size of every update, of which Adam, dividing by that size, feels next to nothing. The
    paper's volumes are large only because one of its objectives is counted in hundreds of tokens. ``temperature`` says
    which growth is large: volumes scale with the product of the objectives' units, so ``temperature=1/W`` on gains is
    the paper's formula on rewards whose widths have product W. Noise in v counts as growth too: the more so, the
    smaller the sample.

    Args:
        source: ``"validation"``, greedy answers to held-out problems (the paper), or ``"batch"``, the mean of the
            batch's rewards: free, noisier, and of the sampled policy.
        raw_units: Take volumes in the units of the rewards, as the paper does, instead of on [0, 1].
        reference: K numbers in the units of the rewards; None for the first point (the paper).
        temperature: Growth at which the factor reaches 1.64; 1 is the paper's.
        every: Steps between validations; in between the factor stays. The paper validates at every step.
        problems: Problems of one validation.

    Raises:
        ValueError: If an option is out of range; from ``init`` and the call, if a bound is needed that is not declared
            or the reference has not K entries.

    >>> weighter = Hypervolume(source="batch", reference=(0, 0), temperature=0.1)
    >>> state, ones, scales = weighter.init(Objectives(["a", "b"], [0, 0], [1, 1])), np.ones(2), []
    >>> for step, mean in enumerate([0.2, 0.3, 0.3]):
    ...     batch = Signals(np.full((4, 2), mean), np.zeros(4, int), 0 * ones, ones, ones, "advantage", step)
    ...     weighting, state = weighter(batch, state)
    ...     scales.append(round(float(weighting.scale), 3))
    >>> scales  # the first point; a growth of 0.3^2 - 0.2^2; none
    [1.0, 1.193, 0.5]
    """

    source: Source = "validation"
    raw_units: bool = False
    reference: Sequence[float] | None = None
    temperature: float = 1.0
    every: int = 1
    problems: int = 64

    def __post_init__(self) -> None:
        check_source(self.source, "Hypervolume")
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"Hypervolume(temperature=) must be positive and finite, got {self.temperature!r}")
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
        """``factor`` 1; ``reference`` (K,) and ``archive`` (B, K) come with the first point."""
        self._given_reference(objectives.low, objectives.high)
        return {"factor": 1.0}

    def _given_reference(self, low: Floats, high: Floats) -> Floats | None:
        check_bounds(low, high, self.raw_units, "Hypervolume")
        given = checked_reference(self.reference, len(low), "Hypervolume")
        return None if given is None else gains(given, low, high, self.raw_units)

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """The preference (K,), scaled by the factor. Without a new point the factor and the state stay."""
        factor = float(state.get("factor", 1.0))
        point = measured_point(signals, self.source, self.raw_units)
        if point is not None:
            first = "reference" not in state
            given = self._given_reference(signals.low, signals.high)
            reference = np.asarray(state.get("reference", point if given is None else given), dtype=np.float64)
            archive = archive_of(state, len(point))
            growth = extension(archive, point, reference)
            factor = factor if first else step_factor(growth, self.temperature)
            if growth > 0:
                archive = pareto_front(np.vstack([archive, point]))
            state = {"factor": factor, "reference": reference, "archive": archive}
        return Weighting(signals.preference, scale=factor), state
