"""`Policy`: a causal language model that generates responses and scores their tokens.

Shapes: P prompts, N responses, T response tokens (right-padded), V vocabulary. Randomness is handed in as uniforms
drawn beforehand, one per response and token, so a response depends on its own row alone: not on the order of the batch,
nor on which neighbours have finished (up to the rounding of matrix products of different height).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Uniforms = NDArray[Any] | torch.Tensor

#: Stands for the response before a reply where a chat template is asked what it writes between the two.
_EARLIER_ANSWER = "the-earlier-answer"


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Args:
        temperature: Divides the logits; above 0. Log-probabilities are those of the tempered distribution.
        top_p: Nucleus: tokens are drawn from the smallest set of at least this mass, in (0, 1]. Log-probabilities stay
            those of the full distribution, so with ``top_p < 1`` importance ratios have the wrong behaviour policy:
            train with 1.
        max_new_tokens: Cap on the length, at least 1.
        stop: Strings; a response ends with the token that completes the first of them, and its text is cut after it.
        greedy: Take the most likely token; the uniforms are ignored.

    Raises:
        ValueError: If a value is out of its range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    stop: tuple[str, ...] = ()
    greedy: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(
                f"Sampling(temperature=) must be finite and above 0, got {self.temperature!r} "
                "(the most likely token is greedy=True)"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"Sampling(top_p=) must lie in (0, 1], got {self.top_p!r}")
        if self.max_new_tokens < 1:
            raise ValueError(f"Sampling(max_new_tokens=) must be at least 1, got {self.max_new_tokens!r}")
        if isinstance(self.stop, str) or not all(isinstance(s, str) and s for s in self.stop):
            raise ValueError(f"Sampling(stop=) must be a sequence of non-empty strings, got {self.stop!r}")
        object.__setattr__(self, "stop", tuple(self.stop))


@dataclass(frozen=True, eq=False)
class Generation:
    """N responses and the log-probabilities they were drawn with.

    T is the longest response of the batch, at least 1 for N > 0.

    Args:
        response_ids: int64 (N, T), right-padded; with the final end-of-sequence token where one was sampled.
        response_mask: bool (N, T), True on sampled tokens, that end token included.
        logprobs: float32 (N, T), of the sampled tokens under softmax(logits / temperature) over the full vocabulary; 0
            where masked.
        texts: N decoded texts, without the end token and special tokens.
        finished: bool (N,), whether an end token or a stop string was reached; False where the length ran out.
    """

    response_ids: NDArray[np.int64]
    response_mask: NDArray[np.bool_]
    logprobs: NDArray[np.float32]
    texts: tuple[str, ...]
    finished: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TokenStats:
    """What the loss needs of each response token, with gradients.

    Args:
        logprobs: (N, T) under softmax(logits / temperature); 0 where masked.
        entropy: (N, T) of that distribution at each token's position, or None if not asked for; 0 where masked.
    """

    logprobs: torch.Tensor
    entropy: torch.Tensor | None = None


def draw_uniforms(generator: np.random.Generator, n: int, max_new_tokens: int) -> NDArray[np.float32]:
    """Uniforms in [0, 1) for `Policy.generate`, float32 (n, max_new_tokens); entry (i, t) draws token t of row i."""
    return generator.random((n, max_new_tokens), dtype=np.float32)


class Policy(ABC):
    """A causal language model of transformers with its tokenizer.

    The model is kept in evaluation mode, in training too: dropout would make the log-probabilities of the update those
    of another policy than the one that was sampled.

    Args:
        model: The module whose parameters are trained.
        tokenizer: Its tokenizer.
        name_or_path: Where both came from, for messages and checkpoints.

    Raises:
        ValueError: If neither model nor tokenizer names an end-of-sequence token.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name_or_path: str) -> None:
        self.model: PreTrainedModel = model
        self.model.train(False)
        self.tokenizer = tokenizer
        self.name_or_path = name_or_path
        #: The keyword arguments that `load_policy` was called with (JSON values), for checkpoints.
        self.load_options: dict[str, Any] = {}
        self.eos_ids = _end_ids(model, tokenizer)
        if not self.eos_ids:
            raise ValueError(f"policy {name_or_path!r}: neither its generation config nor its tokenizer names an EOS")
        pad = tokenizer.pad_token_id
        self.pad_id: int = self.eos_ids[0] if pad is None else int(pad)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def vocab_size(self) -> int:
        """Number of logits; may exceed the tokenizer's entries (padded embeddings)."""
        return int(self.model.config.vocab_size)

    def encode_prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts: as a user message where the tokenizer has a chat template, else as plain text.

        Lone surrogates, which no encoding can hold, become ``?``; an empty prompt becomes one BOS (or EOS) token, since
        the first token of a response needs a position to be predicted from.
        """
        chat = self.tokenizer.chat_template is not None
        encoded = []
        for prompt in prompts:
            text = prompt.encode("utf-8", "replace").decode("utf-8")
            if chat:
                message = [{"role": "user", "content": text}]
                text = str(self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
            # A template writes its own BOS.
            ids = list(self.tokenizer(text, add_special_tokens=not chat)["input_ids"])
            start = self.tokenizer.bos_token_id
            encoded.append(ids or [self.eos_ids[0] if start is None else start])
        return encoded

    def encode_reply(self, reply: str, *, ended: bool) -> list[int]:
        """Token ids that stand between a response and the next one: what the policy reads of its environment's reply.

        Where the tokenizer has a chat template the reply is a user message, and these are all that the template writes
        between the two answers; else it is plain text. The response itself is never tokenised again, so the context of
        the next one is exactly what was generated.

        Args:
            reply: Of the environment.
            ended: Whether the response before it ended with an end token, which the template would write once more.

        Raises:
            ValueError: If the chat template does not show earlier answers.
        """
        text = reply.encode("utf-8", "replace").decode("utf-8")
        if self.tokenizer.chat_template is None:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        contents = ("?", _EARLIER_ANSWER, text)
        roles = ("user", "assistant", "user")
        messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        shown = str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        _, found, rest = shown.partition(_EARLIER_ANSWER)
        if not found:
            raise ValueError(f"the chat template of {self.name_or_path!r} does not show earlier answers: {shown!r}")
        ids = list(self.tokenizer(rest, add_special_tokens=False)["input_ids"])
        return ids[1:] if ended and ids and ids[0] in self.eos_ids else ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of response ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @abstractmethod
    def generate(
        self,
        prompt_ids: Sequence[Sequence[int]],
        group: NDArray[np.int64],
        sampling: Sampling,
        uniforms: Uniforms,
    ) -> Generation:
        """Draw N responses. No gradients; the prompt is read once for all responses to it.

        Args:
            prompt_ids: P prompts, each with at least one token.
            group: int64 (N,), row i answers ``prompt_ids[group[i]]``; any order, ragged.
            sampling: Temperature, nucleus, lengths, stops.
            uniforms: (N, at least max_new_tokens) in [0, 1); see `draw_uniforms`.

        Raises:
            ValueError: If a shape or index does not fit.
            FloatingPointError: If the model's logits are not finite.
        """

    @abstractmethod
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
        """Log-probabilities (and entropies) of response tokens, differentiable with respect to the parameters.

        Args:
            prompt_ids: P prompts, each with at least one token.
            group: int64 (N,), row i answers ``prompt_ids[group[i]]``; any order, ragged.
            response_ids: int64 (N, T), right-padded.
            response_mask: bool (N, T), a prefix of each row.
            temperature: Divides the logits, as in `Sampling`.
            entropy: Whether to compute entropies.

        Raises:
            ValueError: If a shape or index does not fit, or a mask has holes.
        """

    def trainable_parameters(self) -> dict[str, torch.nn.Parameter]:
        """Parameters that require gradients, by name (with LoRA, the adapters alone)."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """Copies of the trainable parameters on the CPU, by name: what a checkpoint must hold."""
        return {name: p.detach().to("cpu", copy=True) for name, p in self.trainable_parameters().items()}

    def load_state_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write what `state_tensors` gave back into the parameters, in place (optimizers keep their references).

        Raises:
            ValueError: If names or shapes differ; nothing is written then.
        """
        own = self.trainable_parameters()
        if own.keys() != tensors.keys():
            raise ValueError(
                f"load_state_tensors: missing {sorted(own.keys() - tensors.keys())}, "
                f"unknown {sorted(tensors.keys() - own.keys())}"
            )
        for name, p in own.items():
            if p.shape != tensors[name].shape:
                raise ValueError(
                    f"load_state_tensors: {name} has shape {tuple(p.shape)}, got {tuple(tensors[name].shape)}"
                )
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(tensors[name])

    def save_pretrained(self, path: str | Path) -> None:
        """Write model and tokenizer as a directory that `load_policy` and transformers read (LoRA: the adapters).

        Tokenizer files that the policy was loaded from are written as they were; transformers would re-serialise them.
        """
        source, target = Path(self.tokenizer.name_or_path), Path(path)
        originals = [source / name for name in ("tokenizer.json", "tokenizer_config.json")]
        kept = {file.name: file.read_bytes() for file in originals if file.is_file()}
        self.model.save_pretrained(target)
        self.tokenizer.save_pretrained(target)
        for name, content in kept.items():
            (target / name).write_bytes(content)

    def frozen_copy(self) -> Self:
        """A copy that no update reaches and that needs no gradients: the reference of a KL term."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        other.model.requires_grad_(False)
        return other


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """End-of-sequence ids: of the generation config (an int or a list), else the model config; and the tokenizer's."""
    named = getattr(model.generation_config, "eos_token_id", None)
    if named is None:
        named = getattr(model.config, "eos_token_id", None)
    ids = [] if named is None else [named] if isinstance(named, int) else list(named)
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return tuple(dict.fromkeys(int(i) for i in ids))
