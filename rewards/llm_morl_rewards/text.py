"""Rewards on the length of a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, cast

import numpy as np

from llm_morl_rewards.base import Kind, Problem, RewardFunction


def count_words(text: str) -> int:
    r"""Number of words: the parts between runs of white space.

    >>> count_words("one  two\nthree")
    3
    """
    return len(text.split())


def brevity(
    target: float | str, cap: float | str, count: Callable[[str], int] = count_words, *, name: str = "brevity"
) -> RewardFunction:
    """Make the reward "brevity", in [0, 1]: 1 up to the target length, from there linearly down to 0 at the cap.

    The reward is picklable where ``count`` is.

    Args:
        target: Greatest length that still has the full reward, or the name of the `Problem.meta` entry that holds it
            (a length of its own for each problem).
        cap: Smallest length without reward, above ``target``; a number or a name likewise.
        count: Length of a text, in the unit of the other two: `count_words`, or a tokenizer's counter.
        name: Of the reward.

    Raises:
        ValueError: If not ``0 <= target < cap``, both finite; for lengths read from a problem, when it is scored.
        KeyError: When a problem is scored that lacks the named entry.

    >>> short = brevity(target=2, cap=6)
    >>> [short(Problem(""), text) for text in ("yes", "a b c", "a b c d e f g")]
    [1.0, 0.75, 0.0]
    """
    for parameter, value in (("target", target), ("cap", cap)):
        if not isinstance(value, str):
            _check_number(parameter, value)
    if not isinstance(target, str) and not isinstance(cap, str):
        _check_order(target, cap)
    if not callable(count):
        raise TypeError(f"brevity(count=) must be a callable str -> int, got {count!r}")
    return cast(RewardFunction, _Brevity(target, cap, count, name))


@dataclass(frozen=True)
class _Brevity:
    target: float | str
    cap: float | str
    count: Callable[[str], int]
    name: str = "brevity"
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        target, cap = _length(problem, "target", self.target), _length(problem, "cap", self.cap)
        _check_order(target, cap)
        return float(np.clip((cap - self.count(response)) / (cap - target), 0.0, 1.0))


def _length(problem: Problem, parameter: str, length: float | str) -> float:
    if not isinstance(length, str):
        return length
    if length not in problem.meta:
        raise KeyError(f"brevity({parameter}={length!r}): the problem's meta has no such entry, only {[*problem.meta]}")
    value = problem.meta[length]
    _check_number(f"{parameter}={length!r}: meta entry", value)
    return float(value)


def _check_number(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
        raise ValueError(f"brevity({what}) must be a finite number, got {value!r}")


def _check_order(target: float, cap: float) -> None:
    if not 0 <= target < cap:
        raise ValueError(f"brevity(target=, cap=) needs 0 <= target < cap, got target={target!r}, cap={cap!r}")
