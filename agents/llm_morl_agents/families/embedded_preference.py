"""Preferences as a soft token: a learned map from weights to an embedding that stands before the prompt.

Shapes: P prompts, U distinct preferences among them, K objectives, B sequences of L tokens, C hidden, V vocabulary. In
``prompt_ids`` a preference is one token id at V or above, which encodes the weights to three decimals. So batches,
dialogues and updates carry it as they carry any token, and no interface of the policy changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from llm_morl_agents.families.preferences import on_lattice, taken_apart
from llm_morl_agents.policies.hf import HFDecoder, HFPolicy, forward, pad
from llm_morl_agents.policies.llama import FusedLlama, LlamaDecoder, LlamaPolicy, fuse, response_logits
from llm_morl_agents.policy import Policy

#: A weight is n parts of so many.
PARTS = 1000
#: More objectives would not fit in an int64.
MAX_OBJECTIVES = 6
#: The map's name in the model, and so in ``state_tensors``.
MAP = "preference_map"


class PreferenceMap(nn.Module):
    """``e(w) = W w``, (U, K) to (U, C): an interpolation of K learned embeddings, one an objective.

    Args:
        n_objectives: K.
        hidden_size: C.
        scale: Standard deviation of W at the start.
        seed: Of W.
    """

    def __init__(self, n_objectives: int, hidden_size: int, *, scale: float, seed: int = 0) -> None:
        super().__init__()
        drawn = torch.randn(hidden_size, n_objectives, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(scale * drawn)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Embeddings of weights."""
        return functional.linear(weights, self.weight)


def token_of(weights: ArrayLike, vocab_size: int) -> int:
    """The token id that stands for weights (K,) of sum 1, rounded to multiples of ``1 / PARTS``.

    >>> weights_of_token(token_of([0.25, 0.75], vocab_size=7), 2, vocab_size=7).tolist()
    [0.25, 0.75]
    """
    counts: list[int] = np.rint(on_lattice(weights, PARTS) * PARTS).astype(np.int64).tolist()
    return vocab_size + sum(count * int((PARTS + 1) ** k) for k, count in enumerate(counts))


def weights_of_token(token: int, k: int, *, vocab_size: int) -> NDArray[np.float64]:
    """The reverse of `token_of`.

    Raises:
        ValueError: If the token stands for no weights.
    """
    rest, counts = int(token) - vocab_size, []
    for _ in range(k):
        counts.append(rest % (PARTS + 1))
        rest //= PARTS + 1
    if token < vocab_size or rest or sum(counts) != PARTS:
        raise ValueError(f"token {token} before a prompt stands for no preference of {k} objectives")
    return np.array(counts) / PARTS


