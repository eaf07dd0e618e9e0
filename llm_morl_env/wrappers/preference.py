"""`PreferenceInPrompt`: weights of the objectives in the prompt of any text environment. Shapes: K objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Text

from llm_morl_env.spaces import UnicodeText
from llm_morl_env.transforms.notation import Notation, weights_of
from llm_morl_env.transforms.preference import draw_weights
from llm_morl_env.wrappers.declared import declared, reward_box

ActType = TypeVar("ActType")


class PreferenceInPrompt(gym.Wrapper[str, ActType, str, ActType], gym.utils.RecordConstructorArgs):
    """A text environment whose prompts name weights of the objectives; ``info["preference"]``, (K,), holds them.

    See `llm_morl_env.transforms.PreferenceInPrompt`, which works for batches and token views too. There a preference
    belongs to the problem; here it is drawn anew at every reset, from a generator of its own that ``reset`` seeds.

    Args:
        env: An environment with a ``reward_space``, a Box (K,), and texts as observations. Where an observation begins
            with the episode's prompt, as transcripts do, the prompt with the preference takes its place.
        weights: Of the objectives in order, or by name; None draws multiples of ``1 / parts``, all alike.
        template: Of the prompt; holds ``{weights}`` and ``{prompt}`` once each.
        parts: See ``weights``.

    Raises:
        TypeError: If the environment has no such reward space, or its observations are no texts.
        ValueError: If the weights do not fit the objectives, or the template is not so.
    """

    def __init__(
        self,
        env: gym.Env[str, ActType],
        weights: Sequence[float] | Mapping[str, float] | None = None,
        *,
        template: str = "{weights}\n{prompt}",
        parts: int = 10,
    ) -> None:
        plain = dict(weights) if isinstance(weights, Mapping) else None if weights is None else [*map(float, weights)]
        gym.utils.RecordConstructorArgs.__init__(self, weights=plain, template=template, parts=parts)
        gym.Wrapper.__init__(self, env)
        if not isinstance(env.observation_space, Text):
            raise TypeError(f"PreferenceInPrompt(env=) needs texts as observations, got {env.observation_space!r}")
        if parts < 1:
            raise ValueError(f"PreferenceInPrompt(parts=) must be at least 1, got {parts!r}")
        size = reward_box(env, "PreferenceInPrompt").shape[0]
        names = tuple(declared(env, "objective_names") or (f"objective {k}" for k in range(size)))
        self._notation = Notation(names, template, parts, None)
        self._fixed = None if plain is None else weights_of(plain, names)
        self._generator = np.random.default_rng()
        self._weights = self._fixed or (0.0,) * size
        self._prompt = ""
        extra = len(template) + sum(len(name) + 8 for name in names)
        self.observation_space = UnicodeText(env.observation_space.max_length + extra)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode, with its preference."""
        if seed is not None:
            self._generator = np.random.default_rng([seed, 2])  # not the environment's own stream
        self._prompt, info = self.env.reset(seed=seed, options=options)
        if self._fixed is None:
            self._weights = draw_weights(self._generator, len(self._notation.names), self._notation.parts)
        return self._shown(self._prompt), self._said(info)

    def step(self, action: ActType) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._shown(observation), reward, terminated, truncated, self._said(info)

    def _shown(self, observation: str) -> str:
        if not observation.startswith(self._prompt):
            return observation
        return self._notation.prompt(self._weights, self._prompt) + observation[len(self._prompt) :]

    def _said(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "preference": np.array(self._weights, np.float64)}
