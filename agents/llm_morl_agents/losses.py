"""Policy-gradient losses: pure torch functions of log-probabilities, advantages and a mask.

Shapes: N responses, T tokens. Log-probabilities and the mask are (N, T), advantages (N,). The mask is true on the
tokens the policy generated; what the other positions hold reaches neither loss nor gradient. Every aggregation is a sum
over a denominator: given that of the whole mini-batch (`loss_denominator`), the losses of its micro-batches add up to
the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor

from llm_morl_agents.settings import Aggregation, RatioLevel

KLEstimator = Literal["k1", "k2", "k3"]

#: Log-ratios are clamped to this before the exponential (as in verl), so that one token of vanishing probability gives
#: a large loss instead of infinity. Beyond it the gradient is 0.
MAX_LOG_RATIO = 20.0


def _masked(name: str, values: Tensor, mask: Tensor) -> Tensor:
    """The values, 0 outside the mask. Before any exponential, or 0 * inf turns gradients into NaN."""
    if values.ndim != 2 or values.shape != mask.shape:
        raise ValueError(f"{name} must be (N, T) like mask {tuple(mask.shape)}, got {tuple(values.shape)}")
    return torch.where(mask.bool(), values, torch.zeros_like(values))


def _per_token(advantages: Tensor, tokens: Tensor) -> Tensor:
    if advantages.shape == tokens.shape[:1]:
        advantages = advantages.unsqueeze(1)
    elif advantages.shape != tokens.shape:
        raise ValueError(
            f"advantages must be (N,) or (N, T) for {tuple(tokens.shape)} tokens, got {tuple(advantages.shape)}"
        )
    return advantages.detach().to(tokens.dtype)


def token_log_ratio(logprobs: Tensor, behaviour_logprobs: Tensor, mask: Tensor) -> Tensor:
    """``log pi(o_t) - log pi_behaviour(o_t)``, (N, T), 0 outside the mask; no gradient into the behaviour policy.

    Raises:
        ValueError: If the shapes differ.
    """
    return _masked("logprobs", logprobs, mask) - _masked("behaviour_logprobs", behaviour_logprobs.detach(), mask)


def sequence_log_ratio(log_ratio: Tensor, mask: Tensor) -> Tensor:
    """Mean token log-ratio of each response, on all its tokens, (N, T).

    GSPO's ``log s_i`` (arXiv 2507.18071). A response without tokens gets 0. Left out: the GSPO-token variant, whose
    value and gradient are the same for one advantage per response.
    """
    length = mask.to(log_ratio.dtype).sum(dim=1, keepdim=True)
    mean = _masked("log_ratio", log_ratio, mask).sum(dim=1, keepdim=True) / length.clamp(min=1)
    return _masked("log_ratio", mean.expand_as(log_ratio), mask)


#: Whose ratio a token takes: its own, or that of its whole response.
RATIO_LEVELS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"token": lambda log_ratio, mask: log_ratio, "sequence": sequence_log_ratio}
)


def reinforce(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """``-A log pi(o_t)``, (N, T): REINFORCE (Williams 1992). No correction for a behaviour policy that differs."""
    return -_per_token(advantages, logprobs) * logprobs


def clipped_surrogate(
    log_ratio: Tensor, advantages: Tensor, *, clip: tuple[float, float], dual_clip: float | None = None
) -> Tensor:
    """``-min(rho A, clamp(rho, 1 - low, 1 + high) A)``, (N, T): PPO (arXiv 1707.06347, equation 7).

    Args:
        log_ratio: (N, T), per token or, for GSPO, from `sequence_log_ratio`.
        advantages: (N,), or (N, T) where tokens differ (REINFORCE++ with a penalty per token).
        clip: ``(low, high)``; PPO has them equal, DAPO (arXiv 2503.14476) raises ``high``.
        dual_clip: Constant c > 1: for A < 0 the loss is at most ``-c A`` (arXiv 1912.09729). None for none.

    Raises:
        ValueError: If a clip is negative, or ``dual_clip`` is not above 1.
    """
    low, high = clip
    if not (low >= 0 and high >= 0):
        raise ValueError(f"clip must be two non-negative numbers (low, high), got {clip!r}")
    if dual_clip is not None and not dual_clip > 1:
        raise ValueError(f"dual_clip must be above 1, got {dual_clip!r}")
    a = _per_token(advantages, log_ratio)
    ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    loss = -torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)
    return loss if dual_clip is None else torch.where(a < 0, torch.minimum(loss, -dual_clip * a), loss)


def loss_denominator(mask: Tensor, aggregation: Aggregation, *, constant_length: int | None = None) -> float:
    """What `aggregate` divides by: tokens, responses, or responses times the constant length; at least 1.

    Raises:
        ValueError: If the aggregation is unknown, or ``"constant"`` lacks a positive ``constant_length``.
    """
    if aggregation not in get_args(Aggregation):
        raise ValueError(f"aggregation must be one of {get_args(Aggregation)}, got {aggregation!r}")
    if aggregation == "constant" and not (constant_length and constant_length > 0):
        raise ValueError(f"aggregation='constant' needs constant_length > 0, got {constant_length!r}")
    sizes = {
        "token_mean": mask.sum().item(),
        "sequence_mean": len(mask),
        "constant": len(mask) * (constant_length or 0),
    }
    return float(max(sizes[aggregation], 1))


def aggregate(
    per_token: Tensor,
    mask: Tensor,
    *,
    aggregation: Aggregation = "token_mean",
    constant_length: int | None = None,
    denominator: float | None = None,
) -> Tensor:
    """Scalar from values of tokens.

    Args:
        per_token: (N, T).
        mask: (N, T).
        aggregation: ``"token_mean"``, over all tokens (DAPO); ``"sequence_mean"``, the mean over responses of their
            token means (GRPO, GSPO); ``"constant"``, the sum over N times one constant length (Dr.GRPO, arXiv
            2503.20783).
        constant_length: That constant, as a rule the longest response allowed.
        denominator: `loss_denominator` of the whole mini-batch, where this is a micro-batch of it.
    """
    own = loss_denominator(mask, aggregation, constant_length=constant_length)
    values = _masked("per_token", per_token, mask)
    if aggregation == "sequence_mean":
        values = values / mask.to(values.dtype).sum(dim=1, keepdim=True).clamp(min=1)
    return values.sum() / (own if denominator is None else denominator)


def policy_loss(
    logprobs: Tensor,
    behaviour_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: tuple[float, float] | None = (0.2, 0.28),
    dual_clip: float | None = None,
    ratio: RatioLevel = "token",
    aggregation: Aggregation = "token_mean",
    constant_length: int | None = None,
    denominator: float | None = None,
) -> Tensor:
    """The scalar loss of one (micro-)batch.

    GRPO: ``aggregation="sequence_mean"``, ``clip=(.2, .2)``. DAPO: the defaults. Dr.GRPO: ``aggregation="constant"``.
    GSPO: ``ratio="sequence"``, ``aggregation="sequence_mean"``, ``clip=(3e-4, 4e-4)``. REINFORCE: ``clip=None``.

    Args:
        logprobs: (N, T) of the policy, with gradient.
        behaviour_logprobs: (N, T) at rollout time; taken as constants.
        advantages: (N,) or (N, T); taken as constants.
        mask: (N, T), true on generated tokens.
        clip: ``(low, high)`` of `clipped_surrogate`, or None for `reinforce`, which reads neither
            ``behaviour_logprobs`` nor ``ratio``.
        dual_clip: See `clipped_surrogate`.
        ratio: ``"token"``, or ``"sequence"`` (GSPO).
        aggregation: See `aggregate`, as for the two arguments that follow.
        constant_length: See `aggregate`.
        denominator: See `aggregate`.

    Raises:
        ValueError: If shapes disagree or an option is out of range.
    """
    if ratio not in RATIO_LEVELS:
        raise ValueError(f"ratio must be one of {list(RATIO_LEVELS)}, got {ratio!r}")
    if clip is None:
        if dual_clip is not None:
            raise ValueError(f"dual_clip={dual_clip!r} needs clip=(low, high), got clip=None")
        per_token = reinforce(_masked("logprobs", logprobs, mask), advantages)
    else:
        log_ratio = RATIO_LEVELS[ratio](token_log_ratio(logprobs, behaviour_logprobs, mask), mask)
        per_token = clipped_surrogate(log_ratio, advantages, clip=clip, dual_clip=dual_clip)
    return aggregate(per_token, mask, aggregation=aggregation, constant_length=constant_length, denominator=denominator)


def kl_k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``log pi - log pi_ref``, elementwise: unbiased for KL(pi, pi_ref), may be negative.

    For a penalty in the reward; as a loss it does nothing, since its gradient is 0 on average.
    """
    return logprobs - ref_logprobs


