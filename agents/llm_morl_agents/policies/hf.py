"""`HFPolicy`: any causal language model of transformers, through its own forward pass.

Shapes: P prompts, N responses, T response tokens, L prompt tokens (left-padded), V vocabulary. What was left out:
models whose cache is not indexed by row and position (state-space models), encoder-decoders, and quantised loading.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from llm_morl_agents.generate import Decoder, alike_in_length, generate_responses, merge, used_prompts
from llm_morl_agents.policy import Generation, Policy, Sampling, TokenStats, Uniforms

DTYPES = ("float32", "bfloat16", "float16", "auto")


class HFPolicy(Policy):
    """A policy over the forward pass of transformers: any model, at its speed.

    Generation reads each prompt once and repeats its cache for the responses to it; training reads prompt and response
    of every row.
    """

    def generate(
        self,
        prompt_ids: Sequence[Sequence[int]],
        group: NDArray[np.int64],
        sampling: Sampling,
        uniforms: Uniforms,
    ) -> Generation:
        """See `Policy.generate`."""
        prompts, index = used_prompts(prompt_ids, group)
        check_length(self.model, prompts, sampling.max_new_tokens)
        if not len(index):
            return empty_generation()
        uniforms = torch.as_tensor(uniforms)
        parts = []
        for like in alike_in_length(prompts):
            rows = np.flatnonzero(np.isin(index, like))
            part_prompts, part_index = used_prompts(prompts, index[rows])
            parts.append((rows, self._generate(part_prompts, part_index, sampling, uniforms[rows])))
        return parts[0][1] if len(parts) == 1 else merge(parts, self.pad_id)

    @torch.no_grad()
    def _generate(
        self,
        prompts: Sequence[Sequence[int]],
        index: NDArray[np.int64],
        sampling: Sampling,
        uniforms: torch.Tensor,
    ) -> Generation:
        return generate_responses(
            self._decoder(prompts, index, sampling.max_new_tokens),
            uniforms,
            sampling,
            n=len(index),
            eos_ids=self.eos_ids,
            pad_id=self.pad_id,
            decode=self.decode,
            device=self.device,
        )

    def _decoder(self, prompt_ids: Sequence[Sequence[int]], group: NDArray[np.int64], steps: int) -> Decoder:
        return HFDecoder(self.model, prompt_ids, torch.as_tensor(group, device=self.device), self.pad_id)

    def token_stats(
        self,
        prompt_ids: Sequence[Sequence[int]],
        group: NDArray[np.int64],
        response_ids: NDArray[np.int64],
        response_mask: NDArray[np.bool_],
        *,
        temperature: float = 1.0,
        entropy: bool = False,
    ) -> TokenStats:
        """See `Policy.token_stats`."""
        prompts, index = used_prompts(prompt_ids, group)
        ids, mask = check_responses(len(index), response_ids, response_mask, self.device)
        if not mask.numel():
            none = torch.zeros(mask.shape, device=self.device)
            return TokenStats(none, none if entropy else None)
        # The longest row counts, padding does not: a short prompt may have a dialogue behind it, a long one none.
        lengths = mask.sum(dim=1).cpu().numpy()
        longest = int(np.argmax(lengths + np.array([len(prompts[p]) for p in index])))
        check_length(self.model, [prompts[index[longest]]], int(lengths[longest]))
        logits = self._response_logits(prompts, torch.as_tensor(index, device=self.device), ids, mask)
        return stats_of_logits(logits, ids, mask, temperature=temperature, entropy=entropy)

    def _response_logits(
        self, prompt_ids: Sequence[Sequence[int]], group: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Logits (M, V) of the M real response tokens, in the order of ``mask``."""
        prompts, prompt_mask = pad(prompt_ids, self.pad_id, self.device, left=True)
        attention = torch.cat([prompt_mask[group], mask], dim=1)
        tokens = torch.cat([prompts[group], ids], dim=1)
        t = ids.shape[1]
        logits = forward(self.model, tokens, attention, keep=t + 1, use_cache=False).logits
        response: torch.Tensor = logits[:, -t - 1 : -1][mask]
        return response


