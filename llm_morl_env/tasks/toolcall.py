"""`toolcall_task`: requests over a catalogue of tools, to be answered with calls in ToolRL's format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.data import load_toolcall
from llm_morl_env.task import Task, TransformLike
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
    transforms: Sequence[TransformLike] = (),
) -> Task:
    """Answer requests with calls of the tools on offer, in ToolRL's format.

    ## Description

    The prompt offers tools and ends with a request; the answer thinks, then calls, or replies where no tool is needed.
    The format is that of ToolRL (arXiv 2504.13958).

    ## Prompt and answer

    ```text
    <tools>set_alarm(hour:int,...)
    find_route(origin:str,destination:str,mode:car|bus|train)<user>show the way from london to rome by train<answer>

    <think>use "find_route".</think>
    <tool_call>
    {"name": "find_route", "parameters": {"origin": "london", "destination": "rome", "mode": "train"}}
    </tool_call>
    ```

    Several calls stand on a line each. Without a call: `<think>no tool.</think>`, a line break,
    `<response>...</response>`.

    ## Objectives

    The first three are the default.

    | name | bounds | what it is |
    |---|---|---|
    | `format` | {0, 1} | 1 if the answer has the gold answer's sections, in order, with line breaks, each tag once |
    | `correctness` | [-3, 3] | ToolRL's score of the calls, below |
    | `brevity` | [0, 1] | 1 up to two tokens over the gold answer, then linearly down to 0, see below |
    | `name` | [0, 1] | similarity of the names of the calls |
    | `keys` | [0, 1] | similarity of the parameter names, mean over the gold calls |
    | `values` | [0, 1] | share of right values, mean over the gold calls |

    Brevity ends at one and a half times that length (at twice with `data`, whose gold has the shortest thought). The
    tags of `format` are those of calls and replies.

    Let the gold answer have the calls j with parameters p_j. Each predicted call is matched to at most one gold call of
    the same name.

        name     = Jaccard similarity of the two lists of names, repetitions counted
        keys_j   = Jaccard similarity of the parameter names of call j and its match      (0 without a match)
        values_j = number of parameters of call j whose value is right in its match       (0 without a match)
        correctness = 6 (name + sum_j (keys_j + values_j)) / (1 + sum_j (1 + |p_j|)) - 3

    Values are compared as parsed JSON. An answer without well-formed calls has -3 where calls are due. The matching is
    greedy in the order of the gold calls, as in ToolRL's released code;
    `llm_morl_rewards.toolcall.toolrl_correctness` reproduces that code on tagged texts, and has the paper's optimal
    matching as `matching="optimal"`. The environment differs from the released code in two points:

    1. **No call needed.** There a needless call costs nothing (correctness 0 either way). Here an answer without a call
       has 3 and one with a call, even a malformed one, has -3.
    2. **Several accepted values** (BFCL). A value is right if the leaderboard's own rule accepts it
       (`llm_morl_rewards.toolcall.bfcl_valid`); a parameter that may be left out counts only where it is given; and the
       matching is the optimal one.

    `name`, `keys` and `values` are all 1 exactly when `correctness` is 3. They go from easy to hard:

        gym.make_vec("ToolCall-MO-v0", num_envs=64, group_size=8, objectives=("format", "name", "keys", "values"))

    ## Conflict

    None at the optimum: the gold answer has the top of every objective. The objectives differ in how hard they are
    (format is learnt first, values last), and a thought that helps costs brevity. For weights that truly matter see
    Summarize-MO-v0, SafeAssist-MO-v0 and the tasks with known fronts.

    ## Difficulty and splits

    Problems are drawn from word lists, seeded and practically endless: problem i of a split is a function of `seed`
    and i.

    | `difficulty` | tools | calls in an answer | no call needed | distractors |
    |---|---|---|---|---|
    | `"easy"` | 8 | 1 | never | 2 |
    | `"standard"` (default) | 24 in 6 domains | 1, 2 or 3 (.80, .15, .05) | 10 %, small talk | 2 or 3 |
    | `"hard"` | 30 | 1 to 4 (.50, .30, .15, .05) | 15 %, half of it a request for a tool that is not offered | 3 to 6 |

    | split | holds |
    |---|---|
    | `train` | 2^31 - 1 problems |
    | `eval` | 512 problems with phrasings, numbers and word combinations that `train` never shows |
    | `unseen` | as `eval`, and its names, places and things never occur in `train` |

    Every beginning of `eval` has the right shares of 0, 1, 2, ... calls.

    The tokenizer was made from texts of all three splits, so held-out words have tokens; the embedded model was trained
    on `train` alone.

    ## Data formats

    `data="file.jsonl"` (or Parquet, with `pyarrow`) reads, without conversion,

    - `bfcl`: the Berkeley function-calling leaderboard, questions and possible answers joined: columns `question`,
      `function`, `ground_truth` (null where no call is right). One-turn categories only. From
      [gorilla](https://github.com/ShishirPatil/gorilla), Apache-2.0.
    - `rlla`: ToolRL's training set: columns `instruction`, `input`, `output`. From
      [ToolRL](https://github.com/qiancheng0/ToolRL), Apache-2.0; it mixes ToolACE, xLAM (CC-BY-4.0, Salesforce AI
      Research) and Hammer rows.

    Every fifth row is the `eval` split. A malformed row is an error that names file, row and column. Real prompts are
    long for the built-in tokenizer: give one by `tokenizer=`. There is no action mask on real data.

    ## Version history

    - v0: first version.

    ## Credits

    ToolRL (Qian et al. 2025, arXiv 2504.13958); the rules of BFCL (Patil et al.).

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
    return real_splits(rows, WithBrevity(tokenizer.count), tokenizer.count, max_prompt_tokens)


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
