"""`check_mo_env`, `check_mo_vector_env`: does an environment with vector rewards keep the contract? Any package's.

The rules are those of Gymnasium's ``check_env``, of MO-Gymnasium's own test-suite (Felten et al., 2023), and of what
breaks learners in practice: arrays shared between calls, info that differs from run to run, a state that does not
survive pickling. Each rule is one function over a `Subject`; `RULES` lists them in order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from llm_morl_env.testing.numbers import check_front, check_passive, check_scalars, check_wrappers
from llm_morl_env.testing.rules import (
    check_calls,
    check_declarations,
    check_determinism,
    check_fresh_objects,
    check_pickling,
    check_rendering,
    check_returns,
    check_scalarized,
    check_spec,
    check_writing,
)
from llm_morl_env.testing.subject import Call, ConformanceError, Env, Policy, Subject, warn_of_silence
from llm_morl_env.testing.vectors import VECTOR_RULES, VectorSubject, check_mo_vector_env
from llm_morl_env.testing.views import check_views

__all__ = [
    "RULES",
    "VECTOR_RULES",
    "Call",
    "ConformanceError",
    "Subject",
    "VectorSubject",
    "check_mo_env",
    "check_mo_vector_env",
]

#: In the order in which they are checked.
RULES: tuple[Callable[[Subject], None], ...] = (
    check_declarations,
    check_calls,
    check_returns,
    check_determinism,
    check_fresh_objects,
    check_writing,
    check_pickling,
    check_spec,
    check_rendering,
    check_scalarized,
    check_passive,
    check_scalars,
    check_wrappers,
    check_front,
    check_views,
)


def check_mo_env(
    id_or_env: str | Env | Callable[[], Env],
    *,
    seed: int = 0,
    n_steps: int = 150,
    policy: Policy | None = None,
    **make_kwargs: Any,
) -> None:
    """Check that an environment with vector rewards keeps the contract; return silently if it does.

    The rules, in order: the spaces are declared (``unwrapped.reward_space``, a finite float32 Box of shape (K,), and
    ``reward_dim``); every call returns members of them, with Python bools and float32 rewards inside the bounds; where
    ``unwrapped.return_space`` is declared, the rewards of an episode add up to a member of it; two fresh environments
    and a used one, seeded alike, return equal observations, rewards and infos (types and order of keys included); no
    object is shared between calls, and writing into what was returned changes nothing; the state survives pickling, the
    spec a round trip through JSON; ``ansi`` rendering gives text; Gymnasium's ``check_env`` passes on
    `ScalarizedReward`, and its passive checker warns of vector rewards only; scalars by linear weights, ours and
    MO-Gymnasium's, and ``info["reward_components"]`` agree with the vector, the wrappers of this package with their
    formulas; a front that the environment knows is one, and no return exceeds it. Environments over a `Task`, so all
    ids of this package: every view scores a response, or a dialogue of several turns, alike.

    Determinism is not asked of environments registered as ``nondeterministic``.

    Rules compare what a rollout holds. A `UserWarning` says so where no episode ended in it, or every reward was zero.

    Args:
        id_or_env: An id (the rollouts then use fresh environments of it), an environment (they use deep copies of it)
            or a function that makes one.
        seed: Of the rollouts.
        n_steps: Steps of each rollout. Half way there is a reset, so an episode of up to ``n_steps // 2`` steps ends.
        policy: Chooses the actions: called with the environment, the last observation and the last info, once a step of
            the first rollout, which the others repeat. None samples them; where the info has an ``action_mask``, every
            other episode keeps to it.
        make_kwargs: For ``gym.make``; with an id only.

    Raises:
        ConformanceError: At the first rule that is broken.
        TypeError: If ``id_or_env`` is none of these, or keywords are given without an id.

    >>> check_mo_env("ToolCall-MO-v0", view="text", n_steps=10)
    """
    if not isinstance(id_or_env, str) and make_kwargs:
        raise TypeError(f"check_mo_env: keywords {sorted(make_kwargs)} need an id, got {id_or_env!r}")
    if isinstance(id_or_env, str):
        env_id, kwargs = id_or_env, {"disable_env_checker": True, **make_kwargs}
        subject = Subject(env_id, lambda: gym.make(env_id, **kwargs), seed, n_steps, policy=policy)
    elif isinstance(id_or_env, gym.Env):
        template = id_or_env
        subject = Subject(str(template), lambda: copy.deepcopy(template), seed, n_steps, policy=policy)
    elif callable(id_or_env):
        name = getattr(id_or_env, "__name__", repr(id_or_env))
        subject = Subject(name, id_or_env, seed, n_steps, policy=policy)
    else:
        raise TypeError(f"check_mo_env(id_or_env=) must be an id, an environment or a function, got {id_or_env!r}")
    for rule in RULES:
        rule(subject)
    warn_of_silence(subject)
