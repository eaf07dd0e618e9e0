"""Live progress: bars on a terminal, lines elsewhere, from files that grow."""

import io
import json

import pytest
from rich.console import Console

from llm_morl_agents.experiments import progress
from llm_morl_agents.experiments.progress import Live, Plain, display, last_step_row, rewards_of, steps_of

ROW = {"kind": "step", "step": 4, "reward_mean/format": 0.5, "reward_mean/correctness": -1.25, "loss": 0.0}


def lines(path, *rows, tail=""):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


@pytest.mark.parametrize(
    ("rows", "tail", "expected"),
    [
        ([ROW], "", ROW),
        ([ROW, {"kind": "evaluation", "step": 5}], "", ROW),
        ([ROW], '{"kind": "step", "step": 5, "rew', ROW),  # being written
        ([{"kind": "evaluation", "step": 0}], "", {}),
        ([], "", {}),
    ],
)
def test_last_step(tmp_path, rows, tail, expected):
    assert last_step_row(lines(tmp_path / "m.jsonl", *rows, tail=tail)) == expected


def test_last_step_of_a_long_file_reads_its_end_alone(tmp_path):
    rows = [{**ROW, "step": i} for i in range(200)]
    assert last_step_row(lines(tmp_path / "m.jsonl", *rows), tail_bytes=300)["step"] == 199


def test_no_file_yet(tmp_path):
    assert last_step_row(tmp_path / "none.jsonl") == {}
    assert steps_of({}) == 0


def test_rewards_as_text():
    assert rewards_of(ROW) == "format 0.50  correctness -1.25"
    assert steps_of(ROW) == 5


def test_choice_by_terminal():
    assert isinstance(display(Console(file=io.StringIO(), force_terminal=True), 8, 16), Live)
    assert isinstance(display(Console(file=io.StringIO()), 8, 16), Plain)


def test_plain_lines(monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=40)
    with Plain(console, 8, 16) as shown:
        shown.say("[beginning]")
        shown.show({"a seed 0": ROW, "b seed 0": {}}, 5)
    text = console.file.getvalue()
    assert "[beginning]\n" in text
    assert "5/16 steps" in text
    assert "a seed 0: 5/8  format 0.50  correctness -1.25\n" in text
    assert "b seed 0: 0/8  starting\n" in text


def test_plain_lines_are_rare():
    console = Console(file=io.StringIO())
    with Plain(console, 8, 16) as shown:
        for _ in range(10):
            shown.show({"a": ROW}, 5)
    assert console.file.getvalue() == ""


def test_live_bars_come_and_go():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Live(console, 8, 16) as shown:
        shown.show({"first run": ROW}, 5)
        shown.show({"second run": {}}, 8)
        shown.say("first run: finished")
        text = "\n".join(str(column) for column in shown._progress.tasks)
        assert [task.description for task in shown._progress.tasks] == ["all runs", "second run"]
        assert shown._progress.tasks[0].completed == 8
        assert "first run" not in text
    assert "first run: finished" in console.file.getvalue()
