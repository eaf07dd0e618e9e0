"""Comparing, walking through and overwriting nested values: what environments return, for `llm_morl_env.testing`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def difference(one: Any, other: Any, path: str) -> str | None:
    """Where two values differ in type, order or value, or None. NaN differs from itself: infos must hold none."""
    if type(one) is not type(other):
        return f"{path} is a {type(one)}, then a {type(other)}"
    if isinstance(one, dict):
        if list(one) != list(other):
            return f"the keys of {path} are {list(one)}, then {list(other)}"
        same = True
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            return f"the length of {path} is {len(one)}, then {len(other)}"
        same = True
    elif isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape
        same = same and (one.dtype == object or bool((one == other).all()))
    else:
        same = bool(one == other)
    if not same:
        return f"{path} is {one!r}, then {other!r}"
    pairs = zip(_entries(one, path), _entries(other, path), strict=True)
    return next((found for (key, a), (_, b) in pairs if (found := difference(a, b, key)) is not None), None)


def mutables(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The arrays, dicts, lists and sets in a value, outer ones last."""
    for key, inner in _entries(value, path):
        yield from mutables(inner, key)
    if isinstance(value, dict | list | set | bytearray) or (isinstance(value, np.ndarray) and value.size):
        yield path, value


def share_memory(one: Any, other: Any) -> bool:
    """Whether writing into one changes the other: arrays that overlap, or the same container."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.shares_memory(one, other)
    return one is other


def _entries(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What a container holds, with paths; nothing of other values."""
    if isinstance(value, dict):
        yield from ((f"{path}[{key!r}]", inner) for key, inner in value.items())
    elif isinstance(value, np.ndarray) and value.dtype == object:
        yield from ((f"{path}[{number}]", inner) for number, inner in enumerate(value.ravel()))
    elif isinstance(value, list | tuple):
        yield from ((f"{path}[{number}]", inner) for number, inner in enumerate(value))


def overwrite(value: Any) -> Callable[[], None]:
    """Write other values into an array, empty a container; the result undoes it."""
    kept = copy.copy(value)
    if isinstance(value, np.ndarray):
        if not value.flags.writeable:
            return lambda: None
        value[...] = None if value.dtype == object else _other_values(value)
        return lambda: np.copyto(value, kept, casting="no")
    value.clear()
    return lambda: (value.update if isinstance(value, dict | set) else value.extend)(kept)


def _other_values(array: np.ndarray[Any, Any]) -> Any:
    return ~array if array.dtype.kind in "biu" else array * 0 + 77 if array.dtype.kind in "fc" else array[::-1]
