"""The report of an experiment: tables on the terminal, ``summary.csv``, figures and one self-contained HTML file."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.fronts import MethodFront, method_fronts
from llm_morl_agents.experiments.notes import few_names, notes
from llm_morl_agents.experiments.plots import save_figures
from llm_morl_agents.experiments.results import Results, load_results, merge_metrics
from llm_morl_agents.experiments.summary import Summary, featured, summarise, write_csv, write_seeds_csv
from llm_morl_agents.experiments.tables import (
    MOST_ROWS,
    NOTHING,
    Grid,
    cost_grid,
    detail_grid,
    front_grid,
    main_grid,
    number,
    primary_grid,
    weight_grid,
)
from llm_morl_agents.experiments.verdicts import tally, verdicts

REPORT = "report.html"
#: Rows of the long table on the terminal, and arms whose answers the page shows, at most.
TERMINAL_ROWS, MOST_ANSWERS = 12, 6
#: Of hypervolumes on the terminal, at most: more would break the arms' names at 80 columns.
TERMINAL_DIGITS = 4
_ALT = {
    "curves": "reward over training steps, by objective and arm",
    "weights": "weights and shares of the advantage over training steps, by arm",
    "front": "pairs of objectives, from start to end, by arm",
}


def make_report(folder: Path, console: Console) -> Results:
    """Make all files of the report anew from what the runs left, and print its tables.

    Raises:
        UserError: If the folder holds no experiment with a finished run.
    """
    merge_metrics(folder)
    results = load_results(folder)
    summary = summarise(results)
    fronts = method_fronts(results)
    write_csv(summary, results, folder / "summary.csv")
    write_seeds_csv(summary, results, folder / "seeds.csv")
    figures = save_figures(results, folder, fronts)
    _write(folder / REPORT, render_html(results, summary, figures, fronts))
    console.print(terminal_tables(results, summary, fronts))
    return results


def terminal_tables(results: Results, summary: Summary, fronts: Sequence[MethodFront] = ()) -> Group:
    """The tables, what the controls say, and the notes, for rich."""
    grids = [
        *([front_grid(fronts)] if fronts else []),
        primary_grid(results, summary, most=TERMINAL_ROWS, most_digits=TERMINAL_DIGITS),
        main_grid(results, summary, 2),
        detail_grid(results, summary, 2),
        weight_grid(results, summary, 2),
        cost_grid(results, summary),
    ]
    if fronts:  # every arm stands there once for each preference: that is for the page
        grids = grids[:1]
    tables = [rich_table(grid, "Result" if i == 0 else None) for i, grid in enumerate(grids)]
    all_found = verdicts(results, summary, fronts)
    found = [Text(line) for line in (*tally(all_found), *map(str, all_found[:TERMINAL_ROWS]))]
    if len(all_found) > TERMINAL_ROWS:
        found.append(Text(f"… and {len(all_found) - TERMINAL_ROWS} more, in report.html", style="dim"))
    remarks = [Text(f"· {note}", style="dim") for note in notes(results, summary, fronts)]
    more = len(summary.arms) - (0 if fronts else TERMINAL_ROWS)
    cut = [Text(f"… and {more} more arms, in report.html and summary.csv", style="dim")] if more > 0 else []
    first, *others = (Padding(table, (1, 0, 0, 0)) for table in tables)
    heading = [Text("\nAgainst the controls", style="bold"), *found] if found else []
    return Group(first, *cut, *others, *heading, "", *remarks)


def render_html(results: Results, summary: Summary, figures: Sequence[Path], fronts: Sequence[MethodFront] = ()) -> str:
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
    found = verdicts(results, summary, fronts)
    return environment.get_template(REPORT).render(
        title=f"{config.task_name}: {_named(results)}",
        config=config,
        seeds=sorted({seed for arm in summary.arms for seed in arm.seeds}),
        results=results,
        tables=(
            *([front_grid(fronts)] if fronts else []),
            primary_grid(results, summary),
            main_grid(results, summary, 3),
            detail_grid(results, summary, 3),
            weight_grid(results, summary, 3),
            cost_grid(results, summary),
        ),
        tally=tally(found),
        verdicts=[(verdict.outcome.replace(" ", "-"), str(verdict)) for verdict in found],
        unfinished=few_names(results.unfinished),
        notes=notes(results, summary, fronts),
        arms=featured(results, MOST_ROWS),
        images=images,
        examples=_examples(results),
        settings=_settings(results),
        facts=next(iter(results.arms.values()))[0].facts,
        record=(results.folder / "config.toml").read_text(encoding="utf-8"),
        compared=isinstance(config, CompareConfig),
        number=lambda value: number(value, 2),
    )


def rich_table(grid: Grid, title: str | None = None) -> Table:
    """Numbers are never broken; names and heads are, where the terminal is narrow."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    for position, name in enumerate(grid.head):
        if position < grid.names:
            table.add_column(name, overflow="fold")
        else:
            widest = max(map(len, [*name.split(), *(row[position] for row in grid.rows)]))
            table.add_column(name, justify="right", width=widest, overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


def _examples(results: Results) -> list[dict[str, Any]]:
    """For each kept problem: its prompt, the answer before training, and each arm's after, of the first seed."""
    first = {arm: results.arms[arm][0] for arm in featured(results, MOST_ANSWERS)}
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
    runs = [results.arms[arm][0] for arm in featured(results, MOST_ROWS)]
    tables = [{**run.facts["settings"], "weighter": run.facts.get("weighter", NOTHING)} for run in runs]
    names = dict.fromkeys(name for table in tables for name in table)
    return [(name, [str(table.get(name, NOTHING)) for table in tables]) for name in names]


def _named(results: Results) -> str:
    """The arms of a title."""
    names = list(results.arms)
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more arms"


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.part")
    aside.write_text(text, encoding="utf-8", errors="replace")
    os.replace(aside, path)
