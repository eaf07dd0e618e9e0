"""An arm of a comparison: ``agent:weighter`` with options, for example ``gdpo(clip_low=0.1):saw(ema=0.7)``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gymnasium.vector import VectorEnv

from llm_morl_agents.experiments.errors import UserError
from llm_morl_env import expressions

if TYPE_CHECKING:
    from llm_morl_agents.grouped_pg import GroupedPG
    from llm_morl_agents.policy import Policy
    from llm_morl_agents.weighters.base import Signals

#: Agents that fix their weighter.
OWN_WEIGHTER = frozenset({"dvao"})
#: Agents whose step is as large as the weights: a weighter that doubles them doubles the learning rate.
KEEPS_SCALE = frozenset({"rloo", "reinforce", "dr_grpo"})
#: Weighters that do not look at the rewards; every other one is dynamic.
NOT_DYNAMIC = frozenset({"static", "random", "frozen"})
#: Stands for the mean weights of another arm: ``gdpo:frozen_mean(saw)``.
FROZEN_MEAN = "frozen_mean"
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
        frozen_from: The arm whose finished runs' mean weights this one holds fixed; ``weighter`` is that arm's.
    """

    text: str
    agent: str
    options: Mapping[str, Any]
    weighter: str | None
    frozen_from: str | None = None

    @property
    def dynamic(self) -> bool:
        """Whether the weights follow the rewards."""
        return self.frozen_from is None and (self.weighter is None or _name(self.weighter) not in NOT_DYNAMIC)

    @property
    def static(self) -> bool:
        """Whether the user fixed the weights."""
        return self.frozen_from is None and self.weighter is not None and _name(self.weighter) == "static"

    @property
    def random(self) -> bool:
        """Whether the weights are drawn."""
        return self.frozen_from is None and self.weighter is not None and _name(self.weighter) == "random"

    @property
    def agent_text(self) -> str:
        """What stands before the colon."""
        return _split(self.text)[0].strip()

    @property
    def weighter_text(self) -> str | None:
        """What stands behind it."""
        return _split(self.text)[1]

    @property
    def method(self) -> str:
        """The arm as text, whatever its preference."""
        return _joined(self, {name: value for name, value in self.options.items() if name != "preference"})

    def with_preference(self, preference: Sequence[float]) -> Arm:
        """The same arm for a preference vector.

        >>> parse_arm("gdpo:saw").with_preference((0.25, 0.75)).text
        'gdpo(preference=(0.25, 0.75)):saw'

        Raises:
            ValueError: If it has one.
        """
        if "preference" in self.options:
            raise ValueError(f"arm {self.text!r} has a preference of its own")
        return parse_arm(_joined(self, {**self.options, "preference": tuple(preference)}))

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
        inner = None if weighter_text is None else _frozen(weighter_text)
        if inner is not None:
            expressions.construct(inner, WEIGHTERS)
            name = agent_text.strip()
            return Arm(f"{name}:{FROZEN_MEAN}({inner})", agent, options, inner, frozen_from=f"{name}:{inner}")
        if weighter_text is not None:
            expressions.construct(weighter_text, WEIGHTERS)
    except ValueError as error:
        raise ValueError(f"arm {text!r}: {error}") from None
    given = None if weighter_text is None else weighter_text.strip()
    written = agent_text.strip() if given is None else f"{agent_text.strip()}:{given}"
    return Arm(written, agent, options, None if own else given or "static")


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
    arm: Arm,
    env: VectorEnv[Any, Any, Any],
    policy: Policy,
    *,
    seed: int,
    settings: Mapping[str, Any],
    weighter: str | None = None,
    rescale: bool = True,
) -> GroupedPG:
    """The untrained agent; the arm's own options override ``settings``.

    Args:
        arm: Which.
        env: Its environment.
        policy: Its language model.
        seed: Of its random streams.
        settings: Of every arm.
        weighter: As text, instead of the arm's; an arm that freezes another one's weights needs it.
        rescale: Under agents of `KEEPS_SCALE`, rescale the weights of every step to one sum, so that arms differ by
            what they weigh and not by the size of their steps.

    Raises:
        ValueError: If an option is unknown or its value refused.
        ImportError: If the weighter needs a package that is not installed.
    """
    from llm_morl_agents.agents import AGENTS
    from llm_morl_agents.weighters import WEIGHTERS

    options: dict[str, Any] = {**settings, **arm.options, "seed": seed}
    text = weighter or arm.weighter
    if text is not None:
        name, given = expressions.parse(text, WEIGHTERS)
        if name == "random" and "seed" not in given:  # each run draws its own weights, as it draws its own responses
            text = f"random({''.join(f'{option}={value!r}, ' for option, value in given.items())}seed={seed})"
        if rescale and arm.agent in KEEPS_SCALE:
            text = f"rescaled(inner={text})"
        options["weighter"] = expressions.construct(text, WEIGHTERS)
    try:
        return AGENTS[arm.agent](env, policy, **options)
    except (ValueError, TypeError) as error:
        raise ValueError(f"arm {arm.text!r}: {error}") from error
    except ImportError as error:
        raise ImportError(f"arm {arm.text!r}: {error}") from error


