"""What weighters make of objectives that hold nothing to learn: noise, and rewards that are the same for all responses.

Measured on batches of DentFront, whose two own objectives share what noise leaves.
"""

import numpy as np
import pytest
from doubt import batches_of, contributions, shares

from llm_morl_agents.advantages import METHODS
from llm_morl_agents.weighters import WEIGHTERS, Weighting
from llm_morl_env.transforms import NoisyObjective, SaturatedObjective

#: Share of the advantage that pure noise gets in place of a third objective, by weighter: under GDPO with noise of
#: [-0.5, 0.5] (its std is 0.29, those of the two signals 0.16 and 0.19) and of [-0.05, 0.05], then, under the weighted
#: sum of centred rewards, with the same two.
NOISE_SHARES = {
    "static": (0.34, 0.34, 0.47, 0.08),
    "saw": (0.39, 0.39, 0.52, 0.10),
    "dvao": (0.47, 0.085, 0.59, 0.015),
    "sa_mrpo": (0.32, 0.32, 0.44, 0.07),
    "gd2po": (0.39, 0.39, 0.51, 0.09),
    "encore": (0.255, 0.255, 0.37, 0.055),
    "dara": (0.34, 0.34, 0.47, 0.08),
    "ctwa": (0.34, 0.34, 0.47, 0.08),
    "corr_grpo": (0.34, 0.34, 0.47, 0.08),
    "proportional_fair": (0.39, 0.39, 0.39, 0.39),
}


every_weighter = pytest.mark.parametrize("weighter", [WEIGHTERS[name]() for name in NOISE_SHARES], ids=[*NOISE_SHARES])


@pytest.mark.parametrize("name", [*NOISE_SHARES])
def test_what_noise_gets(name):
    """No weighter of rewards alone sees through noise: normalised, it has as much variance as any signal.

    DVAO follows the size of the noise, and proportional fairness ignores it at both levels.
    """
    measured = [
        shares(WEIGHTERS[name](), [NoisyObjective(scale=scale)], method=method)[2]
        for method in ("gdpo", "dr_grpo")
        for scale in (0.5, 0.05)
    ]
    np.testing.assert_allclose(measured, NOISE_SHARES[name], atol=0.02)


@every_weighter
@pytest.mark.parametrize("method", ["gdpo", "dr_grpo"])
@pytest.mark.parametrize(
    "flat",
    [SaturatedObjective(), SaturatedObjective(value=0.0), SaturatedObjective(value=0.7, jitter=4e-7)],
    ids=["solved", "out-of-reach", "rounding"],
)
def test_a_flat_objective_gets_exactly_nothing(weighter, method, flat):
    got = shares(weighter, [flat], method=method, steps=4, last=4)
    if method == "gdpo" or flat.jitter == 0:
        assert got[2] == 0.0
    assert got[2] < 1e-5
    assert got[:2].min() > 0.1


@pytest.mark.parametrize(("name", "low", "high"), [("static", 0.3, 0.4), ("saw", 0.0, 1e-3), ("dvao", 0.0, 1e-3)])
def test_a_nearly_flat_objective_above_rounding(name, low, high):
    """A thousandth of the signals' size: group z-scores blow it up to theirs; SAW and DVAO weigh it down again."""
    assert low <= shares(WEIGHTERS[name](), [SaturatedObjective(jitter=2e-4)])[2] <= high


def test_noise_on_an_objective_buries_it():
    """The share of an objective stays as it was under GDPO, but what it pays for is mostly the noise."""
    plain, noisy = (list(batches_of(t, steps=4)) for t in ([], [NoisyObjective(on="b", scale=0.5)]))
    weighting = Weighting(np.ones(2))
    for (clean, group, _), (rough, _, _) in zip(plain, noisy, strict=True):
        np.testing.assert_array_equal(clean[:, 0], rough[:, 0])
        parts = contributions("gdpo", rough, group, weighting)
        assert np.abs(parts[:, 1]).mean() == pytest.approx(np.abs(parts[:, 0]).mean(), rel=0.1)
        signal = contributions("gdpo", clean, group, weighting)[:, 1]
        assert 0.3 < np.corrcoef(signal, parts[:, 1])[0, 1] < 0.7


def test_contributions_sum_up_to_the_advantage():
    ((rewards, group, _),) = batches_of([NoisyObjective()], steps=1)
    weighting = Weighting(np.array([0.5, 1.0, 2.0]))
    parts = contributions("gdpo", rewards, group, weighting)
    recipe = METHODS["gdpo"]
    expected = sum(w * recipe.base(r[:, None], group)[:, 0] for w, r in zip(weighting.weights, rewards.T, strict=True))
    np.testing.assert_allclose(parts.sum(axis=1), expected, atol=1e-12)
