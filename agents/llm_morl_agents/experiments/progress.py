"""Live progress of parallel runs: a line for each running one, or plain lines where there is no terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

#: Seconds between plain lines.
PLAIN_EVERY_SECONDS = 20.0


class Display(Protocol):
    """Shows where the runs are; a context manager."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        """End."""

    def show(self, running: Mapping[str, Mapping[str, Any]], steps_done: int) -> None:
        """Show the last step's row of each running run, by name, and the number of steps of all runs taken so far."""

    def say(self, line: str) -> None:
        """Print a line above."""


def display(console: Console, steps: int, steps_in_all: int) -> Display:
    """A live display on a terminal, else plain lines."""
    return (Live if console.is_terminal else Plain)(console, steps, steps_in_all)


class Live:
    """Bars, one for all steps and one for each running run."""

    def __init__(self, console: Console, steps: int, steps_in_all: int) -> None:
        self._steps = steps
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._all = self._progress.add_task("all runs", total=steps_in_all, note="")
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, running: Mapping[str, Mapping[str, Any]], steps_done: int) -> None:
        """Move the bars; those of runs that are no longer running go."""
        for name in [name for name in self._bars if name not in running]:
            self._progress.remove_task(self._bars.pop(name))
        for name, row in running.items():
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(name, total=self._steps, note="")
            note = rewards_of(row) or "starting"
            self._progress.update(self._bars[name], completed=steps_of(row), note=note)
        self._progress.update(self._all, completed=steps_done)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False)


class Plain:
    """A line for each running run, every so many seconds."""

    def __init__(self, console: Console, steps: int, steps_in_all: int) -> None:
        self._console, self._steps, self._in_all = console, steps, steps_in_all
        self._began = self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, running: Mapping[str, Mapping[str, Any]], steps_done: int) -> None:
        """Print lines if it is time."""
        now = time.monotonic()
        if now - self._last < PLAIN_EVERY_SECONDS:
            return
        self._last = now
        self.say(f"[{now - self._began:5.0f} s] {steps_done}/{self._in_all} steps")
        for name, row in running.items():
            self.say(f"          {name}: {steps_of(row)}/{self._steps}  {rewards_of(row) or 'starting'}")

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def last_step_row(metrics: Path, tail_bytes: int = 16384) -> dict[str, Any]:
    """The last complete row of a training step in a growing metrics file; empty if there is none."""
    try:
        with metrics.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - tail_bytes))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return {}
    for line in reversed(lines[:-1]):
        try:
            row = json.loads(line)
        except ValueError:  # the first line of the tail may be a fragment
            continue
        if isinstance(row, dict) and row.get("kind") == "step":
            return row
    return {}


def steps_of(row: Mapping[str, Any]) -> int:
    """Steps taken by the time of a row."""
    return int(row["step"]) + 1 if row else 0


def rewards_of(row: Mapping[str, Any]) -> str:
    """The mean rewards of a row as a text."""
    prefix = "reward_mean/"
    return "  ".join(f"{k.removeprefix(prefix)} {v:.2f}" for k, v in row.items() if k.startswith(prefix))
