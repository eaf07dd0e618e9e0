"""``llm-morl classic``: runs that are kept, skipped, refused and interrupted."""

import json
import signal
import sys
from dataclasses import replace

import pytest
from classic_extra import require

from llm_morl_agents.classic import ALGORITHMS, algorithms
from llm_morl_agents.cli import main
from llm_morl_agents.commands import classic
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.fronts.record import find_records, read_record

require("sb3_contrib")
pytestmark = pytest.mark.sb3

DENT = ["--env", "DentFront-MO-v0", "--view", "token", "--env-kwargs", "obs_mode=onehot", "--eval-problems", "32"]
SMALL = ["--algo-kwargs", "n_envs=2", "n_steps=16", "batch_size=32", "n_epochs=1"]


def arguments(out, *more, algos=("maskable_ppo",), steps=64):
    return ["classic", *DENT, "--algo", *algos, "--steps", str(steps), "--out", str(out), *SMALL, *more]


def test_runs_are_evaluated_kept_and_skipped(tmp_path, capsys, monkeypatch):
    assert main(arguments(tmp_path, "--seeds", "2")) == 0
    folders = [folder.name for folder in find_records(tmp_path)]
    assert folders == ["maskable_ppo-seed0", "maskable_ppo-seed1"]
    record = read_record(tmp_path / folders[1])
    assert (record.method, record.kind, record.view, record.seed) == ("maskable_ppo", "classic", "token", 1)
    assert record.steps >= 64
    assert record.settings == read_record(tmp_path / folders[0]).settings
    assert (
        record.settings.items() >= {"n_envs": 2, "n_steps": 16, "total_timesteps": 64, "max_cpu_seconds": None}.items()
    )
    assert record.settings.keys() > {"gamma", "learning_rate"}  # of the preset
    assert record.cpu_seconds > 0
    assert record.evaluation.returns.shape == (5, 1, 32, 2)
    rows = [json.loads(line) for line in (tmp_path / folders[0] / "history.jsonl").read_text().splitlines()]
    assert {"progress", "algorithm"} <= {row["kind"] for row in rows}
    shown = capsys.readouterr().out
    assert "hypervolume" in shown
    assert str(tmp_path) in shown.replace("\n", "")

    monkeypatch.setattr(classic, "train", None)  # nothing is trained again
    assert main(arguments(tmp_path, "--seeds", "2")) == 0
    assert "maskable_ppo-seed1: finished before, skipped" in capsys.readouterr().out


def test_finished_runs_of_other_options_are_not_taken_for_these(tmp_path, capsys):
    assert main(arguments(tmp_path)) == 0
    first = read_record(tmp_path / "maskable_ppo-seed0").steps
    assert main(arguments(tmp_path, steps=400)) == 2
    assert "was made with steps=64, not 400: give another --out, or --overwrite" in capsys.readouterr().err
    assert main(arguments(tmp_path, "--overwrite", steps=400)) == 0
    assert read_record(tmp_path / "maskable_ppo-seed0").steps > first


def test_an_unsupported_algorithm_is_one_line_and_the_others_run(tmp_path, capsys):
    assert main(arguments(tmp_path, "--env", "ContextFront-MO-v0", algos=("pql", "maskable_ppo"))) == 1
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith("pql:")] == [
        line for line in shown.splitlines() if "every episode must begin in the same state" in line
    ]
    assert [folder.name for folder in find_records(tmp_path)] == ["maskable_ppo-seed0"]


def test_a_wrong_setting_is_one_line(tmp_path, capsys):
    assert main([*arguments(tmp_path), "n_step=3"]) == 1
    shown = capsys.readouterr().out
    assert "maskable_ppo-seed0: ValueError: algo_kwargs of 'maskable_ppo': unknown ['n_step']" in shown
    assert find_records(tmp_path) == []


def fail(job):
    raise AttributeError("a library's\nown mistake")


