"""`Problem`, the three kinds of reward function, and `RewardVector`, which evaluates several of them at once.

Shapes: N responses, K objectives. Every reward is "larger is better", pure and deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["pointwise", "batch", "group"]
#: From the least to the most that a reward function sees.
KINDS: tuple[Kind, ...] = get_args(Kind)

#: A value may leave its declared bounds by this share of their width (rounding); beyond it the bounds are wrong.
BOUND_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Problem:
    """One task instance: all that a reward may see besides the response.

    Args:
        prompt: The text that the policy is given.
        target: The gold answer, any JSON value.
        meta: Further JSON-valued facts, for example ``{"gold": "...", "brevity_target": 31}``. Copied, so that a later
            change of the caller's mapping does not reach the problem.
    """

    prompt: str
    target: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            raise TypeError(f"Problem(prompt=...) must be a str, got {type(self.prompt).__name__}: {self.prompt!r}")
        object.__setattr__(self, "meta", dict(self.meta))


class RewardFunction(Protocol):
    """A picklable callable that carries its name, bounds and kind. See `reward`, which makes one of a function.

    ``pointwise``: ``(problem, response) -> float``. ``batch``: ``(problems, responses) -> (N,)``. ``group``:
    ``(problems, responses, group) -> (N,)`` with the int64 (N,) group index; batched environments only.

    It may further carry ``applies``, a picklable ``problem -> bool``: where that is False the function is not called,
    and the reward is its lower bound. Without it, it applies to every problem.
    """

    name: str
    low: float
    high: float
    kind: Kind

    def __call__(self, *args: Any) -> Any:
        """Evaluate; the arguments and the result follow ``kind``."""


class RewardError(RuntimeError):
    """A reward function failed or broke its contract. Names the reward and the row; the cause is chained."""


F = TypeVar("F", bound=Callable[..., Any])


def reward(
    *,
    low: float,
    high: float,
    kind: Kind = "pointwise",
    name: str | None = None,
    applies: Callable[[Problem], bool] | None = None,
) -> Callable[[F], F]:
    """Declare a function to be a reward with bounds [low, high].

    The function itself is returned, with ``name``, ``low``, ``high`` and ``kind`` as attributes, so it stays picklable
    by its import path. The kind is stated, never guessed from the signature. ``applies`` is carried where it is given,
    see `RewardFunction`.

    >>> @reward(low=0.0, high=1.0)
    ... def polite(problem, response):
    ...     return float("please" in response)
    >>> polite.name, polite.high, polite(Problem("hi"), "yes please")
    ('polite', 1.0, 1.0)

    Raises:
        ValueError: If the bounds are not finite with ``low < high``, or the kind is unknown.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"reward(low=, high=) must be finite with low < high, got low={low!r}, high={high!r}")
    if kind not in KINDS:
        raise ValueError(f"reward(kind=) must be one of {KINDS}, got {kind!r}")

    def declare(function: F) -> F:
        declared = cast(Any, function)
        declared.name = name or getattr(function, "__name__", type(function).__name__)
        declared.low, declared.high, declared.kind = float(low), float(high), kind
        if applies is not None:
            declared.applies = applies
        return function

    return declare


@dataclass(frozen=True)
class RewardVector:
    """K reward functions, evaluated together: ``(problems, responses, group=None) -> float64 (N, K)``.

    An exception in a reward propagates as `RewardError` with the reward's name and the row; a value that is not finite,
    or that leaves the declared bounds, is such an error too. Malformed *model output* is no error: a reward gives it
    its floor. Where a function does not apply to a problem (see `RewardFunction`) the value is its lower bound too, and
    `mask` tells the two apart.

    >>> @reward(low=0.0, high=1.0)
    ... def short(problem, response):
    ...     return float(len(response) < 4)
    >>> vector = RewardVector([short])
    >>> vector([Problem("hi"), Problem("hi")], ["yes", "certainly"])
    array([[1.],
           [0.]])
    """

    functions: tuple[RewardFunction, ...]

    def __init__(self, functions: Sequence[Any]) -> None:
        for position, function in enumerate(functions):
            missing = [a for a in ("name", "low", "high", "kind") if not hasattr(function, a)]
            if not callable(function) or missing:
                raise TypeError(
                    f"RewardVector: entry {position} ({function!r}) is not a reward function: "
                    f"it lacks {missing or 'a call'}; decorate it with @reward(low=..., high=...)"
                )
        names = [function.name for function in functions]
        if not names:
            raise ValueError("RewardVector needs at least one reward function, got none")
        if len(set(names)) != len(names):
            raise ValueError(f"RewardVector: names must be distinct, got {names}")
        object.__setattr__(self, "functions", tuple(functions))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objectives, in order."""
        return tuple(function.name for function in self.functions)

    @property
    def low(self) -> NDArray[np.float64]:
        """Lower bounds, (K,)."""
        return np.array([function.low for function in self.functions], dtype=np.float64)

    @property
    def high(self) -> NDArray[np.float64]:
        """Upper bounds, (K,)."""
        return np.array([function.high for function in self.functions], dtype=np.float64)

    @property
    def masked(self) -> bool:
        """Whether any objective may not apply to a problem."""
        return any(hasattr(function, "applies") for function in self.functions)

    def mask(self, problems: Sequence[Problem]) -> NDArray[np.bool_]:
        """Which objectives apply to which problems, bool (N, K), a fresh array.

        >>> @reward(low=0.0, high=1.0, applies=lambda problem: problem.target is not None)
        ... def right(problem, response):
        ...     return float(response == problem.target)
        >>> RewardVector([right]).mask([Problem("1 + 1?", "2"), Problem("hello")]).tolist()
        [[True], [False]]
        """
        columns = [applicable(function, problems) for function in self.functions]
        return np.stack(columns, axis=1)

    def __len__(self) -> int:
        return len(self.functions)

    def __iter__(self) -> Iterator[RewardFunction]:
        return iter(self.functions)

    def select(self, names: Sequence[str]) -> RewardVector:
        """The sub-vector with these objectives, in the order asked for.

        Raises:
            ValueError: If a name is unknown or given twice.
        """
        known = dict(zip(self.names, self.functions, strict=True))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"objectives={list(names)!r}: unknown {unknown}; known are {list(known)}")
        return RewardVector([known[name] for name in names])

    def __call__(
        self, problems: Sequence[Problem], responses: Sequence[str], group: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Score N responses.

        Args:
            problems: N problems, one for each response (repeat a problem for its group).
            responses: N texts.
            group: int64 (N,) group index; needed by rewards of kind ``group`` only.

        Returns:
            float64 (N, K), a fresh array.
        """
        if len(problems) != len(responses):
            raise ValueError(f"RewardVector: got {len(problems)} problems for {len(responses)} responses")
        columns = [evaluate(function, problems, responses, group) for function in self.functions]
        return np.stack(columns, axis=1) if len(problems) else np.empty((0, len(self.functions)))


