"""The numbers of a comparison: levels, rises with intervals, steps to threshold, hypervolume, cost.

The primary number of an arm is the hypervolume of its final mean reward vector; beside it stands the mean of the same
over training, by evaluations (its area under the curve).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.evaluate import mean_present
from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.results import Results, Run
from llm_morl_agents.experiments.statistics import (
    Interval,
    area_under_curve,
    bootstrap_interval,
    half_way_thresholds,
    interquartile_mean,
    iqm_interval,
    paired_interval,
    scaled,
    spread,
    steps_to_threshold,
    vector_hypervolumes,
)
from llm_morl_env.metrics import hypervolume

Floats = NDArray[np.float64]

#: Of the resamples, so that a report made again is the same.
BOOTSTRAP_SEED = 0
#: Of ``summary.csv``.
COLUMNS = (
    *("arm", "objective", "seeds", "problems", "start", "final", "final_sd", "greedy_start", "greedy_final"),
    *("rise", "rise_low", "rise_high", "threshold", "steps_to_threshold", "seeds_that_reached_it"),
    *("weight", "advantage_share", "training_mean", "evaluation_mean"),
    *("hypervolume", "hypervolume_iqm", "hypervolume_low", "hypervolume_high"),
    *("hypervolume_over_training", "worst_objective", "cpu_seconds_per_step", "wall_seconds_per_step"),
    "weighter_share",
)
#: Of ``seeds.csv``, after what there is of each objective.
SEED_COLUMNS = (
    *("hypervolume", "hypervolume_over_training", "worst_objective"),
    *("cpu_seconds", "wall_seconds", "weighter_share"),
)


@dataclass(frozen=True, eq=False)
class ArmSummary:
    """One arm over its seeds; arrays are (K,). Levels are sampled at the training temperature, evaluation split.

    Args:
        arm: As the user wrote it.
        seeds: Of its finished runs.
        problems: Number that was scored.
        start: Mean level before training.
        final: Mean level after it.
        final_spread: Standard deviation of the seeds' final levels; NaN for one seed.
        greedy: (2, K) mean level of greedy decoding, before training and after it.
        rise: Final minus start with its interval, paired by problem.
        steps_to_threshold: Mean over the seeds that reached it; NaN where none did.
        reached: Number of seeds that did.
        weight: Mean over steps and seeds.
        advantage_share: Mean over steps and seeds.
        training_mean: Mean over training of the batches' rewards (the area under the training curve over its width).
        evaluation_mean: The same of the evaluations.
        hypervolume: Of the mean final vector, objectives scaled to [0, 1] by their bounds, reference point 0.
        primary: (2,) interquartile means over seeds with intervals: hypervolume of the seed's final mean vector, and
            the mean over training of its evaluations' hypervolumes.
        by_seed: (S, 2) the same of each seed.
        worst: Lowest scaled objective of the final mean vector, mean over seeds.
        cpu_seconds_per_step: Mean over steps and seeds, evaluation apart.
        wall_seconds_per_step: Likewise.
        weighter_share: Of the CPU seconds of the steps, those of the weighter.
    """

    arm: str
    seeds: tuple[int, ...]
    problems: int
    start: Floats
    final: Floats
    final_spread: Floats
    greedy: Floats
    rise: Interval
    steps_to_threshold: Floats
    reached: NDArray[np.int64]
    weight: Floats
    advantage_share: Floats
    training_mean: Floats
    evaluation_mean: Floats
    hypervolume: float
    primary: Interval
    by_seed: Floats
    worst: float
    cpu_seconds_per_step: float
    wall_seconds_per_step: float
    weighter_share: float


@dataclass(frozen=True, eq=False)
class Difference:
    """Final level of an arm minus that of another one, paired by seed and problem.

    Args:
        arm: The arm.
        other: The first arm; with preferences, the first method for the same one.
        seeds: Those that both have.
        interval: (K,) each.
        primary: (2,) of the two primary numbers, paired by seed.
    """

    arm: str
    other: str
    seeds: tuple[int, ...]
    interval: Interval
    primary: Interval


@dataclass(frozen=True, eq=False)
class Summary:
    """All that the report's tables hold.

    Args:
        arms: One for each arm that has a finished run.
        differences: To the first arm, of every other that shares a seed with it.
        thresholds: (K,) levels for ``steps_to_threshold``.
    """

    arms: list[ArmSummary]
    differences: list[Difference]
    thresholds: Floats


def summarise(results: Results) -> Summary:
    """The numbers of an experiment; the same at every call."""
    thresholds = _thresholds(results)
    arms = [_summarise_arm(results, arm, runs, thresholds) for arm, runs in results.arms.items()]
    compared = [difference(results, arm, other) for arm in results.arms if (other := _reference(results, arm)) != arm]
    return Summary(arms, [difference for difference in compared if difference.seeds], thresholds)


def _thresholds(results: Results) -> Floats:
    """The configured ones, else half-way from the mean of the first training batches to the upper bounds."""
    first = [run.series["reward_mean"][0] for runs in results.arms.values() for run in runs]
    levels = half_way_thresholds(mean_present(first), results.high)
    if isinstance(results.config, CompareConfig):
        for name, level in results.config.thresholds.items():
            levels[results.objectives.index(name)] = level
    return levels


def _summarise_arm(results: Results, arm: str, runs: Sequence[Run], thresholds: Floats) -> ArmSummary:
    start, final = (np.stack([getattr(run, name) for run in runs]) for name in ("start", "final"))  # (S, n, K)
    levels = mean_present(final, axis=1)  # (S, K)
    by_seed = np.stack([primary_numbers(results, run) for run in runs])
    reached = [
        [steps_to_threshold(run.series["reward_mean"][:, k], level) for run in runs]
        for k, level in enumerate(thresholds)
    ]
    counted = [[steps for steps in row if steps is not None] for row in reached]
    return ArmSummary(
        arm=arm,
        seeds=tuple(run.seed for run in runs),
        problems=final.shape[1],
        start=mean_present(start, axis=(0, 1)),
        final=levels.mean(axis=0),
        final_spread=spread(levels),
        greedy=mean_present([run.greedy for run in runs]),
        rise=bootstrap_interval(final - start, generator=np.random.default_rng(BOOTSTRAP_SEED)),
        steps_to_threshold=np.array([np.mean(row) if row else np.nan for row in counted]),
        reached=np.array([len(row) for row in counted]),
        weight=np.mean([run.series["weight"].mean(axis=0) for run in runs], axis=0),
        advantage_share=np.mean([run.series["advantage_share"].mean(axis=0) for run in runs], axis=0),
        training_mean=np.mean([_over_training(run.series["reward_mean"]) for run in runs], axis=0),
        evaluation_mean=np.mean([area_under_curve(run.evaluation_steps, run.evaluations) for run in runs], axis=0),
        hypervolume=hypervolume([scaled(levels.mean(axis=0), results.low, results.high)], 0.0),
        primary=iqm_interval(by_seed, generator=np.random.default_rng(BOOTSTRAP_SEED)),
        by_seed=by_seed,
        worst=float(np.mean([worst_objective(results, run) for run in runs])),
        cpu_seconds_per_step=float(np.mean([run.series["cpu_seconds"].mean() for run in runs])),
        wall_seconds_per_step=float(np.mean([run.series["wall_seconds"].mean() for run in runs])),
        weighter_share=float(np.mean([weighter_share(run) for run in runs])),
    )


def featured(results: Results, limit: int) -> list[str]:
    """The arms that figures and long tables show: of a control grid the best one alone, and no more than ``limit``.

    Where the others are more, they are the first, which the rest is compared with, and the best of the rest.
    """

    def reached(arm: str) -> float:
        return float(interquartile_mean([primary_numbers(results, run)[0] for run in results.arms[arm]]))

    grid = _control_grid(results)
    best = [max(grid, key=reached)] if grid else []
    first, *others = [arm for arm in results.arms if arm not in grid] or best
    room = limit - 1 - len(best)
    chosen = {first, *best, *sorted(others, key=reached, reverse=True)[:room]}
    return [arm for arm in results.arms if arm in chosen]


def _control_grid(results: Results) -> list[str]:
    config = results.config
    if not isinstance(config, CompareConfig) or "grid" not in config.controls:
        return []
    given = {parse_arm(text).text for text in config.arms}
    return [arm for arm in results.arms if arm not in given and parse_arm(arm).static]


def _over_training(series: Floats) -> Floats:
    """Column by column, over the steps at which an objective applied to a response."""
    columns = [(np.flatnonzero(~np.isnan(column)), column) for column in series.T]
    return np.array([float(area_under_curve(at, column[at])) if len(at) else np.nan for at, column in columns])


def primary_numbers(results: Results, run: Run) -> Floats:
    """Hypervolume of a run's final mean vector, and the mean over training of that of its evaluations, (2,)."""
    volumes = vector_hypervolumes(run.evaluations, results.low, results.high)  # (E,)
    final = vector_hypervolumes(mean_present(run.final), results.low, results.high)
    return np.array([float(final), float(area_under_curve(run.evaluation_steps, volumes))])


