"""`UnicodeText`: membership, sampling, batching and flattening over all of Unicode."""

import pickle

import numpy as np
import pytest
from gymnasium.spaces import Text, flatdim, flatten, flatten_space, unflatten
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given
from hypothesis import strategies as st

from llm_morl_env.spaces import SAMPLE_CHARACTERS, CodePoints, UnicodeText

ANY_TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(["", '{"a": [1]}\n', "\ud800", "\x00", "naïve 雪"])


@given(text=ANY_TEXT)
def test_every_text_up_to_the_length_is_a_member(text: str) -> None:
    assert text in UnicodeText(20)
    assert (text in UnicodeText(3)) == (len(text) <= 3)


@pytest.mark.parametrize("other", [1, None, b"bytes", ["a"], np.array("a")])
def test_other_types_are_no_members(other: object) -> None:
    assert other not in UnicodeText()


def test_samples_are_members_differ_and_follow_the_seed() -> None:
    first, second = UnicodeText(30, seed=7), UnicodeText(30, seed=7)
    samples = [first.sample() for _ in range(200)]
    assert samples == [second.sample() for _ in range(200)]
    assert all(sample in first for sample in samples)
    assert {len(sample) for sample in samples} == set(range(31))
    assert any(ord(c) > 0xFFFF for sample in samples for c in sample)
    assert max(len(UnicodeText().sample()) for _ in range(100)) <= SAMPLE_CHARACTERS


def test_sample_honours_a_length_and_a_mask() -> None:
    space = UnicodeText(10, seed=0)
    assert len(space.sample(mask=(10, None))) == 10
    assert len(space.sample(probability=(0, None))) == 0
    mask = np.zeros(0x110000, np.int8)
    mask[[ord("a"), 0x1F642]] = 1
    assert set(space.sample(mask=(8, mask))) <= {"a", "\U0001f642"}
    with pytest.raises(ValueError, match=r"length must lie in 0\.\.10, got 11"):
        space.sample(mask=(11, None))


@given(text=ANY_TEXT)
def test_flattening_round_trips(text: str) -> None:
    space = UnicodeText(20)
    flat = flatten(space, text)
    assert flat in flatten_space(space)
    assert flat.shape == (flatdim(space),) == (20,)
    assert unflatten(space, flat) == text


def test_batches_to_a_tuple() -> None:
    space = UnicodeText(20)
    batched = batch_space(space, 3)
    items = ("", "雪\n", "\udfff")
    assert items in batched
    assert concatenate(space, items, create_empty_array(space, 3)) == items
    assert tuple(iterate(batched, items)) == items
    assert batched.sample() in batched


def test_equality_and_pickling() -> None:
    space = UnicodeText(20)
    assert space == UnicodeText(20) != UnicodeText(21)
    assert space != Text(20, min_length=0)
    assert pickle.loads(pickle.dumps(space)) == space
    assert repr(space) == "UnicodeText(max_length=20)"


def test_code_points_are_a_sequence_of_all_characters() -> None:
    points = CodePoints()
    assert len(points) == 0x110000
    assert points[97] == "a"
    assert points[-1] == "\U0010ffff"
    assert points[97:100] == ["a", "b", "c"]
    assert "ab" not in points
    assert hash(points) == hash(CodePoints())
    with pytest.raises(IndexError):
        points[0x110000]
