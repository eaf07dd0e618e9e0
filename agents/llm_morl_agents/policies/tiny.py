"""Making the embedded model: a small Llama with random weights, and its directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llm_morl_env.tokenizer import BOS, BUILT_IN, EOS, PAD, TextTokenizer

#: What transformers must be told about the environment's tokenizer. Clean-up would eat spaces before punctuation.
TOKENIZER_CONFIG = {"pad_token": PAD, "bos_token": BOS, "eos_token": EOS, "clean_up_tokenization_spaces": False}


def new_tiny_model(
    vocab_size: int,
    *,
    eos_id: int,
    pad_id: int,
    bos_id: int | None = None,
    seed: int,
    hidden_size: int = 64,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int | None = None,
    intermediate_size: int = 176,
    max_positions: int = 1024,
) -> LlamaForCausalLM:
    """A Llama with random weights, tied embeddings, float32.

    The weights have standard deviation 1/sqrt(hidden_size): with transformers' .02, models this narrow do not learn to
    copy. No global random state is touched.

    Args:
        vocab_size: V, that of the tokenizer.
        eos_id: Ends a response.
        pad_id: Fills batches; its embedding row is zero and gets no gradient as an input.
        bos_id: Beginning of sequence, if the tokenizer has one.
        seed: Of the weights.
        hidden_size: C.
        layers: Number of blocks.
        heads: H.
        kv_heads: Key and value heads; None for H.
        intermediate_size: Width of the gated unit.
        max_positions: Longest prompt and response together.
    """
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads or heads,
        max_position_embeddings=max_positions,
        initializer_range=hidden_size**-0.5,
        tie_word_embeddings=True,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
        pad_token_id=pad_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    make: Any = GenerationConfig  # transformers does not annotate it
    model.generation_config = make(
        bos_token_id=bos_id, eos_token_id=eos_id, pad_token_id=pad_id, do_sample=True, top_k=0
    )
    return model


def new_scratch_model(
    vocab_size: int,
    *,
    eos_id: int,
    pad_id: int,
    bos_id: int | None = None,
    seed: int,
    hidden_size: int = 32,
    layers: int = 1,
    heads: int = 4,
    intermediate_size: int = 64,
    max_positions: int = 1024,
    confidence: float = 0.1,
) -> LlamaForCausalLM:
    """A Llama to be trained from nothing by reinforcement learning: it starts near the uniform distribution.

    With tied embeddings a random model would repeat its last token. The weights of the last norm, and with them the
    logits, are therefore multiplied by ``confidence``.

    Args:
        vocab_size: As in `new_tiny_model`, like all that follow.
        eos_id: Likewise.
        pad_id: Likewise.
        bos_id: Likewise.
        seed: Likewise.
        hidden_size: Likewise.
        layers: Likewise.
        heads: Likewise.
        intermediate_size: Likewise.
        max_positions: Likewise.
        confidence: Above 0.

    Raises:
        ValueError: If ``confidence`` is not above 0.
    """
    if not confidence > 0:
        raise ValueError(f"new_scratch_model(confidence=) must be above 0, got {confidence!r}")
    model = new_tiny_model(
        vocab_size,
        eos_id=eos_id,
        pad_id=pad_id,
        bos_id=bos_id,
        seed=seed,
        hidden_size=hidden_size,
        layers=layers,
        heads=heads,
        intermediate_size=intermediate_size,
        max_positions=max_positions,
    )
    with torch.no_grad():
        model.model.norm.weight.mul_(confidence)
    return model


def wrap_tokenizer(path: str | Path = BUILT_IN) -> PreTrainedTokenizerFast:
    """The environment's tokenizer, a ``tokenizer.json`` file or its directory, as a tokenizer of transformers.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a tokenizer.
    """
    file = TextTokenizer(path).path
    make: Any = PreTrainedTokenizerFast  # transformers does not annotate it
    tokenizer: PreTrainedTokenizerFast = make(tokenizer_file=str(file), **TOKENIZER_CONFIG)
    tokenizer.name_or_path = str(file.parent if file.name == "tokenizer.json" else file)
    return tokenizer


def save_tokenizer(directory: str | Path, *, tokenizer: str | Path = BUILT_IN) -> None:
    """Put the environment's tokenizer into a model's directory, for `load_policy` and ``AutoTokenizer``.

    tokenizer.json is copied byte by byte (transformers would re-serialise it), and beside it stands a class name that
    old and new versions know.

    Args:
        directory: Made if missing.
        tokenizer: A ``tokenizer.json`` file or its directory.

    Raises:
        FileNotFoundError: If there is no such tokenizer.
    """
    source, target = TextTokenizer(tokenizer).path, Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target / "tokenizer.json")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **TOKENIZER_CONFIG}
    (target / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def save_tiny(model: LlamaForCausalLM, directory: str | Path, *, tokenizer: str | Path = BUILT_IN) -> None:
    """Write the directory that `load_policy`, ``AutoModelForCausalLM`` and ``AutoTokenizer`` read.

    Args:
        model: Written as config.json, generation_config.json and model.safetensors.
        directory: Made if missing.
        tokenizer: See `save_tokenizer`.

    Raises:
        FileNotFoundError: If there is no such tokenizer.
    """
    save_tokenizer(directory, tokenizer=tokenizer)
    model.save_pretrained(directory)