def worst_objective(results: Results, run: Run) -> float:
    """Lowest entry of a run's final mean vector, scaled to [0, 1] by the bounds."""
    return float(scaled(mean_present(run.final), results.low, results.high).min())


def weighter_share(run: Run) -> float:
    """Of the CPU seconds of a run's steps, those that the weighter took."""
    return float(run.series["weighter_seconds"].sum() / run.series["cpu_seconds"].sum())


def _reference(results: Results, arm: str) -> str:
    """The arm that another one is compared with: the first, or with preferences the first for the same one."""
    if not (isinstance(results.config, CompareConfig) and results.config.preferences):
        return next(iter(results.arms))
    preference = parse_arm(arm).options["preference"]
    return next(other for other in results.arms if parse_arm(other).options["preference"] == preference)


def difference(results: Results, arm: str, other: str) -> Difference:
    """What an arm reached minus what another one reached; without a common seed all is NaN."""
    mine, theirs = ({run.seed: run for run in results.arms[name]} for name in (arm, other))
    seeds = tuple(seed for seed in mine if seed in theirs)
    if not seeds:
        nothing, two = np.full(len(results.objectives), np.nan), np.full(2, np.nan)
        return Difference(arm, other, (), Interval(nothing, nothing, nothing), Interval(two, two, two))
    values = np.stack([mine[seed].final - theirs[seed].final for seed in seeds])
    interval = bootstrap_interval(values, generator=np.random.default_rng(BOOTSTRAP_SEED))
    primary = [primary_numbers(results, mine[s]) - primary_numbers(results, theirs[s]) for s in seeds]
    return Difference(arm, other, seeds, interval, paired_interval(primary))