class HFDecoder:
    """Incremental decoding with transformers' dynamic cache, one prefill for all rows of a prompt."""

    def __init__(
        self, model: PreTrainedModel, prompt_ids: Sequence[Sequence[int]], group: torch.Tensor, pad_id: int
    ) -> None:
        self.model, self.group = model, group
        self.prompts, self.mask = pad(prompt_ids, pad_id, group.device, left=True)
        self.cache: Any = None

    def prefill(self) -> torch.Tensor:
        """Read the prompts; logits (N, V)."""
        output = forward(self.model, self.prompts, self.mask, keep=1, use_cache=True)
        self.cache = output.past_key_values
        self.keep(self.group)  # a selection with repetition: prompt -> rows
        logits: torch.Tensor = output.logits[:, -1][self.group]
        return logits

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append (M,) tokens; logits (M, V)."""
        self.mask = functional.pad(self.mask, (0, 1), value=True)
        output = forward(self.model, tokens[:, None], self.mask, keep=1, use_cache=True, cache=self.cache)
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def keep(self, rows: torch.Tensor) -> None:
        """Select rows of cache and mask."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]


def forward(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    attention: torch.Tensor,
    *,
    keep: int,
    use_cache: bool,
    cache: Any = None,
) -> Any:
    """The model's forward pass with positions that count real tokens only.

    Args:
        model: Any causal language model.
        tokens: int64 (B, S), the last S positions of ``attention``; or their embeddings, (B, S, C).
        attention: bool (B, L), True on real tokens.
        keep: Logits of this many last positions are needed; a model that cannot restrict them gives all.
        use_cache: Whether to return a cache.
        cache: That of the L - S positions before.
    """
    accepted = inspect.signature(getattr(model, "get_base_model", lambda: model)().forward).parameters
    mask = attention.long()
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    optional = {"position_ids": positions, "logits_to_keep": keep}
    inputs = "inputs_embeds" if tokens.is_floating_point() else "input_ids"
    return model(
        attention_mask=mask,
        past_key_values=cache,
        use_cache=use_cache,
        **{inputs: tokens},
        **{name: value for name, value in optional.items() if name in accepted},
    )


def stats_of_logits(
    logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, *, temperature: float, entropy: bool
) -> TokenStats:
    """`TokenStats` from the logits (M, V) of the M tokens where ``mask`` (N, T) is True.

    Raises:
        ValueError: If the temperature is not above 0.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"token_stats(temperature=) must be finite and above 0, got {temperature!r}")
    scaled = logits.float() if temperature == 1 else logits.float() / temperature
    logprobs = -functional.cross_entropy(scaled, ids[mask], reduction="none")
    entropies = None
    if entropy:
        log_p = scaled.log_softmax(dim=-1)
        entropies = _scatter(-(log_p.exp() * log_p).sum(dim=-1), mask)
    return TokenStats(_scatter(logprobs, mask), entropies)


def _scatter(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)


def pad(
    sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device, *, left: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences as int64 (B, L) and their bool mask (B, L)."""
    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(sequences), longest), dtype=np.bool_)
    for row, sequence in enumerate(sequences):
        at = slice(longest - len(sequence), None) if left else slice(0, len(sequence))
        ids[row, at], mask[row, at] = sequence, True
    return torch.as_tensor(ids, device=device), torch.as_tensor(mask, device=device)


