"""Demonstrations of the multi-turn tool task: whole dialogues, clean or with the errors that a beginner makes.

The replies are those of the task's own dialogue to the demonstrated turns, wrong ones among them, so a model reads what
it will read when it errs itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_morl_agents.pretrain.demonstrations.base import Demonstrator, Segments
from llm_morl_env.task import Dialogue
from llm_morl_env.tasks.building import ProceduralProblems
from llm_morl_env.tasks.tool_catalogue import CITIES, DAYS, FILLERS, ITEMS
from llm_morl_env.tasks.toolworld import toolcall_multiturn_task
from llm_morl_env.tasks.toolworld_problems import FINAL_REPLY, write_final, write_turn
from llm_morl_env.tasks.toolworld_requests import FIRST_HOUR, LAST_HOUR, MAX_PRICE, TITLES
from llm_morl_rewards import Problem
from llm_morl_rewards.toolworld import read_turn, replay
from llm_morl_rewards.world import SKIES, TOOLS, is_error

#: Share of the turns with a needless sentence before the thought, so that brevity has something to gain.
FILLER = 0.2
#: What may stand in place of an argument, by its name.
_WORDS = {"item": ITEMS.seen, "city": CITIES.seen, "day": DAYS.seen, "title": TITLES.seen}


@dataclass(frozen=True)
class Errors:
    """Rates of a beginner's errors.

    Args:
        format: A tag or the thought is missing, each turn.
        value: An argument is another word of its kind, one in the request if it names several, each argument.
        name: The tool is another one on offer, each call.
        guess: The look-ups that the gold dialogue makes are left out, and the action is one of those that may be meant.
        repeat: A call is made twice in its turn.
        answer: The final response says another value of its kind.
    """

    format: float = 0.35
    value: float = 0.30
    name: float = 0.12
    guess: float = 0.30
    repeat: float = 0.40
    answer: float = 0.40


@dataclass(frozen=True)
class WorldDemonstrations:
    """The `Demonstrator` of the task.

    Args:
        problems: The training split.
        dialogue: Of the task.
        errors: At noise 1; at less, so much less often.
    """

    problems: ProceduralProblems
    dialogue: Dialogue
    errors: Errors = Errors()

    def __call__(self, index: int, noise: float, rng: np.random.Generator) -> Segments:
        """See `Demonstrator`."""
        problem = self.problems[index]
        rates = {name: noise * rate for name, rate in vars(self.errors).items()}
        calls = list(problem.target["calls"])
        if rng.random() < rates["guess"] and any(TOOLS[call["name"]].reads for call in calls):
            calls = [_guessed(call, problem.prompt, rng) for call in calls if not TOOLS[call["name"]].reads]
        segments, responses, done = [(problem.prompt, False)], list[str](), 0
        while len(responses) < self.dialogue.max_turns:
            before = f"{FILLERS[int(rng.integers(len(FILLERS)))]} " if rng.random() < FILLER else ""
            if done < len(calls):
                turn = _call_turn(calls[done], problem, rates, before, rng)
            else:
                turn = write_final(_answer(problem, rates["answer"], rng), before=before)
            if rng.random() < rates["format"]:
                turn = _broken(turn, rng)
            responses.append(turn)
            segments.append((turn, True))
            reply = self.dialogue.reply(problem, responses)
            if reply is None or len(responses) == self.dialogue.max_turns:
                break
            segments.append((reply, False))
            done += read_turn(turn).kind == "calls" and not self._must_repeat(problem, responses, calls[: done + 1])
        return tuple(segments)

    @staticmethod
    def _must_repeat(problem: Problem, responses: Sequence[str], calls: Sequence[dict[str, Any]]) -> bool:
        """Whether the last turn failed altogether where the gold call does not: then it is tried again."""
        failed = all(map(is_error, replay(problem.target, responses).results))
        gold = replay(problem.target, [write_turn([call]) for call in calls])
        return failed and not all(map(is_error, gold.results))


def toolworld_demonstrations(*, seed: int, difficulty: str = "standard") -> Demonstrator:
    """Demonstrations of the training problems of this seed and tier."""
    task = toolcall_multiturn_task(difficulty=difficulty, seed=seed)
    problems = task.problems["train"]
    assert isinstance(problems, ProceduralProblems)
    assert task.dialogue is not None
    return WorldDemonstrations(problems, task.dialogue)


def _call_turn(
    call: dict[str, Any], problem: Problem, rates: dict[str, float], before: str, rng: np.random.Generator
) -> str:
    name, arguments = call["name"], dict(call["arguments"])
    if rng.random() < rates["name"]:
        offered = [function["name"] for function in problem.target["functions"]]
        name = offered[int(rng.integers(len(offered)))]
        keys = [key for key, _ in TOOLS[name].arguments]
        arguments = {key: arguments[key] if key in arguments else _value(key, problem.prompt, rng) for key in keys}
    arguments = {
        key: _value(key, problem.prompt, rng) if rng.random() < rates["value"] else said
        for key, said in arguments.items()
    }
    made = {"name": name, "arguments": arguments}
    return write_turn([made] * (1 + (rng.random() < rates["repeat"])), before=before)


def _guessed(call: dict[str, Any], prompt: str, rng: np.random.Generator) -> dict[str, Any]:
    """An action as it is without a look: one of the two things, to cancel or to move, or whatever the event is."""
    name, arguments = call["name"], dict(call["arguments"])
    if name == "add_to_cart":
        arguments["item"] = _value("item", prompt, rng)
    elif arguments.get("title", "") not in prompt:
        arguments["title"] = _value("title", prompt, rng)
    elif name == "cancel_event" and rng.random() < 0.5:
        name, arguments["day"] = "move_event", _value("day", prompt, rng)
    elif name == "move_event" and rng.random() < 0.5:
        name = "cancel_event"
        del arguments["day"]
    return {"name": name, "arguments": arguments}


def _value(key: str, prompt: str, rng: np.random.Generator) -> str | int:
    if key == "hour":
        return int(rng.integers(FIRST_HOUR, LAST_HOUR, endpoint=True))
    named = [word for word in _WORDS[key] if word in prompt]
    words = named if len(named) > 1 else _WORDS[key]
    return words[int(rng.integers(len(words)))]


def _answer(problem: Problem, rate: float, rng: np.random.Generator) -> str:
    answer = problem.target["answer"]
    if answer is None or rng.random() >= rate:
        return answer or FINAL_REPLY
    if answer.isdigit():
        return str(int(rng.integers(1, MAX_PRICE, endpoint=True)))
    words = SKIES if answer in SKIES else TITLES.seen
    return words[int(rng.integers(len(words)))]


def _broken(turn: str, rng: np.random.Generator) -> str:
    """Lose the thought with its tags, the end of the thought, or the last tag."""
    thought, rest = turn.split("</think>\n", 1)
    return (rest, f"{thought}\n{rest}", turn.rpartition("</")[0])[int(rng.integers(3))]
