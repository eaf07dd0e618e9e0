"""``llm-morl envs``: what there is to train on."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium as gym
import tyro
from rich.console import Console
from rich.table import Table

from llm_morl_agents.experiments.config import Pairs
from llm_morl_agents.experiments.errors import user_errors

_DESCRIPTION = """List the environments, or show one episode of one of them.

Examples:
  llm-morl envs
  llm-morl envs --env ToolCall-MO-v0 --difficulty hard --seed 3"""


@dataclass(frozen=True)
class EnvsOptions:
    """What is shown.

    Args:
        env: Show a problem of this environment with its gold answer, scored.
        difficulty: Tier of a built-in task.
        seed: Which problem.
        split: Of which split.
        env_kwargs: Further arguments of the environment, as NAME=VALUE.
    """

    env: str | None = None
    difficulty: str | None = None
    seed: int = 0
    split: str = "train"
    env_kwargs: Pairs = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    options = tyro.cli(EnvsOptions, args=arguments, prog="llm-morl envs", description=_DESCRIPTION)
    console = Console()
    if options.env is None:
        console.print(_table())
        return 0
    with user_errors():
        console.print(_episode(options), markup=False, highlight=False, soft_wrap=True)
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
        table.add_row("\n".join(names), "\n".join(_bounds(env.unwrapped)), "\n".join([*VIEWS, "batched text"]), what)
    return table


def _bounds(env: Any) -> list[str]:
    space = env.reward_space
    return [f"{n} {low:g}..{high:g}" for n, low, high in zip(env.objective_names, space.low, space.high, strict=True)]


def _episode(options: EnvsOptions) -> str:
    """A problem answered with its gold answer, as the environment renders it."""
    import llm_morl_env

    llm_morl_env.register()
    difficulty = {} if options.difficulty is None else {"difficulty": options.difficulty}
    arguments: dict[str, Any] = {**difficulty, **options.env_kwargs}
    env = gym.make(options.env or "", view="text", render_mode="ansi", split=options.split, **arguments)
    _, info = env.reset(seed=options.seed)
    task = cast(Any, env.unwrapped).task
    env.step(str(task[info["problem"]].meta.get("gold", "")))
    return str(env.render())
