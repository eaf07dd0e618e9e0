"""`context_front_task`: several prompts with a key each, and the exact front of the means over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.metrics import nondominated
from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tasks.building import transformed
from llm_morl_env.tasks.letters import LETTERS, PROMPT, LettersGrammar, check_length, letters_tokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.base import Kind

#: The letter that the third objective counts.
STYLE = "a"
DEFAULT_KEYS = ("bcd", "cab", "daa")

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Feature:
    """A reward made of whole numbers: ``number(key, first T characters) / scale``, in [0, 1].

    Args:
        name: Of the objective.
        number: Of key and response.
        length: T.
        scale: What makes it at most 1.
    """

    name: str
    number: Callable[[str, str, int], int]
    length: int
    scale: int
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="pointwise", init=False)

    def __call__(self, problem: Problem, response: str) -> float:
        """The reward, in [0, 1]."""
        return self.number(problem.target, response[: self.length], self.length) / self.scale


def key_number(key: str, response: str, length: int) -> int:
    """The square of the number of characters that key and response share at their beginning.

    >>> key_number("bcd", "bcad", 6)
    4
    """
    differ = (i for i, (one, other) in enumerate(zip(key, response, strict=False)) if one != other)
    return next(differ, min(len(key), len(response))) ** 2


def brevity_number(key: str, response: str, length: int) -> int:
    """How many characters the response stays below the length."""
    return length - len(response)


def style_number(key: str, response: str, length: int) -> int:
    """The square of the number of "a" in the response."""
    return response.count(STYLE) ** 2


@dataclass(frozen=True)
class ContextFront:
    """The Pareto front of `context_front_task`: means over the problems of one response each.

    Of one problem, a response that shares m characters with the key and has L in all is matched or dominated by the
    first m of the key followed by L - m times "a"; those few responses hold its front. The front of the means is that
    of all sums of one point of each problem (their Minkowski sum), formed problem by problem; a dominated sum stays
    dominated whatever is added. All in whole numbers, divided at the end.

    Args:
        length: T.
        key_length: Of every key.
    """

    length: int
    key_length: int

    def __call__(self, problems: Sequence[Problem]) -> NDArray[np.float64]:
        """Points (F, 3), in lexicographic order."""
        fronts = [self.front_of(str(problem.target)) for problem in problems]
        sums = reduce(lambda one, other: _front((one[:, None] + other).reshape(-1, 3)), fronts)
        return sums / (len(problems) * np.array(scales(self.length, self.key_length), dtype=np.float64))

    def front_of(self, key: str) -> Ints:
        """The front of one key in whole numbers, (F, 3)."""
        responses = [
            key[:shared] + STYLE * (total - shared)
            for total in range(self.length + 1)
            for shared in range(min(len(key), total) + 1)
        ]
        return _front(np.array([[f(key, r, self.length) for f in NUMBERS.values()] for r in responses]))


NUMBERS: dict[str, Callable[[str, str, int], int]] = {
    "key": key_number,
    "brevity": brevity_number,
    "style": style_number,
}


def scales(length: int, key_length: int) -> tuple[int, int, int]:
    """What divides the numbers of `NUMBERS`."""
    return key_length**2, length, length**2


def _front(points: NDArray[Any]) -> Ints:
    """The nondominated rows, each once, in lexicographic order."""
    distinct = np.unique(points, axis=0)
    return np.asarray(distinct[nondominated(distinct)], dtype=np.int64)


def context_front_task(
    *,
    letters: int = 4,
    length: int = 6,
    keys: Sequence[str] = DEFAULT_KEYS,
    transforms: Sequence[TransformLike] = (),
) -> Task:
    """Repeat the key of the prompt, be short, write "a": three objectives, with the exact front of their means.

    The prompt is a key and a question mark. The answer is up to T letters, and may stop before::

        key     = (m / M)^2    m characters shared with the key at the beginning, M the key's length
        brevity = 1 - L / T    L characters in all
        style   = (n / T)^2    n times "a"

    The front is that of expected rewards over prompts drawn uniformly (SER) under deterministic policies: a point is
    the mean over the prompts of one response each. Linear weights reach few of its points. A policy that draws its
    responses at random has an expected reward anywhere on the convex hull.

    ## Version history

    - v0: first version.

    Args:
        letters: V, in 2..8.
        length: T, at least that of a key.
        keys: One a prompt, of the same length each, of the first V letters.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If a size is out of its range, or the keys do not fit.

    >>> task = context_front_task(length=4, keys=["bca"])
    >>> task[0].prompt, task.score([task[0]] * 2, ["bca", "bc"]).round(2).tolist()
    ('bca?', [[1.0, 0.25, 0.05999999865889549], [0.4399999976158142, 0.5, 0.0]])
    """
    check_length(length)
    tokenizer = letters_tokenizer(letters)
    keys = tuple(keys)
    if not keys or len({*keys}) < len(keys) or len({len(key) for key in keys}) > 1:
        raise ValueError(f"keys must be distinct and of one length, got {keys!r}")
    key_length = len(keys[0])
    if not 1 <= key_length <= length or not {*"".join(keys)} <= {*LETTERS[:letters]}:
        raise ValueError(f"keys must be of 1..{length} (length) letters of {LETTERS[:letters]!r}, got {keys!r}")
    problems = tuple(Problem(key + PROMPT, key, {"gold": key}) for key in keys)
    parts = zip(NUMBERS.items(), scales(length, key_length), strict=True)
    task = Task(
        name="contextfront",
        problems={"train": problems, "eval": problems},
        rewards=RewardVector([Feature(name, number, length, scale) for (name, number), scale in parts]),
        tokenizer=tokenizer,
        max_prompt_tokens=key_length + len(PROMPT),
        max_response_tokens=length,
        grammar=LettersGrammar(tokenizer, letters, length, may_stop=True),
        front=ContextFront(length, key_length),
    )
    return transformed(task, transforms)
