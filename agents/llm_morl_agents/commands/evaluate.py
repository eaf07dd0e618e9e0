"""``llm-morl evaluate``: reward vectors of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from llm_morl_agents.commands.options import parse
from llm_morl_agents.experiments.config import TaskOptions
from llm_morl_agents.experiments.errors import UserError, user_errors

_DESCRIPTION = """Score a policy on a task: one greedy and one sampled answer to each problem.

Examples:
  llm-morl evaluate --policy tiny --difficulty hard
  llm-morl evaluate --checkpoint runs/first/checkpoint.safetensors --split unseen
  llm-morl evaluate --policy path/to/model --data bfcl.jsonl --problems 64 --batch 8"""

#: For an objective that applies to no answer.
NOTHING = "–"


@dataclass(frozen=True)
class EvaluateOptions:
    """What is evaluated.

    Args:
        policy: The language model: tiny (the embedded one), scratch, a transformers directory or a hub id; auto is tiny
            where that knows the environment's tokens, else scratch.
        checkpoint: Take the policy, with its trained parameters, from a checkpoint of an agent instead.
        split: Which problems: eval, train, or another split of the task.
        problems: Problems that are scored, at most.
        batch: Problems answered at a time.
        temperature: Of sampling.
        top_p: Nucleus of sampling.
        max_new_tokens: Cap on an answer in the policy's tokens; the environment's otherwise.
        seed: Of sampling.
        device: Where the policy lives.
        dtype: float32, bfloat16, float16 or auto.
        threads: Threads of torch; 1 suits models of a few million parameters.
    """

    policy: str = "auto"
    checkpoint: Path | None = None
    split: str = "eval"
    problems: int = 512
    batch: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1


@dataclass(frozen=True)
class EvaluateConfig(TaskOptions, EvaluateOptions):
    """A policy on a task."""

    def __post_init__(self) -> None:
        for name in ("problems", "batch", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    config = parse(EvaluateConfig, arguments, prog="llm-morl evaluate", description=_DESCRIPTION)
    import torch

    from llm_morl_agents.checkpoint import load_trained_policy
    from llm_morl_agents.evaluate import evaluate_policy
    from llm_morl_agents.experiments.policies import resolve_policy, starting_policy
    from llm_morl_agents.experiments.tasks import make_envs
    from llm_morl_agents.grouped_pg import DEFAULT_MAX_RESPONSE_TOKENS
    from llm_morl_agents.policy import Sampling
    from llm_morl_agents.rollout import objectives_of, stream

    torch.set_num_threads(config.threads)
    with user_errors():
        envs = make_envs(config, num_envs=min(config.batch, config.problems), group_size=1)
        task = getattr(envs.unwrapped, "task", None)
        if task is not None:
            task.with_split(config.split)
        if config.checkpoint is not None:
            policy = load_trained_policy(config.checkpoint)
        else:
            policy = starting_policy(config.policy, envs, seed=config.seed, device=config.device, dtype=config.dtype)
        cap = config.max_new_tokens or (DEFAULT_MAX_RESPONSE_TOKENS if task is None else task.max_response_tokens)
        sampling = Sampling(config.temperature, config.top_p, cap)
    console = Console()
    with console.status("answering"):
        evaluation = evaluate_policy(
            policy,
            envs,
            sampling,
            n_problems=config.problems,
            split=config.split,
            generator=stream(config.seed, "evaluate"),
        )
    started = config.checkpoint or resolve_policy(config.policy, envs)
    table = Table(title=f"{started} on {config.task_name}, split {config.split}")
    for name in ("objective", "bounds", "greedy", "sampled"):
        table.add_column(name, justify="left" if name == "objective" else "right")
    bounds = objectives_of(envs)
    for k, name in enumerate(evaluation.objectives):
        cells = [_with_error(values[:, k]) for values in (evaluation.greedy_rewards, evaluation.sampled_rewards)]
        table.add_row(name, f"{bounds.low[k]:g} to {bounds.high[k]:g}", *cells)
    console.print(table)
    console.print(
        f"mean ± standard error over {len(evaluation.sampled_rewards)} problems; one answer each", highlight=False
    )
    return 0


def _with_error(values: NDArray[np.float64]) -> str:
    present = values[~np.isnan(values)]
    if not len(present):
        return NOTHING
    error = f" ± {present.std(ddof=1) / np.sqrt(len(present)):.3f}" if len(present) > 1 else ""
    left_out = f" ({len(present)} of {len(values)})" if len(present) < len(values) else ""
    return f"{present.mean():.3f}{error}{left_out}"
