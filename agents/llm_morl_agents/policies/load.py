"""`load_policy`: a policy from the package, from scratch, from a directory or the hub, on the engine that fits it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from llm_morl_agents.policies.hf import DTYPES, HFPolicy, load_model, prepare_model
from llm_morl_agents.policies.llama import LlamaPolicy, unsupported
from llm_morl_agents.policies.tiny import new_scratch_model, wrap_tokenizer
from llm_morl_agents.policy import Policy
from llm_morl_env.tokenizer import BUILT_IN, TextTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: The directory of the environments' packaged tokenizers.
PACKAGED = BUILT_IN.parent
#: The embedded model, a directory that transformers can load.
TINY = Path(__file__).parents[1] / "assets" / "tiny"


def load_policy(
    source: str | Path = "tiny",
    *,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
    lora: Mapping[str, Any] | None = None,
    fast: bool | None = None,
    tokenizer: str | Path | TextTokenizer | None = None,
    seed: int | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Policy:
    """Load a policy: the embedded model, a new one from scratch, a local transformers directory, or a hub id.

    Threads are left to the caller: for models of a few million parameters ``torch.set_num_threads(1)`` is as fast on an
    idle machine and many times faster on a busy one.

    Args:
        source: ``"tiny"`` for the embedded model, ``"scratch"`` for a new one with random weights, else a directory or
            a hub id of any causal language model.
        device: Where to put it.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"``, or ``"auto"`` for what the files hold.
        lora: Arguments of ``peft.LoraConfig``, for example ``{"r": 8, "target_modules": ["q_proj", "v_proj"]}``; the
            base is frozen and the adapters are trained. None trains every parameter.
        fast: The hand-written engine for plain Llama configurations (see `llm_morl_agents.policies.llama`). None
            chooses it where it supports the model and pays off: on the CPU, below 20 million parameters.
        tokenizer: Of ``"scratch"``: the environment's (``envs.unwrapped.task.tokenizer``), a ``tokenizer.json``, its
            directory, or the name of a packaged one (``"letters-3"``); None takes the built-in one.
        seed: Of the weights of ``"scratch"``; None is 0.
        sizes: Of ``"scratch"``, see `llm_morl_agents.policies.tiny.new_scratch_model`.

    Raises:
        FileNotFoundError: If the directory does not exist or holds no model.
        OSError: If ``source`` is no directory and cannot be had from the hub.
        ValueError: If ``dtype`` is unknown, ``fast=True`` is given for a model that the engine does not support, or an
            option of ``"scratch"`` for another source.
        ImportError: If ``lora`` is given and peft is not installed.
    """
    if dtype not in DTYPES:
        raise ValueError(f"load_policy(dtype=) must be one of {DTYPES}, got {dtype!r}")
    own: dict[str, Any] = {}
    if source == "scratch":
        model, wrapped, own = _new_model(tokenizer, seed or 0, sizes or {}, device=device, dtype=dtype, lora=lora)
        name = "scratch"
    else:
        given = {"tokenizer": tokenizer, "seed": seed, "sizes": sizes}
        refused = [f"{option}={value!r}" for option, value in given.items() if value is not None]
        if refused:
            raise ValueError(f"load_policy({refused[0]}) belongs to source='scratch', got source={str(source)!r}")
        path = resolve_source(source)
        name = "tiny" if source == "tiny" else path
        model, wrapped = load_model(path, device=device, dtype=dtype, lora=lora)
    reason = unsupported(model)
    if fast and reason is not None:
        raise ValueError(f"load_policy(fast=True): the fast engine does not support {source!r}: {reason}")
    if fast is None:
        small = sum(p.numel() for p in model.parameters()) < 20_000_000
        fast = reason is None and small and torch.device(device).type == "cpu"
    engine: type[Policy] = LlamaPolicy if fast else HFPolicy
    policy = engine(model, wrapped, name)
    policy.load_options = {"device": str(device), "dtype": dtype, "lora": None if lora is None else dict(lora)}
    policy.load_options |= {"fast": fast, **own}
    return policy


def _new_model(
    tokenizer: str | Path | TextTokenizer | None,
    seed: int,
    sizes: Mapping[str, int],
    *,
    device: str | torch.device,
    dtype: str,
    lora: Mapping[str, Any] | None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]:
    """A model with random weights, its tokenizer, and the options (JSON values) that make both again."""
    packaged = PACKAGED / str(tokenizer) / "tokenizer.json"
    if isinstance(tokenizer, str) and tokenizer and packaged.is_file():
        tokenizer = TextTokenizer(packaged)
    text = tokenizer if isinstance(tokenizer, TextTokenizer) else TextTokenizer(tokenizer)
    model: PreTrainedModel = new_scratch_model(
        text.vocab_size, eos_id=text.eos_id, pad_id=text.pad_id, bos_id=text.bos_id, seed=seed, **sizes
    )
    if dtype != "auto":
        model = model.to(getattr(torch, dtype))
    model = prepare_model(model, device=device, lora=lora)
    file = text.path.resolve()
    own = {"tokenizer": str(file), "seed": seed, "sizes": dict(sizes)}
    if file == BUILT_IN.resolve():
        own["tokenizer"] = None
    elif file.parent.parent == PACKAGED.resolve():  # a checkpoint may be read where the package lies elsewhere
        own["tokenizer"] = file.parent.name
    return model, wrap_tokenizer(text.path), own


def resolve_source(source: str | Path) -> str:
    """The directory, or the hub id where ``source`` can be one, that transformers shall load."""
    if source == "tiny":
        if not (TINY / "config.json").is_file():
            raise FileNotFoundError(
                f"load_policy('tiny'): the embedded model is not at {TINY}; make it with `llm-morl pretrain`"
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
