"""`MathGrammar`: which tokens keep a worked solution well-formed, for the action masks of the mathematics task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.tasks.json_automaton import Choice, Frames, Number, advance, closing
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem

MAX_STEPS, MAX_OPERANDS, MAX_DIGITS = 4, 3, 4
ORDINALS = ("first, ", "then, ", "next, ")
OPERATORS = (" + ", " - ", " * ", " / ")
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-*/=,.: ")
_CACHED_STATES = 4096


@dataclass(frozen=True, slots=True)
class Solution:
    """The rest of a solution, at the beginning of a step or of the answer: an automaton of `json_automaton`.

    Args:
        steps: Steps that may still follow.
    """

    steps: int
    nullable = False
    closing = "answer: 0"

    def step(self, char: str) -> Frames | None:
        """See `llm_morl_env.tasks.json_automaton.Automaton`."""
        rest = (_number(), _after_operand(MAX_OPERANDS - 1, Solution(self.steps - 1))) if self.steps else ()
        options = [("answer: ", (_number(),)), *((word, rest) for word in ORDINALS if rest)]
        grown = Choice(tuple(options)).step(char)
        return grown if grown is not None or not rest else advance(rest, char)


def _number() -> Number:
    return Number("start", MAX_DIGITS, 0)


def _after_operand(operands: int, then: Solution) -> Choice:
    """What follows a number: the result, or an operator and a further operand; at least one operator comes first."""
    result: tuple[tuple[str, Frames], ...] = ((" = ", (_number(), ". ", then)),)
    more = tuple((sign, (_number(), _after_operand(operands - 1, then))) for sign in OPERATORS) if operands else ()
    return Choice(more if operands == MAX_OPERANDS - 1 else (*result, *more))


class MathGrammar:
    """The `Grammar` of the mathematics task. Stateless: what it remembers is a cache, which is not pickled.

    A response is at most `MAX_STEPS` steps, then ``answer: n``. A step is ``a op b = c.`` or ``a op b op c = d.`` with
    operators ``+ - * /``, at the agent's choice after ``first, ``, ``then, `` or ``next, ``. Numbers are whole, of at
    most `MAX_DIGITS` digits. What is calculated, how many steps and whether the results are right is the agent's
    choice. A problem does not matter.

    A response always ends within ``max_response_tokens`` steps: a token is masked when after it the shortest ending
    with the end-of-sequence token would not fit; where nothing fits, the shortest ending is forced. A response that has
    left the grammar (any action may be taken) may only end. Of the tokens that may follow, those are masked that the
    tokenizer itself would not write after the last one.

    Args:
        tokenizer: Its tokens are the mask's entries.
        max_response_tokens: The cap of the environment.

    Raises:
        ValueError: If ``max_response_tokens`` is less than 1.
    """

    def __init__(self, tokenizer: TextTokenizer, *, max_response_tokens: int) -> None:
        if max_response_tokens < 1:
            raise ValueError(f"MathGrammar(max_response_tokens=) must be at least 1, got {max_response_tokens}")
        self.tokenizer, self.max_response_tokens = tokenizer, max_response_tokens
        self._after = lru_cache(_CACHED_STATES)(self._find_after)
        self._choices = lru_cache(_CACHED_STATES)(self._find_choices)
        self._pair = lru_cache(2**16)(self._find_pair)
        self._cost = lru_cache(_CACHED_STATES)(self._find_cost)

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (self.tokenizer, self.max_response_tokens)

    def allowed(self, problem: Problem, response_ids: Sequence[int]) -> NDArray[np.bool_]:
        """Mask over the vocabulary, (V,), a fresh array; at least one entry is True. See `Grammar.allowed`."""
        state: Frames | None = (Solution(MAX_STEPS),)
        for token in response_ids:
            state = self._after(state, int(token))
        mask = np.zeros(self.tokenizer.vocab_size, np.bool_)
        if not state:
            mask[self.tokenizer.eos_id] = True
            return mask
        tokens, costs = self._choices(state)
        fits = costs < self.max_response_tokens - len(response_ids) - 1  # this token and the end-of-sequence token
        may_end = not closing(state)
        mask[self.tokenizer.eos_id] = may_end
        if not fits.any() and not may_end:
            fits = costs == costs.min()
        last = int(response_ids[-1]) if len(response_ids) else None
        canonical = fits & np.array([self._pair(last, int(token)) for token in tokens], np.bool_)
        mask[tokens[canonical if canonical.any() else fits]] = True
        return mask

    def _find_after(self, state: Frames | None, token: int) -> Frames | None:
        """The state after a token; None once the grammar is left."""
        text = self._texts.get(token, "")
        if not text:
            return None
        for char in text:
            state = advance(state, char) if state else None
        return state

    def _find_choices(self, state: Frames) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The tokens that may follow, and the least tokens of the shortest ending after each."""
        after = {token: grown for token in self._texts if (grown := self._after(state, token)) is not None}
        costs = [self._cost(closing(grown)) for grown in after.values()]
        return np.fromiter(after, np.int64, len(after)), np.array(costs, np.float64)

    def _find_pair(self, first: int | None, second: int) -> bool:
        """Whether the tokenizer itself may write the second token after the first."""
        ids = [second] if first is None else [first, second]
        return self.tokenizer.encode(self.tokenizer.decode(ids)) == ids

    def _find_cost(self, text: str) -> float:
        """The least number of tokens that spell a text; infinite where none do."""
        least = [0.0] + [np.inf] * len(text)
        for end in range(1, len(text) + 1):
            for begin in range(end):
                if text[begin:end] in self._spellings:
                    least[end] = min(least[end], least[begin] + 1)
        return least[-1]

    @cached_property
    def _texts(self) -> dict[int, str]:
        """What each token that the grammar can use adds to a text."""
        anchor, decode = self.tokenizer.encode(".")[-1], self.tokenizer.decode
        before = len(decode([anchor]))  # some decoders strip the first token's space
        texts = {token: decode([anchor, token])[before:] for token in range(self.tokenizer.vocab_size)}
        return {token: text for token, text in texts.items() if text and _ALPHABET.issuperset(text)}

    @cached_property
    def _spellings(self) -> frozenset[str]:
        return frozenset(self._texts.values())


def _make(tokenizer: TextTokenizer, max_response_tokens: int) -> MathGrammar:
    return MathGrammar(tokenizer, max_response_tokens=max_response_tokens)