def test_whatever_a_library_raises_is_one_line_and_the_others_run(tmp_path, capsys, monkeypatch):
    broken = replace(ALGORITHMS["sb3_ppo"], name="broken", trainer=f"{__name__}:fail")
    monkeypatch.setattr(algorithms, "ALGORITHMS", {**ALGORITHMS, "broken": broken})
    monkeypatch.setattr("llm_morl_agents.classic.ALGORITHMS", algorithms.ALGORITHMS)
    assert main(arguments(tmp_path, algos=("broken", "maskable_ppo"))) == 1
    place = tmp_path / "broken-seed0" / "error.txt"
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("broken-seed0:")]
    assert lines == [f"broken-seed0: AttributeError: a library's own mistake (traceback: {place})"]
    assert "in fail\n" in place.read_text()
    assert [folder.name for folder in find_records(tmp_path)] == ["maskable_ppo-seed0"]

    monkeypatch.setattr(sys.modules[__name__], "fail", lambda job: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        classic.main(arguments(tmp_path / "again", algos=("broken", "maskable_ppo"))[1:])
    assert find_records(tmp_path / "again") == []


def test_an_evaluation_that_fails_is_one_line_and_the_others_run(tmp_path, capsys, monkeypatch):
    original = classic.evaluated
    monkeypatch.setattr(
        classic, "evaluated", lambda run, result: original(run, result) if run.seed else {}["no such policy"]
    )
    assert main(arguments(tmp_path, "--seeds", "2")) == 1
    assert "maskable_ppo-seed0: KeyError: 'no such policy' (traceback: " in capsys.readouterr().out
    assert "KeyError" in (tmp_path / "maskable_ppo-seed0" / "error.txt").read_text()
    assert [folder.name for folder in find_records(tmp_path)] == ["maskable_ppo-seed1"]


def test_a_preset_is_for_those_that_have_it(tmp_path, capsys):
    more = ("--preset", "token")
    assert main(arguments(tmp_path, *more, algos=("sb3_ppo", "maskable_ppo"))) == 0
    assert "sb3_ppo: has no preset 'token', takes its default" in capsys.readouterr().out
    rates = {name: read_record(tmp_path / f"{name}-seed0").settings for name in ("sb3_ppo", "maskable_ppo")}
    assert (
        rates["maskable_ppo"]["final_learning_rate"]
        == ALGORITHMS["maskable_ppo"].presets["token"]["final_learning_rate"]
    )
    assert "final_learning_rate" not in rates["sb3_ppo"]
    assert main(arguments(tmp_path, algos=("sb3_ppo",))) == 0  # as before: its default
    assert "sb3_ppo-seed0: finished before, skipped" in capsys.readouterr().out
    with pytest.raises(UserError, match="preset must be one of default for sb3_ppo, default for sb3_a2c, got 'token'"):
        classic.main(arguments(tmp_path, *more, algos=("sb3_ppo", "sb3_a2c"))[1:])


@pytest.mark.parametrize("algo", ["sb3_dqn", "sb3_ppo"])
def test_a_time_that_ends_the_exploration_is_told(algo, tmp_path, capsys):
    own = ["--algo-kwargs", "learning_starts=20"] if algo == "sb3_dqn" else SMALL
    call = [
        "classic",
        *DENT,
        "--algo",
        algo,
        "--steps",
        "100000",
        "--max-cpu-seconds",
        "0.6",
        "--out",
        str(tmp_path),
        *own,
    ]
    assert main(call) == 0
    steps = read_record(tmp_path / f"{algo}-seed0").steps
    told = (
        f"{algo}-seed0: stopped by time after {steps:,} of 100,000 steps: exploration goes over 40,000; "
        "give --steps nearer to what the time allows"
    )
    assert (told in capsys.readouterr().out) == (algo == "sb3_dqn")


def test_an_interruption_keeps_finished_runs(tmp_path, capsys, monkeypatch):
    trained, original = [], classic.train

    def train(run, console):
        trained.append(run.name)
        if run.seed == 1:  # interrupted from within its environment
            from llm_morl_agents.classic.environments import Watched

            step = Watched.step
            monkeypatch.setattr(Watched, "step", lambda self, a: (signal.raise_signal(signal.SIGINT), step(self, a))[1])
        return original(run, console)

    monkeypatch.setattr(classic, "train", train)
    assert main(arguments(tmp_path, "--seeds", "3", steps=200)) == 130
    assert trained == ["maskable_ppo-seed0", "maskable_ppo-seed1"]
    assert "interrupted in maskable_ppo-seed1" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["maskable_ppo-seed0"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--max-cpu-seconds", "0"], "max_cpu_seconds must be above 0, got 0.0"),
        (["--algo", "pnc"], r"algo: unknown \['pnc'\]; known are pcn"),
        (["--algo", "pcn", "pcn"], "algo: each algorithm once, got pcn pcn"),
        (["--view", "picture"], "view must be one of"),
        (["--env", "NoSuch-MO-v0"], "NoSuch-MO"),
    ],
)
def test_mistakes_are_told(wrong, message, tmp_path):
    with pytest.raises(UserError, match=message):
        classic.main([*wrong, "--out", str(tmp_path)])


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["classic", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for word in ("--max-cpu-seconds", "index", "llm-morl front", *ALGORITHMS):
        assert word in shown
    for line in ("--preset dent: envelope gpi_ls", "--preset token: maskable_ppo maskable_ppo_conditioned"):
        assert line in shown


EXAMPLES = classic._DESCRIPTION.partition("Examples:")[2].replace("\\\n", " ").strip().splitlines()


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_help_are_calls(example, monkeypatch, tmp_path):
    """As far as the training: options, presets, and that no algorithm refuses the view."""
    seen = []
    monkeypatch.setattr(classic, "train", lambda run, console: seen.append(run) or (_ for _ in ()).throw(ValueError))
    program, command, *options = example.split()
    assert (program, command) == ("llm-morl", "classic")
    assert classic.main([*options, "--out", str(tmp_path)]) == 1
    assert {run.algo for run in seen} == set(seen[0].options.algo)
    assert seen[0].options.preset in {None, *(run.preset for run in seen)}
