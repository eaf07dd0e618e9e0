"""`DialogueVectorEnv`: a batch of dialogues in groups, one turn of each a step.

Shapes: N rows in groups of G, K objectives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from llm_morl_env.envs.base import print_text, read_answer
from llm_morl_env.envs.dialogue_state import Conversation, turn_rewards, turn_space
from llm_morl_env.envs.vector import TextVectorEnv, objects_array
from llm_morl_env.rendering import render_dialogue
from llm_morl_env.task import Task


class DialogueVectorEnv(TextVectorEnv):
    """The batched text view of a task of several turns: N responses in, N replies out, rewards (N, K) at every turn.

    ## Description
    Each row is a dialogue as in `llm_morl_env.envs.dialogue.DialogueEnv`, with the same rewards; every prompt stands in
    G consecutive rows (its group). Dialogues end at different turns. A row that has ended ignores its action, whatever
    it is, earns zero and stays ``terminated`` until the caller resets. (Rewards of kind ``group`` compare the dialogues
    of a group as they are after each turn, ended ones with what they were.)

    ## Observation Space
    A tuple of N transcripts (`UnicodeText` each): prompt, responses and replies in turn. ``info["reply"]`` is what is
    new to read since the last response: agents that keep token ids append it to theirs.

    ## Action Space
    A tuple or list of N responses, each a `str`, or a 1-D sequence of token ids of the environment's tokenizer.

    ## Reward Space
    ``reward_space``, float32 Box (K,): bounds of one row's reward in a step. ``return_space``: those of the sum of a
    row's rewards over its dialogue, which are the task's bounds.

    ## Starting State
    As in `llm_morl_env.envs.vector.TextVectorEnv`: P problems, drawn or chosen.

    ## Episode Termination
    A row is ``terminated`` from the step on in which its dialogue ended. A group resets together, so there is no
    autoreset: when all rows have ended, `step` is an error until `reset`; whole groups may be reset before, by
    ``options={"reset_mask": bool (N,)}``.

    ## Info
    Arrays (N,), each with its Gymnasium mask ``"_key"``. Of all rows: ``problem``, ``split``, ``group`` and ``turn``,
    how many responses were given. Of the rows whose action was read: ``response``, ``reply`` (empty where the dialogue
    ended), ``finish_reason`` (empty where it did not) and ``reward_components``, this step's. Of the rows that ended in
    this step: ``dialogue``, all responses as one text.

    ## Arguments
    task: The `Task`, one with a dialogue.
    num_envs: N, divisible by ``group_size``.
    group_size: G.
    autoreset_mode: ``"Disabled"`` or the `AutoresetMode`; there is no other.
    render_mode: None, ``"ansi"`` (`render` returns N texts) or ``"human"`` (the first row is printed when it ends).

    ## Credits
    Vector rewards follow MO-Gymnasium (Felten et al. 2023).
    """

    _plays_dialogues = True
    _modes = (AutoresetMode.DISABLED,)

    def __init__(
        self,
        task: Task,
        *,
        num_envs: int,
        group_size: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.DISABLED,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            task, num_envs=num_envs, group_size=group_size, autoreset_mode=autoreset_mode, render_mode=render_mode
        )
        self.reward_space = turn_space(self.return_space)
        self._conversations = [Conversation(problem) for problem in self._problems]
        self._paid = np.zeros((num_envs, self.reward_dim))
        self._grouped = any(function.kind == "group" for function in task.rewards)

    def _known_mode(self, mode: str | AutoresetMode) -> AutoresetMode:
        try:
            return super()._known_mode(mode)
        except ValueError as error:
            raise ValueError(f"{error}: the dialogues of a group end at different turns and reset together") from None

    def step(
        self, actions: Sequence[Any]
    ) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """One turn of each dialogue that has not ended.

        Returns:
            N transcripts, rewards float32 (N, K), terminated (from a dialogue's end on), truncated (all False), info.

        Raises:
            RuntimeError: If every row has ended.
            ValueError: If there are not N responses.
        """
        live = ~self._ended
        self._check_step(actions, not live.any())
        turns = {row: self._said(row, actions[row]) for row in np.flatnonzero(live).tolist()}
        conversations = [turns.get(row, before) for row, before in enumerate(self._conversations)]
        rewards = self._rewards(conversations, live)
        self._conversations, self._paid = conversations, self._paid + rewards
        self._ended = np.array([said.ended for said in conversations], np.bool_)
        if self.render_mode == "human" and live[0] and self._ended[0]:
            print_text(self._transcript(0))
        info = self._described(self._about_turns(rewards, live), live, **self._masks(live))
        return self._observations(), rewards, self._ended.copy(), np.zeros_like(self._ended), info

    def _said(self, row: int, action: Any) -> Conversation:
        """The conversation of a row, with this response."""
        return self._conversations[row].extended(self.task, *read_answer(self.task, action))

    def _rewards(self, conversations: Sequence[Conversation], live: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Rewards (N, K) of a turn, zero in rows that had ended before it."""
        rows = [row for row in range(self.num_envs) if self._grouped or live[row]]
        values = np.zeros((self.num_envs, self.reward_dim), np.float32)
        values[rows] = self.task.score(
            [self._problems[row] for row in rows],
            [conversations[row].text for row in rows],
            self._groups[rows],
            self.np_random,
        )
        return np.where(live[:, None], turn_rewards(values, self._paid, self.return_space), np.float32(0))

    def _about_turns(self, rewards: NDArray[np.float32], live: NDArray[np.bool_]) -> dict[str, Any]:
        said = [now if lives else None for now, lives in zip(self._conversations, live, strict=True)]
        return {
            **self._about_prompts(),
            "response": objects_array([now.responses[-1] if now else "" for now in said]),
            "reply": objects_array([now.reply if now else "" for now in said]),
            "dialogue": objects_array([now.text if now and now.ended else "" for now in said]),
            "finish_reason": objects_array([now.reason if now else "" for now in said]),
            "reward_components": dict(zip(self.objective_names, rewards.T.copy(), strict=True)),
        }

    def _masks(self, live: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
        """Of the keys that are not about live rows."""
        everywhere = np.ones(self.num_envs, np.bool_)
        return {**dict.fromkeys(self._about_prompts(), everywhere), "dialogue": live & self._ended}

    def _begin(self, groups: NDArray[np.int64], options: Mapping[str, Any]) -> None:
        super()._begin(groups, options)
        for row in np.flatnonzero(np.isin(np.arange(self.num_envs) // self.group_size, groups)):
            self._conversations[row] = Conversation(self._problems[row])
            self._paid[row] = 0.0

    def _observations(self) -> tuple[str, ...]:
        return tuple(said.transcript for said in self._conversations)

    def _about_prompts(self) -> dict[str, Any]:
        return {
            **super()._about_prompts(),
            "turn": np.array([len(said.responses) for said in self._conversations], np.int64),
        }

    def _transcript(self, row: int) -> str:
        said = self._conversations[row]
        return render_dialogue(
            said.problem.prompt, said.responses, said.replies, said.reason, self.task.rewards, self._paid[row]
        )
