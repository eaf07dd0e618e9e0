"""What a demonstration is: texts in order, those of the policy and those that it reads."""

from __future__ import annotations

from typing import Protocol

import numpy as np

#: One demonstrated episode: each text with whether the policy writes it (True) or the environment does (False). It
#: begins with the prompt and ends with a response; the policy ends each of its texts with the end-of-sequence token.
Segments = tuple[tuple[str, bool], ...]


class Demonstrator(Protocol):
    """Demonstrations of a task, made from its training split alone."""

    def __call__(self, index: int, noise: float, rng: np.random.Generator) -> Segments:
        """A demonstration of training problem ``index``.

        Args:
            index: Below `llm_morl_env.tasks.building.TRAIN_SIZE`.
            noise: 0 for a clean one, which may be wordier than the gold answer but earns the task's main objectives in
                full; 1 for one with the errors of a beginner at the task's own rates.
            rng: Draws variations and errors.
        """
