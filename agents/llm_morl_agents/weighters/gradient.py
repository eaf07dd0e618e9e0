"""`GradientInfluence`: weights that follow how much each objective's gradient helps all (arXiv 2509.11452)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .base import Objectives, Probe, Signals, State, Weighting

Floats = NDArray[np.float64]
Mode = Literal["exact", "jvp", "realised"]
#: Whether objectives of large or of small influence gain weight.
Favour = Literal["gaining", "lagging"]

_NEEDS = MappingProxyType({"exact": "gradients.exact", "jvp": "gradients.jvp", "realised": "realised"})


def mirror_step(log_share: Floats, exponent: Floats, *, floor: float = 0.0) -> Floats:
    """``log softmax(log_share + exponent)``, (K,), projected onto shares of at least ``floor``.

    Mirror ascent on the simplex with the entropy as mirror map, also known as exponentiated gradient. The projection is
    the one that belongs to that map (least Kullback-Leibler divergence): shares below the floor are set to it, the
    others shrink by one factor. In logarithms, so that a share may recover from values no float64 could hold.

    Args:
        log_share: Logarithms of the shares, (K,).
        exponent: Step size times ascent direction, (K,).
        floor: In [0, 1/K).

    >>> np.exp(mirror_step(np.log([0.334, 0.333, 0.333]), 0.1 * np.array([0.45, 0.18, 0.20]))).round(6)
    array([0.339808, 0.329766, 0.330426])
    """
    moved = log_share + exponent
    moved = moved - moved.max()
    moved = moved - np.log(np.exp(moved).sum())
    low = np.zeros(len(moved), dtype=np.bool_)
    while floor > 0:
        free = 1.0 - floor * low.sum()
        share = np.exp(moved)
        lifted = np.where(low, floor, share * free / share[~low].sum())
        below = (lifted < floor) & ~low
        if not below.any():
            return np.asarray(np.log(lifted))
        low |= below
    return np.asarray(moved)


def mirror_step_among(log_share: Floats, exponent: Floats, moving: NDArray[np.bool_], *, floor: float = 0.0) -> Floats:
    """`mirror_step` of some objectives on the sum of their shares; the others keep theirs.

    Args:
        log_share: (K,).
        exponent: (K,); only those of ``moving`` are looked at.
        moving: bool (K,), which objectives.
        floor: As there.

    >>> log_share = np.log([0.2, 0.3, 0.5])
    >>> np.exp(mirror_step_among(log_share, np.array([np.log(6), 0.0, 9.0]), np.array([True, True, False]))).round(9)
    array([0.4, 0.1, 0.5])
    """
    if moving.all():
        return mirror_step(log_share, exponent, floor=floor)
    moved = log_share.copy()
    if moving.any():
        mass = np.exp(log_share[moving]).sum()
        # Where all that moves stands at the floor the two are equal up to rounding, which must not leave nothing free.
        own_floor = min(floor / mass, (1 - 1e-12) / moving.sum())
        inside = mirror_step(log_share[moving] - np.log(mass), exponent[moving], floor=own_floor)
        moved[moving] = inside + np.log(mass)
    return moved


@dataclass(frozen=True)
class GradientInfluence:
    """``w <- softmax(log w + (eta / mu) I)``, ``I_k = <grad J_k, sum_l grad J_l>``: Dynamic Reward Weighting.

    An objective whose gradient points along those of the others gains weight, one that conflicts loses (arXiv
    2509.11452, gradient-based weight optimisation). The weights of a step use the influences of that same step. They
    sum to 1 at reward level, which is the paper's, and to K at advantage level, so that equal weights reproduce GDPO.
    The preference multiplies afterwards; the influences do not see it. Steps without a measurement keep the weights; a
    measurement without an objective keeps the share of that one, and moves the others among themselves.

    Only ``eta / mu`` acts. The paper's values (learning rate 1e-6 over 1e-5, 1e-4 in some runs) make the exponent 0.1 I
    or 0.01 I. There each gradient is clipped to norm 1, so that ``|I| <= K``; as released, ``clip_norm=1.0`` and
    ``parameters`` of the middle layers. Without a clip I grows with the square of the gradients. On the embedded model
    under GDPO it lies between -0.1 and 0.8 and is mostly below 0.2 after the first steps; there the paper's step takes
    tens to hundreds of training steps to double a ratio of weights. For a faster one raise ``eta``.

    Misleading: the influence holds the objective's own squared norm, so a large gradient gains weight by its size
    alone, and under z-scores the last unsolved groups of an objective keep their full size. A reward that does not vary
    has influence 0, like one that helps as much as it conflicts. Weights drift for as long as influences differ;
    nothing calls them back except ``floor``.

    Args:
        mode: Where I comes from. ``"exact"``: K gradients, the paper's. ``"jvp"``: the same numbers up to rounding,
            from one backward pass and one derivative of the log-probabilities along it, at a cost that does not grow
            with K; on the CPU it pays from four objectives on.
            ``"realised"``: the gain ``J_k(after) - J_k(before)`` of the previous step on its own rollouts, for one
            forward pass. That is ``<grad J_k, the step taken>``, with the weights, the optimizer and the learning rate
            in it: it has another scale (a tenth of I on the embedded model at the default rate), so choose ``eta / mu``
            anew, and it rewards what the current weights already favour. Unpublished.
        favour: ``"gaining"``, the paper's, moves weight to objectives of large influence; ``"lagging"`` to those of
            small or negative influence, by the opposite sign of the exponent. Unpublished.
        eta: Step size of the mirror ascent.
        mu: Regularisation that divides it.
        initial: K positive first weights, in any scale; None for equal ones.
        accumulate: Measurements that are averaged into one update of the weights; 1 is the paper's.
        every: Steps between measurements; see `Probe`, as for the arguments that follow.
        groups: Groups of the batch that are measured on; None for all.
        parameters: Regular expressions of the parameters whose gradients count; None for all.
        clip_norm: Norm that each objective's gradient is clipped to, ``"exact"`` alone; None for no clip.
        method: Of ``"jvp"``.
        floor: Least share of an objective, below 1 / K; 0 is the paper's.

    Raises:
        ValueError: If an option is out of range or not of this mode; from ``init``, if ``initial`` or ``floor`` does
            not fit the number of objectives.

    >>> rewards, ones = np.zeros((2, 2)), np.ones(2)
    >>> signals = Signals(
    ...     rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="reward", step=0,
    ...     gramian=np.array([[4.0, -1.0], [-1.0, 1.0]]),
    ... )
    >>> weighter = GradientInfluence()
    >>> state = weighter.init(Objectives(["a", "b"], 0 * ones, ones))
    >>> weighter(signals, state)[0].weights.round(4)
    array([0.5744, 0.4256])
    """

    mode: Mode = "exact"
    favour: Favour = "gaining"
    eta: float = 1e-6
    mu: float = 1e-5
    initial: Sequence[float] | None = None
    accumulate: int = 1
    every: int = 1
    groups: int | None = None
    parameters: Sequence[str] | None = None
    clip_norm: float | None = None
    method: Literal["auto", "forward", "finite"] = "auto"
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"GradientInfluence(mode=) must be one of {get_args(Mode)}, got {self.mode!r}")
        if self.favour not in get_args(Favour):
            raise ValueError(f"GradientInfluence(favour=) must be one of {get_args(Favour)}, got {self.favour!r}")
        for name in ("eta", "mu"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"GradientInfluence({name}=) must be positive and finite, got {value!r}")
        if not (isinstance(self.accumulate, int) and self.accumulate >= 1):
            raise ValueError(f"GradientInfluence(accumulate=) must be an int of at least 1, got {self.accumulate!r}")
        if not 0 <= self.floor < 1:
            raise ValueError(f"GradientInfluence(floor=) must lie in [0, 1), got {self.floor!r}")
        self._check_mode()
        if isinstance(self.parameters, str):  # else it would become a tuple of its characters
            raise ValueError(
                f"GradientInfluence(parameters=) must be a sequence of patterns, got the str {self.parameters!r}"
            )
        if self.parameters is not None:
            object.__setattr__(self, "parameters", tuple(self.parameters))
        if self.initial is not None:
            initial = np.array(self.initial, dtype=np.float64)
            if initial.ndim != 1 or not len(initial) or not (np.isfinite(initial).all() and (initial > 0).all()):
                raise ValueError(f"GradientInfluence(initial=) must be positive numbers, got {self.initial!r}")
            object.__setattr__(self, "initial", tuple(initial.tolist()))
        _ = self.probe

    def _check_mode(self) -> None:
        """An option that would do nothing in this mode is a misunderstanding."""
        if self.clip_norm is not None and self.mode != "exact":
            raise ValueError(
                f"GradientInfluence(clip_norm={self.clip_norm!r}) needs mode='exact': mode={self.mode!r} does not take "
                "each objective's gradient"
            )
        if self.parameters is not None and self.mode == "realised":
            raise ValueError(
                f"GradientInfluence(parameters={self.parameters!r}) needs gradients, mode='realised' takes none"
            )

    @property
    def needs(self) -> frozenset[str]:
        """One signal, that of the mode."""
        return frozenset({_NEEDS[self.mode]})

    @property
    def probe(self) -> Probe:
        """How the agent is to measure."""
        patterns = None if self.parameters is None else tuple(self.parameters)
        return Probe(
            every=self.every, parameters=patterns, clip_norm=self.clip_norm, groups=self.groups, method=self.method
        )

    def init(self, objectives: Objectives) -> State:
        """``log_share`` (K,) of the first weights; ``total`` (K,) and ``count`` of the measurements since an update.

        While objectives were missing from some of those, ``counts`` (K,) holds how many each was in.
        """
        k = len(objectives)
        if self.initial is not None and len(self.initial) != k:
            raise ValueError(f"GradientInfluence(initial=) must have {k} entries, got {self.initial}")
        if self.floor * k >= 1:
            raise ValueError(f"GradientInfluence(floor=) must be below 1 / {k} objectives, got {self.floor!r}")
        start = np.zeros(k) if self.initial is None else np.log(self.initial)
        return {"log_share": mirror_step(start, np.zeros(k), floor=self.floor), "total": np.zeros(k), "count": 0}

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,), and the state after this step's influences."""
        influence = self._influence(signals)
        if influence is not None:
            state = self._updated(influence, state)
        share = np.exp(np.asarray(state["log_share"], dtype=np.float64))
        factor = len(share) if signals.level == "advantage" else 1
        return Weighting(factor * share * signals.preference), state

    def _influence(self, signals: Signals) -> Floats | None:
        if self.mode == "exact":
            if signals.gramian is None:
                return None
            return np.where(np.isnan(np.diag(signals.gramian)), np.nan, np.nan_to_num(signals.gramian).sum(axis=1))
        return signals.influence if self.mode == "jvp" else signals.realised

    def _updated(self, influence: Floats, state: State) -> State:
        k = len(influence)
        total = np.asarray(state["total"], dtype=np.float64) + np.nan_to_num(influence)
        count = int(state["count"]) + 1
        counts = np.asarray(state.get("counts", np.full(k, count - 1)), dtype=np.int64) + ~np.isnan(influence)
        if count < self.accumulate:
            partly = {} if (counts == count).all() else {"counts": counts}
            return {**state, "total": total, "count": count, **partly}
        log_share = np.asarray(state["log_share"], dtype=np.float64)
        rate = self.eta / self.mu * (1 if self.favour == "gaining" else -1)
        exponent = rate * total / np.maximum(counts, 1)
        moved = mirror_step_among(log_share, exponent, counts > 0, floor=self.floor)
        return {"log_share": moved, "total": np.zeros(k), "count": 0}
