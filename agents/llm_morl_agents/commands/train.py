"""``llm-morl train``: one agent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from llm_morl_agents.commands.options import parse
from llm_morl_agents.experiments.config import TrainConfig
from llm_morl_agents.experiments.errors import UserError, user_errors

if TYPE_CHECKING:
    from llm_morl_agents.report import StepReport

_DESCRIPTION = """Train one agent with one weighter, evaluated before and after.

Writes OUT/NAME/: config.toml, metrics.jsonl (a row for each step and evaluation), checkpoint.safetensors, and the
table, plots and HTML report. Ctrl-C saves; --resume continues.

Examples:
  llm-morl train --arm gdpo:saw --steps 40 --name first
  llm-morl train --config runs/first/config.toml --resume
  llm-morl train --data bfcl.jsonl --policy path/to/model --prompts 2 --group-size 4 --steps 5 --micro-batches 8
  llm-morl train --data prompts.jsonl --rewards my_module:rewards --policy path/to/model"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    config = parse(TrainConfig, arguments, prog="llm-morl train", description=_DESCRIPTION)
    from llm_morl_agents.experiments.arms import parse_arm
    from llm_morl_agents.experiments.compare import check_runs, command_of, open_folder
    from llm_morl_agents.experiments.report import make_report
    from llm_morl_agents.experiments.runner import CHECKPOINT, FINISHED, locked, run

    console = Console()
    folder = config.folder
    with user_errors():
        arm = parse_arm(config.arm)
    if arm.frozen_from is not None:
        raise UserError(f"arm {arm.text!r} freezes the weights of another arm, which only a comparison has")
    check_runs(config, lambda objectives: [arm])
    with locked(folder):
        begun = (folder / CHECKPOINT).is_file() or (folder / FINISHED).is_file()
        if begun and not (config.resume or config.overwrite):
            raise UserError(f"{folder} holds a run already: --resume continues it, --overwrite begins anew")
        open_folder(config)
        with _progress(console, config.steps, folder / CHECKPOINT) as shown:
            agent = run(config, arm, config.seed, folder, callbacks=[shown], told=print)
        if agent is None:
            line = f"interrupted and saved; continue with: {command_of(config)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            return 130
        make_report(folder, console)
    if config.export is not None:
        with user_errors():
            agent.policy.save_pretrained(config.export)
    console.print(f"\n{folder}", markup=False, highlight=False, soft_wrap=True)
    return 0


@contextlib.contextmanager
def _progress(console: Console, steps: int, checkpoint: Path) -> Iterator[Callable[[StepReport], None]]:
    """A bar on a terminal, else a line a step."""
    if not console.is_terminal:
        yield lambda report: print(f"step {report.step + 1}/{steps}  {_described(report)}", flush=True)
        return
    from llm_morl_agents.callbacks import ProgressBar
    from llm_morl_agents.checkpoint import read_header

    done = int(read_header(checkpoint)["step_count"]) if checkpoint.is_file() else 0
    with ProgressBar(steps - done) as bar:
        yield bar


def _described(report: StepReport) -> str:
    rewards = "  ".join(f"{n} {m:.3f}" for n, m in zip(report.objectives, report.reward_mean, strict=True))
    return f"{rewards}  ({report.response_tokens:.0f} tokens, {report.wall_seconds:.1f} s)"
