"""Processes of a comparison: each takes runs one after another, since starting one costs seconds of imports.

``python -m llm_morl_agents.experiments.worker FOLDER`` reads a run as a line of JSON, ``{"arm": ..., "seed": ...}``,
takes it to its end, answers with a line that holds its exit status, and reads the next; it ends at the end of its
input. While a run lasts, all that the process prints goes to the run's own log. A run that crashes ends alone; one that
kills the process is the one that was under way. What a user's reward keeps in a global variable lasts from run to run.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_morl_agents.experiments.arms import Arm, parse_arm
from llm_morl_agents.experiments.config import CompareConfig, read_toml
from llm_morl_agents.experiments.controls import frozen_mean
from llm_morl_agents.experiments.runner import ERROR, locked, run, run_folder

if TYPE_CHECKING:
    from llm_morl_agents.report import StepReport

#: What a run prints, in its folder.
LOG = "log.txt"
#: Status of a run that was interrupted, saved, and can be resumed; and of a process that ended for that reason.
INTERRUPTED = 130
#: A process whose parent was killed ends within a step or an evaluation; its successor waits so long for it.
PATIENCE_SECONDS = 300.0
#: How long an idle process may take to end.
DISMISSAL_SECONDS = 10.0


class Worker:
    """The parent's side: one process, which has at most one run at a time.

    Args:
        experiment: Folder of the experiment.
        threads: Of torch in the process.
        log: Receives what the process prints before its first run, for example that an import failed.
    """

    def __init__(self, experiment: Path, *, threads: int, log: Path) -> None:
        count = str(threads)
        variables = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "TOKENIZERS_PARALLELISM": "false"}
        with log.open("ab") as file:
            # In a session of its own: Ctrl-C reaches it through this process alone, once.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "llm_morl_agents.experiments.worker", str(experiment)],
                env={**os.environ, **variables, "TQDM_DISABLE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._input = self._process.stdin
        self._answers: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(int(line))

    def begin(self, arm: Arm, seed: int) -> None:
        """Hand over a run; a process that has died meanwhile shows at the next `status`."""
        with contextlib.suppress(BrokenPipeError):
            self._input.write(json.dumps({"arm": arm.text, "seed": seed}).encode() + b"\n")
            self._input.flush()

    def status(self) -> int | None:
        """How the run ended: 0, 1 after a crash, `INTERRUPTED`, minus a signal's number; None while it lasts."""
        ended = self._process.poll()
        if ended is not None:
            self._listener.join()  # its answer may still be on the way
        try:
            return self._answers.get_nowait()
        except queue.Empty:
            return ended

    @property
    def alive(self) -> bool:
        """Whether it can take another run."""
        return self._process.poll() is None

    def interrupt(self) -> None:
        """Let a run finish its step and save; the process ends then."""
        self._process.send_signal(signal.SIGINT)

    def dismiss(self) -> None:
        """Let an idle process end by itself."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(DISMISSAL_SECONDS)
        self.kill()

    def wait(self) -> None:
        """Until the process has ended."""
        self._process.wait()

    def kill(self) -> None:
        """At once, if it has not ended; what runs resumes from its last checkpoint."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()


def attempt(experiment: Path, arm: Arm, seed: int) -> int:
    """Take a run of a comparison to its end; it saves and ends when interrupted or when this process's parent dies.

    Returns:
        0, 1 if it crashed (the traceback is in its folder), or `INTERRUPTED`.
    """
    folder, parent = run_folder(experiment, arm, seed), os.getppid()

    def parent_lives(report: StepReport) -> bool:
        return os.getppid() == parent

    def told(text: str) -> None:
        print(text, flush=True)

    try:
        with locked(folder, patience_seconds=PATIENCE_SECONDS):
            (folder / ERROR).unlink(missing_ok=True)
            config = read_toml(experiment / "config.toml", CompareConfig)
            frozen = None if arm.frozen_from is None else frozen_mean(experiment, arm, config.seeds)
            agent = run(
                config,
                arm,
                seed,
                folder,
                callbacks=[parent_lives],
                told=told,
                weighter=None if frozen is None else frozen.weighter,
                facts={} if frozen is None else {"frozen": frozen.as_facts()},
            )
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        (folder / ERROR).write_text(traceback.format_exc(), encoding="utf-8")
        traceback.print_exc()
        return 1
    return INTERRUPTED if agent is None else 0


def main(arguments: Sequence[str]) -> int:
    """The process's side: ``FOLDER``; see the module."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell starts processes that ignore it
    experiment = Path(arguments[0])
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        try:
            for line in sys.stdin:
                asked = json.loads(line)
                arm, seed = parse_arm(asked["arm"]), int(asked["seed"])
                _print_to(run_folder(experiment, arm, seed) / LOG)
                status = attempt(experiment, arm, seed)
                # The agent and its optimizer refer to each other. Before the answer, after which this process may be
                # interrupted: a KeyboardInterrupt inside a finalizer is swallowed.
                gc.collect()
                print(status, file=answers, flush=True)
                if status == INTERRUPTED:
                    return status
        except KeyboardInterrupt:
            return INTERRUPTED
    return 0


def _print_to(log: Path) -> None:
    """Append what this process and its libraries print to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
