"""One run: its files, and that an interrupted one ends like one that was not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from experiment_task import small, without_times
from tiny_task import parameters_of, save_policy

from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.policies import starting_policy
from llm_morl_agents.experiments.runner import (
    CHECKPOINT,
    FINISHED,
    METRICS,
    locked,
    read_rows,
    run,
)
from llm_morl_agents.experiments.tasks import make_envs

ARM = parse_arm("gdpo:saw(ema=0.7)")


@pytest.fixture
def config(workspace, monkeypatch, tmp_path):
    monkeypatch.chdir(workspace)
    return small(workspace, out=tmp_path, name="x")


@pytest.fixture
def whole(config, tmp_path):
    """The folder of a run that was not interrupted."""
    folder = tmp_path / "whole"
    assert run(config, ARM, 0, folder) is not None
    return folder


def test_files_of_a_run(config, whole):
    rows = read_rows(whole / METRICS)
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(6))
    evaluations = [row for row in rows if row["kind"] == "evaluation"]
    assert [row["step"] for row in evaluations] == [0, 2, 4, 6]
    assert ["greedy/correct" in row for row in evaluations] == [True, False, False, True]
    final = np.load(whole / "evaluation-000006.npy")
    assert final.shape == (4, 2)
    np.testing.assert_allclose(final.mean(axis=0), [evaluations[-1][f"sampled/{n}"] for n in ("correct", "short")])
    facts = json.loads((whole / FINISHED).read_text())
    assert (facts["steps"], facts["objectives"], facts["low"], facts["high"]) == (
        6,
        ["correct", "short"],
        [0, 0],
        [1, 1],
    )
    assert facts["settings"]["learning_rate"] == 0.01


def test_examples_are_the_evaluations_first_answers(whole):
    for step in (0, 6):
        examples = json.loads((whole / f"examples-{step:06d}.json").read_text())
        rewards = [[example["rewards"][name] for name in ("correct", "short")] for example in examples]
        np.testing.assert_allclose(rewards, np.load(whole / f"evaluation-{step:06d}.npy")[: len(examples)])


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_interrupted_run_ends_like_a_whole_one(config, whole, tmp_path, stop_after):
    folder = tmp_path / "parts"
    interrupted = run(config, ARM, 0, folder, callbacks=[lambda report: report.step + 1 < stop_after])
    assert interrupted is None
    assert not (folder / FINISHED).exists()
    assert run(config, ARM, 0, folder) is not None
    assert without_times(folder) == without_times(whole)
    assert (folder / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()


@pytest.mark.parametrize("kept_steps", [0, 2, 4])
def test_what_a_killed_run_wrote_beyond_its_checkpoint_is_dropped(config, whole, tmp_path, kept_steps):
    """A killed process leaves an older checkpoint, newer rows, and a last line cut short."""
    folder, asked = tmp_path / "killed", []

    class Killed(Exception):
        pass

    def kill(report):
        asked.append(report.step)
        if report.step == kept_steps + 1:
            raise Killed

    with pytest.raises(Killed):
        run(config, ARM, 0, folder, callbacks=[kill])
    with (folder / METRICS).open("a") as file:
        file.write('{"kind": "step", "step": 99, "rew')
    assert (folder / CHECKPOINT).exists() == (kept_steps > 0)
    assert run(config, ARM, 0, folder) is not None
    assert without_times(folder) == without_times(whole)


def test_seeds_differ(config, whole, tmp_path):
    run(config, ARM, 1, tmp_path / "other")
    assert without_times(tmp_path / "other") != without_times(whole)


def test_without_evaluations_in_between(config, tmp_path, workspace):
    sparse = small(workspace, eval_every=0, out=tmp_path, steps=3)
    run(sparse, ARM, 0, tmp_path / "sparse")
    rows = read_rows(tmp_path / "sparse" / METRICS)
    assert [row["step"] for row in rows if row["kind"] == "evaluation"] == [0, 3]


def test_lock(tmp_path):
    refused = pytest.raises(UserError, match="another llm-morl is at work")
    with locked(tmp_path / "new"), refused, locked(tmp_path / "new"):
        pass
    with locked(tmp_path / "new"):
        pass


def test_policies_take_turns(config, workspace, tmp_path):
    """With two initial models seed 1 starts from the second; seed 2 from the first again."""
    save_policy(tmp_path / "other", seed=5)
    both = replace(config, policies=(config.policies[0], str(tmp_path / "other")))
    envs = make_envs(both, num_envs=4, group_size=4)
    made = (starting_policy(both.policy_of(s), envs, seed=s, device="cpu", dtype="float32") for s in range(3))
    first, second, third = map(parameters_of, made)
    assert any((first[name] != second[name]).any() for name in first)
    assert all((first[name] == third[name]).all() for name in first)
