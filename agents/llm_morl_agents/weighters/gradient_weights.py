"""`GradientCombiner`: multi-task gradient combination (MGDA, UPGrad, CAGrad, ...) as weights of the objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ..bases import FLAT
from .base import Objectives, Probe, Signals, State, Weighting

Floats = NDArray[np.float64]
Method = Literal["upgrad", "dualproj", "mgda", "cagrad", "nash_mtl", "pcgrad"]


def minimum_norm_shares(gramian: Floats) -> Floats:
    """The point of the simplex with the smallest ``a^T G a``: MGDA (Désidéri 2012; Sener and Koltun 2018, eq. 3).

    As a problem of non-negative least squares, ``min |(G^(1/2) a, sum a - 1)|``, whose solution is a multiple of the
    one sought. Exact, where Frank-Wolfe approaches it.

    Args:
        gramian: (K, K) inner products of the gradients, not all 0.

    >>> gradients = np.array([[1.0, 0.2], [-0.6, 0.8]])
    >>> minimum_norm_shares(gradients @ gradients.T).round(6)
    array([0.493151, 0.506849])
    """
    values, vectors = np.linalg.eigh(gramian / np.diag(gramian).mean())
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    solution, _ = nnls(np.vstack([root, np.ones(len(gramian))]), np.append(np.zeros(len(gramian)), 1.0))
    shares: Floats = solution / solution.sum()
    return shares


def combine(gramian: Floats, method: Method, *, c: float = 0.5, order: Sequence[int] = (0, 0)) -> Floats:
    """Non-negative weights (K,) of the gradients, by a method of `GradientCombiner`.

    Args:
        gramian: (K, K), not all 0.
        method: See `GradientCombiner`.
        c: Of ``"cagrad"``.
        order: Keys the random order of ``"pcgrad"``.

    Raises:
        ImportError: If the method needs a package that is not installed.
    """
    if method == "mgda":
        return minimum_norm_shares(gramian)
    import torch

    scaled = torch.as_tensor(gramian / np.diag(gramian).mean())  # the solvers of torchjd have absolute tolerances
    solver = _solver(method, c)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(int(np.random.SeedSequence(list(order)).generate_state(1)[0]))
        weights = solver(scaled)
    return np.maximum(np.asarray(weights, dtype=np.float64), 0.0)  # only rounding is below 0


def _solver(method: Method, c: float) -> Any:
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise ImportError(
            f"GradientCombiner(method={method!r}) needs torchjd, which is not installed: "
            "pip install 'llm-morl-env[torchjd]'; method='mgda' needs nothing"
        ) from error
    if method == "cagrad":
        return aggregation.CAGradWeighting(c=c)
    if method == "nash_mtl":  # alpha-fairness with alpha 1 is the Nash bargaining solution, by SciPy instead of ECOS
        return aggregation.FairGradWeighting(alpha=1.0)
    names = {"upgrad": "UPGradWeighting", "dualproj": "DualProjWeighting", "pcgrad": "PCGradWeighting"}
    return getattr(aggregation, names[method])()


@dataclass(frozen=True)
class GradientCombiner:
    """Weights under which the summed gradient is that of a gradient combiner of multi-task learning.

    Such a combiner turns the gradients ``g_k`` of the K objectives into one direction, mostly ``sum_k w_k g_k`` with
    weights that depend on the Gramian ``<g_k, g_l>`` alone. These weights, made to sum to K at advantage level and to 1
    at reward level, weigh the objectives here. The methods:

    ========  ============================================================  ==============================
    mgda      shortest point of the convex hull (Désidéri 2012)             nothing; exact, see `minimum_norm_shares`
    upgrad    mean of the gradients, each projected onto the dual cone      extra ``torchjd``
              (Quinton and Rey, arXiv 2406.16232)
    dualproj  mean gradient projected onto the dual cone (the same paper)   extra ``torchjd``
    pcgrad    each gradient without what conflicts with others, in random   extra ``torchjd``
              order (Yu et al., arXiv 2001.06782)
    nash_mtl  ``G w = 1 / w`` (Navon et al., arXiv 2202.01017)              extra ``torchjd``
    cagrad    best worst case near the mean gradient (Liu et al.,           extra ``torchjd``, cvxpy, clarabel
              arXiv 2110.14048)
    ========  ============================================================  ==============================

    ``power`` divides each gradient by that power of its norm before; with ``mgda`` that is GAPO (arXiv 2507.01915),
    P-GAPO under a preference. The preference multiplies afterwards. Objectives whose gradient is 0 (norm at most
    1e-6 of the largest; nothing varies) stay out of the problem and get the mean weight, where ``mgda`` would give them
    all. Steps without a measurement, without any gradient, or for which the method finds no direction (CAGrad at a
    Pareto-stationary point) keep the weights before, at first even ones; so does an objective that no response has.

    Left out: methods of torchjd whose weights may be negative (IMTL-G, Aligned-MTL), since a negative weight on an
    advantage trains against an objective; those with a memory of their own (GradVac, SDMGrad).

    Misleading: normalised weights keep the direction and lose the length, which is what tells that a point is
    Pareto-stationary. The Gramian is that of each objective's own advantages, so the combination is exact where the
    estimator is linear in them: at advantage level before whitening, at reward level without a division by the std. The
    methods see conflicts between gradients of one batch, noise included. ``mgda`` favours the shortest gradient, hence
    the objective that is nearly solved: ``power=1`` evens that out.

    Args:
        method: As above.
        power: p in ``g_k / |g_k|^p``; 0 leaves the gradients, 1 compares directions alone.
        c: Of ``cagrad``: radius around the mean gradient as a share of its norm, in [0, 1).
        seed: Of ``pcgrad``: with the step it keys the order. Non-negative.
        every: Steps between measurements; see `Probe`, as for the arguments that follow.
        groups: Groups of the batch that are measured on; None for all.
        parameters: Regular expressions of the parameters whose gradients count; None for all.
        clip_norm: Norm that each objective's gradient is clipped to; None for no clip.

    Raises:
        ValueError: If an option is out of range.
        ImportError: From ``init``, if the method needs a package that is not installed.

    >>> rewards, ones = np.zeros((2, 2)), np.ones(2)
    >>> signals = Signals(
    ...     rewards, np.array([0, 0]), 0 * ones, ones, preference=ones, level="advantage", step=0,
    ...     gramian=np.array([[4.0, -1.0], [-1.0, 1.0]]),
    ... )
    >>> GradientCombiner(method="mgda")(signals, {})[0].weights.round(6)
    array([0.571429, 1.428571])
    """

    method: Method = "upgrad"
    power: float = 0.0
    c: float = 0.5
    seed: int = 0
    every: int = 1
    groups: int | None = None
    parameters: Sequence[str] | None = None
    clip_norm: float | None = None
    needs: ClassVar[frozenset[str]] = frozenset({"gradients.exact"})

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"GradientCombiner(method=) must be one of {get_args(Method)}, got {self.method!r}")
        if not (np.isfinite(self.power) and self.power >= 0):
            raise ValueError(f"GradientCombiner(power=) must be non-negative and finite, got {self.power!r}")
        if not 0 <= self.c < 1:
            raise ValueError(f"GradientCombiner(c=) must lie in [0, 1), got {self.c!r}")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise ValueError(f"GradientCombiner(seed=) must be a non-negative int, got {self.seed!r}")
        if isinstance(self.parameters, str):  # else it would become a tuple of its characters
            raise ValueError(f"GradientCombiner(parameters=) must be several patterns, got the str {self.parameters!r}")
        if self.parameters is not None:
            object.__setattr__(self, "parameters", tuple(self.parameters))
        _ = self.probe

    @property
    def probe(self) -> Probe:
        """How the agent is to measure."""
        patterns = None if self.parameters is None else tuple(self.parameters)
        return Probe(every=self.every, parameters=patterns, clip_norm=self.clip_norm, groups=self.groups)

    def init(self, objectives: Objectives) -> State:
        """Empty; tries the method once, so that a missing package is found before the first step."""
        combine(np.eye(len(objectives)), self.method, c=self.c)
        return {}

    def shares(self, gramian: Floats, step: int = 0) -> Floats | None:
        """Weights (K,) of mean 1 for the gradients as they are; None where there is no direction.

        Args:
            gramian: (K, K).
            step: Index of the step, for the order of ``pcgrad``.
        """
        norm = np.sqrt(np.diag(gramian))
        moves = norm > FLAT * norm.max(initial=0.0)
        if not moves.any():
            return None
        length = (norm[moves] / norm.max()) ** self.power
        among = gramian[np.ix_(moves, moves)] / np.outer(length, length)
        found = combine(among, self.method, c=self.c, order=(self.seed, step)) / length
        if not (np.isfinite(found).all() and found.sum() > 0):
            return None
        weights = np.ones(len(gramian))
        weights[moves] = found / found.mean()
        return weights

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights (K,); the state holds those of the last measurement as ``weights``, of mean 1."""
        k = signals.rewards.shape[1]
        found = None if signals.gramian is None else self.shares(np.nan_to_num(signals.gramian), signals.step)
        weights = np.asarray(state.get("weights", np.ones(k)), dtype=np.float64)
        if found is not None and signals.gramian is not None:
            weights = np.where(np.isnan(np.diag(signals.gramian)), weights, found)
            state = {"weights": weights}
        return Weighting((1.0 if signals.level == "advantage" else 1 / k) * weights * signals.preference), state