class _Preferring(HFPolicy):
    """What both engines share: prompts whose first token is a preference."""

    @property
    def preference_map(self) -> PreferenceMap:
        """The map; a module of the model's, so that optimizer, checkpoints and copies hold it."""
        return cast(PreferenceMap, self.model.get_submodule(MAP))

    def encode_prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts that `PreferenceApart` made: the preference, then the prompt.

        Raises:
            ValueError: If a prompt carries no preference, or one of another number of objectives.
        """
        parts = [taken_apart(prompt) for prompt in prompts]
        k = self.preference_map.weight.shape[1]
        for weights, _ in parts:
            if len(weights) != k:
                raise ValueError(f"the policy is conditioned on {k} weights, the prompt carries {len(weights)}")
        encoded = super().encode_prompts([prompt for _, prompt in parts])
        tokens = [token_of(weights / weights.sum(), self.vocab_size) for weights, _ in parts]
        return [[token, *ids] for token, ids in zip(tokens, encoded, strict=True)]

    def _renumbered(self, prompt_ids: Sequence[Sequence[int]]) -> tuple[list[list[int]], torch.Tensor]:
        """Prompts whose first token is V + u, and the embeddings (U, C) that these stand for."""
        k, vocab = self.preference_map.weight.shape[1], self.vocab_size
        tokens, index = np.unique([ids[0] for ids in prompt_ids], return_inverse=True)
        weights = np.array([weights_of_token(token, k, vocab_size=vocab) for token in tokens.tolist()])
        parameter = self.preference_map.weight
        soft = self.preference_map(torch.as_tensor(weights, dtype=parameter.dtype, device=parameter.device))
        return [[vocab + u, *ids[1:]] for u, ids in zip(index.tolist(), prompt_ids, strict=True)], soft

    def save_pretrained(self, path: str | Path) -> None:
        """Refused: a directory of transformers has no place for the map.

        Raises:
            ValueError: Always.
        """
        raise ValueError("a policy with embedded preferences is saved by its family's save, not as a directory")


class LlamaPreferencePolicy(_Preferring, LlamaPolicy):
    """Over the fast engine: the embeddings are further rows of its table."""

    def _conditioned(self, prompt_ids: Sequence[Sequence[int]]) -> tuple[FusedLlama, list[list[int]]]:
        llama = fuse(cast(LlamaForCausalLM, self.model))
        prompts, soft = self._renumbered(prompt_ids)
        return replace(llama, embedding=torch.cat([llama.embedding, soft])), prompts

    def _decoder(self, prompt_ids: Sequence[Sequence[int]], group: NDArray[np.int64], steps: int) -> LlamaDecoder:
        llama, prompts = self._conditioned(prompt_ids)
        return LlamaDecoder(llama, prompts, torch.as_tensor(group, device=self.device), steps)

    def _response_logits(
        self, prompt_ids: Sequence[Sequence[int]], group: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        llama, prompts = self._conditioned(prompt_ids)
        return response_logits(llama, prompts, group, ids, mask)


class HFPreferencePolicy(_Preferring):
    """Over the forward pass of transformers, by ``inputs_embeds``."""

    def embedded(self, ids: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, L, C) of ids (B, L), of which V + u stand for row u of ``soft``."""
        is_soft = ids >= self.vocab_size
        table: Any = self.model.get_input_embeddings()
        words: torch.Tensor = table(ids.masked_fill(is_soft, self.pad_id))
        rows = soft.to(words.dtype)[(ids - self.vocab_size).clamp(min=0)]
        return torch.where(is_soft[..., None], rows, words)

    def _decoder(self, prompt_ids: Sequence[Sequence[int]], group: NDArray[np.int64], steps: int) -> HFDecoder:
        return _EmbeddedDecoder(self, prompt_ids, torch.as_tensor(group, device=self.device))

    def _response_logits(
        self, prompt_ids: Sequence[Sequence[int]], group: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        renumbered, soft = self._renumbered(prompt_ids)
        prompts, prompt_mask = pad(renumbered, self.pad_id, self.device, left=True)
        attention = torch.cat([prompt_mask[group], mask], dim=1)
        inputs = self.embedded(torch.cat([prompts[group], ids], dim=1), soft)
        t = ids.shape[1]
        logits = forward(self.model, inputs, attention, keep=t + 1, use_cache=False).logits
        response: torch.Tensor = logits[:, -t - 1 : -1][mask]
        return response


class _EmbeddedDecoder(HFDecoder):
    """A decoder whose prompts are embeddings; responses are tokens."""

    def __init__(self, policy: HFPreferencePolicy, prompt_ids: Sequence[Sequence[int]], group: torch.Tensor) -> None:
        renumbered, soft = policy._renumbered(prompt_ids)
        super().__init__(policy.model, renumbered, group, policy.pad_id)
        self.prompts = policy.embedded(self.prompts, soft)


def with_embedded_preference(policy: Policy, n_objectives: int, *, seed: int = 0) -> Policy:
    """The policy with a preference map beside its parameters, all trained together.

    The model is the given one, which gets the map as a module: the given policy is not to be used any more.

    Args:
        policy: Of `llm_morl_agents.load_policy`.
        n_objectives: K.
        seed: Of the map. Its embeddings begin as large as the model's own.

    Raises:
        ValueError: If there are more than `MAX_OBJECTIVES`, or the model has a map already.
        TypeError: If the policy is of another engine.
    """
    if n_objectives > MAX_OBJECTIVES:
        raise ValueError(f"embedded preferences hold up to {MAX_OBJECTIVES} objectives, got {n_objectives}")
    if not isinstance(policy, HFPolicy):
        raise TypeError(f"with_embedded_preference(policy=) must come from load_policy, got {policy!r}")
    if hasattr(policy.model, MAP):
        raise ValueError("with_embedded_preference: the policy's model has a preference map already")
    table: Any = policy.model.get_input_embeddings()
    words: torch.Tensor = table.weight.detach().float()
    made = PreferenceMap(n_objectives, words.shape[1], scale=float(words.std()), seed=seed)
    policy.model.add_module(MAP, made.to(device=words.device))
    engine = LlamaPreferencePolicy if isinstance(policy, LlamaPolicy) else HFPreferencePolicy
    conditioned = engine(policy.model, policy.tokenizer, policy.name_or_path)
    conditioned.load_options = policy.load_options
    return conditioned
