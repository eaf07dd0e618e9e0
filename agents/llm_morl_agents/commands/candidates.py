"""``llm-morl candidates``: answer problems k times and store the answers, for the choice view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from llm_morl_agents.commands.options import parse
from llm_morl_agents.experiments.config import TaskOptions
from llm_morl_agents.experiments.errors import UserError, user_errors

_DESCRIPTION = """Let a frozen language model answer problems k times, and store its answers for the choice view.

Agents of the choice view (best of k) learn to pick among them: gym.make(ID, view="choice", candidates=FILE). A stored
file costs no model at all while agents learn, and gives every algorithm the same candidates. At the end it says what
picking at random and picking the best would pay.

Examples:
  llm-morl candidates --env ToolCall-MO-v0 --n 256 --out tool.jsonl
  llm-morl candidates --env ToolCall-MO-v0 --difficulty easy --split train eval --k 16 --out easy.jsonl
  llm-morl candidates --env DentFront-MO-v0 --source grammar --n 1 --out dent.jsonl"""


@dataclass(frozen=True)
class CandidatesOptions:
    """What is written.

    Args:
        out: The file, JSON Lines; written anew. What is there stays until the new file is whole.
        n: So many first problems of each split.
        split: Which splits.
        k: Candidates of a problem.
        source: model (a frozen language model) or grammar (valid responses at random); auto is model where the
            environment has the built-in tokenizer or a model is given.
        language_model: tiny (the embedded one), a transformers directory or a hub id, over the environment's
            tokenizer.
        temperature: Of sampling; stored log-probabilities are those at 1.
        candidate_seed: Of sampling; the candidates of a problem are a function of it, the split and the problem.
        batch: Problems that are answered at a time.
        threads: Threads of torch; 1 suits models of a few million parameters.
    """

    out: Path = Path("candidates.jsonl")
    n: int = 256
    split: tuple[str, ...] = ("train", "eval")
    k: int = 8
    source: str = "auto"
    language_model: str | None = None
    temperature: float | None = None
    candidate_seed: int = 0
    batch: int = 32
    threads: int = 1


@dataclass(frozen=True)
class CandidatesConfig(TaskOptions, CandidatesOptions):
    """Candidates of a task."""

    def __post_init__(self) -> None:
        if self.source not in ("auto", "model", "grammar"):
            raise UserError(f"source must be auto, model or grammar, got {self.source!r}")
        if not self.split:
            raise UserError("split must name at least one split")
        for name in ("n", "k", "batch", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    config = parse(CandidatesConfig, arguments, prog="llm-morl candidates", description=_DESCRIPTION)
    import torch

    from llm_morl_agents.experiments.tasks import make_envs
    from llm_morl_env.candidates import candidate_scores, write_candidates
    from llm_morl_env.envs.choice import source_of

    torch.set_num_threads(config.threads)
    with user_errors():
        task = getattr(make_envs(config, num_envs=1, group_size=1).unwrapped, "task", None)
        if task is None:
            raise ValueError(f"env {config.task_name!r} is not made of a task of this package")
        if task.dialogue is not None:
            raise ValueError(f"task {task.name!r} is a dialogue; candidates answer tasks of one turn")
        source = source_of(
            task,
            k=config.k,
            candidates=None if config.source == "auto" else config.source,
            language_model=config.language_model,
            temperature=config.temperature,
            candidate_seed=config.candidate_seed,
        )
        numbers = {split: range(min(config.n, len(task.with_split(split)))) for split in config.split}
        config.out.parent.mkdir(parents=True, exist_ok=True)
    part = config.out.with_name(f"{config.out.name}.part")
    part.unlink(missing_ok=True)
    scores: dict[str, list[NDArray[np.float64]]] = {split: [] for split in numbers}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console()
    with Progress(*columns, console=console) as progress, user_errors():
        for split, of_split in numbers.items():
            shown = progress.add_task(f"problems of {split}", total=len(of_split))
            for start in range(0, len(of_split), config.batch):
                some = of_split[start : start + config.batch]
                progress.advance(shown, write_candidates(part, task, source, split, some))
                scores[split].append(candidate_scores(task, source, some, split=split))
        part.replace(config.out)
    console.print(_table(task.rewards.names, {split: np.concatenate(rows) for split, rows in scores.items()}))
    console.print(f"{sum(map(len, numbers.values()))} problems in {config.out}", markup=False, highlight=False)
    return 0


def _table(objectives: Sequence[str], scores: dict[str, NDArray[np.float64]]) -> Table:
    """Mean rewards of a candidate at random, of the likeliest, and of the best for each objective alone."""
    table = Table(title="what a choice pays")
    for name in ("split", "choice", *objectives):
        table.add_column(name, justify="left" if name in ("split", "choice") else "right")
    for split, values in scores.items():
        rows = {
            "at random": values.mean(axis=(0, 1)),
            "the likeliest": values[:, 0].mean(axis=0),
            "the best, objective by objective": values.max(axis=1).mean(axis=0),
        }
        for choice, means in rows.items():
            table.add_row(split, choice, *(f"{mean:.3f}" for mean in means))
    return table
