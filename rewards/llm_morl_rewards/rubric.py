"""Rubrics as data: criteria, and the TOML or JSON they are written in. `llm_morl_rewards.rubric_rewards` makes rewards.

After the Open Rubric System (arXiv 2602.14069), which compares pairs of responses criterion by criterion, aggregates
outside the judge, and adds pointwise verifiable criteria, some of them hard constraints. So do these modules. Left out:
rubrics that a model writes anew for each pair and the refinement of the meta-rubric, since an objective must mean the
same at every step.
"""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from math import inf
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llm_morl_rewards.base import Problem
from llm_morl_rewards.rubric_checks import CHECKS, Check, PatternTimeout, resolve_check, try_parameters

OnTimeout = Literal["error", "floor"]


class RubricError(ValueError):
    """A rubric is malformed. Names the criterion and the field."""


class CheckError(RuntimeError):
    """A check failed, met its time limit, or returned no score. Names the criterion; the cause is chained."""


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric: a check that scores a response, or a question on which responses are compared.

    Args:
        name: Of the criterion, and of its objective.
        kind: ``"check"`` or ``"question"``.
        check: Of `llm_morl_rewards.rubric_checks.CHECKS` by name, ``"module:function"``, or a callable
            ``(problem, response, **parameters) -> bool | float in [0, 1]``.
        parameters: Keyword arguments of the check.
        question: What the judge is asked of both responses, for example "Does it say why?".
        weight: In the weighted mean of its objective, above 0. In ``aggregate="criteria"`` there is no mean, and the
            agent's ``preference`` weighs objectives.
        polarity: 1 where the property is wanted, -1 where it is a fault.
        hard: Whether this is a constraint, passed or failed, that gates its objective instead of adding to it. Checks
            only: a comparison has no level that a response could pass.
        group: Of criteria that are one objective in ``aggregate="groups"``; None for an objective of its own.

    Raises:
        RubricError: If a field breaks one of these rules.

    >>> Criterion("brief", "check", check="max_words", parameters={"count": 40}).weight
    1.0
    """

    name: str
    kind: Literal["check", "question"]
    check: str | Check | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    question: str | None = None
    weight: float = 1.0
    polarity: Literal[1, -1] = 1
    hard: bool = False
    group: str | None = None

    def __post_init__(self) -> None:
        self._require("name", isinstance(self.name, str) and bool(self.name.strip()), "must be a text")
        self._require("kind", self.kind in ("check", "question"), "must be 'check' or 'question'")
        is_number = isinstance(self.weight, Real) and not isinstance(self.weight, bool)
        self._require("weight", is_number and 0 < self.weight < inf, "must be a finite number above 0")
        is_sign = self.polarity in (1, -1) and type(self.polarity) is int
        self._require("polarity", is_sign, "must be 1 or -1")
        self._require("hard", isinstance(self.hard, bool), "must be true or false")
        is_group = self.group is None or (isinstance(self.group, str) and bool(self.group.strip()))
        self._require("group", is_group, "must be a text")
        self._require("parameters", isinstance(self.parameters, Mapping), "must be a table")
        object.__setattr__(self, "parameters", copy.deepcopy(dict(self.parameters)))
        if self.kind == "question":
            asked = isinstance(self.question, str) and bool(self.question.strip())
            self._require("question", asked, "must be a text where kind is 'question'")
            self._require("check", self.check is None, "must be left out where kind is 'question'")
            self._require("parameters", not self.parameters, "must be left out where kind is 'question'")
            self._require("hard", not self.hard, "must be false where kind is 'question'")
            return
        self._require("question", self.question is None, "must be left out where kind is 'check'")
        named = isinstance(self.check, str) and (self.check in CHECKS or 0 < self.check.find(":") < len(self.check) - 1)
        self._require("check", named or callable(self.check), f"must be 'module:function' or one of {list(CHECKS)}")
        if self.check in CHECKS:
            self.try_check()

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise RubricError(f"criterion {self.name!r}: field {name!r} {rule}, got {getattr(self, name)!r}")

    def try_check(self) -> None:
        """Import the check, if it has an import path, and try its parameters.

        Raises:
            RubricError: If it cannot be imported, or does not take these parameters.
        """
        assert self.check is not None
        try:
            found = resolve_check(self.check)
        except ValueError as error:
            raise RubricError(f"criterion {self.name!r}: field 'check' {error}") from error
        try:
            try_parameters(found, self.parameters)
        except (TypeError, ValueError) as error:
            raise RubricError(f"criterion {self.name!r}: field 'parameters': {error}") from error

    @property
    def objective(self) -> str:
        """Name of its objective in ``aggregate="groups"``."""
        return self.name if self.group is None else self.group

    def score(self, problem: Problem, response: str, on_timeout: OnTimeout = "error") -> float:
        """The score of a check in [0, 1], polarity included; 0 or 1 where it is hard.

        Raises:
            CheckError: See there.
        """
        assert self.check is not None
        try:
            value = resolve_check(self.check)(problem, response, **self.parameters)
        except PatternTimeout as error:
            if on_timeout == "floor":
                return 0.0
            raise CheckError(f"criterion {self.name!r}: {error}") from error
        except Exception as error:
            raise CheckError(f"criterion {self.name!r}: the check failed: {error!r}") from error
        if not isinstance(value, Real | np.bool_) or not 0 <= value <= 1:
            raise CheckError(f"criterion {self.name!r}: a check must return a bool or [0, 1], got {value!r}")
        score = float(value) if self.polarity == 1 else 1.0 - float(value)
        return float(score == 1.0) if self.hard else score


@dataclass(frozen=True)
class Rubric:
    """Criteria in order, at least one, with distinct names. Data: nothing is imported or run before `rubric_rewards`.

    >>> Rubric.from_dict({"criteria": [{"name": "clear", "kind": "question", "question": "Is it clear?"}]}).names
    ('clear',)

    Raises:
        RubricError: If there is no criterion, a name stands twice, or a group is named like a criterion outside it.
    """

    criteria: tuple[Criterion, ...]

    def __init__(self, criteria: Sequence[Criterion]) -> None:
        object.__setattr__(self, "criteria", tuple(criteria))
        if not self.criteria:
            raise RubricError("a rubric needs at least one criterion, got none")
        for position, criterion in enumerate(self.criteria):
            if not isinstance(criterion, Criterion):
                raise RubricError(f"entry {position} of a rubric must be a Criterion, got {criterion!r}")
            if criterion.name in self.names[:position]:
                raise RubricError(f"criterion {criterion.name!r}: field 'name' must be distinct, got it twice")
        alone = {criterion.name for criterion in self.criteria if criterion.group is None}
        for criterion in self.criteria:
            if criterion.group in alone:
                rule = "must not be the name of a criterion without a group"
                raise RubricError(f"criterion {criterion.name!r}: field 'group' {rule}, got {criterion.group!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the criteria, in order."""
        return tuple(criterion.name for criterion in self.criteria)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rubric:
        """The rubric of ``{"criteria": [{"name": ..., "kind": ..., ...}, ...]}``, with the fields of `Criterion`.

        Raises:
            RubricError: If a field is missing, unknown, or breaks its rule.
        """
        if not isinstance(data, Mapping) or set(data) != {"criteria"}:
            got = list(data) if isinstance(data, Mapping) else data
            raise RubricError(f"a rubric must be a table with the one key 'criteria', got {got!r}")
        rows = data["criteria"]
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise RubricError(f"'criteria' must be a list of tables, got {rows!r}")
        known = [part.name for part in fields(Criterion)]
        made = []
        for position, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise RubricError(f"entry {position} of 'criteria' must be a table, got {row!r}")
            place = f"criterion {row['name']!r}" if "name" in row else f"criterion number {position + 1}"
            for key in row:
                if key not in known:
                    raise RubricError(f"{place}: field {key!r} is unknown; known are {known}")
            for key in ("name", "kind"):
                if key not in row:
                    raise RubricError(f"{place}: field {key!r} is missing")
            made.append(Criterion(**row))
        return cls(made)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads, for ``json.dumps`` or a TOML writer; fields at their defaults are left out.

        Raises:
            RubricError: If a check is a callable, which data cannot hold: give its import path.
        """
        rows = []
        for criterion in self.criteria:
            if criterion.check is not None and not isinstance(criterion.check, str):
                rule = "must be an import path, to be written as data"
                raise RubricError(f"criterion {criterion.name!r}: field 'check' {rule}, got {criterion.check!r}")
            row = {part.name: getattr(criterion, part.name) for part in fields(Criterion)}
            defaults = {part.name: _default(part) for part in fields(Criterion)}
            rows.append({key: copy.deepcopy(value) for key, value in row.items() if value != defaults[key]})
        return {"criteria": rows}

    @classmethod
    def from_file(cls, path: str | Path) -> Rubric:
        """The rubric of a TOML or JSON file, by its suffix.

        Raises:
            RubricError: If the file is neither, or as in `from_dict`; names the file.
            OSError: If it cannot be read.
        """
        path = Path(path)
        readers = {".toml": tomllib.loads, ".json": json.loads}
        if path.suffix not in readers:
            raise RubricError(f"{path}: the suffix of a rubric must be one of {list(readers)}, got {path.suffix!r}")
        try:
            return cls.from_dict(readers[path.suffix](path.read_text(encoding="utf-8")))
        except ValueError as error:  # of either parser, of the encoding, or of the rubric
            raise RubricError(f"{path}: {error}") from error


def _default(part: Field[Any]) -> Any:
    return part.default if part.default_factory is MISSING else part.default_factory()
