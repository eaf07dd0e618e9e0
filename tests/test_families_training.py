"""Conditioned policies learn to follow weights; families are saved, continued, bounded in time, reproducible."""

import json
import os
import signal

import numpy as np
import pytest
import torch

from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.families.conditioned import ConditionedFamily, train_conditioned
from llm_morl_agents.families.config import FamilyConfig
from llm_morl_agents.families.soup import SoupFamily, train_soup
from llm_morl_agents.families.sweep import SweepFamily
from llm_morl_agents.families.table import FAMILIES, evaluated, load_family
from llm_morl_agents.families.training import FamilyInterrupted
from llm_morl_env.metrics import hypervolume

ENV = "DentFront-MO-v0"
FAST = {"prompts": 8, "settings": {"learning_rate": 1e-2}}
SMALL = {"steps": 3, "prompts": 4, "group_size": 4}


def means(family, lattice, n=64):
    """Mean returns (W, 2)."""
    return np.array([family.policy(w).returns([0] * n, split="eval", seed=0).mean(axis=0) for w in lattice])


@pytest.fixture(scope="module")
def embedded():
    return train_conditioned(ENV, conditioning="embedding", steps=50, **FAST)


def test_an_embedded_preference_is_followed(embedded):
    """Measured over three seeds: .83 or 1 of the own objective at one corner, .98 and more at the other."""
    lattice = [(n / 10, 1 - n / 10) for n in range(11)]
    reached = means(embedded, lattice)
    assert np.corrcoef(np.array(lattice)[:, 0], reached[:, 0])[0, 1] > 0.8
    assert reached[0, 1] > 0.75
    assert reached[-1, 0] > 0.9


def test_a_preference_in_words_is_followed():
    """Slower: the characters that write the weights are those of the answer. Measured: .11, .38 and .44 of "a"."""
    family = train_conditioned(ENV, conditioning="prompt", parts=2, steps=70, seed=2, **FAST)
    lattice = [(n / 2, 1 - n / 2) for n in range(3)]
    reached = means(family, lattice)
    assert np.corrcoef(np.array(lattice)[:, 0], reached[:, 0])[0, 1] > 0.8
    assert reached[-1, 0] - reached[0, 0] > 0.2


def test_a_family_is_evaluated_as_a_front(embedded):
    record = evaluated(embedded, n_episodes=64)
    assert (record.kind, record.view, record.steps) == ("language model", "text", 50)
    assert record.cpu_seconds == embedded.cpu_seconds > 0
    assert record.settings["conditioning"] == "embedding"
    assert "seed" not in record.settings
    assert len(record.evaluation.labels) == 21
    means_ = record.evaluation.means
    assert record.evaluation.measures["hypervolume"].value == pytest.approx(hypervolume(means_, 0.0))
    assert np.isnan(record.evaluation.claimed).all()


def test_equal_arguments_give_equal_families_and_returns():
    one, two = (train_conditioned(ENV, conditioning="embedding", seed=5, **SMALL) for _ in range(2))
    for name, tensor in one.members[0].tensors.items():
        assert torch.equal(tensor, two.members[0].tensors[name]), name
    policy = one.policy([1, 2])
    first = policy.returns([0, 0, 0], split="eval", seed=1)
    assert first.shape == (3, 2)
    np.testing.assert_array_equal(two.policy([1, 2]).returns([0, 0, 0], split="eval", seed=1), first)
    many = [policy.returns([0] * 40, split="eval", seed=seed) for seed in (1, 2)]
    assert (many[0] != many[1]).any()
    assert policy.returns([], split="eval", seed=0).shape == (0, 2)


@pytest.mark.parametrize("kind", FAMILIES)
def test_saved_and_loaded(kind, tmp_path):
    config = FamilyConfig(kind=kind, env=ENV, conditioning="embedding", preferences=3, **SMALL)
    family = FAMILIES[kind].train(config)
    family.save(tmp_path)
    again = load_family(tmp_path)
    assert type(again) is FAMILIES[kind]
    assert (again.config, again.steps, again.cpu_seconds) == (config, family.steps, family.cpu_seconds)
    np.testing.assert_array_equal(again.preferences, family.preferences)
    for weights in ([1, 0], [1, 1]):
        here, there = (f.policy(weights).returns([0] * 16, split="eval", seed=0) for f in (family, again))
        np.testing.assert_array_equal(here, there)
    other = next(cls for cls in FAMILIES.values() if cls.kind != kind)
    with pytest.raises(UserError, match=f"of kind {kind!r}, not {other.kind!r}"):
        other.load(tmp_path)


