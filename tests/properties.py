"""Named properties that hold for every row of a table, and the hypothesis strategies that feed them."""

import json

import numpy as np
from hypothesis import strategies as st

from llm_morl_agents.advantages import compute_advantages, linear
from llm_morl_agents.weighters import Objectives, Signals

#: Scales over which relative tolerances must hold.
SCALES = (1e-10, 1e-6, 1.0, 1e6, 1e10)


def random_batch(seed, groups=5, k=3, sizes=(2, 7)):
    """Rewards (N, K) in [0, 1] and an interleaved, ragged group index (N,) with labels that are not 0..P-1."""
    rng = np.random.default_rng(seed)
    group = np.repeat(10 * np.arange(groups) - 7, rng.integers(*sizes, size=groups))
    rng.shuffle(group)
    return rng.random((len(group), k)), group


@st.composite
def batches(draw, max_k=4):
    """Rewards (N, K) with ties and constant columns, and groups of at least two members."""
    k = draw(st.integers(1, max_k))
    sizes = draw(st.lists(st.integers(2, 6), min_size=1, max_size=4))
    group = np.repeat(np.arange(len(sizes)), sizes)
    levels = draw(
        st.lists(
            st.lists(st.sampled_from([0.0, 0.1, 0.35, 0.5, 1.0]), min_size=k, max_size=k),
            min_size=len(group),
            max_size=len(group),
        )
    )
    return np.array(levels), np.array(draw(st.permutations(group.tolist())))


def signals(rewards, group, *, level="advantage", preference=None, low=None, high=None, step=0, **extra):
    """`Signals` with bounds [0, 1] and no preference unless told."""
    k = rewards.shape[1]
    return Signals(
        rewards=rewards,
        group=group,
        low=np.zeros(k) if low is None else low,
        high=np.ones(k) if high is None else high,
        preference=np.ones(k) if preference is None else preference,
        level=level,
        step=step,
        **extra,
    )


def objectives(k):
    """K objectives with bounds [0, 1]."""
    return Objectives([f"objective {i}" for i in range(k)], np.zeros(k), np.ones(k))


def json_round_trip(state):
    """A weighter's state as a checkpoint returns it: arrays become lists."""
    return json.loads(json.dumps(state, default=lambda value: value.tolist()))


def measured(needs, k, seed=0, zero=False):
    """The optional signals (K,) and (K, K) that an agent measures for ``needs``: random ones, or all zero."""
    rng = np.random.default_rng([9, seed])
    gradients = rng.normal(size=(k, k + 2)) + 0.3
    gramian = gradients @ gradients.T
    given = {}
    if "gradients.exact" in needs:
        given["gramian"] = gramian
    if needs & {"gradients.exact", "gradients.jvp"}:
        given["influence"] = gramian.sum(axis=1)
    if "realised" in needs:
        given["realised"] = rng.normal(scale=0.1, size=k)
    if "validation" in needs:
        given["validation"] = rng.random(k)
    return {name: 0.0 * value for name, value in given.items()} if zero else given


def permuted(given, order):
    """Optional signals of the objectives in another order."""
    return {name: value[np.ix_(*[order] * value.ndim)] for name, value in given.items()}


def decide(weighter, rewards, group=None, *, state=None, **kwargs):
    """A weighter's `Weighting` of one batch, one group unless told, and the next state.

    What the weighter needs is `measured`; further arguments are those of `signals`, and come before.
    """
    k = rewards.shape[1]
    group = np.zeros(len(rewards), dtype=int) if group is None else group
    seen = signals(rewards, group, **measured(weighter.needs, k, kwargs.get("step", 0)) | kwargs)
    if state is None:
        state = weighter.init(Objectives([f"objective {i}" for i in range(k)], seen.low, seen.high))
    return weighter(seen, state)


def weights_of(weighter, rewards, group=None, **kwargs):
    """The weights alone, of shape (K,), (P, K) or (N, K), as the weighter gives them; arguments as in `decide`."""
    return decide(weighter, rewards, group, **kwargs)[0].weights


def rows_of_weights(weighting, rewards, group):
    """What each response gets, whatever the shapes were: weights (N, K), scale (N,), combined rewards (N,)."""
    weights, scale = weighting.rows(group, rewards.shape[1])
    combine = linear if weighting.combiner is None else weighting.combiner
    return weights, scale, combine(np.nan_to_num(rewards), weights)


def run_weighter(weighter, steps, state=None, level="advantage", first_step=0):
    """Weights of each step and the last state; ``steps`` holds (rewards, group) pairs."""
    state = weighter.init(objectives(steps[0][0].shape[1])) if state is None else state
    weights = []
    for step, (rewards, group) in enumerate(steps, first_step):
        weighting, state = decide(weighter, rewards, group, state=state, level=level, step=step)
        weights.append(weighting.weights)
    return weights, state


def assert_untouched(function, *arrays):
    """Calling ``function(*arrays)`` leaves the arrays as they were."""
    before = [array.copy() for array in arrays]
    function(*arrays)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def assert_row_equivariant(function, rewards, group, seed=0):
    """Shuffling the responses shuffles ``function(rewards, group)`` (N,) in the same way."""
    order = np.random.default_rng(seed).permutation(len(rewards))
    np.testing.assert_allclose(function(rewards[order], group[order]), function(rewards, group)[order], atol=1e-12)


def assert_saturated_is_exactly_zero(function, value, group_sizes, k=2):
    """All responses alike: the advantage is 0 to the last bit, whatever rounding the mean suffers."""
    group = np.repeat(np.arange(len(group_sizes)), group_sizes)
    out = function(np.full((len(group), k), value), group)
    np.testing.assert_array_equal(out, np.zeros(len(group)))


def compute(rewards, group, method, **kwargs):
    """`compute_advantages` with the bounds that ``saw-*`` and ``sa_mrpo`` need: the extremes of the rewards, and 0."""
    k, lowest, highest = np.shape(rewards)[1], min(0.0, np.nanmin(rewards)), np.nanmax(rewards)
    bounds = {"low": np.full(k, lowest), "high": np.full(k, highest if highest > lowest else lowest + 1)}
    return compute_advantages(rewards, group, method=method, **bounds, **kwargs)
