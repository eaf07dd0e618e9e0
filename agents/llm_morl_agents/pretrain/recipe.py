"""The recipe of the embedded policy: what is trained, on what, for how long. Measured choices, with their reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from llm_morl_agents.policies.llama import sequence_logits
from llm_morl_agents.policies.tiny import new_tiny_model
from llm_morl_agents.pretrain.demonstrations import DEMONSTRATIONS, Demonstrator, Segments
from llm_morl_agents.threads import one_thread
from llm_morl_env.tasks.building import TRAIN_SIZE
from llm_morl_env.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Phase:
    """One phase of supervised training.

    Args:
        steps: Optimizer steps.
        learning_rate: Peak; 30 steps of warm-up, cosine to a tenth.
        matrix_learning_rate: Peak of Muon for the blocks' matrices; None trains everything with AdamW.
        read_weight: Weight in the loss of tokens that the policy reads: prompts and replies (its own have 1).
        noise: Of the demonstrations, see `llm_morl_agents.pretrain.demonstrations.base.Demonstrator`.
        shares: Of the tasks in this phase, in place of the recipe's.
    """

    steps: int
    learning_rate: float
    matrix_learning_rate: float | None
    read_weight: float
    noise: float
    shares: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Recipe:
    """Tasks, model size and phases.

    A model this small learns to copy only from clean answers; a short noisy phase then sets how often it errs. Muon
    (orthogonalised momentum) on the blocks' matrices reaches in 600 steps what AdamW reaches in 900 (one seed).

    Args:
        shares: Share of each task in the demonstrations, by its name in
            `llm_morl_agents.pretrain.demonstrations.DEMONSTRATIONS`.
        difficulty: Tier of the demonstrations.
        seed: Of the weights and of the demonstrations.
        hidden_size: C.
        layers: Number of blocks.
        heads: Attention heads.
        intermediate_size: Width of the gated unit.
        batch_size: Demonstrations a step.
        phases: One after the other.
    """

    shares: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"toolcall": 1.0}))
    difficulty: str = "standard"
    seed: int = 0
    hidden_size: int = 64
    layers: int = 3
    heads: int = 4
    intermediate_size: int = 176
    batch_size: int = 32
    phases: tuple[Phase, ...] = (Phase(1000, 4e-3, 0.02, 0.3, 0.0), Phase(120, 1e-3, None, 0.0, 1.0))

    def __post_init__(self) -> None:
        unknown = [task for task in self.shares if task not in DEMONSTRATIONS]
        if unknown or not self.shares:
            raise ValueError(f"Recipe(shares=) must name tasks of {list(DEMONSTRATIONS)}, got {dict(self.shares)}")
        if min(self.shares.values()) <= 0:
            raise ValueError(f"Recipe(shares=) must be positive, got {dict(self.shares)}")


#: Clean and noisy steps for one task alone, with a model of `Recipe`'s sizes.
STEPS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "toolcall": (1000, 120),
        "toolcall-multiturn": (1000, 120),
        "summarize": (700, 60),
        "mathreasoning": (900, 60),
        "safeassist": (400, 60),
    }
)
#: Shares of the tasks in the phases of a model for several of them. Tasks that copy from their prompt help each other;
#: arithmetic is learned alone, and needs a phase that is mostly its own.
SHARES: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "toolcall": (0.28, 0.09, 0.28),
        "toolcall-multiturn": (0.22, 0.08, 0.22),
        "summarize": (0.18, 0.09, 0.20),
        "mathreasoning": (0.22, 0.70, 0.18),
        "safeassist": (0.10, 0.04, 0.12),
    }
)


def recipe_of(tasks: Sequence[str], *, difficulty: str = "standard", seed: int = 0) -> Recipe:
    """The recipe for these tasks: for several a model of twice the size, trained four times as long as for one.

    Raises:
        ValueError: If there is no such task.
    """
    unknown = [task for task in tasks if task not in DEMONSTRATIONS]
    if unknown or not tasks:
        raise ValueError(f"tasks must be some of {list(DEMONSTRATIONS)}, got {list(tasks)}")
    if len(tasks) == 1:
        clean, noisy = STEPS[tasks[0]]
        phases: tuple[Phase, ...] = (Phase(clean, 4e-3, 0.02, 0.3, 0.0), Phase(noisy, 1e-3, None, 0.0, 1.0))
        return Recipe({tasks[0]: 1.0}, difficulty, seed, phases=phases)
    shares = [{task: SHARES[task][number] for task in tasks} for number in range(3)]
    phases = (
        Phase(3000, 3e-3, 0.02, 0.3, 0.0),
        Phase(1000, 2e-3, 0.01, 0.3, 0.0, shares[1]),
        Phase(120, 1e-3, None, 0.0, 1.0, shares[2]),
    )
    return Recipe(shares[0], difficulty, seed, hidden_size=96, intermediate_size=256, phases=phases)


#: Called after each step with (phase index, step, loss of the response tokens).
Progress = Callable[[int, int, float], None]
#: Token ids of each demonstration, with the weight of each token in the loss.
Batch = list[tuple[list[int], list[float]]]

#: Batches that are sorted by length together, so that sequences of like length share a batch.
_POOL = 8


@one_thread()
def pretrain(recipe: Recipe, tokenizer: TextTokenizer, progress: Progress | None = None) -> LlamaForCausalLM:
    """Train the model from random weights. A pure function of the recipe on one machine and torch build.

    Uses one thread while it runs: two are no faster at this size, and their sums would not repeat.
    """
    model = new_tiny_model(
        tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        bos_id=tokenizer.bos_id,
        seed=recipe.seed,
        hidden_size=recipe.hidden_size,
        layers=recipe.layers,
        heads=recipe.heads,
        intermediate_size=recipe.intermediate_size,
    )
    # Not the environments' default seed: their training problems are other draws from the same distribution.
    for number, phase in enumerate(recipe.phases):
        sources = [
            (DEMONSTRATIONS[task](seed=10_000 + recipe.seed, difficulty=recipe.difficulty), share)
            for task, share in (phase.shares or recipe.shares).items()
        ]
        rng = np.random.default_rng([recipe.seed, number])
        _train_phase(model, phase, _batches(sources, phase, recipe.batch_size, tokenizer, rng), number, progress)
    return model


def _batches(
    sources: Sequence[tuple[Demonstrator, float]],
    phase: Phase,
    batch_size: int,
    tokenizer: TextTokenizer,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    shares = np.array([share for _, share in sources])
    while True:
        pool = []
        for _ in range(_POOL * batch_size):
            number = int(rng.choice(len(sources), p=shares / shares.sum())) if len(sources) > 1 else 0
            segments = sources[number][0](int(rng.integers(TRAIN_SIZE)), phase.noise, rng)
            pool.append(_weighed(segments, phase.read_weight, tokenizer))
        pool.sort(key=lambda pair: len(pair[0]))
        for i in rng.permutation(_POOL):
            yield pool[i * batch_size : (i + 1) * batch_size]


def _weighed(segments: Segments, read_weight: float, tokenizer: TextTokenizer) -> tuple[list[int], list[float]]:
    """Token ids of a demonstration, an end after each text of the policy, and their weights."""
    ids: list[int] = []
    weights: list[float] = []
    for text, own in segments:
        encoded = tokenizer.encode(text) + [tokenizer.eos_id] * own
        ids += encoded
        weights += [1.0 if own else read_weight] * len(encoded)
    return ids, weights


def _train_phase(
    model: LlamaForCausalLM, phase: Phase, batches: Iterator[Batch], number: int, progress: Progress | None
) -> None:
    optimizers = _optimizers(model, phase)
    for step in range(phase.steps):
        ids, weights = _padded(next(batches))
        loss, response_loss = _loss(model, ids, weights)
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        factor = min(1.0, (step + 1) / 30) * (0.1 + 0.45 * (1.0 + math.cos(math.pi * step / phase.steps)))
        for optimizer, peak in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
            optimizer.step()
        if progress is not None:
            progress(number, step, response_loss)


def _optimizers(model: LlamaForCausalLM, phase: Phase) -> list[tuple[torch.optim.Optimizer, float]]:
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2] if phase.matrix_learning_rate else []
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(rest, lr=phase.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [(adam, phase.learning_rate)]
    if phase.matrix_learning_rate:
        muon = torch.optim.Muon(matrices, lr=phase.matrix_learning_rate, weight_decay=0.0, momentum=0.95)
        optimizers.append((muon, phase.matrix_learning_rate))
    return optimizers


def _padded(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, L) and loss weights (B, L), 0 on padding."""
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    weights = torch.zeros(len(batch), longest)
    for row, (tokens, token_weights) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, : len(tokens)] = torch.tensor(token_weights)
    return ids, weights


def _loss(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Weighted mean cross-entropy of the next token, and the plain mean over response tokens, nats."""
    target_weights = weights[:, 1:]
    at = target_weights > 0
    logits = sequence_logits(model, ids[:, :-1], at)
    losses = functional.cross_entropy(logits, ids[:, 1:][at], reduction="none")
    weight = target_weights[at]
    return (losses * weight).sum() / weight.sum(), float(losses.detach()[weight == 1.0].mean())
