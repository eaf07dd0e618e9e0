"""The ToolRL reward: format in {0, 1} and correctness in [-3, 3] (Qian et al., arXiv 2504.13958, section 3.3).

With gold calls j, each matched to at most one predicted call of the same name::

    name    = Jaccard similarity of the tool names
    keys_j  = Jaccard similarity of the parameter names of gold call j and its match, 0 without one
    values_j = number of gold parameters with exactly the predicted value
    correctness = 6 * (name + sum_j (keys_j + values_j)) / (1 + sum_j (1 + parameters_j)) - 3

The released code (``verl/utils/reward_score/rlla.py`` of qiancheng0/ToolRL) differs from the paper: it
matches greedily in gold order, and its name similarity counts repeated names. Left out: the environment switches of
that code (reward schedules, granularity ablations, the length bonus; for the latter see `llm_morl_rewards.text`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from llm_morl_rewards.extract import CALL_CLOSE, CALL_OPEN, THINK_CLOSE, THINK_OPEN, strip_thoughts

RESPONSE_OPEN, RESPONSE_CLOSE = "<response>", "</response>"

Matching = Literal["greedy", "optimal"]


@dataclass(frozen=True)
class CallMatch:
    """One gold call beside its match.

    Args:
        keys: Jaccard similarity of the parameter names, in [0, 1]; 0 without a match.
        values: Number of gold parameters whose value is right.
        size: Number of gold parameters.
    """

    keys: float
    values: int
    size: int

    @property
    def score(self) -> float:
        """``keys + values``, what the matching maximises."""
        return self.keys + self.values

    @property
    def value_share(self) -> float:
        """Share of right values, in [0, 1]; of a gold call without parameters, whether it is matched."""
        return self.values / self.size if self.size else self.keys


@dataclass(frozen=True)
class CallScores:
    """The parts of one response's correctness: similarity of the names, and each gold call beside its match.

    All of ``name``, ``keys`` and ``values`` are 1 exactly when ``correctness`` is 3. Without gold calls ``name`` alone
    decides.
    """

    name: float
    matches: tuple[CallMatch, ...]

    @property
    def correctness(self) -> float:
        """ToolRL's correctness, in [-3, 3]."""
        score = self.name + sum(match.score for match in self.matches)
        return 6.0 * score / (1.0 + sum(1.0 + match.size for match in self.matches)) - 3.0

    @property
    def keys(self) -> float:
        """Mean similarity of the parameter names over the gold calls, in [0, 1]."""
        return _mean((match.keys for match in self.matches), default=self.name)

    @property
    def values(self) -> float:
        """Mean share of right values over the gold calls, in [0, 1]."""
        return _mean((match.value_share for match in self.matches), default=self.name)


def toolrl_format(gold: str, output: str) -> float:
    r"""ToolRL's format reward: 1 if the output has the sections of the gold answer, in order and strictly, else 0.

    The gold's tags choose the pattern; the whole output must match it, ``...`` being any text:
    ``<think>...</think>``, then ``\n<tool_call>\n...\n</tool_call>`` and ``\n<response>...</response>`` where the
    gold has them. Each tag of the latter two must occur exactly once. (One final newline is let pass, as by ``$`` in
    the released patterns.)

    A gold whose thought quotes a ``<tool_call>`` tag, where the released code crashes, is judged by its tags outside
    the thought, and for it the output's thoughts may quote tags too.

    >>> gold = '<think>add</think>\n<tool_call>\n{"name": "add", "parameters": {}}\n</tool_call>'
    >>> toolrl_format(gold, gold), toolrl_format(gold, gold.replace("\n", ""))
    (1.0, 0.0)
    """
    outside = strip_thoughts if CALL_OPEN in gold and _released_calls(gold) is None else str
    sections, counted = outside(gold), outside(output)
    pieces = [THINK_OPEN, THINK_CLOSE]
    if CALL_OPEN in sections:
        pieces[-1:] = [pieces[-1] + f"\n{CALL_OPEN}\n", f"\n{CALL_CLOSE}"]
    if RESPONSE_OPEN in sections:
        pieces[-1:] = [pieces[-1] + f"\n{RESPONSE_OPEN}", RESPONSE_CLOSE]
    tags = [tag for tag in (CALL_OPEN, CALL_CLOSE, RESPONSE_OPEN, RESPONSE_CLOSE) if any(tag in p for p in pieces)]
    once = all(counted.count(tag) == 1 for tag in tags)
    return float(once and _holds_in_order(output, pieces))


