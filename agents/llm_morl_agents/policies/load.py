"""`load_policy`: a policy from the package, a directory or the hub, on the engine that fits it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from llm_morl_agents.policies.hf import HFPolicy, load_model
from llm_morl_agents.policies.llama import LlamaPolicy, unsupported
from llm_morl_agents.policy import Policy

#: The embedded model, a directory that transformers can load.
TINY = Path(__file__).parents[1] / "assets" / "tiny"


def load_policy(
    source: str | Path = "tiny",
    *,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
    lora: Mapping[str, Any] | None = None,
    fast: bool | None = None,
) -> Policy:
    """Load a policy: the embedded model, a local transformers directory, or a hub id.

    Threads are left to the caller: for models of a few million parameters ``torch.set_num_threads(1)`` is as fast on an
    idle machine and many times faster on a busy one.

    Args:
        source: ``"tiny"`` for the embedded model, else a directory or a hub id of any causal language model.
        device: Where to put it.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"``, or ``"auto"`` for what the files hold.
        lora: Arguments of ``peft.LoraConfig``, for example ``{"r": 8, "target_modules": ["q_proj", "v_proj"]}``; the
            base is frozen and the adapters are trained. None trains every parameter.
        fast: The hand-written engine for plain Llama configurations (see `llm_morl_agents.policies.llama`). None
            chooses it where it supports the model and pays off: on the CPU, below 20 million parameters.

    Raises:
        FileNotFoundError: If the directory does not exist or holds no model.
        OSError: If ``source`` is no directory and cannot be had from the hub.
        ValueError: If ``dtype`` is unknown, or ``fast=True`` for a model that the engine does not support.
        ImportError: If ``lora`` is given and peft is not installed.
    """
    path = resolve_source(source)
    model, tokenizer = load_model(path, device=device, dtype=dtype, lora=lora)
    reason = unsupported(model)
    if fast and reason is not None:
        raise ValueError(f"load_policy(fast=True): the fast engine does not support {source!r}: {reason}")
    if fast is None:
        small = sum(p.numel() for p in model.parameters()) < 20_000_000
        fast = reason is None and small and torch.device(device).type == "cpu"
    engine: type[Policy] = LlamaPolicy if fast else HFPolicy
    policy = engine(model, tokenizer, "tiny" if source == "tiny" else path)
    policy.load_options = {"device": str(device), "dtype": dtype, "lora": None if lora is None else dict(lora)}
    policy.load_options["fast"] = fast
    return policy


def resolve_source(source: str | Path) -> str:
    """The directory, or the hub id where ``source`` can be one, that transformers shall load."""
    if source == "tiny":
        if not (TINY / "config.json").is_file():
            raise FileNotFoundError(
                f"load_policy('tiny'): the embedded model is not at {TINY}; make it with `llm-morl pretrain toolcall`"
            )
        return str(TINY)
    path = Path(source).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise FileNotFoundError(f"load_policy(source={str(source)!r}): the directory holds no config.json")
        return str(path.resolve())  # a checkpoint may be read from another working directory
    text = str(source)
    # A hub id is "name" or "owner/name"; everything else can only be meant as a path.
    if isinstance(source, Path) or text.startswith((".", "~", os.sep)) or text.count("/") > 1 or "\\" in text:
        raise FileNotFoundError(f"load_policy(source={text!r}): no such directory")
    return text
