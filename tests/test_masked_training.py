"""Training where problems lack objectives: masks, loss weights and progress that an environment says."""

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from gymnasium.vector import VectorWrapper
from test_every_weighter_trains import MORE, TABLE, marked
from test_grouped_pg import next_batch, trained_batches
from tiny_task import LETTERS, comparable, load, make_env, parameters_of

from llm_morl_agents.agents import AGENTS, DVAO, GDPO, GRPO, RLOO
from llm_morl_agents.experiments.arms import make_agent, parse_arm
from llm_morl_agents.signals import objective_advantages
from llm_morl_agents.update import UpdateReport
from llm_morl_agents.weighters import GD2PO, SAW, Static, Weighting
from llm_morl_agents.weighters.base import NEEDS, Probe


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


# ------------------------------------------------------------------------------------------------ preferences


class Asking(VectorWrapper):
    """Prompts that ask for weights of the objectives: some letters for ``some``, the others for ``rest``."""

    def __init__(self, env, some, rest):
        super().__init__(env)
        self.some, self.rest = some, rest

    def reset(self, **kwargs):
        prompts, info = self.env.reset(**kwargs)
        return prompts, info | {"preference": np.array([self.some if p[0] in "abcd" else self.rest for p in prompts])}


@pytest.fixture
def make_asking(policy_directory):
    """Maker of an agent whose prompts ask: ``make_asking(some, rest, **options)``; None asks for nothing."""

    def make_agent(some, rest, *, cls=GDPO, num_envs=32, **options):
        env = make_env(policy_directory, num_envs=num_envs, group_size=4)
        env = env if some is None else Asking(env, some, rest)
        return cls(env, load(policy_directory), **{"learning_rate": 1e-2, **options})

    return make_agent


@pytest.mark.parametrize(("cls", "weighter"), [(GDPO, Static()), (GDPO, SAW()), (GRPO, SAW()), (GRPO, GD2PO())])
def test_prompts_that_all_ask_alike_are_the_preference_of_the_agent(make_asking, cls, weighter):
    asked = make_asking((1.0, 2.0), (1.0, 2.0), cls=cls, weighter=weighter)
    told = make_asking(None, None, cls=cls, weighter=weighter, preference=[1.0, 2.0])
    for _ in range(2):
        assert comparable(asked.step()) == comparable(told.step())
    for name, value in parameters_of(told.policy).items():
        np.testing.assert_array_equal(parameters_of(asked.policy)[name], value)


@pytest.mark.parametrize("num_envs", [32, 4])
def test_each_prompt_is_trained_by_what_it_asks_for(make_asking, monkeypatch, num_envs):
    seen = []
    monkeypatch.setattr("llm_morl_agents.grouped_pg.update", lambda *a, **k: seen.append(a[3:5]) or UpdateReport())
    agent = make_asking((1.0, 0.0), (0.0, 2.0), cls=RLOO, num_envs=num_envs)
    report = agent.step()
    (batch, advantages), group = seen[0], seen[0][0].group
    chosen = np.where(batch.preference[:, 0] > 0, batch.rewards[:, 0], 2 * batch.rewards[:, 1])
    np.testing.assert_allclose(advantages, agent.estimator(chosen[:, None], group, Weighting(np.ones(1))), atol=1e-12)
    np.testing.assert_allclose(report.weight, batch.preference.mean(axis=0))


def test_dynamic_sampling_looks_at_what_prompts_ask_for(make_asking):
    batch = make_asking((0.0, 0.0), (1.0, 1.0), dynamic_sampling=True)._collect()[0]
    assert (batch.preference > 0).all()


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
