"""Demonstrations of the built-in tasks, clean or with the errors that a beginner makes. The table is read-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from llm_morl_agents.pretrain.demonstrations.base import Demonstrator, Segments
from llm_morl_agents.pretrain.demonstrations.mathreasoning import mathreasoning_demonstrations
from llm_morl_agents.pretrain.demonstrations.safeassist import safeassist_demonstrations
from llm_morl_agents.pretrain.demonstrations.summarize import summarize_demonstrations
from llm_morl_agents.pretrain.demonstrations.toolcall import toolcall_demonstrations
from llm_morl_agents.pretrain.demonstrations.toolworld import toolworld_demonstrations

__all__ = ["DEMONSTRATIONS", "Demonstrator", "Segments"]

#: Makers of demonstrations, by the name of the task: ``(*, seed, difficulty) -> Demonstrator``.
DEMONSTRATIONS: Mapping[str, Callable[..., Demonstrator]] = MappingProxyType(
    {
        "toolcall": toolcall_demonstrations,
        "toolcall-multiturn": toolworld_demonstrations,
        "summarize": summarize_demonstrations,
        "mathreasoning": mathreasoning_demonstrations,
        "safeassist": safeassist_demonstrations,
    }
)
