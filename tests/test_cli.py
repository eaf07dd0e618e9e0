"""The command line: help, mistakes, and every command once."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from experiment_task import small
from tiny_task import save_policy

from llm_morl_agents.cli import COMMANDS, main
from llm_morl_agents.experiments.compare import Failure, Interrupted, jobs_of
from llm_morl_agents.experiments.config import TrainConfig, write_toml
from llm_morl_agents.experiments.runner import METRICS, read_rows


@pytest.fixture
def train(workspace, monkeypatch, tmp_path):
    """Arguments of a small training in a workspace."""
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("COLUMNS", "200")
    options = {name: value for name, value in vars(small(workspace, out=tmp_path)).items() if value is not None}
    for name in ("arms", "seeds", "thresholds", "controls", "grid_size", "preferences"):
        del options[name]
    write_toml(TrainConfig(**options), tmp_path / "train.toml")
    return ["train", "--config", str(tmp_path / "train.toml")]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(arguments, capsys):
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +\S", output, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "pretrain"])
def test_help_of_a_command_teaches_and_loads_no_torch(command):
    check = (
        "import sys; from llm_morl_agents.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "finally: assert not {'torch', 'transformers', 'matplotlib'} & set(sys.modules), 'loaded'"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"  llm-morl {command}" in done.stdout
    assert re.search("Examples?:", done.stdout)


def test_every_option_is_explained(capsys):
    for command in ("compare", "train", "evaluate", "envs"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        output = capsys.readouterr().out
        for block in re.split(r"\n│ (?=-)", output)[1:]:
            words = re.sub(r"[│╰─╯]", " ", block).split()
            explained = [word for word in words if re.fullmatch("[a-z][a-z']+[,.:;]?", word)]
            assert len(explained) >= 2, block


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compere"], "unknown command 'compere'; known are compare, train"),
        (["compare", "--arms", "gdpo:sow"], "arm 'gdpo:sow': .*unknown name 'sow'; known are"),
        (["compare", "--config", "nowhere.toml"], "nowhere.toml: No such file"),
        (["compare", "--steps", "0"], "steps must be at least 1, got 0"),
        (["compare", "--thresholds", "shape=1", "--policy", "."], "config.json"),
        (["train", "--policy", "./nowhere"], "no such directory"),
        (["train", "--data", "nowhere.jsonl", "--policy", "POLICY"], "nowhere.jsonl"),
        (["train", "--temperature", "0", "--policy", "POLICY"], "temperature"),
        (["evaluate", "--policy", "./nowhere"], "nowhere"),
        (["evaluate", "--checkpoint", "nowhere.safetensors"], "no checkpoint at nowhere"),
        (["evaluate", "--problems", "0"], "problems must be at least 1, got 0"),
        (["evaluate", "--policy", "POLICY", "--split", "dev"], "split must be one of"),
        (["envs", "Nowhere-v0"], "Nowhere"),
        (["envs", "CartPole-v1"], "CartPole|view"),
        (["envs", "DentFront-MO-v0", "--sample", "-1"], "sample must not be negative, got -1"),
        (["report", "nowhere"], "has no config.toml"),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments, message, capsys, policy_directory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status = main([str(policy_directory) if argument == "POLICY" else argument for argument in arguments])
    error = capsys.readouterr().err
    assert status == 2
    assert re.search(message, error)
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["compare", "--stepz", "3"], ["train", "--steps", "many"], ["report"]])
def test_unknown_options_and_malformed_values_have_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_envs(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["envs"]) == 0
    output = capsys.readouterr().out
    assert all(word in output for word in ("ToolCall-MO-v0", "mo-toolcall-v0", "correctness -3..3", "token"))


def test_envs_shows_answers_of_different_quality(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["envs", "ToolCall-MO-v0", "--difficulty", "easy", "--seed", "1", "--sample", "2"]) == 0
    output = capsys.readouterr().out
    assert output.count("problem ") == 2
    assert output.count("<answer>") == 2
    good, mediocre, bad = (re.findall(rf"│ {quality} .*", output) for quality in ("good", "mediocre", "bad"))
    assert all(re.search(r"1\.00 │ +3\.00 │ +1\.00 │$", line) for line in good)
    assert len(good) == len(mediocre) == len(bad) == 2
    assert "-3.00" in bad[0]


def test_envs_shows_the_objectives_that_apply(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["envs", "Mixture-MO-v0", "--sample", "3"]) == 0
    tables = [part[part.index("┏") :] for part in capsys.readouterr().out.split("problem ")[1:]]
    assert [("accuracy" in table, "correctness" in table) for table in tables].count((True, False)) in (1, 2)
    assert all(("accuracy" in table) != ("correctness" in table) for table in tables)
    assert all("mediocre" in table and "…" not in table for table in tables)


def test_envs_sample_of_none_and_of_too_many(capsys):
    assert main(["envs", "DentFront-MO-v0", "--sample", "0"]) == 0
    assert "problem 0" not in capsys.readouterr().out
    assert main(["envs", "DentFront-MO-v0", "--sample", "9"]) == 0
    assert capsys.readouterr().out.count("problem 0 of train") == 1


def test_train_evaluates_before_and_after_and_logs_reward_vectors(train, capsys, tmp_path):
    assert main([*train, "--name", "t", "--export", str(tmp_path / "exported")]) == 0
    output = capsys.readouterr().out
    assert re.search(r"step 6/6  correct \d\.\d{3}  short \d\.\d{3}", output)
    assert re.search(r"evaluation after 0 steps: correct \d\.\d{3}", output)
    rows = read_rows(tmp_path / "t" / METRICS)
    assert {"reward_mean/correct", "reward_mean/short"} <= rows[1].keys()
    assert {path.name for path in (tmp_path / "t").iterdir()} >= {
        "config.toml",
        "checkpoint.safetensors",
        "report.html",
    }
    assert (tmp_path / "exported" / "config.json").is_file()


def test_train_resumes_to_the_same_result(train, tmp_path, monkeypatch, capsys):
    whole = [*train, "--arm", "gdpo:saw", "--seed", "3"]
    assert main([*whole, "--name", "whole"]) == 0
    parts = [*whole, "--name", "parts"]
    from llm_morl_agents import GroupedPG

    step = GroupedPG.step

    def interrupted(self):
        report = step(self)
        if self.step_count == 3:
            import signal

            signal.raise_signal(signal.SIGINT)
        return report

    with monkeypatch.context() as patched:
        patched.setattr(GroupedPG, "step", interrupted)
        assert main(parts) == 130
    assert "continue with: llm-morl train --resume --config" in capsys.readouterr().out
    assert main(parts) == 2
    assert "--resume continues it, --overwrite begins anew" in capsys.readouterr().err
    assert main([*parts, "--resume", "--steps", "7"]) == 2
    assert "steps: 6 -> 7" in capsys.readouterr().err
    assert main([*parts, "--resume"]) == 0
    for name in ("evaluation-000006.npy", "checkpoint.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    capsys.readouterr()
    assert main([*parts, "--resume"]) == 0, "a finished run is reported again"
    assert "rise" in capsys.readouterr().out


def test_evaluate_a_policy_and_a_checkpoint(train, tmp_path, workspace, capsys):
    assert main([*train, "--name", "t"]) == 0
    task = ["--data", str(workspace / "prompts.jsonl"), "--rewards", "own_rewards:rewards", "--problems", "4"]
    task += ["--tokenizer", str(workspace / "policy"), "--max-response-tokens", "3"]
    capsys.readouterr()
    assert main(["evaluate", "--checkpoint", str(tmp_path / "t" / "checkpoint.safetensors"), *task]) == 0
    output = capsys.readouterr().out
    final = read_rows(tmp_path / "t" / METRICS)[-1]
    shown = re.search(r"correct +│ +0 to 1 +│ +(\S+) ± \S+ +│ +(\S+) ± ", output)
    assert [float(value) for value in shown.groups()] == pytest.approx(
        [final["greedy/correct"], final["sampled/correct"]], abs=5e-4
    )
    assert "over 4 problems" in output
    assert main(["evaluate", "--policy", str(workspace / "policy"), *task, "--split", "train"]) == 0
    assert "split train" in capsys.readouterr().out


def test_report(finished_experiment, tmp_path, capsys):
    folder = shutil.copytree(finished_experiment, tmp_path / "copy")
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()
    assert "gdpo:saw" in capsys.readouterr().out


@pytest.fixture
def faked(finished_experiment, monkeypatch, tmp_path):
    """`llm-morl compare` in a finished folder, with `compare` replaced by what the test gives."""
    folder = shutil.copytree(finished_experiment, tmp_path / "runs" / "done")

    def command(outcome):
        def compare(config, console):
            if isinstance(outcome, Exception):
                raise outcome
            return outcome(config)

        monkeypatch.setattr("llm_morl_agents.experiments.compare.compare", compare)
        return main(["compare", "--config", str(folder / "config.toml"), "--out", str(tmp_path / "runs")])

    command.folder = folder
    return command


def test_compare_reports(faked, capsys):
    assert faked(lambda config: []) == 0
    assert "Result" in capsys.readouterr().out
    assert (faked.folder / "report.html").is_file()


def test_compare_with_a_crash_reports_the_others(faked, capsys):
    def crash(config):
        job = jobs_of(config, config.folder)[3]
        (job.folder / "finished.json").unlink()
        return [Failure(job, "ValueError: no", job.folder / "error.txt")]

    assert faked(crash) == 1
    output = capsys.readouterr().out
    assert "Result" in output
    assert "failed: gdpo:saw seed 1: ValueError: no (see " in output
    assert "llm-morl compare --config" in output


def test_compare_interrupted_prints_no_table(faked, capsys):
    assert faked(Interrupted()) == 130
    output = capsys.readouterr().out
    assert "interrupted; continue with: llm-morl compare --config" in output
    assert "Result" not in output


def test_compare_where_all_crashed(faked, capsys):
    assert faked(lambda config: [Failure(j, "x", j.folder) for j in jobs_of(config, config.folder)]) == 1
    assert "Result" not in capsys.readouterr().out


def test_interrupt_outside_a_run(monkeypatch, capsys):
    monkeypatch.setattr(
        "llm_morl_agents.commands.envs.main", lambda arguments: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert main(["envs"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_bugs_keep_their_traceback(monkeypatch):
    monkeypatch.setattr("llm_morl_agents.commands.envs.main", lambda arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["envs"])


def test_real_data_with_a_random_model(tmp_path, monkeypatch):
    """BFCL's format, a policy with a tokenizer of its own: the run ends and logs reward vectors."""
    monkeypatch.chdir(tmp_path)
    row = {
        "question": [[{"role": "user", "content": "Add 1 and 2."}]],
        "function": [{"name": "add", "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}}}],
        "ground_truth": [{"add": {"a": [1]}}],
    }
    (tmp_path / "bfcl.jsonl").write_text("\n".join(json.dumps(row) for _ in range(6)))
    sizes = ["--prompts", "2", "--group-size", "2", "--steps", "2", "--eval-problems", "2", "--micro-batches", "2"]
    save_policy(tmp_path / "policy", max_positions=1024)
    given = ["--data", "bfcl.jsonl", "--policy", "policy", "--max-new-tokens", "4", "--name", "real"]
    status = main(["train", "--env", "ToolCall-MO-v0", *given, *sizes])
    assert status == 0
    rows = read_rows(tmp_path / "runs" / "real" / METRICS)
    assert {"reward_mean/format", "reward_mean/correctness", "reward_mean/brevity"} <= rows[1].keys()


def test_pretrain_is_wired(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("llm_morl_agents.pretrain.main.run", seen.append)
    assert main(["pretrain", "toolcall", "--out", str(tmp_path), "--budget", "0.1"]) == 0
    assert (seen[0].tasks, seen[0].out, seen[0].budget) == (("toolcall",), tmp_path, 0.1)
