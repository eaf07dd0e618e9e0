"""Training one policy of a family, resumable, within a budget of CPU time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from llm_morl_agents.checkpoint import file_of
from llm_morl_agents.experiments.arms import load_agent, make_agent, parse_arm
from llm_morl_agents.experiments.policies import starting_policy
from llm_morl_agents.experiments.runner import read_rows, run_settings
from llm_morl_agents.experiments.tasks import make_envs
from llm_morl_agents.families.config import FamilyConfig
from llm_morl_agents.families.embedded_preference import MAX_OBJECTIVES, with_embedded_preference
from llm_morl_agents.families.preferences import PreferenceApart, copies_for, spoken
from llm_morl_agents.policy import Policy
from llm_morl_env.task import Task, Transform
from llm_morl_env.transforms import ScaleToUnit

if TYPE_CHECKING:
    from llm_morl_agents.report import StepReport

#: Told of every step: the label of the policy, and its report.
Progress = Callable[[str, "StepReport"], None]


class FamilyInterrupted(KeyboardInterrupt):
    """Ctrl-C ended the training of a family; what was trained is saved where a folder was given."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The trained parameters of one policy, and what they cost.

    Args:
        tensors: As `Policy.state_tensors` gives them.
        steps: Training steps taken.
        cpu_seconds: CPU time of these steps.
    """

    tensors: Mapping[str, torch.Tensor]
    steps: int
    cpu_seconds: float


def task_of(config: FamilyConfig) -> Task:
    """The task that a family is trained on, without scale or preference.

    Raises:
        TypeError: If the environment is not made of a `Task`.
    """
    envs = make_envs(config, num_envs=1, group_size=1)
    task = getattr(envs.unwrapped, "task", None)
    if not isinstance(task, Task):
        raise TypeError(f"a family needs an environment made of a Task of this package, got {config.task_name!r}")
    return task


def preference_transforms(
    config: FamilyConfig, task: Task, weights: Sequence[float] | None = None
) -> tuple[Transform, ...]:
    """What brings preferences to a conditioned policy: drawn ones for training, fixed ones to serve."""
    if config.kind != "conditioned":
        return ()
    if config.conditioning == "prompt":
        return (spoken(task, parts=config.parts, weights=weights, seed=config.seed),)
    given = None if weights is None else tuple(weights)
    copies = copies_for(task) if given is None else 1
    return (PreferenceApart(given, seed=config.seed, parts=config.parts, copies=copies),)


def check_family(config: FamilyConfig) -> None:
    """Find the user's mistakes before anything is trained.

    Raises:
        ValueError: If the arm has a preference of its own, or preferences cannot reach the policy.
        TypeError: If the environment is not made of a `Task`.
    """
    if "preference" in parse_arm(config.arm).options:
        raise ValueError(f"arm {config.arm!r} has a preference of its own, which the family is to give it")
    task = task_of(config)
    training_envs(config, task)
    if config.kind == "conditioned" and config.conditioning == "embedding" and len(task.rewards) > MAX_OBJECTIVES:
        raise ValueError(f"embedded preferences hold up to {MAX_OBJECTIVES} objectives, got {len(task.rewards)}")


def training_envs(config: FamilyConfig, task: Task) -> VectorEnv[Any, Any, Any]:
    """The batched environment that a family's policies are trained on."""
    scale = (ScaleToUnit(),) if config.scale else ()
    more = (*scale, *preference_transforms(config, task))
    return make_envs(config, num_envs=config.prompts * config.group_size, group_size=config.group_size, more=more)


def first_policy(config: FamilyConfig, task: Task) -> Policy:
    """The untrained policy that all of a family begin as."""
    envs = make_envs(config, num_envs=1, group_size=1)
    policy = starting_policy(
        config.policy_of(config.seed), envs, seed=config.seed, device=config.device, dtype=config.dtype
    )
    if config.kind == "conditioned" and config.conditioning == "embedding":
        return with_embedded_preference(policy, len(task.rewards), seed=config.seed)
    return policy


def train(
    config: FamilyConfig,
    policy: Policy,
    envs: VectorEnv[Any, Any, Any],
    *,
    label: str,
    preference: NDArray[Any] | None = None,
    max_cpu_seconds: float | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Take one policy to its end, from its checkpoint where there is one.

    Args:
        config: Of the family.
        policy: Trained in place.
        envs: See `training_envs`.
        label: Names the policy, and its files in ``folder``.
        preference: (K,) fixed priorities; None leaves them to the prompts.
        max_cpu_seconds: The training ends with the step that uses it up; or with ``config.steps``.
        folder: For ``LABEL.safetensors``, the checkpoint, and ``LABEL.jsonl``, a row for each step.
        progress: Told of every step.

    Raises:
        FamilyInterrupted: On Ctrl-C, after the step in progress was saved.
    """
    arm = parse_arm(config.arm)
    name = label.replace(" ", "-")
    checkpoint = None if folder is None else file_of(folder / f"{name}.safetensors")
    record = None if folder is None else folder / f"{name}.jsonl"
    if checkpoint is not None and checkpoint.is_file():
        agent = load_agent(arm, checkpoint, envs, policy)
    else:
        settings = run_settings(config, envs, config.seed)
        settings |= {} if preference is None else {"preference": preference.tolist()}
        agent = make_agent(arm, envs, policy, seed=config.seed, settings=settings, rescale=config.rescale)
    spent = _CPUSeconds(max_cpu_seconds, record, agent.step_count)

    def on_step(report: StepReport) -> bool:
        if progress is not None:
            progress(label, report)
        return spent(report)

    if agent.step_count < config.steps and not spent.over:
        agent.learn(config.steps - agent.step_count, [on_step], checkpoint_path=checkpoint)
    if agent.interrupted:
        raise FamilyInterrupted(f"{label}: interrupted after {agent.step_count} steps")
    return Trained(agent.policy.state_tensors(), agent.step_count, spent.total)


class _CPUSeconds:
    """Adds up the CPU time of steps and writes their rows; a callback that ends the training when it is used up."""

    def __init__(self, limit: float | None, record: Path | None, step: int) -> None:
        self.limit, self.record = limit, record
        kept = [] if record is None else [row for row in read_rows(record) if row["step"] < step]
        self.total = float(sum(row["cpu_seconds"] for row in kept))
        if record is not None:
            record.parent.mkdir(parents=True, exist_ok=True)
            aside = record.with_suffix(".part")
            aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
            os.replace(aside, record)

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.limit is not None and self.total >= self.limit

    def __call__(self, report: StepReport) -> bool:
        """Whether the training goes on."""
        self.total += report.cpu_seconds
        if self.record is not None:
            with self.record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(report.as_row()) + "\n")
        return not self.over
