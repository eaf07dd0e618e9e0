"""``llm-morl envs``: what there is to train on, and what its rewards tell apart."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm_morl_agents.experiments.config import Pairs
from llm_morl_agents.experiments.errors import user_errors

if TYPE_CHECKING:
    from llm_morl_env.task import Task

_DESCRIPTION = """List the environments, or describe one of them by problems with a good, a mediocre and a bad answer.

Examples:
  llm-morl envs
  llm-morl envs ToolCall-MO-v0 --sample 3
  llm-morl envs MathReasoning-MO-v0 --difficulty hard --split eval
  llm-morl envs MathReasoning-MO-v0 --data gsm8k.jsonl"""


@dataclass(frozen=True)
class EnvsOptions:
    """What is shown.

    Args:
        env: Describe this environment; without one, all are listed.
        sample: So many problems of it, each with three answers and their reward vectors.
        difficulty: Tier of a built-in task.
        data: Problems from a file in a public format instead of the built-in ones.
        data_format: Name of the format, where the columns do not tell it.
        split: Of which split.
        seed: Which problems.
        env_kwargs: Further arguments of the environment, as NAME=VALUE.
    """

    env: Annotated[str | None, tyro.conf.Positional] = None
    sample: int = 1
    difficulty: str | None = None
    data: Path | None = None
    data_format: str | None = None
    split: str = "train"
    seed: int = 0
    env_kwargs: Pairs = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    options = tyro.cli(EnvsOptions, args=arguments, prog="llm-morl envs", description=_DESCRIPTION)
    console = Console()
    if options.env is None:
        console.print(_table())
        return 0
    with user_errors():
        if options.sample < 0:
            raise ValueError(f"sample must not be negative, got {options.sample}")
        _describe(console, options)
    return 0


def _table() -> Table:
    from llm_morl_env.registration import ALIASES, IDS, TASKS, VIEWS

    table = Table()
    for name in ("id", "objectives", "views", "what it is"):
        table.add_column(name)
    for env_id, task in IDS.items():
        env = gym.make_vec(env_id, num_envs=1)
        names = [env_id, *(alias for alias, target in ALIASES.items() if target == env_id)]
        what = (inspect.getdoc(pkgutil.resolve_name(TASKS[task])) or "").splitlines()[0]
        bounds = "\n".join(_bounds(cast(Any, env.unwrapped).task))
        table.add_row("\n".join(names), bounds, "\n".join([*VIEWS, "batched text"]), what)
    return table


def _bounds(task: Task) -> list[str]:
    rewards = task.rewards
    return [f"{n} {low:g}..{high:g}" for n, low, high in zip(rewards.names, rewards.low, rewards.high, strict=True)]


def _describe(console: Console, options: EnvsOptions) -> None:
    """The task in a few lines, and problems with answers of different quality."""
    import llm_morl_env
    from llm_morl_env.rendering import printable

    llm_morl_env.register()
    given = {"difficulty": options.difficulty, "data": options.data, "data_format": options.data_format}
    arguments: dict[str, Any] = {name: str(value) for name, value in given.items() if value is not None}
    env = gym.make(options.env or "", view="text", **arguments, **options.env_kwargs)
    task: Task | None = getattr(env.unwrapped, "task", None)
    if task is None:
        raise ValueError(f"env {options.env!r} is not made of a task of this package: there is nothing to show")
    task = task.with_split(options.split)
    sizes = ", ".join(f"{name} {len(problems):,}" for name, problems in task.problems.items())
    console.print(f"{options.env}: {', '.join(_bounds(task))}", markup=False, highlight=False)
    console.print(f"problems: {sizes}; at most {task.max_response_tokens} tokens a response", highlight=False)
    chosen = np.random.default_rng(options.seed).choice(len(task), min(options.sample, len(task)), replace=False)
    for index in chosen.tolist():
        console.rule(f"problem {index} of {options.split}", align="left")
        console.print(Text(printable(task[index].prompt)), soft_wrap=True)
        console.print(_answers(task, index))


def _answers(task: Task, index: int) -> Table:
    from llm_morl_env.examples import scored_examples
    from llm_morl_env.rendering import printable

    answers = scored_examples(task, task[index])
    names = list(answers[0].rewards)  # those that apply to the problem
    table = Table(show_lines=True)
    table.add_column("", no_wrap=True)
    table.add_column("answer", min_width=24)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for answer in answers:
        numbers = [f"{answer.rewards[name]:.2f}" for name in names]
        table.add_row(answer.quality, Text(printable(answer.text) or "(nothing)"), *numbers)
    return table
