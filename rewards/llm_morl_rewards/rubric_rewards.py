"""`rubric_rewards`: the vector reward of a rubric. The paper's scalar is one of three aggregations here.

Shapes: N rows, C criteria of one objective.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llm_morl_rewards.base import Kind, Problem, RewardVector
from llm_morl_rewards.judge import Judge
from llm_morl_rewards.rubric import CheckError, Criterion, OnTimeout, Rubric
from llm_morl_rewards.win_rates import pairings, reference_rates, win_rates

Aggregate = Literal["criteria", "groups", "total"]


def rubric_rewards(
    rubric: Rubric,
    judge: Judge | None = None,
    aggregate: Aggregate = "criteria",
    *,
    opponents: int | None = None,
    reference: str | None = None,
    both_orders: bool = True,
    on_timeout: OnTimeout = "error",
) -> RewardVector:
    """The vector reward of a rubric, every objective in [0, 1].

    Of a criterion c, s_c is the value of its check, or the win rate u of `llm_morl_rewards.win_rates`; polarity -1
    makes it one minus that. An objective o of several criteria is their weighted mean, gated by its hard ones:

        r_o = prod_{c hard} [s_c = 1] * sum_{c not hard} w_c s_c / sum_{c not hard} w_c

    and the gate alone where all are hard.

    - ``"criteria"``: one objective for each criterion. A hard one is an objective in {0, 1} and gates nothing else.
    - ``"groups"``: one for each group, in the order of their first criterion, and for each criterion without a group.
      A gate floors its own group only.
    - ``"total"``: one, ``"total"``, as if all were one group. Every gate floors it.

    Objectives with a question are of kind ``"group"`` and need a batched environment, or of kind ``"batch"`` with
    ``reference``; the others are pointwise. Within a group the win rates have the mean 1/2 whatever is written: they
    train, and say nothing about progress. Agents evaluate one response a problem, to which they give 1/2. A pair
    is compared once for all questions, and the comparisons of the last batch are kept for the other objectives.

    Args:
        rubric: The criteria. Checks with import paths are imported here: such a rubric is to be trusted like code.
        judge: Compares; needed where there are questions.
        aggregate: See above.
        opponents: How many others a response is compared with at least; None for all of its group.
        reference: Name of the `Problem.meta` entry with a text that each response is compared with instead of the
            others of its group: u of `llm_morl_rewards.win_rates.reference_rates`. For evaluation; it trains as well.
        both_orders: Whether each pair is compared in both orders, so that places cancel.
        on_timeout: What a pattern that meets its time limit does. ``"error"`` raises: it is a fault of the rubric.
            ``"floor"`` gives that criterion 0, with either polarity, and rewards then depend on the machine's speed.

    Raises:
        RubricError: If a check cannot be imported or does not take its parameters.
        ValueError: If there are questions and no judge, or an option is unknown or contradicts another.
        KeyError: When a problem is scored that lacks the reference.

    >>> rubric = Rubric([
    ...     Criterion("tea", "check", check="contains", parameters={"texts": "tea"}, hard=True, group="service"),
    ...     Criterion("kind", "check", check="contains", parameters={"texts": ["please", "thank"]}, group="service"),
    ... ])
    >>> problems, responses = [Problem("")] * 3, ["Tea, please", "Milk, please, thank you", "tea"]
    >>> rubric_rewards(rubric)(problems, responses).tolist()
    [[1.0, 0.5], [0.0, 1.0], [1.0, 0.0]]
    >>> rubric_rewards(rubric, aggregate="groups")(problems, responses).tolist()
    [[0.5], [0.0], [0.0]]
    """
    if aggregate not in get_args(Aggregate):
        raise ValueError(f"rubric_rewards(aggregate=) must be one of {get_args(Aggregate)}, got {aggregate!r}")
    if on_timeout not in get_args(OnTimeout):
        raise ValueError(f"rubric_rewards(on_timeout=) must be one of {get_args(OnTimeout)}, got {on_timeout!r}")
    pairings(2, opponents)
    if reference is not None and opponents is not None:
        raise ValueError(
            f"rubric_rewards: opponents={opponents} are of the group, which reference={reference!r} replaces"
        )
    questions = {c.name: c.question for c in rubric.criteria if c.question is not None}
    if questions and judge is None:
        raise ValueError(f"rubric_rewards(judge=) is needed for the questions {list(questions)}, got None")
    members: dict[str, list[Criterion]] = {}
    for criterion in rubric.criteria:
        if criterion.kind == "check":
            criterion.try_check()
        name = {"criteria": criterion.name, "groups": criterion.objective, "total": "total"}[aggregate]
        members.setdefault(name, []).append(criterion)
    comparisons = None if judge is None else _Comparisons(judge, questions, opponents, reference, both_orders)
    return RewardVector(
        [_RubricReward(name, tuple(criteria), comparisons, on_timeout) for name, criteria in members.items()]
    )


def aggregate_scores(scores: NDArray[np.float64], criteria: Sequence[Criterion]) -> NDArray[np.float64]:
    """The objective (N,) of its criteria's scores (N, C), by the formula of `rubric_rewards`.

    >>> length = {"check": "max_words", "parameters": {"count": 9}}
    >>> criteria = [Criterion("a", "check", **length, weight=3), Criterion("b", "check", **length)]
    >>> aggregate_scores(np.array([[1.0, 0.0], [0.5, 0.5]]), criteria)
    array([0.75, 0.5 ])
    """
    hard = np.array([criterion.hard for criterion in criteria])
    gate: NDArray[np.float64] = (scores[:, hard] == 1).all(axis=1).astype(np.float64)
    if hard.all():
        return gate
    weights = np.array([criterion.weight for criterion in criteria])[~hard]
    weights = weights / weights.max()  # first, so that huge weights do not overflow in their sum
    means: NDArray[np.float64] = np.clip(scores[:, ~hard] @ (weights / weights.sum()), 0.0, 1.0)
    return gate * means


class _Comparisons:
    """Win rates of batches by criterion. Keeps those of the last batch, since each objective asks for its own part."""

    def __init__(
        self,
        judge: Judge,
        questions: Mapping[str, str],
        opponents: int | None,
        reference: str | None,
        both_orders: bool,
    ) -> None:
        self.judge, self.questions = judge, dict(questions)
        self.opponents, self.reference, self.both_orders = opponents, reference, both_orders
        self._last: tuple[tuple[Problem, ...], tuple[str, ...], bytes, dict[str, NDArray[np.float64]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def __call__(
        self, problems: Sequence[Problem], responses: Sequence[str], group: NDArray[np.int64]
    ) -> Mapping[str, NDArray[np.float64]]:
        texts, groups, last = tuple(responses), group.tobytes(), self._last
        # Problems by identity: their targets need not be comparable, and the same batch has the same objects.
        if last is not None and last[1:3] == (texts, groups) and all(map(operator.is_, problems, last[0])):
            return last[3]
        shown = self.judge, self.questions, problems, responses
        if self.reference is None:
            rates = win_rates(*shown, group, opponents=self.opponents, both_orders=self.both_orders)
        else:
            references = [_reference(problem, self.reference) for problem in problems]
            rates = reference_rates(*shown, references, both_orders=self.both_orders)
        columns = dict(zip(self.questions, rates.T, strict=True))
        self._last = tuple(problems), texts, groups, columns
        return columns


def _reference(problem: Problem, name: str) -> str:
    text = problem.meta.get(name)
    if not isinstance(text, str):
        raise KeyError(f"rubric_rewards(reference={name!r}): the problem's meta must have a text there, got {text!r}")
    return text


@dataclass(frozen=True)
class _RubricReward:
    """One objective: its criteria's scores, aggregated."""

    name: str
    criteria: tuple[Criterion, ...]
    comparisons: _Comparisons | None
    on_timeout: OnTimeout
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)

    @property
    def kind(self) -> Kind:
        if all(criterion.kind == "check" for criterion in self.criteria):
            return "pointwise"
        return "group" if self.comparisons is None or self.comparisons.reference is None else "batch"

    def __call__(self, *arguments: Any) -> Any:
        if self.kind == "pointwise":
            problem, response = arguments
            scores = [criterion.score(problem, response, self.on_timeout) for criterion in self.criteria]
            return float(aggregate_scores(np.array([scores]), self.criteria)[0])
        problems, responses = arguments[:2]
        # Without a group there is a reference, and groups mean nothing.
        group = arguments[2] if self.kind == "group" else np.zeros(len(problems), np.int64)
        assert self.comparisons is not None
        rates = self.comparisons(problems, responses, group)
        columns = []
        for criterion in self.criteria:
            if criterion.kind == "check":
                columns.append(self._checked(criterion, problems, responses))
            else:
                rate = rates[criterion.name]
                columns.append(rate if criterion.polarity == 1 else 1 - rate)
        return aggregate_scores(np.stack(columns, axis=1), self.criteria)

    def _checked(
        self, criterion: Criterion, problems: Sequence[Problem], responses: Sequence[str]
    ) -> NDArray[np.float64]:
        scores = np.empty(len(problems))
        for row, (problem, response) in enumerate(zip(problems, responses, strict=True)):
            try:
                scores[row] = criterion.score(problem, response, self.on_timeout)
            except CheckError as error:
                raise CheckError(f"row {row}: {error}") from error
        return scores
