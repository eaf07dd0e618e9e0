"""Callbacks for ``learn``: progress, records, periodic evaluation. Each sees `StepReport`s and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from llm_morl_agents.evaluate import Evaluation
from llm_morl_agents.report import StepReport


class ProgressBar:
    """A live line: steps, time left, mean reward of each objective. Use as a context manager.

    Args:
        total_steps: Length of the bar.
        label: Shown before it.
    """

    def __init__(self, total_steps: int, label: str = "training") -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rewards]}"),
        )
        self._task = self._progress.add_task(label, total=total_steps, rewards="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, report: StepReport) -> None:
        """Advance by one step."""
        means = "  ".join(f"{n} {m:.2f}" for n, m in zip(report.objectives, report.reward_mean, strict=True))
        self._progress.update(self._task, advance=1, rewards=means)


class JsonLines:
    """Appends each report as one JSON line, flushed, so that a killed run keeps what it had."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, report: StepReport) -> None:
        """Append a line."""
        append_json_line(self.path, report.as_row())


def append_json_line(path: Path, row: dict[str, Any]) -> None:
    """Append a JSON-able mapping to a file as one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


class EvaluateEvery:
    """Calls ``evaluate()`` after every ``every`` steps and hands the result on.

    Args:
        evaluate: For example ``agent.evaluate``.
        every: Steps between evaluations.
        then: Receives (number of steps taken, evaluation).
    """

    def __init__(self, evaluate: Callable[[], Evaluation], every: int, then: Callable[[int, Evaluation], None]) -> None:
        if every < 1:
            raise ValueError(f"EvaluateEvery(every=) must be at least 1, got {every}")
        self._evaluate, self._every, self._then = evaluate, every, then

    def __call__(self, report: StepReport) -> None:
        """Evaluate if it is time."""
        if (report.step + 1) % self._every == 0:
            self._then(report.step + 1, self._evaluate())
