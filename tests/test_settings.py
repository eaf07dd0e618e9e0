"""`Settings`: ranges, learning-rate schedule, sampling."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from llm_morl_agents.policy import Sampling
from llm_morl_agents.settings import Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, got nan"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be positive, got -1.0"),
        ({"schedule": "step"}, r"schedule must be one of \('constant', 'linear', 'cosine'\), got 'step'"),
        ({"schedule_steps": 0}, "schedule_steps must be an int of at least 1, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be an int of at least 0, got -1"),
        ({"weight_decay": -0.1}, "weight_decay must be non-negative, got -0.1"),
        ({"kl_coef": float("nan")}, "kl_coef must be non-negative, got nan"),
        ({"entropy_coef": -1.0}, "entropy_coef must be non-negative, got -1.0"),
        ({"epochs": 0}, "epochs must be an int of at least 1, got 0"),
        ({"mini_batches": 1.5}, "mini_batches must be an int of at least 1, got 1.5"),
        ({"micro_batches": 0}, "micro_batches must be an int of at least 1, got 0"),
        ({"max_resamples": -1}, "max_resamples must be an int of at least 0, got -1"),
        ({"checkpoint_every": -1}, "checkpoint_every must be an int of at least 0, got -1"),
        ({"max_new_tokens": 0}, "max_new_tokens must be an int of at least 1, got 0"),
        ({"temperature": 0.0}, "temperature=.* must be finite and above 0, got 0.0"),
        ({"top_p": 0.0}, r"top_p=.* must lie in \(0, 1\], got 0.0"),
        ({"stop": "</s>"}, "stop must be a sequence of strings, got the str '</s>'"),
        ({"stop": ("",)}, "stop=.* must be a sequence of non-empty strings"),
        ({"ratio": "word"}, r"ratio must be one of \('token', 'sequence'\), got 'word'"),
        ({"aggregation": "mean"}, "aggregation must be one of .*, got 'mean'"),
        ({"clip_low": None}, "clip_low and clip_high go together, got None and 0.28"),
        ({"clip_low": -0.1}, r"clip_low and clip_high must be non-negative, got \(-0.1, 0.28\)"),
        ({"dual_clip": 1.0}, "dual_clip must be above 1 and needs a clip, got 1.0"),
        ({"dual_clip": 3.0, "clip_low": None, "clip_high": None}, "dual_clip .* needs a clip, got 3.0 with None"),
    ],
)
def test_values_out_of_range_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        Settings.make(**values)


def test_unknown_names_are_listed_with_the_known_ones():
    with pytest.raises(TypeError, match=r"unknown settings \['lerning_rate'\]; known are \[.*'learning_rate'"):
        Settings.make(lerning_rate=1e-3)


def test_json_round_trip():
    settings = Settings(stop=("a", "b"), betas=(0.8, 0.9), dual_clip=3.0)
    assert Settings.make(**json.loads(json.dumps(asdict(settings)))) == settings


def test_clip():
    assert Settings().clip == (0.2, 0.28)
    assert Settings(clip_low=None, clip_high=None).clip is None


def test_sampling_takes_the_default_cap_unless_told():
    settings = Settings(temperature=0.7, top_p=0.9, stop=("x",))
    assert settings.sampling(default_max_new_tokens=50) == Sampling(0.7, 0.9, 50, ("x",), greedy=False)
    assert settings.sampling(default_max_new_tokens=50, greedy=True).greedy
    assert Settings(max_new_tokens=8).sampling(default_max_new_tokens=50).max_new_tokens == 8


def rates(settings, horizon, steps):
    return np.array([settings.learning_rate_at(step, horizon) for step in range(steps)])


def test_constant_schedule_with_warm_up():
    np.testing.assert_allclose(rates(Settings(learning_rate=2.0), 10, 4), 2.0)
    np.testing.assert_allclose(rates(Settings(learning_rate=2.0, warmup_steps=4), 10, 6), [0.5, 1.0, 1.5, 2, 2, 2])


def test_linear_schedule_reaches_zero_at_the_horizon():
    linear = Settings(learning_rate=1.0, schedule="linear")
    np.testing.assert_allclose(rates(linear, 4, 6), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0])
    warm = Settings(learning_rate=1.0, schedule="linear", warmup_steps=2)
    np.testing.assert_allclose(rates(warm, 6, 7), [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_cosine_schedule():
    cosine = Settings(learning_rate=1.0, schedule="cosine")
    np.testing.assert_allclose(rates(cosine, 4, 5), 0.5 * (1 + np.cos(np.pi * np.arange(5) / 4)), atol=1e-15)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_decay_never_rises_and_without_a_horizon_there_is_none(schedule):
    settings = Settings(schedule=schedule, warmup_steps=3)
    after_warm_up = rates(settings, 20, 30)[2:]
    assert (np.diff(after_warm_up) <= 0).all()
    assert (after_warm_up >= 0).all()
    np.testing.assert_allclose(rates(settings, None, 10)[2:], settings.learning_rate)
