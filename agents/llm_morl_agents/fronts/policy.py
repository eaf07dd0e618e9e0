"""`FrontPolicy`: one policy of a front, whatever made it.

Shapes: n episodes, K objectives. Returns are the undiscounted sums of an episode's vector rewards, in the order of the
task's objectives, whatever the view: all views of a task pay the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class FrontPolicy(Protocol):
    """A policy that answers the problems of one task.

    Attributes:
        label: Short and unique in its front, for tables: ``"weights .25 .75"``, ``"return .4 .9"``, ``"soup .5 .5"``.
        weights: The preference (K,) it serves, on the simplex; None where it serves none.
        claimed: What its algorithm says it earns, (K,); None where it says nothing. Kept beside the re-evaluation, so
            that optimism is visible.
    """

    @property
    def label(self) -> str:
        """See above."""

    @property
    def weights(self) -> Floats | None:
        """See above."""

    @property
    def claimed(self) -> Floats | None:
        """See above."""

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        """Vector returns (n, K) of one episode on each problem.

        Args:
            problems: Numbers of problems of the split; a number may occur more than once.
            split: ``"train"``, ``"eval"`` or another one of the task.
            seed: Of everything that is drawn: two calls with equal arguments give equal returns.
        """


class PolicyFamily(Protocol):
    """A whole front behind one method: a classic result, a preference-conditioned agent, a soup, a sweep."""

    def policy(self, weights: ArrayLike) -> FrontPolicy:
        """The policy that serves a preference (K,), not negative, with a positive sum."""
