"""What a set of policies is worth, from their returns: means, volumes and utilities, each with its interval.

Shapes: P policies, n episodes (column j of every policy is the same problem), K objectives, W weight vectors, F points
of a reference front, B resamples. Returns are scaled to [0, 1] by their bounds. Pure functions of arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_morl_env.metrics import hypervolume, igd_plus, nondominated

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

RESAMPLES = 1000
#: Random halvings that a held-out number is the mean over.
HALVINGS = 32
#: Names of the measures, with what each says; those of a front that is not known are left out. Read-only.
MEASURES: Mapping[str, str] = {
    "hypervolume": "volume that the mean vectors dominate above the reference point",
    "hypervolume_held_out": "the same of the set that one half of the problems chose, valued on the other half",
    "expected_utility": "mean over weights of the best policy's utility",
    "expected_utility_held_out": "the same, each weight's policy chosen on one half and valued on the other",
    "served_utility": "mean over weights of the utility of the policy that serves them",
    "igd_plus": "mean distance from the reference front to the set; smaller is better",
    "maximum_utility_loss": "what the worst-off weights lose against the reference front; smaller is better",
}


@dataclass(frozen=True)
class Measured:
    """A number with its interval and the resamples behind it.

    Args:
        value: On all episodes.
        low: Lower end.
        high: Upper end.
        replicates: (B,) its values on the resamples; number b of two sets that answered the same problems comes from
            the same resample, so that they can be compared in pairs.
    """

    value: float
    low: float
    high: float
    replicates: Floats


def mean_vectors(returns: ArrayLike, shares: ArrayLike) -> Floats:
    """Mean vectors under B weightings of the episodes, without the entries that are NaN.

    Args:
        returns: (P, n, K).
        shares: (B, n), not negative.

    Returns:
        (B, P, K); NaN where a weighting holds no episode that an objective applies to.

    >>> mean_vectors([[[1.0], [0.0]]], [[0.5, 0.5], [1.0, 0.0]])[:, 0, 0].tolist()
    [0.5, 1.0]
    """
    table, weighting = np.asarray(returns, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    p, n, k = table.shape
    columns = table.transpose(1, 0, 2).reshape(n, p * k)
    counts = weighting @ (~np.isnan(columns)).astype(np.float64)
    sums = weighting @ np.nan_to_num(columns)
    return np.asarray(sums / np.where(counts > 0, counts, np.nan)).reshape(len(weighting), p, k)


def resampled_shares(n: int, resamples: int, generator: np.random.Generator) -> Floats:
    """How much each of n episodes counts in each resample, (B, n); rows sum to 1."""
    return np.asarray(generator.multinomial(n, np.full(n, 1.0 / n), size=resamples) / n)


def random_halves(n: int, count: int, generator: np.random.Generator) -> Masks:
    """For each of ``count`` halvings the episodes of its first half, bool (count, n)."""
    order = generator.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
    return np.asarray(order < n // 2)


def set_values(
    means: Floats, *, weights: Floats, reference: Floats, served: NDArray[np.int64] | None, front: Floats | None
) -> dict[str, Floats]:
    """The measures of sets that were chosen and valued on the same episodes, each (B,).

    Args:
        means: (B, P, K) finite mean vectors.
        weights: (W, K) on the simplex.
        reference: (K,) of the hypervolume.
        served: (W,) which policy serves each weight vector; None where none does.
        front: (F, K) reference front, or None.
    """
    utilities = means @ weights.T  # (B, P, W)
    best = utilities.max(axis=1)  # (B, W)
    values = {
        "hypervolume": np.array([hypervolume(points, reference) for points in means]),
        "expected_utility": best.mean(axis=1),
    }
    if served is not None:
        values["served_utility"] = utilities[:, served, np.arange(len(weights))].mean(axis=1)
    if front is not None:
        values["igd_plus"] = np.array([igd_plus(points, front) for points in means])
        values["maximum_utility_loss"] = ((front @ weights.T).max(axis=0) - best).max(axis=1)
    return values


def held_out_values(chosen_on: Floats, valued_on: Floats, *, weights: Floats, reference: Floats) -> dict[str, Floats]:
    """The measures of sets that are chosen on some episodes and valued on others, each (B,).

    Args:
        chosen_on: (B, P, K) finite mean vectors on the episodes that choose: the nondominated policies for the
            hypervolume, the best policy of each weight vector for the expected utility.
        valued_on: (B, P, K) mean vectors of the same policies on the other episodes.
        weights: (W, K).
        reference: (K,).
    """
    pairs = zip(chosen_on, valued_on, strict=True)
    volumes = [hypervolume(other[nondominated(chosen)], reference) for chosen, other in pairs]
    best = (chosen_on @ weights.T).argmax(axis=1)  # (B, W)
    earned = np.take_along_axis(valued_on @ weights.T, best[:, None, :], axis=1)[:, 0]
    return {"hypervolume_held_out": np.array(volumes), "expected_utility_held_out": earned.mean(axis=1)}


def serving(weights: Floats, of_policies: Sequence[Floats | None]) -> NDArray[np.int64] | None:
    """Which policy serves each weight vector: the one whose own preference is nearest; None where a policy has none.

    >>> serving(np.array([[0.0, 1.0], [0.9, 0.1]]), [np.array([1.0, 0.0]), np.array([0.0, 1.0])]).tolist()
    [1, 0]
    """
    known = [own for own in of_policies if own is not None]
    if len(known) < len(of_policies):
        return None
    distances = np.abs(weights[:, None] - np.stack(known)).sum(axis=2)
    return np.asarray(distances.argmin(axis=1))


def measure(
    returns: Floats,
    *,
    weights: Floats,
    reference: Floats,
    served: NDArray[np.int64] | None,
    front: Floats | None,
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Measured]:
    """All measures of a set of policies, see `MEASURES`.

    A resample draws the episodes with replacement, the same for all policies. What is chosen on the noisy means that it
    is valued by is too high, in a resample twice over: of the resamples' quantiles the interval takes the mirror images
    about the number (the basic bootstrap), which moves it down by that much. An interval that lies below its number
    says that the number flatters. A held-out number is the mean over random halvings, each used both ways round; its
    set was chosen on half the problems only, so it is, if anything, too low.

    It misleads where many policies are alike: of ten equal ones after 100 episodes of rewards 0 or 1, the plain
    hypervolume is .33 where .25 is true, its interval of 95 % covers the truth 6 times in 10 (percentiles of the
    resamples: never), and the held-out interval 95 times in 100.

    Args:
        returns: (P, n, K) in [0, 1]; NaN where an objective does not apply.
        weights: (W, K).
        reference: (K,).
        served: See `set_values`.
        front: See `set_values`.
        level: Share that the interval holds.
        resamples: B.
        seed: Of the resamples.

    Raises:
        ValueError: If an objective applies to no episode of a half.
    """
    n = returns.shape[1]
    generator = np.random.default_rng(seed)
    everything = np.full((1, n), 1.0 / n)
    shares = resampled_shares(n, resamples, generator)
    halves, drawn_halves = random_halves(n, HALVINGS, generator), random_halves(n, resamples, generator)

    def plain(of: Floats) -> dict[str, Floats]:
        means = _finite(mean_vectors(returns, of))
        return set_values(means, weights=weights, reference=reference, served=served, front=front)

    def held_out(of: Floats, first: Masks) -> dict[str, Floats]:
        one, two = mean_vectors(returns, of * first), mean_vectors(returns, of * ~first)
        whole = np.isfinite(one).all(axis=(1, 2)) & np.isfinite(two).all(axis=(1, 2))
        one, two = _finite(one[whole]), _finite(two[whole])
        both = [held_out_values(*pair, weights=weights, reference=reference) for pair in ((one, two), (two, one))]
        return {name: (both[0][name] + both[1][name]) / 2 for name in both[0]}

    values = {**plain(everything), **{k: v.mean(keepdims=True) for k, v in held_out(everything, halves).items()}}
    drawn = {**plain(shares), **held_out(shares, drawn_halves)}
    found = {name: values[name][0] for name in MEASURES if name in values}
    return {name: _basic(float(value), drawn[name], level) for name, value in found.items()}


def _basic(value: float, replicates: Floats, level: float) -> Measured:
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Measured(value, float(2 * value - high), float(2 * value - low), replicates)


def _finite(means: Floats) -> Floats:
    if not len(means) or not np.isfinite(means).all():
        missing = "all" if not len(means) else np.flatnonzero(~np.isfinite(means).all(axis=(0, 1))).tolist()
        raise ValueError(f"objectives {missing} apply to too few episodes to be resampled; evaluate more problems")
    return means
