"""Classic multi-objective reinforcement learning on language tasks: algorithms of other libraries behind one call."""

from llm_morl_agents.classic.algorithms import ALGORITHMS, Algorithm
from llm_morl_agents.classic.clock import ClassicProgress
from llm_morl_agents.classic.result import ClassicResult

__all__ = ["ALGORITHMS", "Algorithm", "ClassicProgress", "ClassicResult"]
