"""What the gradients of the objectives say of each other: Gramian, influence, and the gain of a step.

Every figure is linear in one quantity of each response, ``s_i``, the sum of the log-probabilities of its own tokens
(the replies in a dialogue are read, not trained). The
surrogate of objective k at importance ratio 1 is

    J_k = sum_i A_ki c_i s_i

where ``A_ki`` is the advantage of response i by objective k alone, and ``c_i`` the aggregation of the loss: 1 / tokens
of the batch (``token_mean``), 1 / (N length of i) (``sequence_mean``), 1 / (N constant length) (``constant``). Its
gradient is that of `policy_loss` on a fresh batch, with and without a clip, for token and sequence ratios; KL and
entropy terms are left out, since they belong to no objective. The whole batch is taken at once, whatever
``Settings.mini_batches``.

Shapes: N responses, K objectives. Policies are left as they were, their ``.grad`` too. A policy must read its
parameters from ``policy.model``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from llm_morl_agents.batch import RolloutBatch
from llm_morl_agents.directional import score_slopes, scores, wide
from llm_morl_agents.losses import loss_denominator
from llm_morl_agents.policy import Policy
from llm_morl_agents.settings import Aggregation, Settings
from llm_morl_agents.update import micro_batches
from llm_morl_agents.weighters.base import Probe, frozen_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Added to a norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does, with which the method was published.
CLIP_EPS = 1e-6

#: Entries of a gradient that are turned into float64 at once.
_CHUNK = 2**22


def objective_gramian(
    policy: Policy,
    batch: RolloutBatch,
    advantages: ArrayLike,
    settings: Settings,
    probe: Probe | None = None,
    *,
    constant_length: int | None = None,
) -> Floats:
    """Inner products ``<grad J_k, grad J_l>`` of the objectives' gradients, float64 (K, K), by K backward passes.

    One forward pass serves all K. K gradients are held in memory. Dynamic Reward Weighting (arXiv 2509.11452) as
    released: with ``probe.clip_norm`` each gradient is scaled by ``min(1, clip_norm / (norm + 1e-6))``, its norm taken
    over all trainable parameters, before ``probe.parameters`` are picked out. Left out: the released code's KL term.

    Args:
        policy: Its gradients are taken, with respect to its trainable parameters.
        batch: N responses; the first ``probe.groups`` groups of it are used.
        advantages: (K, N), row k by objective k alone.
        settings: ``aggregation``, ``temperature`` and ``micro_batches`` are read.
        probe: Parameters, groups and clip; None for `Probe()`.
        constant_length: What ``aggregation="constant"`` divides by.

    Raises:
        ValueError: If a shape disagrees, or no trainable parameter matches ``probe.parameters``.
        FloatingPointError: If a gradient is not finite.
    """
    probe = Probe() if probe is None else probe
    pulls, batch = _pulls(batch, advantages, probe, settings.aggregation, constant_length)
    names = chosen_parameters(policy, probe)
    wanted = list(policy.trainable_parameters()) if probe.clip_norm is not None else names
    gramian, squares = np.zeros((len(pulls), len(pulls))), np.zeros(len(pulls))
    for name, gradients in zip(wanted, _gradients(policy, batch, pulls, settings, wanted), strict=True):
        own = _inner_products(gradients)
        squares += np.diag(own)
        if name in names:
            gramian += own
    if not np.isfinite(squares).all():
        raise FloatingPointError(f"the objectives' gradients have the squared norms {squares}")
    return clipped_gramian(gramian, np.sqrt(squares), probe.clip_norm)


def clipped_gramian(gramian: ArrayLike, norms: ArrayLike, clip_norm: float | None) -> Floats:
    """The Gramian after gradient k was scaled by ``min(1, clip_norm / (norms_k + 1e-6))``; as it is for None.

    >>> clipped_gramian([[4.0, 1.0], [1.0, 0.25]], [2.0, 0.5], 1.0).round(5)
    array([[1.  , 0.5 ],
           [0.5 , 0.25]])
    """
    gramian, norms = np.array(gramian, dtype=np.float64), np.asarray(norms, dtype=np.float64)
    if clip_norm is None:
        return gramian
    factor = np.minimum(1.0, clip_norm / (norms + CLIP_EPS))
    clipped: Floats = gramian * np.outer(factor, factor)
    return clipped


def objective_influence(
    policy: Policy,
    batch: RolloutBatch,
    advantages: ArrayLike,
    settings: Settings,
    probe: Probe | None = None,
    *,
    constant_length: int | None = None,
) -> Floats:
    """``I_k = <grad J_k, sum_l grad J_l>``, float64 (K,), at a cost that does not grow with K.

    One backward pass gives the direction ``g = sum_l grad J_l`` (the gradient for the summed advantages); one
    derivative of the log-probabilities along it gives every influence, since each ``J_k`` is linear in them:
    ``I_k = sum_i A_ki c_i d s_i(theta + h g) / dh``. Equals the row sums of `objective_gramian` up to rounding.

    ``probe.method`` chooses the derivative; see `llm_morl_agents.directional`.

    Args:
        policy: As in `objective_gramian`, as for the arguments that follow.
        batch: N responses.
        advantages: (K, N).
        settings: Read as there.
        probe: Parameters, groups and method. ``clip_norm`` must be None: the norms of K gradients are not known here.
        constant_length: What ``aggregation="constant"`` divides by.

    Raises:
        ValueError: As there, or if ``probe.clip_norm`` is given.
        NotImplementedError: Under ``"forward"``, if an operation of the model has no forward mode.
        FloatingPointError: If the result is not finite.
    """
    probe = Probe() if probe is None else probe
    if probe.clip_norm is not None:
        raise ValueError(
            f"Probe(clip_norm={probe.clip_norm!r}): one backward pass for all objectives does not know the norm of "
            "each; use the exact gradients, or clip_norm=None"
        )
    pulls, batch = _pulls(batch, advantages, probe, settings.aggregation, constant_length)
    names = chosen_parameters(policy, probe)
    total = _gradients(policy, batch, pulls.sum(axis=0, keepdims=True), settings, names)
    direction = {name: gradient for name, (gradient,) in zip(names, total, strict=True)}
    parts = _parts(policy, batch, np.flatnonzero((pulls != 0).any(axis=0)), settings)
    found = score_slopes(
        policy, [batch.select(part) for part in parts], direction, settings.temperature, method=probe.method
    )
    slopes = np.zeros(len(batch))
    for part, slope in zip(parts, found, strict=True):
        slopes[part] = slope
    influence: Floats = pulls @ slopes
    if not np.isfinite(influence).all():
        raise FloatingPointError(f"the influences of the objectives are {influence}")
    return influence


def realised_gain(
    policy: Policy,
    batch: RolloutBatch,
    advantages: ArrayLike,
    settings: Settings,
    before: ArrayLike | None = None,
    probe: Probe | None = None,
    *,
    constant_length: int | None = None,
) -> Floats:
    """``J_k(after) - J_k(before)`` of a training step on its own rollouts, float64 (K,), by one forward pass.

    For small steps this is ``<grad J_k, change of the parameters>``: under plain gradient descent on the sum of the
    advantages, the learning rate times `objective_influence`. It sees what the optimizer did with the gradient
    (momentum, preconditioning, clip), at the price of being one step late.

    Misleading where the log-probabilities at rollout time are not those of the forward pass: generation in half
    precision differs by far more than a step does.

    Args:
        policy: After the step.
        batch: The rollouts of the step; the first ``probe.groups`` groups are used.
        advantages: (K, N), row k by objective k alone.
        settings: Read as in `objective_gramian`.
        before: (N, T) log-probabilities before the step; None takes those at rollout time.
        probe: Groups; None for `Probe()`.
        constant_length: What ``aggregation="constant"`` divides by.

    Raises:
        ValueError: If a shape disagrees.
        FloatingPointError: If the result is not finite.
    """
    probe = Probe() if probe is None else probe
    before = batch.behaviour_logprobs if before is None else before
    before = frozen_array("before", before, (len(batch), batch.response_mask.shape[1]))
    start = np.where(batch.own, before, 0.0).sum(axis=1)[_rows_of_groups(batch, probe.groups)]
    pulls, batch = _pulls(batch, advantages, probe, settings.aggregation, constant_length)
    parts = _parts(policy, batch, np.flatnonzero((pulls != 0).any(axis=0)), settings)
    change = np.zeros(len(batch))
    with torch.no_grad():
        for part in parts:
            after = scores(policy, batch.select(part), settings.temperature)
            change[part] = after.double().cpu().numpy() - start[part]
    gain: Floats = pulls @ change
    if not np.isfinite(gain).all():
        raise FloatingPointError(f"the realised gains of the objectives are {gain}")
    return gain


def chosen_parameters(policy: Policy, probe: Probe) -> list[str]:
    """Names of the trainable parameters that a pattern of ``probe.parameters`` is found in; all for None.

    Raises:
        ValueError: If there is none.
    """
    known = list(policy.trainable_parameters())
    if probe.parameters is None:
        return known
    names = [name for name in known if any(re.search(pattern, name) for pattern in probe.parameters)]
    if not names:
        raise ValueError(f"Probe(parameters={probe.parameters!r}) matches no trainable parameter; they are {known}")
    return names


def response_scale(batch: RolloutBatch, aggregation: Aggregation, constant_length: int | None = None) -> Floats:
    """``c_i``, (N,): what `aggregate` multiplies the sum over the tokens of response i with."""
    mask = torch.as_tensor(batch.own)
    denominator = loss_denominator(mask, aggregation, constant_length=constant_length)
    scale = np.full(len(batch), 1.0 / denominator)
    return scale / np.maximum(batch.lengths, 1) if aggregation == "sequence_mean" else scale


def _rows_of_groups(batch: RolloutBatch, groups: int | None) -> Ints:
    count = len(batch.prompt_ids) if groups is None else groups
    return np.flatnonzero(batch.prompt_index < count).astype(np.int64)


def _pulls(
    batch: RolloutBatch, advantages: ArrayLike, probe: Probe, aggregation: Aggregation, constant_length: int | None
) -> tuple[Floats, RolloutBatch]:
    """``A_ki c_i`` (K, M) of the M responses in the first groups, and their batch."""
    advantages = frozen_array("advantages", advantages, (None, len(batch)))
    rows = _rows_of_groups(batch, probe.groups)
    batch = batch.select(rows)
    return advantages[:, rows] * response_scale(batch, aggregation, constant_length), batch


def _parts(policy: Policy, batch: RolloutBatch, rows: NDArray[np.intp], settings: Settings) -> Sequence[Ints]:
    if not len(rows):
        return ()
    return micro_batches(batch, rows.astype(np.int64), settings.micro_batches, vocab_size=policy.vocab_size)


def _gradients(
    policy: Policy, batch: RolloutBatch, pulls: Floats, settings: Settings, names: Sequence[str]
) -> list[list[torch.Tensor]]:
    """For each named parameter the gradients of ``sum_i pulls_mi s_i``, one for each row m of ``pulls``."""
    parameters = [policy.trainable_parameters()[name] for name in names]
    sums = [[torch.zeros_like(wide(p)) for _ in pulls] for p in parameters]
    for part in _parts(policy, batch, np.flatnonzero((pulls != 0).any(axis=0)), settings):
        with torch.enable_grad():
            found = scores(policy, batch.select(part), settings.temperature)
            weights = torch.as_tensor(pulls[:, part], dtype=found.dtype, device=found.device)
            pulling = np.flatnonzero((pulls[:, part] != 0).any(axis=1))
            for m in pulling:
                gradients = torch.autograd.grad(
                    weights[m] @ found, parameters, retain_graph=bool(m != pulling[-1]), allow_unused=True
                )
                for total, gradient in zip(sums, gradients, strict=True):
                    if gradient is not None:
                        total[m] += gradient
    return sums


def _inner_products(gradients: Sequence[torch.Tensor]) -> Floats:
    total = np.zeros((len(gradients), len(gradients)))
    for pieces in zip(*(torch.split(gradient.reshape(-1), _CHUNK) for gradient in gradients), strict=True):
        block = torch.stack(pieces).double()
        total += (block @ block.T).cpu().numpy()
    return total
