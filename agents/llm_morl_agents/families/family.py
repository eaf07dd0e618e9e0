"""`Family`: trained policies that serve every preference, in memory and as files.

Shapes: M trained policies, K objectives.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.config import read_toml, write_toml
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.runner import EVAL_ROWS
from llm_morl_agents.experiments.tasks import make_envs
from llm_morl_agents.families.config import FamilyConfig, Kind
from llm_morl_agents.families.playing import FamilyPolicy
from llm_morl_agents.families.preferences import on_simplex
from llm_morl_agents.families.training import Progress, Trained, first_policy, preference_transforms, task_of
from llm_morl_agents.policy import Policy, Sampling
from llm_morl_agents.settings import Settings
from llm_morl_env.task import Task

Floats = NDArray[np.float64]

FORMAT = 1
CONFIG, PARAMETERS = "config.toml", "family.safetensors"


@dataclass(frozen=True, eq=False)
class Family(ABC):
    """Policies for every preference; a `llm_morl_agents.fronts.policy.PolicyFamily`.

    Args:
        config: What it was trained by.
        task: What it was trained on, as evaluations see it.
        model: The model that all of its policies share; they write their parameters into it.
        members: M trained policies.
        preferences: (M, K) that they were trained for; no rows where each was trained for all.
    """

    kind: ClassVar[Kind]

    config: FamilyConfig
    task: Task = field(repr=False)
    model: Policy = field(repr=False)
    members: tuple[Trained, ...] = field(repr=False)
    preferences: Floats

    @classmethod
    @abstractmethod
    def train(cls, config: FamilyConfig, *, folder: Path | None = None, progress: Progress | None = None) -> Self:
        """Train a family, or continue where its checkpoints in ``folder`` stopped."""

    @abstractmethod
    def policy(self, weights: ArrayLike) -> FamilyPolicy:
        """The policy that serves a preference (K,), not negative, with a positive sum."""

    @property
    def steps(self) -> int:
        """Training steps of all members."""
        return sum(member.steps for member in self.members)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of these steps."""
        return sum(member.cpu_seconds for member in self.members)

    @property
    def sampling(self) -> Sampling:
        """How its policies answer: as they were sampled in training."""
        known = {f.name for f in fields(Settings)}
        options = {**self.config.settings, **parse_arm(self.config.arm).options}
        settings = Settings.make(**{name: value for name, value in options.items() if name in known})
        return settings.sampling(default_max_new_tokens=self.task.max_response_tokens)

    @cached_property
    def plain_envs(self) -> VectorEnv[Any, Any, Any]:
        """What policies that read no preference are evaluated on."""
        return self._envs()

    def _envs(self, weights: Sequence[float] | None = None) -> VectorEnv[Any, Any, Any]:
        more = () if weights is None else preference_transforms(self.config, self.task, weights)
        rows = min(EVAL_ROWS, self.config.prompts * self.config.group_size)
        return make_envs(self.config, num_envs=rows, group_size=1, more=more)

    def _on_simplex(self, weights: ArrayLike) -> Floats:
        return on_simplex(weights, len(self.task.rewards))

    def save(self, folder: str | Path) -> Path:
        """Write ``config.toml`` and ``family.safetensors``, which `load_family` reads; returns the second's path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_toml(self.config, folder / CONFIG)
        header = {
            "format": FORMAT,
            "steps": [member.steps for member in self.members],
            "cpu_seconds": [member.cpu_seconds for member in self.members],
            "preferences": self.preferences.tolist(),
        }
        tensors = {f"{i}/{name}": t.contiguous() for i, m in enumerate(self.members) for name, t in m.tensors.items()}
        aside = folder / f".{PARAMETERS}.{os.getpid()}"
        try:
            save_file(tensors, aside, metadata={"family": json.dumps(header)})
            os.replace(aside, folder / PARAMETERS)
        finally:
            aside.unlink(missing_ok=True)
        return folder / PARAMETERS

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The family that `save` wrote.

        Raises:
            UserError: If the folder holds none, or one of another kind or format.
        """
        folder = Path(folder)
        config = read_toml(folder / CONFIG, FamilyConfig)
        if config.kind != cls.kind:
            raise UserError(f"{folder} holds a family of kind {config.kind!r}, not {cls.kind!r}")
        try:
            with safe_open(folder / PARAMETERS, framework="pt") as opened:
                header = json.loads((opened.metadata() or {})["family"])
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  # not a mapping
        except FileNotFoundError as error:
            raise UserError(f"{folder} holds no finished family: there is no {PARAMETERS}") from error
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{folder / PARAMETERS} does not hold a family: {error!r}") from error
        if header.get("format") != FORMAT:
            raise UserError(f"{folder / PARAMETERS} has format {header.get('format')!r}; this version reads {FORMAT}")
        task = task_of(config)
        members = tuple(
            Trained({key.partition("/")[2]: t for key, t in tensors.items() if key.startswith(f"{i}/")}, steps, seconds)
            for i, (steps, seconds) in enumerate(zip(header["steps"], header["cpu_seconds"], strict=True))
        )
        preferences = np.array(header["preferences"], dtype=np.float64).reshape(-1, len(task.rewards))
        return cls(config, task, first_policy(config, task), members, preferences)


def share_of_budget(config: FamilyConfig, members: int) -> float | None:
    """CPU seconds for each of several policies; None where there is no limit."""
    return None if config.max_cpu_seconds is None else config.max_cpu_seconds / members
