"""`SaturatedObjective`: an objective that is the same for every response."""

from __future__ import annotations

from dataclasses import dataclass

from llm_morl_env.task import Task
from llm_morl_env.transforms.objectives import ConstantReward, with_objective


@dataclass(frozen=True)
class SaturatedObjective:
    """An extra objective that is the same for every response: solved, or out of reach.

    Nothing can be learnt from it, and a weighter must not amplify it. With ``jitter`` responses differ by the size of a
    rounding error, as scores that were summed in another order do: each text has its own fixed deviation, uniform on
    [0, jitter], towards the middle of [0, 1]. Rewards are float32, so that near 1 differences come in steps of 6e-8,
    and a smaller jitter vanishes.

    Args:
        name: Of the objective, which becomes the last one.
        value: What it is, in [0, 1], its declared bounds.
        jitter: Greatest deviation, in [0, 0.5]. A known Pareto front is stated without it.

    Raises:
        ValueError: If a value is out of its range; when it is applied, if the task has an objective of this name.

    >>> from llm_morl_env import make_task
    >>> task = SaturatedObjective()(make_task("dentfront"))
    >>> task.score([task[0]] * 2, ["ab", "bb"])[:, -1].tolist()
    [1.0, 1.0]
    """

    name: str = "saturated"
    value: float = 1.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for option, high in (("value", 1.0), ("jitter", 0.5)):
            if not 0 <= getattr(self, option) <= high:
                raise ValueError(
                    f"SaturatedObjective({option}=) must lie in [0, {high:g}], got {getattr(self, option)!r}"
                )

    def __call__(self, task: Task) -> Task:
        """The task with the flat objective."""
        reward = ConstantReward(self.name, 0.0, 1.0, self.value, self.jitter)
        return with_objective(task, reward, self.value, "SaturatedObjective")