def kl_k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``(log pi - log pi_ref)^2 / 2``, elementwise: biased value, right gradient on policy."""
    return 0.5 * (logprobs - ref_logprobs) ** 2


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``pi_ref / pi - log(pi_ref / pi) - 1``, elementwise: unbiased and non-negative.

    The estimator of DeepSeekMath's GRPO (arXiv 2402.03300, equation 4).
    """
    difference = (ref_logprobs - logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return difference.exp() - difference - 1


#: Estimators of the KL divergence to the reference policy, by name.
KL_ESTIMATORS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}
)


def kl_loss(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    mask: Tensor,
    *,
    estimator: KLEstimator = "k3",
    aggregation: Aggregation = "token_mean",
    constant_length: int | None = None,
    denominator: float | None = None,
) -> Tensor:
    """Scalar KL divergence to a reference policy, without its coefficient; aggregated as the policy loss is.

    Args:
        logprobs: (N, T) of the policy, with gradient.
        ref_logprobs: (N, T) of the reference policy; taken as constants.
        mask: (N, T).
        estimator: A name in `KL_ESTIMATORS`.
        aggregation: See `aggregate`, as for the two arguments that follow.
        constant_length: See `aggregate`.
        denominator: See `aggregate`.

    Raises:
        ValueError: If shapes disagree or an option is out of range.
    """
    if estimator not in KL_ESTIMATORS:
        raise ValueError(f"estimator must be one of {list(KL_ESTIMATORS)}, got {estimator!r}")
    current = _masked("logprobs", logprobs, mask)
    reference = _masked("ref_logprobs", ref_logprobs.detach(), mask)
    per_token = KL_ESTIMATORS[estimator](current, reference)
    return aggregate(per_token, mask, aggregation=aggregation, constant_length=constant_length, denominator=denominator)


def entropy_from_logits(logits: Tensor) -> Tensor:
    """Entropy in nats of the distribution over the last axis; logits of -inf (masked tokens) count 0.

    Args:
        logits: (..., V), at least one of V above -inf.

    Returns:
        (...).
    """
    logp = torch.log_softmax(logits, dim=-1)
    return -(logp.exp() * logp.masked_fill(logp == -torch.inf, 0.0)).sum(dim=-1)


def token_kl_returns(rewards: Tensor, kl: Tensor, mask: Tensor, *, beta: float) -> Tensor:
    """Returns-to-go of a terminal reward minus a KL penalty at each token: REINFORCE++ (arXiv 2501.03262).

    Args:
        rewards: (N,), given at the last token.
        kl: (N, T), k1 as a rule.
        mask: (N, T).
        beta: Coefficient of the penalty.

    Returns:
        (N, T): ``r - beta sum_{s >= t} kl_s`` (discount 1), 0 outside the mask.
    """
    penalty = _masked("kl", kl, mask)
    to_go = penalty.flip(1).cumsum(1).flip(1)
    return _masked("kl", _per_token(rewards, kl) - beta * to_go, mask)
