"""Toy policies of fronts whose returns have a known distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(eq=False)
class CoinPolicy:
    """Objective k pays 1 with probability ``mean[k]``, else 0; remembers what it was asked."""

    label: str
    mean: tuple[float, ...]
    weights: Floats | None = None
    claimed: Floats | None = None
    asked: list[tuple[tuple[int, ...], str, int]] = field(default_factory=list)

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        self.asked.append((tuple(problems), split, seed))
        generator = np.random.default_rng([seed, *self.label.encode()])
        return (generator.random((len(problems), len(self.mean))) < self.mean).astype(np.float64)


@dataclass(eq=False)
class FixedPolicy:
    """Pays the same always."""

    label: str
    mean: tuple[float, ...]
    weights: Floats | None = None
    claimed: Floats | None = None

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        return np.tile(np.array(self.mean, dtype=np.float64), (len(problems), 1))
