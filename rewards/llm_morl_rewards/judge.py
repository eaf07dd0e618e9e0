"""Judges compare two responses question by question: the protocol, a rule-based judge, and a cache around any judge.

A judge knows nothing of weights, polarity or groups. `llm_morl_rewards.win_rates` decides who meets whom and
`llm_morl_rewards.rubric` aggregates, so that every verdict can be read, and weighed anew, by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from llm_morl_rewards.base import Problem
from llm_morl_rewards.text import count_words


class Judge(Protocol):
    """A picklable callable that compares two responses to a problem, question by question.

    A verdict is in [-1, 1]: 1 where the first response has what the question asks for, and the second has not; -1 the
    other way round; 0 where they do not differ. It says *which has more of it*, never whether that is desirable.
    The same arguments give the same verdicts. A judge that gives none raises; it never answers 0 instead.

    Attributes:
        identity: All that its verdicts depend on besides the arguments, as text without secrets.
        concurrency: How many calls may run at once, each in a thread.
    """

    @property
    def identity(self) -> str:
        """See above."""

    @property
    def concurrency(self) -> int:
        """See above."""

    def __call__(
        self, questions: Mapping[str, str], problem: Problem, response_a: str, response_b: str
    ) -> Mapping[str, float]:
        """The verdicts by criterion, for ``questions`` by criterion."""


class JudgeError(RuntimeError):
    """A judge gave no verdict, or one that is none.

    Attributes:
        criteria: The criteria that were asked about, or the one whose verdict is malformed.
        rows: The two rows of the batch that were compared; empty outside a batch.
        status: HTTP status of the last answer; None where there was none.
    """

    def __init__(
        self, message: str, *, criteria: Sequence[str] = (), rows: Sequence[int] = (), status: int | None = None
    ) -> None:
        super().__init__(message)
        self.criteria, self.rows, self.status = tuple(criteria), tuple(rows), status

    def __str__(self) -> str:
        place = []
        if self.criteria:
            place.append(f"criteria {', '.join(map(repr, self.criteria))}")
        if self.rows:
            place.append(f"rows {' and '.join(map(str, self.rows))}")
        if self.status is not None:
            place.append(f"HTTP status {self.status}")
        return f"{super().__str__()} ({'; '.join(place)})" if place else super().__str__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"  # what RewardError quotes

    def at(self, rows: Sequence[int]) -> JudgeError:
        """The same error, with the rows that were compared."""
        return JudgeError(super().__str__(), criteria=self.criteria, rows=rows, status=self.status)


def check_verdicts(verdicts: Mapping[str, float], questions: Mapping[str, str]) -> dict[str, float]:
    """Verdicts as floats in the order of the questions.

    Raises:
        JudgeError: If they are not one finite number in [-1, 1] for each question, and no other.

    >>> check_verdicts({"b": 0, "a": 1}, {"a": "Is it polite?", "b": "Is it long?"})
    {'a': 1.0, 'b': 0.0}
    """
    if not isinstance(verdicts, Mapping) or set(verdicts) != set(questions):
        got = list(verdicts) if isinstance(verdicts, Mapping) else verdicts
        raise JudgeError(f"verdicts must be one for each of {list(questions)}, got {got!r}", criteria=[*questions])
    for name, verdict in verdicts.items():
        is_number = isinstance(verdict, int | float | np.integer | np.floating) and not isinstance(verdict, bool)
        if not is_number or not -1 <= verdict <= 1:
            raise JudgeError(f"a verdict must be a number in [-1, 1], got {verdict!r}", criteria=[name])
    return {name: float(verdicts[name]) for name in questions}


def _words(problem: Problem, response: str) -> float:
    return count_words(response)


def _fewer_words(problem: Problem, response: str) -> float:
    return -count_words(response)


#: What `DeterministicJudge` can go by, by name.
MEASURES: Mapping[str, Callable[[Problem, str], float]] = {"longer": _words, "shorter": _fewer_words}


@dataclass(frozen=True)
class DeterministicJudge:
    """A judge by rules, for tests and for trying a rubric out: the sign of the difference of a measure.

    verdict = sign(measure(a) - measure(b)). It does not read the questions.

    Args:
        rules: What decides, by criterion: ``"longer"`` or ``"shorter"`` (words); a list of keywords, of which the one
            with more different ones wins, case ignored; or a function ``(problem, response) -> float``.

    Raises:
        ValueError: If a rule is none of these.

    >>> judge = DeterministicJudge({"terse": "shorter", "polite": ["please", "thank"]})
    >>> questions = {"terse": "Is it terse?", "polite": "Is it polite?"}
    >>> judge(questions, Problem(""), "tea", "Tea please, thank you")
    {'terse': 1.0, 'polite': -1.0}
    """

    rules: Mapping[str, str | Sequence[str] | Callable[[Problem, str], float]]

    def __post_init__(self) -> None:
        rules = {}
        for name, rule in self.rules.items():
            named = isinstance(rule, str) and rule in MEASURES
            keywords = isinstance(rule, list | tuple) and bool(rule) and all(isinstance(word, str) for word in rule)
            if not (named or keywords or callable(rule)):
                raise ValueError(
                    f"DeterministicJudge(rules=): the rule of {name!r} must be one of {list(MEASURES)}, a list of "
                    f"keywords or a function, got {rule!r}"
                )
            rules[name] = tuple(rule) if isinstance(rule, list) else rule
        object.__setattr__(self, "rules", rules)

    @property
    def identity(self) -> str:
        """The rules; functions by their import path (a lambda has none, which is a ValueError)."""
        return "DeterministicJudge " + json.dumps(self.rules, sort_keys=True, default=_import_path)

    @property
    def concurrency(self) -> int:
        """1: rules are faster than threads."""
        return 1

    def __call__(
        self, questions: Mapping[str, str], problem: Problem, response_a: str, response_b: str
    ) -> dict[str, float]:
        """See `Judge`.

        Raises:
            KeyError: If a criterion has no rule.
        """
        missing = [name for name in questions if name not in self.rules]
        if missing:
            raise KeyError(f"DeterministicJudge(rules=) has no rule for {missing}, only for {list(self.rules)}")
        a, b = (self._measure(questions, problem, response) for response in (response_a, response_b))
        return {name: float(np.sign(a[name] - b[name])) for name in questions}

    def _measure(self, questions: Mapping[str, str], problem: Problem, response: str) -> dict[str, float]:
        values = {}
        for name in questions:
            rule = self.rules[name]
            if isinstance(rule, str):
                values[name] = MEASURES[rule](problem, response)
            elif callable(rule):
                values[name] = rule(problem, response)
            else:
                values[name] = float(sum(word.casefold() in response.casefold() for word in rule))
        return values


class CachedJudge:
    """A judge that asks another one only what was never asked before, also across runs where it has a file.

    The key is the SHA-256 of the judge's identity, the questions, the problem (prompt, target, meta) and both
    responses, in this order. The file holds keys and verdicts, one JSON object a line, and no texts. Each verdict is
    written when it comes, in one write to the end of the file; a line that a crash left unfinished is passed over and
    asked for again. Nothing is kept of a call that failed. In one process threads may share a cache, and of several
    that ask the same at once one asks the judge. Processes may share a file: each reads it when it begins, so some
    questions are asked twice.

    A pickled copy has the same judge and file, and no memory.

    Args:
        judge: The judge to ask.
        path: The file; made when there is something to write. None keeps verdicts in memory only.

    Raises:
        ValueError: If the file is there and holds no verdict at all.

    >>> cached = CachedJudge(DeterministicJudge({"long": "longer"}))
    >>> [cached({"long": "Is it long?"}, Problem(""), "a b", "a") for _ in range(2)], len(cached)
    ([{'long': 1.0}, {'long': 1.0}], 1)
    """

    def __init__(self, judge: Judge, path: str | Path | None = None) -> None:
        self.judge, self.path = judge, None if path is None else Path(path)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Future[dict[str, float]]] = {}
        self._known = {} if self.path is None or not self.path.exists() else _read_cache(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"judge": self.judge, "path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"CachedJudge({self.judge!r}, {None if self.path is None else str(self.path)!r})"

    @property
    def identity(self) -> str:
        """That of the judge: its verdicts are the same."""
        return self.judge.identity

    @property
    def concurrency(self) -> int:
        """That of the judge."""
        return self.judge.concurrency

    def __call__(
        self, questions: Mapping[str, str], problem: Problem, response_a: str, response_b: str
    ) -> dict[str, float]:
        """See `Judge`.

        Raises:
            JudgeError: As the judge does, or if its verdicts are malformed; neither is kept.
            TypeError: If the problem's target or meta is no JSON value.
        """
        key = cache_key(self.judge.identity, questions, problem, response_a, response_b)
        with self._lock:
            known = self._known.get(key, {})
            if known.keys() == questions.keys():
                return {name: known[name] for name in questions}
            running = self._running.get(key)
            if running is None:
                mine = self._running[key] = Future()
        if running is not None:
            return dict(running.result())
        try:
            verdicts = check_verdicts(self.judge(questions, problem, response_a, response_b), questions)
            with self._lock:
                self._append(key, verdicts)
                self._known[key] = verdicts
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(verdicts)
        finally:
            with self._lock:
                del self._running[key]
        return dict(verdicts)

    def _append(self, key: str, verdicts: Mapping[str, float]) -> None:
        if self.path is None:
            return
        line = json.dumps({"key": key, "verdicts": verdicts}) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+", buffering=0) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                # What a crash left unfinished becomes a line of its own.
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())


def cache_key(identity: str, questions: Mapping[str, str], problem: Problem, response_a: str, response_b: str) -> str:
    """SHA-256, in hexadecimal, of everything that verdicts depend on.

    Raises:
        TypeError: If the problem's target or meta is no JSON value.
    """
    try:
        text = json.dumps([identity, list(questions.items()), asdict(problem), response_a, response_b], sort_keys=True)
    except TypeError as error:
        raise TypeError(f"a cached judge needs problems whose target and meta are JSON values: {error}") from None
    return hashlib.sha256(text.encode()).hexdigest()


def _read_cache(path: Path) -> dict[str, dict[str, float]]:
    known, lines = {}, [line for line in path.read_bytes().split(b"\n") if line.strip()]
    for line in lines:
        try:
            entry = json.loads(line)
            names = dict.fromkeys(entry["verdicts"], "")
            known[str(entry["key"])] = check_verdicts(entry["verdicts"], names)
        except (ValueError, KeyError, TypeError, RecursionError, JudgeError):
            continue  # unfinished when the process ended
    start = b'{"key": "'
    if lines and not known and not start.startswith(lines[0][: len(start)]):
        raise ValueError(f"CachedJudge(path={str(path)!r}): the file is there and is no cache of verdicts")
    return known


def _import_path(value: Any) -> str:
    name = getattr(value, "__qualname__", "<")
    if "<" in name:  # a lambda, a local function, an object: two of them could not be told apart
        raise ValueError(f"DeterministicJudge.identity: a rule must be a function with an import path, got {value!r}")
    return f"{value.__module__}:{name}"
