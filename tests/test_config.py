"""Options as dataclass, command line and TOML."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from llm_morl_agents.commands.options import parse, take_config
from llm_morl_agents.experiments.config import (
    CompareConfig,
    TrainConfig,
    differing,
    pairs_of,
    read_toml,
    write_toml,
)
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.settings import Settings

CONFIGS = [
    CompareConfig(),
    TrainConfig(),
    CompareConfig(
        arms=("gdpo:saw(ema=0.7)", 'gdpo(stop=("é\\n",)):static'),
        thresholds={"format": 0.9},
        env_kwargs={"seed": 3, "data_format": "bfcl", "a key": [1, 2]},
        data=Path("a b/ü.jsonl"),
        policies=("tiny", "a/b"),
        transforms=("noisy(scale=0.5)", "saturated"),
        jobs=2,
        settings={"clip_low": None, "clip_high": None, "betas": (0.8, 0.9), "stop": ('"', "\x7f"), "epochs": 2},
    ),
    TrainConfig(seed=3, rewards="m:r", objectives=("a", "b"), export=Path("x"), settings={"dynamic_sampling": True}),
]


def command_line(cls, *arguments):
    return parse(cls, arguments, prog="test", description="")


@pytest.mark.parametrize("config", CONFIGS)
def test_toml_round_trip(config, tmp_path):
    path = tmp_path / "config.toml"
    write_toml(config, path, "a comment\nof two lines")
    assert read_toml(path, type(config)) == config


def test_what_is_meant_for_one_call_is_not_recorded(tmp_path):
    write_toml(TrainConfig(overwrite=True, resume=True), tmp_path / "c.toml")
    assert read_toml(tmp_path / "c.toml", TrainConfig) == TrainConfig()


def test_every_setting_is_an_option():
    for setting in fields(Settings):
        if setting.name not in ("checkpoint_every", "betas", "stop"):
            value = {"schedule": "linear", "ratio": "sequence", "aggregation": "constant"}.get(setting.name, "1")
            flag = f"--{setting.name.replace('_', '-')}"
            given = [flag] if setting.name == "dynamic_sampling" else [flag, value]
            assert list(command_line(CompareConfig, *given).settings) == [setting.name]


def test_settings_that_are_not_given_are_absent():
    assert command_line(CompareConfig).settings == {}
    assert command_line(CompareConfig, "--clip-low", "None").settings == {"clip_low": None}


def test_command_line_overrides_the_file(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        'arms = ["gdpo:saw"]\nsteps = 7\n[settings]\nlearning_rate = 1\nepochs = 2\n[thresholds]\nformat = 1\n'
    )
    config = command_line(CompareConfig, "--steps", "9", "--config", str(path), "--learning-rate", "0.5")
    assert (config.arms, config.steps, config.thresholds) == (("gdpo:saw",), 9, {"format": 1})
    assert config.settings == {"learning_rate": 0.5, "epochs": 2}


def test_pairs_and_lists_on_the_command_line():
    config = command_line(
        CompareConfig,
        "--arms",
        "gdpo:saw",
        "dvao",
        "--thresholds",
        "format=0.9",
        "correctness=1",
        "--env-kwargs",
        "a=x",
    )
    assert config.arms == ("gdpo:saw", "dvao")
    assert config.thresholds == {"format": 0.9, "correctness": 1}
    assert config.env_kwargs == {"a": "x"}


def test_policies_and_transforms_on_the_command_line():
    config = command_line(CompareConfig, "--policy", "tiny", "scratch", "--transforms", "noisy(scale=0.5)", "flipped")
    assert config.policies == ("tiny", "scratch")
    assert config.transforms == ("noisy(scale=0.5)", "flipped")
    assert [config.policy_of(seed) for seed in (0, 1, 4)] == ["tiny", "scratch", "tiny"]
    assert command_line(TrainConfig, "--policy", "scratch").policies == ("scratch",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 3", "unknown key 'stepz'; known are"),
        ("[settings]\nlearning_rat = 1", r"unknown key settings\.learning_rat; known are"),
        ("steps = '3'", "steps must be of type int, got '3'"),
        ("steps = true", "steps must be of type int, got True"),
        ("arms = 'gdpo:saw'", "arms must be a list"),
        ("arms = [1]", "arms must be a text, got 1"),
        ("settings = 3", "settings must be a table"),
        ("[settings]\nratio = 'word'", r"settings\.ratio must be one of \['token', 'sequence'\]"),
        ("steps = 0", "steps must be at least 1, got 0"),
        ("[thresholds]\nformat = 'high'", "thresholds: the value of 'format' must be a number"),
        ("steps = ", "is not TOML"),
    ],
)
def test_mistakes_in_a_file_name_the_key(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_toml(path, CompareConfig)


def test_missing_file_and_missing_name(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml: No such file"):
        read_toml(tmp_path / "none.toml", CompareConfig)
    with pytest.raises(UserError, match="--config needs"):
        take_config(["--config"])
    assert take_config(["--steps", "3", "--config=x.toml"]) == (["--steps", "3"], Path("x.toml"))


@pytest.mark.parametrize("name", ["a/b", "", ".."])
def test_name_is_a_folder(name):
    with pytest.raises(UserError, match="name must be the name of a folder"):
        CompareConfig(name=name)


def test_differences_name_keys_and_values():
    config = CompareConfig(settings={"epochs": 2})
    other = replace(config, steps=9, settings={"epochs": 3}, jobs=5, name="x", thresholds={"format": 1.0})
    assert differing(other, config) == ["steps: 80 -> 9", "settings.epochs: 2 -> 3"]


def test_default_folder_follows_the_options():
    base = CompareConfig()
    assert base.folder.name.startswith("toolcall-mo-v0-")
    assert CompareConfig(jobs=3).folder == base.folder
    assert CompareConfig(steps=3).folder != base.folder
    assert CompareConfig(name="demo").folder == Path("runs/demo")


def test_pairs_need_an_equals_sign():
    with pytest.raises(ValueError, match="'format' is not of the form NAME=VALUE"):
        pairs_of(["format"])


def test_policy_in_a_file_as_on_the_command_line(tmp_path):
    """Older records hold one text; fields that they do not hold have their defaults."""
    record = tmp_path / "config.toml"
    record.write_text('arms = ["gdpo:saw"]\npolicy = "a"\n')
    assert read_toml(record, CompareConfig) == CompareConfig(arms=("gdpo:saw",), policies=("a",))
    record.write_text('policy = ["a", "b"]\n')
    assert read_toml(record, TrainConfig).policies == ("a", "b")
