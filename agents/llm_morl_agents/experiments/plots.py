"""Figures of an experiment: curves, weights, front. Each function returns a `Figure`; nothing global is touched."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from llm_morl_agents.experiments.fronts import MethodFront
from llm_morl_agents.experiments.results import Results, Run
from llm_morl_agents.experiments.statistics import trailing_mean, vector_hypervolumes
from llm_morl_agents.experiments.summary import featured
from llm_morl_env.metrics import nondominated

Floats = NDArray[np.float64]

#: Okabe and Ito's colours, told apart by colour-blind readers too; yellow, too pale for lines, is left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Of objectives: where lines lie on each other, the gaps of one show the other.
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (2, 2)), (0, (7, 2, 2, 2)), (0, (1, 1)))
#: Steps that a training curve is smoothed over.
SMOOTHING = 5
#: Arms in a figure, at most: the eye tells no more apart.
MOST_ARMS = 7
#: Arms side by side in the figure of weights.
WEIGHTS_COLUMNS = 4
#: Panels side by side in the figure of curves.
CURVES_COLUMNS = 4
#: Shares of the advantage beyond these are cut off: where objectives all but cancel they have no limit.
SHARES = (-1.0, 2.0)
#: Characters of a note in an inch of a figure's width.
NOTE_DENSITY = 12
_FRONT_LINE: dict[str, Any] = {"color": "#888888", "linestyle": (0, (4, 3)), "linewidth": 1.2}
_INK, _GRID = "#333333", "#DDDDDD"


def curves(results: Results) -> Figure:
    """Reward over training steps, a panel for each objective: mean and range over seeds, and evaluations.

    From two objectives on, a last panel shows the hypervolume of the evaluations' mean vectors. Four stand side by
    side.
    """
    k = len(results.objectives)
    count = k + (k > 1)
    columns = min(count, CURVES_COLUMNS)
    figure, axes = panel_grid(rows=-(-count // columns), columns=columns, width=4.2, height=3.5)
    panels = list(axes.flat)
    for axis in panels[count:]:
        axis.set_axis_off()
    if k > 1:
        _hypervolume_panel(results, panels[k])
    for column, (axis, objective) in enumerate(zip(panels[:k], results.objectives, strict=True)):
        for number, runs in enumerate(results.arms.values()):
            colour, marker = style_of(number)
            smooth = np.stack([trailing_mean(run.series["reward_mean"][:, column], SMOOTHING) for run in runs])
            steps = np.arange(smooth.shape[1])
            axis.plot(steps, smooth.mean(axis=0), color=colour, linewidth=1.6)
            axis.fill_between(steps, smooth.min(axis=0), smooth.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            at, levels = _evaluations(runs)
            axis.plot(
                at,
                levels[:, :, column].mean(axis=0),
                marker=marker,
                color=colour,
                markersize=6,
                markeredgecolor="white",
                linestyle="--",
                linewidth=0.8,
                zorder=3,
            )
        low, high = results.low[column], results.high[column]
        axis.set_title(f"{objective}  ({low:g} to {high:g})")
        axis.set_xlabel("training steps taken")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    for axis in panels[:k:columns]:
        axis.set_ylabel("mean reward")
    note = (
        f"lines: training batches (trailing mean of {SMOOTHING}), shaded: range over seeds; "
        "markers: evaluation split, sampled, mean over seeds"
    )
    finish(figure, "Reward during training", note, _arm_handles(results))
    return figure


def _hypervolume_panel(results: Results, axis: Axes) -> None:
    for number, runs in enumerate(results.arms.values()):
        colour, marker = style_of(number)
        at, levels = _evaluations(runs)
        volumes = vector_hypervolumes(levels, results.low, results.high)  # (S, E)
        axis.plot(at, volumes.mean(axis=0), color=colour, marker=marker, markeredgecolor="white", linewidth=1.6)
        axis.fill_between(at, volumes.min(axis=0), volumes.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axis.set_title("hypervolume of the mean vector")
    axis.set_xlabel("training steps taken")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def weights(results: Results) -> Figure:
    """The weighter's weights above each objective's share of the advantage, an arm a column, four side by side."""
    columns = min(len(results.arms), WEIGHTS_COLUMNS)
    blocks = -(-len(results.arms) // WEIGHTS_COLUMNS)
    figure, axes = panel_grid(rows=2 * blocks, columns=columns, width=4.0, height=2.7, share_rows=True)
    rows = (("weight", "weight"), ("advantage_share", "share of the advantage"))
    for place, (arm, runs) in enumerate(results.arms.items()):
        top, column = 2 * (place // columns), place % columns
        for row, (name, label) in enumerate(rows):
            axis = axes[top + row][column]
            for number in range(len(results.objectives)):
                colour, _ = style_of(number)
                smooth = np.stack([trailing_mean(run.series[name][:, number], SMOOTHING) for run in runs])
                steps = np.arange(smooth.shape[1])
                axis.plot(steps, smooth.mean(axis=0), color=colour, linewidth=1.8, linestyle=_dash(number))
                axis.fill_between(steps, smooth.min(axis=0), smooth.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            if column == 0:
                axis.set_ylabel(label)
        axes[top][column].set_title(_short(arm, 34), fontsize=11 if len(arm) < 28 else 9)
        axes[top + 1][column].set_xlabel("training steps taken")
    for place in range(len(results.arms), blocks * columns):
        for row in (0, 1):
            axes[2 * (place // columns) + row][place % columns].set_axis_off()
    for top in range(0, 2 * blocks, 2):  # a row shares its limits
        low, high = axes[top][0].get_ylim()
        axes[top][0].set_ylim(min(low, 0.0), 1.03 * high)  # from 0, so that constant weights look constant
        low, high = axes[top + 1][0].get_ylim()
        axes[top + 1][0].set_ylim(max(low, SHARES[0]), min(high, SHARES[1]))
    handles = [
        Line2D([], [], color=style_of(i)[0], linestyle=_dash(i), linewidth=1.8, label=name)
        for i, name in enumerate(results.objectives)
    ]
    note = (
        f"lines: mean over seeds (trailing mean of {SMOOTHING} steps), shaded: range over seeds; "
        f"shares sum to 1, and are cut at {SHARES[0]:g} and {SHARES[1]:g}"
    )
    finish(figure, "What each objective counts, by arm", note, handles)
    return figure


def front(results: Results) -> Figure | None:
    """Every pair of objectives: the way of each arm's mean evaluation vector; None with fewer than two objectives."""
    pairs = list(combinations(range(len(results.objectives)), 2))
    if not pairs:
        return None
    columns = min(len(pairs), 3)
    figure, axes = panel_grid(rows=-(-len(pairs) // columns), columns=columns, width=4.2, height=3.7)
    paths = [_evaluations(runs)[1].mean(axis=0) for runs in results.arms.values()]  # each (E, K)
    best = nondominated(np.stack([path[-1] for path in paths]))
    for axis, (x, y) in zip(axes.flat, pairs, strict=False):
        for number, (path, runs) in enumerate(zip(paths, results.arms.values(), strict=True)):
            colour, marker = style_of(number)
            axis.plot(path[:, x], path[:, y], color=colour, linewidth=1.2, marker=".", markersize=4, alpha=0.8)
            finals = np.stack([run.evaluations[-1] for run in runs])
            axis.scatter(finals[:, x], finals[:, y], color=colour, marker=marker, s=14, alpha=0.45, linewidths=0)
            axis.scatter(path[-1, x], path[-1, y], color=colour, marker=marker, s=70, edgecolors="white", zorder=4)
            if best[number]:
                ring = {"facecolors": "none", "edgecolors": _INK, "linewidths": 1.3}
                axis.scatter(path[-1, x], path[-1, y], s=190, zorder=3, **ring)
        start = np.mean([path[0] for path in paths], axis=0)
        _known_front(axis, results, x, y)
        axis.annotate(
            "start", (start[x], start[y]), xytext=(4, -11), textcoords="offset points", fontsize=8, color=_INK
        )
        axis.margins(0.12)
        axis.set_xlabel(results.objectives[x])
        axis.set_ylabel(results.objectives[y])
    for axis in list(axes.flat)[len(pairs) :]:
        axis.set_axis_off()
    note = (
        "evaluation split, sampled; large: mean over seeds after training, small: single seeds; "
        "ringed: no other arm is at least as good in all objectives"
    )
    handles = [*_arm_handles(results), *_front_handle(results)]
    finish(figure, "From the start to the end, two objectives at a time", note, handles)
    return figure


def method_sets(results: Results, fronts: Sequence[MethodFront]) -> Figure | None:
    """Every pair of objectives: the vectors that each method reached over the preferences, and the known front."""
    pairs = list(combinations(range(len(results.objectives)), 2))
    if not pairs or not fronts:
        return None
    columns = min(len(pairs), 3)
    figure, axes = panel_grid(rows=-(-len(pairs) // columns), columns=columns, width=5.2, height=4.2)
    for axis, (x, y) in zip(axes.flat, pairs, strict=False):
        _known_front(axis, results, x, y)
        for number, front in enumerate(fronts[:MOST_ARMS]):
            colour, marker = style_of(number)
            best, rest = front.vectors[front.best], front.vectors[~front.best]
            best = best[np.argsort(best[:, x])]
            if len(results.objectives) == 2:  # else a line in a projection would say nothing
                axis.plot(best[:, x], best[:, y], color=colour, linewidth=1.2, zorder=2)
            axis.scatter(best[:, x], best[:, y], color=colour, marker=marker, s=48, edgecolors="white", zorder=3)
            axis.scatter(rest[:, x], rest[:, y], facecolors="none", edgecolors=colour, marker=marker, s=24, zorder=2)
        axis.margins(0.08)
        axis.set_xlabel(results.objectives[x])
        axis.set_ylabel(results.objectives[y])
    for axis in list(axes.flat)[len(pairs) :]:
        axis.set_axis_off()
    handles = [_arm_handle(number, front.method) for number, front in enumerate(fronts[:MOST_ARMS])]
    handles += _front_handle(results)
    note = (
        "evaluation split, sampled, mean over seeds, a point for each preference; "
        "filled: not dominated within the method"
    )
    finish(figure, "What each method reaches over the preferences", note, handles)
    return figure


def _known_front(axis: Axes, results: Results, x: int, y: int) -> None:
    if results.pareto_front is not None:
        known = results.pareto_front[np.argsort(results.pareto_front[:, x])]
        axis.plot(known[:, x], known[:, y], zorder=1, **_FRONT_LINE)


def _front_handle(results: Results) -> list[Line2D]:
    return (
        [] if results.pareto_front is None else [Line2D([], [], label="Pareto front of single answers", **_FRONT_LINE)]
    )


def save_figures(results: Results, folder: Path, fronts: Sequence[MethodFront] = ()) -> list[Path]:
    """Write ``curves.png``, ``weights.png`` and, from two objectives on, ``front.png``.

    Where there are many arms, those that `featured` names; with preferences, ``front.png`` shows every method's set.
    """
    names = featured(results, MOST_ARMS)
    few = replace(results, arms={name: results.arms[name] for name in names})
    last = method_sets(results, fronts) if fronts else front(few)
    written = []
    for name, figure in (("curves", curves(few)), ("weights", weights(few)), ("front", last)):
        if figure is not None:
            path = folder / f"{name}.png"
            # Without the program's version in the file, the same results give the same bytes.
            figure.savefig(path, dpi=130, metadata={"Software": None})
            written.append(path)
    return written


def panel_grid(
    *, rows: int, columns: int, width: float, height: float, share_rows: bool = False
) -> tuple[Figure, NDArray[Any]]:
    """A figure with axes (rows, columns), each ``width`` by ``height`` inches, and an inch for title and legend."""
    figure = Figure(figsize=(max(width * columns, 7.6), height * rows + 1.1), layout="constrained")
    FigureCanvasAgg(figure)
    axes: NDArray[Any] = figure.subplots(rows, columns, squeeze=False, sharey="row" if share_rows else False)
    for axis in axes.flat:
        _clean(axis)
    return figure, axes


def _clean(axis: Axes) -> None:
    axis.grid(color=_GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(colors=_INK, labelsize=9)
    axis.title.set_fontsize(11)


def finish(figure: Figure, title: str, note: str, handles: Sequence[Line2D]) -> None:
    """Title, a line on how to read the figure, and the legend below all panels, where it covers nothing."""
    figure.suptitle(title, fontsize=14, color=_INK)
    legend = figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=min(len(handles), 4 if max(len(str(h.get_label())) for h in handles) < 24 else 2),
        frameon=False,
        title=textwrap.fill(note, int(NOTE_DENSITY * figure.get_figwidth())),
        title_fontsize=8.5,
    )
    legend.get_title().set_color("#666666")
    legend.get_title().set_multialignment("center")


def style_of(number: int) -> tuple[str, str]:
    """Colour and marker of the arm of that number."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _dash(number: int) -> Any:
    return DASHES[number % len(DASHES)]


def _arm_handles(results: Results) -> list[Line2D]:
    return [_arm_handle(number, arm) for number, arm in enumerate(results.arms)]


def _arm_handle(number: int, name: str) -> Line2D:
    colour, marker = style_of(number)
    return Line2D([], [], color=colour, marker=marker, markeredgecolor="white", label=_short(name))


def _short(name: str, length: int = 44) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _evaluations(runs: Sequence[Run]) -> tuple[NDArray[np.int64], Floats]:
    """Steps (E,) and mean sampled rewards (S, E, K) of an arm's evaluations, which all its runs make alike."""
    return runs[0].evaluation_steps, np.stack([run.evaluations for run in runs])
