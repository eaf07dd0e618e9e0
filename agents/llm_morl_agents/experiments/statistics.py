"""Statistics of runs: intervals over seeds and problems, steps to a threshold. Pure functions of arrays.

Shapes: S seeds, n problems, K objectives, T steps, B resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.integrate
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.evaluate import mean_present
from llm_morl_env.metrics import hypervolume

Floats = NDArray[np.float64]

RESAMPLES = 4000
LEVEL = 0.95
#: Steps of the trailing mean that is held against a threshold: one batch is a noisy estimate.
THRESHOLD_WINDOW = 5


@dataclass(frozen=True, eq=False)
class Interval:
    """A mean with an interval, each (K,).

    Args:
        mean: Over seeds and problems.
        low: Lower end; NaN where one seed and one problem say nothing about spread.
        high: Upper end.
    """

    mean: Floats
    low: Floats
    high: Floats


def bootstrap_interval(
    values: ArrayLike, *, generator: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Interval of the mean over seeds and problems, by resampling both (Owen, 2007, the pigeonhole bootstrap).

    Every seed meets the same problems, so a resample draws S seeds and, independently, n problems, with replacement,
    and takes the mean over the drawn rows and columns. Resampling S values understates the variance of their mean by
    (S - 1) / S, much at 3 seeds, so the deviations of the seeds' means are stretched by sqrt(S / (S - 1)) first.

    It misleads with few seeds all the same: percentiles know no heavy tails, and where the spread over seeds dominates,
    an interval of 95 % covers about 80 % of the time at 3 seeds and 90 % at 8. With one seed it covers problems alone,
    with one problem seeds alone.

    Args:
        values: (S, n, K), for example final minus initial reward, paired by problem.
        generator: Draws the resamples, the same for every objective.
        level: Share that lies inside.
        resamples: B.

    Entries that are NaN are left out: a resample's mean is that of the entries it holds, and where one holds none of
    an objective, its interval is NaN.

    Raises:
        ValueError: If the shape is not (S, n, K) with at least one of each, or a value is infinite.

    >>> interval = bootstrap_interval(np.ones((3, 10, 1)), generator=np.random.default_rng(0))
    >>> interval.low.round(6).tolist(), interval.high.round(6).tolist()
    ([1.0], [1.0])
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 3 or 0 in table.shape:
        raise ValueError(f"values must have shape (S, n, K) with at least one of each, got {table.shape}")
    if np.isinf(table).any():
        raise ValueError("values must be finite, or NaN where they are missing")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    seeds, problems, k = table.shape
    mean = mean_present(table, axis=(0, 1))
    if seeds == problems == 1:
        return Interval(mean, np.full(k, np.nan), np.full(k, np.nan))
    if seeds > 1:
        deviations = mean_present(table, axis=1)[:, None] - mean
        table = table + (np.sqrt(seeds / (seeds - 1)) - 1.0) * deviations
    seed_shares = _resampling_shares(seeds, resamples, generator)  # (B, S)
    problem_shares = _resampling_shares(problems, resamples, generator)  # (B, n)
    sums, counts = (
        np.stack([((seed_shares @ part[:, :, j]) * problem_shares).sum(axis=1) for j in range(k)], axis=1)
        for part in (np.nan_to_num(table), (~np.isnan(table)).astype(np.float64))
    )
    means = sums / np.where(counts > 0, counts, np.nan)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(mean, low, high)


def interquartile_mean(values: ArrayLike) -> Floats:
    """Mean over the first axis without the lowest and the highest quarter, as many whole rows as that is.

    Agarwal et al. (2021, arXiv 2108.13264), as in rliable: robust to one odd seed as the median is, and of less
    variance. Below 4 rows nothing is left out, and it is the mean.

    >>> float(interquartile_mean([0.0, 1.0, 2.0, 30.0]))
    1.5
    """
    return np.asarray(scipy.stats.trim_mean(np.asarray(values, dtype=np.float64), 0.25, axis=0))


def iqm_interval(
    values: ArrayLike, *, generator: np.random.Generator, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Interquartile mean over seeds with its percentile bootstrap interval (Agarwal et al. 2021).

    It misleads below about 10 seeds, where resampling a handful of values understates their spread.

    Args:
        values: (S, K), a row for each seed.
        generator: Draws the resamples.
        level: Share that lies inside.
        resamples: B.

    Raises:
        ValueError: If the shape is not (S, K) with at least one seed, or a value is not finite.

    >>> interval = iqm_interval([[0.0], [1.0], [1.0], [5.0]], generator=np.random.default_rng(0))
    >>> float(interval.mean[0]), bool(interval.low[0] < 1.0 < interval.high[0])
    (1.0, True)
    """
    table = _seed_table(values)
    mean = interquartile_mean(table)
    if len(table) == 1:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    drawn = table[generator.integers(len(table), size=(resamples, len(table)))]  # (B, S, K)
    means = scipy.stats.trim_mean(drawn, 0.25, axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(mean, low, high)


def paired_interval(differences: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Mean of paired differences, one for each seed, with Student's interval: ``d +- t(S - 1) s / sqrt(S)``.

    For a handful of seeds, where a bootstrap's intervals are too short; exact where the differences are normal. Nothing
    is adjusted for the number of comparisons: of 20 arms that are all alike one will seem to differ.

    Args:
        differences: (S, K); an objective whose differences are all equal has an interval without width.
        level: Share that lies inside.

    Raises:
        ValueError: If the shape is not (S, K) with at least one seed, or a value is not finite.

    >>> interval = paired_interval([[1.0], [2.0], [3.0]])
    >>> float(interval.mean[0]), interval.low.round(4).tolist()
    (2.0, [-0.4841])
    """
    table = _seed_table(differences)
    mean = np.asarray(table.mean(axis=0))
    if len(table) == 1:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    error = table.std(axis=0, ddof=1) / np.sqrt(len(table))
    reach = scipy.stats.t.ppf((1 + level) / 2, len(table) - 1) * error
    return Interval(mean, mean - reach, mean + reach)


def _seed_table(values: ArrayLike) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"values must have shape (S, K) with at least one of each, got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("values must be finite")
    return table


def area_under_curve(at: ArrayLike, values: ArrayLike) -> Floats:
    """Mean height of a curve: the area by the trapezoidal rule over the width. One point is its own height.

    Args:
        at: (E,) ascending abscissae, for example steps.
        values: (E,) or (E, K).

    Raises:
        ValueError: If the lengths differ, there is no point, or ``at`` does not ascend.

    >>> float(area_under_curve([0, 1, 3], [0.0, 1.0, 1.0])).__round__(6)
    0.833333
    """
    x, y = np.asarray(at, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or len(x) != len(y):
        raise ValueError(f"at and values must have the same length, at least 1, got {x.shape} and {y.shape}")
    if (np.diff(x) <= 0).any():
        raise ValueError(f"at must ascend, got {x.tolist()}")
    if len(x) == 1:
        return np.asarray(y[0])
    return np.asarray(scipy.integrate.trapezoid(y, x, axis=0) / (x[-1] - x[0]))


def vector_hypervolumes(vectors: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Hypervolume of each reward vector alone, scaled to [0, 1] by its bounds, reference at the lower ones.

    For one vector it is the product of its scaled entries, 0 where one is at or below its lower bound: a balance of
    objectives counts more than the same sum spread unevenly.

    Args:
        vectors: (..., K).
        low: (K,) lower bounds.
        high: (K,) upper bounds.

    >>> vector_hypervolumes([[0.5, 0.5], [1.0, 0.0]], [0, 0], [1, 1]).tolist()
    [0.25, 0.0]
    """
    unit = scaled(vectors, low, high)
    flat = [hypervolume([row], 0.0) for row in unit.reshape(-1, unit.shape[-1])]
    return np.asarray(flat, dtype=np.float64).reshape(unit.shape[:-1])


def _resampling_shares(size: int, resamples: int, generator: np.random.Generator) -> Floats:
    """How much each of ``size`` things counts in each resample, (B, size); rows sum to 1."""
    return generator.multinomial(size, np.full(size, 1.0 / size), size=resamples) / size


def steps_to_threshold(series: ArrayLike, threshold: float, *, window: int = THRESHOLD_WINDOW) -> int | None:
    """Training steps taken until the trailing mean over ``window`` steps first reaches ``threshold``; None if never.

    Args:
        series: (T,); entry t is the mean reward of the batch that was drawn after t steps.
        threshold: The level.
        window: Length of the mean; the first full window ends at step ``window - 1``.

    >>> steps_to_threshold([0.0, 0.0, 1.0, 1.0], 1.0, window=2)
    3
    """
    smooth = trailing_mean(series, window)
    reached = np.flatnonzero(smooth[window - 1 :] >= threshold)
    return int(reached[0]) + window - 1 if len(reached) else None


def trailing_mean(series: ArrayLike, window: int) -> Floats:
    """Mean of each entry and up to ``window - 1`` before it, along the first axis, without NaN; the same shape.

    >>> trailing_mean([0.0, 2.0, 4.0], 2).tolist()
    [0.0, 1.0, 3.0]

    Raises:
        ValueError: If the window is not positive.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    values = np.asarray(series, dtype=np.float64)
    present = ~np.isnan(values)
    sums, counts = (_trailing_sum(part, window) for part in (np.nan_to_num(values), present.astype(np.float64)))
    means: Floats = sums / np.where(counts > 0, counts, np.nan)
    return means


def _trailing_sum(values: Floats, window: int) -> Floats:
    sums = np.cumsum(values, axis=0)
    shifted = np.zeros_like(sums)
    shifted[window:] = sums[:-window] if len(values) > window else sums[:0]
    return np.asarray(sums - shifted)


def half_way_thresholds(start: ArrayLike, high: ArrayLike) -> Floats:
    """Levels half-way from the start (K,) to the upper bounds (K,).

    >>> half_way_thresholds([0.5, -1.0], [1.0, 3.0]).tolist()
    [0.75, 1.0]
    """
    return (np.asarray(start, dtype=np.float64) + np.asarray(high, dtype=np.float64)) / 2


def scaled(vectors: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Reward vectors (..., K) brought to [0, 1] by their declared bounds (K,).

    >>> scaled([0.5, 0.0], [0.0, -3.0], [1.0, 3.0]).tolist()
    [0.5, 0.5]
    """
    bottom, top = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return (np.asarray(vectors, dtype=np.float64) - bottom) / (top - bottom)


def spread(values: ArrayLike) -> Floats:
    """Sample standard deviation over seeds, (S, K) to (K,); NaN for one seed."""
    table = np.asarray(values, dtype=np.float64)
    return np.asarray(table.std(axis=0, ddof=1)) if len(table) > 1 else np.full(table.shape[1:], np.nan)
