"""Rewards of summaries: facts told and made up, ROUGE, n-grams that the source supports, compression.

Two kinds of problem:

- Of key facts: ``target["facts"]`` maps keys to values. A summary is clauses ``key value``, with "; " between them.
- Of references: ``target["references"]`` is a list of summaries and ``target["source"]`` the text. ROUGE is that of the
  package rouge-score (the extra ``text``).
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from numbers import Real
from typing import Any, cast

from llm_morl_rewards.base import Kind, Problem, RewardFunction, reward

#: Between clauses, and between a clause's key and value.
CLAUSE_SEPARATOR, VALUE_SEPARATOR = "; ", " "
ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")
#: What rouge-score takes for a word, after lower-casing: other scripts have none.
_WORD = re.compile("[a-z0-9]+")


def split_clauses(text: str) -> list[tuple[str, str]]:
    """The clauses of a summary as (key, value), in order; white space around the whole text does not count.

    Nothing else is forgiven: a clause's key ends at its first space, and all that follows is the value.

    >>> split_clauses("color red; size small")
    [('color', 'red'), ('size', 'small')]
    >>> split_clauses("color red size small"), split_clauses(" ")
    ([('color', 'red size small')], [])
    """
    whole = text.strip()
    parts = (clause.partition(VALUE_SEPARATOR) for clause in whole.split(CLAUSE_SEPARATOR)) if whole else ()
    return [(key, value) for key, _, value in parts]


def join_clauses(facts: Mapping[str, str]) -> str:
    """The summary that states these facts, in order.

    >>> join_clauses({"color": "red", "size": "small"})
    'color red; size small'
    """
    return CLAUSE_SEPARATOR.join(f"{key}{VALUE_SEPARATOR}{value}" for key, value in facts.items())


def told_facts(text: str, facts: Mapping[str, str]) -> set[str]:
    """Keys of the facts that a summary states: with the right value, and with no other value anywhere.

    >>> sorted(told_facts("size small; color red; color blue", {"color": "red", "size": "small"}))
    ['size']
    """
    said: dict[str, set[str]] = {}
    for key, value in split_clauses(text):
        said.setdefault(key, set()).add(value)
    return {key for key, values in said.items() if key in facts and values == {facts[key]}}


def fact_coverage(text: str, facts: Mapping[str, str]) -> float:
    """Share of the facts that a summary states, in [0, 1]::

        coverage = S / F    S facts stated, see `told_facts`, of F

    Raises:
        ValueError: If there are no facts.

    >>> fact_coverage("color red; size large; color red", {"color": "red", "size": "small"})
    0.5
    """
    if not facts:
        raise ValueError("fact_coverage(facts=) must hold at least one fact, got none")
    return len(told_facts(text, facts)) / len(facts)


def fact_precision(text: str, facts: Mapping[str, str]) -> float:
    """Share of a summary's clauses that the facts support, in [0, 1]; 0 for a summary without clauses::

        faithfulness = S / C    S facts stated, see `told_facts`, in C clauses

    A fact supports one clause: its repetitions are unsupported, and so is every clause of a key with two values.

    >>> fact_precision("color red; size large; color red; price 4", {"color": "red", "size": "small"})
    0.25
    """
    clauses = split_clauses(text)
    return len(told_facts(text, facts)) / len(clauses) if clauses else 0.0


@reward(low=0.0, high=1.0, name="coverage")
def key_fact_coverage(problem: Problem, response: str) -> float:
    """`fact_coverage` of ``problem.target["facts"]``."""
    return fact_coverage(response, problem.target["facts"])


@reward(low=0.0, high=1.0, name="faithfulness")
def key_fact_faithfulness(problem: Problem, response: str) -> float:
    """`fact_precision` against ``problem.target["facts"]``."""
    return fact_precision(response, problem.target["facts"])


def rouge_words(text: str) -> list[str]:
    """The words that ROUGE compares: lower-cased runs of a-z and 0-9, not stemmed.

    >>> rouge_words("Two-layer GANs, trained.")
    ['two', 'layer', 'gans', 'trained']
    """
    return _WORD.findall(text.lower())


def rouge_f1(summary: str, references: Sequence[str]) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F1 (Lin, 2004), each that of the reference where it is highest, in [0, 1]::

        F1 = 2 P R / (P + R)    P, R: shares of the summary's and the reference's n-grams (words of the longest common
                                subsequence) that match

    By the package rouge-score without its Porter stemmer (``use_stemmer=False``), so "model" does not match "models".
    A reference of one word has no ROUGE-2: any summary scores 0 there.

    Raises:
        ValueError: If there are no references.
        ImportError: If rouge-score is not installed.

    >>> rouge_f1("the cat sat", ["the cat sat down", "a dog"])
    {'rouge1': 0.8571428571428571, 'rouge2': 0.8, 'rougeL': 0.8571428571428571}
    """
    if not references:
        raise ValueError("rouge_f1(references=) must hold at least one reference, got none")
    return dict(zip(ROUGE_TYPES, _rouge(summary, tuple(references)), strict=True))


