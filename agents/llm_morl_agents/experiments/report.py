"""The report of an experiment: tables on the terminal, ``summary.csv``, figures and one self-contained HTML file."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.plots import save_figures
from llm_morl_agents.experiments.results import Results, load_results, merge_metrics
from llm_morl_agents.experiments.statistics import RESAMPLES, THRESHOLD_WINDOW, Interval
from llm_morl_agents.experiments.summary import ArmSummary, Summary, summarise, write_csv

REPORT = "report.html"
_NOTHING = "–"
_ALT = {
    "curves": "reward over training steps, by objective and arm",
    "weights": "weights and shares of the advantage over training steps, by arm",
    "front": "pairs of objectives, from start to end, by arm",
}


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


def make_report(folder: Path, console: Console) -> Results:
    """Make all files of the report anew from what the runs left, and print its tables.

    Raises:
        UserError: If the folder holds no experiment with a finished run.
    """
    merge_metrics(folder)
    results = load_results(folder)
    summary = summarise(results)
    write_csv(summary, results, folder / "summary.csv")
    figures = save_figures(results, folder)
    _write(folder / REPORT, render_html(results, summary, figures))
    console.print(terminal_tables(results, summary))
    return results


def main_grid(results: Results, summary: Summary, digits: int) -> Grid:
    """Levels and rises, a row for each arm and objective."""
    rows = [
        (
            arm.arm if k == 0 else "",
            objective,
            number(arm.start[k], digits),
            f"{number(arm.final[k], digits)} ± {number(arm.final_spread[k], digits)}",
            interval(arm.rise, k, digits),
            _steps(arm, k),
        )
        for arm in summary.arms
        for k, objective in enumerate(results.objectives)
    ]
    return Grid(("arm", "objective", "start", "final ± sd", "rise [95 %]", "steps"), 2, rows)


def detail_grid(results: Results, summary: Summary, digits: int) -> Grid:
    """Greedy answers before and after, and the difference to the first arm, a row for each arm and objective."""
    differences = {d.arm: d.interval for d in summary.differences}
    rows: list[tuple[str, ...]] = []
    for arm in summary.arms:
        for k, objective in enumerate(results.objectives):
            before, after = arm.greedy[:, k]
            row = [arm.arm if k == 0 else "", objective, f"{number(before, digits)} → {number(after, digits)}"]
            if differences:
                row.append(interval(differences[arm.arm], k, digits) if arm.arm in differences else _NOTHING)
            rows.append(tuple(row))
    head = ("arm", "objective", "greedy: start → final")
    return Grid((*head, f"final − {summary.arms[0].arm} [95 %]") if differences else head, 2, rows)


def arm_grid(summary: Summary) -> Grid:
    """What is one number for an arm, a row for each."""
    rows = [(a.arm, number(a.hypervolume, 3), number(a.cpu_seconds_per_step, 2)) for a in summary.arms]
    return Grid(("arm", "hypervolume", "CPU s/step"), 1, rows)


def notes(results: Results, summary: Summary) -> list[str]:
    """How the numbers are meant, and what they do not say."""
    seeds = max(len(arm.seeds) for arm in summary.arms)
    said = [
        (
            f"Levels are mean rewards on {summary.arms[0].problems} problems of the evaluation split, sampled at the "
            "training temperature, before and after training; sd is over seeds; greedy: the most likely answers."
        ),
        f"Intervals: 95 %, from a bootstrap over seeds and problems ({RESAMPLES} resamples), paired by problem.",
        (
            "All runs start from one and the same checkpoint: the intervals say how far seeds and problems carry, and "
            "nothing about other initial models or tasks."
        ),
    ]
    if seeds == 1:
        said.append("There is one seed: the intervals cover the choice of problems alone.")
    elif seeds < 10:
        said.append(
            f"With {seeds} seeds an interval covers less than its 95 % where the spread over seeds dominates "
            "(about 80 % at 3 seeds, 90 % at 8)."
        )
    if len(summary.arms) > 1:
        said.append("A difference between arms whose interval contains 0 is no result.")
    levels = ", ".join(f"{n} {t:.3g}" for n, t in zip(results.objectives, summary.thresholds, strict=True))
    window, bounds = (
        THRESHOLD_WINDOW,
        "objectives scaled to [0, 1] by their bounds, reference point at the lower bounds",
    )
    said += [
        f"Steps: steps until the mean of the last {window} batches reaches a level ({levels}), mean over seeds.",
        f"Hypervolume: of the mean final vector, {bounds}; larger is better.",
        "CPU s/step: CPU seconds of the process in a training step, evaluation apart.",
    ]
    if results.unfinished:
        said.append(f"Not finished, and not in here: {', '.join(results.unfinished)}.")
    return said


def terminal_tables(results: Results, summary: Summary) -> Group:
    """The tables and the notes, for rich."""
    grids = (main_grid(results, summary, 2), detail_grid(results, summary, 2), arm_grid(summary))
    tables = [_rich(grid, "Result" if i == 0 else None) for i, grid in enumerate(grids)]
    remarks = [Text(f"· {note}", style="dim") for note in notes(results, summary)]
    return Group(*(Padding(table, (1, 0, 0, 0)) for table in tables), "", *remarks)


def render_html(results: Results, summary: Summary, figures: Sequence[Path]) -> str:
    """The report as one HTML file without any outside resource; figures are in it as data."""
    images = [
        {"source": f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}", "alt": _ALT[path.stem]}
        for path in figures
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("llm_morl_agents.experiments", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    config = results.config
    return environment.get_template(REPORT).render(
        title=f"{config.task_name}: {', '.join(results.arms)}",
        config=config,
        seeds=sorted({seed for arm in summary.arms for seed in arm.seeds}),
        results=results,
        tables=(main_grid(results, summary, 3), detail_grid(results, summary, 3), arm_grid(summary)),
        notes=notes(results, summary),
        images=images,
        examples=_examples(results),
        settings=_settings(results),
        facts=next(iter(results.arms.values()))[0].facts,
        record=(results.folder / "config.toml").read_text(encoding="utf-8"),
        compared=isinstance(config, CompareConfig),
        number=lambda value: number(value, 2),
    )


def number(value: float, digits: int) -> str:
    """So many digits after the point; a dash for NaN."""
    return _NOTHING if np.isnan(value) else f"{value:.{digits}f}"


def interval(values: Interval, k: int, digits: int) -> str:
    """``+0.31 [+0.25, +0.37]``."""
    low, high = (_NOTHING if np.isnan(end[k]) else f"{end[k]:+.{digits}f}" for end in (values.low, values.high))
    return f"{values.mean[k]:+.{digits}f} [{low}, {high}]"


def _steps(arm: ArmSummary, k: int) -> str:
    if not arm.reached[k]:
        return _NOTHING
    share = "" if arm.reached[k] == len(arm.seeds) else f" ({arm.reached[k]}/{len(arm.seeds)})"
    return f"{arm.steps_to_threshold[k]:.0f}{share}"


def _rich(grid: Grid, title: str | None = None) -> Table:
    """Numbers are never broken; names and heads are, where the terminal is narrow."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    for position, name in enumerate(grid.head):
        if position < grid.names:
            table.add_column(name, overflow="fold")
        else:
            widest = max(map(len, [*name.split(), *(row[position] for row in grid.rows)]))
            table.add_column(name, justify="right", min_width=widest, overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


def _examples(results: Results) -> list[dict[str, Any]]:
    """For each kept problem: its prompt, the answer before training, and each arm's after, of the first seed."""
    first = {arm: runs[0] for arm, runs in results.arms.items()}
    before = next(iter(first.values())).examples[0]
    return [
        {
            "prompt": example["prompt"],
            "answers": [
                ("before training", example),
                *((f"{arm}, seed {run.seed}", run.examples[1][i]) for arm, run in first.items()),
            ],
        }
        for i, example in enumerate(before)
    ]


def _settings(results: Results) -> list[tuple[str, list[str]]]:
    """Every setting in force, a row for each name and a value for each arm."""
    tables = [runs[0].facts["settings"] for runs in results.arms.values()]
    names = dict.fromkeys(name for table in tables for name in table)
    return [(name, [str(table.get(name, _NOTHING)) for table in tables]) for name in names]


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.part")
    aside.write_text(text, encoding="utf-8", errors="replace")
    os.replace(aside, path)