def toolrl_correctness(gold: str, output: str, *, matching: Matching = "greedy") -> float:
    r"""ToolRL's correctness reward of a tagged output against a tagged gold answer, in [-3, 3].

    A gold without a call gives 0 whatever the output; an output without both tags, with any line that is not JSON or
    with calls of another form gives -3; equal lists of calls give 3. Values are compared as parsed JSON with ``==``.

    Args:
        gold: The gold answer with its tags.
        output: The model's answer with its tags.
        matching: ``"greedy"`` is the released code: gold calls in order, each takes the first best unused call of its
            name; names compared as multisets. ``"optimal"`` is the paper: the assignment of the highest score
            (`scipy.optimize.linear_sum_assignment`); names compared as sets.

    Returns:
        The score. Equal to the released code wherever that does not crash; a gold whose thought quotes a tag, where it
        does, is scored by the calls outside the thoughts.

    Raises:
        ValueError: If ``matching`` is unknown, or the gold has a call section that is not JSON.

    >>> call = '<think>.</think>\n<tool_call>\n{"name": "add", "parameters": {"a": 1, "b": %d}}\n</tool_call>'
    >>> toolrl_correctness(call % 2, call % 2), toolrl_correctness(call % 2, call % 3)
    (3.0, 1.5)
    """
    if matching not in get_args(Matching):
        raise ValueError(f"toolrl_correctness(matching=) must be one of {get_args(Matching)}, got {matching!r}")
    if CALL_OPEN not in gold:
        return 0.0
    gold_calls = _released_calls(gold)
    if gold_calls is None:
        gold, output = strip_thoughts(gold), strip_thoughts(output)
        if CALL_OPEN not in gold:
            return 0.0
        gold_calls = _released_calls(gold)
    if gold_calls is None:
        raise ValueError(f"toolrl_correctness(gold=) must hold one JSON object a line between its tags, got {gold!r}")
    calls = _released_calls(output) if CALL_CLOSE in output else None
    return -3.0 if calls is None else _raw_correctness(gold_calls, calls, matching)


