"""``llm-morl compare``: the main job."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from llm_morl_agents.commands.options import parse
from llm_morl_agents.experiments.config import CompareConfig

_DESCRIPTION = """\
Compare agents and weighters: every arm with every seed, in parallel processes, then a table and a report.

Writes OUT/NAME/: config.toml, task.json, metrics.jsonl, summary.csv, seeds.csv, curves.png, weights.png, front.png,
report.html. After an interruption the same command continues where the runs stopped.

Examples:
  llm-morl compare --arms gdpo:static gdpo:saw dvao --seeds 3 --steps 80
  llm-morl compare --arms gdpo:static 'gdpo:saw(ema=0.7)' 'gdpo(clip_low=0.1):saw' --learning-rate 2e-4 --name ema
  llm-morl compare --difficulty hard --objectives format name keys values --thresholds format=0.9 values=0.5
  llm-morl compare --data prompts.jsonl --rewards my_module:rewards --policy path/to/model --steps 20

Is it the weighter? Static weights over the simplex, its own mean weights held fixed, and random weights beside it:
  llm-morl compare --arms gdpo:static gdpo:saw rloo:saw --controls grid frozen random --seeds 10
Which front does each method reach? Every arm for 7 preference vectors, models from scratch, so that seeds vary them:
  llm-morl compare --env CountsFront-MO-v0 --arms gdpo:static gdpo:saw --preferences 7 --policy scratch
A harder task: rewards with noise.
  llm-morl compare --arms gdpo:static gdpo:saw --transforms 'noisy(scale=0.5)'"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    config = parse(CompareConfig, arguments, prog="llm-morl compare", description=_DESCRIPTION)
    from llm_morl_agents.experiments.compare import Interrupted, command_of, compare, jobs_of
    from llm_morl_agents.experiments.report import REPORT, make_report

    console = Console()
    try:
        failures = compare(config, console)
    except Interrupted:
        console.print(
            f"interrupted; continue with: {command_of(config)}", markup=False, highlight=False, soft_wrap=True
        )
        return 130
    if len(failures) < len(jobs_of(config, config.folder)):
        make_report(config.folder, console)
        console.print(f"\n{config.folder / REPORT}", markup=False, highlight=False, soft_wrap=True)
    for failure in failures:
        line = f"failed: {failure.job.name}: {failure.reason} (see {failure.details})"
        console.print(line, style="bold red", markup=False, highlight=False, soft_wrap=True)
    if failures:
        again = f"try the failed runs again with: {command_of(config)}"
        console.print(again, markup=False, highlight=False, soft_wrap=True)
    return 1 if failures else 0
