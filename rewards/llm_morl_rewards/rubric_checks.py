"""Checks that a rubric can name: verifiable properties of one response, by rule and without a model.

A check is ``(problem, response, **parameters) -> bool | float in [0, 1]``, pure and deterministic. Here are those that
need no code of one's own (`CHECKS`), and `resolve_check`, which finds any other by its import path.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from llm_morl_rewards.base import Problem
from llm_morl_rewards.extract import parse_json
from llm_morl_rewards.text import count_words

Check = Callable[..., bool | float]

#: By their first letters; the flags that a pattern of `matches` may have.
FLAGS = {"i": "IGNORECASE", "m": "MULTILINE", "s": "DOTALL", "x": "VERBOSE"}
JSON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
}


class PatternTimeout(RuntimeError):
    """A regular expression met its time limit: a fault of the pattern, not of the response."""


def min_words(problem: Problem, response: str, *, count: int) -> bool:
    """Whether the response has at least ``count`` words.

    >>> min_words(Problem(""), "one two", count=2)
    True
    """
    return count_words(response) >= _natural("count", count)


def max_words(problem: Problem, response: str, *, count: int) -> bool:
    """Whether the response has at most ``count`` words.

    >>> max_words(Problem(""), "one two", count=1)
    False
    """
    return count_words(response) <= _natural("count", count)


def count_between(
    problem: Problem, response: str, *, text: str, low: int = 0, high: int | None = None, ignore_case: bool = False
) -> bool:
    r"""Whether ``text`` occurs at least ``low`` and at most ``high`` times (None: any number), without overlaps.

    >>> count_between(Problem(""), "- a\n- b\n- c", text="- ", low=2, high=3)
    True
    """
    _natural("low", low)
    if high is not None and _natural("high", high) < low:
        raise ValueError(f"high must be at least low, got low={low}, high={high}")
    found = _folded(response, ignore_case).count(_folded(_text("text", text), ignore_case))
    return low <= found and (high is None or found <= high)


def contains(problem: Problem, response: str, *, texts: str | Sequence[str], ignore_case: bool = True) -> float:
    """The share of ``texts`` that occur in the response.

    >>> contains(Problem(""), "Tea, please", texts=["tea", "milk"])
    0.5
    """
    return float(np.mean(_occur(response, texts, ignore_case)))


def not_contains(problem: Problem, response: str, *, texts: str | Sequence[str], ignore_case: bool = True) -> bool:
    """Whether none of ``texts`` occurs in the response.

    >>> not_contains(Problem(""), "As an AI, I cannot", texts="as an ai")
    False
    """
    return not any(_occur(response, texts, ignore_case))


def starts_with(problem: Problem, response: str, *, text: str, ignore_case: bool = False) -> bool:
    r"""Whether the response begins with ``text``, white space before it aside.

    >>> starts_with(Problem(""), "\n# Title", text="# ")
    True
    """
    return _folded(response.lstrip(), ignore_case).startswith(_folded(_text("text", text), ignore_case))


def json_valid(problem: Problem, response: str, *, type: str = "any") -> bool:
    """Whether the whole response is one JSON value (strict, see `parse_json`) of a type.

    >>> json_valid(Problem(""), '{"a": 1}'), json_valid(Problem(""), '{"a": 1}', type="array")
    (True, False)
    """
    if type not in {"any", *JSON_TYPES}:
        raise ValueError(f"type must be one of {['any', *JSON_TYPES]}, got {type!r}")
    try:
        value = parse_json(response)
    except ValueError:
        return False
    return type == "any" or (isinstance(value, JSON_TYPES[type]) and not isinstance(value, bool))


def no_repetition(problem: Problem, response: str, *, n: int = 4) -> float:
    """Distinct n-grams of words divided by all of them; 1 where the response is shorter than n words.

    Distinct-n of Li et al. (2016, arXiv 1510.03055), for one response rather than a corpus. Case is ignored.

    >>> no_repetition(Problem(""), "so so so so good", n=1), no_repetition(Problem(""), "so good", n=4)
    (0.4, 1.0)
    """
    if _natural("n", n) < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    words = response.lower().split()
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def matches(
    problem: Problem, response: str, *, pattern: str, flags: str = "", whole: bool = False, timeout_s: float = 1.0
) -> bool:
    r"""Whether a regular expression is found in the response, within a time limit.

    Patterns are those of ``re``; the third-party ``regex`` module (extra ``judge``) runs them, since ``re`` cannot be
    interrupted. It counts the *processor time of the process*, so that other threads that compute use it up as well,
    and it does not watch the time that a pattern takes to compile.

    Args:
        problem: Not looked at.
        response: Where to search.
        pattern: The expression.
        flags: Of ``imsx``: ignore case, ``^`` and ``$`` at every line, ``.`` for line ends too, verbose.
        whole: Whether the whole response must match.
        timeout_s: Limit in seconds.

    Raises:
        PatternTimeout: At the limit.
        ValueError: If the pattern is malformed or a flag unknown.
        ImportError: Without ``regex``.

    >>> matches(Problem(""), "Answer: 42", pattern=r"^answer: \d+$", flags="i")
    True
    """
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, Real) or not 0 < timeout_s < np.inf:
        raise ValueError(f"timeout_s must be a positive number of seconds, got {timeout_s!r}")
    compiled = _compiled(_text("pattern", pattern), flags)
    search = compiled.fullmatch if whole else compiled.search
    try:
        return search(response, timeout=float(timeout_s)) is not None
    except TimeoutError:
        raise PatternTimeout(
            f"the pattern {pattern!r} ran for {timeout_s} s on a response of {len(response)} characters"
        ) from None


#: Checks by the names that rubrics use.
CHECKS: Mapping[str, Check] = {
    "min_words": min_words,
    "max_words": max_words,
    "count_between": count_between,
    "contains": contains,
    "not_contains": not_contains,
    "starts_with": starts_with,
    "json_valid": json_valid,
    "no_repetition": no_repetition,
    "matches": matches,
}


def resolve_check(check: str | Check) -> Check:
    """The function of a check: one of `CHECKS` by name, what ``"module:function"`` imports, or the callable itself.

    An import runs the code of the module, so rubrics with import paths are to be trusted like code.

    Raises:
        ValueError: If the name is unknown, or the import path names nothing that can be called.

    >>> resolve_check("max_words") is max_words
    True
    """
    if not isinstance(check, str):
        return check
    if check in CHECKS:
        return CHECKS[check]
    module, _, path = check.partition(":")
    if not module or not path:
        raise ValueError(f"must be 'module:function' or one of {list(CHECKS)}, got {check!r}")
    try:
        found: Any = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{check!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"{check!r} must be callable, got {found!r}")
    function: Check = found
    return function


def try_parameters(check: Check, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that do not fit the signature of a check; those of `CHECKS` are tried on an empty response.

    Raises:
        TypeError, ValueError: Says which parameter, and what is wrong with it.
    """
    try:
        inspect.signature(check).bind(Problem(""), "", **parameters)
    except TypeError as error:
        raise TypeError(f"do not fit the signature: {error}") from None
    if check in CHECKS.values():
        check(Problem(""), "", **parameters)


