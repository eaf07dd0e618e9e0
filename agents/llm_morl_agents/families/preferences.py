"""How a preference reaches a policy: rounded, written into the prompt, or set apart from it for an embedding.

Shapes: K objectives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_morl_env.task import Task
from llm_morl_env.transforms import PreferenceInPrompt
from llm_morl_env.transforms.notation import Notation, number
from llm_morl_env.transforms.plain import PlainSampler, on_plain_prompts
from llm_morl_env.transforms.preference import PREFERENCE, AskedFor, PreferredProblems, Preferring

Floats = NDArray[np.float64]

#: A split of so many problems needs no copies of them: preferences vary from problem to problem.
MANY_PROBLEMS = 256
#: What stands around the weights that `PreferenceApart` sets before a prompt.
_OPEN, _CLOSE = "\x02", "\x03"
_APART = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")


def on_simplex(weights: ArrayLike, k: int) -> Floats:
    """Weights (K,) brought to the sum 1, a fresh array.

    Raises:
        ValueError: If there are not K, one is negative or not finite, or all are 0.

    >>> on_simplex([3, 1], 2).tolist()
    [0.75, 0.25]
    """
    values = np.array(weights, dtype=np.float64)
    if values.shape != (k,) or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ValueError(f"policy(weights=) must be {k} non-negative numbers, not all 0, got {weights!r}")
    return np.asarray(values / values.sum())


def on_lattice(weights: ArrayLike, parts: int) -> Floats:
    """The multiples of ``1 / parts`` with sum 1 that are nearest to weights (K,) of sum 1 (largest remainders).

    >>> on_lattice([0.4, 0.35, 0.25], 4).tolist()
    [0.5, 0.25, 0.25]
    """
    wanted = np.asarray(weights, dtype=np.float64) * parts
    counts = np.floor(wanted + 1e-9)
    missing = round(parts - float(counts.sum()))
    counts[np.argsort(counts - wanted, kind="stable")[:missing]] += 1
    return np.asarray(counts / parts)


def label_of(name: str, weights: ArrayLike) -> str:
    """A label for tables.

    >>> label_of("soup", [0.25, 0.75, 0.0])
    'soup .25 .75 0'
    """
    return " ".join([name, *(_short(float(weight)) for weight in np.asarray(weights))])


def _short(weight: float) -> str:
    return number(weight).removeprefix("0") or "0"


def copies_for(task: Task) -> int:
    """How often each training problem must stand in its split for preferences to vary enough."""
    return -(-MANY_PROBLEMS // len(task.with_split("train")))


def spoken(task: Task, *, parts: int, weights: Sequence[float] | None = None, seed: int = 0) -> PreferenceInPrompt:
    """The transform that writes preferences into a task's prompts, in words that its tokenizer has.

    Names and decimals where it can spell them. A smaller vocabulary writes a weight as one character: of S characters
    the n-th stands for n / (S - 1), or, where there are more than ``parts``, for n / parts.

    Args:
        task: Whose tokenizer is to spell.
        parts: Weights are multiples of ``1 / parts``, or coarser where there are fewer characters.
        weights: Fixed ones (K,), on the simplex, for an evaluation; None draws them for every prompt.
        seed: Of the draws.

    Raises:
        ValueError: If the tokenizer has fewer than two characters.
    """
    copies = copies_for(task) if weights is None else 1
    given = None if weights is None else tuple(weights)
    words = PreferenceInPrompt(given, seed=seed, parts=parts, copies=copies)
    if _spells(task, words):
        return words
    symbols = characters_of(task)[: parts + 1]
    if len(symbols) < 2:
        raise ValueError(
            f"the tokenizer of task {task.name!r} spells fewer than two characters, so that no weight can be written "
            "into a prompt; condition by an embedding"
        )
    parts = len(symbols) - 1
    given = None if weights is None else tuple(on_lattice(weights, parts).tolist())
    return PreferenceInPrompt(
        given, template="{weights}{prompt}", seed=seed, parts=parts, copies=copies, symbols=symbols
    )


def _spells(task: Task, transform: PreferenceInPrompt) -> bool:
    try:
        transform(task)
    except ValueError:
        return False
    return True


def characters_of(task: Task) -> str:
    """Printable ASCII characters that are one token of a task's tokenizer each, letters first.

    >>> from llm_morl_env import make_task
    >>> characters_of(make_task("dentfront"))
    'abc?'
    """
    characters = sorted(map(chr, range(33, 127)), key=lambda c: (not c.isalpha(), c))
    tokenizer = task.tokenizer
    return "".join(c for c in characters if tokenizer.count(c) == 1 and tokenizer.decode(tokenizer.encode(c)) == c)


@dataclass(frozen=True)
class PreferenceApart:
    """A task transform: a preference for each problem, set before the prompt for a policy that takes it off again.

    As `llm_morl_env.transforms.PreferenceInPrompt`, for policies that read the preference as an embedding
    (`llm_morl_agents.families.embedded_preference`): no tokenizer has to spell it, so every task will do.

    Args:
        weights: Fixed ones (K,), on the simplex; None draws them.
        seed: Of the draws.
        parts: Drawn weights are multiples of ``1 / parts``.
        copies: Each problem stands in a split so many times, with draws of its own.

    >>> from llm_morl_env import make_task
    >>> task = PreferenceApart((0.25, 0.75))(make_task("dentfront"))
    >>> weights, prompt = taken_apart(task[0].prompt)
    >>> weights.tolist(), prompt
    ([0.25, 0.75], '?')
    """

    weights: tuple[float, ...] | None = None
    seed: int = 0
    parts: int = 10
    copies: int = 1

    def __call__(self, task: Task) -> Task:
        """The task with preferences before its prompts.

        Raises:
            ValueError: If its prompts hold a preference already.
        """
        if PREFERENCE in task[0].meta:
            raise ValueError(f"PreferenceApart: the prompts of task {task.name!r} hold a preference already")
        notation = _Apart(task.rewards.names, f"{_OPEN}{{weights}}{_CLOSE}{{prompt}}", self.parts, None)
        write = Preferring(notation, self.weights, self.seed)
        plain = on_plain_prompts(task)
        return replace(
            plain,
            problems={
                split: PreferredProblems(problems, write, self.copies) for split, problems in task.problems.items()
            },
            front=plain.front if self.copies == 1 else None,
            sampler=None if plain.sampler is None else PlainSampler(plain.sampler),
            preferences=AskedFor(),
        )


class _Apart(Notation):
    """Weights without names, three decimals each."""

    def text(self, weights: Sequence[float]) -> str:
        """See `Notation.text`."""
        return " ".join(map(number, weights))


def taken_apart(prompt: str) -> tuple[Floats, str]:
    """The weights (K,) that `PreferenceApart` set before a prompt, and the prompt.

    Raises:
        ValueError: If there are none.
    """
    found = _APART.match(prompt)
    if found is None:
        raise ValueError(f"the prompt carries no preference; apply PreferenceApart to the task. Got {prompt[:80]!r}")
    return np.array(found.group(1).split(), dtype=np.float64), prompt[found.end() :]
