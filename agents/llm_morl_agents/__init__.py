"""Grouped policy-gradient agents for multi-objective language-model environments."""

from llm_morl_agents.agents import AGENTS, DVAO, GDPO, GRPO, REINFORCE, RLOO, DrGRPO
from llm_morl_agents.grouped_pg import GroupedPG
from llm_morl_agents.policy import Policy, Sampling, load_policy
from llm_morl_agents.report import StepReport
from llm_morl_agents.settings import Settings

__all__ = [
    "AGENTS",
    "DVAO",
    "GDPO",
    "GRPO",
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
