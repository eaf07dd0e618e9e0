"""Weighters: properties over the table, and what each refuses. Reference numbers are in `test_method_vectors`."""

import dataclasses
import doctest
import functools
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from properties import (
    assert_untouched,
    batches,
    decide,
    json_round_trip,
    measured,
    objectives,
    permuted,
    random_batch,
    rows_of_weights,
    run_weighter,
    signals,
    weights_of,
)

from llm_morl_agents.advantages import combine_advantages, combine_rewards, group_zscore
from llm_morl_agents.weighters import (
    CTWA,
    DARA,
    ENCORE,
    GD2PO,
    RVPO,
    SAMRPO,
    SAW,
    WEIGHTERS,
    Clipped,
    CorrGRPO,
    DVAOWeights,
    Floored,
    Frozen,
    Gated,
    GradientCombiner,
    GradientInfluence,
    Hypervolume,
    HypervolumeGradient,
    Lagrangian,
    Objectives,
    ProportionalFair,
    Replay,
    Rescaled,
    Schedule,
    Signals,
    Smoothed,
    StageAwareWeighter,
    Static,
    Tchebycheff,
    Weighter,
    Weighting,
    dvao,
    saw,
    static,
)
from llm_morl_agents.weighters.base import NEEDS
from llm_morl_agents.weighters.saw import coefficient_of_variation
from llm_morl_env import expressions

#: What the combiners of gradients need, all but one.
TORCHJD = all(find_spec(name) for name in ("torchjd", "quadprog", "qpsolvers"))
#: Weighters that cannot be made without options here.
WITHOUT_DEFAULTS = {"smoothed", "floored", "clipped", "rescaled", "frozen", "replay"}
if not TORCHJD:
    WITHOUT_DEFAULTS.add("gradient_combiner")
#: Every weighter of the table, with the options that change its state or formula.
ARMS = {
    **{name: weighter() for name, weighter in WEIGHTERS.items() if name not in WITHOUT_DEFAULTS},
    "static-weights": Static([0.5, 0.3, 0.2]),
    "saw-ema": SAW(ema=0.7),
    "saw-released": SAW(released=True),
    "saw-released-ema": SAW(released=True, ema=0.7),
    "saw-floor": SAW(floor=0.3, ema=0.5),
    "saw-offset": SAW(offset=[0.0, 0.5, 0.2], low=[-0.1, 0.0, -2.0]),
    "dvao-unit": DVAOWeights(unit_interval=True),
    "smoothed": Smoothed(SAW(ema=0.5), decay=0.8),
    "floored": Floored(SAW(), floor=0.2),
    "floored-groups": Floored(DVAOWeights()),
    "clipped": Clipped(SAW(), low=0.9, high=1.05),
    "clipped-groups": Clipped(DVAOWeights(), low=0.9, high=1.05),
    "rescaled": Rescaled(SAW()),
    "rescaled-groups": Rescaled(DVAOWeights(), total=1.0),
    "nested": Smoothed(Floored(Smoothed(SAW(ema=0.5)))),
    "frozen": Frozen([0.5, 0.3, 0.2], scale=0.7),
    "gradient_combiner-mgda": GradientCombiner("mgda"),
    "gradient_combiner-gapo": GradientCombiner("mgda", power=1.0, every=2),
    "smoothed-gradient": Smoothed(GradientInfluence(eta=1.0, mu=1.0)),
    "rescaled-responses": Rescaled(GD2PO()),
    "replay": Replay([[0.5, 0.3, 0.2], [1.0, 0.0, 2.0], [0.1, 0.2, 0.3]], scale=[1.0, 0.5, 0.7]),
    "sa_mrpo-gdpo": SAMRPO(gamma=0.0),
    "gd2po-snr": GD2PO(mode="snr"),
    "dara-asymmetric": DARA(asymmetric=True),
    "ctwa-targets": CTWA(targets=(0.5, 0.4, 0.3), learning_rate=0.5, gate=(1.0, 0.95, 0.45)),
    "encore-distinct": ENCORE(bins=None),
    "corr_grpo-paper": CorrGRPO(max_scale=None),
    "proportional_fair-running": ProportionalFair(decay=0.5),
    "gradient-jvp": GradientInfluence(mode="jvp", eta=1.0, mu=1.0, floor=0.1),
    "gradient-realised": GradientInfluence(mode="realised", accumulate=2),
    "hypervolume-batch": Hypervolume(source="batch", temperature=0.01),
    "hypervolume-raw": Hypervolume(source="batch", raw_units=True),
    "hypervolume_gradient-box": HypervolumeGradient(archive=False),
    "hypervolume_gradient-validation": HypervolumeGradient(source="validation"),
    "rvpo-annealed": RVPO(kappa_start=0, kappa_end=5, steps=2),
    "tchebycheff-smooth": Tchebycheff(mu=0.1),
    "lagrangian-fast": Lagrangian(initial=0.5, learning_rate=0.5, maximum=0.6),
    "schedule-cosine": Schedule(steps=3, shape="cosine"),
    "gated-low": Gated(threshold=0.3),
}
# Where a property does not hold, the row is named here with the reason.

