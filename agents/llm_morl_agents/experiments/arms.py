"""An arm of a comparison: ``agent:weighter`` with options, for example ``gdpo(clip_low=0.1):saw(ema=0.7)``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gymnasium.vector import VectorEnv

from llm_morl_agents import expressions
from llm_morl_agents.experiments.errors import UserError

if TYPE_CHECKING:
    from llm_morl_agents.grouped_pg import GroupedPG
    from llm_morl_agents.policy import Policy

#: Agents that fix their weighter.
OWN_WEIGHTER = frozenset({"dvao"})
#: Arguments of the constructor that the experiment gives.
_FIXED_OPTIONS = frozenset({"env", "policy", "weighter", "estimator", "seed"})


@dataclass(frozen=True)
class Arm:
    """One agent with one weighter.

    Args:
        text: As the user wrote it.
        agent: Name in `llm_morl_agents.AGENTS`.
        options: Arguments of the agent: fields of `Settings` and its own.
        weighter: As text, name in `WEIGHTERS` with options; None for an agent that is its own weighter.
    """

    text: str
    agent: str
    options: Mapping[str, Any]
    weighter: str | None

    @property
    def slug(self) -> str:
        """The arm as a name of a folder."""
        return re.sub(r"[^A-Za-z0-9_.=-]+", "-", self.text).strip("-")


def parse_arm(text: str) -> Arm:
    """Read ``agent``, ``agent:weighter``, either with options; without a weighter it is ``static``.

    Raises:
        ValueError: If a name is unknown, an option is no literal, or an agent without a choice of weighter gets one.

    >>> parse_arm("gdpo(clip_low=0.1):saw(ema=0.7)").weighter
    'saw(ema=0.7)'
    >>> parse_arm("dvao").weighter is None
    True
    """
    from llm_morl_agents.agents import AGENTS
    from llm_morl_agents.weighters import WEIGHTERS

    agent_text, weighter_text = _split(text)
    try:
        agent, options = expressions.parse(agent_text, AGENTS)
        refused = sorted(options.keys() & _FIXED_OPTIONS)
        if refused:
            raise ValueError(f"the options {refused} are not an arm's to set")
        own = agent in OWN_WEIGHTER
        if own and weighter_text is not None:
            raise ValueError(f"{agent} is its own weighter; write {agent_text!r} alone")
        if weighter_text is not None:
            expressions.construct(weighter_text, WEIGHTERS)
    except ValueError as error:
        raise ValueError(f"arm {text!r}: {error}") from None
    return Arm(text.strip(), agent, options, None if own else weighter_text or "static")


def parse_arms(texts: Sequence[str]) -> list[Arm]:
    """Read several arms.

    Raises:
        ValueError: If one is malformed, two are the same, or there are none.
    """
    if not texts:
        raise ValueError("arms: give at least one, for example gdpo:saw")
    arms: dict[str, Arm] = {}
    for text in texts:
        arm = parse_arm(text)
        if arm.slug in arms:
            raise ValueError(f"arms: {arms[arm.slug].text!r} and {text!r} are the same")
        arms[arm.slug] = arm
    return list(arms.values())


def make_agent(
    arm: Arm, env: VectorEnv[Any, Any, Any], policy: Policy, *, seed: int, settings: Mapping[str, Any]
) -> GroupedPG:
    """The untrained agent; the arm's own options override ``settings``.

    Raises:
        ValueError: If an option is unknown or its value refused.
    """
    from llm_morl_agents.agents import AGENTS
    from llm_morl_agents.weighters import WEIGHTERS

    options: dict[str, Any] = {**settings, **arm.options, "seed": seed}
    if arm.weighter is not None:
        options["weighter"] = expressions.construct(arm.weighter, WEIGHTERS)
    try:
        return AGENTS[arm.agent](env, policy, **options)
    except (ValueError, TypeError) as error:
        raise ValueError(f"arm {arm.text!r}: {error}") from error


def load_agent(arm: Arm, path: Path, env: VectorEnv[Any, Any, Any], policy: Policy) -> GroupedPG:
    """The agent that was saved at ``path``, with its parameters written into ``policy``."""
    from llm_morl_agents.agents import AGENTS

    return AGENTS[arm.agent].load(path, env, policy=policy)


def check_arms(arms: Sequence[Arm], env: VectorEnv[Any, Any, Any], settings: Mapping[str, Any]) -> None:
    """Make every agent once without loading a model, so that a mistake shows before any process starts.

    Raises:
        UserError: With the first mistake.
    """
    for arm in arms:
        try:
            agent = make_agent(arm, env, cast("Policy", _NoModel()), seed=0, settings=settings)
        except (ValueError, TypeError) as error:
            raise UserError(str(error)) from error
        del agent


class _NoModel:
    """All that an agent's constructor asks of a policy."""

    def trainable_parameters(self) -> dict[str, Any]:
        import torch

        return {"none": torch.nn.Parameter(torch.zeros(1))}

    def frozen_copy(self) -> _NoModel:
        return self


def _split(text: str) -> tuple[str, str | None]:
    """The parts before and after the first colon outside parentheses."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ":" and depth == 0:
            return text[:position], text[position + 1 :]
    return text, None