@lru_cache(maxsize=1024)  # several objectives ask for the same response
def _rouge(summary: str, references: tuple[str, ...]) -> tuple[float, ...]:
    scores = _scorer().score_multi(references, summary)
    return tuple(float(scores[kind].fmeasure) for kind in ROUGE_TYPES)


@cache
def _scorer() -> Any:
    try:
        module = importlib.import_module("rouge_score.rouge_scorer")
    except ImportError as error:
        raise ImportError("ROUGE needs the package rouge-score: pip install 'llm-morl-env[text]'") from error
    return module.RougeScorer(list(ROUGE_TYPES), use_stemmer=False)


def rouge_reward(name: str) -> RewardFunction:
    """Make the reward ``"rouge1"``, ``"rouge2"``, ``"rougeL"`` (see `rouge_f1`) or ``"coverage"``, their mean.

    Raises:
        ValueError: If the name is unknown.
        ImportError: If rouge-score is not installed.

    >>> round(rouge_reward("coverage")(Problem("", {"references": ["a b c d"]}), "a b"), 3)
    0.611
    """
    if name not in (*ROUGE_TYPES, "coverage"):
        raise ValueError(f"rouge_reward(name=) must be one of {(*ROUGE_TYPES, 'coverage')}, got {name!r}")
    _scorer()
    return cast(RewardFunction, _Rouge(name))


@dataclass(frozen=True)
class _Rouge:
    name: str
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        scores = rouge_f1(response, problem.target["references"])
        return sum(scores.values()) / len(scores) if self.name == "coverage" else scores[self.name]


def source_precision(summary: str, source: str, n: int = 2, references: Sequence[str] = ()) -> float:
    """Share of a summary's n-grams that the source supports, in [0, 1]; 0 for a summary without an n-gram::

        sum_g min(c(g), s(g)) / sum_g c(g)    c(g): how often the summary has g;
                                              s(g): how often source or reference has it, the most of them

    It is one less the share of novel n-grams (See et al., arXiv 1704.04368, section 5.3), with counts clipped as in
    BLEU's modified precision (Papineni et al., 2002, section 2.1.1), so that repetition does not pay. Words as in
    `rouge_words`. It measures extraction: a true paraphrase loses, a false combination of copied bigrams does not.

    Args:
        summary: To be judged.
        source: The text.
        n: Words of an n-gram.
        references: Texts that are faithful by definition; their n-grams count as supported too. A departure from the
            measure as published, without which an abstractive reference would not be faithful itself.

    Raises:
        ValueError: If n is less than 1.

    >>> source_precision("the cat ran off", "the cat ran home")
    0.6666666666666666
    >>> source_precision("the cat ran off", "the cat ran home", references=["it ran off"])
    1.0
    """
    if n < 1:
        raise ValueError(f"source_precision(n=) must be at least 1, got {n!r}")
    said = _ngrams(summary, n)
    supported: Counter[tuple[str, ...]] = Counter()
    for text in (source, *references):
        supported |= _ngrams(text, n)
    return (said & supported).total() / said.total() if said else 0.0


def _ngrams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = rouge_words(text)
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


@reward(low=0.0, high=1.0, name="faithfulness")
def source_faithfulness(problem: Problem, response: str) -> float:
    """`source_precision` of bigrams against ``problem.target["source"]``, its ``"references"`` supporting too."""
    return source_precision(response, problem.target["source"], references=problem.target["references"])


def compression(count: Callable[[str], int], document: str = "document_tokens") -> RewardFunction:
    """Make the reward "conciseness", in [0, 1]: ``max(0, 1 - length of the summary / length of the document)``.

    An empty summary earns 1, so the reward makes sense beside others alone. Picklable where ``count`` is.

    Args:
        count: Length of a text.
        document: Name of the `Problem.meta` entry with the document's length, in the same unit.

    Raises:
        ValueError: When a problem is scored whose document has no positive length.
        KeyError: When a problem is scored that lacks the entry.

    >>> short = compression(len, "length")
    >>> [short(Problem("", meta={"length": 8}), text) for text in ("", "ab", "abcdefghijk")]
    [1.0, 0.75, 0.0]
    """
    if not callable(count):
        raise TypeError(f"compression(count=) must be a callable str -> int, got {count!r}")
    return cast(RewardFunction, _Compression(count, document))


@dataclass(frozen=True)
class _Compression:
    count: Callable[[str], int]
    document: str
    name: str = field(default="conciseness", init=False)
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        if self.document not in problem.meta:
            raise KeyError(f"compression(document={self.document!r}): meta has no such entry, only {[*problem.meta]}")
        length = problem.meta[self.document]
        if isinstance(length, bool) or not isinstance(length, Real) or not 0 < float(length) < float("inf"):
            raise ValueError(f"compression: meta entry {self.document!r} must be positive and finite, got {length!r}")
        return max(0.0, 1.0 - self.count(response) / float(length))
