"""`compare`: arms times seeds in parallel processes, each resumable, then a report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from gymnasium.vector import VectorEnv
from rich.console import Console

from llm_morl_agents.experiments.arms import Arm, check_arms, parse_arms
from llm_morl_agents.experiments.config import CompareConfig, RunOptions, differing, read_toml, write_toml
from llm_morl_agents.experiments.controls import all_arms, needs_objectives
from llm_morl_agents.experiments.errors import UserError, user_errors
from llm_morl_agents.experiments.policies import AUTO, SCRATCH
from llm_morl_agents.experiments.progress import display, last_step_row, steps_of
from llm_morl_agents.experiments.runner import (
    ERROR,
    FINISHED,
    LOCK,
    METRICS,
    locked,
    run_folder,
    run_settings,
)
from llm_morl_agents.experiments.worker import INTERRUPTED, LOG, Worker

#: What is known of the task, in the experiment's folder.
TASK = "task.json"
#: Seconds between looks at the processes.
POLL_SECONDS = 0.2


@dataclass(frozen=True, eq=False)
class Job:
    """One run: an arm, a seed, and its folder."""

    arm: Arm
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.arm.text} seed {self.seed}"

    @property
    def finished(self) -> bool:
        """Whether its run has come to its end."""
        return (self.folder / FINISHED).is_file()


@dataclass(frozen=True)
class Failure:
    """A run that crashed."""

    job: Job
    reason: str
    details: Path


class Interrupted(Exception):
    """The user ended the comparison; all runs are saved."""


def jobs_of(config: CompareConfig, folder: Path) -> list[Job]:
    """All runs in an experiment's folder, the first seed of every arm first: an early end leaves comparable arms."""
    arms = all_arms(config, len(read_task(folder)["objectives"]) if needs_objectives(config) else None)
    return [Job(arm, seed, run_folder(folder, arm, seed)) for seed in range(config.seeds) for arm in arms]


def compare(config: CompareConfig, console: Console) -> list[Failure]:
    """Run what is not finished yet.

    Args:
        config: The experiment; its folder is made, or continued where it holds the same one.
        console: For progress.

    Returns:
        The runs that crashed; the others are finished.

    Raises:
        UserError: If an option is wrong, or the folder holds another experiment.
        Interrupted: On Ctrl-C or SIGTERM, after the runs have saved.
    """
    facts = check(config)
    with locked(config.folder):
        open_folder(config)
        (config.folder / TASK).write_text(json.dumps(facts), encoding="utf-8")
        return _run_all(config, jobs_of(config, config.folder), console)


def read_task(folder: Path) -> dict[str, Any]:
    """What `check` found of the task, from an experiment's folder."""
    return dict(json.loads((folder / TASK).read_text(encoding="utf-8")))


def check(config: CompareConfig) -> dict[str, Any]:
    """Find the user's mistakes before any process starts.

    Returns:
        What is known of the task, JSON-able: ``objectives``, names; ``pareto_front``, vectors or None.

    Raises:
        UserError: With the first of them.
    """
    with user_errors():
        parse_arms(config.arms)
    facts = check_runs(config, lambda names: all_arms(config, len(names)))
    known = facts["objectives"]
    unknown = [name for name in config.thresholds if name not in known]
    if unknown:
        raise UserError(f"thresholds: unknown objective {unknown[0]!r}; known are {known}")
    return facts


def check_runs(config: RunOptions, arms: Callable[[list[str]], Sequence[Arm]]) -> dict[str, Any]:
    """Make the environment and the agents once, without loading the model.

    Args:
        config: The experiment.
        arms: Gives the arms, from the objectives.

    Returns:
        As `check`.

    Raises:
        UserError: With the first mistake.
    """
    from llm_morl_agents.experiments.tasks import make_envs
    from llm_morl_agents.policies.load import resolve_source

    with user_errors():
        for source in config.policies:
            if source not in (AUTO, SCRATCH):
                resolve_source(source)
        envs = make_envs(config, num_envs=config.prompts * config.group_size, group_size=config.group_size)
        names = list(envs.unwrapped.objective_names)  # type: ignore[attr-defined]  # not in Gymnasium
        made = arms(names)
    check_arms(made, envs, run_settings(config, envs), rescale=config.rescale)
    return {"objectives": names, "pareto_front": _known_front(envs)}


def _known_front(envs: VectorEnv[Any, Any, Any]) -> list[list[float]] | None:
    """The task's exact front over the evaluation split's problems, where it has one."""
    task = getattr(envs.unwrapped, "task", None)
    try:
        front = envs.unwrapped.pareto_front() if task is None else task.with_split("eval").pareto_front()  # type: ignore[attr-defined]  # not in Gymnasium
    except (AttributeError, NotImplementedError, ValueError):  # unknown, as its documentation says
        return None
    return [[float(value) for value in row] for row in front]


