"""`RolloutBatch`: shapes, selection, concatenation."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from llm_morl_agents.batch import RolloutBatch, concatenate


def batch_of(group, lengths, *, prompts=None, k=2, seed=0):
    """A batch with the given groups and lengths; row i holds the tokens 100 i, 100 i + 1, ..."""
    n, longest = len(group), max(lengths)
    mask = np.arange(longest) < np.array(lengths)[:, None]
    ids = np.where(mask, 100 * np.arange(n)[:, None] + np.arange(longest), 0)
    names = np.unique(group)
    return RolloutBatch(
        prompt_ids=tuple((int(g), 1) for g in names) if prompts is None else prompts,
        response_ids=ids,
        response_mask=mask,
        behaviour_logprobs=np.where(mask, -0.5, 0.0).astype(np.float32),
        rewards=np.random.default_rng(seed).random((n, k)),
        group=np.array(group, dtype=np.int64),
        finished=np.arange(n) % 2 == 0,
    )


RAGGED = batch_of([7, 3, 7, 9, 3, 7], [2, 4, 1, 3, 2, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response_mask": np.ones((6, 3), np.bool_)}, r"response_mask=\) must have shape \(6, 4\), got \(6, 3\)"),
        ({"behaviour_logprobs": np.zeros((5, 4), np.float32)}, r"behaviour_logprobs=\) must have shape \(6, 4\)"),
        ({"rewards": np.zeros((5, 2))}, r"rewards=\) must have shape \(6, 2\), got \(5, 2\)"),
        ({"rewards": np.zeros(6)}, r"rewards=\) must have two axes, got shape \(6,\)"),
        ({"response_ids": np.zeros(6, np.int64)}, r"response_ids=\) must have two axes"),
        ({"group": np.zeros(5, np.int64)}, r"group=\) must have shape \(6,\), got \(5,\)"),
        ({"finished": np.zeros((6, 1), np.bool_)}, r"finished=\) must have shape \(6,\)"),
        ({"prompt_ids": ((1,),)}, "got 1 prompts for 3 groups"),
        ({"own_mask": np.ones((6, 3), np.bool_)}, r"own_mask=\) must have shape \(6, 4\), got \(6, 3\)"),
        ({"own_mask": np.ones((6, 4), np.bool_)}, r"own_mask=\) is True at row 0, token 2, where response_mask is not"),
        ({"turns": np.ones(5, np.int64)}, r"turns=\) must have shape \(6,\)"),
        ({"objective_mask": np.ones((6, 3), np.bool_)}, r"objective_mask=\) must have shape \(6, 2\)"),
        ({"loss_weight": np.ones((6, 1))}, r"loss_weight=\) must have shape \(6,\)"),
        ({"preference": np.ones(6)}, r"preference=\) must have shape \(6, "),
    ],
)
def test_shapes_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RAGGED, **change)


def test_is_frozen():
    with pytest.raises(FrozenInstanceError):
        RAGGED.group = np.zeros(6, np.int64)


def test_prompt_index_and_lengths():
    assert len(RAGGED) == 6
    np.testing.assert_array_equal(RAGGED.prompt_index, [1, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(RAGGED.lengths, [2, 4, 1, 3, 2, 2])


def test_select_keeps_rows_and_their_prompts():
    rows = np.array([5, 0, 3])
    part = RAGGED.select(rows)
    assert part.prompt_ids == ((7, 1), (9, 1))
    np.testing.assert_array_equal(part.prompt_index, [0, 0, 1])
    np.testing.assert_array_equal(part.response_ids, RAGGED.response_ids[rows, :3])  # cut to the longest
    np.testing.assert_array_equal(part.lengths, RAGGED.lengths[rows])
    np.testing.assert_array_equal(part.rewards, RAGGED.rewards[rows])
    np.testing.assert_array_equal(part.finished, RAGGED.finished[rows])


def dialogue_of(batch):
    """The batch with its second token read, not written; with masks and weights."""
    own = batch.response_mask.copy()
    own[:, 1] = False
    n = len(batch)
    return replace(
        batch,
        own_mask=own,
        turns=np.arange(n) + 1,
        objective_mask=np.arange(2 * n).reshape(n, 2) % 3 > 0,
        loss_weight=0.5 * np.arange(n),
        preference=np.arange(2.0 * n).reshape(n, 2),
    )


def test_own_tokens_and_all_tokens():
    batch = dialogue_of(RAGGED)
    np.testing.assert_array_equal(batch.total_lengths, [2, 4, 1, 3, 2, 2])
    np.testing.assert_array_equal(batch.lengths, [1, 3, 1, 2, 1, 1])
    np.testing.assert_array_equal(RAGGED.lengths, RAGGED.total_lengths)
    assert RAGGED.own is RAGGED.response_mask


def test_select_and_concatenate_carry_what_is_optional():
    batch, rows = dialogue_of(RAGGED), np.array([5, 0, 3])
    part = batch.select(rows)
    for name in ("turns", "objective_mask", "loss_weight", "preference"):
        np.testing.assert_array_equal(getattr(part, name), getattr(batch, name)[rows])
        assert getattr(RAGGED.select(rows), name) is None
    np.testing.assert_array_equal(part.own_mask, batch.own_mask[rows, :3])
    both = concatenate([RAGGED, part])
    np.testing.assert_array_equal(both.own[:6], RAGGED.response_mask)
    np.testing.assert_array_equal(both.own[6:, :3], part.own_mask)
    np.testing.assert_array_equal(both.turns, [1] * 6 + part.turns.tolist())
    np.testing.assert_array_equal(both.loss_weight, [1.0] * 6 + part.loss_weight.tolist())
    np.testing.assert_array_equal(both.objective_mask, [[True, True]] * 6 + part.objective_mask.tolist())
    np.testing.assert_array_equal(both.preference, [[1.0, 1.0]] * 6 + part.preference.tolist())
    plain = concatenate([RAGGED, RAGGED])
    assert plain.own_mask is plain.turns is plain.objective_mask is plain.loss_weight is plain.preference is None


def test_select_of_nothing_is_empty():
    part = RAGGED.select(np.array([], dtype=np.int64))
    assert len(part) == 0
    assert part.prompt_ids == ()


def test_concatenate_keeps_groups_apart():
    other = batch_of([7, 7, 0], [1, 5, 2], seed=1)
    both = concatenate([RAGGED, other])
    assert both.prompt_ids == RAGGED.prompt_ids + other.prompt_ids
    np.testing.assert_array_equal(both.prompt_index, [1, 0, 1, 2, 0, 1, 4, 4, 3])
    np.testing.assert_array_equal(both.rewards, np.concatenate([RAGGED.rewards, other.rewards]))
    np.testing.assert_array_equal(both.lengths, np.concatenate([RAGGED.lengths, other.lengths]))
    np.testing.assert_array_equal(both.response_ids[:6, :4], RAGGED.response_ids)
    assert both.response_ids.dtype == np.int64
    assert both.behaviour_logprobs.dtype == np.float32
    assert both.response_mask.dtype == np.bool_


def test_concatenate_and_select_are_inverse():
    other = batch_of([1, 1], [3, 2], seed=1)
    first = concatenate([RAGGED, other]).select(np.arange(6))
    np.testing.assert_array_equal(first.response_ids, RAGGED.response_ids)
    np.testing.assert_array_equal(first.prompt_index, RAGGED.prompt_index)
    assert first.prompt_ids == RAGGED.prompt_ids
