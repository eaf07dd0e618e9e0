"""`SummaryGrammar`: which tokens keep a summary well-formed, for the action masks of the summarisation task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.tasks.summarize_words import ATTRIBUTES
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem
from llm_morl_rewards.summary import CLAUSE_SEPARATOR, VALUE_SEPARATOR

#: Token ids of a clause.
Ids = tuple[int, ...]


@dataclass(frozen=True)
class SummaryGrammar:
    """Clauses ``key value`` with "; " between them. A `llm_morl_env.task.Grammar`.

    Keys and values are those that the document mentions, of whatever item and in whatever combination; a key is stated
    once at most. So telling the wrong thing is possible, and where to stop is the agent's choice: a summary may be
    empty. A clause is opened only where it and the end of sequence fit into the cap. A response that has left the
    grammar (any action may be taken) may only end.

    Args:
        tokenizer: Its tokens are the mask's entries; it must pass `splits_by_clause`.
        max_response_tokens: The cap of the environment.
    """

    tokenizer: TextTokenizer
    max_response_tokens: int

    def allowed(self, problem: Problem, response_ids: Sequence[int]) -> NDArray[np.bool_]:
        """Mask over the vocabulary, (V,), a fresh array; at least one entry is True.

        Args:
            problem: Its ``target["keys"]`` and ``target["values"]`` are what a clause is made of.
            response_ids: What was written so far.
        """
        mask = np.zeros(self.tokenizer.vocab_size, np.bool_)
        mask[self._next(problem, tuple(int(i) for i in response_ids)) or [self.tokenizer.eos_id]] = True
        return mask

    def _next(self, problem: Problem, ids: Ids) -> list[int]:
        keys, values = tuple(problem.target["keys"]), tuple(problem.target["values"])
        first, later = encoded_clauses(self.tokenizer, keys, values)
        separator = next(iter(later))[0]
        *written, current = _segments(ids, separator)
        unused = set(keys)
        for number, segment in enumerate(written):
            key = (later if number else first).get(segment)
            if key not in unused:
                return []
            unused.remove(key)
        clauses = later if written else first
        start = len(ids) - len(current)
        tokens = {
            clause[len(current)]
            for clause, key in clauses.items()
            if key in unused and clause[: len(current)] == current and self._fits(start, clause, len(current))
        }
        if clauses.get(current) in unused:  # a whole clause
            unused.remove(clauses[current])
            tokens.add(self.tokenizer.eos_id)
            if any(key in unused and self._fits(len(ids), clause) for clause, key in later.items()):
                tokens.add(separator)
        if not ids:
            tokens.add(self.tokenizer.eos_id)
        return sorted(tokens)

    def _fits(self, start: int, clause: Ids, written: int = 0) -> bool:
        """Whether the clause has a token left to write, and it and the end of sequence fit."""
        return written < len(clause) and start + len(clause) < self.max_response_tokens


def _segments(ids: Ids, separator: int) -> Iterator[Ids]:
    """The ids cut before every separator; at least one segment, the first without a separator."""
    starts = [0, *(i for i, token in enumerate(ids) if token == separator), len(ids)]
    return (ids[start:end] for start, end in pairwise(starts))


@lru_cache(maxsize=256)
def encoded_clauses(
    tokenizer: TextTokenizer, keys: tuple[str, ...], values: tuple[str, ...]
) -> tuple[dict[Ids, str], dict[Ids, str]]:
    """Key by token ids of every clause of these keys and values: as the first of a summary, and as a later one."""
    clauses = [(key, f"{key}{VALUE_SEPARATOR}{value}") for key in keys for value in values]
    first, later = (
        {tuple(tokenizer.encode(before + clause)): key for key, clause in clauses} for before in ("", CLAUSE_SEPARATOR)
    )
    return first, later


@lru_cache(maxsize=8)
def splits_by_clause(tokenizer: TextTokenizer) -> bool:
    """Whether a summary's tokens are those of its clauses, so that lengths add up and masks can go clause by clause.

    Holds for the built-in tokenizer and others that begin a new token at "; ". Checked on every clause of words of the
    procedural task and on numbers: the separator's first token is in no clause, a clause of a summary is encoded as
    alone, its place as the first one saves at least what the separator costs, and white space at the ends costs.
    """
    values = {word for attribute in ATTRIBUTES for word in (*attribute.words, *attribute.unseen)} | {"7", "42"}
    keys = tuple(attribute.name for attribute in ATTRIBUTES)
    first, later = encoded_clauses(tokenizer, keys, tuple(sorted(values)))
    encode = tokenizer.encode
    separator = encode(CLAUSE_SEPARATOR + keys[0])[0]
    texts = [f"{key}{VALUE_SEPARATOR}{value}" for key in keys for value in sorted(values)]
    fixed = texts[0]
    return all(
        later_ids[0] == separator
        and separator not in first_ids
        and separator not in later_ids[1:]
        and len(first_ids) <= len(later_ids)
        and encode(f"{fixed}{CLAUSE_SEPARATOR}{text}") == [*encode(fixed), *later_ids]
        and encode(f"{text}{CLAUSE_SEPARATOR}{fixed}") == [*first_ids, *encode(CLAUSE_SEPARATOR + fixed)]
        and min(len(encode(f" {text}")), len(encode(f"{text} "))) >= len(first_ids)
        for text, first_ids, later_ids in zip(texts, first, later, strict=True)
    )
