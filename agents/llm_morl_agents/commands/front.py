"""``llm-morl front``: every method's front of one task in one picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from llm_morl_agents.experiments.config import DEFAULT_ENV, Pairs
from llm_morl_agents.experiments.errors import UserError, user_errors

if TYPE_CHECKING:
    from llm_morl_agents.fronts.policy import FrontPolicy
    from llm_morl_agents.fronts.record import FrontRecord
    from llm_morl_agents.fronts.sources import Source, Subject

_DESCRIPTION = """Put the fronts of one task side by side: classic algorithms, language models, chance, what is known.

Reads what the other commands left: the evaluated fronts of llm-morl classic and llm-morl family, and the checkpoints of
llm-morl compare and llm-morl train, which it evaluates on held-out problems. Adds chance (uniform over the action
masks), the language model before any training, what a frozen model puts first on the views that classic algorithms
chose on, the gold answers, and the exact Pareto front, each where it exists.

Writes OUT/: front.png (objectives two by two), parallel.png (from three objectives on), front.html (tables and figures
in one file), records/ (what was evaluated here; a second call takes trained policies from there). How to read the
numbers: docs/fronts.md.

Examples:
  llm-morl front --env DentFront-MO-v0
  llm-morl front --env DentFront-MO-v0 --from runs/classic runs/my-family --out runs/front
  llm-morl front --env ToolCall-MO-v0 --env-kwargs difficulty=easy --from runs --episodes 512"""

#: Columns of the tables where there is no terminal.
WIDTH = 120
CHANCE, GOLD = "random", "gold answers"


@dataclass(frozen=True)
class FrontOptions:
    """What is put side by side.

    Args:
        env: Id of the environment; that of the first front in the folders otherwise.
        sources: Folders with fronts or runs, at any depth.
        env_kwargs: Arguments of the task, as NAME=VALUE; those that the fronts in the folders share otherwise. Fronts
            with others are left out.
        out: Folder of the files; runs/front-ENV otherwise.
        policy: The language model before training: auto is tiny where that knows the environment's tokens, and none
            elsewhere; none, tiny, a transformers directory or a hub id.
        episodes: Problems that what is evaluated here answers; as many as the fronts in the folders by default, else
            256.
        split: Of the problems.
        eval_seeds: Answers to each problem, with the seeds 0, 1, ...
        threads: Threads of torch; 1 suits models of a few million parameters.
    """

    env: str | None = None
    sources: Annotated[tuple[Path, ...], tyro.conf.arg(name="from")] = ()
    env_kwargs: Pairs = field(default_factory=dict)
    out: Path | None = None
    policy: str = "auto"
    episodes: int | None = None
    split: str = "eval"
    eval_seeds: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("episodes", "eval_seeds", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    options = tyro.cli(FrontOptions, args=arguments, prog="llm-morl front", description=_DESCRIPTION)
    import torch

    import llm_morl_env
    from llm_morl_agents.fronts.gather import gather
    from llm_morl_agents.fronts.page import make_page, terminal_tables
    from llm_morl_agents.fronts.sources import find_sources

    torch.set_num_threads(options.threads)
    llm_morl_env.register()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    sources, remarks = find_sources(options.sources)
    subject, mine, others = choose(options, sources)
    remarks += others
    out = options.out or Path("runs") / f"front-{subject.env_id}"
    with user_errors():
        records = trained_records(options, mine, out, console)
        known, left = baseline_records(options, subject, records, out, console)
        records, remarks = [*records, *known], [*remarks, *left]
        gathered = gather(records, title=str(subject), chance=CHANCE, gold=GOLD, remarks=remarks)
        with console.status("drawing"):
            page = make_page(gathered, out, subject.env_kwargs)
    console.print(terminal_tables(gathered))
    console.print(f"\n{page}", markup=False, highlight=False, soft_wrap=True)
    return 0


def choose(options: FrontOptions, sources: Sequence[Source]) -> tuple[Subject, list[Source], list[str]]:
    """The task of the picture, the fronts of it, and lines about those that are left out.

    Raises:
        UserError: If no front is of the task, or the fronts of the environment are of several and none is named.
    """
    from llm_morl_agents.fronts.sources import Subject

    env_id = options.env or (sources[0].subject.env_id if sources else DEFAULT_ENV)
    wanted = Subject.of(env_id, options.env_kwargs)
    of_env = [source for source in sources if source.subject.env_id == wanted.env_id]
    if sources and not of_env:
        known = sorted({str(source.subject) for source in sources})
        raise UserError(f"no front in the folders is of {wanted.env_id}; they are of {', '.join(known)}")
    subjects = list(dict.fromkeys(source.subject for source in of_env))
    if of_env and not options.env_kwargs:
        if len(subjects) > 1:
            raise UserError(
                f"the fronts are of several tasks: {', '.join(map(str, subjects))}; name one with --env-kwargs"
            )
        wanted = subjects[0]
    if of_env and wanted not in subjects:
        raise UserError(f"no front in the folders is of {wanted}; they are of {', '.join(map(str, subjects))}")
    mine = [source for source in sources if source.subject == wanted]
    left = sorted({str(source.subject) for source in sources if source.subject != wanted})
    return wanted, mine, [f"left out, as fronts of other tasks: {', '.join(left)}"] if left else []


def trained_records(
    options: FrontOptions, sources: Sequence[Source], out: Path, console: Console
) -> list[tuple[FrontRecord, str]]:
    """The fronts of the folders, each with its folder; runs are evaluated."""
    from llm_morl_agents.fronts.sources import RECORDS, RecordSource

    found: list[tuple[FrontRecord, str]] = [
        (source.record, str(source.folder)) for source in sources if isinstance(source, RecordSource)
    ]
    episodes = _episodes(options, [record for record, _ in found])
    for source in sources:
        if not isinstance(source, RecordSource):
            which = hashlib.sha256(f"{source.folder.resolve()}|{source.method}".encode()).hexdigest()[:8]
            slug = f"{source.folder.name}-{which}-seed{source.seed}"
            with console.status(f"{source.method}, seed {source.seed}: evaluating {len(source.jobs)} policies"):
                record = source.record(
                    out / RECORDS / slug, n_episodes=episodes, split=options.split, seeds=range(options.eval_seeds)
                )
            found.append((record, str(source.folder / f"seed{source.seed}")))
    return found


def baseline_records(
    options: FrontOptions, subject: Subject, trained: Sequence[tuple[FrontRecord, str]], out: Path, console: Console
) -> tuple[list[tuple[FrontRecord, str]], list[str]]:
    """Chance, the language model before training, first options and the gold answers, each where it exists, evaluated.

    Returns:
        The fronts, and lines about those that could not be evaluated: their model or file is not here any more.
    """
    from llm_morl_agents.fronts.evaluation import evaluate_front
    from llm_morl_agents.fronts.first_option import FirstOptionPolicy, first_options
    from llm_morl_agents.fronts.record import FrontRecord, write_record
    from llm_morl_agents.fronts.sources import RECORDS

    records: list[tuple[FrontRecord, str]] = []
    remarks: list[str] = []
    of_views = [(policy, str(policy.env_kwargs["view"])) for policy in first_options(record for record, _ in trained)]
    for policy, view in [*baselines(options, subject), *of_views]:
        try:
            with console.status(f"{policy.label}: evaluating"):
                evaluation = evaluate_front(
                    [policy],
                    subject.env_id,
                    n_episodes=_episodes(options, [record for record, _ in trained]),
                    seeds=range(options.eval_seeds),
                    split=options.split,
                    env_kwargs=subject.env_kwargs,
                )
        except (ValueError, OSError, ImportError) as error:
            if not isinstance(policy, FirstOptionPolicy):
                raise
            remarks.append(f"{policy.label} was left out: {error}")
            continue
        own = policy.env_kwargs if isinstance(policy, FirstOptionPolicy) else subject.env_kwargs
        record = FrontRecord(
            method=policy.label,
            kind="baseline",
            env_id=subject.env_id,
            env_kwargs={name: value for name, value in own.items() if name != "view"},
            view=view,
            seed=0,
            steps=None,
            cpu_seconds=None,
            evaluation=evaluation,
        )
        name = policy.label.replace(" ", "-").replace("/", "-")
        taken = sum(other.method == record.method for other, _ in records)
        write_record(record, out / RECORDS / (f"{name}-{taken + 1}" if taken else name))
        records.append((record, ""))
    return records, remarks


def baselines(options: FrontOptions, subject: Subject) -> list[tuple[FrontPolicy, str]]:
    """What trained fronts are compared with, each with the view that it acts in."""
    import gymnasium as gym

    from llm_morl_agents.fronts.baselines import GoldPolicy, LanguageModelPolicy, RandomPolicy
    from llm_morl_env.tokenizer import BUILT_IN

    env_id, kwargs = subject.env_id, subject.env_kwargs
    task = gym.make(env_id, view="text", **kwargs).unwrapped.task  # type: ignore[attr-defined]  # not in Gymnasium
    found: list[tuple[FrontPolicy, str]] = [(RandomPolicy(env_id, kwargs, label=CHANCE), "token")]
    model = options.policy
    if model == "auto":
        model = "tiny" if task.tokenizer.path.resolve() == BUILT_IN.resolve() else "none"
    if model != "none":
        found.append((LanguageModelPolicy(model, env_id, kwargs, label=f"{model}, untrained"), "text"))
    first = task.with_split(options.split)[0]
    if task.front is None and isinstance(first.meta.get("gold"), str):
        found.append((GoldPolicy(env_id, kwargs, label=GOLD), "text"))
    return found


def _episodes(options: FrontOptions, records: Sequence[FrontRecord]) -> int:
    from llm_morl_agents.fronts.evaluation import EPISODES

    if options.episodes is not None:
        return options.episodes
    return max((len(record.evaluation.problems) for record in records), default=EPISODES)
