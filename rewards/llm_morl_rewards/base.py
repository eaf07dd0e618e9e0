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


def reward(*, low: float, high: float, kind: Kind = "pointwise", name: str | None = None) -> Callable[[F], F]:
    """Declare a function to be a reward with bounds [low, high].

    The function itself is returned, with ``name``, ``low``, ``high`` and ``kind`` as attributes, so it stays picklable
    by its import path. The kind is stated, never guessed from the signature.

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
    if kind not in get_args(Kind):
        raise ValueError(f"reward(kind=) must be one of {get_args(Kind)}, got {kind!r}")

    def declare(function: F) -> F:
        declared = cast(Any, function)
        declared.name = name or getattr(function, "__name__", type(function).__name__)
        declared.low, declared.high, declared.kind = float(low), float(high), kind
        return function

    return declare


@dataclass(frozen=True)
class RewardVector:
    """K reward functions, evaluated together: ``(problems, responses, group=None) -> float64 (N, K)``.

    An exception in a reward propagates as `RewardError` with the reward's name and the row; a value that is not finite,
    or that leaves the declared bounds, is such an error too. Malformed *model output* is no error: a reward gives it
    its floor.

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
        columns = [_column(function, problems, responses, group) for function in self.functions]
        return np.stack(columns, axis=1) if len(problems) else np.empty((0, len(self.functions)))


def _column(
    function: RewardFunction, problems: Sequence[Problem], responses: Sequence[str], group: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    if function.kind == "pointwise":
        values = np.empty(len(problems), dtype=np.float64)
        for row, (problem, response) in enumerate(zip(problems, responses, strict=True)):
            try:
                values[row] = function(problem, response)
            except Exception as error:
                raise RewardError(f"reward {function.name!r} failed on row {row}: {error!r}") from error
    else:
        values = _whole_batch(function, problems, responses, group)
    _check_values(function, values)
    return np.clip(values, function.low, function.high)


def _whole_batch(
    function: RewardFunction, problems: Sequence[Problem], responses: Sequence[str], group: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    if function.kind == "group" and group is None:
        raise ValueError(
            f"reward {function.name!r} is of kind 'group' and needs group=, got None (use a batched environment)"
        )
    extra = () if function.kind == "batch" else (np.array(group, dtype=np.int64),)
    try:
        values = np.array(function(tuple(problems), tuple(responses), *extra), dtype=np.float64)
    except Exception as error:
        raise RewardError(f"reward {function.name!r} failed on the batch of {len(problems)} rows: {error!r}") from error
    if values.shape != (len(problems),):
        raise RewardError(f"reward {function.name!r} must return shape ({len(problems)},), got {values.shape}")
    return values


def _check_values(function: RewardFunction, values: NDArray[np.float64]) -> None:
    slack = BOUND_TOLERANCE * (function.high - function.low)
    inside = (values >= function.low - slack) & (values <= function.high + slack)  # False for NaN too
    if not inside.all():
        row = int(np.argmin(inside))
        raise RewardError(
            f"reward {function.name!r} returned {values[row]!r} on row {row}, "
            f"outside its declared bounds [{function.low}, {function.high}]"
        )
