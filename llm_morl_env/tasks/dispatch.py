"""The parts of a mixture that do what the task of a problem does: rewards, grammar, dialogue, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.task import Dialogue, Examples, Grammar, Preferences
from llm_morl_env.tasks.mixed_problems import TASK
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem
from llm_morl_rewards.base import KINDS, Kind, RewardFunction, applicable, evaluate


class RewardByTask:
    """One objective of several tasks: the function of the problem's task; it does not apply to tasks without one.

    Args:
        functions: By task, at least one, all with one name and one pair of bounds.
        tasks: Names of all tasks.
    """

    def __init__(self, functions: Mapping[str, RewardFunction], tasks: Sequence[str]) -> None:
        first = next(iter(functions.values()))
        self.functions = dict(functions)
        self.name, self.low, self.high = first.name, first.low, first.high
        self.kind: Kind = max((function.kind for function in functions.values()), key=KINDS.index)
        if any(task not in functions or hasattr(functions[task], "applies") for task in tasks):
            self.applies = AppliesByTask(self.functions)

    def __call__(self, *args: Any) -> Any:
        """The reward, or the rewards, as ``kind`` has it."""
        if self.kind == "pointwise":
            problem, response = args
            return self.functions[problem.meta[TASK]](problem, response)
        problems, responses, *group = args
        values = np.empty(len(problems))
        tasks = np.array([problem.meta[TASK] for problem in problems], dtype=object)
        for task, function in self.functions.items():
            rows = np.flatnonzero(tasks == task)
            if len(rows):
                values[rows] = evaluate(
                    function,
                    [problems[row] for row in rows],
                    [responses[row] for row in rows],
                    group[0][rows] if group else None,
                )
        return values


@dataclass(frozen=True)
class AppliesByTask:
    """Whether an objective applies to a problem: its task has a function for it, which applies."""

    functions: Mapping[str, RewardFunction]

    def __call__(self, problem: Problem) -> bool:
        """See above."""
        function = self.functions.get(problem.meta[TASK])
        return function is not None and bool(applicable(function, [problem])[0])


@dataclass(frozen=True)
class GrammarByTask:
    """A `Grammar`: that of the problem's task; everything but padding and beginning for tasks without one."""

    grammars: Mapping[str, Grammar | None]
    tokenizer: TextTokenizer

    def allowed(self, problem: Problem, response_ids: Sequence[int]) -> NDArray[np.bool_]:
        """See `llm_morl_env.task.Grammar.allowed`."""
        grammar = self.grammars[problem.meta[TASK]]
        if grammar is not None:
            return grammar.allowed(problem, response_ids)
        mask = np.ones(self.tokenizer.vocab_size, np.bool_)
        mask[[self.tokenizer.pad_id, self.tokenizer.bos_id]] = False
        mask[self.tokenizer.eos_id] = True  # a vocabulary may use one token for all three
        return mask


@dataclass(frozen=True)
class DialogueByTask:
    """A `Dialogue`: that of the problem's task, which ends at that task's last turn."""

    dialogues: Mapping[str, Dialogue]

    @property
    def max_turns(self) -> int:
        """The greatest."""
        return max(dialogue.max_turns for dialogue in self.dialogues.values())

    @property
    def max_reply_tokens(self) -> int:
        """The greatest."""
        return max(dialogue.max_reply_tokens for dialogue in self.dialogues.values())

    def reply(self, problem: Problem, responses: Sequence[str]) -> str | None:
        """See `llm_morl_env.task.Dialogue.reply`."""
        dialogue = self.dialogues[problem.meta[TASK]]
        return None if len(responses) >= dialogue.max_turns else dialogue.reply(problem, responses)


@dataclass(frozen=True)
class PreferencesByTask:
    """`Preferences`: those of the problem's task."""

    preferences: Mapping[str, Preferences]

    def __call__(self, problem: Problem) -> Mapping[str, float]:
        """Weights by objective."""
        return self.preferences[problem.meta[TASK]](problem)


@dataclass(frozen=True)
class ExamplesByTask:
    """`Examples`: those of the problem's task."""

    examples: Mapping[str, Examples]

    def __call__(self, problem: Problem) -> Mapping[str, str]:
        """Answers by quality."""
        return self.examples[problem.meta[TASK]](problem)