def write_csv(summary: Summary, results: Results, path: Path) -> None:
    """One row for each arm and objective; what is unknown is left empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for arm in summary.arms:
            for k, objective in enumerate(results.objectives):
                numbers = [
                    *(values[k] for values in (arm.start, arm.final, arm.final_spread, *arm.greedy)),
                    *(values[k] for values in (arm.rise.mean, arm.rise.low, arm.rise.high)),
                    summary.thresholds[k],
                    arm.steps_to_threshold[k],
                ]
                tail = [
                    *(v[k] for v in (arm.weight, arm.advantage_share, arm.training_mean, arm.evaluation_mean)),
                    *(arm.hypervolume, arm.primary.mean[0], arm.primary.low[0], arm.primary.high[0]),
                    *(arm.primary.mean[1], arm.worst, arm.cpu_seconds_per_step, arm.wall_seconds_per_step),
                    arm.weighter_share,
                ]
                names = [arm.arm, objective, len(arm.seeds), arm.problems]
                writer.writerow([*names, *map(_cell, numbers), int(arm.reached[k]), *map(_cell, tail)])


def write_seeds_csv(summary: Summary, results: Results, path: Path) -> None:
    """One row for each run: what a test of one's own starts from."""
    objectives = results.objectives
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        levels = [
            f"{kind}/{name}" for kind in ("start", "final", "weight", "steps_to_threshold") for name in objectives
        ]
        writer.writerow(["arm", "seed", "policy", "steps", *levels, *SEED_COLUMNS])
        for runs in results.arms.values():
            for run in runs:
                reached = [
                    steps_to_threshold(run.series["reward_mean"][:, k], level)
                    for k, level in enumerate(summary.thresholds)
                ]
                numbers = [
                    *mean_present(run.start),
                    *mean_present(run.final),
                    *run.series["weight"].mean(axis=0),
                    *(np.nan if steps is None else steps for steps in reached),
                    *primary_numbers(results, run),
                    worst_objective(results, run),
                    run.series["cpu_seconds"].sum(),
                    run.series["wall_seconds"].sum(),
                    weighter_share(run),
                ]
                started = run.facts.get("policy", results.config.policy_of(run.seed))
                names = [run.arm, run.seed, started, run.facts["steps"]]
                writer.writerow([*names, *map(_cell, numbers)])


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
