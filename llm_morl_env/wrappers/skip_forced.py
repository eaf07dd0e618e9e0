"""`SkipForced`: a step is a decision, for any environment that says which actions are allowed."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_morl_env.wrappers.changed_return import ActType, ObsType
from llm_morl_env.wrappers.declared import reward_box, with_components

Floats32 = NDArray[np.float32]


class SkipForced(gym.Wrapper[ObsType, ActType, ObsType, ActType], gym.utils.RecordConstructorArgs):
    """Takes an action at once where it is the only one allowed, so that every step is a decision.

    Under a grammar most tokens of a response are forced. A learner that is shown them all spends its steps, its replay
    and its credit assignment on states where nothing can be chosen. The action space stays as it is.

    Forced actions are taken after `reset` and after every step; their rewards are added to the step's. The rewards of
    forced actions after `reset` are paid with the first step. Info is that of the last action taken, with
    ``"skipped"``, the number of forced ones; the info of `reset` keeps what the environment's own said besides.

    An episode without any decision takes one step all the same: `reset` shows its last state, and the first step,
    whatever its action, ends it with all its rewards.

    Args:
        env: A multi-objective environment with ``Discrete`` actions and a method ``action_masks`` (bool (n,)), as the
            token view has it.

    Raises:
        TypeError: If it has no such method, no ``Discrete`` actions, or no ``reward_space``.

    >>> import llm_morl_env
    >>> env = SkipForced(gym.make("llm_morl_env:ToolCall-MO-v0", difficulty="easy"))
    >>> _, info = env.reset(options={"problem": 0, "split": "eval"})
    >>> info["skipped"], int(env.action_masks().sum())
    (1, 2)
    """

    def __init__(self, env: gym.Env[ObsType, ActType]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        try:
            self._masks = env.get_wrapper_attr("action_masks")
        except AttributeError:
            raise TypeError(f"SkipForced(env=) needs a method action_masks, which {env} has not") from None
        if not isinstance(env.action_space, gym.spaces.Discrete):
            raise TypeError(f"SkipForced(env=) needs Discrete actions, got {env.action_space}")
        self._reward_shape = reward_box(env, "SkipForced").shape
        self._owed: Floats32 = np.zeros(self._reward_shape, np.float32)
        self._ended: tuple[ObsType, bool, bool, dict[str, Any]] | None = None

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are allowed, bool (n,), a fresh array: at least two while the episode runs."""
        return np.array(self._masks(), np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Begin an episode, and go on to its first decision."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._ended = None
        observation, self._owed, terminated, truncated, latest = self._skip(
            observation, np.zeros(self._reward_shape, np.float32), False, False, {}
        )
        if terminated or truncated:
            # What it says of the end belongs to the step, which must not share arrays with this call.
            self._ended = copy.deepcopy((observation, terminated, truncated, latest))
        mask = {"action_mask": latest["action_mask"]} if "action_mask" in latest else {}
        return observation, {**info, **mask, "skipped": latest["skipped"]}

    def step(self, action: ActType) -> tuple[ObsType, Any, bool, bool, dict[str, Any]]:
        """Take an action and the forced ones after it."""
        if self._ended is not None:
            observation, terminated, truncated, info = self._ended
            owed, self._ended, self._owed = self._owed, None, np.zeros(self._reward_shape, np.float32)
            return observation, owed, terminated, truncated, info
        observation, reward, terminated, truncated, info = self.env.step(action)
        paid: Floats32 = self._owed + np.asarray(reward, np.float32)
        self._owed = np.zeros(self._reward_shape, np.float32)
        return self._skip(observation, paid, terminated, truncated, info)

    def _skip(
        self, observation: ObsType, rewards: Floats32, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> tuple[ObsType, Floats32, bool, bool, dict[str, Any]]:
        """Take forced actions until there is a choice or the end."""
        skipped, said = 0, _said(info)
        while not (terminated or truncated):
            allowed = np.flatnonzero(self._masks())
            if len(allowed) != 1:
                break
            observation, reward, terminated, truncated, info = self.env.step(allowed[0])
            rewards, skipped = rewards + np.asarray(reward, np.float32), skipped + 1
            said = _said(info) or said
        described = with_components(self.env, {**info, **said, "skipped": skipped}, rewards)
        return observation, rewards, terminated, truncated, described


def _said(info: dict[str, Any]) -> dict[str, Any]:
    """What an info says of a turn that has just ended; nothing where none has."""
    return {key: info[key] for key in ("response", "reply") if key in info and info.get("response")}
