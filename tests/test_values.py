"""Nested values: where they differ, what in them can be shared, and overwriting with undoing."""

import copy
import re
from typing import Any

import numpy as np
import pytest

from llm_morl_env.values import difference, mutables, overwrite, share_memory


@pytest.mark.parametrize(
    "value",
    [1, "a", None, True, (1, [2, {"a": np.arange(3)}]), np.array(["a", None], object), np.zeros((2, 0)), {"x": {}}],
    ids=repr,
)
def test_equal_values_do_not_differ(value: Any) -> None:
    assert difference(value, copy.deepcopy(value), "it") is None


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (1, 1.0, "it is a <class 'int'>, then a <class 'float'>"),
        (True, np.True_, "it is a <class 'bool'>, then a <class 'numpy.bool"),
        (1, 2, "it is 1, then 2"),
        (float("nan"), float("nan"), "it is nan, then nan"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, r"the keys of it are \['a', 'b'\], then \['b', 'a'\]"),
        ({"a": [1, 2]}, {"a": [1, 3]}, r"it\['a'\]\[1\] is 2, then 3"),
        ([1], [1, 2], "the length of it is 1, then 2"),
        (np.zeros(2), np.zeros(2, np.float32), "it is array"),
        (np.zeros(2), np.zeros((2, 1)), "it is array"),
        (np.zeros(2), np.ones(2), "it is array"),
        (np.array(["a"], object), np.array(["b"], object), r"it\[0\] is 'a', then 'b'"),
    ],
)
def test_different_values_are_located(one: Any, other: Any, message: str) -> None:
    found = difference(one, other, "it")
    assert found is not None
    assert re.match(message, found), found


def test_mutables_are_found_at_any_depth() -> None:
    value = {"a": [np.zeros(1), ({1},)], "b": "text", "c": np.array([[], {}], object)[:1]}
    paths = [path for path, _ in mutables(value, "it")]
    assert paths == ["it['a'][0]", "it['a'][1][0]", "it['a']", "it['c'][0]", "it['c']", "it"]
    assert list(mutables((1, "a", np.zeros(0)), "it")) == []


def test_sharing_memory() -> None:
    array, held = np.zeros((4, 2)), {}
    assert share_memory(array, array[1:])
    assert not share_memory(array[:2], array[2:])
    assert not share_memory(array[:, 0], array[:, 1])
    assert share_memory(held, held)
    assert not share_memory({}, {})


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3),
        np.array([True, False]),
        np.array([0.0, 77.0]),
        np.array(["a", 1], object),
        np.array(["ab", "c"]),
        {"a": 1, "b": 2},
        [1, 2],
        {1, 2},
        bytearray(b"ab"),
    ],
    ids=repr,
)
def test_overwriting_changes_and_undoing_restores(value: Any) -> None:
    before = copy.deepcopy(value)
    undo = overwrite(value)
    assert difference(value, before, "it") is not None
    undo()
    assert difference(value, before, "it") is None


def test_what_cannot_be_written_is_left() -> None:
    array = np.arange(3)
    array.flags.writeable = False
    overwrite(array)()
    assert array.tolist() == [0, 1, 2]
