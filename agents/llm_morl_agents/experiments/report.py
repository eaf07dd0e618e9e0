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
from rich.console import Console, Group
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
    rows: list[tuple[str, ...]]


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


def main_grid(results: Results, summary: Summary) -> Grid:
    """Levels and rises, a row for each arm and objective."""
    head = (
        "arm",
        "objective",
        "start",
        "final ± sd",
        "greedy",
        "rise [95 %]",
        "steps to ≥",
        "hypervolume",
        "CPU s/step",
    )
    rows: list[tuple[str, ...]] = []
    for arm in summary.arms:
        for k, objective in enumerate(results.objectives):
            first = k == 0
            rows.append(
                (
                    arm.arm if first else "",
                    objective,
                    number(arm.start[k]),
                    f"{number(arm.final[k])} ± {number(arm.final_spread[k])}",
                    number(arm.greedy_final[k]),
                    interval(arm.rise, k),
                    _steps(arm, k, summary.thresholds[k]),
                    number(arm.hypervolume) if first else "",
                    number(arm.cpu_seconds_per_step) if first else "",
                )
            )
    return Grid(head, 2, rows)


def difference_grid(results: Results, summary: Summary) -> Grid:
    """Final level of each arm minus that of the first, a row for each arm and a column for each objective."""
    rows = [
        (d.arm, str(len(d.seeds)), *(interval(d.interval, k) for k in range(len(results.objectives))))
        for d in summary.differences
    ]
    return Grid(("arm", "seeds", *results.objectives), 1, rows)


def notes(results: Results, summary: Summary) -> list[str]:
    """How the numbers are meant, and what they do not say."""
    seeds = max(len(arm.seeds) for arm in summary.arms)
    said = [
        (
            f"Levels are mean rewards on {summary.arms[0].problems} problems of the evaluation split, sampled at the "
            "training temperature, before and after training; sd is over seeds; greedy is the most likely answer, after."
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
    said += [
        (
            f"Steps to ≥: training steps until the mean of the last {THRESHOLD_WINDOW} batches reaches the level; mean "
            "over the seeds that reach it."
        ),
        (
            "Hypervolume: of the mean final vector, objectives scaled to [0, 1] by their bounds, reference point at the "
            "lower bounds; larger is better."
        ),
        "CPU s/step: CPU seconds of the process in a training step, evaluation apart.",
    ]
    if results.unfinished:
        said.append(f"Not finished, and not in here: {', '.join(results.unfinished)}.")
    return said


def terminal_tables(results: Results, summary: Summary) -> Group:
    """Both tables and the notes, for rich."""
    parts: list[Any] = [_rich(main_grid(results, summary), "Result")]
    if summary.differences:
        parts += ["", _rich(difference_grid(results, summary), f"Final level minus that of {summary.arms[0].arm}")]
    parts += ["", *(Text(f"· {note}", style="dim") for note in notes(results, summary))]
    return Group(*parts)


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
        main=main_grid(results, summary),
        differences=difference_grid(results, summary) if summary.differences else None,
        first_arm=summary.arms[0].arm,
        notes=notes(results, summary),
        images=images,
        examples=_examples(results),
        settings=_settings(results),
        facts=next(iter(results.arms.values()))[0].facts,
        record=(results.folder / "config.toml").read_text(encoding="utf-8"),
        compared=isinstance(config, CompareConfig),
        number=number,
    )


def number(value: float) -> str:
    """Two or three digits after the point; a dash for NaN."""
    return _NOTHING if np.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def interval(values: Interval, k: int) -> str:
    """``+0.312 [0.250, 0.371]``."""
    ends = _NOTHING if np.isnan(values.low[k]) else f"{values.low[k]:.3f}, {values.high[k]:.3f}"
    return f"{values.mean[k]:+.3f} [{ends}]"


def _steps(arm: ArmSummary, k: int, threshold: float) -> str:
    if not arm.reached[k]:
        return f"{_NOTHING} (≥ {threshold:.2f})"
    part = "" if arm.reached[k] == len(arm.seeds) else f", {arm.reached[k]}/{len(arm.seeds)} seeds"
    return f"{arm.steps_to_threshold[k]:.0f} (≥ {threshold:.2f}{part})"


def _rich(grid: Grid, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, name in enumerate(grid.head):
        table.add_column(name, justify="left" if position < grid.names else "right", overflow="fold")
    for position, row in enumerate(grid.rows):
        ends = position + 1 == len(grid.rows) or bool(grid.rows[position + 1][0])
        table.add_row(*map(Text, row), end_section=ends)
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
