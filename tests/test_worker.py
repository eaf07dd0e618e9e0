"""Processes that take one run after another: logs, crashes, ends."""

import os
import time

import pytest
from experiment_task import run_experiment, small, without_times

from llm_morl_agents.experiments.arms import parse_arm
from llm_morl_agents.experiments.compare import jobs_of, open_folder
from llm_morl_agents.experiments.runner import ERROR, FINISHED, run_folder
from llm_morl_agents.experiments.worker import INTERRUPTED, LOG, Worker, attempt

SAW, STATIC, WRONG = (parse_arm(text) for text in ("gdpo:saw", "gdpo:static", "gdpo:static(weights=(1, 2, 3))"))


@pytest.fixture
def experiment(workspace, monkeypatch, tmp_path):
    """The folder of an experiment that has not begun."""
    monkeypatch.chdir(workspace)
    config = small(workspace, out=tmp_path, name="x")
    config.folder.mkdir()
    open_folder(config)
    return config.folder


@pytest.fixture
def worker(experiment):
    """A process on it."""
    made = Worker(experiment, threads=1, log=experiment / "first.txt")
    yield made
    made.kill()


def outcome(worker, seconds=120.0):
    deadline = time.monotonic() + seconds
    while (status := worker.status()) is None:
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)
    return status


def test_runs_one_after_another_with_a_log_each(experiment, worker, workspace, tmp_path):
    """A crash in between ends its own run alone, and later runs are as if they had a process of their own."""
    for arm, expected in ((STATIC, 0), (WRONG, 1), (SAW, 0)):
        worker.begin(arm, 0)
        assert outcome(worker) == expected
        assert worker.alive
    worker.dismiss()
    assert not worker.alive
    assert (experiment / "first.txt").read_text() == ""
    logs = [(run_folder(experiment, arm, 0) / LOG).read_text() for arm in (STATIC, WRONG, SAW)]
    assert [log.count("evaluation after 0 steps") for log in logs] == [1, 0, 1]
    assert "Traceback" in logs[1]
    reference = small(workspace, out=tmp_path, name="whole")
    run_experiment(reference)
    for arm, job in zip((STATIC, SAW), jobs_of(reference, reference.folder), strict=True):
        assert without_times(run_folder(experiment, arm, 0)) == without_times(job.folder)


def test_a_killed_process_says_so(worker):
    worker.begin(SAW, 0)
    worker._process.kill()
    assert outcome(worker) == -9
    worker.begin(SAW, 1)
    assert outcome(worker) == -9, "a run that is handed to a dead process has ended with it"


def test_interrupt_ends_an_idle_process(experiment, worker):
    worker.begin(STATIC, 0)
    assert outcome(worker) == 0
    worker.interrupt()
    worker.wait()
    assert worker.status() == INTERRUPTED


def test_process_ends_with_its_input(worker):
    worker.dismiss()
    assert worker.status() == 0


def test_what_fails_before_the_first_run_is_in_the_first_log(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "gymnasium.py").write_text("raise ImportError('a broken installation')")
    worker = Worker(tmp_path, threads=1, log=tmp_path / "first.txt")
    worker.begin(SAW, 0)
    assert outcome(worker) == 1
    assert "a broken installation" in (tmp_path / "first.txt").read_text()
    worker.kill()


def test_attempt_ends_when_the_parent_is_gone(experiment, monkeypatch):
    """The parent's number changes after the first step: the run saves and can be resumed."""
    numbers = iter([1, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(numbers, 2))
    assert attempt(experiment, SAW, 0) == INTERRUPTED
    assert not (run_folder(experiment, SAW, 0) / FINISHED).exists()


def test_attempt_reports_a_crash_in_a_file(experiment, capfd):
    assert attempt(experiment, WRONG, 0) == 1
    error = run_folder(experiment, WRONG, 0) / ERROR
    assert "Traceback" in error.read_text()
    assert "arm 'gdpo:static(weights=(1, 2, 3))'" in error.read_text()
    assert "arm 'gdpo:static(weights=(1, 2, 3))'" in capfd.readouterr().err
