"""Checkpoints: everything that continuing needs, in one ``.safetensors`` file with a JSON header. No pickle.

Tensors: the policy's trainable parameters, the optimizer's moments, the arrays of the weighter's state, and the gain of
the last step where the weighter needs it. The JSON
(in the file's metadata, key ``agent``): class, constructor's options, counters, objectives, the weighter as text, the
rest of its state. Every random stream is a function of the seed and the counters (`llm_morl_agents.rollout.stream`), so
these are the state of the streams. Written to a temporary file beside the target, then renamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from llm_morl_agents.policies.load import load_policy
from llm_morl_agents.policy import Policy
from llm_morl_agents.rollout import objectives_of
from llm_morl_agents.weighters import WEIGHTERS, Weighter
from llm_morl_env import expressions

if TYPE_CHECKING:
    from llm_morl_agents.grouped_pg import GroupedPG

FORMAT = 1
_SUFFIX = ".safetensors"
AgentType = TypeVar("AgentType", bound="GroupedPG")


class CheckpointError(ValueError):
    """A file is no checkpoint, or does not fit the agent, the policy or the environment."""


def file_of(path: str | Path) -> Path:
    """The file that a path names: ``run/agent`` stands for ``run/agent.safetensors``."""
    path = Path(path)
    return path if path.suffix == _SUFFIX else path.with_name(path.name + _SUFFIX)


def save(agent: GroupedPG, path: str | Path) -> Path:
    """Write the agent; returns the file. A process that dies in between leaves an earlier checkpoint whole."""
    tensors = {f"policy/{name}": t.contiguous() for name, t in agent.policy.state_tensors().items()}
    tensors |= _optimizer_tensors(agent)
    if agent.reference is not None:
        tensors |= {f"reference/{name}": t.contiguous() for name, t in _reference_tensors(agent).items()}
    plain_state: dict[str, Any] = {}
    for key, value in agent.weighter_state.items():
        if isinstance(value, np.ndarray):
            tensors[f"weighter/{key}"] = torch.from_numpy(np.array(value, order="C"))
        else:
            plain_state[key] = value
    if agent.realised is not None:
        tensors["realised"] = torch.from_numpy(np.array(agent.realised))
    header = {
        "format": FORMAT,
        "class": type(agent).__name__,
        "options": agent.constructor_options(),
        "step_count": agent.step_count,
        "predict_count": agent.predict_count,
        "horizon": agent.horizon,
        "objectives": list(agent.objectives.names),
        "low": agent.objectives.low.tolist(),
        "high": agent.objectives.high.tolist(),
        "policy": agent.policy.name_or_path,
        "policy_options": agent.policy.load_options,
        "weighter": expressions.describe(agent.weighter, WEIGHTERS),
        "weighter_class": type(agent.weighter).__name__,
        "weighter_state": plain_state,
    }
    file = file_of(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        save_file(tensors, aside, metadata={"agent": json.dumps(header)})
        os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)
    return file


def read_header(path: str | Path) -> dict[str, Any]:
    """The JSON of a checkpoint, without its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is no checkpoint, or of an unknown format.
    """
    file = file_of(path)
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint at {file}")
    try:
        with safe_open(file, framework="pt") as opened:
            header: dict[str, Any] = dict(json.loads((opened.metadata() or {})["agent"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is not a checkpoint of an agent: {error!r}") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{file} has checkpoint format {header.get('format')!r}; this version reads {FORMAT}")
    return header


def load(
    cls: type[AgentType],
    path: str | Path,
    env: VectorEnv[Any, Any, Any],
    *,
    policy: Policy | None = None,
    weighter: Weighter | None = None,
) -> AgentType:
    """The agent that `save` wrote.

    Args:
        cls: Its class.
        path: What `save` was given.
        env: An environment with the same objectives and bounds.
        policy: A policy whose parameters are to be overwritten; None loads the one named in the checkpoint.
        weighter: Needed where `WEIGHTERS` cannot make the saved one; must be equal to it.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the class, the objectives, the policy's parameters or the weighter do not fit.
    """
    header = read_header(path)
    if header["class"] != cls.__name__:
        raise CheckpointError(f"{path} holds a {header['class']}, not a {cls.__name__}")
    _check_objectives(header, env)
    saved_weighter = _saved_weighter(header, weighter)
    with safe_open(file_of(path), framework="pt") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  # not a mapping
    if policy is None:
        policy = load_policy(header["policy"], **header["policy_options"])
    agent = cls.from_checkpoint(env, policy, saved_weighter, header["options"])
    try:
        agent.policy.load_state_tensors(_below("policy", tensors))
        if agent.reference is not None:
            _load_reference(agent, _below("reference", tensors))
    except ValueError as error:
        raise CheckpointError(f"{path} does not fit the policy {policy.name_or_path!r}: {error}") from error
    _load_optimizer(agent, _below("optimizer", tensors))
    arrays = {key: t.numpy() for key, t in _below("weighter", tensors).items()}
    agent.weighter_state = {**header["weighter_state"], **arrays}
    agent.realised = tensors["realised"].numpy() if "realised" in tensors else None
    agent.step_count, agent.predict_count = header["step_count"], header["predict_count"]
    agent.horizon = header["horizon"]
    return agent


def load_trained_policy(path: str | Path) -> Policy:
    """The policy in a checkpoint, with the parameters that were trained; no environment is needed.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is no checkpoint, or its parameters do not fit the policy that it names.
    """
    header = read_header(path)
    policy = load_policy(header["policy"], **header["policy_options"])
    with safe_open(file_of(path), framework="pt") as opened:
        keys = [key for key in opened.keys() if key.startswith("policy/")]  # noqa: SIM118  # not a mapping
        tensors = {key.removeprefix("policy/"): opened.get_tensor(key) for key in keys}
    try:
        policy.load_state_tensors(tensors)
    except ValueError as error:
        raise CheckpointError(f"{path} does not fit the policy {policy.name_or_path!r}: {error}") from error
    return policy


def _check_objectives(header: Mapping[str, Any], env: VectorEnv[Any, Any, Any]) -> None:
    own = objectives_of(env)
    names, low, high = list(own.names), own.low.tolist(), own.high.tolist()
    if [names, low, high] != [header["objectives"], header["low"], header["high"]]:
        raise CheckpointError(
            f"the checkpoint was trained on {header['objectives']} in [{header['low']}, {header['high']}]; "
            f"the environment has {names} in [{low}, {high}]"
        )


def _saved_weighter(header: Mapping[str, Any], given: Weighter | None) -> Weighter:
    saved = header["weighter"]
    if given is not None:
        if type(given).__name__ != header["weighter_class"] or expressions.describe(given, WEIGHTERS) != saved:
            raise CheckpointError(f"the checkpoint's weighter is {saved or header['weighter_class']}, got {given!r}")
        return given
    if saved is None:
        raise CheckpointError(f"the checkpoint's weighter {header['weighter_class']} is not built in; pass weighter=")
    try:
        weighter: Weighter = expressions.construct(saved, WEIGHTERS)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's weighter cannot be made: {error}") from error
    return weighter


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{prefix}/"): t for key, t in tensors.items() if key.startswith(f"{prefix}/")}


def _reference_tensors(agent: GroupedPG) -> dict[str, torch.Tensor]:
    """The reference's values of the parameters that are trained (the rest is the policy's own)."""
    assert agent.reference is not None
    trained = agent.policy.trainable_parameters().keys()
    return {n: p.detach().to("cpu", copy=True) for n, p in agent.reference.model.named_parameters() if n in trained}


def _load_reference(agent: GroupedPG, tensors: Mapping[str, torch.Tensor]) -> None:
    assert agent.reference is not None
    own = dict(agent.reference.model.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def _optimizer_tensors(agent: GroupedPG) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, parameter in agent.policy.trainable_parameters().items():
        for key, value in agent.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{key}/{name}"] = value.detach().to("cpu", copy=True).contiguous()
    return tensors


def _load_optimizer(agent: GroupedPG, tensors: Mapping[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    position = {name: i for i, name in enumerate(agent.policy.trainable_parameters())}
    for key, tensor in tensors.items():
        kind, name = key.split("/", 1)
        state.setdefault(position[name], {})[kind] = tensor
    groups = agent.optimizer.state_dict()["param_groups"]
    agent.optimizer.load_state_dict({"state": state, "param_groups": groups})
