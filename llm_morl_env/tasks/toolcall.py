"""`toolcall_task`: requests over a catalogue of tools, to be answered with calls in ToolRL's format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.data import load_toolcall, longest
from llm_morl_env.task import Task, Transform
from llm_morl_env.tasks.building import SPLITS, Splits, counter_of, real_splits, transformed
from llm_morl_env.tasks.toolcall_examples import toolcall_examples
from llm_morl_env.tasks.toolcall_grammar import ToolCallGrammar
from llm_morl_env.tasks.toolcall_problems import TIERS, ToolCallProblems
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.toolcall import (
    brevity,
    tool_correctness,
    tool_format,
    tool_keys,
    tool_name,
    tool_values,
)

#: Longest prompt of each tier, in tokens of the built-in tokenizer, with some room.
MAX_PROMPT_TOKENS = MappingProxyType({"easy": 96, "standard": 192, "hard": 288})
#: Room for the longest gold answer of any tier (about 95 tokens) and then some.
MAX_RESPONSE_TOKENS = 128
OBJECTIVES = ("format", "correctness", "brevity", "name", "keys", "values")
DEFAULT_OBJECTIVES = OBJECTIVES[:3]


def toolcall_task(
    *,
    difficulty: str = "standard",
    data: str | Path | None = None,
    data_format: str | None = None,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    seed: int = 0,
    tokenizer: str | Path | TextTokenizer | None = None,
    max_response_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    transforms: Sequence[Transform] = (),
) -> Task:
    """Make the tool-call task: procedural by default, or real data.

    Objectives (bounds): ``format`` [0, 1] and ``correctness`` [-3, 3] of ToolRL (arXiv 2504.13958, section 3.3; the two
    departures from its released code are in `llm_morl_rewards.toolcall.score_tool_calls`), ``brevity`` [0, 1], and
    correctness split into the shares ``name``, ``keys``, ``values`` [0, 1]. Brevity is 1 up to two tokens over the gold
    response and falls to 0 at half as much again (at twice as much with ``data``, whose gold has the shortest thought).

    Args:
        difficulty: ``"easy"``, ``"standard"`` or ``"hard"``, see `llm_morl_env.tasks.toolcall_problems.TIERS`. Splits
            train (endless), eval (held-out phrasings and values) and unseen (held-out names, places and things too).
        data: A BFCL or RLLA file in place of the procedural problems, see `llm_morl_env.data.load_toolcall`; then
            ``difficulty`` and ``seed`` say nothing. Every fifth row is the eval split, the others are the train split.
        data_format: ``"bfcl"`` or ``"rlla"``; None tells it from the columns.
        objectives: Any of `OBJECTIVES`, in the order wanted.
        seed: Of the procedural problems: problem i of a split is a function of it and i.
        tokenizer: Counts lengths, cuts responses, and is the action space of the token views: a ``tokenizer.json``, its
            directory or a `TextTokenizer`; None takes the built-in one, wasteful for a real corpus.
        max_response_tokens: A response is cut there before it is scored; None takes 128, or twice the longest gold
            response with ``data``.
        max_prompt_tokens: Longest prompt that the token view shows (longer ones lose their beginning); None takes the
            tier's, or the longest prompt with ``data``.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If a name is unknown or an objective is given twice.
        DataError: If ``data`` is malformed.

    >>> task = toolcall_task(difficulty="easy", objectives=("correctness", "name"))
    >>> task.rewards.names, float(task.score([task[0]], [task[0].meta["gold"]])[0, 0])
    (('correctness', 'name'), 3.0)
    """
    counter = counter_of(tokenizer)
    if data is None and data_format is not None:
        raise ValueError(f"data_format={data_format!r} needs data=, got None")
    if data is None:
        problems, prompt_tokens, response_tokens = _procedural(difficulty, seed, counter)
    else:
        problems, prompt_tokens, response_tokens = _real(data, data_format, counter, max_prompt_tokens)
    cap = response_tokens if max_response_tokens is None else max_response_tokens
    # Not for real data: values there are longer and deeper than the grammar's limits; masks would bar gold answers.
    grammar = ToolCallGrammar(counter, max_response_tokens=cap) if data is None else None
    task = Task(
        name="toolcall",
        problems=problems,
        rewards=tool_rewards(counter).select(objectives),
        tokenizer=counter,
        max_prompt_tokens=prompt_tokens if max_prompt_tokens is None else max_prompt_tokens,
        max_response_tokens=cap,
        grammar=grammar,
        examples=toolcall_examples,
    )
    return transformed(task, transforms)


def _procedural(difficulty: str, seed: int, tokenizer: TextTokenizer) -> tuple[Splits, int, int]:
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    tier = TIERS[difficulty]
    splits: Splits = {split: ToolCallProblems(tier, split, seed=seed, count_tokens=tokenizer.count) for split in SPLITS}
    return splits, MAX_PROMPT_TOKENS[difficulty], MAX_RESPONSE_TOKENS


def _real(
    data: str | Path, data_format: str | None, tokenizer: TextTokenizer, max_prompt_tokens: int | None
) -> tuple[Splits, int, int]:
    rows = load_toolcall(data, data_format)
    splits = real_splits(rows, WithBrevity(tokenizer.count))
    # Counting the tokens of every prompt of a large file takes seconds; not where the caller knows the bound.
    prompt_tokens = max_prompt_tokens or longest([problem.prompt for problem in rows], tokenizer.count)
    return splits, prompt_tokens, 2 * longest([problem.meta["gold"] for problem in rows], tokenizer.count)


@dataclass(frozen=True)
class WithBrevity:
    """Adds ``brevity_target`` and ``brevity_cap`` to a problem's ``meta``.

    Args:
        count: Length of a text, of the gold answer here.
    """

    count: Callable[[str], int]

    def __call__(self, problem: Problem) -> Problem:
        """The problem with them."""
        target = self.count(problem.meta["gold"]) + 2
        return replace(problem, meta={**problem.meta, "brevity_target": target, "brevity_cap": 2 * target})


def tool_rewards(tokenizer: TextTokenizer) -> RewardVector:
    """All objectives of the task, lengths counted by ``tokenizer``."""
    short = brevity(target="brevity_target", cap="brevity_cap", count=tokenizer.count)
    return RewardVector([tool_format, tool_correctness, short, tool_name, tool_keys, tool_values])
