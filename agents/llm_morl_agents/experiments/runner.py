"""One run of an experiment: train, evaluate, record, and resume where a killed one stopped.

A run's folder holds ``metrics.jsonl`` (a row for each step and evaluation), ``checkpoint.safetensors``,
``evaluation-<step>.npy`` (rewards of every problem), ``examples-<step>.json``, and ``finished.json`` at the end. What a
killed run wrote beyond its checkpoint is dropped when it resumes, so that its files equal those of a run that was never
killed, timings apart.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import VectorEnv

from llm_morl_agents.experiments.arms import Arm, load_agent, make_agent
from llm_morl_agents.experiments.config import RunOptions
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.policies import starting_policy, suited_settings

if TYPE_CHECKING:
    from llm_morl_agents.grouped_pg import GroupedPG
    from llm_morl_agents.policy import Sampling
    from llm_morl_agents.report import StepReport

METRICS, CHECKPOINT, FINISHED, ERROR = "metrics.jsonl", "checkpoint.safetensors", "finished.json", "error.txt"
LOCK = ".lock"
#: Rows of the evaluation's batches, at most; fewer where training takes fewer.
EVAL_ROWS = 128
#: Sampled answers of an evaluation, at least, where the split has fewer problems than are asked for.
EVAL_ANSWERS = 256
#: Problems whose answers are kept as text, before and after.
N_EXAMPLES = 6

Row = dict[str, Any]


def evaluation_file(folder: Path, step: int) -> Path:
    """Rewards of every problem after ``step`` steps, float64 (n, K), sampled."""
    return folder / f"evaluation-{step:06d}.npy"


def examples_file(folder: Path, step: int) -> Path:
    """Answers to the first problems after ``step`` steps."""
    return folder / f"examples-{step:06d}.json"


def run_settings(config: RunOptions, envs: VectorEnv[Any, Any, Any], seed: int = 0) -> dict[str, Any]:
    """Settings that the experiment gives the agents of a seed."""
    return {
        "checkpoint_every": config.checkpoint_every,
        **suited_settings(config.policy_of(seed), envs, config.settings),
    }


def run(
    config: RunOptions,
    arm: Arm,
    seed: int,
    folder: Path,
    *,
    callbacks: Sequence[Callable[[StepReport], bool | None]] = (),
    told: Callable[[str], None] = lambda text: None,
    weighter: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> GroupedPG | None:
    """Take a run to its end, from its checkpoint where there is one.

    Args:
        config: What all runs of the experiment share.
        arm: The agent.
        seed: Of the agent.
        folder: Of this run; made where it is missing.
        callbacks: Called with each `StepReport`; one that returns False interrupts the run.
        told: Receives lines about what happens besides steps.
        weighter: As text, instead of the arm's.
        facts: More for ``finished.json``.

    Returns:
        The trained agent, or None if the run was interrupted; it is saved then, and the same call continues.
    """
    import torch

    from llm_morl_agents.experiments.tasks import make_envs

    torch.set_num_threads(config.threads)
    folder.mkdir(parents=True, exist_ok=True)
    rows = config.prompts * config.group_size
    envs = make_envs(config, num_envs=rows, group_size=config.group_size)
    eval_rows = min(rows, EVAL_ROWS, config.eval_problems)
    eval_envs = make_envs(config, num_envs=eval_rows, group_size=1)
    source = config.policy_of(seed)
    policy = starting_policy(source, envs, seed=seed, device=config.device, dtype=config.dtype)
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file():
        agent = load_agent(arm, checkpoint, envs, policy)
        told(f"resumed at step {agent.step_count}")
    else:
        settings = run_settings(config, envs, seed)
        agent = make_agent(arm, envs, policy, seed=seed, settings=settings, weighter=weighter, rescale=config.rescale)
    recorder = _Recorder(agent, eval_envs, config, folder, told)
    recorder.drop_beyond(agent.step_count)
    if agent.step_count == 0:
        recorder.evaluate()
    if agent.step_count < config.steps:
        agent.learn(config.steps - agent.step_count, [recorder, *callbacks], checkpoint_path=checkpoint)
    if agent.interrupted or agent.step_count < config.steps:
        return None
    recorder.evaluate()
    recorder.finish(facts or {})
    return agent


class _Recorder:
    """Writes a run's files; a callback of ``learn``."""

    def __init__(
        self,
        agent: GroupedPG,
        eval_envs: VectorEnv[Any, Any, Any],
        config: RunOptions,
        folder: Path,
        told: Callable[[str], None],
    ) -> None:
        self.agent, self.eval_envs, self.config, self.folder, self.told = agent, eval_envs, config, folder, told

    def __call__(self, report: StepReport) -> None:
        self._append({"kind": "step", **report.as_row()})
        taken = report.step + 1
        if self.config.eval_every and taken % self.config.eval_every == 0 and taken < self.config.steps:
            self.evaluate()

    def _append(self, row: Row) -> None:
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def drop_beyond(self, step: int) -> None:
        """Keep the rows that a run of ``step`` steps has written before it saved."""
        metrics = self.folder / METRICS
        kept = [row for row in read_rows(metrics) if self._belongs(row, step)]
        aside = metrics.with_suffix(".part")
        aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        os.replace(aside, metrics)

    def _belongs(self, row: Row, step: int) -> bool:
        if row["kind"] == "step":
            return bool(row["step"] < step)
        if step == 0:
            return False  # nothing was saved: the run begins anew
        return bool(row["step"] <= step and row["step"] < self.config.steps)  # the last comes after the last checkpoint

    def evaluate(self) -> None:
        """Score the evaluation split, always with the same random numbers; greedily too at the start and the end."""
        from llm_morl_agents.evaluate import evaluate_policy
        from llm_morl_agents.rollout import stream

        agent, step = self.agent, self.agent.step_count
        at_an_end = step in (0, self.config.steps)
        sampling = agent.settings.sampling(default_max_new_tokens=agent.max_response_tokens)
        evaluation = evaluate_policy(
            agent.policy,
            self.eval_envs,
            sampling,
            n_problems=self.config.eval_problems,
            split="eval",
            generator=stream(agent.seed, "evaluate"),
            greedy=at_an_end,
            samples=self._samples(),
        )
        row = evaluation.as_row()
        errors = zip(evaluation.objectives, evaluation.sampled_standard_error, strict=True)
        row.update({f"sampled_standard_error/{name}": float(e) for name, e in errors if np.isfinite(e)})
        np.save(evaluation_file(self.folder, step), evaluation.sampled_rewards)
        if at_an_end:
            text = json.dumps(self._examples(sampling), ensure_ascii=False, indent=1)
            examples_file(self.folder, step).write_text(text, encoding="utf-8", errors="replace")
        self._append({"kind": "evaluation", "step": step, "problems": len(evaluation.sampled_rewards), **row})
        levels = zip(evaluation.objectives, evaluation.sampled, strict=True)
        self.told(f"evaluation after {step} steps: {'  '.join(f'{name} {level:.3f}' for name, level in levels)}")

    def _samples(self) -> int:
        """Sampled answers to a problem: the configured number, else enough for a small split to say something."""
        if self.config.eval_samples is not None:
            return self.config.eval_samples
        task = getattr(self.eval_envs.unwrapped, "task", None)
        size = EVAL_ANSWERS if task is None else len(task.with_split("eval"))
        return -(-EVAL_ANSWERS // min(size, EVAL_ANSWERS)) if size < self.config.eval_problems else 1

    def _examples(self, sampling: Sampling) -> list[Row]:
        """The evaluation's sampled answers to the first problems, with their rewards."""
        from llm_morl_agents.dialogue_rollout import turns_of
        from llm_morl_agents.evaluate import answer
        from llm_morl_agents.policy import draw_uniforms
        from llm_morl_agents.rollout import stream

        envs = self.eval_envs
        task = getattr(envs.unwrapped, "task", None)
        count = min(N_EXAMPLES if task is None else len(task.with_split("eval")), N_EXAMPLES, envs.num_envs)
        # The first rows of what `evaluate_policy` draws from the same stream.
        shape = count, turns_of(envs) * sampling.max_new_tokens
        uniforms = draw_uniforms(stream(self.agent.seed, "evaluate"), *shape)
        answers = answer(self.agent.policy, envs, np.arange(count), "eval", sampling, uniforms)
        names = self.agent.objectives.names
        return [
            {
                "prompt": prompt,
                "response": text,
                # An objective that does not apply is left out.
                "rewards": {n: float(r) for n, r in zip(names, rewards, strict=True) if not np.isnan(r)},
            }
            for prompt, text, rewards in zip(answers.prompts, answers.texts, answers.rewards, strict=True)
        ]

    def finish(self, more: Mapping[str, Any]) -> None:
        """Mark the run as finished, with what a report needs to know of it."""
        from llm_morl_agents.weighters import WEIGHTERS
        from llm_morl_env import expressions

        objectives = self.agent.objectives
        facts = {
            "steps": self.agent.step_count,
            "objectives": list(objectives.names),
            "low": objectives.low.tolist(),
            "high": objectives.high.tolist(),
            "settings": {k: v for k, v in self.agent.constructor_options().items() if k != "seed"},
            "parameters": sum(p.numel() for p in self.agent.policy.trainable_parameters().values()),
            "versions": {name: version(name) for name in ("llm-morl-env", "torch", "transformers")},
            "weighter": expressions.describe(self.agent.weighter, WEIGHTERS),
            "policy": self.agent.policy.name_or_path,
            **more,
        }
        aside = self.folder / f"{FINISHED}.part"
        aside.write_text(json.dumps(facts), encoding="utf-8")
        os.replace(aside, self.folder / FINISHED)


def read_rows(metrics: Path) -> list[Row]:
    """The rows of a metrics file; a last line that a killed process left incomplete is skipped."""
    if not metrics.is_file():
        return []
    rows = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


@contextmanager
def locked(folder: Path, *, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold the folder's lock, which the system frees when this process dies.

    Args:
        folder: Made where it is missing.
        patience_seconds: How long to wait for another holder.

    Raises:
        UserError: If another process holds it for longer than that.
    """
    try:
        import fcntl
    except ImportError:  # Windows: two commands in one folder are then the user's to avoid
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_seconds
    with (folder / LOCK).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise UserError(f"another llm-morl is at work in {folder}") from error
            time.sleep(0.1)
        yield


def run_folder(experiment: Path, arm: Arm, seed: int) -> Path:
    """Where a comparison keeps one of its runs."""
    return experiment / "runs" / f"{arm.slug}-seed{seed}"
