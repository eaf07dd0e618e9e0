"""The kinds of family by name, and what is done with any of them: train, load, evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llm_morl_agents.experiments.config import DEFAULT_ENV, RunOptions, TaskOptions, comparable, read_toml
from llm_morl_agents.experiments.controls import simplex_lattice
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.families.conditioned import ConditionedFamily
from llm_morl_agents.families.config import FamilyConfig, Kind
from llm_morl_agents.families.family import CONFIG, PARAMETERS, Family
from llm_morl_agents.families.soup import SoupFamily
from llm_morl_agents.families.sweep import SweepFamily
from llm_morl_agents.fronts.evaluation import EPISODES, evaluate_front
from llm_morl_agents.fronts.record import FrontRecord

#: Every kind by name. Read-only.
FAMILIES: Mapping[Kind, type[Family]] = MappingProxyType(
    {family.kind: family for family in (ConditionedFamily, SoupFamily, SweepFamily)}
)
#: Options that are arguments of a registered environment.
_ARGUMENTS = ("difficulty", "objectives", "data", "data_format", "tokenizer", "max_response_tokens", "transforms")
#: Options that are no settings of a training: whose runs there are, how they are watched, and how fast they are.
_NO_SETTINGS = frozenset(
    {
        "seed", "seeds", "arms", "controls", "grid_size", "threads", "checkpoint_every", "eval_every", "eval_problems",
        "eval_samples",
    }
)  # fmt: skip


def holds_family(folder: str | Path) -> bool:
    """Whether a folder holds a finished family."""
    return (Path(folder) / PARAMETERS).is_file()


def load_family(folder: str | Path) -> Family:
    """The family that `Family.save` or ``llm-morl family`` wrote.

    Raises:
        UserError: If the folder holds none.
    """
    return FAMILIES[read_toml(Path(folder) / CONFIG, FamilyConfig).kind].load(folder)


def env_kwargs_of(options: TaskOptions) -> dict[str, Any]:
    """Arguments of the environment, JSON values.

    >>> env_kwargs_of(TaskOptions(difficulty="easy", env_kwargs={"seed": 1}))
    {'difficulty': 'easy', 'seed': 1}
    """
    given = {name: getattr(options, name) for name in _ARGUMENTS if getattr(options, name)}
    plain = {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
    }
    return {**plain, **options.env_kwargs}


def settings_of(options: RunOptions) -> dict[str, Any]:
    """What two trainings on one task have in common that differ in their seed alone, JSON values.

    >>> from llm_morl_agents.families.config import FamilyConfig
    >>> found = settings_of(FamilyConfig(difficulty="easy", seed=3, name="mine", settings={"learning_rate": 0.003}))
    >>> found["kind"], found["steps"], found["learning_rate"]
    ('conditioned', 80, 0.003)
    >>> sorted({"difficulty", "seed", "name", "out", "eval_problems", "threads"} & found.keys())
    []
    """
    apart = {f.name for f in fields(TaskOptions)} | _NO_SETTINGS
    plain = {name: value for name, value in comparable(options).items() if name not in apart}
    own: dict[str, Any] = plain.pop("settings", {})
    return {**plain, **own}


def evaluated(family: Family, *, n_episodes: int = EPISODES, seeds: tuple[int, ...] = (0,)) -> FrontRecord:
    """The family at evenly spaced preferences, on held-out problems.

    Args:
        family: To be evaluated.
        n_episodes: Problems of the evaluation split.
        seeds: Of the answers.

    Raises:
        UserError: If its task is not a registered environment.
    """
    config = family.config
    if config.rewards is not None:
        raise UserError("a family is evaluated on a registered environment; rewards= has none")
    env_id, kwargs = config.env or DEFAULT_ENV, env_kwargs_of(config)
    lattice = simplex_lattice(len(family.task.rewards), config.evaluation_preferences)
    evaluation = evaluate_front(
        [family.policy(weights) for weights in lattice], env_id, n_episodes=n_episodes, seeds=seeds, env_kwargs=kwargs
    )
    reads = f" by {config.conditioning}" if config.kind == "conditioned" else ""
    return FrontRecord(
        method=f"{config.kind}{reads} ({config.arm})",
        kind="language model",
        env_id=env_id,
        env_kwargs=kwargs,
        view="text",
        seed=config.seed,
        steps=family.steps,
        cpu_seconds=family.cpu_seconds,
        evaluation=evaluation,
        settings=settings_of(config),
    )
