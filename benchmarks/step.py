"""CPU-seconds of one training step, beside the same step done plainly with transformers, in the same process.

Ours is `GDPO.step` as it stands. Plain is ``model.generate`` on every row, then a forward and backward pass over prompt
and response of every row, on the batch and the advantages that ours was given; reset, scoring and advantages are the
same for both and are counted once for each. Plain has no extra pass for the log-probabilities at rollout time, which
trainers that do not keep them need on top. Both take turns, on one thread; the medians over the repeats are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any
from unittest import mock

import gymnasium as gym
import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import llm_morl_env  # noqa: F401  # registers the ids
from llm_morl_agents import GDPO, Policy, grouped_pg, load_policy
from llm_morl_agents import update as update_module
from llm_morl_agents.batch import RolloutBatch
from llm_morl_agents.policies.hf import pad
from llm_morl_agents.weighters import SAW

Ints = NDArray[np.int64]


@dataclass
class Watch:
    """A function that notes the CPU-seconds of its last call, and its arguments."""

    function: Callable[..., Any]
    seconds: float = 0.0
    arguments: tuple[Any, ...] = ()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.arguments = arguments
        started = time.process_time()
        result = self.function(*arguments, **options)
        self.seconds = time.process_time() - started
        return result


def plain_generate(policy: Policy, batch: RolloutBatch, max_new_tokens: int) -> torch.Tensor:
    """Token ids of prompt and response, one row for each row of the batch, every prompt read for each of its rows."""
    prompts, mask = pad([batch.prompt_ids[p] for p in batch.prompt_index], policy.pad_id, policy.device, left=True)
    model: Any = policy.model  # transformers does not annotate it
    ids: torch.Tensor = model.generate(
        input_ids=prompts, attention_mask=mask.long(), do_sample=True, top_k=0, max_new_tokens=max_new_tokens
    )
    return ids[:, prompts.shape[1] :]


def collate(policy: Policy, batch: RolloutBatch, rows: Ints) -> tuple[torch.Tensor, ...]:
    """Right-padded sequences (B, L) and their mask, and (B, L - 1) behaviour log-probabilities and response mask."""
    prompts = [batch.prompt_ids[p] for p in batch.prompt_index[rows]]
    responses = [batch.response_ids[row, : batch.lengths[row]] for row in rows]
    ids, mask = pad(
        [[*p, *r] for p, r in zip(prompts, responses, strict=True)], policy.pad_id, policy.device, left=False
    )
    behaviour = np.zeros((len(rows), ids.shape[1] - 1), np.float32)
    is_response = np.zeros_like(behaviour)
    for i, (row, prompt, response) in enumerate(zip(rows, prompts, responses, strict=True)):
        at = slice(len(prompt) - 1, len(prompt) - 1 + len(response))
        behaviour[i, at], is_response[i, at] = batch.behaviour_logprobs[row, : len(response)], 1.0
    return ids, mask.long(), torch.as_tensor(behaviour), torch.as_tensor(is_response)


def plain_update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[tuple[torch.Tensor, ...]],
    advantages: Sequence[torch.Tensor],
) -> float:
    """Clipped surrogate over whole sequences, one part after the other, and an optimizer step; the gradient's norm."""
    optimizer.zero_grad()
    tokens = sum(is_response.sum() for *_, is_response in parts)
    for (ids, mask, behaviour, is_response), a in zip(parts, advantages, strict=True):
        logits = policy.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        ratio = (logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None]).squeeze(-1) - behaviour).exp()
        surrogate = torch.minimum(ratio * a, ratio.clamp(0.8, 1.28) * a)
        loss = -(surrogate * is_response).sum() / tokens
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    norm = torch.nn.utils.clip_grad_norm_(policy.trainable_parameters().values(), 1.0)
    optimizer.step()
    return float(norm)


