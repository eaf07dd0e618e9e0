"""``llm-morl front``: what it finds, what it leaves out, what it writes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from front_policies import FixedPolicy
from test_front_gather import record

from llm_morl_agents.cli import main
from llm_morl_agents.commands.front import FrontOptions, baselines
from llm_morl_agents.experiments.compare import TASK, jobs_of, open_folder
from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.runner import run
from llm_morl_agents.fronts.record import read_record, write_record
from llm_morl_agents.fronts.sources import RunsSource, Subject, find_sources

DENT, TOOL = "DentFront-MO-v0", "ToolCall-MO-v0"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison over two preferences with two seeds, of which one run is not finished."""
    out = tmp_path_factory.mktemp("runs")
    config = CompareConfig(
        env=DENT,
        arms=("gdpo:static",),
        preferences=2,
        seeds=2,
        policies=("scratch",),
        steps=1,
        prompts=2,
        group_size=2,
        eval_problems=4,
        eval_samples=1,
        out=out,
        name="cmp",
    )
    config.folder.mkdir()
    open_folder(config)
    (config.folder / TASK).write_text(json.dumps({"objectives": ["a", "b"], "pareto_front": None}))
    for job in jobs_of(config, config.folder):
        assert run(config, job.arm, job.seed, job.folder) is not None
    sorted(config.folder.rglob("finished.json"))[-1].unlink()
    return out


def test_baselines_alone(tmp_path, capsys):
    out = tmp_path / "front"
    assert main(["front", "--env", DENT, "--out", str(out), "--episodes", "40"]) == 0
    printed = capsys.readouterr().out
    assert "random" in printed
    assert "exact Pareto front" in printed
    assert {path.name for path in out.iterdir()} == {"front.png", "front.html", "records"}
    found = read_record(out / "records" / "random")
    assert (found.kind, found.view, len(found.evaluation.problems)) == ("baseline", "token", 40)