#: Rows that work at one level alone.
ONE_LEVEL: dict[str, str] = {
    "dara-asymmetric": "advantage",
}
#: Rows whose options or draws belong to the objectives by position.
BY_POSITION = {
    "saw-offset": "an offset for each objective",
    "frozen": "a weight for each objective",
    "replay": "a weight for each objective",
    "random": "draws for each objective",
    "static-weights": "a weight for each objective",
    "ctwa-targets": "a target for each objective",
    "lagrangian": "the first objective is the main one",
    "lagrangian-fast": "the first objective is the main one",
    "gated": "the first objective is the gate",
    "gated-low": "the first objective is the gate",
}
#: Rows whose weights of each response are shares: the preference changes them by ratio only.
SHARES = {"rescaled", "rescaled-groups", "dvao", "dvao-unit", "proportional_fair", "proportional_fair-running"}
#: Rows that take the preference in another way, or not at all.
PREFERENCE_ELSEWHERE: dict[str, str] = {
    "frozen": "recorded weights contain it",
    "replay": "recorded weights contain it",
    "floored": "even weights follow it too",
    "floored-groups": "even weights follow it too",
    "clipped": "the bounds follow it too",
    "clipped-groups": "the bounds follow it too",
    "rescaled-responses": "an objective of preference 0 vetoes nothing",
    "nested": "even weights follow it too",
    "gd2po": "an objective of preference 0 vetoes nothing",
    "gd2po-snr": "an objective of preference 0 vetoes nothing",
}
#: Rows that may give an only objective another weight than 1.
NOT_ONE = {
    "rescaled-groups": "the total that the user asked for",
    "static-weights": "as the user says",
    "proportional_fair": "a group weighs by its std",
    "proportional_fair-running": "a group weighs by its std",
    "sa_mrpo": "weighs less as it saturates",
}
#: Rows that may turn the advantage of a response round under one objective.
NOT_SIGN_PRESERVING: dict[str, str] = {}
#: Rows that may give a response a negative weight.
NEGATIVE: dict[str, str] = {}
#: Rows whose decision depends on the order of the responses.
ORDERED: dict[str, str] = {}
#: Rows for which a response without any reward still counts.
MISSING_COUNTS: dict[str, str] = {}
#: Rows under which alike responses may get an advantage.
NOT_SILENT: dict[str, str] = {}

LEVELS = ("reward", "advantage")
EXCEPTIONS = (BY_POSITION, SHARES, PREFERENCE_ELSEWHERE, NOT_ONE, NOT_SIGN_PRESERVING, NEGATIVE, ORDERED)
every_arm = pytest.mark.parametrize("name", ARMS)
every_level = pytest.mark.parametrize("level", LEVELS)
every_arm_and_level = pytest.mark.parametrize(
    ("name", "level"), [(name, level) for name in ARMS for level in LEVELS if ONE_LEVEL.get(name, level) == level]
)
COMPOSITIONS = {
    "reward": combine_rewards(group_zscore, nan="ignore"),
    "advantage": combine_advantages(group_zscore, whiten=True, nan="ignore"),
}


def all_but(*exceptions):
    """Every row that none of the sets names."""
    return pytest.mark.parametrize("name", [n for n in ARMS if not any(n in named for named in exceptions)])


def level_of(name):
    return ONE_LEVEL.get(name, "advantage")


def advantages_of(name, level, rewards, group, **kwargs):
    """Advantages (N,) of GRPO (reward level) or GDPO (advantage level) under the weighter."""
    weighting, _ = decide(ARMS[name], rewards, group, level=level, **kwargs)
    return COMPOSITIONS[level](rewards, group, weighting)


# ---------------------------------------------------------------------------------------------- properties, whole table


def test_exceptions_name_rows():
    assert set().union(*EXCEPTIONS, ONE_LEVEL, MISSING_COUNTS, NOT_SILENT) <= set(ARMS)


