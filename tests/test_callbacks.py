"""Callbacks: records, progress, periodic evaluation."""

import json

import numpy as np
import pytest
from tiny_task import load, make_env

from llm_morl_agents.agents import GDPO
from llm_morl_agents.callbacks import EvaluateEvery, JsonLines, ProgressBar, append_json_line
from llm_morl_agents.report import StepReport


@pytest.fixture
def agent(policy_directory):
    return GDPO(make_env(policy_directory), load(policy_directory), learning_rate=1e-2)


def test_json_lines_hold_every_report(agent, tmp_path):
    path, reports = tmp_path / "deep" / "metrics.jsonl", []
    agent.learn(2, [JsonLines(path), reports.append])
    agent.learn(1, [JsonLines(path), reports.append])  # appends
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows == [report.as_row() for report in reports]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert {"reward_mean/correct", "weight/short", "advantage_share/short", "kl", "cpu_seconds"} <= rows[0].keys()


def test_lines_are_written_at_once(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_json_line(path, {"a": 1})
    assert path.read_text() == '{"a": 1}\n'
    append_json_line(path, {"a": "é"})
    assert [json.loads(line)["a"] for line in path.read_text(encoding="utf-8").splitlines()] == [1, "é"]


def test_progress_bar_counts_steps_and_shows_rewards(agent, capsys):
    with ProgressBar(3, "gdpo") as bar:
        agent.learn(3, [bar])
    shown = capsys.readouterr().out
    assert "gdpo" in shown
    assert "3/3" in shown
    assert "correct 0." in shown


def test_evaluate_every(agent):
    seen, calls = [], []
    callback = EvaluateEvery(lambda: calls.append(agent.step_count) or "result", 2, lambda n, e: seen.append((n, e)))
    agent.learn(5, [callback])
    assert seen == [(2, "result"), (4, "result")]
    assert calls == [2, 4]  # the agent has counted the step when its evaluation begins
    with pytest.raises(ValueError, match=r"EvaluateEvery\(every=\) must be at least 1, got 0"):
        EvaluateEvery(agent.evaluate, 0, lambda n, e: None)


def test_evaluate_every_with_an_agent(agent):
    seen = []
    agent.learn(2, [EvaluateEvery(lambda: agent.evaluate(8), 1, lambda n, e: seen.append(e.as_row()))])
    assert len(seen) == 2
    assert seen[0].keys() == {"greedy/correct", "greedy/short", "sampled/correct", "sampled/short"}


def test_reports_are_flat_and_frozen(agent):
    report = agent.step()
    assert all(isinstance(value, (int, float)) for value in report.as_row().values())
    assert np.isfinite(list(report.as_row().values())).all()
    assert isinstance(report, StepReport)
    with pytest.raises(AttributeError):
        report.loss = 0.0
