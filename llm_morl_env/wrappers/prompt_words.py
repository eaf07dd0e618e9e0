"""`PromptWords`: the words of the prompt, spelt as a response would spell them, beside the ids of the token view."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from llm_morl_env.task import Task
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_env.wrappers.declared import declared

#: Letters, digits and underscores, with single marks inside: ``set_light``, ``41.9``, ``e-mail``.
_WORD = re.compile(r"\w+(?:[.\-'/@]\w+)*")
_PART = re.compile(r"[_.\-'/@]")


@dataclass(frozen=True)
class TokenLayout:
    """Where the parts of a flat observation of token ids stand, in this order.

    Args:
        prompt: P, entries of the prompt, right-aligned.
        response: R, entries of what was written so far.
        words: S, entries of the prompt's words, right-aligned, then as many offsets, echoes and marks of what is
            spoken; 0 without `PromptWords`.
        vocab_size: V.
        pad_id: The id that fills what is empty.
    """

    prompt: int
    response: int
    words: int
    vocab_size: int
    pad_id: int

    @property
    def size(self) -> int:
        """Entries in all; what stands behind them (weights, say) is not of this layout."""
        return self.prompt + self.response + 4 * self.words


class PromptWords(gym.ObservationWrapper[NDArray[np.float32], Any, Any], gym.utils.RecordConstructorArgs):
    """Appends the tokens of the prompt's words, each encoded on its own, to the ids of the token view.

    A byte-pair vocabulary writes a word behind a space with other tokens than the same word behind a quotation mark
    (``" sun", "day"`` and ``"s", "un", "day"``), so a network that sees the prompt's ids alone must learn the spelling
    of every word before it can copy one. Here every word is also spelt as it is spelt elsewhere. It is a function of
    the prompt and the tokenizer alone: no parser of a task is involved, nothing is said about which word matters.

    The observation is a float32 Box (P + R + 4 S,), floats for the sake of what may be appended (weights): the prompt's
    and the response's ids as the token view has them; S ids of word tokens (right-aligned, the beginning is cut); S
    offsets: 0 for a word's first token, then 1, 2, ...; -1 for padding; S echoes: of a word that is made of several
    by underscores or other marks, how many of these are words of the prompt themselves (``set_alarm`` in ``set_alarm(
    hour:int) an alarm at 7``: 1), 0 for others; and S marks: 1 for a word that stands free, as in a sentence, 0 for
    one with other marks around it, as in ``set_alarm(hour:int)``; see `stands_free`.

    Args:
        env: A token view of a task of one turn, with ``obs_mode="ids"``.
        max_word_tokens: S.

    Attributes:
        layout: The parts' sizes, for networks.

    Raises:
        TypeError: If the environment is another one.
        ValueError: If ``max_word_tokens`` is less than 1.

    >>> import llm_morl_env
    >>> env = PromptWords(gym.make("llm_morl_env:ToolCall-MO-v0", difficulty="easy"), max_word_tokens=8)
    >>> observation, info = env.reset(options={"problem": 2, "split": "train"})
    >>> tokenizer = env.unwrapped.task.tokenizer
    >>> [tokenizer.decode([int(token)]) for token in observation[-32:-24]]  # ... sunday at 17<answer>
    ['un', 'day', 'at', '1', '7', 'an', 'sw', 'er']
    >>> observation[-24:-16].astype(int).tolist()
    [1, 2, 0, 0, 1, 0, 1, 2]
    """

    def __init__(self, env: gym.Env[Any, Any], max_word_tokens: int = 64) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, max_word_tokens=max_word_tokens)
        gym.ObservationWrapper.__init__(self, env)
        if max_word_tokens < 1:
            raise ValueError(f"PromptWords(max_word_tokens=) must be at least 1, got {max_word_tokens}")
        self.layout = token_layout(env, "PromptWords", words=max_word_tokens)
        self._tokenizer: TextTokenizer = declared(env, "task").tokenizer
        highest = np.full(self.layout.size, self.layout.vocab_size - 1, np.float32)
        lowest = np.zeros(self.layout.size, np.float32)
        lowest[-3 * max_word_tokens : -2 * max_word_tokens] = -1.0
        self.observation_space = Box(lowest, highest, dtype=np.float32)
        self._seen: bytes = b""
        self._words: NDArray[np.float32] = np.empty(0, np.float32)

    def observation(self, observation: NDArray[np.int64]) -> NDArray[np.float32]:
        """The ids, the words' tokens and their offsets, a fresh array."""
        prompt = observation[: self.layout.prompt]
        if prompt.tobytes() != self._seen:
            self._seen = prompt.tobytes()
            self._words = self._spell(self._tokenizer.decode(prompt[prompt != self.layout.pad_id].tolist()))
        return np.concatenate([observation, self._words], dtype=np.float32)

    def _spell(self, prompt: str) -> NDArray[np.float32]:
        """Word tokens, offsets, echoes and marks, (4 S,)."""
        size, words = self.layout.words, list(_WORD.finditer(prompt))
        known = {word.group() for word in words}
        rows = [
            (token, offset, echoes(word.group(), known), stands_free(prompt, word.start(), word.end()))
            for word in words
            for offset, token in enumerate(self._tokenizer.encode(word.group()))
        ][-size:]
        out = np.repeat(np.array([[self.layout.pad_id], [-1], [0], [0]], np.float32), size, axis=1)  # (4, S)
        if rows:
            out[:, size - len(rows) :] = np.array(rows, np.float32).T
        return out.reshape(-1)


def echoes(word: str, known: AbstractSet[str]) -> int:
    """How many of the parts of a word are known words; 0 for a word of one part.

    >>> echoes("set_alarm", {"alarm", "an", "set_alarm"}), echoes("alarm", {"alarm"})
    (1, 0)
    """
    parts = _PART.split(word)
    return sum(part in known for part in parts) if len(parts) > 1 else 0


def stands_free(text: str, start: int, end: int) -> bool:
    """Whether ``text[start:end]`` has white space, a tag or an end of the text before it, and that or punctuation
    behind it.

    >>> text = "set_alarm(hour:int)<user>an alarm at 7, please"
    >>> [word.group() for word in _WORD.finditer(text) if stands_free(text, *word.span())]
    ['an', 'alarm', 'at', '7', 'please']
    """
    before, after = text[:start][-1:], text[end : end + 1]
    return (not before or before.isspace() or before == ">") and (not after or after.isspace() or after in "<.,;!?")


def token_layout(env: gym.Env[Any, Any], who: str, *, words: int = 0) -> TokenLayout:
    """The layout of a token view's ids.

    Raises:
        TypeError: If the environment is no token view of a task of one turn with ``obs_mode="ids"``.
    """
    task, obs_mode = declared(env, "task"), declared(env, "obs_mode")
    if not isinstance(task, Task) or task.dialogue is not None or obs_mode != "ids":
        raise TypeError(
            f"{who}(env=) needs the token view of a task of one turn, with obs_mode='ids', got {env} "
            f"with obs_mode={obs_mode!r}"
        )
    tokenizer = task.tokenizer
    return TokenLayout(task.max_prompt_tokens, task.max_response_tokens, words, tokenizer.vocab_size, tokenizer.pad_id)
