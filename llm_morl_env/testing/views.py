"""The rule of `check_mo_env` for environments over a `Task`: every view scores a response, or a dialogue, alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.testing.subject import ConformanceError, Subject
from llm_morl_env.values import difference
from llm_morl_rewards.turns import join_turns, split_turns

if TYPE_CHECKING:
    from llm_morl_env.task import Task

#: How far the rewards of an episode may be from the score of its text, relative to the width of the bounds.
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Turn:
    """What a view said to one response: rewards (K,), and the info of the step that ended the turn."""

    rewards: NDArray[np.float32]
    info: dict[str, Any]


def check_views(subject: Subject) -> None:
    """All views of a `Task` score a response alike. (Only for environments that hold one as ``unwrapped.task``.)

    Of a task of several turns, whole scripted dialogues: the same rewards at every turn. The rewards of an episode add
    up to the task's score, in the view under test too (where the task draws no noise).
    """
    from llm_morl_env.task import Task

    task = getattr(subject.make().unwrapped, "task", None)
    if isinstance(task, Task) and not any(function.kind == "group" for function in task.rewards):
        noisy, task = bool(task.perturbations), replace(task, perturbations=())  # each view draws its own
        rng = np.random.default_rng(subject.seed)
        for split in ("train", "eval"):
            _compare_views(subject, task.with_split(split), rng)
        if not noisy:
            _check_paid(subject, task)


def _check_paid(subject: Subject, task: Task) -> None:
    """The rewards of an episode of the view itself add up to the score of what its last info says was answered."""
    wrapped = subject.make()
    env = wrapped.unwrapped  # wrappers may pay something else
    env.action_space.seed(subject.seed)
    actions = list(subject.actions) if env.action_space == wrapped.action_space else []
    total = np.zeros(len(task.rewards))
    for call in replace(subject, actions=actions, policy=None).rollout(env, "views"):
        if not call.name.startswith("step"):
            total = np.zeros(len(task.rewards))
            continue
        total = total + call.reward
        if call.terminated or call.truncated:
            shown, index = task.with_split(call.info["split"]), call.info["problem"]
            answer = call.info["response" if task.dialogue is None else "dialogue"]
            score = task.score([shown[index]], [answer])[0]
            if (np.abs(total - score) > SUM_TOLERANCE * (task.rewards.high - task.rewards.low)).any():
                subject.fail(
                    "views",
                    f"{call.name}: problem {index} of {shown.split!r}, response {answer[:200]!r}: the rewards of the "
                    f"episode add up to {total}, the task scores {score}",
                )


def _compare_views(subject: Subject, task: Task, rng: np.random.Generator) -> None:
    from llm_morl_env.registration import view_class

    text, token = (view_class(task, view)(task) for view in ("text", "token"))
    indices = [int(i) for i in rng.integers(len(task), size=2)]
    scripts = [_scripts(token, text, index, rng) for index in indices]
    played: list[list[Turn]] = []
    for index, of_problem in zip(indices, scripts, strict=True):
        for script in of_problem:
            played.append(_play(text, index, script))
            _check_score(subject, task, index, played[-1])
            _check_token(subject, task, index, script, played[-1], _play_tokens(token, index, script))
    envs = view_class(task, "text", batched=True)(task, num_envs=len(played), group_size=len(scripts[0]))
    envs.reset(options={"problem": indices})
    _check_batch(subject, envs, [script for of_problem in scripts for script in of_problem], played)


def _scripts(token: Any, text: Any, index: int, rng: np.random.Generator) -> list[list[str]]:
    """What to answer to a problem, turn by turn: the gold answer, words of the grammar, any text, nothing, too much."""
    task, turns = token.task, token.max_turns
    gold = split_turns(str(task[index].meta.get("gold", "yes")))
    drawn = _random_script(token, index, rng)
    written = [gold, drawn, [gold[0], *drawn], [text.action_space.sample()], [""], [turn * 99 for turn in gold]]
    tokenizer = task.tokenizer  # a small vocabulary cannot spell every text
    spelt = [[tokenizer.decode(tokenizer.encode(turn)) for turn in script] for script in written]
    return [(script * turns)[:turns] for script in spelt]


def _play(text: Any, index: int, script: Sequence[str]) -> list[Turn]:
    """The turns of a script in the text view, until the episode ends."""
    text.reset(options={"problem": index})
    turns = []
    for response in script:
        _, rewards, ended, _, info = text.step(response)
        turns.append(Turn(rewards, info))
        if ended:
            break
    return turns


def _play_tokens(token: Any, index: int, script: Sequence[str]) -> list[Turn]:
    """The turns of a script in the token view; the rewards of a turn are the sum over its tokens."""
    token.reset(options={"problem": index})
    turns: list[Turn] = []
    for response in script:
        paid, over, ended = np.zeros(token.reward_dim, np.float32), False, False
        for action in [*token.task.tokenizer.encode(response), token.task.tokenizer.eos_id]:
            if not over:
                _, rewards, ended, _, info = token.step(action)
                paid += rewards
                over = ended or info.get("turn", 0) > len(turns)
        turns.append(Turn(paid, info))
        if ended:
            break
    return turns


def _check_score(subject: Subject, task: Task, index: int, turns: Sequence[Turn]) -> None:
    """The rewards of a text episode add up to the score of its text."""
    dialogue = join_turns([turn.info["response"] for turn in turns])
    score = task.score([task[index]], [dialogue])[0]
    total = np.sum([turn.rewards for turn in turns], axis=0, dtype=np.float64)
    if (np.abs(total - score) > SUM_TOLERANCE * (task.rewards.high - task.rewards.low)).any():
        subject.fail(
            "views",
            f"problem {index} of {task.split!r}, response {dialogue[:200]!r}: the rewards of the text view add up to "
            f"{total}, the task scores {score}",
        )


def _check_token(
    subject: Subject, task: Task, index: int, script: Sequence[str], expected: Sequence[Turn], got: Sequence[Turn]
) -> None:
    """The token view says what the text view says."""
    where = f"problem {index} of {task.split!r}"
    for number, (response, one, other) in enumerate(zip(script, expected, got, strict=False)):
        turn = f"{where}, {'turn ' + str(number) + ', ' if len(script) > 1 else ''}response {response[:200]!r}"
        if not np.array_equal(other.rewards, one.rewards):
            subject.fail("views", f"{turn}: the token view pays {other.rewards}, the text view {one.rewards}")
        # Tokens that just fill the cap leave no room for the end: "length", where the text itself would be whole.
        full = len(task.tokenizer.encode(response)) == task.max_response_tokens
        skipped = {"action_mask", "reward_components", *(("finish_reason",) if full else ())}
        for key in one.info.keys() - skipped:
            if difference(other.info[key], one.info[key], key) is not None:
                subject.fail(
                    "views",
                    f"{turn}: {key} is {other.info[key]!r} in the token view, {one.info[key]!r} in the text view",
                )
    if len(expected) != len(got):
        subject.fail("views", f"{where}: the token view plays {len(got)} turns, the text view {len(expected)}")


def _check_batch(
    subject: Subject, envs: Any, scripts: Sequence[Sequence[str]], played: Sequence[Sequence[Turn]]
) -> None:
    """Rows of a batch are paid as the text view pays them; nothing once they ended."""
    for turn in range(max(map(len, played))):
        _, rewards, terminated, _, _ = envs.step([script[turn] for script in scripts])
        for row, turns in enumerate(played):
            score = turns[turn].rewards if turn < len(turns) else np.zeros_like(rewards[row])
            where = f"response {scripts[row][turn][:200]!r}: row {row} of a batch"
            if not np.array_equal(rewards[row], score):
                subject.fail("views", f"{where} pays {rewards[row]}, the text view {score}")
            if bool(terminated[row]) != (turn >= len(turns) - 1):
                subject.fail(
                    "views", f"{where} says terminated={terminated[row]}, the text view plays {len(turns)} turns"
                )


def _random_script(token: Any, index: int, rng: np.random.Generator) -> list[str]:
    """The texts of an episode of tokens drawn from the action masks, turn by turn."""
    _, info = token.reset(options={"problem": index})
    script: list[str] = []
    ended = False
    while not ended:
        allowed = np.flatnonzero(info["action_mask"])
        if not np.array_equal(allowed, np.flatnonzero(token.action_masks())):
            raise ConformanceError(f"{token}: views: info['action_mask'] and action_masks() differ")
        _, _, ended, _, info = token.step(int(rng.choice(allowed)))
        if ended or info.get("turn", 0) > len(script):
            script.append(str(info["response"]))
    return script
