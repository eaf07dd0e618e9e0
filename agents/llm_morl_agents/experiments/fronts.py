"""Fronts: what each method reaches over preference vectors, as a set, with its hypervolume.

Shapes: S seeds, P preferences, K objectives, B resamples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.evaluate import mean_present
from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.results import Results
from llm_morl_agents.experiments.statistics import LEVEL, Interval, scaled
from llm_morl_env.metrics import hypervolume, nondominated

Floats = NDArray[np.float64]

#: Each costs a hypervolume.
FRONT_RESAMPLES = 1000
FRONT_SEED = 0


@dataclass(frozen=True, eq=False)
class MethodFront:
    """The set that one method reaches.

    Args:
        method: The arm, whatever its preference.
        seeds: Those that every preference has a finished run of.
        preferences: (P, K) that were run.
        vectors: (P, K) mean final reward vectors over the seeds.
        best: (P,) whether no other vector of the set is at least as good in all objectives and better in one.
        hypervolume: (1,) of the set, objectives scaled to [0, 1] by their bounds, reference 0, with its interval.
        gain: (1,) the hypervolume minus that of ``reference``, paired by seed; None for the reference itself.
        reference: The static method where there is one, else the first.
        finals: (S, P, K) final vectors, objectives scaled.
    """

    method: str
    seeds: tuple[int, ...]
    preferences: Floats
    vectors: Floats
    best: NDArray[np.bool_]
    hypervolume: Interval
    gain: Interval | None
    reference: str
    finals: Floats


def set_hypervolume(vectors: ArrayLike) -> float:
    """Hypervolume of the mean vectors of a set, from (S, P, K) in [0, 1] to one number.

    >>> set_hypervolume([[[0.5, 1.0], [1.0, 0.5]]])
    0.75
    """
    return hypervolume(np.asarray(vectors, dtype=np.float64).mean(axis=0), 0.0)


def front_interval(
    vectors: ArrayLike,
    other: ArrayLike | None = None,
    *,
    generator: np.random.Generator,
    level: float = LEVEL,
    resamples: int = FRONT_RESAMPLES,
) -> Interval:
    """Hypervolume of a set with its percentile bootstrap interval over seeds, or of its excess over another set's.

    A resample draws S seeds with replacement, the same for every preference and for both sets, and takes the
    hypervolume of the mean vectors. It misleads in two ways: with few seeds the interval is too short, as all
    bootstraps of few values are; and the hypervolume of a set of noisy means is biased upwards, since the best of
    several noisy vectors is chosen, more so the more preferences there are. The excess is free of the latter as far as
    both sets have as many vectors.

    Args:
        vectors: (S, P, K) final vectors in [0, 1].
        other: (S, P', K) to be subtracted.
        generator: Draws the resamples.
        level: Share that lies inside.
        resamples: B.

    >>> front_interval(np.ones((3, 2, 2)), generator=np.random.default_rng(0)).mean.tolist()
    [1.0]
    """
    table = np.asarray(vectors, dtype=np.float64)
    against = None if other is None else np.asarray(other, dtype=np.float64)

    def excess(rows: NDArray[np.int64]) -> float:
        return set_hypervolume(table[rows]) - (0.0 if against is None else set_hypervolume(against[rows]))

    everyone = np.arange(len(table))
    mean = np.array([excess(everyone)])
    if len(table) == 1:
        return Interval(mean, np.array([np.nan]), np.array([np.nan]))
    drawn = [excess(rows) for rows in generator.integers(len(table), size=(resamples, len(table)))]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, np.array([low]), np.array([high]))


def method_fronts(results: Results) -> list[MethodFront]:
    """The front of every method, over the seeds that all of its preferences have; empty without preferences."""
    if not (isinstance(results.config, CompareConfig) and results.config.preferences):
        return []
    finals: dict[str, dict[tuple[float, ...], dict[int, Floats]]] = {}
    for text, runs in results.arms.items():
        arm = parse_arm(text)
        of_method = finals.setdefault(arm.method, {})
        of_method[tuple(arm.options["preference"])] = {run.seed: mean_present(run.final) for run in runs}
    tables = {method: _table(by_preference) for method, by_preference in finals.items()}
    tables = {method: (seeds, values) for method, (seeds, values) in tables.items() if seeds}
    if not tables:
        return []
    reference = next((method for method in tables if parse_arm(method).static), next(iter(tables)))
    fronts = []
    for method, (seeds, values) in tables.items():
        vectors, unit = values.mean(axis=0), scaled(values, results.low, results.high)
        fronts.append(
            MethodFront(
                method=method,
                seeds=seeds,
                preferences=np.array(list(finals[method])),
                vectors=vectors,
                best=nondominated(vectors),
                hypervolume=front_interval(
                    scaled(values, results.low, results.high), generator=np.random.default_rng(FRONT_SEED)
                ),
                finals=unit,
                gain=None,
                reference=reference,
            )
        )
    against = next(front for front in fronts if front.method == reference)
    return [front if front is against else replace(front, gain=gain_over(front, against)) for front in fronts]


def _table(by_preference: dict[tuple[float, ...], dict[int, Floats]]) -> tuple[tuple[int, ...], Floats]:
    """The seeds that every preference has, and (S, P, K)."""
    common = sorted(set.intersection(*(set(by_seed) for by_seed in by_preference.values())))
    values = [[by_seed[seed] for by_seed in by_preference.values()] for seed in common]
    return tuple(common), np.array(values, dtype=np.float64)


def gain_over(front: MethodFront, other: MethodFront) -> Interval | None:
    """Hypervolume of one method's set minus another's, (1,), over the seeds that both have; None without any."""
    common = [seed for seed in front.seeds if seed in other.seeds]
    if not common:
        return None
    first, second = (f.finals[[f.seeds.index(seed) for seed in common]] for f in (front, other))
    return front_interval(first, second, generator=np.random.default_rng(FRONT_SEED))
