"""The page of gathered fronts: figures, tables and one self-contained HTML file, and the tables on the terminal."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from llm_morl_agents.experiments.report import rich_table
from llm_morl_agents.fronts.gather import Gathered
from llm_morl_agents.fronts.measures import MEASURES
from llm_morl_agents.fronts.plots import save_figures
from llm_morl_agents.fronts.table import distance_table, policy_table, utility_table, volume_table

PAGE = "front.html"
_ALT = {
    "front": "Objectives two by two: mean returns of each method's policies on held-out problems.",
    "parallel": "Parallel coordinates: every nondominated policy over all objectives.",
}


def make_page(gathered: Gathered, folder: Path, env_kwargs: Mapping[str, Any]) -> Path:
    """Write ``front.png``, ``parallel.png`` where there are more than two objectives, and ``front.html``.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    html = render_html(gathered, save_figures(gathered, folder), env_kwargs)
    aside = folder / f"{PAGE}.part"
    aside.write_text(html, encoding="utf-8", errors="replace")
    os.replace(aside, folder / PAGE)
    return folder / PAGE


def render_html(gathered: Gathered, figures: Sequence[Path], env_kwargs: Mapping[str, Any]) -> str:
    """The page as one HTML file without any outside resource; figures are in it as data."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(f"llm_morl_agents.{part}", "templates") for part in ("fronts", "experiments")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    first = gathered.methods[0].records[0]
    about = first.evaluation
    versions = {name: text for method in gathered.methods for r in method.records for name, text in r.versions.items()}
    return environment.get_template(PAGE).render(
        gathered=gathered,
        about=about,
        bounds=[
            (name, f"{low:g}", f"{high:g}")
            for name, low, high in zip(gathered.objectives, gathered.low, gathered.high, strict=True)
        ],
        reference=[f"{value:g}" for value in about.reference],
        level=f"{100 * about.level:g}",
        images=[
            {"source": f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}", "alt": _ALT[path.stem]}
            for path in figures
        ],
        tables=(volume_table(gathered), utility_table(gathered), distance_table(gathered)),
        policies=policy_table(gathered),
        remarks=gathered.remarks,
        measures=[(name.replace("_", " "), text) for name, text in MEASURES.items()],
        environment=f"{first.env_id}\n{json.dumps(dict(env_kwargs), indent=1)}",
        made=_made(gathered),
        versions=dict(sorted(versions.items())),
    )


def terminal_tables(gathered: Gathered) -> Group:
    """The tables and remarks for rich."""
    grids = (volume_table(gathered), utility_table(gathered), distance_table(gathered))
    tables = [
        Padding(rich_table(grid, gathered.title if at == 0 else None), (1, 0, 0, 0)) for at, grid in enumerate(grids)
    ]
    return Group(*tables, "", *(Text(f"· {remark}", style="dim") for remark in gathered.remarks))


def _made(gathered: Gathered) -> list[str]:
    lines = []
    for method in gathered.methods:
        for record in method.records:
            steps = "" if record.steps is None else f", {record.steps:,} steps"
            seconds = "" if record.cpu_seconds is None else f", {record.cpu_seconds:.1f} CPU-seconds"
            kwargs = json.dumps(dict(record.env_kwargs))
            settings = f", settings {json.dumps(dict(record.settings))}" if record.settings else ""
            lines.append(f"{method.name}: seed {record.seed}, view {record.view} {kwargs}{steps}{seconds}{settings}")
    return lines
