"""Objectives that some problems lack: what weighters, signals, reports and training make of NaN."""

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from gymnasium.vector import VectorWrapper
from properties import decide, measured, objectives, random_batch, rows_of_weights
from test_every_weighter_trains import MORE, TABLE, marked
from test_grouped_pg import next_batch, trained_batches
from test_weighters import ARMS, LEVELS, ONE_LEVEL
from tiny_task import LETTERS, comparable, load, make_env, parameters_of

from llm_morl_agents.agents import AGENTS, DVAO, GDPO, GRPO
from llm_morl_agents.diagnostics import within_group_std, zero_variance_share
from llm_morl_agents.experiments.arms import make_agent, parse_arm
from llm_morl_agents.signals import objective_advantages
from llm_morl_agents.update import UpdateReport
from llm_morl_agents.weighters import Static
from llm_morl_agents.weighters.base import NEEDS, Probe
from llm_morl_agents.weighters.gradient import mirror_step, mirror_step_among
from llm_morl_agents.weighters.selection import present_objectives, shares_among

every_arm_and_level = pytest.mark.parametrize(
    ("name", "level"), [(name, level) for name in ARMS for level in LEVELS if ONE_LEVEL.get(name, level) == level]
)
#: Rows whose ratio of two weights depends on the mass of all, or on more than the two: by design, with the reason.
JOINT = {
    "saw-floor": "bounds are shares of the sum",
    "floored": "mixed with even weights of the same sum",
    "floored-groups": "mixed with even weights of the same sum",
    "nested": "mixed with even weights of the same sum",
    "clipped": "bounds are shares of the sum",
    "clipped-groups": "bounds are shares of the sum",
    "gradient-jvp": "the floor is a share of the sum",
    "hypervolume_gradient": "a gradient by all objectives; a batch without one has no point",
    "hypervolume_gradient-box": "a gradient by all objectives; a batch without one has no point",
    "random": "draws for each objective",
    "gradient_combiner": "pulls towards a direction for all",
    "gradient_combiner-mgda": "the shortest of all sums",
    "gradient_combiner-gapo": "the shortest of all sums",
}
#: Rows whose memory of an objective moves without a batch that has it.
KEPT_OTHERWISE = {
    "hypervolume": "validation has problems of its own",
    "hypervolume_gradient-validation": "validation has problems of its own",
    "gradient-realised": "two measurements to an update, and the first had it",
}


def mixture(seed, lacking=(2,)):
    """Rewards (N, 3) and groups, of which about half lack the objectives ``lacking``, and those rows, bool (N,)."""
    rewards, group = random_batch(seed, groups=8)
    rows = np.isin(group, np.unique(group)[::2])
    rewards[np.ix_(rows, list(lacking))] = np.nan
    return rewards, group, rows


def finite(weighting, state):
    assert np.isfinite(weighting.weights).all()
    assert np.isfinite(weighting.scale).all()
    for name, value in state.items():
        assert np.isfinite(np.asarray(value, dtype=np.float64)[~np.isnan(np.asarray(value, dtype=np.float64))]).all()
        if name.rpartition("/")[2] != "thresholds":  # NaN marks a main objective
            assert not np.isnan(np.asarray(value, dtype=np.float64)).any(), name


def without(signals, k):
    """Optional signals in which objective k was not there."""
    found = {}
    for name, value in signals.items():
        found[name] = value.copy()
        if name == "gramian":
            found[name][k], found[name][:, k] = np.nan, np.nan
        elif name != "validation":
            found[name][k] = np.nan
    return found


# ------------------------------------------------------------------------------------------- every row of the table


@every_arm_and_level
def test_decisions_and_states_are_finite(name, level):
    """Missing by groups, by entries at random, wholly from a batch, and from everything."""
    weighter, state = ARMS[name], None
    batches = [mixture(1)[:2], random_batch(2), random_batch(3), random_batch(4), random_batch(5)]
    batches[1][0][np.random.default_rng(0).random(batches[1][0].shape) < 0.4] = np.nan
    batches[2][0][:, 1] = np.nan
    batches[3][0][:] = np.nan
    for step, (rewards, group) in enumerate(batches):
        given = measured(weighter.needs, 3, step)
        for k in np.flatnonzero(np.isnan(rewards).all(axis=0)):
            given = without(given, k)
        weighting, state = decide(weighter, rewards, group, level=level, state=state, step=step, **given)
        finite(weighting, state)
        rows_of_weights(weighting, rewards, group)


