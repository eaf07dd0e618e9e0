"""The runs behind docs/classic.md: which command trains what, on which view, in how much CPU time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
RUNS, TABLES = ROOT / "runs" / "classic-page", ROOT / "docs" / "results"
#: What a share of the way from chance to the oracle means, see `build_classic.baselines`.
Oracle = Literal["front", "gold", "candidates"]
#: Far more steps than any training reaches: the CPU time ends it.
ENDLESS = 10_000_000


@dataclass(frozen=True)
class Entry:
    """One method on one section's task.

    Args:
        method: Name in the table, and of the folder of its runs.
        command: Of ``llm-morl``, with its arguments, but for the environment, the seed and where results go.
        cpu_seconds: Of the training.
        seeds: Runs, with the seeds 0, 1, ...
        view: Arguments of the environment that belong to the view, the view itself included; none for language models.
        note: Said in the table.
    """

    method: str
    command: tuple[str, ...]
    cpu_seconds: float
    seeds: int = 3
    view: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A task and the methods that are compared on it.

    Args:
        name: Of its folder and its table.
        title: Its heading.
        env_id: Of the environment.
        env_kwargs: Arguments of the task.
        oracle: The upper end of the gap.
        entries: The methods.
        chance: Arguments of the view in which the random policy acts.
        problems: Of the evaluation.
    """

    name: str
    title: str
    env_id: str
    oracle: Oracle
    entries: tuple[Entry, ...]
    env_kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    chance: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    problems: int = 256


def classic(
    algo: str, seconds: float, *, seeds: int = 3, method: str = "", preset: str = "", note: str = "", **view: Any
) -> Entry:
    """A classic algorithm: ``llm-morl classic``. ``view`` names the view and its arguments; algo_NAME are settings."""
    settings = {name[5:]: view.pop(name) for name in list(view) if name.startswith("algo_")}
    command = ["classic", "--algo", algo, "--steps", str(ENDLESS), "--max-cpu-seconds", f"{seconds:g}"]
    if preset:
        command += ["--preset", preset]
    if settings:
        command += ["--algo-kwargs", *(f"{name}={value}" for name, value in settings.items())]
    return Entry(method or algo, tuple(command), seconds, seeds, MappingProxyType(view), note)


def family(kind: str, seconds: float, *options: str, seeds: int = 3, method: str = "", note: str = "") -> Entry:
    """A family of language models: ``llm-morl family``."""
    command = ("family", kind, "--steps", "100000", "--max-cpu-seconds", f"{seconds:g}", *options)
    return Entry(method or kind, command, seconds, seeds, note=note)


#: The small vocabularies: a step writes a letter.
LETTERS = {"view": "token", "obs_mode": "onehot"}
CHOICE = {"view": "choice", "k": 8, "n_problems": 512}
INDEX = {"view": "index", "language_model": "tiny", "ranking": "model"}

SECTIONS: tuple[Section, ...] = ()
