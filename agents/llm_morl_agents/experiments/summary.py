"""The numbers of a comparison: levels, rises with intervals, steps to threshold, hypervolume, cost."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.results import Results, Run
from llm_morl_agents.experiments.statistics import (
    Interval,
    bootstrap_interval,
    half_way_thresholds,
    scaled,
    spread,
    steps_to_threshold,
)
from llm_morl_env.metrics import hypervolume

Floats = NDArray[np.float64]

#: Of the resamples, so that a report made again is the same.
BOOTSTRAP_SEED = 0
#: Of ``summary.csv``.
COLUMNS = (
    *("arm", "objective", "seeds", "problems", "start", "final", "final_sd", "greedy_start", "greedy_final"),
    *("rise", "rise_low", "rise_high", "threshold", "steps_to_threshold", "seeds_that_reached_it"),
    *("hypervolume", "cpu_seconds_per_step"),
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
        hypervolume: Of the mean final vector, objectives scaled to [0, 1] by their bounds, reference point 0.
        cpu_seconds_per_step: Mean over steps and seeds, evaluation apart.
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
    hypervolume: float
    cpu_seconds_per_step: float


@dataclass(frozen=True, eq=False)
class Difference:
    """Final level of an arm minus that of the first arm, paired by seed and problem.

    Args:
        arm: The arm.
        other: The first arm.
        seeds: Those that both have.
        interval: (K,) each.
    """

    arm: str
    other: str
    seeds: tuple[int, ...]
    interval: Interval


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
    first = next(iter(results.arms))
    compared = [_difference(results, arm, first) for arm in islice(results.arms, 1, None)]
    return Summary(arms, [difference for difference in compared if difference.seeds], thresholds)


def _thresholds(results: Results) -> Floats:
    """The configured ones, else half-way from the mean of the first training batches to the upper bounds."""
    first = [run.series["reward_mean"][0] for runs in results.arms.values() for run in runs]
    levels = half_way_thresholds(np.mean(first, axis=0), results.high)
    if isinstance(results.config, CompareConfig):
        for name, level in results.config.thresholds.items():
            levels[results.objectives.index(name)] = level
    return levels


def _summarise_arm(results: Results, arm: str, runs: Sequence[Run], thresholds: Floats) -> ArmSummary:
    start, final = (np.stack([getattr(run, name) for run in runs]) for name in ("start", "final"))  # (S, n, K)
    levels = final.mean(axis=1)  # (S, K)
    reached = [
        [steps_to_threshold(run.series["reward_mean"][:, k], level) for run in runs]
        for k, level in enumerate(thresholds)
    ]
    counted = [[steps for steps in row if steps is not None] for row in reached]
    return ArmSummary(
        arm=arm,
        seeds=tuple(run.seed for run in runs),
        problems=final.shape[1],
        start=start.mean(axis=(0, 1)),
        final=levels.mean(axis=0),
        final_spread=spread(levels),
        greedy=np.mean([run.greedy for run in runs], axis=0),
        rise=bootstrap_interval(final - start, generator=np.random.default_rng(BOOTSTRAP_SEED)),
        steps_to_threshold=np.array([np.mean(row) if row else np.nan for row in counted]),
        reached=np.array([len(row) for row in counted]),
        hypervolume=hypervolume([scaled(levels.mean(axis=0), results.low, results.high)], 0.0),
        cpu_seconds_per_step=float(np.mean([run.series["cpu_seconds"].mean() for run in runs])),
    )


def _difference(results: Results, arm: str, other: str) -> Difference:
    mine, theirs = ({run.seed: run for run in results.arms[name]} for name in (arm, other))
    seeds = tuple(seed for seed in mine if seed in theirs)
    if not seeds:
        nothing = np.full(len(results.objectives), np.nan)
        return Difference(arm, other, (), Interval(nothing, nothing, nothing))
    values = np.stack([mine[seed].final - theirs[seed].final for seed in seeds])
    interval = bootstrap_interval(values, generator=np.random.default_rng(BOOTSTRAP_SEED))
    return Difference(arm, other, seeds, interval)


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
                shown = ["" if np.isnan(value) else f"{value:.6g}" for value in numbers]
                tail = [int(arm.reached[k]), f"{arm.hypervolume:.6g}", f"{arm.cpu_seconds_per_step:.6g}"]
                writer.writerow([arm.arm, objective, len(arm.seeds), arm.problems, *shown, *tail])