def test_records_and_runs_stand_side_by_side(compared, tmp_path, capsys):
    write_record(record("pcn", [FixedPolicy("p", (0.5, 0.5))]), tmp_path / "classic" / "pcn-seed0")
    write_record(record("tool", [FixedPolicy("p", (0.5, 0.0, 0.5))], env_id=TOOL), tmp_path / "classic" / "tool")
    out = tmp_path / "front"
    command = ["front", "--env", "mo-dentfront-v0", "--from", str(tmp_path), str(compared), "--out", str(out)]
    assert main(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("pcn", "gdpo:static", "random", f"fronts of other tasks: {TOOL}", "1 runs are not finished"):
        assert text in printed
    kept = sorted(path.parent for path in out.rglob("front.json"))
    runs = [read_record(path) for path in kept if "cmp" in path.name]
    assert [(r.method, r.seed, len(r.evaluation.labels)) for r in runs] == [
        ("gdpo:static", 0, 2),
        ("gdpo:static", 1, 1),
    ]
    assert {len(r.evaluation.problems) for r in runs} == {40}  # as many as the record that was there
    assert runs[0].steps == 2
    assert runs[0].cpu_seconds is not None
    assert runs[0].evaluation.labels == ("weights 0 1", "weights 1 0")
    assert runs[0].settings == runs[1].settings
    assert (runs[0].settings["steps"], runs[0].settings["preferences"]) == (1, 2)
    assert not {"seed", "seeds", "out", "env", "eval_problems"} & runs[0].settings.keys()
    before = {path: os.stat(path / "front.json").st_mtime_ns for path in kept if "cmp" in path.name}
    assert main(command) == 0
    assert before == {path: os.stat(path / "front.json").st_mtime_ns for path in before}  # not evaluated again


def test_what_was_kept_of_runs_with_other_settings_is_evaluated_again(compared, tmp_path):
    source = next(s for s in find_sources([compared])[0] if isinstance(s, RunsSource))
    arguments = {"n_episodes": 30, "split": "eval", "seeds": (0,)}
    first = source.record(tmp_path, **arguments)
    assert source.record(tmp_path, **arguments).versions == first.versions
    written = os.stat(tmp_path / "front.json").st_mtime_ns
    other = replace(source, settings={**source.settings, "learning_rate": 0.5})
    assert other.record(tmp_path, **arguments).settings["learning_rate"] == 0.5
    assert os.stat(tmp_path / "front.json").st_mtime_ns > written


def test_runs_of_different_settings_are_no_seeds_of_each_other(tmp_path, capsys):
    for seed, rate in ((0, 0.1), (1, 0.1), (2, 0.01)):
        found = record("pcn", [FixedPolicy("p", (0.5, 0.5))], seed=seed, settings={"learning_rate": rate, "gamma": 1.0})
        write_record(found, tmp_path / "runs" / f"pcn-{seed}")
    out = tmp_path / "front"
    assert main(["front", "--from", str(tmp_path / "runs"), "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("pcn (learning_rate=0.1)", "pcn (learning_rate=0.01)", "2 x 2 seeds"):
        assert text in printed
    page = (out / "front.html").read_text()
    assert "&#34;learning_rate&#34;: 0.01, &#34;gamma&#34;: 1}" in page
    write_record(
        record("pcn", [FixedPolicy("p", (0.6, 0.4))], seed=2, settings=found.settings), tmp_path / "runs" / "z"
    )
    assert main(["front", "--from", str(tmp_path / "runs"), "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("pcn (learning_rate=0.01, pcn-2)", "pcn (learning_rate=0.01, z)", "are not averaged: pcn, seed 2"):
        assert text in printed


def test_methods_that_chose_among_options_of_a_model_are_compared_with_its_first_one(tmp_path, capsys):
    kwargs = {"difficulty": "easy", "language_model": "tiny", "k": 4, "obs_mode": "features"}
    for seed, method in enumerate(("pcn", "envelope")):
        found = record(
            method, [FixedPolicy("p", (0.5, 0.0, 0.5))], env_id=TOOL, env_kwargs=kwargs, view="index", seed=seed
        )
        write_record(found, tmp_path / "runs" / method)
    gone = {"difficulty": "easy", "candidates": str(tmp_path / "gone.jsonl")}
    write_record(
        record("sb3", [FixedPolicy("p", (0.5, 0.0, 0.5))], env_id=TOOL, env_kwargs=gone, view="choice"),
        tmp_path / "runs" / "sb3",
    )
    out = tmp_path / "front"
    command = ["front", "--from", str(tmp_path / "runs"), "--out", str(out), "--policy", "none", "--episodes", "40"]
    assert main(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("first option of index") == 3  # a row in each table
    assert "first option of choice was left out" in printed
    assert {path.name for path in (out / "records").iterdir()} == {"random", "gold-answers", "first-option-of-index"}
    first = read_record(out / "records" / "first-option-of-index")
    assert (first.kind, first.view, first.env_kwargs["language_model"]) == ("baseline", "index", "tiny")
    assert first.evaluation.measures["expected_utility"].value > 0.9


def test_the_task_is_that_of_the_fronts(tmp_path, capsys):
    short = record("pcn", [FixedPolicy("p", (0.5, 0.5))], env_kwargs={"length": 4, "obs_mode": "onehot"})
    write_record(short, tmp_path / "runs" / "a")
    out = tmp_path / "front"
    assert main(["front", "--from", str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert f"{DENT} (length=4)" in capsys.readouterr().out
    assert read_record(out / "records" / "random").env_kwargs == {"length": 4}
    longer = record("pcn", [FixedPolicy("p", (0.5, 0.5))], env_kwargs={"length": 5})
    write_record(longer, tmp_path / "runs" / "b")
    assert main(["front", "--from", str(tmp_path / "runs"), "--out", str(out)]) == 2
    assert "of several tasks" in capsys.readouterr().err
    named = ["front", "--from", str(tmp_path / "runs"), "--env-kwargs", "length=5", "--out", str(out)]
    assert main(named) == 0
    assert f"{DENT} (length=5)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "nowhere"], "there is no folder nowhere"),
        (["--from", "."], "holds no front"),
        (["--env", "Nothing-MO-v0"], "Nothing"),
        (["--env", DENT, "--episodes", "0"], "episodes must be at least 1"),
        (["--env", DENT, "--episodes", "3"], "n_episodes"),
        (["--env", DENT, "--split", "nowhere"], "split"),
        (["--env", DENT, "--env-kwargs", "length=0"], "length"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["front", *arguments, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_no_front_of_the_environment(tmp_path, capsys):
    write_record(record("tool", [FixedPolicy("p", (0.5, 0.0, 0.5))], env_id=TOOL), tmp_path / "a")
    assert main(["front", "--env", DENT, "--from", str(tmp_path)]) == 2
    assert f"they are of {TOOL}" in capsys.readouterr().err


def test_runs_are_grouped_by_method_and_seed(compared):
    sources, remarks = find_sources([compared, compared / "cmp"])
    assert all(isinstance(source, RunsSource) for source in sources)
    assert [(s.method, s.seed, len(s.jobs)) for s in sources if isinstance(s, RunsSource)] == [
        ("gdpo:static", 0, 2),
        ("gdpo:static", 1, 1),
    ]
    assert len(remarks) == 1


def test_views_do_not_make_another_task():
    assert Subject.of("mo-dentfront-v0", {"length": 4, "obs_mode": "ids"}) == Subject.of(DENT, {"length": 4})
    assert Subject.of(DENT, {}) != Subject.of(DENT, {"length": 4})
    with pytest.raises(UserError, match="JSON"):
        Subject.of(DENT, {"transforms": [object()]})


def test_each_baseline_where_it_exists():
    def labels(env_id: str, **options: str) -> list[str]:
        return [policy.label for policy, _ in baselines(FrontOptions(**options), Subject.of(env_id, {}))]

    assert labels(DENT) == ["random"]
    assert labels(TOOL) == ["random", "tiny, untrained", "gold answers"]
    assert labels(TOOL, policy="none") == ["random", "gold answers"]
    assert labels("Summarize-MO-v0", policy="none")[0] == "random"


def test_help_teaches(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["front", "--help"])
    printed = capsys.readouterr().out
    for text in ("--from", "front.html", "--env-kwargs", "llm-morl front --env"):
        assert text in printed


def test_records_are_plain_files(tmp_path):
    write_record(record("pcn", [FixedPolicy("p", (0.5, 0.5))]), tmp_path)
    assert json.loads((tmp_path / "front.json").read_text())["method"] == "pcn"
