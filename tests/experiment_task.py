"""An experiment that runs in a second: the letters of `tiny_task` as a user's own data and rewards, in files."""

import json
from dataclasses import replace

from tiny_task import LETTERS, save_policy

from llm_morl_agents.experiments.compare import jobs_of, open_folder
from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.runner import METRICS, read_rows, run

#: The module that a user would write. Its second function can kill or hold its process at the n-th batch it scores.
REWARDS = """
import os, pathlib, signal, time
from llm_morl_rewards import reward

HERE = pathlib.Path(__file__).parent
scored = 0


@reward(low=0.0, high=1.0)
def correct(problem, response):
    return float(response[:1] == problem.target)


@reward(low=0.0, high=1.0, kind="batch")
def short(problems, responses):
    global scored
    scored += 1
    trap = HERE / f"trap-{os.environ.get('TRAP', 'none')}"
    if trap.exists() and scored == int(trap.read_text().split()[1]):
        if trap.read_text().split()[0] == "kill":
            trap.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        (HERE / "held").touch()
        while trap.exists():
            time.sleep(0.01)
    return [max(0.0, 1.5 - 0.5 * len(r)) if r else 0.0 for r in responses]


@reward(low=0.0, high=1.0)
def broken(problem, response):
    raise RuntimeError("the judge is asleep")


rewards = [correct, short]
crashing = [correct, broken]
"""


def make_workspace(directory):
    """A user's working directory: ``own_rewards.py``, ``prompts.jsonl``, ``policy/``."""
    (directory / "own_rewards.py").write_text(REWARDS)
    rows = [{"prompt": f"{letter}?", "target": letter} for letter in LETTERS * 3]
    (directory / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_policy(directory / "policy")
    return directory


def small(directory, **changes):
    """The options of a comparison in a workspace."""
    config = CompareConfig(
        arms=("gdpo:static", "gdpo:saw"),
        seeds=1,
        data=directory / "prompts.jsonl",
        rewards="own_rewards:rewards",
        policies=(str(directory / "policy"),),
        tokenizer=directory / "policy",
        max_response_tokens=3,
        prompts=4,
        group_size=4,
        steps=6,
        eval_every=2,
        eval_problems=4,
        eval_samples=1,
        checkpoint_every=2,
        settings={"learning_rate": 0.01},
        out=directory / "runs",
    )
    return replace(config, **changes)


def run_experiment(config):
    """Take every run of a comparison to its end in this process; returns the folder."""
    config.folder.mkdir(parents=True)
    open_folder(config)
    for job in jobs_of(config, config.folder):
        assert run(config, job.arm, job.seed, job.folder) is not None
    return config.folder


def without_times(folder):
    """What a run wrote, times apart: rows of the metrics, and the bytes of its arrays and examples."""
    rows = [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in read_rows(folder / METRICS)]
    files = sorted([*folder.glob("*.npy"), *folder.glob("examples-*.json")])
    return rows, {file.name: file.read_bytes() for file in files}