def _natural(parameter: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{parameter} must be an integer of at least 0, got {value!r}")
    return value


def _text(parameter: str, value: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{parameter} must be a text of at least one character, got {value!r}")
    return value


def _folded(text: str, ignore_case: bool) -> str:
    return text.casefold() if ignore_case else text


def _occur(response: str, texts: str | Sequence[str], ignore_case: bool) -> list[bool]:
    wanted = [texts] if isinstance(texts, str) else texts
    if not isinstance(wanted, Sequence) or not wanted:
        raise ValueError(f"texts must be a text or a list of at least one, got {texts!r}")
    searched = _folded(response, ignore_case)
    return [_folded(_text("texts", text), ignore_case) in searched for text in wanted]


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str, flags: str) -> Any:
    try:
        regex = importlib.import_module("regex")  # no types come with it
    except ImportError as error:
        raise ImportError('the check "matches" needs regex: pip install "llm-morl-env[judge]"') from error
    if set(flags) - set(FLAGS):
        raise ValueError(f"flags must be letters of {''.join(FLAGS)!r}, got {flags!r}")
    try:
        return regex.compile(pattern, sum({getattr(regex, FLAGS[flag]) for flag in flags}))
    except regex.error as error:
        raise ValueError(f"pattern {pattern!r} is malformed: {error}") from None
