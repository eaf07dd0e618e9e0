"""The optimizer side of a training step: epochs, mini-batches of whole groups, exact micro-batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from llm_morl_agents.batch import RolloutBatch
from llm_morl_agents.losses import RATIO_LEVELS, aggregate, kl_k3, loss_denominator, policy_loss, token_log_ratio
from llm_morl_agents.policy import Policy
from llm_morl_agents.settings import Settings

#: Most tokens (padded, prompts included) and most logits of a micro-batch: some gigabytes of activations at worst.
MAX_TOKENS, MAX_LOGITS = 2**16, 2**27


@dataclass(frozen=True)
class UpdateReport:
    """Loss, gradient norm, KL and clip share of an update, as `StepReport` explains them."""

    loss: float = 0.0
    grad_norm: float = 0.0
    kl: float = 0.0
    clip_share: float = 0.0


@dataclass(frozen=True)
class _Terms:
    """Sums over the tokens of a micro-batch."""

    loss: float
    kl: float
    clipped: float


def update(
    policy: Policy,
    reference: Policy | None,
    optimizer: torch.optim.Optimizer,
    batch: RolloutBatch,
    advantages: NDArray[np.float64],
    settings: Settings,
    *,
    constant_length: int,
    generator: np.random.Generator,
) -> UpdateReport:
    """Take the optimizer steps of one batch.

    A mini-batch in which nothing pulls (all advantages 0, no KL, no entropy term) takes no optimizer step: momentum
    alone would move the parameters on no evidence. Neither does one whose gradient is not finite: an error says so
    before the parameters are spoilt.

    Args:
        policy: Its parameters are updated in place, by the optimizer.
        reference: For the KL term; None without one.
        optimizer: Over the policy's trainable parameters; its learning rate is set already.
        batch: N responses.
        advantages: float64 (N,).
        settings: Losses and numbers of passes.
        constant_length: What ``aggregation="constant"`` divides by.
        generator: Shuffles the groups.

    Raises:
        FloatingPointError: If the gradient is not finite.
    """
    parameters = list(policy.trainable_parameters().values())
    norms, last = [], UpdateReport()
    for _ in range(settings.epochs):
        terms: list[_Terms] = []
        for rows in mini_batches(batch, settings.mini_batches, generator):
            pulled = _pulled(rows, advantages, settings)
            if not len(pulled):
                continue
            optimizer.zero_grad(set_to_none=True)
            mask = torch.as_tensor(batch.own[rows])
            denominator = loss_denominator(mask, settings.aggregation, constant_length=constant_length)
            terms += [
                _backward(policy, reference, batch, advantages, part, settings, denominator, constant_length)
                for part in micro_batches(batch, pulled, settings.micro_batches, vocab_size=policy.vocab_size)
            ]
            norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)))
            if not np.isfinite(norms[-1]):
                raise FloatingPointError(f"the gradient's norm is {norms[-1]}; the parameters are left as they were")
            optimizer.step()
        tokens = max(int(batch.own.sum()), 1)
        last = UpdateReport(
            loss=sum(t.loss for t in terms) / min(settings.mini_batches, len(batch.prompt_ids)),
            grad_norm=float(np.mean(norms)) if norms else 0.0,
            kl=sum(t.kl for t in terms) / tokens,
            clip_share=sum(t.clipped for t in terms) / tokens,
        )
    return last


def mini_batches(batch: RolloutBatch, count: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows of ``count`` random parts of whole groups (fewer where there are fewer groups)."""
    index = batch.prompt_index
    n_groups = len(batch.prompt_ids)
    order = generator.permutation(n_groups) if count > 1 else np.arange(n_groups)
    for part in np.array_split(order, min(count, n_groups)):
        yield np.flatnonzero(np.isin(index, part)).astype(np.int64)


def micro_batches(
    batch: RolloutBatch, rows: NDArray[np.int64], count: int, *, vocab_size: int
) -> Sequence[NDArray[np.int64]]:
    """Rows in ``count`` parts of whole groups, groups of like length together (less padding).

    A part beyond `MAX_TOKENS` or `MAX_LOGITS` is divided further, groups too where it must be: long prompts and large
    vocabularies would not fit in memory.
    """
    index = batch.prompt_index[rows]
    groups = np.unique(index)
    behind = batch.total_lengths
    longest = np.array([behind[rows][index == g].max() + len(batch.prompt_ids[g]) for g in groups])
    order = np.argsort(longest, kind="stable")
    parts = []
    for chosen in np.array_split(order, min(count, len(groups))):
        part = np.concatenate([rows[index == groups[g]] for g in chosen])
        tokens = len(part) * int(longest[chosen].max())
        logits = int(behind[part].sum()) * vocab_size
        pieces = min(max(math.ceil(tokens / MAX_TOKENS), math.ceil(logits / MAX_LOGITS)), len(part))
        parts += [np.sort(piece) for piece in np.array_split(part, pieces)]
    return parts


def _pulled(rows: NDArray[np.int64], advantages: NDArray[np.float64], settings: Settings) -> NDArray[np.int64]:
    """Rows that add to the gradient: all under a KL or entropy term, else those whose advantage is not 0 (exact)."""
    return rows if settings.kl_coef or settings.entropy_coef else rows[advantages[rows] != 0.0]


def _backward(
    policy: Policy,
    reference: Policy | None,
    batch: RolloutBatch,
    advantages: NDArray[np.float64],
    rows: NDArray[np.int64],
    settings: Settings,
    denominator: float,
    constant_length: int,
) -> _Terms:
    part = batch.select(rows)
    inputs = (part.prompt_ids, part.prompt_index, part.response_ids, part.response_mask)
    stats = policy.token_stats(*inputs, temperature=settings.temperature, entropy=settings.entropy_coef > 0)
    logprobs = stats.logprobs
    mask = torch.as_tensor(part.own, device=logprobs.device)  # replies are read, not trained
    behaviour = torch.as_tensor(part.behaviour_logprobs, device=logprobs.device)
    loss = policy_loss(
        logprobs,
        behaviour,
        torch.as_tensor(advantages[rows], dtype=logprobs.dtype, device=logprobs.device),
        mask,
        clip=settings.clip,
        dual_clip=settings.dual_clip,
        ratio=settings.ratio,
        aggregation=settings.aggregation,
        constant_length=constant_length,
        denominator=denominator,
    )
    kl = torch.zeros_like(logprobs)
    if reference is not None and settings.kl_coef:
        with torch.no_grad():
            ref = reference.token_stats(*inputs, temperature=settings.temperature).logprobs
        kl = kl_k3(logprobs, ref)
    per_token = settings.kl_coef * kl
    if stats.entropy is not None:
        per_token = per_token - settings.entropy_coef * stats.entropy
    if settings.kl_coef or settings.entropy_coef:
        loss = loss + aggregate(
            per_token,
            mask,
            aggregation=settings.aggregation,
            constant_length=constant_length,
            denominator=denominator,
        )
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return _Terms(
        float(loss.detach()), float(kl.detach()[mask].sum()), _clipped(logprobs.detach(), behaviour, mask, settings)
    )


def _clipped(logprobs: torch.Tensor, behaviour: torch.Tensor, mask: torch.Tensor, settings: Settings) -> float:
    if settings.clip is None:
        return 0.0
    ratio = RATIO_LEVELS[settings.ratio](token_log_ratio(logprobs, behaviour, mask), mask).exp()
    low, high = settings.clip
    return float((((ratio < 1 - low) | (ratio > 1 + high)) & mask.bool()).sum())
