"""`TextEnv`: one response is one step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.envs.base import TaskEnv, read_answer
from llm_morl_env.spaces import UnicodeText
from llm_morl_env.task import Task


class TextEnv(TaskEnv[str, str]):
    """The text view of a task: a prompt in, a whole response out, scored by every objective.

    ## Description
    A one-step episode (a contextual bandit). The prompt of a problem is shown; the action is the response.

    ## Observation Space
    `UnicodeText`: the prompt. After the step, the prompt followed by the scored response.

    ## Action Space
    `UnicodeText`: the response. (A 1-D sequence of token ids of the environment's tokenizer is understood too.) It is
    cut at ``max_response_tokens`` tokens before it is scored.

    ## Reward Space
    float32 Box (K,) with the bounds that the task's rewards declare; larger is better.

    ## Starting State
    A problem drawn uniformly from the split, or ``reset(options={"problem": i, "split": "train" | "eval" | ...})``.

    ## Episode Termination
    After one step, always ``terminated=True``; ``info["finish_reason"]`` is ``"length"`` where the response was cut at
    the cap, else ``"stop"``. ``info["response"]`` is the scored text, ``info["reward_components"]`` the rewards by
    name, ``info["problem"]`` and ``info["split"]`` say which problem it was. Where objectives may not apply to a
    problem, ``info["objective_mask"]``, bool (K,), says which do (the reward of the others is their lower bound, and
    means nothing); where problems ask for weights of the objectives, ``info["preference"]``, float64 (K,), says them.

    ## Arguments
    task: The `Task`.
    render_mode: None, ``"ansi"`` or ``"human"``.

    ## Credits
    Vector rewards follow MO-Gymnasium (Felten et al. 2023).
    """

    def __init__(self, task: Task, *, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode=render_mode)
        self.observation_space = UnicodeText()
        self.action_space = UnicodeText()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode: the prompt, and which problem it is."""
        return self._begin(seed, options).prompt, self._info()

    def step(self, action: str) -> tuple[str, NDArray[np.float32], bool, bool, dict[str, Any]]:
        """Score a response.

        Returns:
            Transcript, rewards (K,), whether the episode ended, False, info.

        Raises:
            RuntimeError: If no episode is running.
            TypeError: If the action is no text (nor a sequence of token ids).
        """
        self._running()
        response, reason = read_answer(self.task, action)
        rewards = self._finish(response, reason)
        return self._text(), rewards, self._result is not None, False, self._step_info()
