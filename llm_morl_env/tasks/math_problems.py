"""Procedural word problems of one to three steps of arithmetic, with worked gold answers, without end.

A problem is a chain of operations on a running amount. Each operation is a sentence, the last one decides the question,
and the gold answer states the operations one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from llm_morl_env.tasks.building import EVAL_SIZE, ProceduralProblems, stratify
from llm_morl_rewards import Problem

#: A seventh of all number combinations is held out: those whose weighted sum is divisible by it. Prime to ten, so that
#: no pair of last digits is held out as a whole.
HOLD_OUT = 7

NAMES = ("anna", "ben", "carla", "david", "emma", "frank", "grace", "henry")
UNSEEN_NAMES = ("tom", "lisa")
THINGS = ("apples", "books", "coins", "pens", "cards", "stamps", "cakes", "balls", "flowers")
UNSEEN_THINGS = ("eggs", "bags", "tickets")

#: Sentences that begin a problem, by operation: ``{n}`` has the amount afterwards. The last of each is held out.
OPENINGS = MappingProxyType(
    {
        "+": (
            "{n} has {a} {t} and buys {b} more.",
            "{n} has {a} {t} and gets {b} more.",
            "{n} has {a} {t}. then {n} finds {b} more.",
            "{n} buys {a} {t}, then {b} more.",
        ),
        "-": (
            "{n} has {a} {t} and sells {b}.",
            "{n} has {a} {t} and gives {b} to {m}.",
            "{n} has {a} {t}. then {n} loses {b}.",
            "{n} finds {a} {t} and then sells {b}.",
        ),
        "*": (
            "{n} has {a} boxes with {b} {t} each.",
            "{n} buys {b} {t} each day for {a} days.",
            "there are {a} boxes with {b} {t} each, all for {n}.",
            "each of the {a} boxes of {n} has {b} {t}.",
        ),
        "/": (
            "{b} friends share {a} {t} equally. {n} is one of the friends.",
            "{a} {t} are shared equally among {b} friends. one is {n}.",
            "{n} is one of {b} friends. they share {a} {t} equally.",
            "{b} friends, {n} is one of them, share {a} {t} equally.",
        ),
    }
)
#: Sentences that go on; ``{n}`` has the amount before, and ``{m}`` afterwards in those of `PASSING`.
FOLLOW_UPS = MappingProxyType(
    {
        "+": (
            "then {n} buys {b} more.",
            "{n} gets {b} more from {m}.",
            "then {n} finds {b} more.",
            "next, {n} buys {b} more.",
        ),
        "-": ("then {n} sells {b}.", "{n} gives {b} to {m}.", "then {n} loses {b}.", "next, {n} sells {b}."),
        "*": (
            "{m} has {b} times as many as {n}.",
            "then {m} gets {b} times as many as {n}.",
            "{m} then has {b} times as many as {n}.",
        ),
        "/": (
            "{n} shares them equally among {b} friends. {m} is one of the friends.",
            "then they are shared equally among {b} friends. one is {m}.",
            "{b} friends share them equally. {m} is one of the friends.",
        ),
    }
)
#: Operations after which the amount is another person's.
PASSING = frozenset("*/")
QUESTIONS = (
    "how many {t} does {n} have now?",
    "how many {t} are there for {n}?",
    "how many {t} has {n} now?",
)
#: Sentences with a number that is of no use.
DISTRACTORS = (
    "{m} has {d} {u}.",
    "{n} is with {d} people.",
    "the {u} cost {d} dollars.",
    "{d} {u} are for {m}.",
)


@dataclass(frozen=True)
class Tier:
    """One difficulty.

    Args:
        chains: Operations of a problem, in order; all are equally frequent within their share.
        shares: Share of the chains of 1, 2, ... operations.
        amount: Greatest operand of a sum or difference.
        factors: Least and greatest of each factor of a product that begins a problem.
        scale: Greatest factor or divisor later on, and greatest divisor at the beginning.
        most: Greatest number that comes up.
        distractors: Least and greatest number of distractor sentences.
    """

    chains: tuple[str, ...]
    shares: tuple[float, ...]
    amount: int
    factors: tuple[tuple[int, int], tuple[int, int]]
    scale: int
    most: int
    distractors: tuple[int, int] = (0, 0)


#: By name: one step up to 20; one or two steps below 100; two or three steps, two-digit products, useless numbers.
TIERS = MappingProxyType(
    {
        "easy": Tier(("+", "-", "*", "/"), (1.0,), 10, ((2, 4), (2, 5)), 5, 20),
        "standard": Tier(
            ("+", "-", "*", "/", "+-", "-+", "*+", "*-", "/+", "+*", "-*", "+/"),
            (0.5, 0.5),
            20,
            ((2, 9), (2, 9)),
            5,
            99,
        ),
        "hard": Tier(
            ("*-", "*+", "-*", "+/", "*/", "/*", "*-+", "+-*", "*+/", "-+*", "/*-", "+*-"),
            (0.0, 0.5, 0.5),
            60,
            ((11, 25), (3, 19)),
            9,
            999,
            (1, 2),
        ),
    }
)


@dataclass(frozen=True)
class Operation:
    """One step of a solution: ``left operator right = result``."""

    left: int
    operator: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.result}"


@dataclass(frozen=True)
class Story:
    """A drawn problem before it is cast into a `Problem`: its words and its solution."""

    words: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class DrawProblem:
    """Makes the problems of one split.

    Args:
        tier: What to draw; see `TIERS`.
        split: ``train``, ``eval`` (a held-out phrasing and number combination in each) or ``unseen`` (names and
            things that never occur in training, too).
        count: Length of a text, for the ``conciseness_*`` entries of ``Problem.meta``.
        strata: Chain of each problem; None draws it.
    """

    tier: Tier
    split: str
    count: Callable[[str], int]
    strata: tuple[int, ...] | None = None

    def story(self, index: int, rng: np.random.Generator) -> Story:
        """The words and the solution of problem ``index``."""
        shares = chain_shares(self.tier)
        chain = int(rng.choice(len(shares), p=shares)) if self.strata is None else self.strata[index]
        operations = draw_operations(rng, self.tier, self.tier.chains[chain], held_out=self.split != "train")
        return Story(_tell(rng, self.tier, operations, self.split), operations)

    def __call__(self, index: int, rng: np.random.Generator) -> Problem:
        """See `llm_morl_env.tasks.building.ProceduralProblems`."""
        story = self.story(index, rng)
        gold, answer = write_gold(story.operations), str(story.operations[-1].result)
        return Problem(
            prompt=f"<question>{story.words}<answer>",
            target=answer,
            meta={
                "gold": gold,
                "steps": len(story.operations),
                "chain": "".join(operation.operator for operation in story.operations),
                "conciseness_target": self.count(write_bare(answer)),
                "conciseness_cap": 1.5 * self.count(gold),
            },
        )


def math_problems(tier: Tier, split: str, *, seed: int, count: Callable[[str], int]) -> ProceduralProblems:
    """The problems of one split; every prefix of a split other than train has each chain as often as the tier says."""
    strata = None if split == "train" else tuple(stratify(chain_shares(tier), EVAL_SIZE))
    return ProceduralProblems(DrawProblem(tier, split, count, strata), split, seed=seed)


def chain_shares(tier: Tier) -> list[float]:
    """Share of each chain of the tier.

    >>> chain_shares(TIERS["easy"])
    [0.25, 0.25, 0.25, 0.25]
    """
    lengths = [len(chain) for chain in tier.chains]
    return [tier.shares[length - 1] / lengths.count(length) for length in lengths]


def write_gold(operations: Sequence[Operation]) -> str:
    """The worked solution.

    >>> write_gold([Operation(12, "+", 7, 19), Operation(19, "-", 4, 15)])
    '12 + 7 = 19. 19 - 4 = 15. answer: 15'
    """
    return " ".join([*(f"{operation}." for operation in operations), write_bare(str(operations[-1].result))])


def write_bare(answer: str) -> str:
    """The shortest marked answer.

    >>> write_bare("15")
    'answer: 15'
    """
    return f"answer: {answer}"


def draw_operations(rng: np.random.Generator, tier: Tier, chain: str, *, held_out: bool) -> tuple[Operation, ...]:
    """Operations of a chain whose numbers are on the right side of the hold-out."""
    while True:
        operations: list[Operation] = []
        for operator in chain:
            if operations:
                drawn = _draw_follow_up(rng, tier, operator, operations[-1].result)
            else:
                drawn = _draw_opening(rng, tier, operator)
            if drawn is None:
                break
            operations.append(drawn)
        if len(operations) == len(chain) and is_held_out(operations) == held_out:
            return tuple(operations)


def is_held_out(operations: Sequence[Operation]) -> bool:
    """Whether the combination of numbers belongs to the evaluation splits.

    >>> is_held_out([Operation(3, "+", 2, 5)]), is_held_out([Operation(3, "+", 1, 4)])
    (True, False)
    """
    numbers = [operations[0].left, *(operation.right for operation in operations)]
    return sum(position * number for position, number in enumerate(numbers, start=1)) % HOLD_OUT == 0


def _draw_opening(rng: np.random.Generator, tier: Tier, operator: str) -> Operation | None:
    if operator == "*":
        left, right = (_between(rng, low, high) for low, high in tier.factors)
    elif operator == "/":
        right = _between(rng, 2, tier.scale)
        left = right * _between(rng, 2, max(9, tier.amount // 2))
    else:
        left, right = _between(rng, 2, tier.amount), _between(rng, 2, tier.amount)
    return _operation(tier, left, operator, right)


def _draw_follow_up(rng: np.random.Generator, tier: Tier, operator: str, amount: int) -> Operation | None:
    high = tier.scale if operator in PASSING else tier.amount
    return _operation(tier, amount, operator, _between(rng, 2, high))


def _operation(tier: Tier, left: int, operator: str, right: int) -> Operation | None:
    """The operation; None where its result is no whole number from 1 to the tier's greatest."""
    match operator:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case _:
            result = 0 if left % right else left // right
    return Operation(left, operator, right, result) if 1 <= result <= tier.most and left <= tier.most else None


