"""The comparison: processes, kills, resumes, refusals."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from experiment_task import run_experiment, small, without_times
from rich.console import Console

from llm_morl_agents.experiments.compare import (
    check,
    command_of,
    compare,
    jobs_of,
    open_folder,
    usable_cpus,
)
from llm_morl_agents.experiments.config import CompareConfig, TrainConfig, read_toml, write_toml
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.runner import FINISHED
from llm_morl_agents.experiments.worker import LOG, Worker


@pytest.fixture
def config(workspace, monkeypatch, tmp_path):
    monkeypatch.chdir(workspace)
    return small(workspace, arms=("gdpo:saw",), out=tmp_path, name="x")


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def wait_for(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def test_killed_run_is_reported_and_resumes_to_the_same_result(config, console, workspace, monkeypatch, tmp_path):
    """One of two runs is killed in its seventh batch of rewards; the other ends; the same call ends the first too."""
    monkeypatch.setenv("TRAP", "child")
    (workspace / "trap-child").write_text("kill 7")
    both = small(workspace, seeds=2, arms=("gdpo:saw",), out=tmp_path, name="x", jobs=1)
    (failure,) = compare(both, console)
    assert (failure.job.seed, failure.reason) == (0, "killed by SIGKILL")
    assert [job.finished for job in jobs_of(both, both.folder)] == [False, True]
    finished_at = (jobs_of(both, both.folder)[1].folder / FINISHED).stat().st_mtime_ns
    assert compare(both, console) == []
    assert (jobs_of(both, both.folder)[1].folder / FINISHED).stat().st_mtime_ns == finished_at, "not run again"
    assert "resumed at step 2" in (failure.job.folder / "log.txt").read_text()
    reference = run_experiment(small(workspace, seeds=2, arms=("gdpo:saw",), out=tmp_path, name="whole"))
    for killed, whole in zip(jobs_of(both, both.folder), jobs_of(both, reference), strict=True):
        assert without_times(killed.folder) == without_times(whole.folder)


def test_runs_share_a_process_as_far_as_they_may_run_at_a_time(config, console, monkeypatch):
    started = []
    monkeypatch.setattr(
        "llm_morl_agents.experiments.compare.Worker",
        lambda *given, **options: started.append(Worker(*given, **options)) or started[-1],
    )
    three = replace(config, seeds=3, jobs=2, steps=2)
    assert compare(three, console) == []
    assert len(started) == 2
    assert not any(worker.alive for worker in started)
    logs = [(job.folder / LOG).read_text() for job in jobs_of(three, three.folder)]
    assert [log.count("evaluation after 0 steps") for log in logs] == [1, 1, 1]


def test_interrupted_and_killed_parent(config, console, workspace, monkeypatch, tmp_path):
    """SIGTERM saves and says how to go on; after SIGKILL of the parent its child ends; the result is the same."""
    monkeypatch.setenv("TRAP", "parent")
    trap, held = workspace / "trap-parent", workspace / "held"
    (job,) = jobs_of(config, config.folder)
    write_toml(config, tmp_path / "given.toml")
    command = [sys.executable, "-m", "llm_morl_agents.cli", "compare", "--config", str(tmp_path / "given.toml")]

    def start(batch):
        held.unlink(missing_ok=True)
        trap.write_text(f"hold {batch}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for(lambda: held.exists() or process.poll() is not None)
        assert held.exists(), process.communicate()[0]
        return process

    process = start(6)  # in the third step: batches 1-3 belong to the first evaluation
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)  # until the signal has reached the child, which is held in a step
    trap.unlink()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert f"continue with: {command_of(config)}" in output.replace("\n", " ")
    assert "Result" not in output
    assert not job.finished

    process = start(2)
    process.kill()
    process.communicate(timeout=60)
    trap.unlink()  # the child goes on, notices, saves and ends; its lock holds the next one off until then
    assert compare(config, console) == []
    reference = run_experiment(small(workspace, arms=("gdpo:saw",), out=tmp_path, name="whole"))
    assert without_times(job.folder) == without_times(jobs_of(config, reference)[0].folder)


def test_crash_does_not_lose_the_others(config, console, monkeypatch):
    """The first arm's agent cannot be made on this data; the second arm's runs end."""
    monkeypatch.setattr(
        "llm_morl_agents.experiments.compare.check", lambda config: None
    )  # it would have found the mistake
    failures = compare(replace(config, arms=("gdpo:static(weights=(1, 2, 3))", "gdpo:saw")), console)
    assert [failure.job.arm.text for failure in failures] == ["gdpo:static(weights=(1, 2, 3))"]
    assert "Traceback" in failures[0].details.read_text()
    assert failures[0].reason.startswith("ValueError: arm 'gdpo:static(weights=(1, 2, 3))'")


def test_other_options_are_refused_by_name(config):
    config.folder.mkdir()
    open_folder(config)
    (config.folder / "left.txt").touch()
    open_folder(replace(config, jobs=7, thresholds={"short": 0.5}))  # these change nothing
    assert (config.folder / "left.txt").exists()
    with pytest.raises(UserError, match=r"other options \(steps: 6 -> 7; settings.epochs: default -> 2\)"):
        open_folder(replace(config, steps=7, settings={**config.settings, "epochs": 2}))
    with pytest.raises(UserError, match="another --name"):
        open_folder(TrainConfig(out=config.out, name="x"))
    open_folder(replace(config, steps=7, overwrite=True))
    assert not (config.folder / "left.txt").exists()
    assert read_toml(config.folder / "config.toml", CompareConfig).steps == 7


def test_a_folder_of_something_else_is_left_alone(config):
    config.folder.mkdir()
    (config.folder / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"no config\.toml"):
        open_folder(replace(config, overwrite=True))
    assert (config.folder / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("gdpo:sow",)}, "unknown name 'sow'"),
        ({"arms": ("gdpo(clip_high=1):dvao",)}, "allow_whiten"),
        ({"policies": ("./nowhere",)}, "nowhere"),
        ({"thresholds": {"shorter": 1.0}}, r"unknown objective 'shorter'; known are \['correct', 'short'\]"),
        ({"settings": {"temperature": 0.0}}, "temperature"),
        ({"data": "nowhere.jsonl"}, r"nowhere\.jsonl"),
    ],
)
def test_mistakes_are_found_before_anything_starts(workspace, monkeypatch, tmp_path, changes, message):
    monkeypatch.chdir(workspace)
    config = small(workspace, out=tmp_path / "none", **changes)
    with pytest.raises(UserError, match=message):
        compare(config, Console(file=io.StringIO()))
    assert not (tmp_path / "none").exists()


def test_check_accepts_what_is_right(config):
    check(config)


def test_jobs_interleave_arms(workspace):
    config = small(workspace, seeds=2)
    names = [job.name for job in jobs_of(config, config.folder)]
    assert names == ["gdpo:static seed 0", "gdpo:saw seed 0", "gdpo:static seed 1", "gdpo:saw seed 1"]


def test_usable_cpus():
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


def test_command_is_one_that_the_command_line_knows():
    assert re.fullmatch(r"llm-morl compare --config runs/x/config\.toml", command_of(CompareConfig(name="x")))
    assert command_of(TrainConfig(name="x")) == "llm-morl train --resume --config runs/x/config.toml"
