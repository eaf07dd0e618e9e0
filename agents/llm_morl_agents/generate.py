"""The sampling loop: early stop, compaction of finished rows and an inverse-CDF sampler, for any `Decoder`.

Shapes: N responses, M <= N rows that the decoder still computes, V vocabulary, T tokens. Exact: a response and its
log-probabilities are those of a loop over one row at a time, up to the rounding of the matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.policy import Generation, Sampling, Uniforms

#: Finished rows are dropped from the decoder when they are more than this share; each time costs a copy of its cache.
COMPACT_ABOVE = 0.25
#: Prompts of up to so many tokens share a batch whatever their lengths: there, more batches cost more than padding.
SHORT = 256
#: The largest float32 below 1. Below it, u * total < total holds after rounding too, so no token of mass 0 is drawn.
BELOW_ONE = 1 - 2**-24


class Decoder(Protocol):
    """Incremental decoding of N rows by one model."""

    def prefill(self) -> torch.Tensor:
        """Logits (N, V) of the first response token of every row."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append int64 (M,) tokens to the rows; logits (M, V) of the next."""

    def keep(self, rows: torch.Tensor) -> None:
        """Drop every row but these, int64 (M',) ascending."""


def used_prompts(
    prompt_ids: Sequence[Sequence[int]], group: ArrayLike
) -> tuple[list[Sequence[int]], NDArray[np.int64]]:
    """The prompts that a group index names, and the index, int64 (N,), renumbered to them.

    Raises:
        ValueError: If the index is not a vector of integers in [0, P), or a prompt is empty.
    """
    array = np.asarray(group)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"group must be integers of shape (N,), got {array.dtype} of shape {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= len(prompt_ids)):
        raise ValueError(
            f"group must lie in [0, {len(prompt_ids)}), the number of prompts; got {array.min()} to {array.max()}"
        )
    for row, ids in enumerate(prompt_ids):
        if not len(ids):
            raise ValueError(f"prompt_ids[{row}] is empty; a prompt needs at least one token")
    used, index = np.unique(array, return_inverse=True)
    return [prompt_ids[int(p)] for p in used], index.astype(np.int64)


def alike_in_length(prompts: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    """Indices of the prompts in parts of like length, so that a few long ones do not pad all the others.

    In a part the longest has at most twice the tokens of the shortest, or at most `SHORT` tokens.
    """
    lengths = np.array([len(ids) for ids in prompts])
    parts: list[list[int]] = []
    for i in np.argsort(lengths, kind="stable").tolist():
        if parts and lengths[i] <= max(2 * lengths[parts[-1][0]], SHORT):
            parts[-1].append(i)
        else:
            parts.append([i])
    return [np.array(part, dtype=np.int64) for part in parts]


def merge(parts: Sequence[tuple[NDArray[np.int64], Generation]], pad_id: int) -> Generation:
    """One generation of several, each with the rows that it holds; together they hold every row once."""
    n = sum(len(rows) for rows, _ in parts)
    longest = max(part.response_ids.shape[1] for _, part in parts)
    merged = Generation(
        response_ids=np.full((n, longest), pad_id, dtype=np.int64),
        response_mask=np.zeros((n, longest), dtype=np.bool_),
        logprobs=np.zeros((n, longest), dtype=np.float32),
        texts=tuple(
            text for _, text in sorted((r, t) for rows, p in parts for r, t in zip(rows, p.texts, strict=True))
        ),
        finished=np.zeros(n, dtype=np.bool_),
    )
    for rows, part in parts:
        for name in ("response_ids", "response_mask", "logprobs"):
            getattr(merged, name)[rows, : part.response_ids.shape[1]] = getattr(part, name)
        merged.finished[rows] = part.finished
    return merged


def sample(logits: torch.Tensor, uniforms: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """One token of each row through the inverse of its distribution function, and its log-probability.

    On the CPU about 20 times as fast as ``torch.multinomial``, and free of any generator.

    Args:
        logits: (M, V).
        uniforms: float32 (M,) in [0, 1 - 2**-24].
        sampling: Temperature, nucleus, greedy.

    Returns:
        int64 (M,) tokens and float32 (M,) log-probabilities under softmax(logits / temperature), also where a nucleus
        restricts the draw.
    """
    scaled = logits.float() if sampling.temperature == 1 else logits.float() / sampling.temperature
    p = scaled.softmax(dim=-1)
    if sampling.greedy:
        tokens = p.argmax(dim=-1)
    else:
        cdf = (p if sampling.top_p == 1 else _nucleus(p, sampling.top_p)).cumsum(dim=-1)
        # The sum is 1 only up to rounding. right=True: the first entry above the threshold, which has mass.
        threshold = uniforms[:, None] * cdf[:, -1:]
        tokens = torch.searchsorted(cdf, threshold, right=True).squeeze(-1)
        tokens = tokens.clamp_(max=p.shape[-1] - 1)  # NaN alone gets there; the loop reports it
    return tokens, p.gather(-1, tokens[:, None]).squeeze(-1).log()


def _nucleus(p: torch.Tensor, top_p: float) -> torch.Tensor:
    """The probabilities with all outside the smallest set of mass ``top_p`` set to 0 (Holtzman et al. 2020)."""
    ordered, order = p.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(dim=-1) - ordered >= top_p
    outside[:, 0] = False
    return p.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), 0.0)


