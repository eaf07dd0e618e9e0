"""Grouped policy-gradient agents for multi-objective language-model environments.

The names below are loaded when they are first asked for: torch and transformers take seconds, and ``llm-morl --help``
needs neither.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_morl_agents.agents import AGENTS, DVAO, GDPO, GRPO, MOGRPO, REINFORCE, RLOO, DrGRPO
    from llm_morl_agents.grouped_pg import GroupedPG
    from llm_morl_agents.policies.load import load_policy
    from llm_morl_agents.policy import Policy, Sampling
    from llm_morl_agents.report import StepReport
    from llm_morl_agents.settings import Settings

__all__ = [
    "AGENTS",
    "DVAO",
    "GDPO",
    "GRPO",
    "MOGRPO",
    "REINFORCE",
    "RLOO",
    "DrGRPO",
    "GroupedPG",
    "Policy",
    "Sampling",
    "Settings",
    "StepReport",
    "load_policy",
]

_MODULES = {
    "GroupedPG": "grouped_pg",
    "Policy": "policy",
    "Sampling": "policy",
    "Settings": "settings",
    "StepReport": "report",
    "load_policy": "policies.load",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'agents')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
