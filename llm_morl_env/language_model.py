"""Frozen language models as views use them: to embed contexts, to rank tokens, to write candidates.

The environments know no framework of tensors. What they ask of a model is written here, and a name is resolved to a
model only when an environment needs one, by the loader of the agents layer (or whatever object the user passes in).

Shapes: M rows that are read, V vocabulary of the environment's tokenizer, C hidden size, T tokens of a response.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.tokenizer import TextTokenizer

#: ``module:function``, called as ``(name, tokenizer) -> LanguageModel``.
LOADER = "llm_morl_agents.language_model:load_language_model"


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model says at the last token of M contexts.

    Args:
        log_probs: float32 (M, V) of the next token.
        hidden: float32 (M, C), the last layer's hidden state behind its final norm.
    """

    log_probs: NDArray[np.float32]
    hidden: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A response that a model wrote.

    Args:
        text: Decoded, without special tokens.
        log_probs: float32 (T,) of its tokens under the model at temperature 1, the end-of-sequence token's included.
        hidden: float32 (C,), mean over its tokens of the last hidden state.
        finished: Whether it ended by itself, not at the cap.
    """

    text: str
    log_probs: NDArray[np.float32]
    hidden: NDArray[np.float32]
    finished: bool


class Session(Protocol):
    """Contexts that a model reads incrementally, each at its own pace. Picklable, with what was read so far."""

    def read(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], restart: Sequence[bool]) -> Reading:
        """Append tokens to some contexts, in one batch.

        Args:
            rows: M distinct contexts, in 0..n_rows - 1.
            tokens: What to append to each: at least one token where a context starts, else at least one too.
            restart: Whether a context is forgotten first.

        Returns:
            What the model says after the last token of each, in the order of ``rows``.

        Raises:
            ValueError: If a context outgrows ``max_tokens`` of the session, or nothing is appended to one.
        """


class LanguageModel(Protocol):
    """A frozen causal language model over the environment's own tokenizer.

    A handle: ``copy.deepcopy`` gives the handle itself (environment specs deep-copy their keyword arguments once per
    wrapper), and pickling keeps the name, not the weights.

    Attributes:
        name: What it was loaded by.
        hidden_size: C.
        vocab_size: V.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def hidden_size(self) -> int:
        """See above."""

    @property
    def vocab_size(self) -> int:
        """See above."""

    def session(self, n_rows: int, max_tokens: int) -> Session:
        """A session of ``n_rows`` empty contexts of up to ``max_tokens`` tokens each."""

    def write(
        self,
        prompts: Sequence[str],
        n_candidates: int,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        rngs: Sequence[np.random.Generator],
    ) -> list[list[Candidate]]:
        """``n_candidates`` sampled responses to each prompt, in one batch.

        Args:
            prompts: P texts.
            n_candidates: For each.
            max_new_tokens: Cap on a response.
            temperature: Divides the logits that responses are drawn from.
            rngs: P generators, one a prompt, so that what is written to a prompt does not depend on the others.
        """


def resolve_language_model(language_model: str | LanguageModel, tokenizer: TextTokenizer) -> LanguageModel:
    """The model itself where one is given, else the one of that name.

    Args:
        language_model: ``"tiny"`` for the embedded model, the path of a model's directory, or any `LanguageModel`.
        tokenizer: The environment's: a model with another vocabulary cannot be used, its token ids mean other texts.

    Raises:
        ImportError: If a name is given and the agents layer, which loads it, is not installed.
        ValueError: If there is no such model, or its vocabulary is another.
    """
    if not isinstance(language_model, str):
        if language_model.vocab_size != tokenizer.vocab_size:
            raise ValueError(
                f"language_model={language_model.name!r} has a vocabulary of {language_model.vocab_size} tokens, the "
                f"environment's tokenizer ({tokenizer.path}) one of {tokenizer.vocab_size}"
            )
        return language_model
    module, function = LOADER.split(":")
    try:
        load = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise ImportError(
            f"language_model={language_model!r} is loaded by {module}, which does not import: {error}; "
            "pass an object with the methods of llm_morl_env.language_model.LanguageModel instead"
        ) from error
    return cast(LanguageModel, load(language_model, tokenizer))
