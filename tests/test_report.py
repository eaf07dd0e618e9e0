"""The report: files, tables, one HTML file that needs nothing else."""

import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console
from test_summary import made_results, made_run

from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.notes import notes
from llm_morl_agents.experiments.plots import save_figures
from llm_morl_agents.experiments.report import REPORT, make_report, render_html, terminal_tables
from llm_morl_agents.experiments.results import load_results
from llm_morl_agents.experiments.runner import FINISHED
from llm_morl_agents.experiments.summary import summarise
from llm_morl_agents.experiments.tables import main_grid, primary_grid

FILES = {"config.toml", "metrics.jsonl", "summary.csv", "seeds.csv", "curves.png", "weights.png", "front.png", REPORT}


@pytest.fixture
def folder(finished_experiment, tmp_path):
    return shutil.copytree(finished_experiment, tmp_path / "copy")


def shown(results, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal_tables(results, summarise(results)))
    return console.file.getvalue()


class Page(HTMLParser):
    """Every address that a page names, and its text."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.words, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "action")]

    def handle_data(self, data):
        self.words.append(data)


def test_all_files_are_written(folder):
    make_report(folder, Console(file=io.StringIO()))
    assert {path.name for path in folder.iterdir() if path.is_file()} - {".lock"} == FILES


def test_page_needs_nothing_else(folder):
    make_report(folder, Console(file=io.StringIO()))
    text = (folder / REPORT).read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"https?://|@import|url\(", text)


def test_page_holds_numbers_examples_settings_and_cautions(folder):
    make_report(folder, Console(file=io.StringIO()))
    text = "".join(Page((folder / REPORT).read_text(encoding="utf-8")).words)
    static = summarise(load_results(folder)).arms[0]
    assert f"{static.rise.mean[0]:+.3f} [{static.rise.low[0]:+.3f}, {static.rise.high[0]:+.3f}]" in text
    assert "Answers, before and after" in text
    assert "e?" in text, "a prompt of the evaluation split"
    assert "learning_rate" in text
    assert "one and the same checkpoint" in text
    assert "interval contains 0 is no result" in text


def test_answers_cannot_write_into_the_page(folder):
    for path in folder.glob("runs/*/examples-*.json"):
        path.write_text(path.read_text().replace('"response": "', '"response": "<script>alert(1)</script>'))
    make_report(folder, Console(file=io.StringIO()))
    text = (folder / REPORT).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_again_the_same(folder):
    make_report(folder, Console(file=io.StringIO()))
    first = {name: (folder / name).read_bytes() for name in FILES}
    make_report(folder, Console(file=io.StringIO()))
    assert first == {name: (folder / name).read_bytes() for name in FILES}


def test_unfinished_runs_are_said(folder):
    (folder / "runs" / "gdpo-saw-seed1" / FINISHED).unlink()
    console = Console(file=io.StringIO(), width=300)
    make_report(folder, console)
    assert "Not finished, and not in here: gdpo:saw seed 1" in console.file.getvalue()
    assert "gdpo:saw seed 1" in (folder / REPORT).read_text()


@pytest.fixture
def results(tmp_path):
    arms = {
        "gdpo:static": [made_run("gdpo:static", s, [0.75, 0.0], climb=0.02) for s in range(3)],
        "gdpo:saw": [made_run("gdpo:saw", s, [0.5 + 0.25 * s, 1.5], climb=0.02 * s) for s in range(3)],
    }
    return made_results(tmp_path, arms, thresholds={"format": 0.6})


def test_many_arms_are_cut_and_the_cut_is_said(tmp_path):
    dynamic = [f"gdpo:saw(ema=0.{i})" for i in range(10, 40)]
    arms = {arm: [made_run(arm, s, [0.5, 0.0]) for s in range(2)] for arm in ("gdpo:static", "gdpo:random", *dynamic)}
    results = replace(made_results(tmp_path, arms), unfinished=[f"dvao seed {i}" for i in range(20)])
    text = " ".join(shown(results, width=200).split())
    assert "… and 20 more arms, in report.html and summary.csv" in text
    assert "Static weights: of 30 dynamic arms 0 beat them, 0 lose to them, 30 show no clear difference." in text
    assert "… and 48 more, in report.html" in text
    assert "dvao seed 11 and 8 more" in text
    assert "dvao seed 12" not in text


def test_terminal_tables_fit_80_columns(results):
    text = shown(results)
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"gdpo:static +format +0\.50 +0\.75 ± 0\.00 +\+0\.25 \[\+0\.25, \+0\.25\] +7 *\n", text)
    assert re.search(r"gdpo:saw +format +0\.50 +0\.75 ± 0\.25 .* 6 \(2/3\) *\n", text)
    assert re.search(r"gdpo:static +format +0\.60 → 0\.90 +– *\n +correctness +0\.10 → 1\.00 +– *\n", text)
    assert re.search(r"gdpo:saw +format +0\.60 → 0\.90 +\+0\.00 \[-?\+?0\.\d\d, \+0\.\d\d\] *\n", text)
    assert re.search(r"gdpo:static +format +1\.00 +0\.50 +0\.61 +0\.62 *\n +correctness +1\.00", text)
    words = " ".join(text.split())
    assert "saw does not beat static weights (gdpo:static): hypervolume +0.188 [-0.278, +0.653], 3 seeds." in words
    assert re.search(r"gdpo:saw +0\.562 \[0\.375, 0\.750\] +0\.406 +0\.67 +\+0\.188 \[-0\.278, \+0\.653\] *\n", text)
    assert re.search(r"gdpo:static +0\.375 \[0\.375, 0\.375\] +0\.312 +0\.50 +– *\n", text)
    assert re.findall(r"^(gdpo:\w+) ", text, re.MULTILINE)[:2] == ["gdpo:saw", "gdpo:static"], "the best first"
    assert "final − gdpo:static" in text


def test_five_objectives_fit_80_columns_too(tmp_path):
    names = ("format", "correctness", "brevity", "keys", "values")

    def wider(run):
        """The run with its first objective three times more."""
        more = {
            name: np.concatenate([values, *[values[..., :1]] * 3], axis=-1)
            for name, values in vars(run).items()
            if name in ("evaluations", "start", "final", "greedy")
        }
        series = {k: v if v.ndim == 1 else np.concatenate([v, *[v[:, :1]] * 3], axis=1) for k, v in run.series.items()}
        return replace(run, series=series, **more)

    arms = {arm: [wider(made_run(arm, s, [0.5, 0.5])) for s in range(2)] for arm in ("gdpo:static", "gdpo:saw")}
    results = replace(
        made_results(tmp_path, arms),
        objectives=names,
        low=np.array([0, -3, 0, 0, 0.0]),
        high=np.array([1, 3, 1, 1, 1.0]),
    )
    text = shown(results)
    assert max(map(len, text.splitlines())) <= 80
    assert all(len(re.findall(rf"^(?:gdpo:\w+)? +{name} ", text, re.MULTILINE)) == 6 for name in names)


def test_one_seed_and_never_reached(results):
    alone = replace(results, arms={"gdpo:static": results.arms["gdpo:static"][:1]})
    text = shown(alone)
    assert "0.75 ± –" in text
    assert re.search(r"correctness .* – *\n", text)
    assert "final −" not in text
    said = " ".join(notes(alone, summarise(alone)))
    assert "one seed" in said
    assert "no result" not in said


def test_markup_in_names_is_shown_as_it_is(results):
    odd = replace(results, objectives=("[bold]format[/bold]", "correctness"))
    assert "[bold]" in shown(replace(odd, config=replace(odd.config, thresholds={})), width=200)


def test_levels_are_stated(results):
    summary = summarise(results)
    said = " ".join(notes(results, summary))
    assert "format 0.6, correctness 1.5" in said
    assert "reference point at the low" in said
    assert np.isfinite(summary.thresholds).all()


def test_forty_arms_stay_readable(tmp_path):
    """The terminal shows the best, in 80 columns; tables by objective and figures the user's arms; the page all."""
    names = ["gdpo:saw", "gdpo:frozen_mean(saw)", "gdpo:random"]
    names += [f"gdpo:static(weights=({i / 40}, {1 - i / 40}))" for i in range(1, 38)]
    made = made_results(tmp_path, {n: [made_run(n, s, [0.5, 0.1 * i]) for s in range(2)] for i, n in enumerate(names)})
    results = replace(made, config=CompareConfig(arms=("gdpo:saw",), controls=("grid", "frozen", "random")))
    text = shown(results)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("\n") < 160
    assert "and 28 more arms" in text
    assert "the best of 37" in text.replace("\n", " ")
    summary = summarise(results)
    assert [len(grid.rows) for grid in (primary_grid(results, summary), main_grid(results, summary, 2))] == [40, 2 * 4]
    figures = save_figures(results, tmp_path)
    (tmp_path / "config.toml").touch()
    facts = {"parameters": 1, "versions": {}, "settings": {}, "steps": 12}
    told = {arm: [replace(run, facts=facts) for run in runs] for arm, runs in results.arms.items()}
    page = render_html(replace(results, arms=told), summary, figures)
    assert "gdpo:saw, gdpo:frozen_mean(saw), gdpo:random and 37 more arms" in page
    assert names[20] in page


def test_problems_that_an_objective_does_not_apply_to_are_left_out_and_counted(results, tmp_path):
    def holed(run):
        series = {**run.series, "reward_mean": run.series["reward_mean"].copy()}
        series["reward_mean"][0, 1] = np.nan
        start, final = run.start.copy(), run.final.copy()
        start[:2, 1] = final[:2, 1] = np.nan
        return replace(run, series=series, start=start, final=final)

    some = replace(results, arms={arm: [holed(run) for run in runs] for arm, runs in results.arms.items()})
    whole, left = summarise(results), summarise(some)
    for before, after in zip(whole.arms, left.arms, strict=True):
        np.testing.assert_allclose(after.final, before.final)
        np.testing.assert_allclose(after.rise.mean, before.rise.mean)
        np.testing.assert_allclose(after.by_seed, before.by_seed)
    assert np.isfinite(left.thresholds[0])
    assert "(of 36 final rewards): correctness 12." in " ".join(notes(some, left))
    assert "Left out" not in " ".join(notes(results, whole))
    assert "correctness" in shown(some)
    assert len(save_figures(some, tmp_path)) == 3
