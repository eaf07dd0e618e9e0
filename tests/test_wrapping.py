"""Wrapper: what it passes on from the inner weighter, and its nested state."""

import numpy as np
import pytest
from properties import decide, random_batch, rows_of_weights

from llm_morl_agents.weighters import (
    RVPO,
    SAW,
    Clipped,
    DVAOWeights,
    Floored,
    Frozen,
    GradientCombiner,
    Smoothed,
    Static,
    Tchebycheff,
)
from llm_morl_agents.weighters.wrapping import nest, unnest


def test_passes_on_what_the_inner_weighter_declares():
    inner = GradientCombiner("mgda", every=3)
    assert Floored(Smoothed(inner)).needs == inner.needs
    assert Floored(Smoothed(inner)).probe == inner.probe
    assert Floored(DVAOWeights()).shrinks_groups
    assert not Floored(SAW()).shrinks_groups
    assert not hasattr(Floored(SAW()), "probe")  # so that an agent's default applies


def test_passes_on_scale_and_combiner():
    weighting, _ = decide(Floored(Frozen([1.0, 2.0, 3.0], scale=0.3)), *random_batch(0))
    assert weighting.scale == 0.3
    assert weighting.combiner is None


def test_the_inner_weighter_checks_the_objectives():
    with pytest.raises(ValueError, match="must have 3 entries"):
        decide(Floored(Static([1, 2])), *random_batch(0))


def test_nested_states_do_not_meet():
    _, state = decide(Smoothed(Smoothed(SAW(ema=0.5))), *random_batch(0))
    assert set(state) == {"weights", "inner/weights", "inner/inner/share"}
    inner = {"weights": 1, "inner/share": 2}
    assert unnest({**nest(inner), "weights": 3}) == inner


@pytest.mark.parametrize("inner", [None, 0.5, SAW, "saw"])
def test_refuses(inner):
    with pytest.raises(ValueError, match=r"Floored\(inner=\) must be a weighter"):
        Floored(inner)


@pytest.mark.parametrize("level", ["reward", "advantage"])
@pytest.mark.parametrize("inner", [RVPO(), Tchebycheff(), Tchebycheff(mu=0.1)], ids=repr)
@pytest.mark.parametrize("wrap", [lambda w: Floored(w, 0.5), lambda w: Clipped(w, low=0.5)], ids=["floored", "clipped"])
def test_what_does_not_apply_stays_out_of_a_combiner(wrap, inner, level):
    """A minimum would take the 0 of a missing reward for a bad one, and that of a flat one for an average one."""
    rewards, group = random_batch(2)
    rewards[np.random.default_rng(0).random(rewards.shape) < 0.3] = np.nan
    rewards[group == group[0], 1] = 0.5
    wrapped, plain = (
        rows_of_weights(decide(w, rewards, group, level=level, step=2)[0], rewards, group) for w in (wrap(inner), inner)
    )
    np.testing.assert_array_equal(wrapped[0] > 0, plain[0] > 0)
    assert (plain[0] == 0).any()
    np.testing.assert_allclose(wrapped[0].sum(axis=1), plain[0].sum(axis=1), rtol=1e-12)