def test_every_weighter_has_a_row():
    assert {type(weighter) for weighter in ARMS.values()} >= set(WEIGHTERS.values())


@every_arm
def test_follows_the_protocol(name):
    weighter = ARMS[name]
    assert isinstance(weighter, Weighter)
    assert weighter.needs <= NEEDS
    options = {f.name: getattr(weighter, f.name) for f in dataclasses.fields(weighter) if f.init}
    again = type(weighter)(**options)
    assert again == weighter  # by value
    assert hash(again) == hash(weighter)
    with pytest.raises(dataclasses.FrozenInstanceError):
        weighter.mine = 1
    weighting, _ = decide(weighter, *random_batch(0), level=level_of(name))
    assert isinstance(weighting, Weighting)


@every_arm
def test_text_describes_it(name):
    """On the command line, in configuration files and in checkpoints a weighter is text."""
    text = expressions.describe(ARMS[name], WEIGHTERS)
    assert text is not None
    assert expressions.construct(text, WEIGHTERS) == ARMS[name]


def test_table_is_read_only():
    with pytest.raises(TypeError):
        WEIGHTERS["mine"] = Static


@every_arm_and_level
def test_weights_are_finite_and_non_negative(name, level):
    for seed in range(20):
        (weights,), _ = run_weighter(ARMS[name], [random_batch(seed)], level=level)
        assert np.isfinite(weights).all()
        assert name in NEGATIVE or (weights >= 0).all()


@every_arm_and_level
def test_advantages_are_finite(name, level):
    """The whole way: signals, weighting, estimator, with some rewards missing and one objective unlearned."""
    for seed in range(5):
        rewards, group = random_batch(seed)
        rewards[np.random.default_rng(seed).random(rewards.shape) < 0.2] = np.nan
        rewards[:, 2] = 0.0
        advantages = advantages_of(name, level, rewards, group, step=seed)
        assert advantages.shape == group.shape
        assert np.isfinite(advantages).all()


@pytest.mark.parametrize("value", [0.0, 0.35, 1.0])
@every_arm_and_level
def test_a_saturated_batch_moves_nothing(name, level, value):
    if name in NOT_SILENT:
        pytest.skip(NOT_SILENT[name])
    rewards, group = np.full((7, 3), value), np.repeat([0, 1], [3, 4])
    np.testing.assert_array_equal(advantages_of(name, level, rewards, group), 0.0)


