"""``llm-morl pretrain``: make the embedded policy from nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import LlamaForCausalLM

from llm_morl_agents.policies.load import load_policy
from llm_morl_agents.policies.tiny import save_tiny
from llm_morl_agents.pretrain.card import Level, model_card, start_levels
from llm_morl_agents.pretrain.demonstrations import DEMONSTRATIONS
from llm_morl_agents.pretrain.recipe import Recipe, pretrain, recipe_of
from llm_morl_env.tokenizer import BUILT_IN, TextTokenizer


@dataclass(frozen=True)
class PretrainOptions:
    """Make the embedded policy; byte-identical on one machine and torch build."""

    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Which built-in tasks to demonstrate; all of them otherwise."""
    out: Path = Path("tiny")
    """Directory to write: a transformers model with its tokenizer and card."""
    difficulty: Literal["easy", "standard", "hard"] = "standard"
    """Tier of the demonstrations."""
    seed: int = 0
    """Seed of the weights and of the demonstrations."""
    budget: float = 1.0
    """Share of the recipe's steps, for example 0.1 for a quick look at whether it works."""
    eval_problems: int = 512
    """Problems a tier and split for the start levels in the card."""


def run(options: PretrainOptions) -> list[Level]:
    """Train, save, evaluate, write the card; returns the levels."""
    if not 0 < options.budget <= 1:
        raise ValueError(f"budget must lie in (0, 1], got {options.budget}")
    recipe = recipe_of(options.tasks or tuple(DEMONSTRATIONS), difficulty=options.difficulty, seed=options.seed)
    phases = tuple(replace(p, steps=max(1, round(p.steps * options.budget))) for p in recipe.phases)
    recipe = replace(recipe, phases=phases)
    tokenizer = TextTokenizer()
    started = time.process_time()
    model = _with_progress(recipe, tokenizer)
    cpu_seconds = time.process_time() - started
    save_tiny(model, options.out, tokenizer=BUILT_IN)
    levels = write_card(options, recipe)
    console = Console()
    console.print(f"wrote {options.out} after {cpu_seconds:.0f} CPU-seconds of training")
    for level in levels:
        means = "  ".join(f"{name} {value:.3f}" for name, value in level.sampled.items())
        console.print(f"{level.task}, {level.difficulty:>8}, {level.split:>6}, temperature 1: {means}")
    return levels


def write_card(options: PretrainOptions, recipe: Recipe) -> list[Level]:
    """Measure the model in ``options.out`` on every tier and write its card there; returns the levels."""
    policy = load_policy(options.out)
    levels = [
        level
        for task in recipe.shares
        for tier in ("easy", "standard", "hard")
        for level in start_levels(policy, task=task, difficulty=tier, n_problems=options.eval_problems)
    ]
    command = " ".join(
        ["llm-morl pretrain", *options.tasks, f"--difficulty {options.difficulty} --seed {options.seed}"]
    )
    phases = (
        f"{p.steps} steps of {recipe.batch_size} {'corrupted' if p.noise else 'clean'} ones" for p in recipe.phases
    )
    facts = {
        "parameters": f"{sum(p.numel() for p in policy.model.parameters()):,}",
        "architecture": f"Llama, hidden {recipe.hidden_size}, {recipe.layers} layers, {recipe.heads} heads, vocabulary "
        f"{policy.vocab_size:,}",
        "made by": f"`{command}{'' if options.budget == 1 else f' --budget {options.budget}'}`",
        "demonstrations": f"{', then '.join(phases)}, of the training split alone",
        "levels": f"over {options.eval_problems} problems of each tier and split",
    }
    (options.out / "README.md").write_text(model_card(levels, facts), encoding="utf-8")
    return levels


def _with_progress(recipe: Recipe, tokenizer: TextTokenizer) -> LlamaForCausalLM:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[loss]}")) as bars:
        tasks = [
            bars.add_task(f"phase {i + 1} of {len(recipe.phases)}", total=p.steps, loss="")
            for i, p in enumerate(recipe.phases)
        ]
        return pretrain(
            recipe,
            tokenizer,
            lambda phase, step, loss: bars.update(tasks[phase], completed=step + 1, loss=f"loss {loss:.3f} nats"),
        )
