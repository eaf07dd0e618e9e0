"""The policy that always takes the first option of a view."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from front_policies import FixedPolicy
from test_front_gather import record

from llm_morl_agents.fronts.evaluation import evaluate_front
from llm_morl_agents.fronts.first_option import ROWS, FirstOptionPolicy, first_options

TOOL, TURNS, DENT = "ToolCall-MO-v0", "ToolCall-MultiTurn-MO-v0", "DentFront-MO-v0"


def one_by_one(env_id, env_kwargs, problems, *, split):
    """The returns of action 0 in an environment of one episode at a time."""
    env, found = gym.make(env_id, **env_kwargs), []
    for problem in problems:
        env.reset(seed=0, options={"problem": problem, "split": split})
        total, over = 0.0, False
        while not over:
            _, rewards, terminated, truncated, _ = env.step(0)
            total, over = total + np.asarray(rewards, np.float64), terminated or truncated
        found.append(total)
    return np.array(found)


@pytest.mark.parametrize(
    ("env_id", "env_kwargs", "n"),
    [
        (TOOL, {"difficulty": "easy", "view": "index", "k": 4}, 2 * ROWS + 5),
        (TOOL, {"difficulty": "easy", "view": "index", "language_model": "tiny", "obs_mode": "features"}, ROWS + 3),
        (TURNS, {"view": "index", "language_model": "tiny", "obs_mode": "features"}, 6),
        (TOOL, {"difficulty": "easy", "view": "choice", "language_model": "tiny", "k": 3}, 5),
    ],
)
def test_a_batch_earns_what_its_episodes_earn_one_by_one(env_id, env_kwargs, n):
    problems = [*reversed(range(n - 1)), 0]
    returns = FirstOptionPolicy(env_id, env_kwargs).returns(problems, split="eval", seed=0)
    expected = one_by_one(env_id, env_kwargs, problems, split="eval")
    np.testing.assert_allclose(returns, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0  # so that a wrong order of the problems is seen


def test_of_candidates_it_takes_the_likeliest():
    kwargs = {"difficulty": "easy", "view": "choice", "language_model": "tiny", "k": 3}
    env = gym.make(TOOL, **kwargs)
    scores = env.unwrapped.candidate_scores(range(ROWS + 2), "eval")
    returns = FirstOptionPolicy(TOOL, kwargs).returns(range(ROWS + 2), split="eval", seed=3)
    np.testing.assert_allclose(returns, scores[:, 0], atol=1e-6)
    assert not np.allclose(scores[:, 0], scores[:, 1])


def test_first_options_of_a_language_model_are_far_above_chance():
    kwargs = {"difficulty": "easy", "view": "index", "language_model": "tiny", "obs_mode": "features"}
    policy = FirstOptionPolicy(TOOL, kwargs)
    evaluation = evaluate_front([policy], TOOL, n_episodes=32, env_kwargs=kwargs, resamples=20)
    assert evaluation.labels == ("first option of index",)
    assert evaluation.measures["expected_utility"].value > 0.9


def test_number_of_options_and_certainty_do_not_change_the_first_one():
    kwargs = {"difficulty": "easy", "view": "index", "language_model": "tiny", "obs_mode": "features"}
    first, other = (
        FirstOptionPolicy(TOOL, {**kwargs, **more}).returns(range(24), split="eval", seed=0)
        for more in ({}, {"k": 3, "certainty": 0.9})
    )
    np.testing.assert_allclose(first, other, atol=1e-5)


def test_one_for_each_view_that_a_model_ranks():
    def of(*given: tuple[str, str, dict[str, object]], kind: str = "classic") -> list[dict[str, object]]:
        policies = [FixedPolicy("p", (0.5, 0.5))]
        records = [record("a", policies, view=view, env_kwargs=kwargs, kind=kind) for _, view, kwargs in given]
        for at, (env_id, _, _) in enumerate(given):
            records[at] = replace(records[at], env_id=env_id)
        return [dict(policy.env_kwargs) for policy in first_options(records)]

    model = {"language_model": "tiny"}
    index = {"view": "index", "obs_mode": "features", **model}
    assert of((TOOL, "index", {**model, "k": 4}), (TOOL, "index", {**model, "certainty": 0.9})) == [index]
    assert of((TOOL, "index", {}), (TOOL, "index", {**model, "ranking": "grammar"})) == []
    assert of((TOOL, "token", model), (TOOL, "text", {})) == []
    assert of((TOOL, "index", model), kind="language model") == []
    assert of((TOOL, "choice", {"k": 4}), (DENT, "choice", {})) == [{"view": "choice", "k": 4}]
    assert of((TOOL, "choice", {"candidates": "grammar"}), (TOOL, "choice", {"candidates": "f.jsonl"})) == [
        {"view": "choice", "candidates": "f.jsonl"}
    ]


CHOICE = {"view": "choice", "difficulty": "easy"}


@pytest.mark.parametrize(
    ("kwargs", "same"),
    [
        ({"k": 8}, True),
        ({"n_problems": 64}, True),
        ({"k": 8, "n_problems": 512, "candidates": None, "temperature": 1}, True),
        ({"candidates": "model", "language_model": "tiny", "temperature": 1.0, "candidate_seed": 0}, True),
        ({"k": 4}, False),
        ({"temperature": 0.7}, False),
        ({"candidate_seed": 1}, False),
        ({"candidates": "f.jsonl"}, False),
    ],
)
def test_of_choices_one_for_each_source(kwargs, same):
    """Each costs the answers of a language model to all problems."""
    policies = [FixedPolicy("p", (0.5, 0.5))]
    records = [
        replace(record("a", policies, view="choice", env_kwargs={"difficulty": "easy", **given}), env_id=TOOL)
        for given in ({}, kwargs, {"n_problems": 3, **kwargs})
    ]
    found = [dict(policy.env_kwargs) for policy in first_options(records)]
    assert found == [CHOICE] if same else found == [CHOICE, {**CHOICE, **kwargs}]
    if "candidates" not in kwargs:
        menus = [gym.make(TOOL, **{"k": 8, **given}).unwrapped.source for given in (CHOICE, {**CHOICE, **kwargs})]
        about = [(source.k, source.temperature, source.seed, source.language_model) for source in menus]
        assert (about[0] == about[1]) == same


def test_a_file_of_candidates_is_one_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.jsonl").touch()
    policies = [FixedPolicy("p", (0.5, 0.5))]
    given = [{"candidates": name, **more} for name in ("f.jsonl", str(tmp_path / "f.jsonl")) for more in ({}, {"k": 8})]
    records = [replace(record("a", policies, view="choice", env_kwargs=kwargs), env_id=TOOL) for kwargs in given]
    assert [policy.env_kwargs["candidates"] for policy in first_options(records)] == ["f.jsonl"]


def test_noise_follows_the_seed():
    policy = FirstOptionPolicy(DENT, {"view": "index", "k": 3, "transforms": ["noisy(scale=0.5)"]})
    first, again, other = (policy.returns([0] * 40, split="eval", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first[:, -1])) == 40  # the objective of noise: every episode has a seed of its own


def test_names_and_views():
    assert FirstOptionPolicy(DENT, {"view": "index"}, label="first").label == "first"
    assert FirstOptionPolicy(DENT, {"view": "choice"}).label == "first option of choice"
    for kwargs in ({}, {"view": "token"}):
        with pytest.raises(ValueError, match="must have a view"):
            FirstOptionPolicy(DENT, kwargs)
