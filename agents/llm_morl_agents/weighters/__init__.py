"""Weighters: how much each objective counts, decided anew at every training step. See `base` for the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .base import NEEDS, Level, Objectives, Signals, State, Weighter, Weighting
from .dvao import DVAOWeights
from .proportional_fair import ProportionalFair
from .saw import SAW, StageAwareWeighter
from .static import Static

#: Every weighter by the name that the command line uses; the class is called with keyword options. Read-only.
WEIGHTERS: Mapping[str, type[Weighter]] = MappingProxyType(
    {"static": Static, "saw": SAW, "dvao": DVAOWeights, "proportional_fair": ProportionalFair}
)

__all__ = [
    "NEEDS",
    "SAW",
    "WEIGHTERS",
    "DVAOWeights",
    "Level",
    "Objectives",
    "ProportionalFair",
    "Signals",
    "StageAwareWeighter",
    "State",
    "Static",
    "Weighter",
    "Weighting",
]
