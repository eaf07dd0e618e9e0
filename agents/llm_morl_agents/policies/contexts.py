"""Reading many contexts incrementally with the fast engine: keys and values of each stay, only new tokens are computed.

Shapes: N contexts, M <= N that are read now, S new tokens of the longest of these, C hidden, H_kv heads of D, V
vocabulary. Contexts have different lengths and grow by different numbers of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import LlamaForCausalLM

from llm_morl_agents.policies.llama import FusedLlama, fuse

#: Contexts that grow by up to so many tokens are padded to one batch; longer ones share it with their like.
SHORT = 4
#: Tokens that a cache has room for at first; it doubles.
FIRST_ROOM = 64


@dataclass(frozen=True, eq=False)
class ContextEngine:
    """A frozen Llama's matrices, and what is computed once.

    Args:
        llama: The fused matrices, without gradients.
        norm: Weight (C,) of the final norm, which the fused head has in it.
        rotations: Rotary factors of all positions, complex (max_position_embeddings, 1, D / 2).
    """

    llama: FusedLlama
    norm: torch.Tensor
    rotations: torch.Tensor

    @classmethod
    def of(cls, model: LlamaForCausalLM) -> ContextEngine:
        """The engine of a model that `llm_morl_agents.policies.llama.unsupported` accepts."""
        with torch.inference_mode():
            norm: Any = model.model.norm.weight
            config: Any = model.config
            llama = fuse(model)
            positions = torch.arange(config.max_position_embeddings, device=norm.device)
            return cls(llama, cast(torch.Tensor, norm.detach().clone()), llama.rotation(positions))

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        """The hidden state behind the final norm of the residual stream (..., C)."""
        return self.llama.normed(x) * self.norm


class ContextCache:
    """Keys and values of N contexts, each of its own length.

    Attributes:
        lengths: int64 (N,), tokens read.
    """

    def __init__(self, engine: ContextEngine, n_rows: int) -> None:
        self.lengths = np.zeros(n_rows, np.int64)
        llama = engine.llama
        shape = (len(llama.layers), 2, n_rows, llama.kv_heads, FIRST_ROOM, llama.head_dim)
        with torch.inference_mode():
            self._kept = torch.zeros(shape, device=llama.embedding.device)

    def forget(self, rows: Sequence[int]) -> None:
        """Empty these contexts."""
        self.lengths[list(rows)] = 0

    @torch.inference_mode()
    def append(self, engine: ContextEngine, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read new tokens of M contexts, those that grow alike in one batch; residual stream (M, C) at the last ones.

        Args:
            engine: The one that the cache was made for.
            rows: M distinct contexts.
            tokens: At least one for each.
        """
        counts = np.array([len(new) for new in tokens])
        self._make_room(int((self.lengths[list(rows)] + counts).max()))
        parts = _alike(counts)
        if len(parts) == 1:
            return self._append(engine, np.asarray(rows), tokens, counts)
        out = torch.empty(len(rows), len(engine.norm), device=engine.norm.device)
        for part in parts:
            some = [tokens[i] for i in part]
            out[torch.as_tensor(part)] = self._append(engine, np.asarray(rows)[part], some, counts[part])
        return out

    def _append(
        self,
        engine: ContextEngine,
        rows: NDArray[np.int64],
        tokens: Sequence[Sequence[int]],
        counts: NDArray[np.int64],
    ) -> torch.Tensor:
        """`append` in one batch, padded to the most new tokens."""
        llama, device = engine.llama, engine.norm.device
        m, s, before = len(rows), int(counts.max()), self.lengths[rows]
        ids = np.zeros((m, s), np.int64)
        for i, new in enumerate(tokens):
            ids[i, : len(new)] = new
        positions = before[:, None] + np.arange(s)  # (M, S)
        seen = int((before + counts).max())
        bias = None
        if m > 1 or s > 1:  # one new token alone sees all of its context
            unseen = np.where(np.arange(seen) > positions[..., None], np.float32(-np.inf), np.float32(0))
            bias = torch.as_tensor(unseen[:, None], device=device)  # (M, 1, S, seen)
        place = _Place(self, rows, positions, counts, device)
        x = llama.embed(torch.as_tensor(ids, device=device))
        rotation = engine.rotations[torch.as_tensor(positions, device=device)]
        for layer, (kept_k, kept_v) in zip(llama.layers, self._kept, strict=True):
            q, k, v = llama.attention_inputs(layer, x, rotation)
            place.write(kept_k, k)
            place.write(kept_v, v)
            attended = functional.scaled_dot_product_attention(
                q.transpose(1, 2),
                kept_k[place.rows, :, :seen],
                kept_v[place.rows, :, :seen],
                attn_mask=bias,
                scale=1.0,
                enable_gqa=llama.heads != llama.kv_heads,
            )
            x = llama.rest_of_block(layer, x, attended.transpose(1, 2).flatten(2))
        self.lengths[rows] = before + counts
        if s == 1:
            return x[:, 0]
        return x[torch.arange(m, device=device), torch.as_tensor(counts - 1, device=device)]

    def _make_room(self, tokens: int) -> None:
        room = self._kept.shape[-2]
        if tokens > room:
            self._kept = functional.pad(self._kept, (0, 0, 0, max(tokens, 2 * room) - room))

    def __getstate__(self) -> dict[str, Any]:
        kept = self._kept[..., : int(self.lengths.max(initial=0)), :]
        return {"lengths": self.lengths, "kept": kept.cpu().numpy().copy(), "room": self._kept.shape[-2]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.lengths = state["lengths"].copy()
        kept = torch.from_numpy(state["kept"].copy())
        with torch.inference_mode():
            self._kept = functional.pad(kept, (0, 0, 0, state["room"] - kept.shape[-2]))

    def to(self, device: torch.device) -> None:
        """Move the keys and values, which a pickled cache has on the CPU."""
        self._kept = self._kept.to(device)


class _Place:
    """Where the new tokens of M rows are kept: as slices, which are views, where that is possible."""

    def __init__(
        self,
        cache: ContextCache,
        rows: NDArray[np.int64],
        positions: NDArray[np.int64],
        counts: NDArray[np.int64],
        device: torch.device,
    ) -> None:
        m, s = positions.shape
        self._is_one = m == 1
        self.rows: slice | torch.Tensor
        if m == 1:
            start = int(positions[0, 0])
            self.rows, self._at = slice(int(rows[0]), int(rows[0]) + 1), slice(start, start + s)
            return
        row = torch.as_tensor(rows, device=device)
        self.rows = slice(None) if m == len(cache.lengths) and bool((rows == np.arange(m)).all()) else row
        # Of the new tokens that are no padding: where they stand in the batch, and where their keys are kept.
        i, t = np.nonzero(np.arange(s) < counts[:, None])
        self._batch = torch.as_tensor(i, device=device), torch.as_tensor(t, device=device)
        self._kept = row[self._batch[0]], torch.as_tensor(positions[i, t], device=device)

    def write(self, kept: torch.Tensor, new: torch.Tensor) -> None:
        """Keep keys or values (M, S, H_kv, D) among those of all contexts (N, H_kv, ..., D)."""
        if self._is_one:
            kept[self.rows, :, self._at] = new.transpose(1, 2)
        else:
            kept[self._kept[0], :, self._kept[1]] = new[self._batch]


def _alike(counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of rows in parts of like counts: the most of a part is at most `SHORT`, or twice the least."""
    if counts.max() <= max(SHORT, 2 * int(counts.min())):
        return [np.arange(len(counts))]
    parts: list[list[int]] = []
    for i in np.argsort(counts, kind="stable").tolist():
        if parts and counts[i] <= max(SHORT, 2 * counts[parts[-1][0]]):
            parts[-1].append(i)
        else:
            parts.append([i])
    return [np.array(part, np.int64) for part in parts]
