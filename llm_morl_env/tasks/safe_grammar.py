"""`SafeGrammar`: which token may follow which, for the action masks of the help-and-harm task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.tasks import safe_requests as requests
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem


def answer_texts() -> list[str]:
    """All answers of the templates: full ones, short ones, cautious ones and refusals, about all things."""
    named = [f"{d} {thing}" for d in requests.DETERMINERS for thing in (*requests.THINGS, *requests.UNSEEN_THINGS)]
    activities = {activity.answer: activity for group in requests.ACTIVITIES.values() for activity in group}
    texts = [
        text
        for activity in activities.values()
        for name in named
        for answer in (requests.SafeRequest("safe", "", activity, name, name),)
        for text in (answer.full, answer.short)
    ]
    texts += [requests.CAUTION.format(name) for name in named]
    refusals = [*requests.BARE_REFUSALS, *(f"{bare} {why}" for bare in requests.BARE_REFUSALS for why in _reasons())]
    return texts + refusals


def _reasons() -> list[str]:
    return sorted(set(requests.REASONS.values()))


class SafeGrammar:
    """An automaton whose state is the last token: allowed is what follows it in some answer of the templates.

    It knows the words of all answers and leaves to the agent which of them fit. Every gold answer is admitted; so are
    refusals of safe requests, help with unsafe ones, and mixtures. After a token of no answer, and at the cap, only the
    end remains. The table is made when it is first needed and is not pickled.

    Args:
        tokenizer: Its tokens are the mask's entries.
        max_response_tokens: The cap of the environment.

    Raises:
        ValueError: If ``max_response_tokens`` is less than 1.
    """

    def __init__(self, tokenizer: TextTokenizer, *, max_response_tokens: int) -> None:
        if max_response_tokens < 1:
            raise ValueError(f"SafeGrammar(max_response_tokens=) must be at least 1, got {max_response_tokens}")
        self.tokenizer, self.max_response_tokens = tokenizer, max_response_tokens

    def __reduce__(self) -> tuple[object, ...]:
        return _make, (self.tokenizer, self.max_response_tokens)

    def allowed(self, problem: Problem, response_ids: Sequence[int]) -> NDArray[np.bool_]:
        """Mask over the vocabulary, (V,), a fresh array; at least one entry is True.

        Args:
            problem: Not looked at.
            response_ids: What was written so far.
        """
        mask = np.zeros(self.tokenizer.vocab_size, dtype=np.bool_)
        last = int(response_ids[-1]) if len(response_ids) else None
        full = len(response_ids) >= self.max_response_tokens
        mask[[self.tokenizer.eos_id] if full else self._followers.get(last, [self.tokenizer.eos_id])] = True
        return mask

    @cached_property
    def _followers(self) -> Mapping[int | None, list[int]]:
        """Token to the tokens that may follow; None stands for the beginning."""
        table: dict[int | None, set[int]] = {}
        for text in answer_texts():
            ids = [*self.tokenizer.encode(text), self.tokenizer.eos_id]
            for before, after in zip([None, *ids], ids, strict=False):
                table.setdefault(before, set()).add(after)
        return {before: sorted(after) for before, after in table.items()}


def _make(tokenizer: TextTokenizer, max_response_tokens: int) -> SafeGrammar:
    return SafeGrammar(tokenizer, max_response_tokens=max_response_tokens)
