"""The fast engine for plain Llama models: a hand-written forward pass over the parameters of the transformers module.

Shapes: P prompts of up to L tokens, N responses of up to T, B sequences, C hidden, H heads, D head size, V vocabulary.
The transformers module keeps the parameters, so autograd, optimizers and ``save_pretrained`` see nothing new. All of it
is exact; what makes it faster on the CPU, where a small model spends its time in many small operations:

- each prompt is read once for all responses to it, in training too, where its keys and values carry gradients;
- logits are computed at real response tokens only;
- query, key and value, and gate and up, are one matrix product each; norm weights and the 1/sqrt(D) of the attention
  are folded into the matrices behind them;
- rotary positions (RoFormer, Su et al. 2021, equation 34) are one complex product: the rows of the query and key
  matrices are interleaved, so that the pairs (i, i + D/2) that transformers rotates lie side by side. Scores do not
  change under a permutation that queries and keys share.
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

from llm_morl_agents.policies.hf import HFPolicy, pad


def unsupported(model: torch.nn.Module) -> str | None:
    """Why the fast engine cannot run this model, or None if it can."""
    if type(model) is not LlamaForCausalLM:
        return f"it is a {type(model).__name__}, not a LlamaForCausalLM"
    config: Any = model.config
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    rules = {
        "its parameters are not float32": any(p.dtype != torch.float32 for p in model.parameters()),
        "it has biases": config.attention_bias or config.mlp_bias,
        "it has attention dropout": config.attention_dropout != 0,
        f"its activation is {config.hidden_act!r}, not silu": config.hidden_act != "silu",
        "it scales its rotary positions": rope.get("rope_type", rope.get("type", "default")) != "default",
        "it rotates part of each head": rope.get("partial_rotary_factor", 1.0) != 1.0,
    }
    return next((reason for reason, broken in rules.items() if broken), None)


@dataclass(frozen=True)
class Layer:
    """Matrices of one block, fused; differentiable functions of the module's parameters."""

    qkv: torch.Tensor  # ((H + 2 H_kv) D, C)
    out: torch.Tensor  # (C, H D)
    gate_up: torch.Tensor  # (2 I, C)
    down: torch.Tensor  # (C, I)


