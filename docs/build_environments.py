"""Writes a page for each environment from its docstrings, with a thumbnail: ``python docs/build_environments.py``.

What stands in a page comes from the code: the sections of the docstring of the task's maker, the spaces and bounds of
the environments themselves, and answers that the task's rewards have scored. A test compares the pages with what this
makes.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
import textwrap
from pathlib import Path

import docstring_parser
import gymnasium as gym
import numpy as np
from matplotlib.figure import Figure

import llm_morl_env
from llm_morl_env.examples import QUALITIES, ScoredAnswer, scored_examples
from llm_morl_env.registration import ALIASES, IDS, TASKS
from llm_morl_env.rendering import printable
from llm_morl_env.task import Task

DOCS = Path(__file__).parent
PAGES = DOCS / "environments"
THUMBNAILS = DOCS / "images" / "environments"
#: Which problem of the evaluation split a page shows.
SHOWN = 1
_COLOURS = {"good": "#2a9d8f", "mediocre": "#e9c46a", "bad": "#e76f51"}


def page(env_id: str) -> str:
    """The Markdown page of an environment."""
    name = IDS[env_id]
    task = llm_morl_env.make_task(name)
    doc = docstring_parser.parse(inspect.getdoc(pkgutil.resolve_name(TASKS[name])) or "", docstring_parser.Style.GOOGLE)
    text = "\n\n".join(part for part in (doc.short_description, doc.long_description) if part)
    alias = next(alias for alias, target in ALIASES.items() if target == env_id)
    lines = [
        f"# {env_id}",
        "",
        f"![A problem and the rewards of three answers](../images/environments/{name}.png)",
        "",
        _linked(text),
        "",
        "## Spaces",
        "",
        *_spaces(env_id, task),
        "",
        "## Example",
        "",
        *_example(task),
        "",
        "## Arguments",
        "",
        *(f"- `{p.arg_name}`: {_one_line(p.description or '')}" for p in doc.params),
        "",
        f"Alias: `{alias}`. Views, info and options of `reset`: [environments](../environments.md).",
    ]
    return "\n".join(lines) + "\n"


def _linked(text: str) -> str:
    """Single backticks are the docstrings' references, code in Markdown; doctests stay in the code."""
    text = re.sub(r"(?ms)^>>> .*?(?=\n\n|\Z)", "", text)
    return re.sub(r"``([^`\n]+)``", r"`\1`", text).rstrip()


def _one_line(text: str) -> str:
    return _linked(" ".join(text.split()))


def _spaces(env_id: str, task: Task) -> list[str]:
    token, text = (gym.make(env_id, view=view) for view in ("token", "text"))
    batch = gym.make_vec(env_id, num_envs=8, group_size=4)
    lines = ["| view | observation | action | reward |", "|---|---|---|---|"]
    for how, env in (("token", token), ("text", text), ("batched text, 8 rows", batch)):
        observation, action = _short(env.observation_space), _short(env.action_space)
        bounds = env.unwrapped.reward_space
        shape = f"({batch.num_envs}, {bounds.shape[0]})" if env is batch else f"({bounds.shape[0]},)"
        lines.append(f"| {how} | {observation} | {action} | float32 {shape} |")
    split = ", ".join(f"`{name}` {len(problems):,}" for name, problems in task.problems.items())
    turns = f", at most {task.dialogue.max_turns} turns" if task.dialogue else ""
    lines += [
        "",
        f"Problems: {split}. A response is cut at {task.max_response_tokens} tokens{turns}.",
    ]
    return lines


def _short(space: gym.Space[object]) -> str:
    if isinstance(space, gym.spaces.Tuple):
        return f"tuple of {len(space)} str"
    if isinstance(space, gym.spaces.Box):
        return f"`Box({space.low.min():g}, {space.high.max():g}, {space.shape}, {space.dtype})`"
    return "str" if isinstance(space, gym.spaces.Text) else f"`{space}`"


def _example(task: Task) -> list[str]:
    problem, answers = _answers(task)
    lines = [f"Problem {min(SHOWN, len(task.with_split('eval')) - 1)} of the split `eval`:", "", *_block(problem)]
    names = list(answers[0].rewards)
    for answer in answers:
        lines += ["", f"{answer.quality.capitalize()}:", "", *_block(answer.text or "(nothing)")]
    lines += ["", f"| answer | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for answer in answers:
        lines.append(f"| {answer.quality} | {' | '.join(f'{answer.rewards[n]:.2f}' for n in names)} |")
    return lines


def _answers(task: Task) -> tuple[str, list[ScoredAnswer]]:
    held_out = task.with_split("eval")
    problem = held_out[min(SHOWN, len(held_out) - 1)]
    return problem.prompt, scored_examples(task, problem)


def _block(text: str) -> list[str]:
    return ["```text", *printable(text).split("\n"), "```"]


def thumbnail(env_id: str, path: Path) -> None:
    """A picture of a problem and of the rewards of a good, a mediocre and a bad answer to it."""
    task = llm_morl_env.make_task(IDS[env_id])
    prompt, answers = _answers(task)
    figure = Figure(figsize=(7.2, 2.6), dpi=110)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    lines = [piece for line in printable(prompt).split("\n") for piece in textwrap.wrap(line, 46) or [""]]
    shown = [*lines[:6], *(["..."] if len(lines) > 6 else [])]
    good = [piece for line in printable(answers[0].text).split("\n") for piece in textwrap.wrap(line, 46)]
    left.axis("off")
    left.text(0, 1, "\n".join(shown), va="top", family="monospace", fontsize=7, color="#264653")
    answer = "\n".join([*good[:5], *(["..."] if len(good) > 5 else [])])
    left.text(0, 0.42, answer, va="top", family="monospace", fontsize=7, color=_COLOURS["good"])
    names = list(answers[0].rewards)
    scales = task.rewards.select(names)
    low, high = scales.low, scales.high
    for offset, scored in zip((0.27, 0.0, -0.27), answers, strict=True):
        share = (np.array(list(scored.rewards.values())) - low) / (high - low)
        at = np.arange(len(names))[::-1] + offset
        right.barh(at, np.maximum(share, 0.006), height=0.25, color=_COLOURS[scored.quality], label=scored.quality)
    right.set_yticks(np.arange(len(names))[::-1], names, fontsize=8)
    right.set_xlim(0, 1)
    right.set_xticks([0, 1], ["floor", "top"], fontsize=8)
    right.spines[["top", "right"]].set_visible(False)
    right.legend(QUALITIES, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    right.set_title(env_id, fontsize=9, pad=20)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def path_of(env_id: str) -> Path:
    """Where the page of an environment lies."""
    return PAGES / f"{IDS[env_id]}.md"


def main() -> None:
    """Write the pages and thumbnails of the ids named, or of all."""
    PAGES.mkdir(exist_ok=True)
    for env_id in sys.argv[1:] or IDS:
        path_of(env_id).write_text(page(env_id), encoding="utf-8")
        thumbnail(env_id, THUMBNAILS / f"{IDS[env_id]}.png")
        print(f"wrote {path_of(env_id)}")


if __name__ == "__main__":
    main()
