"""`ConditionedFamily`: one model that reads the preference, and answers by it.

Each prompt of the training carries a preference of its own, by which the objectives of its group are weighed; so one
policy of prompt and preference is learned, as Rewards-in-Context (arXiv 2402.10207) and Conditional Language Policy
(arXiv 2407.15762) do with prompts and parameters. Left out: choosing preferences by what they still teach (the corner
weights of GPI-LS); they are drawn evenly from a lattice on the simplex.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from llm_morl_agents.families.config import FamilyConfig, Kind
from llm_morl_agents.families.family import Family
from llm_morl_agents.families.playing import FamilyPolicy
from llm_morl_agents.families.preferences import label_of
from llm_morl_agents.families.training import Progress, check_family, first_policy, task_of, train, training_envs


class ConditionedFamily(Family):
    """One trained model; a preference is an input. See `Family` for the arguments."""

    kind: ClassVar[Kind] = "conditioned"

    @classmethod
    def train(cls, config: FamilyConfig, *, folder: Path | None = None, progress: Progress | None = None) -> Self:
        """See `Family.train`."""
        check_family(config)
        task = task_of(config)
        model = first_policy(config, task)
        trained = train(
            config,
            model,
            training_envs(config, task),
            label=cls.kind,
            max_cpu_seconds=config.max_cpu_seconds,
            folder=folder,
            progress=progress,
        )
        return cls(config, task, model, (trained,), np.zeros((0, len(task.rewards))))

    def policy(self, weights: ArrayLike) -> FamilyPolicy:
        """The model with a preference before every prompt.

        In words it is rounded to three decimals; where the vocabulary writes a weight as one character, to as many
        parts as it has characters.

        Raises:
            ValueError: If the weights are not K non-negative numbers with a positive sum.
        """
        wanted = self._on_simplex(weights)
        label = label_of(f"{self.kind} ({self.config.conditioning})", wanted)
        envs = self._envs(wanted.tolist())
        return FamilyPolicy(label, wanted, self.model, self.members[0].tensors, envs, self.sampling)


def train_conditioned(
    env_id: str,
    *,
    policy: str = "auto",
    folder: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> ConditionedFamily:
    """Train one model for all preferences.

    Args:
        env_id: Of the environment.
        policy: The language model it begins as: ``"tiny"``, ``"scratch"``, ``"auto"``, a directory or a hub id.
        folder: For checkpoints, from which an interrupted training continues; None keeps nothing.
        progress: Told of every step.
        options: Of `FamilyConfig`: ``conditioning``, ``steps``, ``max_cpu_seconds``, ``seed``, ``settings``, ...

    Raises:
        TypeError: If an option is unknown.
        UserError: If a value is out of its range.
        FamilyInterrupted: On Ctrl-C.
    """
    config = FamilyConfig(kind="conditioned", env=env_id, policies=(policy,), **options)
    return ConditionedFamily.train(config, folder=None if folder is None else Path(folder), progress=progress)
