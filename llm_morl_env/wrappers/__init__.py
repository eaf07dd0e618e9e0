"""Gymnasium wrappers around environments with vector rewards; those of batched ones are in `wrappers.vector`."""

from llm_morl_env.wrappers.clipped import ClipObjectives
from llm_morl_env.wrappers.conditioned import WeightConditioned
from llm_morl_env.wrappers.monitor import MOMonitor
from llm_morl_env.wrappers.normalized import NormalizeObjectives
from llm_morl_env.wrappers.preference import PreferenceInPrompt
from llm_morl_env.wrappers.prompt_words import PromptWords
from llm_morl_env.wrappers.record import RecordVectorReturn
from llm_morl_env.wrappers.scalarized import ScalarizedReward
from llm_morl_env.wrappers.shaped import GateObjective, NoisyObjective, ScaleToUnit
from llm_morl_env.wrappers.skip_forced import SkipForced

__all__ = [
    "ClipObjectives",
    "GateObjective",
    "MOMonitor",
    "NoisyObjective",
    "NormalizeObjectives",
    "PreferenceInPrompt",
    "PromptWords",
    "RecordVectorReturn",
    "ScalarizedReward",
    "ScaleToUnit",
    "SkipForced",
    "WeightConditioned",
]
