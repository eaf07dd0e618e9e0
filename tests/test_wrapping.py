"""Wrapper: what it passes on from the inner weighter, and its nested state."""

import pytest
from properties import decide, random_batch

from llm_morl_agents.weighters import SAW, DVAOWeights, Floored, Frozen, GradientCombiner, Smoothed, Static
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
