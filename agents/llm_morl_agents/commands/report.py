"""``llm-morl report``: make the report of an experiment again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

_DESCRIPTION = """Make the tables, plots and HTML report of an experiment again, from the files of its finished runs.

Example:

  llm-morl report runs/demo"""


@dataclass(frozen=True)
class ReportOptions:
    """Which experiment."""

    folder: Annotated[Path, tyro.conf.Positional]
    """What `llm-morl compare` or `llm-morl train` wrote."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    options = tyro.cli(ReportOptions, args=arguments, prog="llm-morl report", description=_DESCRIPTION)
    from llm_morl_agents.experiments.report import REPORT, make_report

    console = Console()
    make_report(options.folder, console)
    console.print(f"\n{options.folder / REPORT}", markup=False, highlight=False, soft_wrap=True)
    return 0
