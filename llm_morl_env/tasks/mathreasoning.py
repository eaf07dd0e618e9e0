"""`mathreasoning_task`: word problems, to be solved in visible steps, in few tokens, with the right answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.data.mathematics import load_math
from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tasks.building import SPLITS, Splits, counter_of, real_splits, transformed
from llm_morl_env.tasks.math_grammar import MathGrammar
from llm_morl_env.tasks.math_problems import TIERS, math_problems, write_bare
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.math import accuracy, clarity, validity
from llm_morl_rewards.math_numbers import read_number
from llm_morl_rewards.text import brevity

#: Longest prompt of each tier, in tokens of the built-in tokenizer, with some room.
MAX_PROMPT_TOKENS = MappingProxyType({"easy": 64, "standard": 80, "hard": 128})
#: Room for the longest gold answer of any tier (about 48 tokens) and then some.
MAX_RESPONSE_TOKENS = 64
OBJECTIVES = ("accuracy", "conciseness", "clarity", "validity")
DEFAULT_OBJECTIVES = OBJECTIVES[:3]


def mathreasoning_task(
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
    r"""Solve word problems, showing the steps: built-in ones, or GSM8K and SVAMP.

    ## Description

    A short word problem has a number as answer, reached in one to three steps of arithmetic. The policy should find it,
    show its steps, and be brief. A policy that cannot calculate in its head needs the steps for the answer.

    ## Prompt and answer

        <question>anna has 12 apples and buys 7 more. then anna sells 4. how many apples does anna have now?<answer>
        12 + 7 = 19. 19 - 4 = 15. answer: 15

    The answer is the last ``\boxed{}``, else what follows the last ``####``, ``answer:``, ``answer is`` or ``A:``, else
    the last number.

    ## Objectives

    | name | bounds | formula |
    |---|---|---|
    | `accuracy` | [0, 1] | 1 if the final answer equals the gold one (exactly, as numbers), else 0 |
    | `conciseness` | [0, 1] | clip((cap - tokens) / (cap - target), 0, 1) |
    | `clarity` | [0, 1] | .5 if the final answer is marked, + .5 if min(2, steps needed) distinct steps are visible |
    | `validity` | [0, 1] | on request: share of the distinct stated equations of numbers that hold; 0 without any |

    The target is the length of the bare marked answer (``answer: 15``), the cap 1.5 times that of the gold response
    (twice with ``data``). Visible steps are listed, begin with an ordinal word, or state an equation.

    Several marked answers do not help: the last one counts, and one with two numbers is wrong. Copied steps and
    equations count once. The gold response has accuracy, clarity and (in procedural problems) validity 1; 83 % of the
    worked solutions of GSM8K have validity 1, the others write roundings or units into their equations.

    ## Conflict

    The steps that clarity asks for cost conciseness: an answer with full clarity cannot have full conciseness. For a
    policy that needs its steps, so does accuracy. The bare answer has conciseness 1 and clarity .5; the gold response
    has clarity 1 and conciseness of about .4.

    ## Difficulty and splits

    ``easy``: one step, numbers up to 20. ``standard``: one or two steps of ``+ - * /``, numbers below 100. ``hard``:
    two or three steps, two-digit factors, numbers up to 999, one or two sentences with numbers of no use. Divisions are
    exact. Splits: train (endless), eval (512 problems; each has a sentence in words, and a combination of numbers, that
    train never has) and unseen (also names and things that are not in train). Every prefix of the last two has each
    chain of operations as often as the tier says.

    ## Data formats

    `llm_morl_env.data.load_math` reads ``"gsm8k"`` (columns question, answer; Cobbe et al., 2021, MIT licence;
    https://github.com/openai/grade-school-math) and ``"svamp"`` (Body, Question, Equation, Answer; Patel et al., 2021,
    MIT licence; https://github.com/arkilpatel/SVAMP). Every fifth row is the eval split, the others are the train
    split. There is no action mask.

    ## Version history

    - v0: first version.

    ## Credits

    The three objectives are those of dynamic reward weighting (arXiv 2509.11452), whose conciseness compares with a
    running mean of lengths and whose clarity is all or nothing; both are in `llm_morl_rewards.math` for parity.

    Args:
        difficulty: ``"easy"``, ``"standard"`` or ``"hard"``, see `llm_morl_env.tasks.math_problems.TIERS`.
        data: A GSM8K or SVAMP file in place of the procedural problems; then ``difficulty`` and ``seed`` say nothing.
        data_format: ``"gsm8k"`` or ``"svamp"``; None tells it from the columns.
        objectives: Any of `OBJECTIVES`, in the order wanted.
        seed: Of the procedural problems: problem i of a split is a function of it and i.
        tokenizer: Counts lengths, cuts responses, and is the action space of the token views: a ``tokenizer.json``, its
            directory or a `TextTokenizer`; None takes the built-in one, wasteful for a real corpus.
        max_response_tokens: A response is cut there before it is scored; None takes 64, or twice the longest gold
            response with ``data``.
        max_prompt_tokens: Longest prompt that the token view shows (longer ones lose their beginning); None takes the
            tier's, or the longest prompt with ``data``.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If a name is unknown or an objective is given twice.
        DataError: If ``data`` is malformed.

    >>> task = mathreasoning_task(objectives=("accuracy", "clarity", "validity"))
    >>> task.score([task[0]], [task[0].meta["gold"]]).tolist()
    [[1.0, 1.0, 1.0]]
    """
    counter = counter_of(tokenizer)
    if data is None and data_format is not None:
        raise ValueError(f"data_format={data_format!r} needs data=, got None")
    if data is None:
        problems, prompt_tokens, response_tokens = _procedural(difficulty, seed, counter)
    else:
        problems, prompt_tokens, response_tokens = _real(data, data_format, counter, max_prompt_tokens)
    cap = response_tokens if max_response_tokens is None else max_response_tokens
    task = Task(
        name="mathreasoning",
        problems=problems,
        rewards=math_rewards(counter).select(objectives),
        tokenizer=counter,
        max_prompt_tokens=prompt_tokens if max_prompt_tokens is None else max_prompt_tokens,
        max_response_tokens=cap,
        grammar=MathGrammar(counter, max_response_tokens=cap) if data is None else None,
        examples=math_examples,
    )
    return transformed(task, transforms)


def math_rewards(tokenizer: TextTokenizer) -> RewardVector:
    """All objectives of the task, lengths counted by ``tokenizer``."""
    concise = brevity(target="conciseness_target", cap="conciseness_cap", count=tokenizer.count, name="conciseness")
    return RewardVector([accuracy, concise, clarity, validity])


def math_examples(problem: Problem) -> Mapping[str, str]:
    """The worked solution, the bare answer, and a wrong answer after idle talk; see `llm_morl_env.task.Examples`.

    >>> dict(math_examples(Problem("", "15", {"gold": "12 + 3 = 15. answer: 15"})))["mediocre"]
    'answer: 15'
    """
    number = read_number(str(problem.target))
    wrong = "no idea" if number is None else str(number.value + 1)
    idle = "this is not easy and i should be careful here. " * (1 + len(problem.meta["gold"]) // 16)  # longer than gold
    return {"good": problem.meta["gold"], "mediocre": write_bare(problem.target), "bad": f"{idle}perhaps {wrong}"}


@dataclass(frozen=True)
class WithConciseness:
    """Adds ``conciseness_target`` and ``conciseness_cap`` to a problem's ``meta``.

    Args:
        count: Length of a text, of the bare answer and of the gold response here.
    """

    count: Callable[[str], int]

    def __call__(self, problem: Problem) -> Problem:
        """The problem with them."""
        target, gold = self.count(write_bare(problem.target)), self.count(problem.meta["gold"])
        cap = max(2 * gold, target + 1)
        return replace(problem, meta={**problem.meta, "conciseness_target": target, "conciseness_cap": cap})


def _procedural(difficulty: str, seed: int, tokenizer: TextTokenizer) -> tuple[Splits, int, int]:
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    tier = TIERS[difficulty]
    splits: Splits = {split: math_problems(tier, split, seed=seed, count=tokenizer.count) for split in SPLITS}
    return splits, MAX_PROMPT_TOKENS[difficulty], MAX_RESPONSE_TOKENS


def _real(
    data: str | Path, data_format: str | None, tokenizer: TextTokenizer, max_prompt_tokens: int | None
) -> tuple[Splits, int, int]:
    return real_splits(
        load_math(data, data_format), WithConciseness(tokenizer.count), tokenizer.count, max_prompt_tokens
    )
