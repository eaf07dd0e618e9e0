"""Transforms by name, and as plain values: for the command line and for specs that are written as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from llm_morl_env import expressions
from llm_morl_env.task import Transform, TransformLike
from llm_morl_env.transforms.gate import GateObjective
from llm_morl_env.transforms.noise import NoisyObjective
from llm_morl_env.transforms.preference import PreferenceInPrompt
from llm_morl_env.transforms.saturation import SaturatedObjective
from llm_morl_env.transforms.scale import ScaleToUnit

#: By name.
TRANSFORMS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "noisy": NoisyObjective,
        "saturated": SaturatedObjective,
        "gate": GateObjective,
        "scale": ScaleToUnit,
        "preference": PreferenceInPrompt,
    }
)


def transform_of(value: TransformLike) -> Transform:
    """The transform that a value means.

    Args:
        value: A transform; or a text, ``"noisy(scale=0.5)"``; or a mapping of its options with its name as
            ``"transform"``.

    Raises:
        ValueError: If a name or an option is unknown, or an option's value is refused.
        TypeError: If the value is none of these.

    >>> transform_of("noisy(scale=0.25)") == transform_of({"transform": "noisy", "scale": 0.25})
    True
    """
    if isinstance(value, str):
        return cast(Transform, expressions.construct(value, TRANSFORMS))
    if isinstance(value, Mapping):
        return cast(Transform, expressions.from_mapping(value, TRANSFORMS, key="transform"))
    if not callable(value):
        raise TypeError(f"a transform must be a callable, a text or a mapping, got {value!r}")
    return value
