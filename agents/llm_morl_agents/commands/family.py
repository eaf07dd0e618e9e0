"""``llm-morl family``: policies for every preference."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from llm_morl_agents.commands.options import parse
from llm_morl_agents.experiments.errors import UserError, user_errors
from llm_morl_agents.families.config import FamilyConfig

if TYPE_CHECKING:
    from llm_morl_agents.fronts.record import FrontRecord
    from llm_morl_agents.report import StepReport

_DESCRIPTION = """Train a language model, or several, for every preference over the objectives, and evaluate the front.

Writes OUT/NAME/: config.toml, a checkpoint and a row for each step of every policy, family.safetensors (the trained
parameters), front.json and returns.csv (the evaluation, which `llm-morl front` reads). Ctrl-C saves, and the same
command continues.

Examples:
  llm-morl family conditioned --env DentFront-MO-v0 --conditioning embedding --steps 200
  llm-morl family soup --env Summarize-MO-v0 --max-cpu-seconds 120 --steps 10000
  llm-morl family sweep --env SafeAssist-MO-v0 --preferences 6 --arm gdpo:saw"""

#: Seconds between lines where there is no terminal.
LINE_SECONDS = 2.0


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    config = parse(FamilyConfig, arguments, prog="llm-morl family", description=_DESCRIPTION)
    import torch

    from llm_morl_agents.experiments.arms import parse_arm
    from llm_morl_agents.experiments.compare import check_runs, command_of, open_folder
    from llm_morl_agents.experiments.runner import locked
    from llm_morl_agents.families.table import FAMILIES, evaluated, holds_family, load_family
    from llm_morl_agents.families.training import FamilyInterrupted, check_family
    from llm_morl_agents.fronts.record import write_record

    console = Console()
    torch.set_num_threads(config.threads)
    if config.rewards is not None:
        raise UserError("rewards: a family is evaluated on a registered environment; give --env")
    with user_errors():
        arm = parse_arm(config.arm)
    check_runs(config, lambda objectives: [arm])
    with user_errors():
        check_family(config)
    with locked(config.folder):
        open_folder(config)
        try:
            if holds_family(config.folder):
                family = load_family(config.folder)
            else:
                with _progress(console, config) as shown:
                    family = FAMILIES[config.kind].train(config, folder=config.folder, progress=shown)
                family.save(config.folder)
        except FamilyInterrupted:
            line = f"interrupted and saved; continue with: {command_of(config)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            return 130
        with console.status("evaluating"):
            record = evaluated(family, n_episodes=config.eval_problems)
        write_record(record, config.folder)
    _show(console, record)
    console.print(f"\n{config.folder}", markup=False, highlight=False, soft_wrap=True)
    return 0


@contextlib.contextmanager
def _progress(console: Console, config: FamilyConfig) -> Iterator[Callable[[str, StepReport], None]]:
    """A line that changes on a terminal, else a line now and then."""
    said = 0.0

    def described(label: str, report: StepReport) -> str:
        rewards = "  ".join(f"{n} {m:.3f}" for n, m in zip(report.objectives, report.reward_mean, strict=True))
        return f"{label}  step {report.step + 1}/{config.steps}  {rewards}"

    if console.is_terminal:
        with console.status("training") as status:
            yield lambda label, report: status.update(described(label, report))
        return

    def line(label: str, report: StepReport) -> None:
        nonlocal said
        if report.step == 0 or report.step + 1 == config.steps or time.monotonic() - said > LINE_SECONDS:
            said = time.monotonic()
            print(described(label, report), flush=True)

    yield line


def _show(console: Console, record: FrontRecord) -> None:
    evaluation = record.evaluation
    low, high = evaluation.intervals
    seconds = "" if record.cpu_seconds is None else f", {record.cpu_seconds:.0f} CPU-seconds"
    table = Table(title=f"{record.method} on {record.env_id}, split {evaluation.split}{seconds}")
    table.add_column("policy")
    for name in evaluation.objectives:
        table.add_column(name, justify="right")
    for p, label in enumerate(evaluation.labels):
        means = zip(evaluation.means[p], low[p], high[p], strict=True)
        table.add_row(label, *(f"{mean:.3f} [{bottom:.3f}, {top:.3f}]" for mean, bottom, top in means))
    console.print(table)
    for name, found in evaluation.measures.items():
        console.print(f"{name}: {found.value:.4f} [{found.low:.4f}, {found.high:.4f}]", markup=False, highlight=False)
