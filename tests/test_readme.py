"""What README and docs show works: their Python runs, their commands have the options shown, their links exist."""

import re
import shlex
import subprocess
import sys
from collections import defaultdict
from itertools import takewhile
from pathlib import Path

import pytest
from classic_extra import require

from llm_morl_agents.agents import AGENTS
from llm_morl_agents.classic import ALGORITHMS
from llm_morl_agents.classic.algorithms import Needs
from llm_morl_agents.classic.compat import DEFECTS
from llm_morl_agents.cli import COMMANDS, main
from llm_morl_agents.experiments.arms import parse_arms
from llm_morl_agents.weighters import WEIGHTERS
from llm_morl_env.registration import IDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def run(arguments: list[str], directory: Path) -> str:
    done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands(*pages: Path) -> list[list[str]]:
    """Every line ``llm-morl ...`` of a shell block as arguments, without its comment."""
    shell = [block.replace("\\\n", " ") for page in pages for block in blocks(page, "bash")]
    lines = [line for block in shell for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("llm-morl ")]


def is_classic(block: str) -> bool:
    """Whether it needs the extra classic."""
    return "train_classic(" in block


PYTHON = [
    pytest.param(page, block, id=f"{page.name}-{number}", marks=[pytest.mark.classic] if is_classic(block) else [])
    for number, (page, block) in enumerate((page, block) for page in PAGES for block in blocks(page, "python"))
]


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_runs(page, block, tmp_path):
    """As a user runs it: in a fresh process, beside the named TOML files of the page, with warnings as errors."""
    if is_classic(block):
        require("morl_baselines")
    for text in blocks(page, "toml"):
        if name := re.match(r"# ([\w-]+\.toml)\n", text):
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
    run([sys.executable, "-W", "error", "-c", f"import torch\ntorch.set_num_threads(1)\n{block}"], tmp_path)


def test_first_example_is_short_and_trains():
    example = blocks(ROOT / "README.md", "python")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 16
    for part in ("gym.make(", "gym.make_vec(", "GDPO(", "SAW()", "agent.learn("):
        assert part in example


def test_own_prompts_and_rewards(tmp_path):
    """The files of the README, and its command with the embedded model and a small budget."""
    module = next(b for b in blocks(ROOT / "README.md", "python") if b.startswith("# my_module.py"))
    (tmp_path / "my_module.py").write_text(module, encoding="utf-8")
    (tmp_path / "prompts.jsonl").write_text(blocks(ROOT / "README.md", "jsonl")[0], encoding="utf-8")
    (command,) = [command for command in commands(ROOT / "README.md") if "prompts.jsonl" in command]
    command[command.index("path/to/model")] = "tiny"
    command += ["--steps", "1", "--prompts", "1", "--group-size", "4", "--max-new-tokens", "8", "--name", "own"]
    run([sys.executable, "-m", "llm_morl_agents.cli", *command], tmp_path)
    assert (tmp_path / "runs" / "own" / "report.html").is_file()


def test_commands_have_the_options_shown(capsys):
    shown = defaultdict(set)
    for name, *rest in commands(*PAGES):
        shown[name] |= {argument.split("=")[0] for argument in rest if argument.startswith("--")}
        for option in {"--arms", "--arm"} & set(rest):
            parse_arms([*takewhile(lambda text: not text.startswith("--"), rest[rest.index(option) + 1 :])])
    assert {name for name, *_ in commands(ROOT / "docs" / "command-line.md")} == COMMANDS.keys()
    assert shown.keys() == COMMANDS.keys()
    for name, options in shown.items():
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
        known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
        assert options <= known, name


def test_every_weighter_has_a_row():
    """Under its name and its class, once."""
    page = (ROOT / "docs" / "weighters.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, flags=re.MULTILINE)
    assert sorted(rows) == sorted((name, weighter.__name__) for name, weighter in WEIGHTERS.items())


def needs_in_words(needs: Needs) -> str:
    """As the table of docs/classic-algorithms.md says it."""
    words = [f"{needs.min_objectives} objectives"] if needs.min_objectives > 1 else []
    words += ["one start"] if needs.one_start else []
    words += [] if needs.max_states is None else [f"{needs.max_states:,} states at most"]
    words += ["action masks"] if needs.masks else []
    return ", ".join(words)


def test_every_classic_algorithm_has_its_row():
    """In the order of the code, with what that says of it."""
    page = (ROOT / "docs" / "classic-algorithms.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:3] == "| `"]
    expected = [
        [
            f"`{row.name}`",
            row.title,
            row.library.replace("_", "-"),
            row.policies,
            needs_in_words(row.needs),
            ", ".join(f"`{preset}`" for preset in row.presets if preset != "default"),
        ]
        for row in ALGORITHMS.values()
    ]
    assert [row for row in rows if len(row) == 6] == expected


def test_everything_done_to_morl_baselines_is_told():
    page = (ROOT / "docs" / "classic-algorithms.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- `(\w+)`: ", page, flags=re.MULTILINE)
    assert listed == list(DEFECTS)


def test_overview_names_everything():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w-]+)`", readme))
    expected = {*IDS, *(agent.__name__ for agent in AGENTS.values()), *(w.__name__ for w in WEIGHTERS.values())}
    assert expected <= named
    agents = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", agents, flags=re.MULTILINE)
    assert {agent.__name__ for agent in AGENTS.values()} <= set(rows)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_exist(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target
