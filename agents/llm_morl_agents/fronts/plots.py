"""The picture of gathered fronts: objectives two by two, and parallel coordinates. Nothing global is touched."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.experiments.plots import COLOURS, finish, panel_grid, style_of
from llm_morl_agents.experiments.statistics import scaled
from llm_morl_agents.fronts.gather import Gathered, Method
from llm_morl_agents.fronts.naming import elided
from llm_morl_env.metrics import pareto_front

Floats = NDArray[np.float64]

#: Trained methods in a figure, at most: the eye tells no more apart.
MOST_METHODS = len(COLOURS) - 1
#: Area of the markers of the last method in square points, and how many times larger those of each one before it are.
SMALLEST, GROWTH = 30.0, 1.6
#: Lines of a method in the parallel coordinates, at most.
MOST_LINES = 40
#: Characters of a method's name in a legend, at most.
LABEL_LENGTH = 44
_FRONT: dict[str, Any] = {"color": "#777777", "linestyle": (0, (4, 3)), "linewidth": 1.2}
_BASELINES = (("#777777", "X"), ("#000000", "*"), ("#555555", "P"), ("#999999", "h"))


def dominated_outline(points: ArrayLike, corner: ArrayLike) -> Floats:
    """The staircase around what points in the plane dominate above a corner, (2 n + 2, 2), from left to right.

    >>> dominated_outline([[0.25, 1.0], [1.0, 0.5]], [0.0, 0.0]).tolist()
    [[0.0, 0.0], [0.0, 1.0], [0.25, 1.0], [0.25, 0.5], [1.0, 0.5], [1.0, 0.0]]
    """
    bottom = np.asarray(corner, dtype=np.float64)
    front = pareto_front(np.maximum(np.asarray(points, dtype=np.float64), bottom))
    front = front[np.argsort(front[:, 0])]
    left, steps = bottom[0], []
    for x, y in front:
        steps += [(left, y), (x, y)]
        left = x
    return np.array([(bottom[0], bottom[1]), *steps, (left, bottom[1])])


def pairs(gathered: Gathered) -> Figure | None:
    """Objectives two by two: what each method's policies earn, with intervals, what was claimed, and the known front.

    None with fewer than two objectives.
    """
    chosen = list(combinations(range(len(gathered.objectives)), 2))
    if not chosen:
        return None
    columns = min(len(chosen), 3)
    size = (7.6, 5.6) if len(chosen) == 1 else (4.6, 4.1)
    figure, axes = panel_grid(rows=-(-len(chosen) // columns), columns=columns, width=size[0], height=size[1])
    shown = _styles(gathered)
    for axis, (x, y) in zip(axes.flat, chosen, strict=False):
        if gathered.front is not None:
            known = gathered.front[np.argsort(gathered.front[:, x])]
            axis.plot(known[:, x], known[:, y], marker=".", markersize=4, zorder=2, **_FRONT)
        for at, (method, colour, marker) in enumerate(shown):
            # The worse are drawn over the better, and smaller: where points coincide all are seen.
            area = SMALLEST * GROWTH ** max(len(gathered.trained[:MOST_METHODS]) - 1 - at, 0)
            _draw(axis, method, x, y, colour, marker, area)
        axis.margins(0.06)
        axis.set_xlabel(gathered.objectives[x])
        axis.set_ylabel(gathered.objectives[y])
    for axis in list(axes.flat)[len(chosen) :]:
        axis.set_axis_off()
    shaded = "volume" if len(gathered.objectives) == 2 else "what is dominated in these two objectives"
    note = (
        f"mean return on held-out problems with intervals; shaded: {shaded} above the reference point; faint: dominated"
    )
    if any(_claims(method) for method, _, _ in shown):
        note += "; open: the algorithm's own claim, joined to what it earned"
    finish(figure, f"Fronts on {gathered.title}", note, _handles(gathered))
    return figure


def parallel(gathered: Gathered) -> Figure | None:
    """Parallel coordinates: a line for each nondominated policy over all objectives; None below three objectives."""
    k = len(gathered.objectives)
    if k < 3:
        return None
    figure, axes = panel_grid(rows=1, columns=1, width=max(7.6, 2.2 * k), height=4.6)
    (axis,) = axes.flat
    for method, colour, marker in _styles(gathered):
        best = np.concatenate([r.evaluation.means[r.evaluation.best] for r in method.records])
        lines = scaled(best, gathered.low, gathered.high)
        lines = lines[np.linspace(0, len(lines) - 1, min(len(lines), MOST_LINES)).round().astype(int)]
        faint = 0.9 if len(lines) <= 3 else 0.45
        axis.plot(np.arange(k), lines.T, color=colour, alpha=faint, linewidth=1.3, marker=marker, markersize=5)
    axis.set_xlim(-0.15, k - 0.85)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xticks(
        np.arange(k),
        [f"{n}\n{a:g} to {b:g}" for n, a, b in zip(gathered.objectives, gathered.low, gathered.high, strict=True)],
    )
    axis.set_ylabel("mean return, bounds scaled to 0 and 1")
    for at in range(k):
        axis.axvline(at, color="#999999", linewidth=0.9, zorder=0)
    note = "a line for each policy that no other of its method dominates; lines that cross trade objectives"
    finish(figure, f"Fronts on {gathered.title}, all objectives", note, _handles(gathered, exact=False))
    return figure


def save_figures(gathered: Gathered, folder: Path) -> list[Path]:
    """Write ``front.png`` and, from three objectives on, ``parallel.png``; the same fronts give the same bytes."""
    written = []
    for name, figure in (("front", pairs(gathered)), ("parallel", parallel(gathered))):
        if figure is not None:
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=130, metadata={"Software": None})
            written.append(path)
    return written


def _draw(axis: Axes, method: Method, x: int, y: int, colour: str, marker: str, area: float) -> None:
    for record in method.records:
        about = record.evaluation
        low, high = about.intervals
        corner = about.low + about.reference * (about.high - about.low)
        means, best = about.means[:, [x, y]], about.best
        if method.kind != "baseline":
            outline = dominated_outline(means, corner[[x, y]])
            strength = 1.0 / len(method.records)
            axis.fill(*outline.T, facecolor=colour, alpha=0.10 * strength, linewidth=0, zorder=1)
            axis.plot(*outline[1:-1].T, color=colour, alpha=0.35 + 0.35 * strength, linewidth=1.1, zorder=2)
            claimed = about.claimed[:, [x, y]]
            for p in np.flatnonzero(~np.isnan(claimed).any(axis=1)):
                axis.plot(*np.stack([means[p], claimed[p]]).T, color=colour, alpha=0.3, linewidth=0.6, zorder=2)
            axis.scatter(
                claimed[:, 0],
                claimed[:, 1],
                facecolors="none",
                edgecolors=colour,
                alpha=0.55,
                marker=marker,
                s=22,
                zorder=2,
            )
        errors = np.abs(np.stack([means - low[:, [x, y]], high[:, [x, y]] - means]))  # (2, P, 2)
        axis.errorbar(
            means[best, 0],
            means[best, 1],
            xerr=errors[:, best, 0],
            yerr=errors[:, best, 1],
            fmt="none",
            ecolor=colour,
            elinewidth=0.9,
            alpha=0.6,
            zorder=3,
        )
        large = area if method.kind != "baseline" else 90
        edges: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.7}
        axis.scatter(means[best, 0], means[best, 1], color=colour, marker=marker, s=large, zorder=4, **edges)
        axis.scatter(
            means[~best, 0], means[~best, 1], color=colour, marker=marker, s=14, alpha=0.4, linewidths=0, zorder=3
        )


def _claims(method: Method) -> bool:
    return any(not np.isnan(record.evaluation.claimed).all() for record in method.records)


def _styles(gathered: Gathered) -> list[tuple[Method, str, str]]:
    """What is drawn, with colour and marker; those of a baseline do not depend on the others' volumes."""
    compared = sorted(gathered.compared, key=lambda method: method.name, reverse=True)
    return [
        *((method, *style_of(at)) for at, method in enumerate(gathered.trained[:MOST_METHODS])),
        *((method, *_BASELINES[at % len(_BASELINES)]) for at, method in enumerate(compared)),
    ]


def _handles(gathered: Gathered, *, exact: bool = True) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, markeredgecolor="white", label=elided(method.name, LABEL_LENGTH))
        if method.kind != "baseline"
        else Line2D([], [], color=colour, marker=marker, linestyle="none", label=elided(method.name, LABEL_LENGTH))
        for method, colour, marker in _styles(gathered)
    ]
    if exact and gathered.front is not None:
        handles.append(Line2D([], [], label="exact front of single answers", **_FRONT))
    return handles