@all_but(BY_POSITION)
def test_objectives_permute_with_the_weights(name):
    weighter, level = ARMS[name], level_of(name)
    rewards, group = random_batch(3)
    preference, low, high = np.array([1.0, 2.0, 3.0]), np.array([0, -1.0, -2.0]), np.array([1.0, 1.5, 2.0])
    order, extra = np.array([2, 0, 1]), measured(weighter.needs, 3)
    swapped = {"preference": preference[order], "low": low[order], "high": high[order], **permuted(extra, order)}
    whole, _ = decide(weighter, rewards, group, level=level, preference=preference, low=low, high=high, **extra)
    other, _ = decide(weighter, rewards[:, order], group, level=level, **swapped)
    weights, scale, combined = rows_of_weights(whole, rewards, group)
    for got, expected in zip(
        rows_of_weights(other, rewards[:, order], group), (weights[:, order], scale, combined), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@all_but(ORDERED)
def test_the_order_of_responses_does_not_matter(name):
    weighter, level = ARMS[name], level_of(name)
    rewards, group = random_batch(4)
    order = np.random.default_rng(0).permutation(len(group))
    whole = rows_of_weights(decide(weighter, rewards, group, level=level)[0], rewards, group)
    other = decide(weighter, rewards[order], group[order], level=level)[0]
    for got, expected in zip(rows_of_weights(other, rewards[order], group[order]), whole, strict=True):
        np.testing.assert_allclose(got, expected[order], rtol=1e-12, atol=1e-12)


@every_arm
def test_state_survives_a_checkpoint(name):
    """Two steps, through JSON and back, two more: the same as four in a row."""
    steps = [random_batch(seed) for seed in range(4)]
    weighter, level = ARMS[name], level_of(name)
    straight, last = run_weighter(weighter, steps, level=level)
    first, state = run_weighter(weighter, steps[:2], level=level)
    second, resumed = run_weighter(weighter, steps[2:], level=level, state=json_round_trip(state), first_step=2)
    for expected, got in zip(straight, first + second, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert json_round_trip(resumed) == json_round_trip(last)


@every_arm
def test_state_is_flat(name):
    _, state = run_weighter(ARMS[name], [random_batch(seed) for seed in range(2)], level=level_of(name))
    assert isinstance(state, Mapping)
    for key, value in state.items():
        assert isinstance(key, str)
        assert not isinstance(value, Mapping), key


@every_arm
def test_a_call_changes_neither_signals_nor_state(name):
    weighter, level = ARMS[name], level_of(name)
    _, state = run_weighter(weighter, [random_batch(seed) for seed in range(2)], level=level)
    before = json_round_trip(state)
    call = functools.partial(decide, weighter, state=state, level=level, step=2)
    assert_untouched(call, *random_batch(9))
    assert json_round_trip(state) == before


@every_arm
def test_a_call_repeats(name):
    """The same signals and state give the same decision: nothing is hidden, and no global random state is read."""
    weighter, level = ARMS[name], level_of(name)
    rewards, group = random_batch(2)
    decisions = []
    for seed in range(2):
        np.random.seed(seed)  # noqa: NPY002  # the global state is what must not matter
        decisions.append(rows_of_weights(decide(weighter, rewards, group, level=level, step=3)[0], rewards, group))
    for first, second in zip(*decisions, strict=True):
        np.testing.assert_array_equal(first, second)


@all_but(MISSING_COUNTS)
def test_missing_rewards_are_left_out(name):
    """An objective that applies to some responses weighs as it does on those alone."""
    weighter, level = ARMS[name], level_of(name)
    rewards, group = random_batch(5)
    absent = np.random.default_rng(1).random(len(group)) < 0.3
    absent[np.unique(group, return_index=True)[1]] = False  # no group loses all its members
    patchy = rewards.copy()
    patchy[absent] = np.nan
    with_absent = rows_of_weights(decide(weighter, patchy, group, level=level)[0], patchy, group)
    alone = decide(weighter, rewards[~absent], group[~absent], level=level)[0]
    for got, expected in zip(with_absent, rows_of_weights(alone, rewards[~absent], group[~absent]), strict=True):
        np.testing.assert_allclose(got[~absent], expected, rtol=1e-12)


@every_arm_and_level
def test_an_objective_missing_from_the_batch_gives_finite_weights(name, level):
    rewards, group = random_batch(5)
    rewards[:, 1] = np.nan
    weighting, state = decide(ARMS[name], rewards, group, level=level)
    weighting, _ = decide(ARMS[name], *random_batch(6), level=level, state=state, step=1)
    assert np.isfinite(weighting.weights).all()


@all_but(BY_POSITION, NOT_ONE)
@every_level
def test_one_objective_weighs_one(name, level):
    if ONE_LEVEL.get(name, level) != level:
        pytest.skip(f"{name} works at the other level alone")
    rewards, group = random_batch(6, k=1)
    (weights,), _ = run_weighter(ARMS[name], [(rewards, group)], level=level)
    np.testing.assert_allclose(weights, 1.0, rtol=1e-6)


@all_but(BY_POSITION, NOT_SIGN_PRESERVING)
@every_level
def test_one_objective_keeps_the_sign_of_the_advantages(name, level):
    if ONE_LEVEL.get(name, level) != level:
        pytest.skip(f"{name} works at the other level alone")
    rewards, group = random_batch(6, k=1)
    estimator = combine_rewards(group_zscore) if level == "reward" else combine_advantages(group_zscore)
    weighting, _ = decide(ARMS[name], rewards, group, level=level)
    expected = estimator(rewards, group, Weighting(np.ones(1)))
    np.testing.assert_array_equal(np.sign(estimator(rewards, group, weighting).round(9)), np.sign(expected.round(9)))


@every_arm_and_level
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.35, 1.0])
def test_a_batch_without_signal_gives_finite_weights(name, level, value, zero):
    """Also where the gradients are zero, as they are in such a batch; and in the step after."""
    weighter, flat = ARMS[name], np.full((7, 3), value)
    extra = measured(weighter.needs, 3, zero=zero)
    weighting, state = decide(weighter, flat, np.repeat([0, 1], [3, 4]), level=level, **extra)
    assert np.isfinite(weighting.weights).all()
    weighting, _ = decide(weighter, *random_batch(1), level=level, state=state, step=1)
    assert np.isfinite(weighting.weights).all()