def _tell(rng: np.random.Generator, tier: Tier, operations: Sequence[Operation], split: str) -> str:
    """The words of a problem: a sentence for each operation, distractors among them, and the question."""
    people = list(rng.permutation(UNSEEN_NAMES if split == "unseen" else NAMES))
    things = rng.permutation(UNSEEN_THINGS if split == "unseen" else THINGS)
    first, *rest = operations
    holder, other = str(people[0]), str(people[1])
    words = {"t": str(things[0])}
    # One sentence of an evaluation problem, the question included, is told in words that training never has.
    new = -1 if split == "train" else _between(rng, 0, len(operations))
    opening = _phrase(rng, OPENINGS[first.operator], new=new == 0)
    sentences = [opening.format(n=holder, m=other, a=first.left, b=first.right, **words)]
    for place, operation in enumerate(rest, start=1):
        phrase = _phrase(rng, FOLLOW_UPS[operation.operator], new=new == place)
        sentences.append(phrase.format(n=holder, m=other, b=operation.right, **words))
        if operation.operator in PASSING:
            holder, other = other, holder
    idle = rng.permutation(DISTRACTORS[:-1]) if split == "train" else [DISTRACTORS[-1]] * len(DISTRACTORS)
    for phrase, thing in zip(idle[: _between(rng, *tier.distractors)], things[1:], strict=False):
        # At the beginning: "them" in a sentence is the amount of the one before.
        sentences.insert(0, str(phrase).format(n=holder, m=other, d=_between(rng, 2, tier.amount), u=str(thing)))
    return " ".join([*sentences, _phrase(rng, QUESTIONS, new=new == len(operations)).format(n=holder, **words)])


def _phrase(rng: np.random.Generator, phrasings: Sequence[str], *, new: bool) -> str:
    """The phrasing that is held out, which is the last one, or one of the others."""
    return phrasings[-1] if new else _pick(rng, phrasings[:-1])


_T = TypeVar("_T")


def _pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    return options[int(rng.integers(len(options)))]


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high, endpoint=True))