def open_folder(config: RunOptions) -> None:
    """Make the folder of an experiment, or continue the one that is there if its options are the same.

    Raises:
        UserError: If they differ, or the folder holds something else.
    """
    folder, record = config.folder, config.folder / "config.toml"
    if record.is_file():
        if config.overwrite:
            _empty(folder)
        else:
            _refuse_other(config, record)
    elif any(path.name != LOCK for path in folder.iterdir()):
        raise UserError(f"{folder} holds files but no config.toml of an experiment; choose another --name")
    write_toml(config, record, f"Again, or further after an interruption: {command_of(config)}")


def _refuse_other(config: RunOptions, record: Path) -> None:
    try:
        differences = differing(config, read_toml(record, type(config)))
    except UserError as error:  # of the other command, or of another version
        differences = [str(error)]
    if differences:
        raise UserError(
            f"{record.parent} holds an experiment with other options ({'; '.join(differences)}): "
            "choose another --name, or --overwrite it"
        )


def command_of(config: RunOptions) -> str:
    """The command that runs or continues an experiment."""
    return f"llm-morl {config.command} --config {config.folder / 'config.toml'}"


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity and, in a container, its quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such control group, or "max": no quota
        return count


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:  # ours, and held
            path.unlink()


def _run_all(config: CompareConfig, jobs: Sequence[Job], console: Console) -> list[Failure]:
    """Keep ``config.jobs`` processes busy until no run is left."""
    pending = [job for job in jobs if not job.finished]
    at_a_time = config.jobs or (usable_cpus() if config.device == "cpu" else 1)
    steps_in_all = len(jobs) * config.steps
    running: dict[Job, Worker] = {}
    idle: list[Worker] = []
    failures: list[Failure] = []
    done = len(jobs) - len(pending)
    with _sigterm_as_interrupt(), display(console, config.steps, steps_in_all) as shown:
        shown.say(f"{config.folder}: {len(jobs)} runs of {config.steps} steps, {done} finished, {at_a_time} at a time")
        try:
            while pending or running:
                while len(running) < at_a_time and (job := _next(pending, running)) is not None:
                    _start(job, config, running, idle)
                for job, worker in list(running.items()):
                    status = worker.status()
                    if status is not None:
                        del running[job]
                        _report_end(job, status, failures, shown.say)
                        if worker.alive and status != INTERRUPTED:
                            idle.append(worker)
                        else:
                            worker.kill()
                rows = {job: last_step_row(job.folder / METRICS) for job in jobs}
                shown.show({job.name: rows[job] for job in running}, sum(map(steps_of, rows.values())))
                if pending or running:
                    time.sleep(POLL_SECONDS)
            for worker in idle:
                worker.dismiss()
        except KeyboardInterrupt:
            shown.say("stopping: each run finishes its step and saves (Ctrl-C again kills them)")
            _stop([*running.values(), *idle])
            raise Interrupted from None
        finally:
            for worker in [*running.values(), *idle]:
                worker.kill()
    return failures


def _next(pending: list[Job], running: Collection[Job]) -> Job | None:
    """Take the first run that need not wait for another one."""
    awaited = {job.arm.text for job in [*pending, *running]}
    for job in pending:
        if job.arm.frozen_from not in awaited:
            pending.remove(job)
            return job
    return None


def _start(job: Job, config: CompareConfig, running: dict[Job, Worker], idle: list[Worker]) -> None:
    """Give a run to an idle process, or to a new one."""
    job.folder.mkdir(parents=True, exist_ok=True)
    running[job] = idle.pop() if idle else Worker(config.folder, threads=config.threads, log=job.folder / LOG)
    running[job].begin(job.arm, job.seed)


def _report_end(job: Job, code: int, failures: list[Failure], say: Callable[[str], None]) -> None:
    if code == 0 and job.finished:
        say(f"{job.name}: finished")
        return
    if code < 0:
        reason = f"killed by {signal.Signals(-code).name}"
    else:
        reason = "interrupted" if code == INTERRUPTED else f"ended with status {code}"
    error = job.folder / ERROR
    details = error if error.is_file() else job.folder / LOG
    if error.is_file():
        reason = error.read_text(encoding="utf-8").strip().splitlines()[-1]
    failures.append(Failure(job, reason, details))
    say(f"{job.name}: {reason} (see {details})")


def _stop(workers: Sequence[Worker]) -> None:
    """Let every process save and end; a further interrupt kills them, and they resume from their last checkpoint."""
    try:
        for worker in workers:
            worker.interrupt()
        for worker in workers:
            worker.wait()
    except KeyboardInterrupt:
        for worker in workers:
            worker.kill()


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat a polite request to end as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
