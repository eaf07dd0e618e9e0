"""Candidate responses to choose from: written by a frozen language model, read from a file, or drawn from a grammar.

A source says, for each problem of a split, k candidates that are a function of the source's seed, the split and the
problem's number, whatever was asked for before: those of a file and of a grammar exactly, those of a model up to
rounding. A model's matrix products round differently in batches of different height, on other processors and in other
libraries, and move its log-probabilities by some 1e-6, rarely 1e-5. So these are rounded to `DECIMALS`, and candidates
whose means agree to so many decimals stand in the order in which they were drawn. What lies so near to the middle of
two roundings may still fall on either side, as may a draw between two tokens: then a log-probability is one unit of the
last decimal off, or two candidates of nearly equal means change places. A file of candidates has none of this.

Shapes: n problems, k candidates, T tokens, K objectives, w weight vectors.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_morl_env.data.rows import Cells, DataError, read_rows
from llm_morl_env.envs.base import read_answer
from llm_morl_env.language_model import Candidate, LanguageModel
from llm_morl_env.task import Task

#: Log-probabilities of sources, and the means that candidates are ordered by, are rounded to so many decimals.
DECIMALS = 3
#: Decimals of the means that files of earlier versions were ordered by; rounding twice keeps their order.
_FORMER_DECIMALS = 4
#: Problems whose candidates a process keeps for each language model; the oldest give way.
KEPT_PROBLEMS = 8192
#: Responses that `GrammarCandidates` draws for each candidate it needs, before it repeats some.
TRIES = 16

Candidates = tuple[Candidate, ...]


class CandidateSource(Protocol):
    """Where candidates come from. Picklable.

    Attributes:
        k: Candidates of a problem.
    """

    @property
    def k(self) -> int:
        """See above."""

    def covered(self, split: str) -> int | None:
        """So many first problems of the split have candidates; None for all of them."""

    def candidates(self, split: str, numbers: Sequence[int]) -> list[Candidates]:
        """The candidates of some problems of a split, in one batch where that is faster, the likeliest first.

        Raises:
            ValueError: If a problem has none.
        """


class ModelCandidates:
    """Candidates that a frozen language model samples; kept for the process, and written in batches.

    Args:
        task: Its prompts are answered, up to its cap.
        language_model: Over the task's tokenizer.
        k: Candidates of a problem.
        temperature: Of sampling; log-probabilities are those at 1.
        seed: Of sampling; the generator of a problem is that of (seed, split, number).

    Raises:
        ValueError: If ``k`` is below 1, or ``temperature`` not above 0.
    """

    def __init__(
        self, task: Task, language_model: LanguageModel, *, k: int, temperature: float = 1.0, seed: int = 0
    ) -> None:
        if not (np.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature must be finite and above 0, got {temperature!r}")
        self.task, self.language_model, self.k = task, language_model, _checked_k(k)
        self.temperature, self.seed = float(temperature), seed

    def covered(self, split: str) -> int | None:
        """None: every problem."""
        return None

    def candidates(self, split: str, numbers: Sequence[int]) -> list[Candidates]:
        """See `CandidateSource.candidates`."""
        shown = self.task.with_split(split)
        settings = (self.k, self.temperature, self.seed, self.task.max_response_tokens, split)
        keys = [(*settings, number, shown[number].prompt) for number in numbers]
        kept = _KEPT.setdefault(self.language_model, OrderedDict())
        found = {key: kept[key] for key in keys if key in kept}
        missing = list(dict.fromkeys(key for key in keys if key not in found))
        if missing:
            written = self.language_model.write(
                [key[-1] for key in missing],
                self.k,
                max_new_tokens=self.task.max_response_tokens,
                temperature=self.temperature,
                rngs=[generator_of(self.seed, split, key[-2]) for key in missing],
            )
            found.update((key, in_order(rounded(group))) for key, group in zip(missing, written, strict=True))
        for key in keys:
            kept[key] = found[key]
            kept.move_to_end(key)
        while len(kept) > KEPT_PROBLEMS:
            kept.popitem(last=False)
        return [found[key] for key in keys]


#: Candidates by model, the last used ones last. Handles of models are few and live as long as their process.
_KEPT: WeakKeyDictionary[LanguageModel, OrderedDict[tuple[Any, ...], Candidates]] = WeakKeyDictionary()


class GrammarCandidates:
    """Distinct responses drawn from a task's grammar, token by token, uniformly among those that may follow.

    Where distinct ones are hard to find (or there are none), some are repeated.

    Args:
        task: One with a grammar.
        k: Candidates of a problem.
        seed: The generator of a problem is that of (seed, split, number).

    Raises:
        ValueError: If the task has no grammar, or ``k`` is below 1.
    """

    def __init__(self, task: Task, *, k: int, seed: int = 0) -> None:
        if task.grammar is None:
            raise ValueError(
                f"candidates='grammar': task {task.name!r} has no grammar; write candidates by a model over its "
                "tokenizer (language_model=), or give a file of them (candidates=PATH)"
            )
        self.task, self.k, self.seed = task, _checked_k(k), seed

    def covered(self, split: str) -> int | None:
        """None: every problem."""
        return None

    def candidates(self, split: str, numbers: Sequence[int]) -> list[Candidates]:
        """See `CandidateSource.candidates`."""
        return [self._of(split, number) for number in numbers]

    def _of(self, split: str, number: int) -> Candidates:
        rng, drawn = generator_of(self.seed, split, number), OrderedDict[str, Candidate]()
        for _ in range(TRIES * self.k):
            if len(drawn) == self.k:
                break
            candidate = self._draw(split, number, rng)
            drawn.setdefault(candidate.text, candidate)
        distinct = list(drawn.values())
        return in_order(rounded(distinct[i % len(distinct)] for i in range(self.k)))

    def _draw(self, split: str, number: int, rng: np.random.Generator) -> Candidate:
        task, grammar = self.task, self.task.grammar
        assert grammar is not None  # `__init__` sees to it
        problem = task.with_split(split)[number]
        written: list[int] = []
        log_probs: list[float] = []
        while len(written) < task.max_response_tokens and task.tokenizer.eos_id not in written:
            allowed = np.flatnonzero(grammar.allowed(problem, written))
            written.append(int(rng.choice(allowed)))
            log_probs.append(-float(np.log(len(allowed))))
        finished = written[-1] == task.tokenizer.eos_id
        text = task.tokenizer.decode(written[:-1] if finished else written)
        return Candidate(text, np.array(log_probs, np.float32), np.empty(0, np.float32), finished)


class StoredCandidates:
    """Candidates from a JSON Lines file, one problem a line, as `write_candidates` writes it.

    | field | holds |
    |---|---|
    | ``split``, ``problem`` | which problem of the task it is, by its number in the split |
    | ``prompt`` | its prompt: a file for another task, or with other options, is found out |
    | ``texts`` | the candidates, at least k; the first k are taken, and shown by `in_order` |
    | ``log_probs`` | for each a list: the log-probability of each of its tokens under its writer, at temperature 1 |
    | ``finished`` | for each whether it ended by itself, not at a cap |

    Args:
        task: Whose problems they answer.
        path: The file.
        k: Candidates of a problem.

    Raises:
        DataError: If the file or a row of it is malformed.
        ValueError: If ``k`` is below 1.
    """

    def __init__(self, task: Task, path: str | Path, *, k: int) -> None:
        self.task, self.path, self.k = task, Path(path), _checked_k(k)
        self._rows: dict[tuple[str, int], tuple[int, str, Candidates]] = {}
        for row, cells in read_rows(path):
            place, prompt, group = _read_row(Cells(path, row, cells), self.k)
            if place in self._rows:
                raise DataError(path, f"problem {place[1]} of {place[0]!r} is there already", row=row, column="problem")
            self._rows[place] = row, prompt, group

    def covered(self, split: str) -> int | None:
        """The length of the first gapless run of problems, from number 0."""
        count = 0
        while (split, count) in self._rows:
            count += 1
        return count

    def candidates(self, split: str, numbers: Sequence[int]) -> list[Candidates]:
        """See `CandidateSource.candidates`."""
        return [self._of(split, number) for number in numbers]

    def _of(self, split: str, number: int) -> Candidates:
        if (split, number) not in self._rows:
            held = {name: sum(place[0] == name for place in self._rows) for name in self.task.problems}
            raise ValueError(
                f"candidates={str(self.path)!r} holds none for problem {number} of {split!r}; problems by split: {held}"
            )
        row, prompt, group = self._rows[split, number]
        if prompt != self.task.with_split(split)[number].prompt:
            raise DataError(
                self.path,
                f"is not the prompt of problem {number} of {split!r}: the file was written for another task, or the "
                "task with other options",
                row=row,
                column="prompt",
            )
        return group


def _read_row(cells: Cells, k: int) -> tuple[tuple[str, int], str, Candidates]:
    split, prompt = cells.get("split", str, "a text"), cells.get("prompt", str, "a text")
    number = cells.get("problem", int, "a number from 0")
    if isinstance(number, bool) or number < 0:
        cells.fail("problem", f"must be a number from 0, got {number!r}")
    texts = cells.get("texts", list, "a list of texts")
    if len(texts) < k or not all(isinstance(text, str) for text in texts):
        cells.fail("texts", f"must hold at least k={k} texts, got {len(texts)} value(s)")
    log_probs = cells.get("log_probs", list, "a list of lists of numbers")
    finished = cells.get("finished", list, "a list of true and false")
    if len(log_probs) != len(texts) or not all(_are_log_probs(values) for values in log_probs):
        cells.fail("log_probs", f"must hold, for each of {len(texts)} texts, a list of numbers of at most 0")
    if len(finished) != len(texts) or not all(isinstance(value, bool) for value in finished):
        cells.fail("finished", f"must hold true or false for each of {len(texts)} texts")
    group = [
        Candidate(text, np.array(values, np.float32), np.empty(0, np.float32), ended)
        for text, values, ended in zip(texts[:k], log_probs[:k], finished[:k], strict=True)
    ]
    return (split, number), prompt, in_order(group)


def _are_log_probs(values: Any) -> bool:
    numbers = isinstance(values, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and all(value <= 0 for value in values)


def write_candidates(path: str | Path, task: Task, source: CandidateSource, split: str, numbers: Iterable[int]) -> int:
    """Append the candidates of problems of a split to a file that `StoredCandidates` reads.

    Args:
        path: Made if missing.
        task: Of the problems.
        source: Of the candidates.
        split: Of the task.
        numbers: Of the problems.

    Returns:
        How many rows were written.
    """
    shown, asked = task.with_split(split), list(numbers)
    with Path(path).open("a", encoding="utf-8") as lines:
        for number, group in zip(asked, source.candidates(split, asked), strict=True):
            row = {
                "split": split,
                "problem": number,
                "prompt": shown[number].prompt,
                "texts": [candidate.text for candidate in group],
                "log_probs": [[float(str(v)) for v in candidate.log_probs] for candidate in group],
                "finished": [candidate.finished for candidate in group],
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(asked)


def generator_of(seed: int, split: str, number: int) -> np.random.Generator:
    """The generator of a problem: a function of the seed, the split's name and the problem's number.

    >>> first, second = (int(generator_of(0, "train", 5).integers(100)) for _ in range(2))
    >>> first == second
    True
    """
    return np.random.default_rng([seed, number, *split.encode()])


def rounded(candidates: Iterable[Candidate]) -> Candidates:
    """Candidates whose log-probabilities have `DECIMALS` decimals."""
    return tuple(replace(c, log_probs=np.round(c.log_probs, DECIMALS)) for c in candidates)


def in_order(candidates: Iterable[Candidate]) -> Candidates:
    """Candidates by mean log-probability, rounded to `DECIMALS`, the greatest first; equals stay as they stood.

    >>> ids = [np.array(values, np.float32) for values in ([-0.5, -0.3], [-0.1002], [-0.1001])]
    >>> [c.text for c in in_order(Candidate(t, v, np.empty(0), True) for t, v in zip("abc", ids, strict=True))]
    ['b', 'c', 'a']
    """
    return tuple(sorted(candidates, key=lambda c: -_mean(c.log_probs)))


def _mean(log_probs: NDArray[np.float32]) -> float:
    exact = float(np.mean(log_probs, dtype=np.float64)) if len(log_probs) else 0.0
    return round(round(exact, _FORMER_DECIMALS), DECIMALS)


def _checked_k(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k must be an int of at least 1, got {k!r}")
    return int(k)


def candidate_scores(
    task: Task, source: CandidateSource, numbers: Sequence[int], *, split: str = "eval"
) -> NDArray[np.float64]:
    """The rewards of all candidates of some problems, (n, k, K), without perturbations: what a choice would pay.

    Args:
        task: Scores them.
        source: Of the candidates.
        numbers: Of the problems.
        split: Of the task.
    """
    shown = replace(task, split=split, perturbations=())
    texts = [read_answer(task, c.text)[0] for group in source.candidates(split, numbers) for c in group]
    problems = [shown[number] for number in numbers for _ in range(source.k)]
    scores = shown.score(problems, texts).astype(np.float64)
    return scores.reshape(len(numbers), source.k, len(task.rewards))


def random_and_oracle(scores: ArrayLike, weights: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean utility of a candidate drawn at random and of the best one, under each weight vector: (w,) and (w,).

    Args:
        scores: (n, k, K), see `candidate_scores`; scale them first where objectives have different bounds.
        weights: (w, K).

    >>> random, oracle = random_and_oracle([[[0.0, 1.0], [1.0, 0.5]]], [[1, 0], [0, 1]])
    >>> random.tolist(), oracle.tolist()
    ([0.5, 0.75], [1.0, 1.0])
    """
    utilities = np.asarray(scores, np.float64) @ np.asarray(weights, np.float64).T  # (n, k, w)
    return utilities.mean(axis=(0, 1)), utilities.max(axis=1).mean(axis=0)
