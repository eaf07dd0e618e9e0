"""Gymnasium wrappers around environments with vector rewards; those of batched ones are in `wrappers.vector`."""

from llm_morl_env.wrappers.record import RecordVectorReturn
from llm_morl_env.wrappers.scalarized import ScalarizedReward

__all__ = ["RecordVectorReturn", "ScalarizedReward"]
