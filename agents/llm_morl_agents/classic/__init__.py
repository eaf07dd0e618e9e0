"""Classic multi-objective reinforcement learning on language tasks: algorithms of other libraries behind one call."""

from llm_morl_agents.classic.algorithms import ALGORITHMS, Algorithm
from llm_morl_agents.classic.clock import ClassicProgress
from llm_morl_agents.classic.result import ClassicResult
from llm_morl_agents.classic.support import assert_supported
from llm_morl_agents.classic.train import train_classic

__all__ = ["ALGORITHMS", "Algorithm", "ClassicProgress", "ClassicResult", "assert_supported", "train_classic"]
