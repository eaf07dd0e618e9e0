"""Weighters: how much each objective counts, decided anew at every training step. See `base` for the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .base import NEEDS, Level, Objectives, Probe, Signals, State, Weighter, Weighting
from .clipped import Clipped
from .corr_grpo import CorrGRPO
from .ctwa import CTWA
from .dara import DARA
from .dvao import DVAOWeights
from .encore import ENCORE
from .floored import Floored
from .gated import Gated
from .gd2po import GD2PO
from .gradient import GradientInfluence
from .gradient_weights import GradientCombiner
from .hypervolume import Hypervolume
from .hypervolume_gradient import HypervolumeGradient
from .lagrangian import Lagrangian
from .proportional_fair import ProportionalFair
from .random_weights import RandomWeights
from .recorded import Frozen, Replay
from .rescaled import Rescaled
from .rvpo import RVPO, SoftMinimum
from .sa_mrpo import SAMRPO
from .saw import SAW, StageAwareWeighter
from .schedule import Schedule
from .smoothed import Smoothed
from .static import Static
from .tchebycheff import SmoothTchebycheff, Tchebycheff, WeightedTchebycheff

#: Every weighter by the name that the command line uses; the class is called with keyword options. Read-only.
WEIGHTERS: Mapping[str, type[Weighter]] = MappingProxyType(
    {
        "static": Static,
        "saw": SAW,
        "dvao": DVAOWeights,
        "sa_mrpo": SAMRPO,
        "gd2po": GD2PO,
        "encore": ENCORE,
        "dara": DARA,
        "ctwa": CTWA,
        "corr_grpo": CorrGRPO,
        "proportional_fair": ProportionalFair,
        "gradient": GradientInfluence,
        "gradient_combiner": GradientCombiner,
        "smoothed": Smoothed,
        "floored": Floored,
        "clipped": Clipped,
        "rescaled": Rescaled,
        "frozen": Frozen,
        "replay": Replay,
        "random": RandomWeights,
        "gated": Gated,
        "hypervolume": Hypervolume,
        "hypervolume_gradient": HypervolumeGradient,
        "lagrangian": Lagrangian,
        "rvpo": RVPO,
        "schedule": Schedule,
        "tchebycheff": Tchebycheff,
    }
)

__all__ = [
    "CTWA",
    "DARA",
    "ENCORE",
    "GD2PO",
    "NEEDS",
    "RVPO",
    "SAMRPO",
    "SAW",
    "WEIGHTERS",
    "Clipped",
    "CorrGRPO",
    "DVAOWeights",
    "Floored",
    "Frozen",
    "Gated",
    "GradientCombiner",
    "GradientInfluence",
    "Hypervolume",
    "HypervolumeGradient",
    "Lagrangian",
    "Level",
    "Objectives",
    "Probe",
    "ProportionalFair",
    "RandomWeights",
    "Replay",
    "Rescaled",
    "Schedule",
    "Signals",
    "SmoothTchebycheff",
    "Smoothed",
    "SoftMinimum",
    "StageAwareWeighter",
    "State",
    "Static",
    "Tchebycheff",
    "WeightedTchebycheff",
    "Weighter",
    "Weighting",
]
