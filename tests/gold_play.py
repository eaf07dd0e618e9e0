"""Scripted play for `check_mo_env`: gold answers and random actions, on any view of a task."""

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from llm_morl_env.task import Task
from llm_morl_rewards import Problem
from llm_morl_rewards.turns import split_turns


def gold_turns(problem: Problem) -> list[str]:
    """The responses of a gold episode; none where the problem has no gold answer."""
    return split_turns(str(problem.meta["gold"])) if "gold" in problem.meta else []


def gold_tokens(task: Task, problem: Problem) -> list[int]:
    """All tokens of a gold episode: the prompt, each response with its end, and the replies between them."""
    encode, turns = task.tokenizer.encode, gold_turns(problem)
    tokens = [*encode(problem.prompt)[-task.max_prompt_tokens :]]
    for number, turn in enumerate(turns):
        reply = None if task.dialogue is None else task.dialogue.reply(problem, turns[: number + 1])
        tokens += [*encode(turn), task.tokenizer.eos_id, *encode(reply or "")]
    return tokens


def gold_play(env: Any, observation: Any, info: dict[str, Any]) -> Any:
    """The action that goes on with the gold answer, where one can; a random one in every other episode.

    In the views of tokens, every other random episode keeps to the action mask. In the text view, one turn in five is
    random.
    """
    view, task = env.unwrapped, env.unwrapped.task
    problem = task.with_split(info["split"])[info["problem"]]
    if not isinstance(env.action_space, Discrete):
        turns, turn = gold_turns(problem), info.get("turn", 0)
        scripted = turn < len(turns) and env.action_space.np_random.uniform() < 0.8
        return turns[turn] if scripted else env.action_space.sample()
    if view.episode % 2:
        written, gold = view.context.tolist(), gold_tokens(task, problem)
        wanted = gold[len(written)] if gold[: len(written)] == written and len(written) < len(gold) else None
        options = info.get("options", np.arange(env.action_space.n)).tolist()
        if wanted in options:
            return np.int64(options.index(wanted))
    return env.action_space.sample(None if view.episode % 4 == 0 else info["action_mask"])


def gold_rows(envs: Any, observations: Any, info: dict[str, Any]) -> list[str]:
    """The gold turns of the rows of a batched text view; of rows that the info does not speak of, random texts."""
    task, texts = envs.unwrapped.task, list(envs.action_space.sample())
    for row in np.flatnonzero(info["_problem"]):
        turns = gold_turns(task.with_split(info["split"][row])[int(info["problem"][row])])
        turn = int(info["turn"][row]) if "turn" in info else 0
        if turn < len(turns) and envs.action_space.np_random.uniform() < 0.8:
            texts[row] = turns[turn]
    return texts
