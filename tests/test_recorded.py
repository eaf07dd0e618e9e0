"""Frozen and Replay: weights as they are, row by row, and what they refuse."""

import numpy as np
import pytest
from properties import decide, random_batch, run_weighter

from llm_morl_agents.weighters import SAW, Frozen, Replay


def test_frozen_ignores_the_preference():
    weighting, _ = decide(Frozen([0.5, 0.0, 2.0], scale=0.3), *random_batch(0), preference=np.array([3.0, 1.0, 0.0]))
    np.testing.assert_array_equal(weighting.weights, [0.5, 0.0, 2.0])
    assert weighting.scale == 0.3


def test_replay_repeats_a_run():
    """The weights of a dynamic run, given back step by step, then the last for ever."""
    steps = [random_batch(seed) for seed in range(5)]
    recorded, _ = run_weighter(SAW(), steps[:3])
    replayed, state = run_weighter(Replay([tuple(row) for row in recorded]), steps)
    np.testing.assert_array_equal(replayed, [*recorded, recorded[-1], recorded[-1]])
    assert state == {}


def test_replay_of_scales():
    replay = Replay([[1.0, 1.0, 1.0], [2.0, 1.0, 0.0]], scale=[0.5, 0.7])
    assert [decide(replay, *random_batch(0), step=step)[0].scale for step in range(3)] == [0.5, 0.7, 0.7]


def test_as_values():
    assert Frozen(np.array([1.0, 2.0])) == Frozen([1, 2])
    assert Replay(np.ones((2, 3)), scale=np.ones(2)) == Replay([[1, 1, 1]] * 2, scale=[1, 1])


@pytest.mark.parametrize("weighter", [Frozen([1.0, 2.0]), Replay([[1.0, 2.0]])])
def test_one_weight_for_each_objective(weighter):
    with pytest.raises(ValueError, match="must have 3 entries, one for each objective, got 2"):
        decide(weighter, *random_batch(0))
    with pytest.raises(ValueError, match="must have 3 entries"):
        decide(weighter, *random_batch(0), state={})


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Frozen([1.0, np.nan]), r"Frozen\(weights=\)"),
        (lambda: Frozen([[1.0]]), r"Frozen\(weights=\)"),
        (lambda: Frozen([1.0], scale=np.inf), r"Frozen\(scale=\)"),
        (lambda: Replay([]), r"Replay\(weights=\) must be at least one row"),
        (lambda: Replay([[1.0], [1.0, 2.0]]), r"Replay\(weights=\) must be at least one row, all of one length"),
        (lambda: Replay([1.0, 2.0]), r"Replay\(weights=\) must be at least one row, all of one length"),
        (lambda: Replay([[np.inf]]), r"Replay\(weights=\)"),
        (lambda: Replay([[1.0]], scale=[1.0, 2.0]), r"Replay\(scale=\) must have shape \(1\)"),
    ],
)
def test_refuses(make, match):
    with pytest.raises(ValueError, match=match):
        make()
