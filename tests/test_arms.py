"""Arms: text to agents, and the errors that a user meets."""

import pytest
from tiny_task import load, make_env

from llm_morl_agents import DVAO, GDPO, REINFORCE
from llm_morl_agents.experiments.arms import check_arms, make_agent, parse_arm, parse_arms
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.weighters import SAW, WEIGHTERS, RandomWeights, Rescaled, Static, Weighting


@pytest.fixture
def env(policy_directory):
    return make_env(policy_directory)


@pytest.mark.parametrize(
    ("text", "agent", "options", "weighter"),
    [
        ("gdpo:static", "gdpo", {}, "static"),
        ("gdpo", "gdpo", {}, "static"),
        ("gdpo:saw(ema=0.7)", "gdpo", {}, "saw(ema=0.7)"),
        ("gdpo(clip_low=0.1):saw", "gdpo", {"clip_low": 0.1}, "saw"),
        ("gdpo(stop=('a:b',)):static(weights=(1, 2))", "gdpo", {"stop": ("a:b",)}, "static(weights=(1, 2))"),
        ("dvao(preference=(1, 2))", "dvao", {"preference": (1, 2)}, None),
    ],
)
def test_parse(text, agent, options, weighter):
    arm = parse_arm(text)
    assert (arm.agent, dict(arm.options), arm.weighter) == (agent, options, weighter)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gdpoo:saw", r"arm 'gdpoo:saw': .*unknown name 'gdpoo'; known are \['dr_grpo', 'dvao', 'gdpo'"),
        ("gdpo:saww", r"unknown name 'saww'; known are \[.*'saw', .*'static'"),
        ("gdpo:saw(emma=0.7)", "emma"),
        ("gdpo:saw(ema=open('x'))", "must be literals"),
        ("dvao:saw", "dvao is its own weighter"),
        ("gdpo(seed=3):saw", r"\['seed'\] are not an arm's to set"),
        ("", "not of the form"),
    ],
)
def test_mistakes_name_the_arm_and_the_known_names(text, message):
    with pytest.raises(ValueError, match=message):
        parse_arm(text)


def test_equal_arms_are_refused():
    with pytest.raises(ValueError, match="are the same"):
        parse_arms(["gdpo:saw", "gdpo:saw "])
    with pytest.raises(ValueError, match="at least one"):
        parse_arms([])


def test_slugs_are_names_of_folders():
    slugs = [arm.slug for arm in parse_arms(["gdpo:saw", "gdpo:saw(ema=0.7)", "gdpo:static(weights=(1, 2))"])]
    assert slugs == ["gdpo-saw", "gdpo-saw-ema=0.7", "gdpo-static-weights=-1-2"]


def test_agents_get_their_options_over_the_settings(env, policy_directory):
    settings = {"clip_low": 0.3, "learning_rate": 0.1}
    agent = make_agent(parse_arm("gdpo(clip_low=0.1):saw"), env, load(policy_directory), seed=4, settings=settings)
    assert isinstance(agent, GDPO)
    assert isinstance(agent.weighter, SAW)
    assert (agent.settings.clip_low, agent.settings.learning_rate, agent.seed) == (0.1, 0.1, 4)


@pytest.mark.parametrize(
    ("text", "cls"), [("dvao(unit_interval=False)", DVAO), ("reinforce(baseline=None)", REINFORCE)]
)
def test_agents_with_arguments_of_their_own(env, policy_directory, text, cls):
    agent = make_agent(parse_arm(text), env, load(policy_directory), seed=0, settings={})
    assert isinstance(agent, cls)


def test_defaults_of_an_agent_survive_settings_that_were_not_given(env, policy_directory):
    agent = make_agent(parse_arm("rloo"), env, load(policy_directory), seed=0, settings={"learning_rate": 0.1})
    assert agent.settings.clip is None
    assert agent.weighter == Rescaled(Static())


def test_weights_of_agents_that_keep_their_scale_are_rescaled(env, policy_directory):
    """Those of the others are not, and nobody's where the user says so."""

    def weighter(text, **options):
        return make_agent(parse_arm(text), env, load(policy_directory), seed=3, settings={}, **options).weighter

    assert weighter("dr_grpo:saw(ema=0.7)") == Rescaled(SAW(ema=0.7))
    assert weighter("gdpo:saw(ema=0.7)") == SAW(ema=0.7)
    assert weighter("rloo:saw", rescale=False) == SAW()
    assert weighter("rloo:saw", weighter="static(weights=(1, 3))") == Rescaled(Static((1, 3)))
    assert weighter("gdpo:random").seed == 3, "each run has its own draws"
    assert weighter("gdpo:random(seed=5)").seed == 5
    assert weighter("gdpo:random(concentration=2.0)") == RandomWeights(2.0, seed=3)


