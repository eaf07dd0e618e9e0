"""`FrontRecord`: an evaluated front as files, ``front.json`` for people and programs and ``returns.csv`` behind it.

The numbers in ``front.json`` are there to be read; what is read back is computed again from ``returns.csv``.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.fronts.evaluation import FrontEvaluation

Floats = NDArray[np.float64]
#: What made a front: a classic algorithm, a language model (agents and families), or what all are compared with.
Kind = Literal["classic", "language model", "baseline"]

FORMAT = 1
FRONT, RETURNS = "front.json", "returns.csv"
_LIBRARIES = ("llm-morl-env", "gymnasium", "numpy", "torch", "stable-baselines3", "sb3-contrib", "morl-baselines")
#: As the representations of functions and of plain objects have it.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


@dataclass(frozen=True, eq=False)
class FrontRecord:
    """One method's front, evaluated, with what it cost.

    Args:
        method: Name in tables; records of one method differ by seed.
        kind: See `Kind`.
        env_id: Of the environment.
        env_kwargs: Its arguments, JSON values, those of the view too.
        view: That the method learned on: ``"token"``, ``"index"``, ``"choice"``, ``"text"``.
        seed: Of the training.
        steps: Steps of the training, in the method's own unit; None where there was none.
        cpu_seconds: CPU time of the training of all its policies together, of a classic algorithm with the evaluations
            that its library does meanwhile, otherwise of training steps alone; None where it is not known.
        evaluation: See `FrontEvaluation`.
        settings: What two trainings have in common that differ in their seed alone: of the algorithm, the steps and the
            CPU time that it was given, ... Kept as JSON values, see `plain_settings`. Empty where nothing was trained,
            or where it is not known.
        versions: Of the libraries, by name.
    """

    method: str
    kind: Kind
    env_id: str
    env_kwargs: Mapping[str, Any]
    view: str
    seed: int
    steps: int | None
    cpu_seconds: float | None
    evaluation: FrontEvaluation
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: library_versions())

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"FrontRecord(kind=) must be one of {get_args(Kind)}, got {self.kind!r}")
        object.__setattr__(self, "settings", plain_settings(self.settings))

    def with_evaluation(self, evaluation: FrontEvaluation) -> FrontRecord:
        """The same record of another evaluation."""
        return replace(self, evaluation=evaluation)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that make fronts, those that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON values, so that equal ones are equal after they were written and read.

    Whole numbers are integers, sets are sorted; what JSON does not know becomes text, the same in every process:
    functions and classes their names, objects that print as no more than their address the name of their type.

    >>> plain_settings({"gamma": 1.0, "net_arch": (64, 64), "clip": float("inf"), "seed": None})
    {'gamma': 1, 'net_arch': [64, 64], 'clip': 'inf', 'seed': None}
    >>> plain_settings({"utility": json.dumps, "of": {"b", "a"}, "other": object()})
    {'utility': 'json.dumps', 'of': ['a', 'b'], 'other': 'builtins.object'}
    """
    return {str(name): _plain_value(value) for name, value in settings.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_settings(value)
    if isinstance(value, np.ndarray | np.generic):
        return _plain_value(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain_value(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain_value(part) for part in value), key=lambda part: json.dumps(part, sort_keys=True))
    if isinstance(value, float):
        if not np.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() else value
    return value if value is None or isinstance(value, bool | int | str) else _named(value)


def _named(value: Any) -> str:
    """What stands for a value that JSON does not know, without addresses in memory."""
    if isinstance(value, partial):
        given = [json.dumps(_plain_value(part)) for part in value.args]
        given += [f"{name}={json.dumps(part)}" for name, part in plain_settings(value.keywords).items()]
        return f"{_plain_value(value.func)}({', '.join(given)})"
    if callable(value) and hasattr(value, "__qualname__"):
        return _qualified(value)
    if str(value) == object.__repr__(value):
        return _qualified(type(value))
    return _ADDRESS.sub("", str(value))


def _qualified(named: Any) -> str:
    module = getattr(named, "__module__", None)
    return f"{module}.{named.__qualname__}" if module else str(named.__qualname__)


def write_record(record: FrontRecord, folder: str | Path) -> Path:
    """Write ``front.json`` and ``returns.csv`` into a folder, which is made; returns the path of the first.

    The JSON file is written last and in one move: where it is, the record is whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = record.evaluation
    with (folder / RETURNS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["policy", "seed", "episode", "problem", *evaluation.objectives])
        for p, s in np.ndindex(evaluation.returns.shape[:2]):
            for j, problem in enumerate(evaluation.problems.tolist()):
                row = ["" if np.isnan(value) else repr(float(value)) for value in evaluation.returns[p, s, j]]
                writer.writerow([p, evaluation.seeds[s], j, problem, *row])
    aside = folder / f"{FRONT}.part"
    aside.write_text(json.dumps(_as_plain(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(aside, folder / FRONT)
    return folder / FRONT


def read_record(folder: str | Path) -> FrontRecord:
    """The record that `write_record` wrote into a folder; one that says nothing of settings has none.

    Raises:
        UserError: If there is none, or a file is malformed.
    """
    folder = Path(folder)
    try:
        plain = json.loads((folder / FRONT).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder / FRONT}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{folder / FRONT} is not JSON: {error}") from error
    found = plain.get("format") if isinstance(plain, dict) else None
    if found != FORMAT:
        raise UserError(f"{folder / FRONT} has format {found!r}; this version reads {FORMAT}")
    try:
        return _from_plain(plain, folder / RETURNS)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{folder}: the record of a front does not fit together: {error!r}") from error


def find_records(folder: str | Path) -> list[Path]:
    """The folders at and below this one that hold a record, in the order of their names."""
    return sorted(path.parent for path in Path(folder).rglob(FRONT))


def _as_plain(record: FrontRecord) -> dict[str, Any]:
    evaluation = record.evaluation
    low, high = evaluation.intervals
    policies = [
        {
            "label": label,
            "weights": None if weights is None else weights.tolist(),
            "claimed": _numbers(evaluation.claimed[p]),
            "mean": _numbers(evaluation.means[p]),
            "low": _numbers(low[p]),
            "high": _numbers(high[p]),
            "nondominated": bool(evaluation.best[p]),
        }
        for p, (label, weights) in enumerate(zip(evaluation.labels, evaluation.weights, strict=True))
    ]
    return {
        "format": FORMAT,
        "method": record.method,
        "kind": record.kind,
        "env_id": record.env_id,
        "env_kwargs": dict(record.env_kwargs),
        "view": record.view,
        "seed": record.seed,
        "steps": record.steps,
        "cpu_seconds": record.cpu_seconds,
        "settings": dict(record.settings),
        "objectives": list(evaluation.objectives),
        "bounds": {"low": evaluation.low.tolist(), "high": evaluation.high.tolist()},
        "evaluation": {
            "split": evaluation.split,
            "seeds": list(evaluation.seeds),
            "problems": evaluation.problems.tolist(),
            "level": evaluation.level,
            "resamples": evaluation.resamples,
            "reference": evaluation.reference.tolist(),
            "weights": evaluation.conditions.tolist(),
            "pareto_front": None if evaluation.front is None else evaluation.front.tolist(),
        },
        "measures": {
            name: {"value": found.value, "low": found.low, "high": found.high}
            for name, found in evaluation.measures.items()
        },
        "claimed_hypervolume": evaluation.claimed_hypervolume,
        "policies": policies,
        "versions": dict(record.versions),
    }


def _numbers(values: Floats) -> list[float | None] | None:
    """As JSON knows them: None for NaN, and for the whole vector where nothing is known."""
    plain = [None if np.isnan(value) else float(value) for value in values]
    return None if all(value is None for value in plain) else plain


def _from_plain(plain: Mapping[str, Any], returns_file: Path) -> FrontRecord:
    about, policies, objectives = plain["evaluation"], plain["policies"], tuple(plain["objectives"])
    k = len(objectives)
    claimed = [[np.nan] * k if policy["claimed"] is None else policy["claimed"] for policy in policies]
    shape = (len(policies), len(about["seeds"]), len(about["problems"]), k)
    evaluation = FrontEvaluation(
        objectives=objectives,
        low=np.array(plain["bounds"]["low"], dtype=np.float64),
        high=np.array(plain["bounds"]["high"], dtype=np.float64),
        labels=tuple(policy["label"] for policy in policies),
        weights=tuple(None if p["weights"] is None else np.array(p["weights"], np.float64) for p in policies),
        claimed=np.array(claimed, dtype=np.float64),
        problems=np.array(about["problems"], dtype=np.int64),
        split=about["split"],
        seeds=tuple(about["seeds"]),
        returns=_read_returns(returns_file, shape),
        conditions=np.array(about["weights"], dtype=np.float64),
        reference=np.array(about["reference"], dtype=np.float64),
        front=None if about["pareto_front"] is None else np.array(about["pareto_front"], dtype=np.float64),
        level=about["level"],
        resamples=about["resamples"],
    )
    return FrontRecord(
        method=plain["method"],
        kind=plain["kind"],
        env_id=plain["env_id"],
        env_kwargs=plain["env_kwargs"],
        view=plain["view"],
        seed=plain["seed"],
        steps=plain["steps"],
        cpu_seconds=plain["cpu_seconds"],
        evaluation=evaluation,
        settings=plain.get("settings", {}),
        versions=plain["versions"],
    )


def _read_returns(file: Path, shape: tuple[int, ...]) -> Floats:
    with file.open(newline="", encoding="utf-8") as opened:
        _, *rows = csv.reader(opened)
    values = np.array([[float(cell) if cell else np.nan for cell in row[4:]] for row in rows], dtype=np.float64)
    return values.reshape(shape)
