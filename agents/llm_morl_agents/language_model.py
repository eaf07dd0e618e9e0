"""`load_language_model`: a frozen causal language model for the environments' views, over their own tokenizer.

What `llm_morl_env.language_model` asks for. Models that the fast engine runs read incrementally; every other model of
transformers reads each context anew, which is exact too, and slower the longer the contexts are.

Shapes: P prompts, N responses, M rows that are read, T tokens of a response, V vocabulary, C hidden size.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from llm_morl_agents.generate import used_prompts
from llm_morl_agents.policies.contexts import ContextCache, ContextEngine
from llm_morl_agents.policies.hf import check_length, pad
from llm_morl_agents.policies.llama import LlamaPolicy, run_responses, run_sequences
from llm_morl_agents.policies.load import load_policy, resolve_source
from llm_morl_agents.policy import Generation, Policy, Sampling, draw_uniforms
from llm_morl_env.language_model import Candidate, Reading, Session
from llm_morl_env.tokenizer import TextTokenizer

#: Candidates that are written in one batch, about: more need much memory and are no faster.
WRITTEN_TOGETHER = 512


def load_language_model(name: str, tokenizer: TextTokenizer) -> FrozenLanguageModel:
    """The model of that name, loaded once in a process for each tokenizer.

    Args:
        name: ``"tiny"``, a transformers directory or a hub id, as `llm_morl_agents.policies.load.load_policy` has them;
            or ``"scratch"``, a model with random weights over the given tokenizer (of seed 0: features at random).
        tokenizer: The environment's.

    Raises:
        FileNotFoundError: If there is no such directory.
        OSError: If ``name`` is no directory and cannot be had from the hub.
        ValueError: If the model's vocabulary is another than the tokenizer's.
    """
    source = name if name in ("tiny", "scratch") else resolve_source(name)
    return _load(source, str(tokenizer.path.resolve()))


@cache
def _load(source: str, tokenizer_path: str) -> FrozenLanguageModel:
    policy = load_policy("scratch", tokenizer=tokenizer_path, seed=0) if source == "scratch" else load_policy(source)
    return FrozenLanguageModel(source, policy, tokenizer_path)


class FrozenLanguageModel:
    """A handle on a policy that nobody trains: see `llm_morl_env.language_model.LanguageModel`.

    Contexts are read as the environment's ids, as they are; what the model's tokenizer puts before every text (a
    beginning-of-sequence token, for some models) is put before them. Candidates are written to prompts as
    `Policy.encode_prompts` has them, with a chat template where there is one.

    Args:
        name: What `load_language_model` loads it by: pickles hold no more.
        policy: The model and its tokenizer; frozen here.
        tokenizer_path: Of the environment's tokenizer.

    Raises:
        ValueError: If the vocabularies differ.
    """

    def __init__(self, name: str, policy: Policy, tokenizer_path: str) -> None:
        own = Tokenizer.from_file(tokenizer_path).get_vocab(with_added_tokens=True)
        theirs = policy.tokenizer.get_vocab()
        if own != theirs:
            raise ValueError(
                f"language_model={name!r} has another vocabulary ({len(theirs)} tokens, of "
                f"{policy.tokenizer.name_or_path or name!r}) than the environment's tokenizer ({len(own)} tokens, "
                f"{tokenizer_path}): the same ids would mean other texts"
            )
        policy.model.requires_grad_(False)
        self.name, self.tokenizer_path, self.policy = name, tokenizer_path, policy
        self.vocab_size = len(own)
        self.max_positions: float = getattr(policy.model.config, "max_position_embeddings", None) or float("inf")
        self.prefix: list[int] = list(policy.tokenizer("")["input_ids"])
        self.engine = None
        if isinstance(policy, LlamaPolicy):
            self.engine = ContextEngine.of(cast(LlamaForCausalLM, policy.model))

    @property
    def hidden_size(self) -> int:
        """C."""
        return int(self.policy.model.config.hidden_size)

    def __reduce__(self) -> tuple[Any, ...]:
        return load_language_model, (self.name, TextTokenizer(self.tokenizer_path))

    def __deepcopy__(self, memo: object) -> FrozenLanguageModel:
        return self

    def __repr__(self) -> str:
        return f"load_language_model({self.name!r})"

    def session(self, n_rows: int, max_tokens: int) -> Session:
        """See `llm_morl_env.language_model.LanguageModel.session`."""
        if n_rows < 1 or max_tokens < 1:
            raise ValueError(f"session(n_rows=, max_tokens=) must be at least 1, got {n_rows} and {max_tokens}")
        kind = RereadSession if self.engine is None else CachedSession
        return kind(self, n_rows, max_tokens)

    def reading(self, logits: torch.Tensor, hidden: torch.Tensor) -> Reading:
        """A reading of logits (M, at least V), of which those beyond the tokenizer's entries mean nothing."""
        log_probs = logits[:, : self.vocab_size].float().log_softmax(dim=-1)
        return Reading(log_probs.cpu().numpy(), hidden.float().cpu().numpy())

    def write(
        self,
        prompts: Sequence[str],
        n_candidates: int,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        rngs: Sequence[np.random.Generator],
    ) -> list[list[Candidate]]:
        """See `llm_morl_env.language_model.LanguageModel.write`."""
        if n_candidates < 1:
            raise ValueError(f"write(n_candidates=) must be at least 1, got {n_candidates!r}")
        if len(rngs) != len(prompts):
            raise ValueError(
                f"write(rngs=) must hold one generator for each of {len(prompts)} prompts, got {len(rngs)}"
            )
        sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)
        written: list[list[Candidate]] = []
        together = max(1, WRITTEN_TOGETHER // n_candidates)
        for start in range(0, len(prompts), together):
            some = slice(start, start + together)
            written += self._write(prompts[some], n_candidates, sampling, rngs[some])
        return written

    def _write(
        self, prompts: Sequence[str], n: int, sampling: Sampling, rngs: Sequence[np.random.Generator]
    ) -> list[list[Candidate]]:
        prompt_ids = self.policy.encode_prompts(prompts)
        group = np.repeat(np.arange(len(prompts)), n)
        uniforms = np.concatenate([draw_uniforms(rng, n, sampling.max_new_tokens) for rng in rngs])
        generation = self.policy.generate(prompt_ids, group, sampling, uniforms)
        log_probs, hidden = response_states(self.policy, self.engine, prompt_ids, group, generation)
        rows = zip(generation.texts, log_probs, generation.response_mask, hidden, generation.finished, strict=True)
        candidates = [
            Candidate(text, of_tokens[mask].copy(), mean.copy(), bool(finished))
            for text, of_tokens, mask, mean, finished in rows
        ]
        return [candidates[i : i + n] for i in range(0, len(candidates), n)]


@torch.inference_mode()
def response_states(
    policy: Policy,
    engine: ContextEngine | None,
    prompt_ids: Sequence[Sequence[int]],
    group: NDArray[np.int64],
    generation: Generation,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log-probabilities (N, T) at temperature 1, and mean last hidden states (N, C), of the tokens of N responses."""
    ids, mask = generation.response_ids, generation.response_mask
    log_probs = policy.token_stats(prompt_ids, group, ids, mask).logprobs.float().cpu().numpy()
    prompts, index = used_prompts(prompt_ids, group)
    rows, real = (torch.as_tensor(part, device=policy.device) for part in (ids, mask))
    if engine is not None:
        padded, prompt_mask = pad(prompts, policy.pad_id, policy.device, left=False)
        _, prefix = run_sequences(engine.llama, padded)
        of = torch.as_tensor(index, device=policy.device)
        states = engine.hidden(run_responses(engine.llama, rows, prefix, prompt_mask.sum(dim=1), of))
    else:
        before, prompt_mask = pad([prompts[p] for p in index], policy.pad_id, policy.device, left=True)
        tokens, seen = torch.cat([before, rows], dim=1), torch.cat([prompt_mask, real], dim=1)
        states = _run(policy.model, tokens, seen, keep=1)[1][:, -rows.shape[1] :].float()
    mean = (states * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)
    return log_probs, mean.cpu().numpy()


class CachedSession:
    """A session on the fast engine: keys and values of every context are kept, and new tokens alone are computed."""

    def __init__(self, model: FrozenLanguageModel, n_rows: int, max_tokens: int) -> None:
        assert model.engine is not None  # `FrozenLanguageModel.session` sees to it
        self.model, self.max_tokens = model, max_tokens
        self._cache = ContextCache(model.engine, n_rows)

    def read(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], restart: Sequence[bool]) -> Reading:
        """See `llm_morl_env.language_model.Session.read`."""
        model, engine = self.model, self.model.engine
        assert engine is not None
        lengths = self._cache.lengths
        before = [0 if again else int(lengths[row]) for row, again in zip(rows, restart, strict=True)]
        new = _what_is_new(model, rows, tokens, before, len(lengths), self.max_tokens)
        self._cache.forget([row for row, again in zip(rows, restart, strict=True) if again])
        x = self._cache.append(engine, rows, new)
        with torch.inference_mode():
            return model.reading(engine.llama.logits(x), engine.hidden(x))


class RereadSession:
    """A session on any causal language model of transformers: contexts are kept as ids, and read anew each time."""

    def __init__(self, model: FrozenLanguageModel, n_rows: int, max_tokens: int) -> None:
        self.model, self.max_tokens = model, max_tokens
        self._contexts: list[list[int]] = [[] for _ in range(n_rows)]

    def read(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], restart: Sequence[bool]) -> Reading:
        """See `llm_morl_env.language_model.Session.read`."""
        model, policy = self.model, self.model.policy
        before = [0 if again else len(self._contexts[row]) for row, again in zip(rows, restart, strict=True)]
        new = _what_is_new(model, rows, tokens, before, len(self._contexts), self.max_tokens)
        for row, ids, length in zip(rows, new, before, strict=True):
            self._contexts[row] = [*self._contexts[row][:length], *ids]
        padded, mask = pad([self._contexts[row] for row in rows], policy.pad_id, policy.device, left=True)
        with torch.inference_mode():
            logits, hidden = _run(policy.model, padded, mask, keep=1)
            return model.reading(logits[:, -1], hidden[:, -1])


def _what_is_new(
    model: FrozenLanguageModel,
    rows: Sequence[int],
    tokens: Sequence[Sequence[int]],
    before: Sequence[int],
    n_rows: int,
    max_tokens: int,
) -> list[list[int]]:
    """The tokens to append to contexts of ``before`` tokens, the model's prefix included where one starts."""
    if len(set(rows)) != len(rows) or not rows or not all(0 <= row < n_rows for row in rows):
        raise ValueError(f"read(rows=) must be distinct and lie in 0..{n_rows - 1}, got {list(rows)}")
    new = []
    for row, ids, length in zip(rows, tokens, before, strict=True):
        if not len(ids):
            raise ValueError(f"read(tokens=): nothing is appended to context {row}")
        prefix = [] if length else model.prefix
        if length + len(ids) > max_tokens + len(model.prefix):
            raise ValueError(
                f"read(tokens=): context {row} would have {length + len(ids)} tokens, more than max_tokens={max_tokens}"
            )
        new.append([*prefix, *ids])
        if length + len(new[-1]) > model.max_positions:
            check_length(model.policy.model, [new[-1]], length)
    return new


def _run(model: Any, tokens: torch.Tensor, attention: torch.Tensor, *, keep: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the last ``keep`` positions, and last hidden states (B, L, C), of left-padded sequences (B, L)."""
    mask = attention.long()
    optional = {"position_ids": (mask.cumsum(dim=-1) - 1).clamp(min=0), "logits_to_keep": keep}
    accepted = inspect.signature(model.forward).parameters
    output = model(
        input_ids=tokens,
        attention_mask=mask,
        output_hidden_states=True,
        use_cache=False,
        **{name: value for name, value in optional.items() if name in accepted},
    )
    return output.logits[:, -keep:], output.hidden_states[-1]
