"""`Clock`: the steps and the CPU-seconds of a training that another library runs, and the end of both.

The libraries have loops of their own. What ends them early is an exception out of ``step``: `TrainingStopped`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.classic.recorder import History
from llm_morl_agents.interrupt import InterruptFlag

#: Why a training ended before its last step.
Stopped = Literal["time", "interrupt"]
#: CPU-seconds between two rows of the history, and two reports of progress.
REPORT_EVERY = 1.0
#: Episodes that a row's mean return goes over, at most.
RECENT = 100


class TrainingStopped(Exception):
    """Raised out of an environment's step, through the library's loop; `Clock.running` catches it."""


@dataclass(frozen=True)
class ClassicProgress:
    """How far a training is.

    Args:
        steps: Of the training environment.
        total_timesteps: How many there shall be.
        cpu_seconds: Of this process, since the training began.
        mean_return: Mean vector return of the last episodes, (K,), as the task pays; None before the first.
    """

    steps: int
    total_timesteps: int
    cpu_seconds: float
    mean_return: tuple[float, ...] | None


Progress = Callable[[ClassicProgress], None]


class Clock:
    """Counts, reports, and stops.

    Args:
        total_timesteps: For the reports; the library's own loop ends there.
        history: Gets a row about every CPU-second.
        max_cpu_seconds: None for no end.
        progress: Called with each row.

    Attributes:
        steps: So far.
        stopped: ``"time"`` or ``"interrupt"`` (Ctrl-C) where the training was ended early, else None.
        cpu_seconds: So far; after `running`, of the whole training.
    """

    def __init__(
        self,
        total_timesteps: int,
        history: History,
        *,
        max_cpu_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.steps = 0
        self.stopped: Stopped | None = None
        self._total, self._history, self._progress = total_timesteps, history, progress
        self._limit = float("inf") if max_cpu_seconds is None else max_cpu_seconds
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=RECENT)
        self._start = time.process_time()
        self._end: float | None = None
        self._part = 0.0  # CPU-seconds at the beginning of the part that runs
        self._next = 0.0
        self._flag: InterruptFlag | None = None
        self._stdout = sys.stdout  # before a library is silenced

    @property
    def max_cpu_seconds(self) -> float:
        """Where the training ends; infinite where nothing ends it."""
        return self._limit

    @property
    def cpu_seconds(self) -> float:
        """See above."""
        return (time.process_time() if self._end is None else self._end) - self._start

    @property
    def time_left(self) -> float:
        """The share of the time that is left, in [0, 1]; inside `until`, of that part. 1 where time ends nothing."""
        part = self._limit - self._part
        return 1.0 if part == float("inf") else max(0.0, min(1.0, (self._limit - self.cpu_seconds) / part))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Time the body, and end it quietly when the time is over or at Ctrl-C; a second Ctrl-C interrupts."""
        self._start, self._end, self._next = time.process_time(), None, REPORT_EVERY
        with InterruptFlag() as flag:
            self._flag = flag
            try:
                yield
            except TrainingStopped:
                pass
            finally:
                self._end, self._flag = time.process_time(), None
        self._report()

    @contextlib.contextmanager
    def until(self, cpu_seconds: float) -> Iterator[None]:
        """End the body alone when so much time is over, counted from the beginning of `running`."""
        whole, self._limit = self._limit, min(self._limit, cpu_seconds)
        before, self._part = self._part, min(self.cpu_seconds, self._limit)
        try:
            yield
        except TrainingStopped:
            if self.stopped == "interrupt" or self.cpu_seconds >= whole:
                raise
            self.stopped = None
        finally:
            self._limit, self._part = whole, before

    def tick(self, steps: int = 1) -> None:
        """Count steps of the training environment, none for those of an evaluation.

        Raises:
            TrainingStopped: If the time is over, or Ctrl-C was pressed.
        """
        self.steps += steps
        spent = self.cpu_seconds
        if self._flag is not None and self._flag.raised:
            self.stopped = "interrupt"
        elif spent >= self._limit:
            self.stopped = "time"
        if self.stopped is not None:
            raise TrainingStopped(self.stopped)
        if spent >= self._next:
            self._next = spent + REPORT_EVERY
            self._report()

    def episode(self, returned: NDArray[np.float64]) -> None:
        """Note the vector return (K,) of a training episode, as the task pays."""
        self._recent.append(returned)

    def _report(self) -> None:
        mean = tuple(np.mean(self._recent, axis=0).tolist()) if self._recent else None
        row = ClassicProgress(self.steps, self._total, self.cpu_seconds, mean)
        self._history.add(
            {
                "kind": "progress",
                "steps": row.steps,
                "cpu_seconds": row.cpu_seconds,
                "mean_return": None if mean is None else list(mean),
            }
        )
        if self._progress is not None:
            with contextlib.redirect_stdout(self._stdout):  # the library's own words are silenced meanwhile
                self._progress(row)
