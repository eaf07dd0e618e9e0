"""What the makers of tasks share: procedural splits, real splits, tokenizer, transforms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from llm_morl_env.data.rows import longest, split_rows
from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem

#: Splits of the procedural tasks, in the order of their seeds.
SPLITS = ("train", "eval", "unseen")
#: "Endless": an index into the training split may be any int32.
TRAIN_SIZE = 2**31 - 1
EVAL_SIZE = 512

Splits = dict[str, Sequence[Problem]]


class LazyProblems(Sequence[Problem]):
    """Problems that are made when asked for. A subclass says how many there are, and makes one."""

    @abstractmethod
    def problem(self, index: int) -> Problem:
        """The problem at an index from 0 up to the length, made anew."""

    @overload
    def __getitem__(self, index: int) -> Problem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Problem]: ...
    def __getitem__(self, index: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"problem {index} is out of range: there are {len(self)}")
        return self.problem(index % len(self))


class ProceduralProblems(LazyProblems):
    """The problems of one split: problem i is a pure function of (seed, split, i).

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

    def problem(self, index: int) -> Problem:
        """See `LazyProblems`."""
        return self.make(index, np.random.default_rng([self.seed, SPLITS.index(self.split), index]))


class MappedProblems(LazyProblems):
    """Problems changed by a function when a problem is asked for; a slice of them is lazy too.

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
        return super().__getitem__(index)

    def problem(self, index: int) -> Problem:
        """See `LazyProblems`."""
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


def real_splits(
    rows: Sequence[Problem],
    change: Callable[[Problem], Problem],
    count: Callable[[str], int],
    max_prompt_tokens: int | None,
) -> tuple[Splits, int, int]:
    """The splits of real rows, and the lengths that a task needs to know.

    Args:
        rows: With ``meta["gold"]`` each.
        change: Made to each problem when it is asked for.
        count: Length of a text in tokens.
        max_prompt_tokens: None counts the longest prompt, which takes seconds for a large file.

    Returns:
        Train and eval split, the greatest length of a prompt, and twice that of the longest gold answer.
    """
    splits: Splits = {name: MappedProblems(part, change) for name, part in split_rows(rows).items()}
    prompt_tokens = max_prompt_tokens or longest([problem.prompt for problem in rows], count)
    return splits, prompt_tokens, 2 * longest([problem.meta["gold"] for problem in rows], count)


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
