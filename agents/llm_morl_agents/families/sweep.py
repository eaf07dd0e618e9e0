"""`SweepFamily`: a policy for each of several preferences; another preference is served by one of them.

Shapes: M trained policies, n problems, K objectives.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import safe_open

from llm_morl_agents.checkpoint import file_of, read_header
from llm_morl_agents.evaluate import mean_present
from llm_morl_agents.experiments.config import CompareConfig, RunOptions
from llm_morl_agents.experiments.controls import simplex_lattice
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.results import read_experiment
from llm_morl_agents.experiments.runner import CHECKPOINT, METRICS, read_rows
from llm_morl_agents.experiments.statistics import scaled
from llm_morl_agents.families.config import FamilyConfig, Kind
from llm_morl_agents.families.family import Family, share_of_budget
from llm_morl_agents.families.playing import FamilyPolicy
from llm_morl_agents.families.preferences import label_of
from llm_morl_agents.families.training import (
    Progress,
    Trained,
    check_family,
    first_policy,
    task_of,
    train,
    training_envs,
)

Floats = NDArray[np.float64]

#: Training problems on which ``choose="best"`` compares the policies, and the seed of their answers.
CHOICE_PROBLEMS, CHOICE_SEED = 256, 0


class SweepFamily(Family):
    """M trained policies. See `Family` for the arguments."""

    kind: ClassVar[Kind] = "sweep"

    @classmethod
    def train(cls, config: FamilyConfig, *, folder: Path | None = None, progress: Progress | None = None) -> Self:
        """See `Family.train`. The policies are trained one after another, each from the same start."""
        check_family(config)
        task = task_of(config)
        model, envs = first_policy(config, task), training_envs(config, task)
        start = model.state_tensors()
        preferences = np.array(simplex_lattice(len(task.rewards), config.preferences))
        members = []
        for preference in preferences:
            model.load_state_tensors(start)
            members.append(
                train(
                    config,
                    model,
                    envs,
                    label=label_of(cls.kind, preference),
                    preference=preference,
                    max_cpu_seconds=share_of_budget(config, len(preferences)),
                    folder=folder,
                    progress=progress,
                )
            )
        return cls(config, task, model, tuple(members), preferences)

    @classmethod
    def of_comparison(
        cls,
        folder: str | Path,
        *,
        method: str | None = None,
        seed: int = 0,
        choose: Literal["nearest", "best"] = "nearest",
    ) -> Self:
        """The family of a finished ``llm-morl compare --preferences N``: any agent, any weighter.

        Args:
            folder: Of the comparison.
            method: The arm; may be left out where there is one only.
            seed: Of the runs.
            choose: As in `FamilyConfig`.

        Raises:
            UserError: If the folder holds no such comparison, or a run of it is not finished.
        """
        folder = Path(folder)
        config, jobs = read_experiment(folder)
        if not (isinstance(config, CompareConfig) and config.preferences):
            raise UserError(f"{folder} holds no comparison with --preferences")
        methods = list(dict.fromkeys(job.arm.method for job in jobs))
        method = methods[0] if method is None and len(methods) == 1 else method
        if method not in methods:
            raise UserError(f"{folder}: method must be one of {methods}, got {method!r}")
        mine = [job for job in jobs if job.arm.method == method and job.seed == seed]
        unfinished = [job.name for job in mine if not job.finished]
        if unfinished or not mine:
            raise UserError(f"{folder}: {unfinished[0] if unfinished else f'seed {seed}'} has not finished")
        shared = {f.name: getattr(config, f.name) for f in fields(RunOptions)}
        more = {"preferences": config.preferences, "choose": choose, "scale": False, **shared}
        own = FamilyConfig(kind="sweep", arm=method, seed=seed, **more)
        task = task_of(own)
        members = tuple(_trained(job.folder) for job in mine)
        preferences = np.array([job.arm.options["preference"] for job in mine], dtype=np.float64)
        return cls(own, task, first_policy(own, task), members, preferences)

    def policy(self, weights: ArrayLike) -> FamilyPolicy:
        """The member whose preference is nearest, or the one of greatest utility on training problems.

        Raises:
            ValueError: If the weights are not K non-negative numbers with a positive sum.
        """
        wanted = self._on_simplex(weights)
        if self.config.choose == "best":
            chosen = int(np.argmax(self.training_means @ wanted))
        else:
            sums = self.preferences.sum(axis=1, keepdims=True)
            chosen = int(np.argmin(np.linalg.norm(self.preferences / sums - wanted, axis=1)))
        return self._member(chosen, wanted)

    @cached_property
    def training_means(self) -> Floats:
        """Mean returns (M, K) of the members on training problems, scaled to [0, 1] by the bounds."""
        rows = np.arange(CHOICE_PROBLEMS) % len(self.task.with_split("train"))
        played = [
            self._member(i, preference).returns(rows.tolist(), split="train", seed=CHOICE_SEED)
            for i, preference in enumerate(self.preferences)
        ]
        bounds = self.plain_envs.unwrapped
        low, high = bounds.return_space.low, bounds.return_space.high  # type: ignore[attr-defined]  # not in Gymnasium
        return scaled(np.array([mean_present(returns) for returns in played]), low, high)

    def _member(self, i: int, weights: Floats) -> FamilyPolicy:
        label = label_of(self.kind, weights)
        return FamilyPolicy(label, weights, self.model, self.members[i].tensors, self.plain_envs, self.sampling)


def train_sweep(
    env_id: str,
    *,
    policy: str = "auto",
    folder: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SweepFamily:
    """Train a policy for each preference of a lattice.

    Args:
        env_id: Of the environment.
        policy: The language model that all begin as.
        folder: For checkpoints, from which an interrupted training continues; None keeps nothing.
        progress: Told of every step.
        options: Of `FamilyConfig`: ``preferences``, ``choose``, ``steps`` (of each policy), ``max_cpu_seconds`` (of
            all), ...

    Raises:
        TypeError: If an option is unknown.
        UserError: If a value is out of its range.
        FamilyInterrupted: On Ctrl-C.
    """
    config = FamilyConfig(kind="sweep", env=env_id, policies=(policy,), **options)
    return SweepFamily.train(config, folder=None if folder is None else Path(folder), progress=progress)


def _trained(folder: Path) -> Trained:
    """The parameters in the checkpoint of a finished run, and what its steps cost."""
    file = file_of(folder / CHECKPOINT)
    with safe_open(file, framework="pt") as opened:
        keys = [key for key in opened.keys() if key.startswith("policy/")]  # noqa: SIM118  # not a mapping
        tensors = {key.removeprefix("policy/"): opened.get_tensor(key) for key in keys}
    seconds = sum(row["cpu_seconds"] for row in read_rows(folder / METRICS) if row["kind"] == "step")
    return Trained(tensors, int(read_header(file)["step_count"]), float(seconds))
