"""Responses scored per CPU-second, for each task, beside what any reward must do: counting the response's tokens.

The responses are the good, the mediocre and the bad answers of each task's examples, in equal shares, so that parsers
meet both well-formed and malformed text. Scoring is `Task.cut` and `Task.score`, as the environments do it. The ratio
is to one encoding of each response by the environment's tokenizer, in the same process; the median over the repeats is
shown. A training step of the embedded model draws and trains about 300 responses a CPU-second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from llm_morl_env import make_task
from llm_morl_env.examples import QUALITIES, cut_gold
from llm_morl_env.registration import IDS
from llm_morl_env.task import Task
from llm_morl_env.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Options:
    """What is measured."""

    responses: int = 384
    """To each task."""
    repeats: int = 5
    """Of each measurement."""
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TASK=FILE ...")] = ()
    """Real data for a task of the same name, for example mathreasoning=gsm8k.jsonl; may be given for several tasks."""


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median CPU-seconds of a call."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        taken.append(time.process_time() - started)
    return median(taken)


def measure(task: Task, responses: int, repeats: int) -> tuple[int, float, float]:
    """Mean tokens of a response, CPU-seconds of scoring all, and of encoding all."""
    rng = np.random.default_rng(0)
    chosen = [task[int(i)] for i in rng.integers(len(task), size=-(-responses // len(QUALITIES)))]
    rows = [(p, (task.examples or cut_gold)(p)[quality]) for p in chosen for quality in QUALITIES][:responses]
    problems, texts = [p for p, _ in rows], [text for _, text in rows]
    group = np.arange(len(rows))
    counter = task.tokenizer

    def score() -> None:
        cut = [task.cut(text)[0] for text in texts] if task.dialogue is None else texts
        task.score(problems, cut, group, rng)

    tokens = round(float(np.mean([counter.count(text) for text in texts])))
    return tokens, seconds(score, repeats), seconds(lambda: [counter.encode(text) for text in texts], repeats)


def main() -> None:
    """Print the table."""
    options = tyro.cli(Options, description=__doc__)
    real = dict(argument.split("=", 1) for argument in options.data)
    table = Table()
    for name in ("task", "data", "tokens", "responses / CPU-s", "CPU-ms each", "x encoding"):
        table.add_column(name, justify="left" if name in ("task", "data") else "right")
    for name in IDS.values():
        made = [("built-in", make_task(name))]
        if name in real:
            made.append((real[name], make_task(name, data=real[name], tokenizer=TextTokenizer())))
        for source, task in made:
            tokens, scoring, encoding = measure(task, options.responses, options.repeats)
            rate = options.responses / scoring
            table.add_row(
                name, source, str(tokens), f"{rate:,.0f}", f"{1e3 / rate:.3f}", f"{scoring / max(encoding, 1e-9):.1f}"
            )
    Console().print(table)


if __name__ == "__main__":
    main()
