"""All fronts of one task side by side: the seeds of a method together, and what chance and the oracle earn.

Shapes: S training seeds, B resamples, K objectives, F points of a front.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.experiments.statistics import scaled
from llm_morl_agents.fronts.baselines import random_to_oracle_gap
from llm_morl_agents.fronts.evaluation import ENOUGH_EPISODES
from llm_morl_agents.fronts.measures import Measured
from llm_morl_agents.fronts.naming import key_of, told_apart
from llm_morl_agents.fronts.record import FrontRecord, Kind, plain_settings
from llm_morl_env.metrics import expected_utility, hypervolume, pareto_front

Floats = NDArray[np.float64]

#: What a method's share of the gap is taken of, see `llm_morl_agents.fronts.measures.MEASURES`.
UTILITY = "expected_utility_held_out"


@dataclass(frozen=True, eq=False)
class Method:
    """One method on the task, all its seeds.

    Args:
        name: Distinct among the methods of a picture.
        kind: What made it.
        view: That it learned on.
        records: One for each seed, ascending; all evaluated against the same weights, reference point and front.
        gap: Share of the way from chance to the oracle, of `UTILITY`; None where there is no oracle.
    """

    name: str
    kind: Kind
    view: str
    records: tuple[FrontRecord, ...]
    gap: Measured | None = None

    @cached_property
    def measures(self) -> Mapping[str, Measured]:
        """Means over seeds, with intervals over seeds and problems: those measures that every seed has."""
        all_found = [record.evaluation.measures for record in self.records]
        names = [name for name in all_found[0] if all(name in found for found in all_found)]
        level = self.records[0].evaluation.level
        return {name: over_seeds([found[name] for found in all_found], level=level) for name in names}

    @property
    def claimed_hypervolume(self) -> float | None:
        """Mean over seeds of what the algorithm claims; None where one claims nothing."""
        claims = [record.evaluation.claimed_hypervolume for record in self.records]
        known = [claim for claim in claims if claim is not None]
        return float(np.mean(known)) if len(known) == len(claims) else None

    @property
    def cpu_seconds(self) -> float | None:
        """Mean over seeds of the training's CPU time; None where one's is not known."""
        known = [record.cpu_seconds for record in self.records if record.cpu_seconds is not None]
        return float(np.mean(known)) if len(known) == len(self.records) else None

    @property
    def policies(self) -> tuple[float, float]:
        """Means over seeds: how many policies are not dominated, and how many there are."""
        best = [record.evaluation.best for record in self.records]
        return float(np.mean([part.sum() for part in best])), float(np.mean([len(part) for part in best]))


@dataclass(frozen=True, eq=False)
class Gathered:
    """What the picture shows.

    Args:
        title: Of the task.
        objectives: K names.
        low: (K,) bounds.
        high: (K,) bounds.
        methods: Trained ones first, by hypervolume, then those that they are compared with.
        front: (F, K) the exact Pareto front, or None.
        oracle: What stands for the upper end of the gap: a name, or None.
        front_values: ``hypervolume`` and ``expected_utility`` of the exact front; empty without one.
        remarks: Lines on how to read it, and on what was left out.
    """

    title: str
    objectives: tuple[str, ...]
    low: Floats
    high: Floats
    methods: tuple[Method, ...]
    front: Floats | None
    oracle: str | None
    front_values: Mapping[str, float]
    remarks: tuple[str, ...]

    @property
    def trained(self) -> tuple[Method, ...]:
        """The methods that learned."""
        return tuple(method for method in self.methods if method.kind != "baseline")

    @property
    def compared(self) -> tuple[Method, ...]:
        """Those that did not."""
        return tuple(method for method in self.methods if method.kind == "baseline")


def over_seeds(seeds: Sequence[Measured], *, level: float) -> Measured:
    """The mean over training seeds, with an interval over seeds and problems.

    A resample draws seeds and, the same for all of them, problems, as
    `llm_morl_agents.experiments.statistics.bootstrap_interval` does, whose limits it shares: with few seeds the
    interval is too short. Resamples of problems are mirrored about their number, as
    `llm_morl_agents.fronts.measures.measure` says.

    Args:
        seeds: S numbers.
        level: Of the interval.

    >>> flat = Measured(0.5, 0.5, 0.5, np.full(10, 0.5))
    >>> over_seeds([flat, flat], level=0.95).high
    0.5
    """
    if len(seeds) == 1:
        return seeds[0]
    values = np.array([seed.value for seed in seeds])
    mean, size = float(values.mean()), min(len(seed.replicates) for seed in seeds)
    stretched = np.sqrt(len(seeds) / (len(seeds) - 1)) * (values - mean)
    noise = np.stack([seed.value - seed.replicates[:size] for seed in seeds])  # (S, B)
    drawn = np.random.default_rng(0).integers(len(seeds), size=(size, len(seeds)))  # (B, S)
    mirrored = mean + (stretched[drawn] + noise.T[np.arange(size)[:, None], drawn]).mean(axis=1)
    low, high = np.quantile(mirrored, [(1 - level) / 2, (1 + level) / 2])
    return Measured(mean, float(low), float(high), 2 * mean - mirrored)


def gather(
    records: Sequence[tuple[FrontRecord, str]],
    *,
    title: str,
    chance: str | None = None,
    gold: str | None = None,
    remarks: Sequence[str] = (),
) -> Gathered:
    """Put the fronts of one task side by side.

    All are valued by the weights and the reference point of the first one, and against the exact front; where that is
    not known, against the nondominated policies of all of them together.

    Args:
        records: At least one, all of one task, each with the folder that it comes from, empty for none. Records of one
            method, view, arguments, settings and parent folder are its seeds. Methods of one name are told apart by
            what differs, the name of the parent folder last. Of equal records with equal returns one is kept; those
            of one seed with other returns stand alone, told apart by their own folders, and a remark says why.
        title: Of the task.
        chance: The baseline that is chance, for the gap.
        gold: The baseline that is the oracle where the exact front is not known.
        remarks: Lines to pass on.

    Raises:
        ValueError: If there are none, or they differ in objectives or bounds.
    """
    if not records:
        raise ValueError("gather(records=) must hold at least one record, got none")
    records, copies = _without_copies(records)
    keys, alone = _keys(records)
    plain = [record for record, _ in records]
    first = plain[0].evaluation
    _check_alike(plain)
    exact = next((r.evaluation.front for r in plain if r.evaluation.front is not None), None)
    target = pareto_front(np.concatenate([r.evaluation.means for r in plain])) if exact is None else exact
    valued = [(r.with_evaluation(r.evaluation.valued_as(first, target)), origin) for r, origin in records]
    methods = _methods(keys, valued)
    values: dict[str, float] = {}
    if exact is not None:
        unit = scaled(exact, first.low, first.high)
        values["hypervolume"] = hypervolume(unit, first.reference)
        values["expected_utility"] = expected_utility(unit, first.conditions)
    lines = [*remarks, *copies, *alone]
    floor, best = (
        next((m.measures[UTILITY] for m in methods if m.kind == "baseline" and m.name == name), None)
        for name in (chance, gold)
    )
    top = values["expected_utility"] if values else best
    oracle = None
    if floor is not None and top is not None:
        if (top.value if isinstance(top, Measured) else top) > floor.value:
            oracle = "the exact front" if values else gold
            methods = [replace(m, gap=gap_of(m.measures[UTILITY], floor, top, level=first.level)) for m in methods]
        else:
            lines.append("the oracle earns no more than chance for these weights: there is no gap to take shares of")
    if exact is None:
        lines.append("the exact front is not known: IGD+ and utility loss are against all policies here together")
    return Gathered(
        title=title,
        objectives=first.objectives,
        low=first.low,
        high=first.high,
        methods=tuple(methods),
        front=exact,
        oracle=oracle,
        front_values=values,
        remarks=(*lines, *_differences(plain)),
    )


def _check_alike(records: Sequence[FrontRecord]) -> None:
    first = records[0].evaluation
    for record in records[1:]:
        other = record.evaluation
        if other.objectives != first.objectives or not np.array_equal([other.low, other.high], [first.low, first.high]):
            raise ValueError(
                f"gather(records=): {record.method!r} has the objectives {other.objectives} in {other.low} to "
                f"{other.high}, {records[0].method!r} has {first.objectives} in {first.low} to {first.high}"
            )


def gap_of(utility: Measured, chance: Measured, oracle: Measured | float, *, level: float) -> Measured:
    """`random_to_oracle_gap` with its interval, in pairs where all answered the same problems.

    A resample in which the oracle is not above chance says nothing and is left out.

    >>> gap_of(*(Measured(u, u, u, np.full(9, u)) for u in (0.6, 0.2)), 1.0, level=0.95).value.__round__(6)
    0.5
    """
    size = min(len(utility.replicates), len(chance.replicates))
    if isinstance(oracle, Measured):
        size, top = min(size, len(oracle.replicates)), oracle.value
        tops = 2 * top - oracle.replicates[:size]
    else:
        top, tops = oracle, np.full(size, oracle)
    value = random_to_oracle_gap(utility.value, random=chance.value, oracle=top)
    drawn, floor = (2 * part.value - part.replicates[:size] for part in (utility, chance))
    above = tops > floor
    shares = (drawn - floor)[above] / (tops - floor)[above]
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return Measured(value, float(low), float(high), 2 * value - shares)


@dataclass(frozen=True)
class _Key:
    """What makes records seeds of one method.

    Args:
        method: Its name.
        kind: What made it.
        view: That it learned on.
        settings: Arguments and settings, as `key_of` has them.
        place: The folder that the records' folders lie in, without links; empty for none.
        alone: Of a record that nothing is averaged with, its number; None for all others.
    """

    method: str
    kind: Kind
    view: str
    settings: Hashable
    place: str
    alone: int | None = None

    @classmethod
    def of(cls, record: FrontRecord, folder: str) -> _Key:
        place = str(Path(folder).resolve().parent) if folder else ""
        return cls(record.method, record.kind, record.view, key_of(_all_settings(record)), place)


def _all_settings(record: FrontRecord) -> dict[str, Any]:
    """Arguments of the environment and settings of the training; the latter under another name where both have it."""
    given = plain_settings(record.env_kwargs)
    return {
        **given,
        **{f"training {name}" if name in given else name: value for name, value in record.settings.items()},
    }


def _without_copies(
    records: Sequence[tuple[FrontRecord, str]],
) -> tuple[list[tuple[FrontRecord, str]], list[str]]:
    """Each training once, and lines about what was left out.

    In one folder, equal returns of one seed are copies; in several, if their training took the same time as well.
    """
    seen: dict[tuple[_Key, int], list[tuple[FrontRecord, str, str]]] = {}
    kept, lines = [], []
    for record, folder in records:
        key = _Key.of(record, folder)
        alike = seen.setdefault((replace(key, place=""), record.seed), [])
        known = (other for found, other, place in alike if _copies(found, record, beside=place == key.place))
        original = next(known, None)
        if original is None:
            alike.append((record, folder, key.place))
            kept.append((record, folder))
        else:
            lines.append(f"{folder or record.method} was left out, as a copy of {original or record.method}")
    return kept, lines


def _copies(first: FrontRecord, second: FrontRecord, *, beside: bool) -> bool:
    return (beside or first.cpu_seconds == second.cpu_seconds) and _same_returns(first, second)


def _keys(records: Sequence[tuple[FrontRecord, str]]) -> tuple[list[_Key], list[str]]:
    """The key of each record, and lines about those that stand alone: several of one seed, with different returns.

    Where settings are not known either, such records are of different trainings, and which seeds of the folder belong
    together is not known: all of them stand alone.
    """
    keys = [_Key.of(record, folder) for record, folder in records]
    seeds = [record.seed for record, _ in records]
    counts = Counter(zip(keys, seeds, strict=True))
    doubtful = {key for (key, _), count in counts.items() if count > 1}
    found, told = [], dict[tuple[_Key, int | None], list[str]]()
    for at, (key, (record, folder)) in enumerate(zip(keys, records, strict=True)):
        unknown = key in doubtful and not record.settings
        if not unknown and counts[key, record.seed] == 1:
            found.append(key)
            continue
        found.append(replace(key, alone=at))
        told.setdefault((key, None if unknown else record.seed), []).append(folder or record.method)
    lines = [
        f"{', '.join(folders)} are not averaged: {key.method}, {'equal seeds' if seed is None else f'seed {seed}'}, "
        f"but different returns; {_why_different(records[keys.index(key)][0])}"
        for (key, seed), folders in told.items()
    ]
    return found, lines


def _why_different(record: FrontRecord) -> str:
    if not record.settings:
        return "their settings are not known"
    if record.settings.get("max_cpu_seconds") is not None:
        return "a training that CPU time ends does not go the same way twice"
    return "what differs is not recorded"


def _same_returns(first: FrontRecord, second: FrontRecord) -> bool:
    one, two = first.evaluation, second.evaluation
    return (
        (one.labels, one.split, one.seeds) == (two.labels, two.split, two.seeds)
        and np.array_equal(one.problems, two.problems)
        and np.array_equal(one.returns, two.returns, equal_nan=True)
    )


def _methods(keys: Sequence[_Key], records: Sequence[tuple[FrontRecord, str]]) -> list[Method]:
    """Records of equal keys are a method's seeds; the best methods first, baselines last."""
    groups: dict[_Key, list[tuple[FrontRecord, str]]] = {}
    for key, pair in zip(keys, records, strict=True):
        groups.setdefault(key, []).append(pair)
    methods = []
    for name, mine in zip(_names(groups), groups.values(), strict=True):
        ordered = tuple(sorted((record for record, _ in mine), key=lambda record: record.seed))
        methods.append(Method(name, ordered[0].kind, ordered[0].view, ordered))
    return sorted(methods, key=lambda m: (m.kind == "baseline", -m.measures["hypervolume"].value))


