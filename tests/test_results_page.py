"""docs/results.md says what the exported rows say."""

import csv
from pathlib import Path

import pytest
from docs_script import docs_script

from llm_morl_agents.experiments.controls import all_arms

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def results():
    with docs_script("build_results") as module:
        yield module


def test_the_page_is_what_the_tables_give(results):
    assert results.PAGE.read_text(encoding="utf-8") == results.page()


def test_every_table_holds_whole_runs(results):
    files = [path for path in sorted(results.TABLES.glob("*.csv")) if path.stem in results.suites()]
    assert files
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        config = results.suites()[path.stem]
        arms = all_arms(config, sum(name.startswith("final/") for name in rows[0]))
        assert {row["arm"] for row in rows} == {arm.text for arm in arms}
        assert len(rows) == len(arms) * config.seeds
        assert {row["steps"] for row in rows} == {str(config.steps)}


def test_the_tables_stay_small(results):
    assert sum(path.stat().st_size for path in results.TABLES.iterdir()) < 2_000_000


def test_a_table_is_read_by_arm_and_seed(results, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("arm,seed,policy,hypervolume\na,0,p,0.25\na,1,p,0.75\nb,1,p,0.5\nb,0,p,\n")
    table = results.read_table(path)
    assert table.arms == ["a", "b"]
    assert float(table.interval("a").mean[0]) == 0.5
    assert table.values("b")[0] == 0.5
    assert str(table.values("b")[1]) == "nan"