@every_arm_and_level
def test_rows_without_an_objective_leave_the_others_ratio(name, level):
    """Of a mixture of two tasks without a common objective, the first one's weights are those of it alone."""
    if name in JOINT or (name.startswith(("ctwa", "corr")) and level == "advantage"):
        pytest.skip("weights of several objectives or the whole batch hang together")
    weighter = ARMS[name]
    rewards, group, others = mixture(6, lacking=(0, 1))
    rewards[~others, 2] = np.nan
    both, _ = decide(weighter, rewards, group, level=level)
    alone, _ = decide(weighter, rewards[~others], group[~others], level=level)
    got = rows_of_weights(both, rewards, group)[0][~others][:, :2]
    expected = rows_of_weights(alone, rewards[~others], group[~others])[0][:, :2]
    got, expected = (np.where(np.isnan(rewards[~others][:, :2]), 0, w) for w in (got, expected))
    totals = [w.sum(axis=1, keepdims=True) for w in (got, expected)]
    np.testing.assert_array_equal(totals[0] > 0, totals[1] > 0)
    shares = [w / np.where(t > 0, t, 1) for w, t in zip((got, expected), totals, strict=True)]
    np.testing.assert_allclose(*shares, rtol=1e-9, atol=1e-12)


@every_arm_and_level
def test_an_absent_objective_keeps_its_state(name, level):
    """What the state holds of it after a batch without it is what it held before; and the others go on."""
    if name in KEPT_OTHERWISE:
        pytest.skip(KEPT_OTHERWISE[name])
    weighter = ARMS[name]
    _, before = decide(weighter, *random_batch(1), level=level)
    rewards, group = random_batch(2)
    rewards[:, 2] = np.nan
    given = without(measured(weighter.needs, 3, 1), 2)
    weighting, after = decide(weighter, rewards, group, level=level, state=before, step=1, **given)
    finite(weighting, after)
    for key, value in before.items():
        if np.shape(value) == (3,) and not key.endswith("total"):
            np.testing.assert_allclose(after[key][2], value[2], rtol=1e-12, err_msg=key)
    if name.startswith("hypervolume"):
        assert json.dumps(after, default=np.ndarray.tolist) == json.dumps(before, default=np.ndarray.tolist)


@every_arm_and_level
def test_an_absent_objective_leaves_the_ratio_of_the_others(name, level):
    """First step: the weights of the others are, up to a factor, those of a task that does not have the objective."""
    if name in JOINT or name in {"saw-offset", "frozen", "replay", "static-weights", "ctwa-targets"}:
        pytest.skip("options for each objective, or weights that hang together")
    weighter = ARMS[name]
    rewards, group = random_batch(7)
    given = measured(weighter.needs, 3)
    fewer = {key: value[np.ix_(*[[0, 1]] * value.ndim)] for key, value in given.items()}
    if "influence" in fewer:
        fewer["influence"] = fewer["gramian"].sum(axis=1) if "gramian" in fewer else fewer["influence"]
    expected, _ = decide(weighter, rewards[:, :2], group, level=level, **fewer)
    rewards[:, 2] = np.nan
    got, _ = decide(weighter, rewards, group, level=level, **without(given, 2))
    got = rows_of_weights(got, rewards, group)[0][:, :2]
    expected = rows_of_weights(expected, rewards[:, :2], group)[0]
    totals = [w.sum(axis=1, keepdims=True) for w in (got, expected)]
    shares = [w / np.where(t > 0, t, 1) for w, t in zip((got, expected), totals, strict=True)]
    np.testing.assert_allclose(*shares, rtol=1e-9, atol=1e-12)