def _names(groups: Mapping[_Key, Sequence[tuple[FrontRecord, str]]]) -> list[str]:
    """The method's name and, where several have it, what tells them apart; each name once."""
    names: list[str] = []
    for key in groups:
        alike = [other for other in groups if other.method == key.method]
        of_view = [other for other in alike if other.view == key.view]
        told = [key.view] if len(alike) > len(of_view) else []
        told.append(told_apart([_all_settings(groups[other][0][0]) for other in of_view])[of_view.index(key)])
        elsewhere = {o.place: groups[o][0][1] for o in reversed(of_view) if o.settings == key.settings}
        if len(elsewhere) > 1:
            told.append(_shown_places(elsewhere)[key.place])
        if key.alone is not None:
            told.append(Path(groups[key][0][1]).name)
        text = ", ".join(part for part in told if part)
        names.append(f"{key.method} ({text})" if text else key.method)
    return [f"{name} #{names[:at].count(name) + 1}" if name in names[:at] else name for at, name in enumerate(names)]


def _shown_places(folders: Mapping[str, str]) -> dict[str, str]:
    """A place and a folder in it, as it was given: the shortest of the place's names that tells all apart."""
    given = {place: Path(folder).parent if folder else Path() for place, folder in folders.items()}
    for shown in ({place: path.name for place, path in given.items()}, {p: str(path) for p, path in given.items()}):
        if len(set(shown.values())) == len(shown):
            return shown
    return {place: place for place in folders}


def _differences(records: Sequence[FrontRecord]) -> list[str]:
    """Where evaluations differ, so that numbers are less comparable than they look."""
    seen: dict[tuple[str, int, int], list[str]] = {}
    for record in records:
        about = record.evaluation
        names = seen.setdefault((about.split, len(about.problems), len(about.seeds)), [])
        names += [record.method] if record.method not in names else []
    lines = []
    if len(seen) > 1:
        parts = [
            f"{', '.join(names)}: {n} of {split!r}, {s} answer{'s' * (s > 1)} each"
            for (split, n, s), names in seen.items()
        ]
        lines.append(f"evaluated on different problems: {'; '.join(parts)}")
    for (_, n, s), names in seen.items():
        if n * s < ENOUGH_EPISODES:
            lines.append(f"fewer than {ENOUGH_EPISODES} episodes a policy, which is mostly luck: {', '.join(names)}")
    return lines
