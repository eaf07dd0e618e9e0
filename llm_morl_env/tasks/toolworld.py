"""`toolcall_multiturn_task`: calls are executed in a small world, and the results come back over several turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tasks.building import SPLITS, Splits, counter_of, transformed
from llm_morl_env.tasks.toolcall_grammar import ToolCallGrammar
from llm_morl_env.tasks.toolworld_problems import TIERS, toolworld_problems, write_turn
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.text import brevity
from llm_morl_rewards.toolworld import replay, world_economy, world_format, world_success
from llm_morl_rewards.turns import join_turns, split_turns

#: Longest prompt of each tier, in tokens of the built-in tokenizer, with some room.
MAX_PROMPT_TOKENS = MappingProxyType({"easy": 64, "standard": 112, "hard": 136})
#: Of one turn. The longest gold turn has 35; two calls in one turn fit.
MAX_RESPONSE_TOKENS = 64
MAX_TURNS = 5
#: Results longer than this are cut; two lists of events fit. A character is a token at most.
MAX_RESULT_CHARACTERS = 80
OBJECTIVES = ("success", "economy", "format", "brevity")
DEFAULT_OBJECTIVES = OBJECTIVES[:3]


@dataclass(frozen=True)
class WorldDialogue:
    """The `llm_morl_env.task.Dialogue` of the task: executes the calls, and says what they gave.

    Args:
        max_turns: See the protocol.
        max_reply_tokens: See the protocol.
    """

    max_turns: int
    max_reply_tokens: int

    def reply(self, problem: Problem, responses: Sequence[str]) -> str | None:
        """The results of the last turn's calls, separated by commas; None after a final response.

        >>> from llm_morl_rewards.world import World, to_json
        >>> target = {"world": to_json(World(goods=(("milk", 3, 1),))), "goal": {}, "cost": 1, "functions": []}
        >>> WorldDialogue(5, 90).reply(Problem("", {**target, "functions": [{"name": "pay"}]}), ["hm"])
        '<user>error: no call<answer>'
        """
        outcome = replay(problem.target, responses)
        return None if outcome.final is not None else write_reply(", ".join(outcome.results))


def write_reply(results: str) -> str:
    """A reply of the environment.

    >>> write_reply("milk price 3")
    '<user>milk price 3<answer>'
    """
    return f"<user>{results[:MAX_RESULT_CHARACTERS]}<answer>"


def toolcall_multiturn_task(
    *,
    difficulty: str = "standard",
    data: str | Path | None = None,
    data_format: str | None = None,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    seed: int = 0,
    tokenizer: str | Path | TextTokenizer | None = None,
    max_response_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    max_turns: int = MAX_TURNS,
    transforms: Sequence[TransformLike] = (),
) -> Task:
    r"""Carry out requests in several turns: calls are executed in a small world, and later ones need their results.

    ## Description

    The world of a problem is a calendar, a store with a cart, and a weather forecast, a few entries each
    (`llm_morl_rewards.world`). The policy sees signatures of some of its ten tools and a request. It looks things up,
    reads the results, acts, and ends the dialogue with a response. The world is deterministic and is computed from the
    responses anew each time, so the environment keeps no state of it.

    ## Prompt and answer

    ```text
    <tools>get_price(item:str)
    add_to_cart(item:str)<user>get the cheaper of rice and bread.<answer>

    <think>use "get_price".</think>
    <tool_call>
    {"name": "get_price", "parameters": {"item": "rice"}}
    </tool_call>                                               <user>rice price 9<answer>
    ... {"name": "get_price", "parameters": {"item": "bread"}} <user>bread price 14<answer>
    ... {"name": "add_to_cart", "parameters": {"item": "rice"}} <user>ok<answer>
    <think>no tool.</think>
    <response>here it is</response>
    ```

    A turn may hold up to four calls, one a line, executed in order. Calls that fail, tools that are not on offer and
    turns without a readable call get a result that begins with ``error:`` and count as turns. A response to the user
    ends the dialogue, and so do ``max_turns`` turns; the last world is the one that counts.

    ## Objectives

    Each beginning of a dialogue has its scores; an environment pays the differences, turn by turn.

    | name | bounds | formula |
    |---|---|---|
    | success | [0, 1] | ``max(0, 1 - D(now) / D(start))``, D = facts that differ from the goal, and a missing answer |
    | economy | [0, 1] | ``C / max(C, calls + errors)``, C of the gold dialogue; 0 without a call that worked |
    | format | [0, 1] | share of turns with exactly a thought and a block of calls, or a thought and a response |
    | brevity | [0, 1] | of the whole dialogue: 1 up to two tokens over the gold one, 0 from twice that on |

    Brevity is on request. Success does not ask that the dialogue has ended, since what was done is done; a question,
    though, is answered by a final response alone. Doing nothing has success 0 and economy 0.

    ## Conflict

    Half of the requests whose answer must be looked up come with a guess of the user's (``i think so.``), which is
    right three times in four. The gold dialogue, which knows, acts at once where the guess is right (C = 1) and looks
    first where it is wrong. A policy cannot know: who always looks has success 1 but, where the guess was right, an
    economy of 1/2 (one look) or 1/3 (two); who always trusts has economy 1 and success 3/4. Over the hinted requests
    of the ``standard`` tier that is (success, economy) = (1, 0.59) and (0.75, 1). These are the ends of the front, up
    to the rare price that makes a second look needless; between them lie their mixtures and somewhat more, since one
    can look where a look is cheap. Without a guess, looking costs nothing, and blind acting halves the success. Calls
    beyond that, checks of what is known already and errors cost economy alone.

    ## Difficulty and splits

    ``easy``: one look-up or one action, and a response. ``standard``: look up, then act (the cheaper of two; by price,
    stock or weather; whatever is on a day). ``hard``: two look-ups, of which one may be enough, then paying, and
    requests whose first choice fails (out of stock, hour taken), which only trying tells. Splits: train (endless), eval
    (512; held-out phrasings and pairs of values, every prefix holds all kinds and hints in their shares) and unseen (as
    eval, and with items, cities, days and titles that training never names).

    ## Data formats

    None: ``data`` must be None. A recorded dialogue has no world to execute other calls in.

    ## Version history

    - v0: first version.

    ## Credits

    The format of a turn is ToolRL's (Qian et al., arXiv 2504.13958); scoring by the final state of a database follows
    tau-bench (Yao et al., arXiv 2406.12045), here graded and without a simulated user.

    Args:
        difficulty: ``"easy"``, ``"standard"`` or ``"hard"``.
        data: None; here so that all makers take the same arguments.
        data_format: None, likewise.
        objectives: Any of `OBJECTIVES`, in the order wanted.
        seed: Of the problems: problem i of a split is a function of it and i.
        tokenizer: Counts lengths, cuts responses, and is the action space of the token views; None takes the built-in.
        max_response_tokens: A turn is cut there; None takes 64.
        max_prompt_tokens: Longest prompt that the token view shows; None takes the tier's.
        max_turns: A dialogue ends after so many; the longest gold one has 5.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If a name is unknown, an objective is given twice, ``max_turns`` is below 1, or ``data`` is given.

    >>> task = toolcall_multiturn_task(difficulty="easy")
    >>> float(task.score([task[0]], [task[0].meta["gold"]])[0].min())
    1.0
    """
    counter = counter_of(tokenizer)
    if data is not None or data_format is not None:
        raise ValueError(f"toolcall_multiturn_task has no data formats, got data={data!r}, data_format={data_format!r}")
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    if max_turns < 1:
        raise ValueError(f"max_turns must be at least 1, got {max_turns}")
    cap = MAX_RESPONSE_TOKENS if max_response_tokens is None else max_response_tokens
    problems: Splits = {
        split: toolworld_problems(TIERS[difficulty], split, seed=seed, count=counter.count) for split in SPLITS
    }
    task = Task(
        name="toolcall-multiturn",
        problems=problems,
        rewards=world_rewards(counter).select(objectives),
        tokenizer=counter,
        max_prompt_tokens=MAX_PROMPT_TOKENS[difficulty] if max_prompt_tokens is None else max_prompt_tokens,
        max_response_tokens=cap,
        grammar=ToolCallGrammar(counter, max_response_tokens=cap),
        dialogue=WorldDialogue(max_turns, counter.count(write_reply("")) + MAX_RESULT_CHARACTERS),
        examples=world_examples,
    )
    return transformed(task, transforms)


def world_rewards(tokenizer: TextTokenizer) -> RewardVector:
    """All objectives of the task, lengths counted by ``tokenizer``."""
    short = brevity(target="brevity_target", cap="brevity_cap", count=tokenizer.count)
    return RewardVector([world_success, world_economy, world_format, short])


def world_examples(problem: Problem) -> Mapping[str, str]:
    """Dialogues of different quality.

    The mediocre one reaches the goal, though its first turn lacks the thought and calls a tool that is not there; the
    bad one promises and does nothing.
    """
    gold = split_turns(problem.meta["gold"])
    clumsy = write_turn([{"name": "help", "arguments": {}}, problem.target["calls"][0]])
    return {
        "good": problem.meta["gold"],
        "mediocre": join_turns([clumsy.split("</think>\n")[1], *gold[1:]]),
        "bad": "i will do it.",
    }
