"""`MixedProblems`: the problems of several tasks as one sequence, in the shares of their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llm_morl_env.tasks.building import TRAIN_SIZE, LazyProblems, MappedProblems, stratify
from llm_morl_rewards import Problem

#: The key of a problem's ``meta`` that says which task it is of.
TASK = "task"
#: Up to this size the shares of every beginning are as close as can be; then the order repeats.
PERIOD = 1000
#: The least share of a task.
MIN_SHARE = 1e-4


class MixedProblems(LazyProblems):
    """Problems of C parts, interleaved; nothing is stored but the order of one period.

    It ends before a part is used up, but not before every part has appeared.

    Args:
        parts: The problems of each; read from the beginning again where one is used up.
        shares: Of the parts, at least `MIN_SHARE`, with the sum 1.
        repeat: Go on until every problem of every part has appeared, repeating those of smaller parts; without end
            where a part is endless.

    >>> parts = [Problem("a1"), Problem("a2"), Problem("a3")], [Problem("b1"), Problem("b2")]
    >>> mixed = MixedProblems(parts, (0.75, 0.25))
    >>> [problem.prompt for problem in mixed]
    ['a1', 'a2', 'b1', 'a3']
    >>> mixed.count(1), mixed.index_of(1, 0)
    (1, 2)
    """

    def __init__(self, parts: Sequence[Sequence[Problem]], shares: Sequence[float], *, repeat: bool = False) -> None:
        self.parts = tuple(parts)
        self._order = np.array(stratify(shares, max(PERIOD, math.ceil(4 / min(shares)))), np.int64)
        self._places = tuple(np.flatnonzero(self._order == c) for c in range(len(self.parts)))
        bounds = [len(part) / share for part, share in zip(self.parts, shares, strict=True)]
        self.size = min(math.ceil(max(bounds)) if repeat else math.floor(min(bounds)), TRAIN_SIZE)
        # The order is within a few problems of the shares; the sizes of the parts are to be met exactly.
        sizes = [len(part) for part in self.parts]
        while not repeat and any(self.count(c) > size for c, size in enumerate(sizes)):
            self.size -= 1
        while self.size < TRAIN_SIZE and any(self.count(c) < (n if repeat else 1) for c, n in enumerate(sizes)):
            self.size += 1

    def __len__(self) -> int:
        return self.size

    def problem(self, index: int) -> Problem:
        """See `llm_morl_env.tasks.building.LazyProblems`."""
        block, place = divmod(index, len(self._order))
        part = int(self._order[place])
        number = block * len(self._places[part]) + int(np.searchsorted(self._places[part], place))
        return self.parts[part][number % len(self.parts[part])]

    def count(self, part: int) -> int:
        """How many problems of the sequence are of a part."""
        blocks, rest = divmod(self.size, len(self._order))
        places = self._places[part]
        return blocks * len(places) + int(np.searchsorted(places, rest))

    def index_of(self, part: int, number: int) -> int:
        """Where the ``number``-th problem of a part stands first."""
        block, place = divmod(number, len(self._places[part]))
        return block * len(self._order) + int(self._places[part][place])


@dataclass(frozen=True)
class Tagged:
    """Says in a problem's ``meta["task"]`` which task it is of."""

    task: str

    def __call__(self, problem: Problem) -> Problem:
        """The problem with it.

        Raises:
            ValueError: If it says something else there.
        """
        if TASK in problem.meta:
            raise ValueError(
                f"task {self.task!r}: the meta of its problems holds {TASK!r} already; mixtures do not nest"
            )
        return replace(problem, meta={**problem.meta, TASK: self.task})


def tagged(task: str, problems: Sequence[Problem]) -> MappedProblems:
    """The problems of a task, each saying so."""
    return MappedProblems(problems, Tagged(task))