def test_an_arm_that_freezes_another_one():
    arm = parse_arm("gdpo(clip_low=0.1) : frozen_mean( saw(ema=0.7) )")
    assert (arm.text, arm.frozen_from) == (
        "gdpo(clip_low=0.1):frozen_mean(saw(ema=0.7))",
        parse_arm("gdpo(clip_low=0.1):saw(ema=0.7)").text,
    )
    with pytest.raises(ValueError, match="unknown name 'sow'"):
        parse_arm("gdpo:frozen_mean(sow)")


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("gdpo:saw", (True, False, False)),
        ("dvao", (True, False, False)),
        ("gdpo", (False, True, False)),
        ("gdpo:static(weights=(1, 2))", (False, True, False)),
        ("gdpo:random", (False, False, True)),
        ("gdpo:frozen_mean(saw)", (False, False, False)),
    ],
)
def test_kinds(text, kinds):
    arm = parse_arm(text)
    assert (arm.dynamic, arm.static, arm.random) == kinds


@pytest.mark.parametrize(
    "text", ["gdpo:saw", "gdpo", "dvao(unit_interval=False)", "gdpo(stop=('a:b',)):frozen_mean(saw)"]
)
def test_an_arm_with_a_preference_is_the_same_method(text):
    arm = parse_arm(text).with_preference((0.25, 0.75))
    assert arm.options["preference"] == (0.25, 0.75)
    assert arm.method == text
    assert parse_arm(arm.text) == arm
    with pytest.raises(ValueError, match="a preference of its own"):
        arm.with_preference((0.5, 0.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gdpo(clip=0.1):saw", r"unknown settings \['clip'\]; known are"),
        ("gdpo(epochs=0):saw", "epochs must be .* at least 1, got 0"),
        ("gdpo:static(weights=(1, 2, 3))", "3"),
        ("gdpo:dvao", "allow_whiten"),
        ("dvao(preference=(1, 2, 3))", "preference must be 2"),
    ],
)
def test_check_finds_mistakes_without_a_model(env, text, message):
    with pytest.raises(UserError, match=message):
        check_arms([parse_arm("gdpo:saw"), parse_arm(text)], env, {})


def test_check_accepts_every_agent(env):
    arms = parse_arms(["grpo", "dr_grpo", "gdpo(kl_coef=0.1):saw", "rloo:saw", "reinforce", "dvao"])
    check_arms(arms, env, {"checkpoint_every": 3})


@pytest.mark.parametrize("level", ["grpo", "gdpo"])
def test_check_asks_weighters_for_weights(env, monkeypatch, level):
    """What a weighter refuses at its first call shows before any process starts."""
    asked = []

    def refuses(self, signals, state):
        asked.append(signals)
        if signals.level == "reward":
            raise ValueError("not at reward level")
        return Weighting(signals.preference), state

    monkeypatch.setattr(SAW, "__call__", refuses)
    if level == "grpo":
        with pytest.raises(UserError, match="arm 'grpo:saw': not at reward level"):
            check_arms([parse_arm("grpo:saw")], env, {})
    else:
        check_arms([parse_arm("gdpo:saw")], env, {})
    (signals,) = asked
    assert (signals.rewards >= signals.low).all()
    assert (signals.rewards <= signals.high).all()


@pytest.mark.parametrize("weighter", sorted(WEIGHTERS.keys() - {"dvao", "frozen", "replay"}))
def test_invented_rewards_offend_no_weighter(env, weighter):
    inner = "(inner=saw)" if weighter in {"clipped", "floored", "rescaled", "smoothed"} else ""
    check_arms([parse_arm(f"grpo:{weighter}{inner}")], env, {})


def test_a_missing_package_is_said_in_a_line(env, monkeypatch):
    def init(self, objectives):
        raise ImportError("needs torchjd, which is not installed")

    monkeypatch.setattr(SAW, "init", init)
    with pytest.raises(UserError, match="arm 'gdpo:saw': needs torchjd"):
        check_arms([parse_arm("gdpo:saw")], env, {})
