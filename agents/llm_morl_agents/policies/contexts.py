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
    """

    llama: FusedLlama
    norm: torch.Tensor

    @classmethod
    def of(cls, model: LlamaForCausalLM) -> ContextEngine:
        """The engine of a model that `llm_morl_agents.policies.llama.unsupported` accepts."""
        with torch.inference_mode():
            norm: Any = model.model.norm.weight
            return cls(fuse(model), cast(torch.Tensor, norm.detach().clone()))

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
            hidden = torch.as_tensor(np.arange(seen) > positions[..., None], device=device)  # (M, S, seen)
            bias = torch.zeros(hidden.shape, device=device).masked_fill_(hidden, -torch.inf)[:, None]
        # Of the new tokens that are no padding: where they stand in the batch, and where their keys are kept.
        batch_row, batch_at = (torch.as_tensor(i, device=device) for i in np.nonzero(np.arange(s) < counts[:, None]))
        row = torch.as_tensor(rows, device=device)
        kept_row, kept_at = row[batch_row], torch.as_tensor(positions, device=device)[batch_row, batch_at]
        x = llama.embed(torch.as_tensor(ids, device=device))
        rotation = llama.rotation(torch.as_tensor(positions, device=device))
        in_order = m == len(self.lengths) and bool((rows == np.arange(m)).all())
        for layer, (kept_k, kept_v) in zip(llama.layers, self._kept, strict=True):
            q, k, v = llama.attention_inputs(layer, x, rotation)
            kept_k[kept_row, :, kept_at] = k[batch_row, batch_at]
            kept_v[kept_row, :, kept_at] = v[batch_row, batch_at]
            keys, values = kept_k[:, :, :seen], kept_v[:, :, :seen]
            attended = functional.scaled_dot_product_attention(
                q.transpose(1, 2),
                keys if in_order else keys[row],
                values if in_order else values[row],
                attn_mask=bias,
                scale=1.0,
                enable_gqa=llama.heads != llama.kv_heads,
            )
            x = llama.rest_of_block(layer, x, attended.transpose(1, 2).flatten(2))
        self.lengths[rows] = before + counts
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