def applicable(function: RewardFunction, problems: Sequence[Problem]) -> NDArray[np.bool_]:
    """Which of N problems a reward function applies to, bool (N,), a fresh array.

    Raises:
        RewardError: If its ``applies`` fails, or returns something else than a bool.
    """
    applies = getattr(function, "applies", None)
    mask = np.ones(len(problems), dtype=np.bool_)
    if applies is None:
        return mask
    for row, problem in enumerate(problems):
        try:
            answer = applies(problem)
        except Exception as error:
            raise RewardError(f"reward {function.name!r}: applies failed on row {row}: {error!r}") from error
        if not isinstance(answer, bool | np.bool_):
            raise RewardError(f"reward {function.name!r}: applies must return a bool, got {answer!r} on row {row}")
        mask[row] = answer
    return mask


def evaluate(
    function: RewardFunction,
    problems: Sequence[Problem],
    responses: Sequence[str],
    group: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """The rewards of N responses by one function of any kind, (N,), a fresh array inside its bounds.

    It is called with the rows alone that it applies to; the others get the lower bound.

    Raises:
        RewardError: If the function failed or broke its contract.
        ValueError: If it is of kind ``group`` and there is no ``group``.
    """
    if function.kind == "group" and group is None:
        raise ValueError(
            f"reward {function.name!r} is of kind 'group' and needs group=, got None (use a batched environment)"
        )
    rows = np.flatnonzero(applicable(function, problems))
    values = np.full(len(problems), float(function.low))
    if len(rows):
        values[rows] = _evaluate_rows(function, problems, responses, group, rows)
    return values


def _evaluate_rows(
    function: RewardFunction,
    problems: Sequence[Problem],
    responses: Sequence[str],
    group: NDArray[np.int64] | None,
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    if function.kind == "pointwise":
        values = np.empty(len(rows), dtype=np.float64)
        for position, row in enumerate(rows.tolist()):
            try:
                values[position] = function(problems[row], responses[row])
            except Exception as error:
                raise RewardError(f"reward {function.name!r} failed on row {row}: {error!r}") from error
    else:
        values = _whole_batch(function, problems, responses, group, rows)
    _check_values(function, values, rows)
    return np.clip(values, function.low, function.high)


def _whole_batch(
    function: RewardFunction,
    problems: Sequence[Problem],
    responses: Sequence[str],
    group: NDArray[np.int64] | None,
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    extra = () if function.kind == "batch" else (np.array(group, dtype=np.int64)[rows],)
    chosen = tuple(problems[row] for row in rows.tolist()), tuple(responses[row] for row in rows.tolist())
    try:
        values = np.array(function(*chosen, *extra), dtype=np.float64)
    except Exception as error:
        raise RewardError(f"reward {function.name!r} failed on the batch of {len(rows)} rows: {error!r}") from error
    if values.shape != (len(rows),):
        raise RewardError(f"reward {function.name!r} must return shape ({len(rows)},), got {values.shape}")
    return values


def _check_values(function: RewardFunction, values: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
    slack = BOUND_TOLERANCE * (function.high - function.low)
    inside = (values >= function.low - slack) & (values <= function.high + slack)  # False for NaN too
    if not inside.all():
        position = int(np.argmin(inside))
        raise RewardError(
            f"reward {function.name!r} returned {values[position]!r} on row {rows[position]}, "
            f"outside its declared bounds [{function.low}, {function.high}]"
        )
