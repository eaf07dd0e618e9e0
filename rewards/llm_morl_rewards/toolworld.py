r"""Rewards of dialogues in which calls are executed in a `llm_morl_rewards.world.World`.

A dialogue is read as `llm_morl_rewards.turns.join_turns` of its responses, and every beginning of one has its scores
too. A problem of the task holds::

    problem.target = {
        "world": to_json(start), "goal": to_json(goal),      # the world before, and as it is wanted
        "answer": None | "12",                               # the word that a question wants to hear
        "calls": [{"name": str, "arguments": {...}}, ...],   # the gold calls, in order
        "cost": 3,                                           # calls and errors of the gold calls
        "functions": [{"name": ..., "parameters": {...}}, ...],   # the tools on offer; no others are there
    }
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm_morl_rewards.base import Problem, reward
from llm_morl_rewards.extract import ToolCall, extract_tool_calls, strip_thoughts
from llm_morl_rewards.toolrl import RESPONSE_CLOSE, RESPONSE_OPEN, toolrl_format
from llm_morl_rewards.turns import split_turns
from llm_morl_rewards.world import ERROR, SKIES, World, difference, execute, from_json, is_error

#: Calls of one turn that are executed; further ones are errors.
MAX_CALLS_PER_TURN = 4

_CALLS_FORM = "<think></think>\n<tool_call>\n{}\n</tool_call>"
_FINAL_FORM = "<think></think>\n<response></response>"
_WORD = re.compile(r"[a-z]+|[0-9]+")


@dataclass(frozen=True)
class Turn:
    """What one response asks for.

    Args:
        kind: ``"calls"``, ``"final"`` (a response to the user: the dialogue ends) or ``"malformed"``.
        calls: At least one where ``kind`` is ``"calls"``.
        text: What a final response says.
        well_formed: Whether the response has exactly the sections of its kind.
    """

    kind: Literal["calls", "final", "malformed"]
    calls: tuple[ToolCall, ...] = ()
    text: str = ""
    well_formed: bool = False


@dataclass(frozen=True)
class Outcome:
    """Where a dialogue has come to.

    Args:
        world: As the calls left it.
        results: Of the last turn, one for each call; one error where it was malformed; none where it was final.
        final: What the final response says; None while there is none.
        turns: Responses so far, up to the final one.
        well_formed: How many of them are well-formed.
        calls: Calls made.
        errors: How many of them failed, and the malformed turns.
        malformed: Malformed turns.
    """

    world: World
    results: tuple[str, ...] = ()
    final: str | None = None
    turns: int = 0
    well_formed: int = 0
    calls: int = 0
    errors: int = 0
    malformed: int = 0

    @property
    def cost(self) -> int:
        """Calls and errors: a call that fails counts twice, a malformed turn once."""
        return self.calls + self.errors


def read_turn(response: str) -> Turn:
    r"""What a response asks for. Calls are those of `extract_tool_calls`, and go before a response to the user.

    A response is read where it can be, and is well-formed only in the very layout ``<think>...</think>``, a newline,
    and one block: ``<tool_call>\n...\n</tool_call>`` or ``<response>...</response>``.

    >>> read_turn("<think>no tool.</think>\n<response>done</response>")
    Turn(kind='final', calls=(), text='done', well_formed=True)
    >>> read_turn("<response>done</response>").well_formed, read_turn("done").kind
    (False, 'malformed')
    """
    parsed = extract_tool_calls(response)
    outside = strip_thoughts(response)
    if parsed.status == "ok":
        alone = RESPONSE_OPEN not in outside and RESPONSE_CLOSE not in outside
        return Turn("calls", parsed.calls, well_formed=alone and toolrl_format(_CALLS_FORM, response) == 1.0)
    start = outside.find(RESPONSE_OPEN)
    end = outside.find(RESPONSE_CLOSE, start)
    if parsed.status == "malformed" or start < 0 or end < 0:
        return Turn("malformed")
    text = outside[start + len(RESPONSE_OPEN) : end]
    return Turn("final", text=text, well_formed=toolrl_format(_FINAL_FORM, response) == 1.0)


def replay(target: Mapping[str, Any], responses: Sequence[str]) -> Outcome:
    """Execute the calls of a dialogue, from the start. What follows a final response is not read.

    Args:
        target: ``problem.target`` as described at the top of this module.
        responses: The policy's texts, in order.

    Raises:
        ValueError: If the target has another form.
    """
    if not isinstance(target, Mapping) or not {"world", "goal", "functions", "cost"} <= target.keys():
        raise ValueError(f"a target must be a mapping with 'world', 'goal', 'cost' and 'functions', got {target!r}")
    offered = {function["name"] for function in target["functions"]}
    world, results, final = from_json(target["world"]), tuple[str, ...](), None
    turns = well_formed = calls = errors = malformed = 0
    for response in responses:
        turn = read_turn(response)
        turns += 1
        well_formed += turn.well_formed
        if turn.kind == "final":
            final, results = turn.text, ()
            break
        if turn.kind == "malformed":
            malformed, errors, results = malformed + 1, errors + 1, (f"{ERROR} no call",)
            continue
        world, results = _execute_all(world, turn.calls, offered)
        unread = len(turn.calls) - MAX_CALLS_PER_TURN
        calls += len(turn.calls)
        errors += sum(map(is_error, results[:MAX_CALLS_PER_TURN])) + max(unread, 0)
    return Outcome(world, results, final, turns, well_formed, calls, errors, malformed)


def _execute_all(world: World, calls: Sequence[ToolCall], offered: set[str]) -> tuple[World, tuple[str, ...]]:
    results = []
    for call in calls[:MAX_CALLS_PER_TURN]:
        if call.name in offered:
            world, result = execute(world, call)
        else:
            result = f"{ERROR} no tool"
        results.append(result)
    if len(calls) > MAX_CALLS_PER_TURN:
        results.append(f"{ERROR} no more calls")
    return world, tuple(results)


@reward(low=0.0, high=1.0, name="success")
def world_success(problem: Problem, dialogue: str) -> float:
    r"""How much of the way from the start to the goal is behind the dialogue, in [0, 1].

    ``max(0, 1 - D(now) / D(start))``, D being the number of facts in which a world differs from the goal, plus one
    where a question was asked and its answer was not given. So doing nothing earns 0, only the goal itself earns 1, and
    what is changed needlessly is taken off. The answer is given if the final response says it and nothing else of its
    kind (another number, sky or title of an event), so that naming all does not help. A dialogue need not have ended:
    the world is as it is.

    Raises:
        ValueError: If the target has another form, or nothing to do.

    >>> from llm_morl_rewards.world import World, to_json
    >>> start, goal = World(cart=("milk",)), World()
    >>> target = {"world": to_json(start), "goal": to_json(goal), "cost": 1, "functions": [{"name": "remove_item"}]}
    >>> call = '<think></think>\n<tool_call>\n{"name": "remove_item", "parameters": {"item": "milk"}}\n</tool_call>'
    >>> world_success(Problem("", target), call), world_success(Problem("", target), "no")
    (1.0, 0.0)
    """
    target = problem.target
    outcome = replay(target, split_turns(dialogue))
    start, goal, answer = from_json(target["world"]), from_json(target["goal"]), target.get("answer")
    needed = difference(start, goal) + (answer is not None)
    if needed == 0:
        raise ValueError(f"a target must have a goal that is not the start, or an answer, got {target!r}")
    unanswered = answer is not None and told(outcome.final or "", answer, start) != {answer}
    return max(0.0, 1.0 - (difference(outcome.world, goal) + unanswered) / needed)


def told(text: str, answer: str, start: World) -> set[str]:
    """The words of a text that are of the answer's kind: numbers, skies or titles of events.

    >>> told("milk costs 12, and it may rain", "7", World())
    {'12'}
    """
    words = set(_WORD.findall(text.lower()))
    if answer.isdigit():
        return {word for word in words if word.isdigit()}
    return words & set(SKIES if answer in SKIES else [title for title, _, _ in start.events])


@reward(low=0.0, high=1.0, name="economy")
def world_economy(problem: Problem, dialogue: str) -> float:
    r"""Calls well spent, in [0, 1]: ``C / max(C, calls + errors)``, C being the gold dialogue's calls and errors.

    An error is a call that failed, or a turn that was malformed. Without a call that worked it is 0: who does nothing
    does not save. It is at its top for fewer calls than the gold dialogue's too; see the task for what that means.

    >>> from llm_morl_rewards.world import World, to_json
    >>> start = to_json(World(cart=("milk",)))
    >>> target = {"world": start, "goal": to_json(World()), "cost": 1, "functions": [{"name": "remove_item"}]}
    >>> call = '{"name": "remove_item", "parameters": {"item": "milk"}}'
    >>> turns = [f"<tool_call>{block}</tool_call>" for block in (call, f"{call}\n{call}")]
    >>> [round(world_economy(Problem("", target), turn), 2) for turn in (*turns, "no")]  # the second call fails
    [1.0, 0.33, 0.0]
    """
    outcome = replay(problem.target, split_turns(dialogue))
    worked = outcome.calls - (outcome.errors - outcome.malformed)
    cost = int(problem.target["cost"])
    return cost / max(cost, outcome.cost) if worked else 0.0


@reward(low=0.0, high=1.0, name="format")
def world_format(problem: Problem, dialogue: str) -> float:
    r"""Share of well-formed turns, in [0, 1]; see `read_turn`.

    >>> from llm_morl_rewards.world import World, to_json
    >>> target = {"world": to_json(World()), "goal": to_json(World()), "cost": 1, "functions": []}
    >>> world_format(Problem("", target), "what?\x1e<think>no tool.</think>\n<response>no</response>")
    0.5
    """
    outcome = replay(problem.target, split_turns(dialogue))
    return outcome.well_formed / outcome.turns
