"""What the tasks over letters share: alphabet, tokenizer, action mask, checks of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.tokenizer import BUILT_IN, TextTokenizer
from llm_morl_rewards import Problem

#: The alphabet; a task takes its first few.
LETTERS = "abcdefgh"
#: The prompt of a task without context.
PROMPT = "?"


def letters_file(letters: int) -> Path:
    """The packaged tokenizer of the first ``letters`` letters; made by `llm_morl_env.build_letters`."""
    return BUILT_IN.parent / f"letters-{letters}" / "tokenizer.json"


def letters_tokenizer(letters: int) -> TextTokenizer:
    """The tokenizer with one token for each of the first ``letters`` letters.

    Raises:
        ValueError: If there are not 2 to 8.
    """
    if not 2 <= letters <= len(LETTERS):
        raise ValueError(f"letters must lie in 2..{len(LETTERS)}, got {letters!r}")
    return TextTokenizer(letters_file(letters))


def check_length(length: int) -> None:
    """Refuse a length below 1."""
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length!r}")


@dataclass(frozen=True)
class LettersGrammar:
    """Letters up to a length, then the end.

    Args:
        tokenizer: Of letters.
        letters: How many of them may be written.
        length: At most so many tokens.
        may_stop: Whether the response may end before; without it, all have the full length.
    """

    tokenizer: TextTokenizer
    letters: int
    length: int
    may_stop: bool = False

    def allowed(self, problem: Problem, response_ids: Sequence[int]) -> NDArray[np.bool_]:
        """See `llm_morl_env.task.Grammar.allowed`."""
        mask = np.zeros(self.tokenizer.vocab_size, np.bool_)
        full = len(response_ids) >= self.length
        if not full:
            mask[self.tokenizer.encode(LETTERS[: self.letters])] = True
        mask[self.tokenizer.eos_id] = full or self.may_stop
        return mask
