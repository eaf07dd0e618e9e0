"""Transforms of tasks: small frozen objects for ``transforms=[...]`` of every id and view.

`NoisyObjective` and `SaturatedObjective` put weighters to the test; `GateObjective` and `ScaleToUnit` shape rewards;
`PreferenceInPrompt` conditions on weights. Each makes a task of a task and leaves the given one as it was. They are
applied in order: each acts on what those before it made.
"""

from llm_morl_env.transforms.gate import ClosedGate, Gated, GateObjective
from llm_morl_env.transforms.noise import NoisyObjective, UniformNoise, Widened
from llm_morl_env.transforms.objectives import Around, ConstantReward, ExtendedFront, with_objective
from llm_morl_env.transforms.preference import PreferenceInPrompt
from llm_morl_env.transforms.saturation import SaturatedObjective
from llm_morl_env.transforms.scale import Scaled, ScaleToUnit
from llm_morl_env.transforms.table import TRANSFORMS, transform_of

__all__ = [
    "TRANSFORMS",
    "Around",
    "ClosedGate",
    "ConstantReward",
    "ExtendedFront",
    "GateObjective",
    "Gated",
    "NoisyObjective",
    "PreferenceInPrompt",
    "SaturatedObjective",
    "ScaleToUnit",
    "Scaled",
    "UniformNoise",
    "Widened",
    "transform_of",
    "with_objective",
]
