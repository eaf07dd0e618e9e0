"""`SoupFamily`: rewarded soups (Rame et al. 2023, arXiv 2306.04488): a policy an objective, and their mixtures.

From one start, a policy is trained on each objective; a preference lambda is served by the parameters::

    theta(lambda) = sum_k lambda_k theta_k                                                     (equation 1)

That mixtures of parameters do as well as they do rests on the linear connectivity of models that were fine-tuned from
one start: it holds for short fine-tuning of a pretrained model, and not for models that are trained from nothing. Left
out: coefficients chosen on validation data (the paper's section 2.2.2), and diagonal or free ones.

Shapes: K objectives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.families.config import FamilyConfig, Kind
from llm_morl_agents.families.family import Family, share_of_budget
from llm_morl_agents.families.playing import FamilyPolicy
from llm_morl_agents.families.preferences import label_of
from llm_morl_agents.families.training import Progress, check_family, first_policy, task_of, train, training_envs

#: How far coefficients may miss the sum 1.
_TOLERANCE = 1e-6


def soup(tensors: Sequence[Mapping[str, torch.Tensor]], lambdas: ArrayLike) -> dict[str, torch.Tensor]:
    """``sum_i lambda_i theta_i``, tensor by tensor, as fresh tensors.

    With one coefficient 1 and the others 0 it is that policy's parameters, bit for bit. It takes whatever
    `Policy.state_tensors` gives, with LoRA the adapters: mixing the adapters' two factors is not mixing their product.

    Args:
        tensors: Parameters of policies by name, of the same names and shapes.
        lambdas: A coefficient each, not negative, of sum 1.

    Raises:
        ValueError: If names or shapes differ, or the coefficients are not so.

    >>> parts = [{"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}]
    >>> soup(parts, [0.25, 0.75])["w"].tolist()
    [0.25, 1.5]
    """
    values = np.array(lambdas, dtype=np.float64)
    if values.shape != (len(tensors),) or not len(tensors):
        raise ValueError(f"soup(lambdas=) must be one number for each of {len(tensors)} policies, got {lambdas!r}")
    if not np.isfinite(values).all() or (values < 0).any() or abs(values.sum() - 1) > _TOLERANCE:
        raise ValueError(f"soup(lambdas=) must be non-negative with sum 1, got {lambdas!r}")
    shapes = [{name: t.shape for name, t in part.items()} for part in tensors]
    for i, other in enumerate(shapes):
        if other != shapes[0]:
            differing = sorted(n for n in shapes[0].keys() | other.keys() if shapes[0].get(n) != other.get(n))
            raise ValueError(f"soup(tensors=): policies 0 and {i} differ in {differing[0]!r}, by name or shape")
    used = [(float(value), part) for value, part in zip(values, tensors, strict=True) if value > 0]
    mixed = {}
    for name in shapes[0]:
        first, rest = used[0], used[1:]
        total = first[0] * first[1][name]
        for value, part in rest:
            total = total + value * part[name]
        mixed[name] = total
    return mixed


def corner_preferences(k: int, focus: float) -> NDArray[np.float64]:
    """Preferences (K, K) of the policies of a soup: ``focus`` on the own objective, the rest shared by the others.

    >>> corner_preferences(3, 0.8).round(3).tolist()
    [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    """
    if k == 1:
        return np.ones((1, 1))
    rest = (1 - focus) / (k - 1)
    return np.asarray(np.full((k, k), rest) + (focus - rest) * np.eye(k))


class SoupFamily(Family):
    """K trained policies, and the mixtures of their parameters. See `Family` for the arguments."""

    kind: ClassVar[Kind] = "soup"

    @classmethod
    def train(cls, config: FamilyConfig, *, folder: Path | None = None, progress: Progress | None = None) -> Self:
        """See `Family.train`. The policies are trained one after another, each from the same start."""
        check_family(config)
        task = task_of(config)
        model, envs = first_policy(config, task), training_envs(config, task)
        start = model.state_tensors()
        preferences = corner_preferences(len(task.rewards), config.focus)
        members = []
        for name, preference in zip(task.rewards.names, preferences, strict=True):
            model.load_state_tensors(start)
            members.append(
                train(
                    config,
                    model,
                    envs,
                    label=f"{cls.kind} {name}",
                    preference=preference,
                    max_cpu_seconds=share_of_budget(config, len(preferences)),
                    folder=folder,
                    progress=progress,
                )
            )
        return cls(config, task, model, tuple(members), preferences)

    def policy(self, weights: ArrayLike) -> FamilyPolicy:
        """The mixture whose coefficients are the preference.

        Raises:
            ValueError: If the weights are not K non-negative numbers with a positive sum.
        """
        wanted = self._on_simplex(weights)
        mixed = soup([member.tensors for member in self.members], wanted)
        return FamilyPolicy(label_of(self.kind, wanted), wanted, self.model, mixed, self.plain_envs, self.sampling)


def train_soup(
    env_id: str,
    *,
    policy: str = "auto",
    folder: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SoupFamily:
    """Train a policy for each objective, to be mixed.

    Args:
        env_id: Of the environment.
        policy: The language model that all begin as.
        folder: For checkpoints, from which an interrupted training continues; None keeps nothing.
        progress: Told of every step.
        options: Of `FamilyConfig`: ``focus``, ``steps`` (of each policy), ``max_cpu_seconds`` (of all), ...

    Raises:
        TypeError: If an option is unknown.
        UserError: If a value is out of its range.
        FamilyInterrupted: On Ctrl-C.
    """
    config = FamilyConfig(kind="soup", env=env_id, policies=(policy,), **options)
    return SoupFamily.train(config, folder=None if folder is None else Path(folder), progress=progress)
