"""docs/classic.md says what the exported rows say."""

import csv
from pathlib import Path

import pytest
from docs_script import docs_script

from llm_morl_agents.classic import ALGORITHMS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    with docs_script("build_classic") as module:
        yield module


def rows(section):
    with (ROOT / "docs" / "results" / f"classic-{section.name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_is_made_of_the_tables(script):
    assert script.PAGE.read_text(encoding="utf-8") == script.page()


def test_every_run_is_there(script):
    for section in script.SECTIONS:
        expected = {(entry.method, str(seed)) for entry in section.entries for seed in range(entry.seeds)}
        assert {(row["method"], row["seed"]) for row in rows(section)} == expected


def test_every_algorithm_runs_on_the_page(script):
    trained = {entry.command[2] for section in script.SECTIONS for entry in section.entries}
    assert {name for name in ALGORITHMS if name not in trained} == set()


def test_no_run_took_longer_than_it_may(script):
    """A part of a library's own loop may be left to finish."""
    for section in script.SECTIONS:
        limits = {entry.method: entry.cpu_seconds for entry in section.entries}
        for row in rows(section):
            assert float(row["cpu_seconds"]) <= 1.25 * limits[row["method"]] + 1


def test_commands_name_the_task_the_view_and_the_place(script):
    (section,) = [section for section in script.SECTIONS if section.name == "index"]
    classic, *_, language = script.calls(section)
    told = " ".join(classic.command)
    assert "--env ToolCall-MO-v0 --env-kwargs difficulty=easy k=2" in told
    assert "certainty=0.99 --view index --seeds 3" in told
    assert [folder.name for folder in classic.folders] == ["envelope-seed0", "envelope-seed1", "envelope-seed2"]
    assert "--seed 2" in " ".join(language.command)
    assert language.folders[0].name == "lm-conditioned-2"
