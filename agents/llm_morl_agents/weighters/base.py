"""`Signals` in, `Weighting` out: the protocol of every weighter, with its state as an explicit value.

Shapes: N responses, P prompts (groups), K objectives. Larger reward is better. NaN marks a reward that does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Where the weights act: on the rewards before they are summed, or on the per-objective advantages.
Level = Literal["reward", "advantage"]

#: A weighter's memory: flat, values are JSON values or numpy arrays. The agent holds and checkpoints it.
State = Mapping[str, Any]

#: ``(values (N, K), weights (N, K)) -> (N,)``, pure and picklable: how weighted objectives become one number.
Combiner = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

#: What a weighter may ask for beyond the rewards; the agent supplies exactly what `Weighter.needs` names.
NEEDS = frozenset({"gradients.exact", "gradients.jvp", "realised", "validation"})


@dataclass(frozen=True)
class Probe:
    """How the agent is to measure the signals that a weighter needs; a weighter carries one as ``probe``.

    Args:
        every: Steps between measurements, from step 0; the signals are None in the steps between.
        parameters: Regular expressions; gradients are taken of the trainable parameters that one of them is found in.
            None takes all.
        clip_norm: Each objective's gradient is scaled down to this norm (``gradients.exact`` alone); None for never.
        groups: Groups of the batch that gradients and ``realised`` are taken on, the first ones; None for all.
        problems: Problems that ``validation`` answers greedily.
        method: Of ``gradients.jvp``: ``"forward"`` differentiates forward, ``"finite"`` takes a central difference of
            two forward passes, ``"auto"`` is forward where the policy can.

    Raises:
        ValueError: If a number is not positive, one that counts is not whole, or ``method`` is unknown.
    """

    every: int = 1
    parameters: tuple[str, ...] | None = None
    clip_norm: float | None = None
    groups: int | None = None
    problems: int = 64
    method: Literal["auto", "forward", "finite"] = "auto"

    def __post_init__(self) -> None:
        for name in ("every", "clip_norm", "groups", "problems"):
            value = getattr(self, name)
            if value is None:
                continue
            if not value > 0:
                raise ValueError(f"Probe({name}=) must be positive, got {value!r}")
            if name != "clip_norm" and value != int(value):
                raise ValueError(f"Probe({name}=) must be a whole number, got {value!r}")
        if self.method not in ("auto", "forward", "finite"):
            raise ValueError(f"Probe(method=) must be 'auto', 'forward' or 'finite', got {self.method!r}")


def frozen_array(
    name: str, value: ArrayLike, shape: tuple[int | None, ...], *, nan: bool = False, inf: bool = False
) -> NDArray[np.float64]:
    """A read-only float64 copy of ``value``, its shape and finiteness checked.

    Args:
        name: The parameter, as an error shall call it.
        value: Anything array-like.
        shape: The expected shape; None stands for any length.
        nan: Whether NaN entries are allowed.
        inf: Whether infinite entries are allowed.

    Raises:
        ValueError: If the shape differs or an entry is NaN or infinite against the above.
    """
    array = np.array(value, dtype=np.float64)
    if array.ndim != len(shape) or any(e is not None and e != s for e, s in zip(shape, array.shape, strict=True)):
        expected = "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}")
    bad = (np.isnan(array) & (not nan)) | (np.isinf(array) & (not inf))
    if bad.any():
        raise ValueError(f"{name}: {array[bad][0]} is not allowed, got it at index {np.argwhere(bad)[0].tolist()}")
    array.setflags(write=False)
    return array


def frozen_group(value: ArrayLike, n: int) -> NDArray[np.int64]:
    """A read-only int64 (n,) copy of a group index.

    Raises:
        ValueError: If it is not an integer vector of length ``n``.
    """
    array = np.array(value)
    if array.shape != (n,) or (n and array.dtype.kind not in "iu"):
        raise ValueError(f"group must be integers of shape ({n},), got {array.dtype} of shape {array.shape}")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Objectives:
    """What an environment declares about its K objectives.

    Args:
        names: K distinct names.
        low: Lower bounds (K,), -inf where none is declared.
        high: Upper bounds (K,), above ``low``, inf where none is declared.
    """

    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __init__(self, names: Sequence[str], low: ArrayLike, high: ArrayLike) -> None:
        names = tuple(names)
        if not names or len(set(names)) != len(names):
            raise ValueError(f"Objectives(names=) must be distinct and at least one, got {names}")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "low", frozen_array("Objectives(low=)", low, (len(names),), inf=True))
        object.__setattr__(self, "high", frozen_array("Objectives(high=)", high, (len(names),), inf=True))
        if (self.low >= self.high).any():
            raise ValueError(f"Objectives: every low must be below its high, got low={self.low}, high={self.high}")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Signals:
    """All that a weighter may look at in one training step. Arrays are copied and read-only, shapes are checked once.

    Args:
        rewards: (N, K); NaN where an objective does not apply to a response.
        group: int64 (N,), the prompt of each response. Groups may be ragged and interleaved.
        low: Declared lower bounds (K,), -inf where there is none.
        high: Declared upper bounds (K,), inf where there is none.
        preference: (K,) non-negative static priorities of the user; ones where there are none.
        level: Where the estimator applies the weights, ``"reward"`` or ``"advantage"``.
        step: Index of the training step, from 0.
        gramian: (K, K) inner products of the per-objective gradients. Only if ``needs`` names a gradient, as all below.
            NaN for an objective that no response of those that were measured on has, as in the two that follow.
        influence: (K,) inner product of each objective's gradient with their sum.
        realised: (K,) gain of the previous step, on its responses.
        validation: (K,) reward vector of the current policy on held-out problems.

    Raises:
        ValueError: If a shape differs from the above or a value is not finite where the above does not allow it.
    """

    rewards: NDArray[np.float64]
    group: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    preference: NDArray[np.float64]
    level: Level
    step: int
    gramian: NDArray[np.float64] | None = None
    influence: NDArray[np.float64] | None = None
    realised: NDArray[np.float64] | None = None
    validation: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        rewards = frozen_array("Signals(rewards=)", self.rewards, (None, None), nan=True)
        n, k = rewards.shape
        object.__setattr__(self, "rewards", rewards)
        object.__setattr__(self, "group", frozen_group(self.group, n))
        for name in ("low", "high", "preference"):
            bound = name != "preference"
            object.__setattr__(self, name, frozen_array(f"Signals({name}=)", getattr(self, name), (k,), inf=bound))
        for name, shape in (("gramian", (k, k)), ("influence", (k,)), ("realised", (k,)), ("validation", (k,))):
            if getattr(self, name) is not None:
                value, nan = getattr(self, name), name != "validation"
                object.__setattr__(self, name, frozen_array(f"Signals({name}=)", value, shape, nan=nan))
        if (self.preference < 0).any():
            raise ValueError(f"Signals(preference=) must be non-negative, got {self.preference}")
        if self.level not in get_args(Level):
            raise ValueError(f"Signals(level=) must be one of {get_args(Level)}, got {self.level!r}")


@dataclass(frozen=True, eq=False)
class Weighting:
    """What a weighter decides for one step.

    Args:
        weights: (K,), per group (P, K) or per response (N, K). Row p of (P, K) belongs to the p-th value of
            ``np.unique(group)``; where P = N every response is a group of its own and rows are read per group.
        scale: A scalar, (P,) or (N,); multiplies the advantage after normalisation, where no whitening can undo it.
        combiner: How this step's weighted objectives become one number; None leaves the estimator's own, as a rule the
            weighted sum. For methods that are not linear in the objectives (soft minimum, Tchebycheff).

    Raises:
        ValueError: If a shape is none of these or a value is not finite.
    """

    weights: NDArray[np.float64]
    scale: float | NDArray[np.float64] = 1.0
    combiner: Combiner | None = None

    def __post_init__(self) -> None:
        weights_shape = (None,) * min(max(np.ndim(self.weights), 1), 2)
        scale_shape = (None,) * min(np.ndim(self.scale), 1)
        object.__setattr__(self, "weights", frozen_array("Weighting(weights=)", self.weights, weights_shape))
        object.__setattr__(self, "scale", frozen_array("Weighting(scale=)", self.scale, scale_shape))

    def rows(self, group: NDArray[np.int64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The weights (N, K) and scale (N,) of each response.

        Args:
            group: int64 (N,) group index.
            k: Number of objectives.

        Raises:
            ValueError: If the weights fit neither (K,), (P, K) nor (N, K), or the scale neither (), (P,) nor (N,).
        """
        n = len(group)
        values, row = np.unique(group, return_inverse=True)
        if self.weights.shape[-1] != k:
            raise ValueError(f"Weighting: got weights of shape {self.weights.shape} for {k} objectives")
        expanded = []
        for name, array, base in (("weights", self.weights, 1), ("scale", np.asarray(self.scale), 0)):
            if array.ndim == base:
                expanded.append(np.broadcast_to(array, (n, *array.shape)))
            elif len(array) in (len(values), n):
                expanded.append(array[row] if len(array) == len(values) else array)
            else:
                raise ValueError(
                    f"Weighting: got {len(array)} rows of {name} for {len(values)} groups and {n} responses"
                )
        return expanded[0], expanded[1]


@runtime_checkable
class Weighter(Protocol):
    """A frozen object that turns `Signals` into a `Weighting`; its memory goes in and comes out as a value.

    ``needs`` is a subset of `NEEDS`; a weighter that needs any may carry a ``probe``, a `Probe`. ``init`` gives the
    state before the first step. A call never changes the state it was given.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Names of the optional signals that the weighter reads."""

    def init(self, objectives: Objectives) -> State:
        """The state before the first step."""

    def __call__(self, signals: Signals, state: State) -> tuple[Weighting, State]:
        """Weights of this step and the state for the next."""
