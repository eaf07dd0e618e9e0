"""The runs behind docs/classic.md: which command trains what, on which view, in how much CPU time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
RUNS, TABLES = ROOT / "runs" / "classic-page", ROOT / "docs" / "results"
#: What a share of the way from chance to the oracle means, see `build_classic.baselines`.
Oracle = Literal["front", "gold", "candidates"]


@dataclass(frozen=True)
class Entry:
    """One method on one section's task.

    Args:
        method: Name in the table, and of the folder of its runs.
        command: Of ``llm-morl``, with its arguments, but for the environment, the seed and where results go.
        cpu_seconds: Of the training.
        seeds: Runs, with the seeds 0, 1, ...
        view: Arguments of the environment that belong to the view, the view itself included; none for language models.
        note: Said in the table.
    """

    method: str
    command: tuple[str, ...]
    cpu_seconds: float
    seeds: int = 3
    view: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    note: str = ""


@dataclass(frozen=True)
class Unlearned:
    """What a view is worth to a policy that learns nothing.

    Args:
        method: Name in the table.
        view: Arguments of the view.
        policy: ``"first"``: always the first option; ``"random"``: any valid one.
    """

    method: str
    view: Mapping[str, Any]
    policy: Literal["first", "random"] = "first"


@dataclass(frozen=True)
class Section:
    """A task and the methods that are compared on it.

    Args:
        name: Of its folder and its table.
        title: Its heading.
        env_id: Of the environment.
        env_kwargs: Arguments of the task.
        oracle: The upper end of the gap.
        entries: The methods.
        chance: Arguments of the view in which the random policy acts.
        problems: Of the evaluation.
        unlearned: What learners have to beat.
    """

    name: str
    title: str
    env_id: str
    oracle: Oracle
    entries: tuple[Entry, ...]
    env_kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    chance: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    problems: int = 256
    unlearned: tuple[Unlearned, ...] = ()


def classic(
    algo: str,
    seconds: float,
    steps: int,
    *,
    view: Mapping[str, Any],
    seeds: int = 3,
    method: str = "",
    preset: str = "",
    note: str = "",
    **settings: Any,
) -> Entry:
    """A classic algorithm: ``llm-morl classic``. Exploration is spread over ``steps``; CPU time may end it before."""
    command = ["classic", "--algo", algo, "--steps", str(steps), "--max-cpu-seconds", f"{seconds:g}"]
    if preset:
        command += ["--preset", preset]
    if settings:
        command += ["--algo-kwargs", *(f"{name}={value}" for name, value in settings.items())]
    return Entry(method or algo, tuple(command), seconds, seeds, view, note)


def family(kind: str, seconds: float, *options: str, seeds: int = 3, method: str = "", note: str = "") -> Entry:
    """A family of language models: ``llm-morl family``."""
    command = ("family", kind, "--steps", "100000", "--max-cpu-seconds", f"{seconds:g}", *options)
    return Entry(method or kind, command, seconds, seeds, note=note)


def masked(variant: str = "", *, seeds: int = 1, note: str, **settings: Any) -> Entry:
    """Masked PPO, conditioned on weights, on the token view."""
    algo = "maskable_ppo_conditioned"
    method = f"{algo}-{variant}" if variant else algo
    return classic(algo, 60, 1_000_000, view=TOKENS, preset="token", seeds=seeds, method=method, note=note, **settings)


#: The small vocabularies: a step writes a letter.
LETTERS = MappingProxyType({"view": "index", "k": 3, "obs_mode": "onehot"})
#: Candidates that were written once, see `build_classic.write_candidates`.
CHOICE = MappingProxyType({"view": "choice", "k": 8, "candidates": str(RUNS / "candidates-standard.jsonl")})
CHOICE_EASY = MappingProxyType({"view": "choice", "k": 8, "candidates": str(RUNS / "candidates-easy.jsonl")})
CHOICE_SUMMARIES = MappingProxyType({"view": "choice", "k": 8, "candidates": str(RUNS / "candidates-summaries.jsonl")})
INDEX = MappingProxyType({"view": "index", "k": 4, "language_model": "tiny"})
INDEX_FEATURES = MappingProxyType({"view": "index", "k": 2, "language_model": "tiny", "obs_mode": "features"})
INDEX_CERTAIN = MappingProxyType({**INDEX_FEATURES, "certainty": 0.99})
TOKENS = MappingProxyType({"view": "token"})
EASY = MappingProxyType({"difficulty": "easy"})
#: Of networks that read candidates: one network for all that is seen, and one for each candidate.
WIDE: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 64, "net_arch": [128, 128]}
SHARED: dict[str, Any] = {"network": "shared", "learning_rate": 1e-3, "batch_size": 32, "net_arch": [64, 64]}
SHARED_NOTE = "shared network"
FIRST = "first option, nothing learned"

#: Where most actions but the first do harm.
EXPLORING: dict[str, Any] = {
    "learning_rate": 1e-3, "batch_size": 64, "initial_epsilon": 0.5, "final_epsilon": 0.05, "gamma": 0.98,
}  # fmt: skip

SECTIONS: tuple[Section, ...] = (
    Section(
        "dent",
        "DentFront: a front that is known",
        "DentFront-MO-v0",
        "front",
        (
            classic("pcn", 60, 6_000, view=LETTERS),
            classic("envelope", 60, 2_500, view=LETTERS, seeds=1, note="linear weights"),
            classic("envelope", 60, 2_500, view=LETTERS, preset="dent", method="envelope-bent", note="bent objectives"),
            classic("gpi_ls", 60, 1_200, view=LETTERS, seeds=1, note="linear weights"),
            classic("gpi_ls", 60, 1_200, view=LETTERS, preset="dent", method="gpi_ls-bent", note="bent objectives"),
            classic("lcn", 30, 6_000, view=LETTERS, seeds=1),
            classic("morld", 30, 1_500, view=LETTERS, seeds=1),
            classic("ipro", 30, 20_000, view=LETTERS, seeds=1),
            classic("nlmoppo", 30, 20_000, view=LETTERS, seeds=1),
            classic("eupg", 30, 20_000, view=LETTERS, seeds=1),
            classic("moql", 30, 20_000, view=LETTERS, seeds=1),
            classic("mp_moql", 30, 20_000, view=LETTERS, seeds=1),
            classic("pql", 30, 3_000, view=LETTERS, seeds=1),
            classic("sb3_ppo", 30, 30_000, view=LETTERS, seeds=1),
            classic("sb3_a2c", 30, 30_000, view=LETTERS, seeds=1),
            classic("sb3_dqn", 30, 30_000, view=LETTERS, seeds=1),
            classic("maskable_ppo", 30, 30_000, view=LETTERS, seeds=1),
            classic("maskable_ppo_conditioned", 30, 30_000, view=LETTERS, seeds=1),
            family(
                "conditioned",
                15,
                "--conditioning",
                "embedding",
                "--arm",
                "grpo:tchebycheff",
                method="lm-conditioned-tchebycheff",
                note="language model",
            ),
            family("conditioned", 15, "--conditioning", "embedding", method="lm-conditioned", note="language model"),
        ),
        chance=LETTERS,
        problems=128,
    ),
    Section(
        "counts",
        "CountsFront: a concave front",
        "CountsFront-MO-v0",
        "front",
        (
            classic("pcn", 30, 6_000, view=LETTERS, seeds=1),
            classic("envelope", 30, 2_500, view=LETTERS, seeds=1),
            classic("gpi_ls", 30, 1_200, view=LETTERS, seeds=1),
            classic("maskable_ppo_conditioned", 30, 30_000, view=LETTERS, seeds=1),
            family(
                "conditioned",
                15,
                "--conditioning",
                "embedding",
                "--arm",
                "grpo:tchebycheff",
                seeds=1,
                method="lm-conditioned-tchebycheff",
                note="language model",
            ),
        ),
        chance=LETTERS,
        problems=128,
    ),
    Section(
        "choice",
        "Tool calls, choice among 8 candidates",
        "ToolCall-MO-v0",
        "candidates",
        (
            classic("envelope", 30, 6_000, view=CHOICE, method="envelope-shared", note=SHARED_NOTE, **SHARED),
            classic("gpi_ls", 30, 6_000, view=CHOICE, method="gpi_ls-shared", note=SHARED_NOTE, **SHARED),
            classic("envelope", 30, 6_000, view=CHOICE, **WIDE),
            classic(
                "envelope",
                30,
                6_000,
                view=CHOICE,
                seeds=1,
                method="envelope-small",
                note="64 x 64, rate 3e-4",
                learning_rate=3e-4,
            ),
            classic(
                "envelope",
                30,
                5_000,
                view=CHOICE,
                seeds=1,
                method="envelope-large-batch",
                note="batches of 256, not prioritised",
                learning_rate=1e-3,
                batch_size=256,
                per=False,
            ),
            classic("gpi_ls", 30, 4_000, view=CHOICE, **WIDE),
            classic("pcn", 30, 10_000, view=CHOICE, seeds=1),
        ),
        chance=CHOICE,
        unlearned=(Unlearned(FIRST, CHOICE),),
    ),
    Section(
        "choice-easy",
        "Tool calls of the easy tier, choice among 8 candidates",
        "ToolCall-MO-v0",
        "candidates",
        (
            classic("envelope", 30, 6_000, view=CHOICE_EASY, method="envelope-shared", note=SHARED_NOTE, **SHARED),
            classic("gpi_ls", 30, 6_000, view=CHOICE_EASY, method="gpi_ls-shared", note=SHARED_NOTE, **SHARED),
            classic("envelope", 30, 6_000, view=CHOICE_EASY, seeds=1, **WIDE),
            classic("gpi_ls", 30, 4_000, view=CHOICE_EASY, seeds=1, **WIDE),
        ),
        env_kwargs=EASY,
        chance=CHOICE_EASY,
        unlearned=(Unlearned(FIRST, CHOICE_EASY),),
    ),
    Section(
        "index",
        "Tool calls of the easy tier, token by token",
        "ToolCall-MO-v0",
        "gold",
        (
            classic("envelope", 120, 10_000, view=INDEX_CERTAIN, note="certain tokens written", **EXPLORING),
            classic(
                "envelope",
                60,
                6_000,
                view=INDEX_CERTAIN,
                method="envelope-60",
                note="the same, half the time",
                **EXPLORING,
            ),
            classic(
                "envelope",
                120,
                10_000,
                view=INDEX,
                seeds=1,
                method="envelope-undiscounted",
                note="hidden state, k = 4, no discount",
                **{**EXPLORING, **WIDE, "gamma": 1.0},
            ),
            classic(
                "envelope",
                120,
                10_000,
                view=INDEX,
                seeds=1,
                method="envelope-hidden",
                note="hidden state, k = 4",
                **{**EXPLORING, **WIDE},
            ),
            classic(
                "envelope",
                120,
                10_000,
                view=INDEX_FEATURES,
                seeds=1,
                method="envelope-features",
                note="option features alone, k = 2",
                **EXPLORING,
            ),
            masked(seeds=7, note="token view with masks"),
            masked("constant", note="the same, constant rate", learning_rate=1e-3, final_learning_rate=1e-3),
            masked("embedding", note="the same, embedded ids instead of copying", network="tokens"),
            family("conditioned", 60, "--policy", "tiny", method="lm-conditioned", note="language model"),
        ),
        env_kwargs=EASY,
        chance=TOKENS,
        problems=96,
        unlearned=(
            Unlearned(FIRST, INDEX_FEATURES),
            Unlearned("random options, certain tokens written", INDEX_CERTAIN, "random"),
        ),
    ),
    Section(
        "summaries",
        "Summaries, where objectives conflict",
        "Summarize-MO-v0",
        "candidates",
        (
            classic("envelope", 30, 6_000, view=CHOICE_SUMMARIES, method="envelope-shared", note=SHARED_NOTE, **SHARED),
            classic("envelope", 30, 6_000, view=CHOICE_SUMMARIES, seeds=1, **WIDE),
            family("conditioned", 60, "--policy", "tiny", method="lm-conditioned", note="language model"),
            family("soup", 60, "--policy", "tiny", seeds=1, method="lm-soup", note="language models"),
        ),
        chance=CHOICE_SUMMARIES,
        unlearned=(Unlearned(FIRST, CHOICE_SUMMARIES),),
        problems=128,
    ),
)