def test_what_is_no_family(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_family(tmp_path)
    family = train_conditioned(ENV, **SMALL)
    family.save(tmp_path)
    (tmp_path / "family.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="does not hold a family"):
        load_family(tmp_path)
    (tmp_path / "family.safetensors").unlink()
    with pytest.raises(UserError, match="no finished family"):
        ConditionedFamily.load(tmp_path)


@pytest.mark.parametrize("cls", [ConditionedFamily, SoupFamily])
def test_interrupted_and_continued_equals_never_interrupted(cls, tmp_path):
    config = FamilyConfig(kind=cls.kind, env=ENV, conditioning="embedding", steps=4, prompts=4, group_size=4)
    whole = cls.train(config, folder=tmp_path / "whole")
    seen = []

    def interrupt(label, report):
        seen.append(label)
        if len(seen) == (6 if cls is SoupFamily else 2):  # in the second policy of the soup
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(FamilyInterrupted, match="interrupted after 2 steps"):
        cls.train(config, folder=tmp_path / "parts", progress=interrupt)
    later = []
    rest = cls.train(config, folder=tmp_path / "parts", progress=lambda label, report: later.append(report.step))
    assert later == [2, 3]
    for one, two in zip(whole.members, rest.members, strict=True):
        assert all(torch.equal(tensor, two.tensors[name]) for name, tensor in one.tensors.items())
    for file in sorted((tmp_path / "parts").glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert rest.cpu_seconds == pytest.approx(
        sum(
            json.loads(line)["cpu_seconds"]
            for file in (tmp_path / "parts").glob("*.jsonl")
            for line in file.read_text().splitlines()
        )
    )


def test_the_time_is_shared_by_the_policies(tmp_path):
    family = train_soup(ENV, steps=10_000, prompts=4, group_size=4, max_cpu_seconds=0.4, focus=0.9, folder=tmp_path)
    assert all(0.2 <= member.cpu_seconds < 0.6 for member in family.members)
    assert 2 <= family.steps < 10_000
    steps = [member.steps for member in family.members]
    again = SoupFamily.train(family.config, folder=tmp_path)  # nothing is left to spend
    assert [member.steps for member in again.members] == steps


def test_a_sweep_serves_by_its_members():
    quick = {"steps": 25, "prompts": 4, "settings": {"learning_rate": 1e-2}}
    config = FamilyConfig(kind="sweep", env=ENV, preferences=3, **quick)
    nearest = SweepFamily.train(config)
    assert nearest.preferences.tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    assert nearest.policy([0.3, 0.7]).tensors is nearest.members[1].tensors
    assert nearest.policy([0.2, 0.8]).tensors is nearest.members[0].tensors
    chosen = FamilyConfig(kind="sweep", env=ENV, preferences=3, choose="best", **quick)
    best = SweepFamily(chosen, nearest.task, nearest.model, nearest.members, nearest.preferences)
    utilities = best.training_means @ [0.3, 0.7]
    assert best.policy([0.3, 0.7]).tensors is best.members[int(np.argmax(utilities))].tensors
    assert best.training_means[0, 1] > 0.8 > best.training_means[2, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 0}, "parts must be at least 1"),
        ({"preferences": 1}, "preferences must be at least 2"),
        ({"focus": 0.5}, r"focus must lie in \(0.5, 1\]"),
        ({"max_cpu_seconds": 0.0}, "max_cpu_seconds must be above 0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(UserError, match=message):
        FamilyConfig(**options)


def test_an_arm_has_no_preference_of_its_own():
    with pytest.raises(ValueError, match="has a preference of its own"):
        train_conditioned(ENV, arm="gdpo(preference=(1.0, 2.0)):static", **SMALL)
