"""`SummaryFront`: the exact Pareto front of the procedural summarisation task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.metrics import nondominated
from llm_morl_env.tasks.building import EVAL_SIZE
from llm_morl_rewards import Problem
from llm_morl_rewards.summary import CLAUSE_SEPARATOR, VALUE_SEPARATOR

Floats = NDArray[np.float64]
#: The objectives of `SummaryFront.front_of`'s columns.
COLUMNS = ("coverage", "faithfulness", "conciseness")
#: Up to so many problems every point of the front is found; beyond, those that are best for some linear preference.
MAX_EXACT = 32
#: Beyond so many problems the first ones stand for all: the training split is endless.
MAX_PROBLEMS = EVAL_SIZE
#: What a unit of one objective may be worth in units of another, in `supported_weights`.
EXCHANGE_RATES = tuple(float(rate) for rate in np.geomspace(1 / 1024, 1024, 81))
#: Decimals within which sums over problems are equal.
_DECIMALS = 12


@dataclass(frozen=True)
class SummaryFront:
    """The Pareto front of `llm_morl_env.tasks.summarize.summarize_task`: means over problems of one response each.

    Of one problem with F facts, a response that earns coverage k/F contains k right clauses; without its other clauses
    it is as covering, wholly faithful and no longer. So the front holds one point for each k, that of the k clauses
    with the fewest tokens (the first clause has no separator before it)::

        k = 0        (0, 0, 1)                                  the empty summary, which is not faithful
        k = 1..F     (k/F, 1, 1 - least tokens of k / D)        D tokens in the document

    The front of the means is that of the sums of one point a problem (their Minkowski sum), divided by the number of
    problems. Up to `MAX_EXACT` problems it is formed problem by problem, and is complete. Beyond, it has too many
    points to list: the result holds those that maximise ``w . r`` for a preference ``w`` of `supported_weights`, all
    positive. They are found problem by problem, and no policy improves on any of them; what is missing lies between
    them, off the convex hull by the order of one problem's share, 1/n. Of more than `MAX_PROBLEMS` problems the first
    `MAX_PROBLEMS` are taken: for the endless training split this is a sample, not its expectation.

    Args:
        count: Length of a text, by a tokenizer that passes `llm_morl_env.tasks.summarize_grammar.splits_by_clause`.
        max_response_tokens: Summaries above it cannot be given.
        objectives: Names of `COLUMNS`, in the order wanted.
    """

    count: Callable[[str], int]
    max_response_tokens: int
    objectives: tuple[str, ...] = COLUMNS

    def __call__(self, problems: Sequence[Problem]) -> Floats:
        """Points (F, K), in lexicographic order."""
        fronts = [self.front_of(problems[i]) for i in range(min(len(problems), MAX_PROBLEMS))]
        sums = _all_sums(fronts) if len(fronts) <= MAX_EXACT else _supported_sums(fronts)
        return sums / len(fronts)

    def front_of(self, problem: Problem) -> Floats:
        """The front of one problem, (F', K), in lexicographic order."""
        clauses = [f"{key}{VALUE_SEPARATOR}{value}" for key, value in problem.target["facts"].items()]
        lengths = least_tokens(
            [self.count(clause) for clause in clauses], [self.count(CLAUSE_SEPARATOR + clause) for clause in clauses]
        )
        points = [
            (k / len(clauses), float(k > 0), max(0.0, 1.0 - tokens / problem.meta["document_tokens"]))
            for k, tokens in enumerate(lengths)
            if tokens <= self.max_response_tokens
        ]
        return _front(np.array(points)[:, [COLUMNS.index(name) for name in self.objectives]])


def least_tokens(first: Sequence[int], later: Sequence[int]) -> list[int]:
    """Fewest tokens of 0, 1, ..., F clauses in the best order.

    Args:
        first: Tokens of each clause as the first of a summary, (F,).
        later: Tokens of each clause with the separator before it, (F,).

    >>> least_tokens([4, 5, 3], [5, 5, 4])
    [0, 3, 8, 13]
    """
    best = [0]
    for k in range(1, len(first) + 1):
        choices = [
            alone + sum(sorted([*later[:i], *later[i + 1 :]])[: k - 1])  # clause i first, then the shortest others
            for i, alone in enumerate(first)
        ]
        best.append(min(choices))
    return best


def _all_sums(fronts: Sequence[Floats]) -> Floats:
    """The front of all sums of one point of each front; a dominated sum stays dominated whatever is added."""
    return reduce(lambda one, other: _front((one[:, None] + other).reshape(-1, one.shape[1])), fronts)


def _supported_sums(fronts: Sequence[Floats]) -> Floats:
    """Sums of the points of each front that are best for a preference, one sum a preference."""
    weights = supported_weights(fronts[0].shape[1])
    sums = sum(front[(weights @ front.T).argmax(axis=1)] for front in fronts)
    return _front(np.asarray(sums))


def supported_weights(n_objectives: int) -> Floats:
    """Preferences (W, K): the first objective at 1, each other one at each of `EXCHANGE_RATES`.

    Even steps of the rates' logarithms, since the objectives trade at very different rates: of an empty summary the
    first clause gains all of faithfulness for a few hundredths of conciseness.

    >>> supported_weights(1).tolist(), supported_weights(3).shape
    ([[1.0]], (6561, 3))
    """
    return np.array([(1.0, *rates) for rates in product(EXCHANGE_RATES, repeat=n_objectives - 1)])


def _front(points: Floats) -> Floats:
    """The nondominated rows, each once, in lexicographic order."""
    distinct = np.unique(points.round(_DECIMALS), axis=0)
    return distinct[nondominated(distinct)]
