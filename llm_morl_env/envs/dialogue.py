"""`DialogueEnv`: one turn of a dialogue is one step; and what the single-episode views of dialogues share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.envs.base import ActType, ObsType, TaskEnv, components, print_text
from llm_morl_env.envs.dialogue_state import Conversation, turn_rewards, turn_space
from llm_morl_env.envs.text import TextEnv
from llm_morl_env.rendering import render_dialogue
from llm_morl_env.task import Task
from llm_morl_rewards import Problem


class DialogueEpisode(TaskEnv[ObsType, ActType]):
    """What a view of one response becomes where an episode is a dialogue: put before the view among the bases.

    Args:
        task: A task with a dialogue.
        render_mode: None, ``"ansi"`` or ``"human"``.
        view_kwargs: Of the view.
    """

    _plays_dialogues = True

    def __init__(self, task: Task, *, render_mode: str | None = None, **view_kwargs: Any) -> None:
        super().__init__(task, render_mode=render_mode, **view_kwargs)
        self.reward_space = turn_space(self.return_space)
        self._conversation = Conversation(Problem(""))
        self._paid = np.zeros(self.reward_dim)
        self._turn = self._nothing()

    def _nothing(self) -> tuple[str, str, NDArray[np.float32]]:
        """Response, reply and rewards of a step that ends no turn."""
        return "", "", np.zeros(self.reward_dim, np.float32)

    def _begin(self, seed: int | None, options: dict[str, Any] | None) -> Problem:
        problem = super()._begin(seed, options)
        self._conversation, self._paid = Conversation(problem), np.zeros(self.reward_dim)
        self._turn = self._nothing()
        return problem

    def _finish(self, response: str, reason: str) -> NDArray[np.float32]:
        """Score a turn that was cut already; the episode ends if the dialogue does."""
        said = self._conversation.extended(self.task, response, reason)
        values = self.task.score([self._running()], [said.text], rng=self.np_random)[0]
        rewards = turn_rewards(values, self._paid, self.return_space)
        self._conversation, self._paid = said, self._paid + rewards
        self._turn = said.responses[-1], said.reply, rewards
        if said.ended:
            self._result = said.text, said.reason, values
            if self.render_mode == "human":
                print_text(self._transcript())
        return rewards.copy()

    def _text(self) -> str:
        return self._conversation.transcript

    def _info(self) -> dict[str, Any]:
        return {**super()._info(), "turn": len(self._conversation.responses)}

    def _step_info(self) -> dict[str, Any]:
        response, reply, rewards = self._turn
        return {
            **self._info(),
            "response": response,
            "reply": reply,
            "dialogue": self._conversation.text if self._conversation.ended else "",
            "finish_reason": self._conversation.reason,
            "reward_components": components(self.task, rewards),
        }

    def _transcript(self) -> str:
        self._shown()
        said = self._conversation
        return render_dialogue(
            said.problem.prompt, said.responses, said.replies, said.reason, self.task.rewards, self._paid
        )


class DialogueEnv(DialogueEpisode[str, str], TextEnv):
    """The text view of a task of several turns: a response in, the environment's reply out, rewards at every turn.

    ## Description
    What the environment replies is computed from the responses (`llm_morl_env.task.Dialogue`). The value V of a
    dialogue, finished or not, is the task's reward vector for all its responses as one text. A turn earns what it adds
    to that value, ``V(with it) - V(without it)``, where no responses are worth 0; so the rewards of an episode add up
    to the value of the whole dialogue (in double precision, up to a rounding error of one float32). Noise of the task
    is drawn anew for each V: the sum bears the noise of the last one alone.

    ## Observation Space
    `UnicodeText`: the whole transcript: prompt, first response, first reply, second response, and so on, as they are,
    with nothing between them. (What is new since the last response is ``info["reply"]``.)

    ## Action Space
    `UnicodeText`: the next response. (A 1-D sequence of token ids of the environment's tokenizer is understood too.)
    Each response is cut at ``max_response_tokens`` tokens; the dialogue goes on with what is left. The control
    character that separates turns in the text that is scored (`llm_morl_rewards.turns.SEPARATOR`) is dropped.

    ## Reward Space
    ``reward_space``, float32 Box (K,): bounds of a turn's reward, which is a difference of two values and may be
    negative where values never are. ``return_space``: the bounds of V, so of an episode's sum.

    ## Starting State
    A problem drawn from the split, or ``reset(options={"problem": i, "split": "train" | "eval" | ...})``; no turns.

    ## Episode Termination
    Always ``terminated``, never truncated: when the dialogue has no reply, or after ``max_turns`` responses.

    ## Info
    ``problem`` and ``split``; ``turn``, how many responses were given; and after a step: ``response``, the turn as it
    was scored; ``reply``, what the policy reads next; ``finish_reason``, empty while the dialogue goes on, at its end
    ``"length"`` where the last response was cut, else ``"stop"`` where there is no reply, else ``"turns"``;
    ``dialogue``, at the end all responses as one text (`llm_morl_rewards.turns.split_turns` takes it apart), empty
    before; ``reward_components``, this step's rewards by name.

    ## Arguments
    task: The `Task`, one with a dialogue.
    render_mode: None, ``"ansi"`` or ``"human"``.

    ## Credits
    Vector rewards follow MO-Gymnasium (Felten et al. 2023). Rewards as differences of a value are those of
    potential-based shaping without discount (Ng, Harada and Russell 1999).
    """
