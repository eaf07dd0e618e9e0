"""`History`: rows of a training, as JSON lines; `WandbRecorder`: what a library tells W&B, as such rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class History:
    """Rows in the order in which they came, in memory and, where a path is given, in a file, a line of JSON each.

    Args:
        path: Made, with its folders, or written over; None for memory alone.

    Attributes:
        rows: Dicts of plain Python values.

    >>> history = History()
    >>> history.add({"loss": np.float32(0.5), "front": np.eye(2)})
    >>> history.rows
    [{'loss': 0.5, 'front': [[1.0, 0.0], [0.0, 1.0]]}]
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._path = None if path is None else Path(path).resolve()
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text("", encoding="utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, made plain by `plain`."""
        made = {str(key): plain(value) for key, value in row.items()}
        self.rows.append(made)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(made, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """A value that JSON can hold: arrays and tensors as lists, numbers that are not finite as None, others as text.

    >>> plain([np.int64(3), float("nan"), {"a": np.ones(1)}, "b", None, True, print])
    [3, None, {'a': [1.0]}, 'b', None, True, '<built-in function print>']
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy's scalars and arrays, torch's tensors
        return plain(value.tolist())
    if isinstance(value, (int, float)):
        return value if np.isfinite(value) else None
    if isinstance(value, (Sequence, set)):
        return [plain(item) for item in value]
    return str(value)


class Table:
    """Stands for ``wandb.Table``: columns and rows, as a value of a history.

    Args:
        columns: Names.
        data: Rows.
    """

    def __init__(self, columns: Sequence[str] = (), data: Any = (), **_: Any) -> None:
        self.columns, self.data = list(columns), plain(data)

    def tolist(self) -> list[Any]:
        """The rows."""
        return list(self.data)


class WandbRun:
    """Stands for ``wandb.run``."""

    def __init__(self) -> None:
        self.id = "offline"
        self.summary: dict[str, Any] = {}


class WandbRecorder:
    """Stands for the functions of the module ``wandb`` that morl-baselines calls. Nothing leaves the process.

    Args:
        history: Gets a row ``{"kind": "algorithm", ...}`` of every ``log``.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._pending: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.run = WandbRun()

    def init(self, *_: Any, config: Mapping[str, Any] | None = None, **__: Any) -> WandbRun:
        """Begin a run."""
        self.config.update(config or {})
        return self.run

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool = True, **_: Any) -> None:
        """Note values; with ``commit=False`` they wait for the next call, as at W&B."""
        self._pending |= dict(data)
        if step is not None:
            self._pending.setdefault("global_step", step)
        if commit:
            self._history.add({"kind": "algorithm", **self._pending})
            self._pending = {}

    def define_metric(self, *_: Any, **__: Any) -> None:
        """Nothing to do."""

    def finish(self, *_: Any, **__: Any) -> None:
        """End a run: values that wait are noted."""
        if self._pending:
            self.log({})

    def functions(self) -> dict[str, Any]:
        """What to put into the module, by name."""
        names = ("init", "log", "define_metric", "finish", "config", "run")
        return {name: getattr(self, name) for name in names} | {"Table": Table, "Image": str}
