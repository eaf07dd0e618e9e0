"""Gymnasium wrappers around environments with vector rewards; those of batched ones are in `wrappers.vector`."""

from llm_morl_env.wrappers.preference import PreferenceInPrompt
from llm_morl_env.wrappers.record import RecordVectorReturn
from llm_morl_env.wrappers.scalarized import ScalarizedReward
from llm_morl_env.wrappers.shaped import GateObjective, NoisyObjective, ScaleToUnit

__all__ = [
    "GateObjective",
    "NoisyObjective",
    "PreferenceInPrompt",
    "RecordVectorReturn",
    "ScalarizedReward",
    "ScaleToUnit",
]
