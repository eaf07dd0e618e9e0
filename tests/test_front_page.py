"""Figures, tables and the page of gathered fronts."""

from __future__ import annotations

from html.parser import HTMLParser
from io import StringIO

import matplotlib.colors
import numpy as np
import pytest
from front_policies import CoinPolicy, FixedPolicy
from rich.console import Console
from test_front_gather import DENT, TOOL, chance, record

from llm_morl_agents.fronts.gather import Gathered, gather
from llm_morl_agents.fronts.page import make_page, render_html, terminal_tables
from llm_morl_agents.fronts.plots import MOST_METHODS, dominated_outline, pairs, parallel, save_figures
from llm_morl_agents.fronts.table import EXACT, distance_table, policy_table, utility_table, volume_table
from llm_morl_env.metrics import hypervolume


@pytest.fixture(scope="module")
def two() -> Gathered:
    lucky = [
        CoinPolicy("lucky <one>", (0.3, 0.7), weights=np.array([0.2, 0.8]), claimed=np.array([0.5, 1.0])),
        CoinPolicy("lucky two", (0.7, 0.3), weights=np.array([0.8, 0.2]), claimed=np.array([1.0, 0.5])),
        CoinPolicy("poor", (0.1, 0.1), weights=np.array([0.5, 0.5]), claimed=np.array([0.1, 0.1])),
    ]
    model = [FixedPolicy("model", (0.5, 0.5))]
    records = [
        (chance(), ""),
        (record("pcn", lucky, seed=0), "runs"),
        (record("pcn", lucky, seed=1), "runs"),
        (record("soup & more", model, kind="language model"), "runs"),
    ]
    return gather(records, title=DENT, chance="random", remarks=("a remark",))


@pytest.fixture(scope="module")
def three() -> Gathered:
    policies = [FixedPolicy(str(i), (0.2 * i, 0.5 * i, 1.0 - 0.2 * i)) for i in range(5)]
    records = [
        (record("gpi_ls", policies, env_id=TOOL), ""),
        (record("random", [FixedPolicy("r", (0.1, -2.0, 0.3))], env_id=TOOL, kind="baseline"), ""),
        (record("gold answers", [FixedPolicy("g", (1.0, 3.0, 1.0))], env_id=TOOL, kind="baseline"), ""),
    ]
    return gather(records, title=TOOL, chance="random", gold="gold answers")


def test_the_outline_encloses_the_hypervolume():
    generator = np.random.default_rng(0)
    points = generator.random((12, 2))
    points[0] = (-0.5, 0.3)  # below the corner
    x, y = dominated_outline(points, [0.1, 0.2]).T
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert area == pytest.approx(hypervolume(points, [0.1, 0.2]))


def test_two_objectives_make_one_panel_with_all_that_there_is(two):
    figure = pairs(two)
    assert figure is not None
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("a", "b")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [*(m.name for m in two.methods), "exact front of single answers"]
    points = {tuple(np.round(row, 6)) for part in axis.collections for row in np.asarray(part.get_offsets())}
    for method in two.methods:
        for found in method.records:
            assert {tuple(row) for row in np.round(found.evaluation.means, 6)} <= points
    assert {(0.5, 1.0), (1.0, 0.5)} <= points  # the claims
    known = [line for line in axis.get_lines() if len(line.get_xdata()) == 7]
    assert len(known) == 1
    assert parallel(two) is None


def test_shading_has_the_colours_of_its_methods(two):
    figure = pairs(two)
    assert figure is not None
    faces = {matplotlib.colors.to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches}
    assert len(faces) == len(two.trained)


def test_three_objectives_make_three_panels_and_parallel_coordinates(three):
    figure = pairs(three)
    assert figure is not None
    assert [(a.get_xlabel(), a.get_ylabel()) for a in figure.axes] == [
        ("format", "correctness"),
        ("format", "brevity"),
        ("correctness", "brevity"),
    ]
    lines = parallel(three)
    assert lines is not None
    drawn = [line.get_ydata() for line in lines.axes[0].get_lines() if len(line.get_xdata()) == 3]
    best = sum(int(r.evaluation.best.sum()) for m in three.methods for r in m.records)
    assert len(drawn) == best
    assert any(np.allclose(values, [1.0, 1.0, 1.0]) for values in drawn)


def test_many_methods_leave_the_last_ones_to_the_table():
    records = [(record(f"method {i}", [FixedPolicy("p", (0.1 * i, 0.5))]), "") for i in range(9)]
    gathered = gather(records, title=DENT)
    figure = pairs(gathered)
    assert figure is not None
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:-1] == [f"method {i}" for i in range(8, 8 - MOST_METHODS, -1)]
    assert len(volume_table(gathered).rows) == 10


def test_the_same_fronts_give_the_same_bytes(two, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (first,), (second,) = save_figures(two, tmp_path / "a"), save_figures(two, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_tables_say_the_numbers(two, three):
    volumes = {row[0]: row for row in volume_table(two).rows}
    assert volumes["pcn"][1] == "2/3"
    measured = two.methods[[m.name for m in two.methods].index("pcn")].measures["hypervolume"]
    assert volumes["pcn"][3].startswith(f"{measured.value:.3f} [")
    assert volumes["pcn"][2] == "0.750"
    assert volumes["pcn"][5] == "2 x 2 seeds"
    assert volumes["soup & more"][2] == "–"
    assert volumes[EXACT][3].startswith("0.417")
    utilities = {row[0]: row for row in utility_table(two).rows}
    assert utilities["random"][4].startswith("0.00")
    assert utilities["random"][3] == "–"
    assert utilities["pcn"][3] != "–"
    assert [row[0] for row in distance_table(three).rows] == ["gpi_ls", "gold answers", "random"]
    rows = policy_table(three).rows
    assert len(rows) == 7
    assert any("1.000 [1.000, 1.000]" in row[2] for row in rows)


class Page(HTMLParser):
    """Tags in balance, and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.cells: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.references += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "li", "h1"):
            self.cells.append(data.strip())


@pytest.mark.parametrize("which", ["two", "three"])
def test_the_page_is_whole_and_needs_nothing_else(which, request, tmp_path):
    gathered = request.getfixturevalue(which)
    path = make_page(gathered, tmp_path, {"difficulty": "easy"})
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert "url(" not in text
    assert page.counts["img"] == {"two": 1, "three": 2}[which]
    assert page.counts.get("script", 0) == page.counts.get("link", 0) == 0
    names = [method.name for method in gathered.methods]
    assert set(names) <= set(page.cells)
    for grid in (volume_table(gathered), utility_table(gathered), distance_table(gathered), policy_table(gathered)):
        for row in grid.rows:
            assert {cell for cell in row if cell} <= set(page.cells)


def test_names_are_escaped_and_remarks_shown(two):
    text = render_html(two, [], {})
    assert "lucky &lt;one&gt;" in text
    assert "lucky <one>" not in text
    assert "<li>a remark</li>" in text


def test_the_terminal_shows_every_method(two):
    shown = StringIO()
    Console(width=120, file=shown).print(terminal_tables(two))
    for name in ("pcn", "soup & more", "random", EXACT, "a remark", "share of gap"):
        assert name in shown.getvalue()