def multiset_jaccard(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Jaccard similarity that counts repetitions, in [0, 1]; 1 for two empty sequences.

    >>> multiset_jaccard(["a", "a"], ["a"])
    0.5
    """
    if list(first) == list(second):
        return 1.0
    shared = (Counter(first) & Counter(second)).total()
    return shared / (len(first) + len(second) - shared)


def score_calls(
    gold_names: Sequence[str],
    names: Sequence[str],
    sizes: Sequence[int],
    pair: Callable[[int, int], CallMatch],
    *,
    matching: Matching,
    name_share: float,
) -> CallScores:
    """Match predicted calls to gold calls of the same name and collect the scores.

    Args:
        gold_names: Name of each gold call.
        names: Name of each predicted call.
        sizes: Number of parameters of each gold call, for those without a match.
        pair: ``(gold index, predicted index) -> CallMatch``; asked for pairs of the same name only.
        matching: See `toolrl_correctness`. A pair that scores 0 is no match.
        name_share: The similarity of the names, passed through.
    """
    match = _match_greedily if matching == "greedy" else _match_optimally
    matched = match(gold_names, names, pair)
    unmatched = (CallMatch(0.0, 0, size) for size in sizes)
    return CallScores(name_share, tuple(matched.get(row, empty) for row, empty in enumerate(unmatched)))


def _match_greedily(
    gold_names: Sequence[str], names: Sequence[str], pair: Callable[[int, int], CallMatch]
) -> dict[int, CallMatch]:
    matched: dict[int, CallMatch] = {}
    used: set[int] = set()
    for row, gold_name in enumerate(gold_names):
        best, best_column = CallMatch(0.0, 0, 0), -1
        for column, name in enumerate(names):
            if column not in used and name == gold_name and (candidate := pair(row, column)).score > best.score:
                best, best_column = candidate, column
        if best_column >= 0:
            matched[row] = best
            used.add(best_column)
    return matched


def _match_optimally(
    gold_names: Sequence[str], names: Sequence[str], pair: Callable[[int, int], CallMatch]
) -> dict[int, CallMatch]:
    from scipy.optimize import linear_sum_assignment  # here since it takes 0.4 s to import

    pairs = {
        (row, column): pair(row, column)
        for row, gold_name in enumerate(gold_names)
        for column, name in enumerate(names)
        if name == gold_name
    }
    scores = np.zeros((len(gold_names), len(names)))
    for cell, match in pairs.items():
        scores[cell] = match.score
    rows, columns = linear_sum_assignment(scores, maximize=True)
    cells = zip(rows.tolist(), columns.tolist(), strict=True)
    return {row: pairs[row, column] for row, column in cells if scores[row, column] > 0}


def _released_calls(text: str) -> list[Any] | None:
    """What the released code reads between the first ``<tool_call>``, wherever it stands, and the next closing tag.

    None where that fails: no tag, or a line that is not JSON for Python's parser.
    """
    sections = text.split(CALL_OPEN, 2)
    if len(sections) < 2:
        return None
    try:
        return [json.loads(line) for line in sections[1].split(CALL_CLOSE, 1)[0].strip().split("\n")]
    except (ValueError, RecursionError):
        return None


def _raw_correctness(gold_calls: list[Any], calls: list[Any], matching: Matching) -> float:
    """Correctness of parsed but unchecked JSON; where a part that is looked at has another form, -3."""
    try:
        if gold_calls == calls:
            return 3.0
        gold_names, names = [call["name"] for call in gold_calls], [call["name"] for call in calls]
        if matching == "greedy":
            name_share = multiset_jaccard(gold_names, names)
        else:
            name_share = len(set(gold_names) & set(names)) / len(set(gold_names) | set(names))

        def pair(row: int, column: int) -> CallMatch:
            expected, given = gold_calls[row]["parameters"], calls[column]["parameters"]
            keys = multiset_jaccard(list(expected.keys()), list(given.keys()))
            right = sum(key in given and given[key] == value for key, value in expected.items())
            return CallMatch(keys, right, len(expected))

        sizes = [len(call["parameters"]) for call in gold_calls]
        scores = score_calls(gold_names, names, sizes, pair, matching=matching, name_share=name_share)
    except (TypeError, KeyError, AttributeError, RecursionError):
        return -3.0
    return scores.correctness


def _holds_in_order(text: str, pieces: Sequence[str]) -> bool:
    """Whether the text is ``pieces`` with any text between, the last one at the end or before one final newline.

    The same as a search for ``^piece.*?piece.*?piece$`` (dot matches newline), but in linear time: backtracking makes
    such a pattern quadratic on text that repeats a piece.
    """
    if not text.startswith(pieces[0]):
        return False
    position = len(pieces[0])
    for piece in pieces[1:-1]:
        found = text.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    last = text.removesuffix("\n") if text.endswith(pieces[-1] + "\n") else text
    return last.endswith(pieces[-1]) and len(last) - len(pieces[-1]) >= position


def _mean(values: Iterable[float], *, default: float) -> float:
    collected = list(values)
    return sum(collected) / len(collected) if collected else default
