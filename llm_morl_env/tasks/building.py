"""What the makers of tasks share: procedural splits, real splits, tokenizer, transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from llm_morl_env.data.rows import split_rows
from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem

#: Splits of the procedural tasks, in the order of their seeds.
SPLITS = ("train", "eval", "unseen")
#: "Endless": an index into the training split may be any int32.
TRAIN_SIZE = 2**31 - 1
EVAL_SIZE = 512

Splits = dict[str, Sequence[Problem]]


class ProceduralProblems(Sequence[Problem]):
    """The problems of one split, made when asked for: problem i is a pure function of (seed, split, i).

    Nothing is stored, any index can be asked for, and two processes agree.

    Args:
        make: ``(index, rng) -> Problem``; picklable. The generator is fresh for each problem.
        split: One of `SPLITS`; its place is part of each problem's seed.
        seed: Of the whole task.
        size: None takes `TRAIN_SIZE` for ``train`` and `EVAL_SIZE` for the others.
    """

    def __init__(
        self,
        make: Callable[[int, np.random.Generator], Problem],
        split: str,
        *,
        seed: int,
        size: int | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
        self.make, self.split, self.seed = make, split, seed
        self.size = size or (TRAIN_SIZE if split == "train" else EVAL_SIZE)

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"problem {index} is out of range for the split {self.split!r} of {len(self)} problems")
        index %= len(self)
        return self.make(index, np.random.default_rng([self.seed, SPLITS.index(self.split), index]))


class MappedProblems(Sequence[Problem]):
    """Problems changed by a function when a problem is asked for.

    Args:
        problems: The originals.
        change: ``problem -> problem``; picklable.
    """

    def __init__(self, problems: Sequence[Problem], change: Callable[[Problem], Problem]) -> None:
        self.problems, self.change = problems, change

    def __len__(self) -> int:
        return len(self.problems)

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(index, slice):
            return MappedProblems(self.problems[index], self.change)
        return self.change(self.problems[index])


def stratify(shares: Sequence[float], size: int) -> list[int]:
    """Stratum of each index such that every prefix has the shares as closely as possible (largest deficit first).

    >>> stratify([0.5, 0.25, 0.25], 8)
    [0, 1, 2, 0, 0, 1, 2, 0]
    """
    counts = [0] * len(shares)
    strata = []
    for index in range(size):
        deficits = [share * (index + 1) - count for share, count in zip(shares, counts, strict=True)]
        stratum = int(np.argmax(deficits))
        counts[stratum] += 1
        strata.append(stratum)
    return strata


def counter_of(tokenizer: str | Path | TextTokenizer | None) -> TextTokenizer:
    """The tokenizer that a ``tokenizer=`` argument means; None is the built-in one."""
    return tokenizer if isinstance(tokenizer, TextTokenizer) else TextTokenizer(tokenizer)


def real_splits(rows: Sequence[Problem], change: Callable[[Problem], Problem]) -> Splits:
    """Train and eval split of real rows, each problem changed when it is asked for."""
    return {name: MappedProblems(part, change) for name, part in split_rows(rows).items()}


def transformed(task: Task, transforms: Sequence[TransformLike]) -> Task:
    """The task after the transforms, in order; those that are given as texts or mappings are made first.

    Raises:
        TypeError: If ``transforms`` is no sequence, or an entry no transform.
    """
    if not transforms:
        return task
    from llm_morl_env.transforms import transform_of  # transforms need tasks in turn

    if isinstance(transforms, str | Mapping) or not isinstance(transforms, Sequence):
        raise TypeError(f"transforms= must be a sequence, got {transforms!r}")
    for transform in transforms:
        task = transform_of(transform)(task)
    return task
