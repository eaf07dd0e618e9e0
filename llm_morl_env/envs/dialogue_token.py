"""`DialogueTokenEnv`: one token of a dialogue is one step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.envs.dialogue import DialogueEpisode
from llm_morl_env.envs.dialogue_state import dialogue_of
from llm_morl_env.envs.token import Observation, TokenEnv


class DialogueTokenEnv(DialogueEpisode[Observation, np.int64], TokenEnv):
    """The token view of a task of several turns: responses are written token by token, replies appear at once.

    ## Description
    A turn ends with the end-of-sequence token, or at ``max_response_tokens`` tokens. It is scored then as in the text
    view (`llm_morl_env.envs.dialogue.DialogueEnv`), and the environment's reply is appended to the observation. Both
    views pay the same rewards for the same turns.

    ## Observation Space
    As in `llm_morl_env.envs.token.TokenEnv`, with L = ``max_prompt_tokens + max_turns * (max_response_tokens +
    max_reply_tokens)``: the prompt's ids, right-aligned; then, without gaps, the tokens of each turn with its
    end-of-sequence token, and those of the reply to it; then padding. ``obs_mode="embed"``: what the model makes of all
    of it.

    ## Action Space
    ``Discrete(V)``. The action mask is the task's grammar for the turn that is being written, whatever came before it.

    ## Reward Space
    ``reward_space``: float32 Box (K,), of a step; zero but at the end of a turn. ``return_space``: of an episode's sum.

    ## Starting State
    A problem drawn from the split, or ``reset(options={"problem": i, "split": "train" | "eval" | ...})``; nothing
    written.

    ## Episode Termination
    Always ``terminated``, at the end of a turn: when the dialogue has no reply, or after ``max_turns`` turns.

    ## Info
    As in the text view, and ``action_mask``; ``response`` and ``reply`` are empty but at the end of a turn.

    ## Arguments
    task: The `Task`, one with a dialogue.
    obs_mode: ``"ids"``, ``"onehot"`` or ``"embed"``.
    language_model: Of ``obs_mode="embed"``, which needs it; see `TokenEnv`. It reads the replies too.
    render_mode: None, ``"ansi"`` or ``"human"``.

    ## Credits
    Vector rewards follow MO-Gymnasium (Felten et al. 2023); action masks Gymnasium's Taxi and sb3-contrib.
    """

    def advance(self, action: int | np.int64) -> tuple[NDArray[np.float32], bool]:
        """Write a token; see `TokenEnv.advance`."""
        self._turn = self._nothing()
        return super().advance(action)

    def _finish(self, response: str, reason: str) -> NDArray[np.float32]:
        """Score the turn, and read the reply."""
        rewards = super()._finish(response, reason)
        if not self._conversation.ended:
            reply = self.task.tokenizer.encode(self._conversation.reply)
            self._start += self._length
            self._ids[self._start : self._start + len(reply)] = reply
            self._start, self._length = self._start + len(reply), 0
        return rewards

    def _size(self) -> int:
        task, dialogue = self.task, dialogue_of(self.task)
        return task.max_prompt_tokens + self.max_turns * (task.max_response_tokens + dialogue.max_reply_tokens)