def test_the_mean_weight_of_the_others_stays():
    rewards, group = random_batch(3)
    rewards[:, 2] = np.nan
    for name in ("saw", "saw-released", "encore", "saw-ema"):
        weighting, _ = decide(ARMS[name], rewards, group)
        np.testing.assert_allclose(weighting.weights.mean(), 1.0, rtol=1e-6)
        np.testing.assert_allclose(weighting.weights[2], 1.0, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------- helpers


def test_present_objectives():
    rewards = np.array([[0.0, np.nan, 1.0], [np.nan, np.nan, 1.0]])
    np.testing.assert_array_equal(present_objectives(rewards), [True, False, True])
    np.testing.assert_array_equal(present_objectives(np.zeros((0, 2))), [True, True])


def test_shares_among():
    every = np.ones(3, bool)
    np.testing.assert_array_equal(shares_among(np.array([1.0, 2.0, 1.0]), every), [0.25, 0.5, 0.25])
    held = shares_among(np.array([1.0, 3.0, np.nan]), np.array([True, True, False]), np.array([0.1, 0.1, 0.8]))
    np.testing.assert_allclose(held, [0.05, 0.15, 0.8])


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_mirror_step_among(floor):
    log_share, exponent = np.log([0.1, 0.1, 0.8]), np.array([3.0, -1.0, 50.0])
    moved = np.exp(mirror_step_among(log_share, exponent, np.array([True, True, False]), floor=floor))
    np.testing.assert_allclose([moved.sum(), moved[2]], [1.0, 0.8])
    assert (moved >= floor - 1e-9).all()
    if not floor:
        np.testing.assert_allclose(np.log(moved[0] / moved[1]), 4.0)
    none = mirror_step_among(log_share, exponent, np.zeros(3, bool), floor=floor)
    np.testing.assert_array_equal(none, log_share)
    every = mirror_step_among(log_share, exponent, np.ones(3, bool), floor=floor)
    np.testing.assert_array_equal(every, mirror_step(log_share, exponent, floor=floor))


def test_an_average_of_measurements_is_over_those_that_had_the_objective():
    weighter = ARMS["gradient-realised"]  # two measurements to an update
    rewards, group = random_batch(1)
    gains = ([0.3, -0.1, np.nan], [0.1, 0.1, 0.4])
    state = weighter.init(objectives(3))
    for step, gain in enumerate(gains):
        _, state = decide(weighter, rewards, group, state=state, step=step, realised=np.array(gain))
        assert ("counts" in state) == (step == 0)
    rate = weighter.eta / weighter.mu
    expected = mirror_step(np.log(np.full(3, 1 / 3)), rate * np.array([0.2, 0.0, 0.4]))
    np.testing.assert_allclose(state["log_share"], expected)


def test_reports_leave_out_groups_without_the_objective():
    rewards = np.array([[0.0, np.nan, np.nan], [2.0, np.nan, np.nan], [1.0, 0.0, np.nan], [1.0, 1.0, np.nan]])
    group = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(within_group_std(rewards, group), [0.5, 0.5, np.nan])
    np.testing.assert_array_equal(zero_variance_share(rewards, group), [0.5, 0.0, np.nan])


# ------------------------------------------------------------------------------------------------------------ training


class Masked(VectorWrapper):
    """The letters as a mixture: problems whose letter is in ``lacking`` have no second objective."""

    def __init__(self, env, lacking="abcd", weights=None):
        super().__init__(env)
        self.lacking, self.weights = lacking, weights

    def _has(self, prompts):
        return np.array([[True, prompt[0] not in self.lacking] for prompt in prompts])

    def reset(self, **kwargs):
        prompts, info = self.env.reset(**kwargs)
        self._mask = self._has(prompts)
        about = {"objective_mask": self._mask.copy()}
        if self.weights is not None:
            about["loss_weight"] = np.where(self._mask[:, 1], *self.weights)
        return prompts, info | about

    def step(self, actions):
        prompts, rewards, *ended, info = self.env.step(actions)
        rewards = np.where(self._mask, rewards, 0.0).astype(np.float32)
        return prompts, rewards, *ended, info | {"objective_mask": self._has(prompts)}  # of the next problems


@pytest.fixture
def make(policy_directory):
    """Maker of an agent: ``make(GDPO, lacking=, weights=, num_envs=, **options)``; ``lacking=None`` for no mask."""

    def make_agent(cls=GDPO, *, lacking="abcd", weights=None, num_envs=32, **options):
        env = make_env(policy_directory, num_envs=num_envs, group_size=4)
        env = env if lacking is None else Masked(env, lacking, weights)
        return cls(env, load(policy_directory), **{"learning_rate": 1e-2, **options})

    return make_agent


def test_masked_rewards_are_missing_and_the_others_as_they_were(make):
    agent = make()
    masked, plain = next_batch(agent), next_batch(make(lacking=None))
    prompts = [agent.policy.decode(ids) for ids in masked.prompt_ids]
    lacks = np.array([prompts[p][0] in "abcd" for p in masked.prompt_index])
    assert 0 < lacks.sum() < len(lacks)
    np.testing.assert_array_equal(np.isnan(masked.rewards), np.stack([np.zeros_like(lacks), lacks], axis=1))
    np.testing.assert_array_equal(masked.rewards[~lacks], plain.rewards[~lacks])
    np.testing.assert_array_equal(masked.objective_mask[:, 1], ~lacks)


@pytest.mark.parametrize("cls", [GDPO, GRPO, DVAO])
def test_a_mask_without_holes_changes_nothing(make, cls):
    with_mask, plain = make(cls, lacking=""), make(cls, lacking=None)
    for _ in range(2):
        assert comparable(with_mask.step()) == comparable(plain.step())
    for name, value in parameters_of(plain.policy).items():
        np.testing.assert_array_equal(parameters_of(with_mask.policy)[name], value)


@pytest.mark.parametrize("lacking", ["abcd", LETTERS])
def test_a_step_and_its_report(make, lacking):
    report = make(lacking=lacking, num_envs=16).step()
    row = report.as_row()
    assert ("reward_mean/short" in row) == (lacking != LETTERS)
    json.loads(json.dumps(row, allow_nan=False))
    assert np.isfinite(report.loss)
    assert report.advantage_share.sum() == pytest.approx(1.0)
    if lacking == LETTERS:
        assert report.advantage_share[1] == 0


def test_dynamic_sampling_sees_through_missing_rewards(make, monkeypatch):
    batches = trained_batches(monkeypatch)
    make(dynamic_sampling=True, preference=[0.0, 1.0], max_resamples=2).step()
    assert not np.isnan(batches[0].rewards[:, 1]).any()  # the only objective that counts is in no other group


def test_a_nan_that_the_mask_does_not_name_is_an_error(make, monkeypatch):
    agent = make()
    step = agent.env.step

    def broken(actions):
        prompts, rewards, *rest = step(actions)
        rewards[3, 0] = np.nan
        return prompts, rewards, *rest

    monkeypatch.setattr(agent.env, "step", broken)
    with pytest.raises(ValueError, match="NaN at row 3, objective 0"):
        agent.step()


def test_a_mask_of_another_shape_is_an_error(make, monkeypatch):
    agent = make()
    reset = agent.env.reset

    def broken(**kwargs):
        prompts, info = reset(**kwargs)
        return prompts, info | {"objective_mask": [True]}

    monkeypatch.setattr(agent.env, "reset", broken)
    with pytest.raises(ValueError, match=r"info\['objective_mask'\] must have shape \(32, 2\), got \(1,\)"):
        agent.step()


def test_evaluation_leaves_missing_objectives_out(make):
    evaluation = make().evaluate(8)
    lacks = [letter in "abcd" for letter in LETTERS]
    np.testing.assert_array_equal(np.isnan(evaluation.greedy_rewards[:, 1]), lacks)
    np.testing.assert_array_equal(np.isnan(evaluation.sampled_rewards[:, 1]), lacks)
    assert not np.isnan(evaluation.greedy).any()


@dataclass(frozen=True)
class Recording(Static):
    """Writes down the signals."""

    needs: frozenset = NEEDS - {"validation"}
    probe: Probe = field(default_factory=Probe)
    seen: list = field(default_factory=list, compare=False)

    def __call__(self, signals, state):
        self.seen.append(signals)
        return super().__call__(signals, state)


def test_signals_of_an_absent_objective_are_nan_and_those_of_the_other_as_without_it(make, policy_directory):
    agent = make(lacking=LETTERS, weighter=Recording())
    agent.learn(2)
    first, second = agent.weighter.seen
    assert np.isnan(first.gramian).tolist() == [[False, True], [True, True]]
    for value in (first.influence, second.realised):
        np.testing.assert_array_equal(np.isnan(value), [False, True])
    np.testing.assert_allclose(first.influence[0], first.gramian[0, 0], rtol=1e-4)


# ------------------------------------------------------------------------------------------- loss weights and progress


def test_loss_weights_multiply_the_advantages_and_are_reported(make, monkeypatch):
    seen = {}

    def trained(weights):
        agent = make(weights=weights)
        monkeypatch.setattr(
            "llm_morl_agents.grouped_pg.update", lambda *a, **k: seen.update(a=a[4], b=a[3]) or UpdateReport()
        )
        report = agent.step()
        return report, seen["a"], seen["b"]

    plain, advantages, _ = trained(None)
    weighted, scaled, batch = trained((3.0, 0.5))
    factor = np.where(batch.objective_mask[:, 1], 3.0, 0.5)
    np.testing.assert_allclose(scaled, factor * advantages, rtol=1e-12)
    assert plain.loss_weight is None
    assert "loss_weight" not in plain.as_row()
    assert weighted.loss_weight == pytest.approx(factor.mean())
    assert weighted.scale == plain.scale == 1.0


def test_signals_are_of_the_weighted_loss(make):
    agent = make(weights=(3.0, 0.0))
    batch = next_batch(agent)
    found = objective_advantages(agent.estimator, batch)
    assert not found[:, ~batch.objective_mask[:, 1]].any()
    assert found.any()


@dataclass(frozen=True)
class Told:
    """A sampler that writes down the progress it was told, and asks for heavier losses the later it is."""

    scheduled: bool
    told: list = field(default_factory=list, compare=False)
    upweights: bool = True

    def draw(self, task, count, rng, progress):
        self.told.append(progress)
        return rng.choice(len(task), count).tolist()

    def loss_weights(self, problems, progress):
        return np.full(len(problems), 1.0 + progress)


@pytest.mark.parametrize(("scheduled", "told"), [(True, [0.0, 0.25, 0.5, 0.75]), (False, [0.0] * 4)])
def test_progress_is_said_where_the_sampler_wants_it(policy_directory, scheduled, told):
    env, sampler = make_env(policy_directory, num_envs=8, group_size=4, autoreset_mode="Disabled"), Told(scheduled)
    env.task = replace(env.task, sampler=sampler)
    agent, reports = GDPO(env, load(policy_directory)), []
    reports.append(agent.step())  # no horizon yet
    agent.learn(3, [reports.append])
    assert sampler.told == told
    assert [report.loss_weight for report in reports] == [1.0 + progress for progress in told]


# ----------------------------------------------------------------------------------------- every weighter on a mixture


@pytest.mark.parametrize("text", [marked(text) for text in [*TABLE, *MORE]])
def test_trains_on_a_mixture_and_resumes(text, policy_directory, tmp_path):
    arm = parse_arm(text)

    def environment():
        return Masked(make_env(policy_directory, num_envs=16, group_size=4), "bdfh")

    env = environment()
    agent = make_agent(arm, env, load(policy_directory), seed=3, settings={"learning_rate": 1e-2})
    for _ in range(2):
        report = agent.step()
        assert np.isfinite([*report.weight, report.scale, report.loss, *report.advantage_share]).all()
    agent.save(tmp_path / "agent")
    other = AGENTS[arm.agent].load(tmp_path / "agent", environment())
    assert json.dumps(comparable(other.step())) == json.dumps(comparable(agent.step()))
    for name, value in parameters_of(agent.policy).items():
        np.testing.assert_array_equal(parameters_of(other.policy)[name], value)