def load_agent(arm: Arm, path: Path, env: VectorEnv[Any, Any, Any], policy: Policy) -> GroupedPG:
    """The agent that was saved at ``path``, with its parameters written into ``policy``."""
    from llm_morl_agents.agents import AGENTS

    return AGENTS[arm.agent].load(path, env, policy=policy)


def check_arms(
    arms: Sequence[Arm], env: VectorEnv[Any, Any, Any], settings: Mapping[str, Any], *, rescale: bool = True
) -> None:
    """Make every agent once without loading a model, so that a mistake shows before any process starts.

    Weighters are asked for weights of invented rewards, since some refuse the level or the bounds only then.

    Raises:
        UserError: With the first mistake.
    """
    for arm in arms:
        try:
            agent = make_agent(arm, env, cast("Policy", _NoModel()), seed=0, settings=settings, rescale=rescale)
        except (ValueError, TypeError, ImportError) as error:
            raise UserError(str(error)) from error
        try:
            agent.weighter(_invented(agent), agent.weighter_state)
        except ValueError as error:
            raise UserError(f"arm {arm.text!r}: {error}") from error


def _invented(agent: GroupedPG) -> Signals:
    """Signals as the agent's first step has them, with rewards drawn inside the bounds."""
    import numpy as np

    from llm_morl_agents.weighters.base import Signals

    low, high, k = agent.objectives.low, agent.objectives.high, len(agent.objectives)
    bottom = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - 1.0, 0.0))
    top = np.where(np.isfinite(high), high, bottom + 1.0)
    drawn = np.random.default_rng(0).random((16, k))
    measured = {
        "gramian": np.eye(k),
        "influence": np.ones(k),
        "realised": np.zeros(k),
        "validation": (bottom + top) / 2,
    }
    return Signals(
        rewards=bottom + drawn * (top - bottom),
        group=np.repeat(np.arange(4), 4),
        low=low,
        high=high,
        preference=agent.preference,
        level=agent.estimator.level,
        step=0,
        **{name: value for name, value in measured.items() if name in agent.weighter.needs},
    )


class _NoModel:
    """All that an agent's constructor asks of a policy."""

    def trainable_parameters(self) -> dict[str, Any]:
        import torch

        return {"none": torch.nn.Parameter(torch.zeros(1))}

    def frozen_copy(self) -> _NoModel:
        return self


def _joined(arm: Arm, options: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name}={value!r}" for name, value in options.items())
    weighter = "" if arm.weighter_text is None else f":{arm.weighter_text.strip()}"
    return f"{arm.agent}({listed}){weighter}" if listed else f"{arm.agent}{weighter}"


def _name(weighter: str) -> str:
    return weighter.partition("(")[0].strip()


def _frozen(weighter: str) -> str | None:
    """The weighter inside ``frozen_mean(...)``; None for any other text."""
    found = re.fullmatch(rf"\s*{FROZEN_MEAN}\s*\((.*)\)\s*", weighter, flags=re.DOTALL)
    return None if found is None else found.group(1).strip()


def _split(text: str) -> tuple[str, str | None]:
    """The parts before and after the first colon outside parentheses."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ":" and depth == 0:
            return text[:position], text[position + 1 :]
    return text, None