def generate_responses(
    decoder: Decoder,
    uniforms: Uniforms,
    sampling: Sampling,
    *,
    n: int,
    eos_ids: Sequence[int],
    pad_id: int,
    decode: Callable[[Sequence[int]], str],
    device: torch.device,
) -> Generation:
    """Draw N responses with a decoder.

    Args:
        decoder: Fresh, before its prefill.
        uniforms: (N, at least max_new_tokens) in [0, 1).
        sampling: Temperature, nucleus, lengths, stops.
        n: N, at least 1.
        eos_ids: Tokens that end a response.
        pad_id: Fills ``response_ids`` behind the end.
        decode: Ids to text, without special tokens.
        device: Where the decoder's tensors are.

    Raises:
        ValueError: If ``uniforms`` has another shape or leaves [0, 1).
        FloatingPointError: If logits are not finite.
    """
    steps = sampling.max_new_tokens
    u = _check_uniforms(uniforms, n, steps).to(device)
    eos = torch.tensor(list(eos_ids), device=device)
    ids = torch.full((n, steps), pad_id, dtype=torch.int64, device=device)
    logprobs = torch.zeros((n, steps), device=device)
    length = torch.full((n,), steps, device=device)
    finished = torch.zeros(n, dtype=torch.bool, device=device)
    rows = torch.arange(n, device=device)  # (M,) the response that each row of the decoder belongs to
    done = torch.zeros_like(finished)  # (M,) rows that have ended, but are still computed
    tokens = rows[:0]
    for t in range(steps):
        logits = decoder.step(tokens) if t else decoder.prefill()
        tokens, logprob = sample(logits, u[rows, t], sampling)
        # Ended rows write on behind their end; `length`, set at the first end only, cuts that off below.
        ids[rows, t], logprobs[rows, t] = tokens, logprob
        ended = (tokens[:, None] == eos).any(dim=-1) & ~done
        if sampling.stop:
            ended |= _stopped(ids[rows, : t + 1], done, sampling.stop, decode)
        if ended.any():
            length[rows[ended]] = t + 1
            finished[rows[ended]] = True
            done |= ended
            live = (~done).nonzero().squeeze(-1)
            if not len(live):
                break
            if len(live) < (1 - COMPACT_ABOVE) * len(rows):
                decoder.keep(live)
                rows, tokens, done = rows[live], tokens[live], done[live]
    return _collect(ids, logprobs, length, finished, sampling.stop, set(eos_ids), pad_id, decode)


def _check_uniforms(uniforms: Uniforms, n: int, steps: int) -> torch.Tensor:
    u = torch.as_tensor(uniforms)
    if u.ndim != 2 or u.shape[0] != n or u.shape[1] < steps:
        raise ValueError(f"uniforms must have shape ({n}, at least {steps}), got {tuple(u.shape)}")
    if not ((u >= 0) & (u < 1)).all():
        raise ValueError(f"uniforms must lie in [0, 1), got {float(u.min())} to {float(u.max())}")
    return u.float().clamp(max=BELOW_ONE)


def _stopped(
    ids: torch.Tensor, done: torch.Tensor, stop: Sequence[str], decode: Callable[[Sequence[int]], str]
) -> torch.Tensor:
    """(M,) whether a row that is not done holds a stop string. Its whole text is read: tokens may share a character."""
    found = done.tolist()
    for i, row in enumerate(ids.tolist()):
        if not found[i]:
            text = decode(row)
            found[i] = any(s in text for s in stop)
    return torch.tensor(found, device=ids.device) & ~done


def _collect(
    ids: torch.Tensor,
    logprobs: torch.Tensor,
    length: torch.Tensor,
    finished: torch.Tensor,
    stop: Sequence[str],
    eos_ids: set[int],
    pad_id: int,
    decode: Callable[[Sequence[int]], str],
) -> Generation:
    """Cut every response at its first end, and read the texts."""
    longest = int(length.max())
    mask = torch.arange(longest, device=ids.device) < length[:, None]
    ids = ids[:, :longest].masked_fill(~mask, pad_id)
    logprobs = logprobs[:, :longest].masked_fill(~mask, 0.0)
    if not torch.isfinite(logprobs).all():
        row, t = (~torch.isfinite(logprobs)).nonzero()[0].tolist()
        raise FloatingPointError(f"the model's logits are not finite (response {row}, token {t}): it has diverged")
    texts = []
    for row, size in zip(ids.tolist(), length.tolist(), strict=True):
        text = decode(row[: size - 1] if row[size - 1] in eos_ids else row[:size])
        ends = [at + len(s) for s in stop if (at := text.find(s)) >= 0]
        texts.append(text[: min(ends)] if ends else text)
    return Generation(
        response_ids=ids.cpu().numpy(),
        response_mask=mask.cpu().numpy(),
        logprobs=logprobs.cpu().numpy(),
        texts=tuple(texts),
        finished=finished.cpu().numpy(),
    )