def measure(
    agent: GDPO, optimizer: torch.optim.Optimizer, generation: Watch, update: Watch
) -> dict[str, tuple[float, float]]:
    """One step of each; (ours, plain) CPU-seconds by part, and mean response lengths.

    Raises:
        RuntimeError: If the two gradients differ: then they did not do the same work.
    """
    report = agent.step()
    batch, advantages = update.arguments[3:5]
    rest = report.cpu_seconds - generation.seconds - update.seconds
    plain_generation, plain_training = Watch(plain_generate), Watch(plain_update)
    responses = plain_generation(agent.policy, batch, agent.max_response_tokens)
    rows = np.array_split(np.arange(len(batch)), agent.settings.micro_batches)
    norm = plain_training(
        agent.policy,
        optimizer,
        [collate(agent.policy, batch, part) for part in rows],
        [torch.as_tensor(advantages[part, None], dtype=torch.float32) for part in rows],
    )
    if not np.isclose(norm, report.grad_norm, rtol=1e-3):
        raise RuntimeError(f"the plain gradient's norm is {norm}, ours {report.grad_norm}")
    ended = (responses[..., None] == torch.tensor(agent.policy.eos_ids)).any(dim=-1)
    lengths = torch.where(ended.any(dim=1), ended.int().argmax(dim=1) + 1, responses.shape[1])
    return {
        "generation": (generation.seconds, plain_generation.seconds),
        "training": (update.seconds, plain_training.seconds),
        "reset, scoring, advantages": (rest, rest),
        "step": (report.cpu_seconds, plain_generation.seconds + plain_training.seconds + rest),
        "tokens": (report.response_tokens, float(lengths.float().mean())),
    }


def show(results: list[dict[str, tuple[float, float]]], title: str) -> Table:
    """The medians as a table."""
    table = Table(title=title, caption="CPU-seconds: medians over the repeats", title_justify="left")
    for column in ("part", "ours", "plain", "plain / ours"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in results[0]:
        ours, plain = (median(result[part][i] for result in results) for i in (0, 1))
        if part == "tokens":
            table.add_section()
            table.add_row("response tokens", f"{ours:.1f}", f"{plain:.1f}", "")
        else:
            ratio = median(result[part][1] / max(result[part][0], 1e-9) for result in results)
            table.add_row(part, f"{ours:.3f}", f"{plain:.3f}", f"{ratio:.2f}")
    return table


def main(
    repeats: Annotated[int, tyro.conf.arg(help="Measured steps of each kind, after one to warm up.")] = 7,
    prompts: Annotated[int, tyro.conf.arg(help="Prompts of a step.")] = 16,
    group_size: Annotated[int, tyro.conf.arg(help="Responses to each prompt.")] = 8,
    policy: Annotated[str, tyro.conf.arg(help="tiny, a directory of transformers, or a hub id.")] = "tiny",
    env: Annotated[str, tyro.conf.arg(help="Id of the environment.")] = "ToolCall-MO-v0",
    seed: Annotated[int, tyro.conf.arg(help="Seed of problems and samples.")] = 0,
) -> None:
    """CPU-seconds of one training step, and the ratio to plain transformers in the same process."""
    if min(repeats, prompts, group_size) < 1:
        raise SystemExit("--repeats, --prompts and --group-size must be at least 1")
    torch.set_num_threads(1)
    torch.manual_seed(seed)  # of model.generate
    envs = gym.make_vec(env, num_envs=prompts * group_size, group_size=group_size)
    loaded = load_policy(policy)
    # So small a rate that every step measures the same policy.
    agent = GDPO(envs, loaded, weighter=SAW(), seed=seed, learning_rate=1e-12)
    optimizer = torch.optim.AdamW(loaded.trainable_parameters().values(), lr=1e-12)
    generation, update = Watch(loaded.generate), Watch(update_module.update)
    with mock.patch.object(loaded, "generate", generation), mock.patch.object(grouped_pg, "update", update):
        results = [measure(agent, optimizer, generation, update) for _ in range(repeats + 1)]
    size = sum(p.numel() for p in loaded.model.parameters())
    title = f"{env}, {prompts} x {group_size} responses\n{policy}: {size:,} parameters, {type(loaded).__name__}"
    Console().print(show(results[1:], title))


if __name__ == "__main__":
    tyro.cli(main)
