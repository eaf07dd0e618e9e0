"""Every weighter of the table trains an agent, as the command line makes it, and goes on bit for bit after a load."""

from importlib.util import find_spec

import numpy as np
import pytest
from tiny_task import comparable, parameters_of

from llm_morl_agents import load_policy
from llm_morl_agents.agents import AGENTS
from llm_morl_agents.experiments.arms import make_agent, parse_arm
from llm_morl_agents.weighters import WEIGHTERS
from llm_morl_env import make_vector_env

TORCHJD = all(find_spec(name) for name in ("torchjd", "quadprog", "qpsolvers"))
needs_torchjd = pytest.mark.skipif(not TORCHJD, reason="torchjd is not installed")

#: The options that a weighter cannot do without, for two objectives.
OPTIONS = {
    "smoothed": "(inner=saw(ema=0.5), decay=0.5)",
    "floored": "(inner=saw)",
    "clipped": "(inner=saw, low=0.5)",
    "rescaled": "(inner=saw)",
    "frozen": "(weights=(0.5, 1.5))",
    "replay": "(weights=((0.5, 1.5), (1.5, 0.5)))",
}
#: What GDPO refuses: its whitening would undo these weights.
ON_GRPO = {"dvao"}
TABLE = [f"{'grpo' if name in ON_GRPO else 'gdpo'}:{name}{OPTIONS.get(name, '')}" for name in WEIGHTERS]
#: Weighters around weighters with a memory or with signals of their own, and the other ways in which some measure.
MORE = [
    "gdpo:smoothed(inner=gradient(eta=1.0, mu=0.01, floor=0.1))",
    "gdpo:floored(inner=smoothed(inner=ctwa(learning_rate=0.5)))",
    "gdpo:clipped(inner=hypervolume_gradient(source='validation', every=2, problems=2), low=0.5)",
    "rloo:hypervolume(temperature=0.01, problems=2)",
    "rloo:smoothed(inner=lagrangian(learning_rate=0.5))",
    "grpo:floored(inner=dvao)",
    "grpo:proportional_fair(decay=0.5)",
    "gdpo:gradient(mode='jvp', eta=1.0, mu=0.01, accumulate=2)",
    "gdpo:smoothed(inner=gradient(mode='realised', eta=1.0, mu=0.01))",
    "gdpo:rescaled(inner=gradient_combiner(method='mgda', every=2))",
    "dr_grpo:tchebycheff(mu=0.1)",
]


def marked(text):
    return pytest.param(text, marks=needs_torchjd if text == "gdpo:gradient_combiner" else ())


def make_env():
    return make_vector_env(16, task="countsfront", group_size=4)


def test_every_name_of_the_table_is_here():
    assert {text.partition(":")[2].partition("(")[0] for text in TABLE} == set(WEIGHTERS)


@pytest.mark.parametrize("text", [marked(text) for text in [*TABLE, *MORE]])
def test_trains_and_resumes(text, tmp_path):
    arm, env = parse_arm(text), make_env()
    policy = load_policy("scratch", tokenizer=env.task.tokenizer, seed=0, sizes={"hidden_size": 16, "layers": 1})
    before = parameters_of(policy)
    agent = make_agent(arm, env, policy, seed=3, settings={"learning_rate": 1e-2})
    reports = [agent.step() for _ in range(2)]
    assert all(np.isfinite([*report.weight, report.scale, report.loss]).all() for report in reports)
    assert any(not np.array_equal(value, before[name]) for name, value in parameters_of(agent.policy).items())

    agent.save(tmp_path / "agent")
    other = AGENTS[arm.agent].load(tmp_path / "agent", make_env())
    assert other.weighter == agent.weighter
    assert comparable(other.step()) == comparable(agent.step())
    expected, got = parameters_of(agent.policy), parameters_of(other.policy)
    assert expected.keys() == got.keys()
    assert all(np.array_equal(value, got[name]) for name, value in expected.items())
    assert agent.weighter_state.keys() == other.weighter_state.keys()
    for name, value in agent.weighter_state.items():
        np.testing.assert_array_equal(other.weighter_state[name], value, err_msg=name)