@dataclass(frozen=True)
class FusedLlama:
    """A Llama's matrices, fused once for each call, and the operations that decoding and training share."""

    embedding: torch.Tensor  # (V, C)
    layers: tuple[Layer, ...]
    head: torch.Tensor  # (V, C)
    inverse_frequency: torch.Tensor  # (D / 2,)
    padding_id: int | None
    heads: int
    kv_heads: int
    eps: float

    @property
    def head_dim(self) -> int:
        """D."""
        return 2 * len(self.inverse_frequency)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Residual stream (..., C) at the entrance. As in the module, the padding row gets no gradient here."""
        return functional.embedding(ids, self.embedding, padding_idx=self.padding_id)

    def rotation(self, positions: torch.Tensor) -> torch.Tensor:
        """Rotary factors exp(i position frequency), complex (..., 1, D / 2), of positions (...)."""
        angle = positions[..., None, None].float() * self.inverse_frequency
        return torch.polar(torch.ones_like(angle), angle)

    def normed(self, x: torch.Tensor) -> torch.Tensor:
        """RMS norm without its weight, which is in the matrix behind it."""
        return functional.rms_norm(x, x.shape[-1:], eps=self.eps)

    def attention_inputs(
        self, layer: Layer, x: torch.Tensor, rotation: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rotated queries (..., H, D), rotated keys and values (..., H_kv, D) of the residual stream (..., C)."""
        rows, dim = x.shape[:-1], self.head_dim
        qkv = functional.linear(self.normed(x), layer.qkv)
        qk, v = qkv.tensor_split([(self.heads + self.kv_heads) * dim], dim=-1)
        pairs = torch.view_as_complex(qk.reshape(*rows, self.heads + self.kv_heads, dim // 2, 2))
        qk = torch.view_as_real(pairs * rotation).flatten(-2)
        return qk[..., : self.heads, :], qk[..., self.heads :, :], v.reshape(*rows, self.kv_heads, dim)

    def rest_of_block(self, layer: Layer, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """The residual stream (..., C) after the block, from the heads' outputs (..., H D)."""
        x = x + functional.linear(attended, layer.out)
        gate, up = functional.linear(self.normed(x), layer.gate_up).chunk(2, dim=-1)
        return x + functional.linear(functional.silu(gate) * up, layer.down)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (..., V) of the residual stream (..., C)."""
        return functional.linear(self.normed(x), self.head)


def fuse(model: LlamaForCausalLM) -> FusedLlama:
    """The fused matrices of a supported model; cheap beside one forward pass, and differentiable."""
    config: Any = model.config
    dim = config.head_dim
    pairs = torch.arange(dim, device=model.device).view(2, dim // 2).T.reshape(-1)  # 0, D/2, 1, D/2 + 1, ...
    layers = []
    for block in model.model.layers:
        attention, mlp = block.self_attn, block.mlp
        q = attention.q_proj.weight.unflatten(0, (-1, dim))[:, pairs].flatten(0, 1) * dim**-0.5
        k = attention.k_proj.weight.unflatten(0, (-1, dim))[:, pairs].flatten(0, 1)
        layers.append(
            Layer(
                qkv=torch.cat([q, k, attention.v_proj.weight]) * block.input_layernorm.weight,
                out=attention.o_proj.weight,
                gate_up=torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * block.post_attention_layernorm.weight,
                down=mlp.down_proj.weight,
            )
        )
    return FusedLlama(
        embedding=model.model.embed_tokens.weight,
        layers=tuple(layers),
        head=model.lm_head.weight * model.model.norm.weight,
        inverse_frequency=model.model.rotary_emb.inv_freq,
        padding_id=model.model.embed_tokens.padding_idx,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        eps=config.rms_norm_eps,
    )


KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


def run_sequences(llama: FusedLlama, ids: torch.Tensor) -> tuple[torch.Tensor, KeysValues]:
    """Residual stream (B, L, C) of right-padded sequences (B, L), and keys and values (B, H_kv, L, D) of every layer.

    Padding behind a sequence needs no mask: under causal attention no real token sees it.
    """
    x = llama.embed(ids)
    rotation = llama.rotation(torch.arange(ids.shape[1], device=ids.device))
    cache = []
    for layer in llama.layers:
        q, k, v = (part.transpose(1, 2) for part in llama.attention_inputs(layer, x, rotation))
        attended = _attend(q, k, v, causal=True)
        x = llama.rest_of_block(layer, x, attended)
        cache.append((k, v))
    return x, cache


def run_responses(
    llama: FusedLlama, ids: torch.Tensor, prefix: KeysValues, prefix_length: torch.Tensor, group: torch.Tensor
) -> torch.Tensor:
    """Residual stream (N, T, C) of right-padded responses (N, T) behind the prompts (P, ...) that ``group`` names."""
    n, t = ids.shape
    length = prefix_length[group]
    longest = prefix[0][0].shape[2]
    seen = torch.arange(longest, device=ids.device) < length[:, None]
    causal = torch.ones(t, t, dtype=torch.bool, device=ids.device).tril()
    mask = torch.cat([seen[:, None].expand(n, t, longest), causal.expand(n, t, t)], dim=2)[:, None]
    bias = torch.zeros(mask.shape, device=ids.device).masked_fill(~mask, -torch.inf)
    x = llama.embed(ids)
    rotation = llama.rotation(length[:, None] + torch.arange(t, device=ids.device))
    for layer, (prefix_k, prefix_v) in zip(llama.layers, prefix, strict=True):
        q, k, v = (part.transpose(1, 2) for part in llama.attention_inputs(layer, x, rotation))
        k = torch.cat([prefix_k[group], k], dim=2)
        v = torch.cat([prefix_v[group], v], dim=2)
        x = llama.rest_of_block(layer, x, _attend(q, k, v, bias=bias))
    return x


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, bias: torch.Tensor | None = None, causal: bool = False
) -> torch.Tensor:
    """Outputs (B, S, H D) of queries (B, H, S, D); their scale is in the query matrix already."""
    attended = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, is_causal=causal, scale=1.0, enable_gqa=q.shape[1] != k.shape[1]
    )
    return attended.transpose(1, 2).flatten(2)


def sequence_logits(model: LlamaForCausalLM, ids: torch.Tensor, at: torch.Tensor | None = None) -> torch.Tensor:
    """Logits of whole right-padded sequences, differentiable: the forward pass of supervised training.

    Args:
        model: A model that `unsupported` accepts.
        ids: int64 (B, L), right-padded with any valid id.
        at: bool (B, L), the positions wanted, for example those that predict a target; None for all.

    Returns:
        (B, L, V); with ``at``, (M, V) for its M True entries in row order. Logits at padding mean nothing.
    """
    llama = fuse(model)
    x, _ = run_sequences(llama, ids)
    return llama.logits(x if at is None else x[at])


class LlamaPolicy(HFPolicy):
    """A policy over the fast engine, for models that `unsupported` accepts."""

    def _fused(self) -> FusedLlama:
        return fuse(cast(LlamaForCausalLM, self.model))

    def _decoder(self, prompt_ids: Sequence[Sequence[int]], group: NDArray[np.int64], steps: int) -> LlamaDecoder:
        return LlamaDecoder(self._fused(), prompt_ids, torch.as_tensor(group, device=self.device), steps)

    def _response_logits(
        self, prompt_ids: Sequence[Sequence[int]], group: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        return response_logits(self._fused(), prompt_ids, group, ids, mask)


def response_logits(
    llama: FusedLlama,
    prompt_ids: Sequence[Sequence[int]],
    group: torch.Tensor,
    ids: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor:
    """Logits (M, V) of the M real tokens of right-padded responses (N, T), in the order of ``mask``; differentiable.

    Args:
        llama: The matrices.
        prompt_ids: P prompts.
        group: int64 (N,), the prompt of each response.
        ids: int64 (N, T).
        mask: bool (N, T), a prefix of each row.
    """
    prompts, prompt_mask = pad(prompt_ids, 0, group.device, left=False)
    length = prompt_mask.sum(dim=1)
    x, prefix = run_sequences(llama, prompts)
    # Token 0 is predicted at the prompt's last position, token t at response position t - 1.
    x = x[torch.arange(len(x), device=x.device), length - 1][group][:, None]
    if ids.shape[1] > 1:
        x = torch.cat([x, run_responses(llama, ids[:, :-1], prefix, length, group)], dim=1)
    return llama.logits(x[mask])


class LlamaDecoder:
    """Incremental decoding: each prompt is read once, and its keys and values are shared by its rows, never copied.

    Attention has two parts. For the prompt, the M rows are laid out as a grid, prompts by R rows (the most that a
    prompt has), so that the keys of a prompt meet all its queries in one product. For the response, each row has slots
    of its own, preallocated. One softmax runs over both. `keep` drops rows, and prompts without rows.
    """

    def __init__(self, llama: FusedLlama, prompt_ids: Sequence[Sequence[int]], group: torch.Tensor, steps: int) -> None:
        self.llama, self.group = llama, group
        self.prompts, self.prompt_mask = pad(prompt_ids, 0, group.device, left=False)
        self.slot = 0  # of the next response token, the same for all rows; their positions differ
        self.position = self.prompt_mask.sum(dim=1)[group]
        shape = (len(llama.layers), 2, len(group), llama.kv_heads, steps, llama.head_dim)
        self.own = torch.empty(shape, device=group.device)
        self.prefix: list[tuple[torch.Tensor, torch.Tensor]] = []

    def prefill(self) -> torch.Tensor:
        """Read the prompts; logits (N, V)."""
        x, prefix = run_sequences(self.llama, self.prompts)
        self.prefix = [(k.contiguous(), v.contiguous()) for k, v in prefix]  # (P, H_kv, L, D)
        last = x[torch.arange(len(x), device=x.device), self.prompt_mask.sum(dim=1) - 1]
        logits = self.llama.logits(last)[self.group]
        self._arrange()
        return logits

    def _arrange(self) -> None:
        """Drop prompts without rows and lay out the grid: rows of one prompt side by side, gaps filled with row 0."""
        used, self.group, count = torch.unique(self.group, return_inverse=True, return_counts=True)
        if len(used) < len(self.prompt_mask):
            self.prompt_mask = self.prompt_mask[used]
            self.prefix = [(k[used], v[used]) for k, v in self.prefix]
        m, width = len(self.group), int(count.max())
        order = self.group.argsort(stable=True)
        place = torch.empty_like(order)  # of row i within its prompt
        place[order] = torch.arange(m, device=order.device) - (count.cumsum(0) - count)[self.group[order]]
        self.cell = self.group * width + place  # (M,)
        self.grid = order.new_zeros(len(used) * width).index_copy(0, self.cell, torch.arange(m, device=order.device))
        self.is_grid = torch.equal(self.cell, torch.arange(m, device=order.device)) and len(self.grid) == m
        hidden = ~self.prompt_mask[:, None, None]
        self.bias = torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden, -torch.inf)  # (P, 1, 1, L)

    def _to_grid(self, rows: torch.Tensor) -> torch.Tensor:
        """(M, H_kv, H / H_kv, E) as (P, H_kv, R H / H_kv, E)."""
        cells = rows if self.is_grid else rows.index_select(0, self.grid)
        return cells.reshape(len(self.prompt_mask), -1, *rows.shape[1:]).transpose(1, 2).flatten(2, 3)

    def _from_grid(self, cells: torch.Tensor) -> torch.Tensor:
        """The reverse of `_to_grid`."""
        p, kv_heads, _, size = cells.shape
        ratio = self.llama.heads // kv_heads
        rows = cells.reshape(p, kv_heads, -1, ratio, size).transpose(1, 2).flatten(0, 1)
        return rows if self.is_grid else rows.index_select(0, self.cell)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append (M,) tokens; logits (M, V)."""
        llama, m, now = self.llama, len(tokens), self.slot
        length = self.prompt_mask.shape[1]
        x = llama.embed(tokens)
        rotation = llama.rotation(self.position)
        for layer, (prefix_k, prefix_v), (own_k, own_v) in zip(llama.layers, self.prefix, self.own, strict=True):
            q, k, v = llama.attention_inputs(layer, x, rotation)  # (M, H, D), (M, H_kv, D) twice
            own_k[:, :, now], own_v[:, :, now] = k, v
            q = q.reshape(m, llama.kv_heads, -1, llama.head_dim)  # heads that share keys side by side
            prompt_scores = (self._to_grid(q) @ prefix_k.transpose(2, 3)).add_(self.bias)
            own_scores = q @ own_k[:, :, : now + 1].transpose(2, 3)
            share = torch.cat([self._from_grid(prompt_scores), own_scores], dim=-1).softmax(dim=-1)
            attended = self._from_grid(self._to_grid(share[..., :length]) @ prefix_v)
            attended = attended + share[..., length:] @ own_v[:, :, : now + 1]
            x = llama.rest_of_block(layer, x, attended.reshape(m, -1))
        self.slot, self.position = now + 1, self.position + 1
        return llama.logits(x)

    def keep(self, rows: torch.Tensor) -> None:
        """Select rows (M',) and rearrange the grid."""
        layers, two, _, kv_heads, steps, dim = self.own.shape
        own = self.own.new_empty(layers, two, len(rows), kv_heads, steps, dim)
        own[..., : self.slot, :] = self.own[..., : self.slot, :].index_select(2, rows)
        self.own, self.group, self.position = own, self.group[rows], self.position[rows]
        self._arrange()
