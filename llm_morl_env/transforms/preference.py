"""`PreferenceInPrompt`: weights of the objectives, written into the prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from llm_morl_env.task import Task
from llm_morl_env.tasks.building import LazyProblems
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_env.transforms.notation import Notation, weights_of
from llm_morl_env.transforms.plain import PLAIN_PROMPT, PlainSampler, on_plain_prompts
from llm_morl_rewards import Problem

#: The key of a problem's ``meta`` that holds its weights by objective.
PREFERENCE = "preference"


@dataclass(frozen=True)
class PreferenceInPrompt:
    """Weights of the objectives in the prompt: the same in every one, or drawn for each problem.

    For policies that are conditioned on a preference. The problem's ``meta["preference"]`` holds the weights by
    objective, which add up to 1 (the prompt has three decimals), and environments say them in ``info["preference"]``,
    (K,) or (N, K): the agents of this package weigh the objectives of each prompt by them. Rewards, grammar and
    dialogue see the problem with the prompt that it had, so that nothing but the prompt changes.

    Drawn weights are multiples of ``1 / parts``, all such vectors equally likely, a function of ``seed``, prompt and
    copy alone. As a prompt has one preference, a task of few prompts wants ``copies``. A known Pareto front stays where
    there is one copy; with more, a policy may answer them differently, and it is known no longer.

    Args:
        weights: Of the objectives in order, or by name (0 for those left out): not negative, brought to the sum 1. None
            draws them.
        template: Of the prompt; holds ``{weights}`` and ``{prompt}`` once each.
        seed: Of the draws.
        parts: Drawn weights are multiples of ``1 / parts``.
        copies: Each problem stands in a split so many times, with draws of its own; copy c of problem i of n is
            ``i + c * n``.
        symbols: Write a weight n / parts as the character ``symbols[n]``, without names, for vocabularies of a few
            letters; it must have ``parts + 1`` characters.

    Raises:
        ValueError: If an option is out of its range; when it is applied, if ``weights`` do not fit the objectives, the
            prompts hold a preference already, or the task's tokenizer cannot spell this one.

    >>> from llm_morl_env import make_task
    >>> task = PreferenceInPrompt(weights={"correctness": 3, "brevity": 1})(make_task("toolcall"))
    >>> task[0].prompt.splitlines()[0]
    'format 0, correctness 0.75, brevity 0.25'
    >>> letters = PreferenceInPrompt(parts=2, symbols="abc", template="{weights}{prompt}", copies=8)
    >>> small = letters(make_task("dentfront"))
    >>> [small[i].prompt for i in range(4)], small[0].meta["preference"]
    (['ac?', 'ca?', 'ac?', 'ac?'], {'a': 0.0, 'b': 1.0})
    """

    weights: tuple[float, ...] | Mapping[str, float] | None = None
    template: str = "{weights}\n{prompt}"
    seed: int = 0
    parts: int = 10
    copies: int = 1
    symbols: str | None = None

    def __post_init__(self) -> None:
        for option in ("parts", "copies"):
            if getattr(self, option) < 1:
                raise ValueError(f"PreferenceInPrompt({option}=) must be at least 1, got {getattr(self, option)!r}")
        if self.weights is not None and not isinstance(self.weights, Mapping):
            object.__setattr__(self, "weights", tuple(self.weights))
        Notation((), self.template, self.parts, self.symbols)  # refuses what it cannot write

    def __call__(self, task: Task) -> Task:
        """The task with preferences in its prompts."""
        names = task.rewards.names
        notation = Notation(names, self.template, self.parts, self.symbols)
        fixed = None if self.weights is None else weights_of(self.weights, names)
        if fixed is not None:
            notation.text(fixed)  # refuses weights that the symbols cannot write
        if PREFERENCE in task[0].meta:
            raise ValueError(f"PreferenceInPrompt: the prompts of task {task.name!r} hold a preference already")
        write = Preferring(notation, fixed, self.seed)
        plain = on_plain_prompts(task)
        return replace(
            plain,
            problems={
                split: PreferredProblems(problems, write, self.copies) for split, problems in task.problems.items()
            },
            max_prompt_tokens=task.max_prompt_tokens + _greatest_length(notation, task),
            front=plain.front if self.copies == 1 else None,
            sampler=None if plain.sampler is None else PlainSampler(plain.sampler),
            preferences=AskedFor(),
        )


@dataclass(frozen=True)
class AskedFor:
    """`llm_morl_env.task.Preferences`: those of the problem's ``meta``."""

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        """Weights by objective."""
        weights: Mapping[str, float] = problem.meta[PREFERENCE]
        return weights


@dataclass(frozen=True)
class Preferring:
    """Writes a preference into a problem.

    Args:
        notation: How.
        fixed: The weights (K,); None draws them.
        seed: Of the draws.
    """

    notation: Notation
    fixed: tuple[float, ...] | None
    seed: int

    def __call__(self, problem: Problem, copy: int) -> Problem:
        """The problem with its preference."""
        weights = self.fixed
        if weights is None:
            told = json.dumps([self.seed, copy, problem.prompt])
            digest = hashlib.blake2b(told.encode("ascii"), digest_size=16).digest()
            rng = np.random.default_rng(int.from_bytes(digest, "little"))
            weights = draw_weights(rng, len(self.notation.names), self.notation.parts)
        meta = {
            **problem.meta,
            PREFERENCE: dict(zip(self.notation.names, weights, strict=True)),
            PLAIN_PROMPT: problem.prompt,
        }
        return replace(problem, prompt=self.notation.prompt(weights, problem.prompt), meta=meta)


class PreferredProblems(LazyProblems):
    """Copies of the problems of a split, each with a preference.

    Args:
        problems: The originals, n of them.
        write: ``(problem, copy) -> problem``; picklable.
        copies: How many.
    """

    def __init__(self, problems: Sequence[Problem], write: Preferring, copies: int) -> None:
        self.problems, self.write, self.copies = problems, write, copies

    def __len__(self) -> int:
        return len(self.problems) * self.copies

    def problem(self, index: int) -> Problem:
        """See `llm_morl_env.tasks.building.LazyProblems`."""
        copy, original = divmod(index, len(self.problems))
        return self.write(self.problems[original], copy)


def draw_weights(rng: np.random.Generator, k: int, parts: int) -> tuple[float, ...]:
    """K multiples of ``1 / parts`` that add up to 1, all such vectors equally likely ("stars and bars").

    >>> sorted({draw_weights(np.random.default_rng(seed), 2, 2) for seed in range(20)})
    [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    """
    bars = np.sort(rng.choice(parts + k - 1, k - 1, replace=False))
    counts = np.diff(np.concatenate([[-1], bars, [parts + k - 1]])) - 1
    return tuple((counts / parts).tolist())


def _greatest_length(notation: Notation, task: Task) -> int:
    """Tokens that the preference adds to a prompt at most: its pieces, each counted alone.

    Raises:
        ValueError: If the tokenizer cannot spell a piece.
    """
    tokenizer: TextTokenizer = task.tokenizer
    pieces, numbers = notation.pieces()
    longest = max(tokenizer.count(number) for number in numbers)
    for piece in (*pieces, *numbers):
        spelled = tokenizer.decode(tokenizer.encode(piece))
        if spelled.strip() != piece.strip():
            raise ValueError(
                f"PreferenceInPrompt: the tokenizer of task {task.name!r} reads {piece!r} as {spelled!r}; "
                "write weights by symbols= that it has, with a template= that it can spell"
            )
    return sum(tokenizer.count(piece) for piece in pieces) + longest * len(notation.names)