def check_responses(
    n: int, response_ids: Any, response_mask: Any, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Responses as tensors int64 (N, T) and bool (N, T).

    Raises:
        ValueError: If the shapes differ from each other or from ``n`` rows, or a mask is not a prefix of its row.
    """
    ids = torch.as_tensor(response_ids, dtype=torch.int64, device=device)
    mask = torch.as_tensor(response_mask, dtype=torch.bool, device=device)
    if ids.ndim != 2 or ids.shape != mask.shape or len(ids) != n:
        raise ValueError(
            f"response_ids and response_mask must both have shape ({n}, T), "
            f"got {tuple(ids.shape)} and {tuple(mask.shape)}"
        )
    holes = (mask[:, 1:] & ~mask[:, :-1]).any(dim=-1)
    if holes.any():
        raise ValueError(f"response_mask must be a prefix of each row; row {int(holes.nonzero()[0])} has a hole")
    return ids, mask


def check_length(model: PreTrainedModel, prompt_ids: Sequence[Sequence[int]], response_tokens: int) -> None:
    """Refuse what would run past the model's positions.

    Raises:
        ValueError: If the longest prompt and response together exceed ``max_position_embeddings``.
    """
    limit = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, prompt_ids), default=0)
    if limit is not None and longest + response_tokens > limit:
        raise ValueError(
            f"a prompt of {longest} tokens and a response of up to {response_tokens} exceed the model's "
            f"max_position_embeddings={limit}; shorten the prompts or max_new_tokens"
        )


def empty_generation() -> Generation:
    """The generation of no rows."""
    none = (0, 0)
    return Generation(
        np.zeros(none, np.int64), np.zeros(none, np.bool_), np.zeros(none, np.float32), (), np.zeros(0, np.bool_)
    )


def load_model(
    path: str, *, device: str | torch.device, dtype: str, lora: Mapping[str, Any] | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of a directory or hub id. Arguments and errors as `load_policy` has them."""
    try:
        with _quiet_if_small(path):
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
        tokenizer = _load_tokenizer(path)
    except OSError as error:
        raise OSError(f"load_policy(source={path!r}): cannot load a model and its tokenizer: {error}") from error
    return prepare_model(model, device=device, lora=lora), tokenizer


def prepare_model(
    model: PreTrainedModel, *, device: str | torch.device, lora: Mapping[str, Any] | None
) -> PreTrainedModel:
    """The model on its device, with LoRA adapters where they are asked for."""
    model = model if lora is None else _with_lora(model, lora)
    torch.nn.Module.to(model, torch.device(device))  # transformers' own `to` is annotated wrongly
    return model


@contextmanager
def _quiet_if_small(path: str) -> Iterator[None]:
    """Without transformers' progress bar for local weights below 100 MB, which are there before a bar is drawn."""
    sizes = [file.stat().st_size for file in Path(path).glob("*.safetensors")]
    bars: Any = transformers_logging  # transformers leaves these functions untyped
    quiet = bool(sizes) and sum(sizes) < 100e6 and bars.is_progress_bar_enabled()
    if quiet:
        bars.disable_progress_bar()
    try:
        yield
    finally:
        if quiet:
            bars.enable_progress_bar()


def _load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """What ``AutoTokenizer`` gives, but a directory that declares its tokenizer.json to be generic is believed.

    For some architectures (Qwen2 among them) ``AutoTokenizer`` of transformers 5 puts the pre-tokenizer of the
    architecture in the place of the file's, so that a model trained on its own vocabulary would read other tokens.
    """
    config = Path(path) / "tokenizer_config.json"
    declared = json.loads(config.read_text(encoding="utf-8")).get("tokenizer_class") if config.is_file() else None
    generic = declared in ("PreTrainedTokenizerFast", "TokenizersBackend")
    loader: Any = PreTrainedTokenizerFast if generic else AutoTokenizer
    tokenizer: PreTrainedTokenizerBase = loader.from_pretrained(path)
    return tokenizer


def _with_lora(model: PreTrainedModel, lora: Mapping[str, Any]) -> PreTrainedModel:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError(
            "load_policy(lora=) needs peft, which is not installed: pip install llm-morl-env[peft]"
        ) from error
    with torch.random.fork_rng(devices=[]):  # peft draws the adapters from the global generator
        torch.manual_seed(0)
        adapted: Any = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
    return cast(PreTrainedModel, adapted)  # a module that passes the model's methods on