@pytest.mark.parametrize("name", [name for name, weighter in ARMS.items() if weighter.needs])
def test_signals_may_be_absent(name):
    """Between measurements, and before the first, the optional signals are None."""
    weighter, level = ARMS[name], level_of(name)
    nothing = dict.fromkeys(("gramian", "influence", "realised", "validation"))
    state = None
    for step, extra in enumerate((nothing, {}, nothing)):
        weighting, state = decide(weighter, *random_batch(step), state=state, level=level, step=step, **extra)
        assert np.isfinite(weighting.weights).all()
        assert np.any(weighting.weights)


@all_but(PREFERENCE_ELSEWHERE)
def test_preference_multiplies(name):
    """The weights themselves, or, for `SHARES`, the share of each objective in a response's weights."""
    weighter, level = ARMS[name], level_of(name)
    rewards, group = random_batch(7)
    preference = np.array([0.5, 2.0, 0.0])
    plain, _, _ = rows_of_weights(decide(weighter, rewards, group, level=level)[0], rewards, group)
    decided, _ = decide(weighter, rewards, group, level=level, preference=preference)
    got, _, _ = rows_of_weights(decided, rewards, group)
    expected = plain * preference
    if name in SHARES:
        expected /= expected.sum(axis=1, keepdims=True)
        got = got / got.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


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


def test_saw_offset_and_low():
    """Both move the denominator: what counts is ``r + offset - low``."""
    rewards, low, offset = random_batch(0)[0], np.array([-0.5, 0.0, -2.0]), np.array([0.5, 0.1, 0.0])
    declared = weights_of(SAW(), rewards, low=low)
    np.testing.assert_array_equal(weights_of(SAW(low=low), rewards), declared)
    np.testing.assert_array_equal(weights_of(SAW(low=low), rewards, low=np.full(3, -np.inf)), declared)
    together = weights_of(SAW(low=low, offset=offset), rewards)
    np.testing.assert_allclose(together, weights_of(SAW(), rewards, low=low - offset), rtol=1e-12)
    assert weights_of(SAW(offset=[0.0, 0.0, 1.0]), rewards)[2] < weights_of(SAW(), rewards)[2]


@every_level
@pytest.mark.parametrize("released", [False, True])
def test_saw_bounds_the_share(level, released):
    rewards = random_batch(0)[0]
    rewards[:, 0] = 0.5
    rewards[:, 1] = np.arange(len(rewards)) == 0  # a rare success
    factor = 3 if released or level == "advantage" else 1
    share = weights_of(SAW(released=released), rewards, level=level) / factor
    assert share[0] == 0
    assert share[1] > 0.8
    got = weights_of(SAW(released=released, floor=0.1, max_weight=0.6), rewards, level=level) / factor
    np.testing.assert_allclose(got, [0.1, 0.6, 0.3], atol=1e-6)
    assert SAW(floor=1 / 3, max_weight=1 / 3).init(objectives(3)) == {}


def test_saw_bounds_do_not_enter_the_running_share():
    steps = [random_batch(seed) for seed in range(3)]
    _, plain = run_weighter(SAW(ema=0.7), steps)
    _, bounded = run_weighter(SAW(ema=0.7, floor=0.33), steps)
    np.testing.assert_array_equal(bounded["share"], plain["share"])


@pytest.mark.parametrize(
    "options",
    [
        {"delta": 0},
        {"delta": -1},
        {"delta": np.nan},
        {"ema": 1.0},
        {"ema": -0.1},
        {"offset": [-0.1]},
        {"offset": [np.nan]},
        {"low": [-np.inf]},
        {"floor": -0.1},
        {"max_weight": 0.0},
    ],
)
def test_saw_refuses(options):
    with pytest.raises(ValueError, match=r"SAW\((delta|ema|offset|low|floor|max_weight)="):
        SAW(**options)


@pytest.mark.parametrize("options", [{"offset": [0.0]}, {"low": [0.0]}, {"floor": 0.4}, {"max_weight": 0.3}])
def test_saw_options_fit_the_objectives(options):
    with pytest.raises(ValueError, match=r"SAW\((offset|low|floor|max_weight)=\) must .* 3 "):
        SAW(**options).init(objectives(3))
    with pytest.raises(ValueError, match=r"SAW\((offset|low|floor|max_weight)=\) must .* 3 "):
        decide(SAW(**options), *random_batch(0), state={})


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
        ({"influence": np.array([np.inf, 0])}, "inf is not allowed"),
        ({"validation": np.array([np.nan, 0])}, "nan is not allowed"),
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
