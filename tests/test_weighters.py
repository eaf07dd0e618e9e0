"""Weighters: properties over the table, and what each refuses. Reference numbers are in `test_method_vectors`."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from properties import (
    assert_untouched,
    batches,
    json_round_trip,
    objectives,
    random_batch,
    run_weighter,
    signals,
    weights_of,
)

from llm_morl_agents.weighters import (
    SAW,
    WEIGHTERS,
    DVAOWeights,
    Objectives,
    ProportionalFair,
    Signals,
    StageAwareWeighter,
    Static,
    Weighter,
    Weighting,
    dvao,
    saw,
    static,
)
from llm_morl_agents.weighters.base import NEEDS
from llm_morl_agents.weighters.saw import coefficient_of_variation

#: Every weighter of the table, with the options that change its state or formula.
ARMS = {
    **{name: weighter() for name, weighter in WEIGHTERS.items()},
    "static-weights": Static([0.5, 0.3, 0.2]),
    "saw-ema": SAW(ema=0.7),
    "saw-released": SAW(released=True),
    "saw-released-ema": SAW(released=True, ema=0.7),
    "dvao-unit": DVAOWeights(unit_interval=True),
    "proportional_fair-running": ProportionalFair(decay=0.5),
}
every_arm = pytest.mark.parametrize("weighter", ARMS.values(), ids=ARMS)
every_level = pytest.mark.parametrize("level", ["reward", "advantage"])


# ---------------------------------------------------------------------------------------------- properties, whole table


@every_arm
def test_follows_the_protocol(weighter):
    assert isinstance(weighter, Weighter)
    assert weighter.needs <= NEEDS
    assert hash(weighter) == hash(type(weighter)(**vars(weighter)))  # frozen, compared by value
    weighting, _ = weighter(signals(*random_batch(0)), weighter.init(objectives(3)))
    assert isinstance(weighting, Weighting)


def test_table_is_read_only():
    with pytest.raises(TypeError):
        WEIGHTERS["mine"] = Static


@every_arm
@every_level
def test_weights_are_finite_and_non_negative(weighter, level):
    for seed in range(20):
        (weights,), _ = run_weighter(weighter, [random_batch(seed)], level=level)
        assert np.isfinite(weights).all()
        assert (weights >= 0).all()


@pytest.mark.parametrize("weighter", [arm for arm in ARMS.values() if arm != ARMS["static-weights"]])
def test_objectives_permute_with_the_weights(weighter):
    rewards, group = random_batch(3)
    preference, low, high = np.array([1.0, 2.0, 3.0]), np.array([0, -1.0, -2.0]), np.array([1.0, 1.5, 2.0])
    order = [2, 0, 1]
    whole = weights_of(weighter, rewards, group, preference=preference, low=low, high=high)
    permuted = weights_of(
        weighter, rewards[:, order], group, preference=preference[order], low=low[order], high=high[order]
    )
    np.testing.assert_allclose(permuted, whole[..., order], rtol=1e-12)


@every_arm
def test_the_order_of_responses_does_not_matter(weighter):
    rewards, group = random_batch(4)
    order = np.random.default_rng(0).permutation(len(group))
    np.testing.assert_allclose(
        weights_of(weighter, rewards[order], group[order]), weights_of(weighter, rewards, group), rtol=1e-12
    )


@every_arm
def test_state_survives_a_checkpoint(weighter):
    """Two steps, through JSON and back, two more: the same as four in a row."""
    steps = [random_batch(seed) for seed in range(4)]
    straight, _ = run_weighter(weighter, steps)
    first, state = run_weighter(weighter, steps[:2])
    second, _ = run_weighter(weighter, steps[2:], state=json_round_trip(state))
    for expected, got in zip(straight, first + second, strict=True):
        np.testing.assert_array_equal(got, expected)


@every_arm
def test_a_call_changes_neither_signals_nor_state(weighter):
    steps = [random_batch(seed) for seed in range(2)]
    _, state = run_weighter(weighter, steps)
    before = json_round_trip(state)
    assert_untouched(lambda rewards, group: weighter(signals(rewards, group), state), *random_batch(9))
    assert json_round_trip(state) == before


@every_arm
def test_missing_rewards_are_left_out(weighter):
    """An objective that applies to some responses weighs as it does on those alone."""
    rewards, group = random_batch(5)
    absent = np.random.default_rng(1).random(len(group)) < 0.3
    absent[np.unique(group, return_index=True)[1]] = False  # no group loses all its members
    patchy = rewards.copy()
    patchy[absent] = np.nan
    np.testing.assert_allclose(
        weights_of(weighter, patchy, group), weights_of(weighter, rewards[~absent], group[~absent]), rtol=1e-12
    )


@every_arm
@every_level
def test_one_objective(weighter, level):
    if weighter == ARMS["static-weights"]:
        weighter = Static([0.4])
    rewards, group = random_batch(6, k=1)
    (weights,), _ = run_weighter(weighter, [(rewards, group)], level=level)
    np.testing.assert_allclose(weights, 0.4 if isinstance(weighter, Static) and weighter.weights else 1.0, rtol=1e-6)


@every_arm
@pytest.mark.parametrize("value", [0.0, 0.35, 1.0])
def test_a_batch_without_signal_gives_finite_weights(weighter, value):
    (weights,), _ = run_weighter(weighter, [(np.full((7, 3), value), np.repeat([0, 1], [3, 4]))])
    assert np.isfinite(weights).all()


@every_arm
def test_preference_multiplies(weighter):
    """Static and SAW: the weights themselves. DVAO: the share inside each group."""
    rewards, group = random_batch(7)
    preference = np.array([0.5, 2.0, 0.0])
    plain = weights_of(weighter, rewards, group)
    expected = plain * preference
    if isinstance(weighter, DVAOWeights):
        expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights_of(weighter, rewards, group, preference=preference), expected, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------- static


def test_static_gives_its_weights():
    np.testing.assert_array_equal(weights_of(Static([2, 0, 1]), random_batch(0)[0]), [2, 0, 1])
    np.testing.assert_array_equal(weights_of(Static(), random_batch(0)[0]), [1, 1, 1])
    assert Static(np.array([1.0, 2.0])) == Static([1, 2])


@pytest.mark.parametrize("weights", [[1, -1], [0, 0], [1, np.nan], [np.inf, 1], [], [[1, 2]], 3.0])
def test_static_refuses(weights):
    with pytest.raises(ValueError, match="Static"):
        Static(weights)


def test_static_needs_one_weight_for_each_objective():
    with pytest.raises(ValueError, match="must have 3 entries"):
        Static([1, 2]).init(objectives(3))
    with pytest.raises(ValueError, match="must have 3 entries"):
        weights_of(Static([1, 2]), random_batch(0)[0])


# ---------------------------------------------------------------------------------------------------------------- SAW


@given(batch=batches())
@settings(max_examples=50, deadline=None)
def test_saw_weights_lie_on_the_simplex(batch):
    rewards, group = batch
    k = rewards.shape[1]
    cv = coefficient_of_variation(rewards, np.zeros(k))
    for level, total in (("reward", 1), ("advantage", k)):
        weights = weights_of(SAW(), rewards, group, level=level)
        if cv.sum() < 1e-8:
            np.testing.assert_array_equal(weights, np.ones(k))
        else:
            assert weights.sum() == pytest.approx(total, rel=1e-12)
        constant = np.ptp(rewards, axis=0) == 0
        if not constant.all():
            np.testing.assert_array_equal(weights[constant], 0.0)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3, 1e10])
@every_level
def test_saw_ignores_the_scale_of_the_rewards(scale, level):
    rewards, group = random_batch(8)
    low = np.array([0.0, -0.5, -2.0])
    np.testing.assert_allclose(
        weights_of(SAW(), scale * rewards, group, low=scale * low, level=level),
        weights_of(SAW(), rewards, group, low=low, level=level),
        rtol=1e-5,
    )


def test_saw_ema_smooths_the_share():
    steps = [random_batch(seed) for seed in range(3)]
    shares = [weights_of(SAW(), *step, level="reward") for step in steps]
    expected = [shares[0]]
    for share in shares[1:]:
        expected.append(0.7 * expected[-1] + 0.3 * share)
    smoothed, state = run_weighter(SAW(ema=0.7), steps, level="reward")
    np.testing.assert_allclose(smoothed, expected, rtol=1e-12)
    np.testing.assert_allclose(state["share"], expected[-1], rtol=1e-12)
    assert run_weighter(SAW(), steps)[1] == {}


def test_saw_ema_holds_over_a_batch_without_signal():
    weighter, flat = SAW(ema=0.7), (np.ones((4, 3)), np.zeros(4, dtype=int))
    assert run_weighter(weighter, [flat])[1] == {}
    _, state = run_weighter(weighter, [random_batch(0)])
    (weights,), after = run_weighter(weighter, [flat], state=state)
    np.testing.assert_array_equal(weights, 1.0)
    np.testing.assert_array_equal(after["share"], state["share"])


def test_saw_needs_true_lower_bounds():
    undeclared = Objectives(["a"], [-np.inf], [1.0])
    with pytest.raises(ValueError, match="declared lower bound"):
        SAW().init(undeclared)
    with pytest.raises(ValueError, match="declared lower bound"):
        weights_of(SAW(), np.ones((4, 1)), low=np.array([-np.inf]))
    with pytest.raises(ValueError, match=r"reward -0.5 \(row 2, objective 1\) lies below"):
        weights_of(SAW(), np.array([[0, 0], [1, 1], [0, -0.5]]), low=np.zeros(2))
    float32_bound = np.full((3, 1), np.float32(-0.1), dtype=np.float64)
    weights_of(SAW(), float32_bound, low=np.array([-0.1]))  # rounding is no violation


@pytest.mark.parametrize("options", [{"delta": 0}, {"delta": -1}, {"delta": np.nan}, {"ema": 1.0}, {"ema": -0.1}])
def test_saw_refuses(options):
    with pytest.raises(ValueError, match=r"SAW\((delta|ema)="):
        SAW(**options)


def test_saw_alias():
    assert StageAwareWeighter is SAW


# --------------------------------------------------------------------------------------------------------------- DVAO


@given(batch=batches())
@settings(max_examples=50, deadline=None)
def test_dvao_rows_sum_to_one_or_zero(batch):
    rewards, group = batch
    weights = weights_of(DVAOWeights(), rewards, group)
    assert weights.shape == (len(np.unique(group)), rewards.shape[1])
    for row, label in zip(weights, np.unique(group), strict=True):
        varies = np.ptp(rewards[group == label], axis=0) > 0
        assert row.sum() == pytest.approx(float(varies.any()), abs=1e-12)
        np.testing.assert_array_equal(row > 0, varies)


def test_dvao_unit_interval_needs_bounds():
    with pytest.raises(ValueError, match="needs declared bounds"):
        DVAOWeights(unit_interval=True).init(Objectives(["a"], [0.0], [np.inf]))


# ---------------------------------------------------------------------------------- Signals, Weighting, Objectives


def test_signals_copy_and_freeze():
    rewards, group = random_batch(0)
    seen = signals(rewards, group)
    rewards[:] = 5
    assert seen.rewards.max() <= 1
    with pytest.raises(ValueError, match="read-only"):
        seen.rewards[0, 0] = 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rewards": np.zeros(4)}, r"rewards=\) must have shape \(any, any\)"),
        ({"rewards": np.array([[np.inf, 0.0]] * 4)}, "inf is not allowed"),
        ({"group": np.zeros(3, dtype=int)}, "group must be integers"),
        ({"group": np.zeros(4)}, "group must be integers"),
        ({"low": np.zeros(3)}, r"low=\) must have shape \(2\)"),
        ({"low": np.array([np.nan, 0])}, "nan is not allowed"),
        ({"preference": np.array([-1.0, 1])}, "preference=. must be non-negative"),
        ({"level": "loss"}, "level=. must be one of"),
        ({"gramian": np.zeros((2, 3))}, r"gramian=\) must have shape \(2, 2\)"),
        ({"influence": np.array([np.nan, 0])}, "nan is not allowed"),
    ],
)
def test_signals_refuse(change, match):
    valid = {"rewards": np.zeros((4, 2)), "group": np.zeros(4, dtype=int), "low": np.zeros(2), "high": np.ones(2)}
    valid |= {"preference": np.ones(2), "level": "reward", "step": 0}
    Signals(**valid)
    with pytest.raises(ValueError, match=match):
        Signals(**valid | change)


@pytest.mark.parametrize(
    ("names", "low", "high", "match"),
    [
        ([], [], [], "at least one"),
        (["a", "a"], [0, 0], [1, 1], "distinct"),
        (["a"], [1], [1], "below its high"),
        (["a"], [0, 0], [1], "must have shape"),
    ],
)
def test_objectives_refuse(names, low, high, match):
    with pytest.raises(ValueError, match=match):
        Objectives(names, low, high)


def test_weighting_rows():
    group = np.array([5, 2, 5])  # np.unique: 2, 5
    per_group = Weighting(np.array([[1.0, 2], [3, 4]]), scale=np.array([0.5, 2]))
    weights, scale = per_group.rows(group, 2)
    np.testing.assert_array_equal(weights, [[3, 4], [1, 2], [3, 4]])
    np.testing.assert_array_equal(scale, [2, 0.5, 2])
    per_response = Weighting(np.arange(6.0).reshape(3, 2), scale=np.array([1.0, 2, 3]))
    weights, scale = per_response.rows(group, 2)
    np.testing.assert_array_equal(weights, np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(scale, [1, 2, 3])


@pytest.mark.parametrize(
    ("weights", "scale"), [(np.ones(3), 1.0), (np.ones((4, 2)), 1.0), (np.ones(2), np.ones(4)), (np.ones((1, 2)), 1.0)]
)
def test_weighting_of_another_batch(weights, scale):
    with pytest.raises(ValueError, match="Weighting: got"):
        Weighting(weights, scale).rows(np.array([5, 2, 5]), 2)


@pytest.mark.parametrize(
    ("weights", "scale"), [(np.ones((2, 2, 2)), 1.0), (1.0, 1.0), ([np.nan], 1.0), ([1.0], np.ones((2, 2)))]
)
def test_weighting_refuses(weights, scale):
    with pytest.raises(ValueError, match="Weighting"):
        Weighting(weights, scale)


@pytest.mark.parametrize("module", [dvao, saw, static])
def test_examples_in_docstrings(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
