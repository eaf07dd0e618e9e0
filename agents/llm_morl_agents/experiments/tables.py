"""The tables of a report, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.fronts import MethodFront
from llm_morl_agents.experiments.results import Results
from llm_morl_agents.experiments.statistics import Interval
from llm_morl_agents.experiments.summary import ArmSummary, Summary, featured

NOTHING = "–"
#: Arms in a table that has a row for each objective, at most; the files hold all.
MOST_ROWS = 12


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Args:
        head: Of the columns; the first columns hold names, the others numbers.
        names: How many hold names.
        rows: Cells; an arm's name stands in the first row of its block only.
    """

    head: tuple[str, ...]
    names: int
    rows: Sequence[tuple[str, ...]]


def main_grid(results: Results, summary: Summary, digits: int) -> Grid:
    """Levels and rises, a row for each of the few arms and objective."""
    rows = [
        (
            arm.arm if k == 0 else "",
            objective,
            number(arm.start[k], digits),
            f"{number(arm.final[k], digits)} ± {number(arm.final_spread[k], digits)}",
            interval(arm.rise, k, digits),
            _steps(arm, k),
        )
        for arm in few_arms(results, summary)
        for k, objective in enumerate(results.objectives)
    ]
    return Grid(("arm", "objective", "start", "final ± sd", "rise [95 %]", "steps"), 2, rows)


def detail_grid(results: Results, summary: Summary, digits: int) -> Grid:
    """Greedy answers before and after, and the difference to the first arm; rows as `main_grid`."""
    differences = {d.arm: d.interval for d in summary.differences}
    rows: list[tuple[str, ...]] = []
    for arm in few_arms(results, summary):
        for k, objective in enumerate(results.objectives):
            before, after = arm.greedy[:, k]
            greedy = f"{number(before, digits)} → {number(after, digits)}"
            row = [arm.arm if k == 0 else "", objective, greedy]
            if differences:
                row.append(interval(differences[arm.arm], k, digits) if arm.arm in differences else NOTHING)
            rows.append(tuple(row))
    head = ("arm", "objective", "greedy: start → final")
    return Grid((*head, f"final − {reference_name(results, summary)} [95 %]") if differences else head, 2, rows)


def weight_grid(results: Results, summary: Summary, digits: int) -> Grid:
    """What each objective counted, and its mean level over training; rows as `main_grid`."""
    rows = [
        (
            arm.arm if k == 0 else "",
            objective,
            number(arm.weight[k], digits),
            number(arm.advantage_share[k], digits),
            number(arm.training_mean[k], digits),
            number(arm.evaluation_mean[k], digits),
        )
        for arm in few_arms(results, summary)
        for k, objective in enumerate(results.objectives)
    ]
    return Grid(("arm", "objective", "weight", "share", "in training", "evaluated"), 2, rows)


def primary_grid(results: Results, summary: Summary, *, most: int | None = None, most_digits: int = 6) -> Grid:
    """The primary numbers, a row for each arm, the best first.

    Args:
        results: Of the experiment.
        summary: Its numbers.
        most: Rows, at most.
        most_digits: Digits after the point, at most.
    """
    differences = {d.arm: d.primary for d in summary.differences}
    digits = min(most_digits, volume_digits([arm.primary.mean[0] for arm in summary.arms]))
    rows = []
    for arm in sorted(summary.arms, key=lambda arm: -arm.primary.mean[0])[:most]:
        row = [arm.arm, level(arm.primary, 0, digits), number(arm.primary.mean[1], digits), number(arm.worst, 2)]
        if differences:
            row.append(interval(differences[arm.arm], 0, digits) if arm.arm in differences else NOTHING)
        rows.append(tuple(row))
    head = ("arm", "hypervolume [95 %]", "over training", "worst")
    return Grid((*head, f"− {reference_name(results, summary)} [95 %]") if differences else head, 1, rows)


def cost_grid(results: Results, summary: Summary) -> Grid:
    """What a step costs, a row for each of the few arms."""
    rows = [
        (
            arm.arm,
            number(arm.cpu_seconds_per_step, 3),
            number(arm.wall_seconds_per_step, 3),
            f"{100 * arm.weighter_share:.2f} %",
        )
        for arm in few_arms(results, summary)
    ]
    return Grid(("arm", "CPU s/step", "wall s/step", "weighter's share"), 1, rows)


def front_grid(fronts: Sequence[MethodFront]) -> Grid:
    """The set that each method reached, a row for each."""
    digits = volume_digits([front.hypervolume.mean[0] for front in fronts])
    rows = [
        (
            front.method,
            f"{int(front.best.sum())}/{len(front.best)}",
            level(front.hypervolume, 0, digits),
            NOTHING if front.gain is None else interval(front.gain, 0, digits),
        )
        for front in sorted(fronts, key=lambda front: -front.hypervolume.mean[0])
    ]
    return Grid(("method", "points", "hypervolume [95 %]", f"− {fronts[0].reference} [95 %]"), 1, rows)


def volume_digits(volumes: Sequence[float]) -> int:
    """Digits after the point that show the largest of some hypervolumes to 3 figures: with many objectives all are low.

    >>> volume_digits([0.4, 0.1]), volume_digits([0.0053, 0.001]), volume_digits([0.0])
    (3, 5, 3)
    """
    largest = max(volumes, default=0.0)
    return 3 if largest <= 0 else int(np.clip(2 - np.floor(np.log10(largest)), 3, 6))


def few_arms(results: Results, summary: Summary) -> list[ArmSummary]:
    """The arms of the tables that have a row for each objective."""
    names = featured(results, MOST_ROWS)
    return [arm for arm in summary.arms if arm.arm in names]


def reference_name(results: Results, summary: Summary) -> str:
    """The arm that differences are to, without a preference where every preference has its own."""
    others = {difference.other for difference in summary.differences}
    return others.pop() if len(others) == 1 else parse_arm(next(iter(results.arms))).method


def number(value: float, digits: int) -> str:
    """So many digits after the point; a dash for NaN."""
    return NOTHING if np.isnan(value) else f"{value:.{digits}f}"


def level(values: Interval, k: int, digits: int) -> str:
    """``0.31 [0.25, 0.37]``."""
    low, high = (number(end[k], digits) for end in (values.low, values.high))
    return f"{values.mean[k]:.{digits}f} [{low}, {high}]"


def interval(values: Interval, k: int, digits: int) -> str:
    """``+0.31 [+0.25, +0.37]``."""
    low, high = (NOTHING if np.isnan(end[k]) else f"{end[k]:+.{digits}f}" for end in (values.low, values.high))
    return f"{values.mean[k]:+.{digits}f} [{low}, {high}]"


def _steps(arm: ArmSummary, k: int) -> str:
    if not arm.reached[k]:
        return NOTHING
    share = "" if arm.reached[k] == len(arm.seeds) else f" ({arm.reached[k]}/{len(arm.seeds)})"
    return f"{arm.steps_to_threshold[k]:.0f}{share}"
