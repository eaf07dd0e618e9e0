"""The tables of gathered fronts, as text."""

from __future__ import annotations

import numpy as np

from llm_morl_agents.experiments.tables import NOTHING, Grid, number, volume_digits
from llm_morl_agents.fronts.gather import Gathered, Method
from llm_morl_agents.fronts.measures import Measured

#: The row of the exact front.
EXACT = "exact Pareto front"


def volume_table(gathered: Gathered) -> Grid:
    """Hypervolumes: claimed, measured, held out; and what the training cost. A row for each method."""
    digits = volume_digits([m.measures["hypervolume"].value for m in gathered.methods])
    rows = [
        (
            method.name,
            _policies(method),
            _plain(method.claimed_hypervolume, digits),
            _with_interval(method, "hypervolume", digits),
            _with_interval(method, "hypervolume_held_out", digits),
            _seconds(method),
        )
        for method in gathered.methods
    ]
    if gathered.front is not None:
        volume = _plain(gathered.front_values["hypervolume"], digits)
        rows.append((EXACT, str(len(gathered.front)), NOTHING, volume, NOTHING, NOTHING))
    head = ("method", "policies", "claimed", "hypervolume", "held out", "CPU-s")
    return Grid(head, 1, rows)


def utility_table(gathered: Gathered) -> Grid:
    """Expected utilities in their two readings, and the share of the gap. A row for each method."""
    rows = [
        (
            method.name,
            _with_interval(method, "expected_utility", 3),
            _with_interval(method, "expected_utility_held_out", 3),
            _with_interval(method, "served_utility", 3),
            NOTHING if method.gap is None else _measured(method.gap, 2),
        )
        for method in gathered.methods
    ]
    if gathered.front is not None:
        utility = _plain(gathered.front_values["expected_utility"], 3)
        rows.append((EXACT, utility, NOTHING, NOTHING, NOTHING if gathered.oracle is None else "1.00"))
    return Grid(("method", "expected utility", "held out", "served", "share of gap"), 1, rows)


def distance_table(gathered: Gathered) -> Grid:
    """How far the sets are from the reference front. A row for each method."""
    rows = [
        (method.name, _with_interval(method, "igd_plus", 4), _with_interval(method, "maximum_utility_loss", 3))
        for method in gathered.methods
    ]
    return Grid(("method", "IGD+", "maximum utility loss"), 1, rows)


def policy_table(gathered: Gathered) -> Grid:
    """Every policy: its mean return with interval, in the objectives' own units, and what was claimed of it."""
    rows: list[tuple[str, ...]] = []
    for method in gathered.methods:
        for record in method.records:
            about = record.evaluation
            low, high = about.intervals
            name = method.name if len(method.records) == 1 else f"{method.name}, seed {record.seed}"
            for p, label in enumerate(about.labels):
                means = [
                    f"{about.means[p, k]:.3f} [{low[p, k]:.3f}, {high[p, k]:.3f}]" for k in range(len(about.objectives))
                ]
                claim = about.claimed[p]
                claimed = NOTHING if np.isnan(claim).all() else " ".join(number(float(c), 2) for c in claim)
                rows.append((name if p == 0 else "", label, *means, claimed, "" if about.best[p] else "dominated"))
    return Grid(("method", "policy", *gathered.objectives, "claimed", ""), 2, rows)


def _policies(method: Method) -> str:
    best, count = method.policies
    whole = best == int(best) and count == int(count)
    return f"{best:.0f}/{count:.0f}" if whole else f"{best:.1f}/{count:.1f}"


def _with_interval(method: Method, name: str, digits: int) -> str:
    return _measured(method.measures[name], digits) if name in method.measures else NOTHING


def _measured(measured: Measured, digits: int) -> str:
    return f"{measured.value:.{digits}f} [{measured.low:.{digits}f}, {measured.high:.{digits}f}]"


def _plain(value: float | None, digits: int) -> str:
    return NOTHING if value is None else number(value, digits)


def _seconds(method: Method) -> str:
    if method.kind == "baseline":
        return NOTHING
    seeds = "" if len(method.records) == 1 else f" x {len(method.records)} seeds"
    return NOTHING if method.cpu_seconds is None else f"{method.cpu_seconds:.0f}{seeds}"
