"""``llm-morl family`` end to end, and sweeps of finished comparisons."""

import json

import numpy as np
import pytest

from llm_morl_agents.cli import main
from llm_morl_agents.experiments.compare import TASK, jobs_of, open_folder
from llm_morl_agents.experiments.config import CompareConfig, differing
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.runner import run
from llm_morl_agents.families.config import FamilyConfig, FamilyOptions
from llm_morl_agents.families.sweep import SweepFamily
from llm_morl_agents.families.table import load_family, settings_of
from llm_morl_agents.fronts.evaluation import WEIGHTS
from llm_morl_agents.fronts.record import read_record

ENV = "DentFront-MO-v0"
SMALL = ["--env", ENV, "--steps", "3", "--prompts", "4", "--group-size", "4", "--eval-problems", "32"]


def test_trained_evaluated_and_not_trained_again(tmp_path, capsys):
    command = ["family", "soup", *SMALL, "--evaluation-preferences", "3", "--out", str(tmp_path), "--name", "soup"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "soup a  step 1/3" in said
    assert "soup .5 .5" in said
    folder = tmp_path / "soup"
    record = read_record(folder)
    assert (record.method, record.env_id, record.steps) == ("soup (grpo:static)", ENV, 6)
    assert record.evaluation.labels == ("soup 0 1", "soup .5 .5", "soup 1 0")
    family = load_family(folder)
    again = family.policy([1, 1]).returns(record.evaluation.problems.tolist(), split="eval", seed=0)
    np.testing.assert_allclose(again.mean(axis=0), record.evaluation.means[1])
    written = (folder / "family.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert "step" not in capsys.readouterr().out
    assert (folder / "family.safetensors").stat().st_mtime_ns == written
    assert main([*command, "--seed", "1"]) == 2
    assert "seed: 0 -> 1" in capsys.readouterr().err


def test_other_evaluation_preferences_evaluate_again_and_do_not_train(tmp_path, capsys):
    command = ["family", "conditioned", *SMALL, "--out", str(tmp_path)]
    labels = []
    for number in ("2", "3"):
        assert main([*command, "--evaluation-preferences", number]) == 0
        (folder,) = tmp_path.iterdir()  # without a name, the options make the folder
        labels.append(read_record(folder).evaluation.labels)
        assert ("step 1/3" in capsys.readouterr().out) == (number == "2")
        assert load_family(folder).config.evaluation_preferences == int(number)
    assert [len(part) for part in labels] == [2, 3]
    found = settings_of(load_family(folder).config)
    assert "evaluation_preferences" not in found
    assert found["conditioning"] == "prompt"
    config = FamilyConfig(evaluation_preferences=5)
    assert differing(config, FamilyConfig()) == []
    assert config.folder == FamilyConfig().folder != FamilyConfig(parts=5).folder


def test_families_are_evaluated_at_the_preferences_that_fronts_are_valued_at():
    assert FamilyOptions().evaluation_preferences == WEIGHTS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arm", "gdpo(preference=(1, 2)):static"], "has a preference of its own"),
        (["--arm", "nobody"], "nobody"),
        (["--rewards", "own:rewards"], "a family is evaluated on a registered environment"),
        (["--env", "Nowhere-v0"], "Nowhere"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    assert main(["family", "conditioned", *SMALL, "--out", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_sweep_of_a_comparison(tmp_path):
    config = CompareConfig(
        env=ENV,
        arms=("gdpo:saw",),
        preferences=3,
        seeds=1,
        prompts=4,
        group_size=4,
        steps=2,
        eval_problems=4,
        eval_samples=1,
        out=tmp_path,
        name="swept",
    )
    folder = config.folder
    folder.mkdir()
    open_folder(config)
    (folder / TASK).write_text(json.dumps({"objectives": ["a", "b"], "pareto_front": None}))
    with pytest.raises(UserError, match="has not finished"):
        SweepFamily.of_comparison(folder)
    for job in jobs_of(config, folder):
        run(config, job.arm, job.seed, job.folder)
    family = SweepFamily.of_comparison(folder, choose="best")
    assert family.preferences.tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    assert family.steps == 6
    assert family.cpu_seconds > 0
    assert family.policy([1, 0]).returns([0] * 4, split="eval", seed=0).shape == (4, 2)
    with pytest.raises(UserError, match="method must be one of"):
        SweepFamily.of_comparison(folder, method="grpo:saw")
    with pytest.raises(UserError, match="seed 1 has not finished"):
        SweepFamily.of_comparison(folder, seed=1)
