"""``llm-morl classic``: classic multi-objective algorithms on a view of a language task."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console
from rich.table import Table

from llm_morl_agents.experiments.config import Pairs
from llm_morl_agents.experiments.errors import UserError, user_errors

if TYPE_CHECKING:
    from llm_morl_agents.classic import ClassicProgress, ClassicResult
    from llm_morl_agents.fronts.record import FrontRecord

_DESCRIPTION = """Train classic multi-objective algorithms on a language task, and evaluate their fronts anew.

A view makes the task small enough for them: index (a step picks one of the k best tokens), choice (one step picks one
of k answers) or token (the whole vocabulary; only for masked algorithms, or tasks of a few letters).

Writes OUT/ALGO-seedN/: run.json (the options), history.jsonl (the training), front.json and returns.csv (claims of the
algorithm beside the evaluation on held-out problems; `llm-morl front --from OUT` reads them), or error.txt where a run
failed; the others go on. Finished runs are skipped when the command is given again; Ctrl-C keeps them and drops the run
in progress.

Algorithms by extra (pip install '.[classic]' has both kinds, '.[sb3]' the second), and who has which preset:
{algorithms}

Examples:
  llm-morl classic --env DentFront-MO-v0 --algo pcn envelope gpi_ls --preset dent --view index \\
      --env-kwargs k=3 obs_mode=onehot --seeds 3
  llm-morl classic --env ToolCall-MO-v0 --algo envelope gpi_ls sb3_ppo --view index --max-cpu-seconds 120
  llm-morl classic --algo maskable_ppo_conditioned --preset token --view token --env-kwargs difficulty=easy \\
      --steps 1000000 --max-cpu-seconds 60"""

#: Seconds between lines where there is no terminal.
LINE_SECONDS = 5.0
#: Columns of the table where there is no terminal.
WIDTH = 120
RUN, HISTORY, ERROR = "run.json", "history.jsonl", "error.txt"


@dataclass(frozen=True)
class ClassicOptions:
    """What is trained, and how it is evaluated.

    Args:
        env: Id of the environment.
        algo: Algorithms by name.
        view: index, choice or token.
        env_kwargs: Further arguments of the environment, as NAME=VALUE: difficulty, obs_mode, k, language_model, ...
        algo_kwargs: Settings over the algorithm's preset, as NAME=VALUE; every algorithm of the call gets them. An
            unknown name is answered by the known ones.
        preset: Of the algorithms' settings, see above; those that have none of the name take their default.
        seeds: Runs of each algorithm, with the seeds 0, 1, ...
        steps: Steps of the training environment, for each run. Schedules are laid out over them: exploration (over the
            first half, in DQN .4, in PQL all), replay buffers, iterations of GPI-LS, the start of MORL/D's learning.
        max_cpu_seconds: End of each training in CPU time; without it, steps alone end it. Give --steps near to what
            the time allows: with far more a training explores to its end.
        eval_problems: Problems of the evaluation: the first ones of its split.
        eval_split: Of the task.
        out: Folder of the runs.
        overwrite: Train runs again that are there already.
    """

    env: str = "ToolCall-MO-v0"
    algo: tuple[str, ...] = ("maskable_ppo_conditioned",)
    view: str = "index"
    env_kwargs: Pairs = field(default_factory=dict)
    algo_kwargs: Pairs = field(default_factory=dict)
    preset: str | None = None
    seeds: int = 1
    steps: int = 20_000
    max_cpu_seconds: float | None = None
    eval_problems: int = 128
    eval_split: str = "eval"
    out: Path = Path("runs/classic")
    overwrite: bool = False


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        algo: Algorithm.
        seed: Of everything.
        options: Of the call.
    """

    algo: str
    seed: int
    options: ClassicOptions

    @property
    def name(self) -> str:
        """For folders and lines."""
        return f"{self.algo}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.options.out / self.name

    @property
    def preset(self) -> str | None:
        """The preset that was asked for, where the algorithm has it."""
        from llm_morl_agents.classic import ALGORITHMS

        return self.options.preset if self.options.preset in ALGORITHMS[self.algo].presets else None

    @property
    def plain(self) -> dict[str, Any]:
        """What makes its results what they are, as JSON gives it back."""
        told = {k: v for k, v in asdict(self.options).items() if k not in ("algo", "seeds", "out", "overwrite")}
        told |= {"algo": self.algo, "seed": self.seed, "preset": self.preset}
        plain: dict[str, Any] = json.loads(json.dumps(told))
        return plain


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 where an algorithm could not be trained."""
    description = _DESCRIPTION.format(algorithms=known_algorithms())
    options = tyro.cli(ClassicOptions, args=arguments, prog="llm-morl classic", description=description)
    from llm_morl_agents.fronts.record import FRONT, read_record

    console, failed = own_console(), False
    check_options(options)
    records: list[FrontRecord] = []
    with user_errors():
        refused = refusals(options)
    for algo, reason in refused.items():
        _say(console, f"{algo}: {reason}", style="bold red")
    for algo in without_preset(options):
        _say(console, f"{algo}: has no preset {options.preset!r}, takes its default")
    for run in (Run(a, s, options) for s in range(options.seeds) for a in options.algo if a not in refused):
        if (run.folder / FRONT).exists() and not options.overwrite:
            check_same(run)
            records.append(read_record(run.folder))
            _say(console, f"{run.name}: finished before, skipped")
            continue
        with user_errors():
            begin(run)
        try:
            result = train(run, console)
        except Exception as error:  # whatever a library raises
            _say(console, _failure(run, error), style="bold red")
            failed = True
            continue
        if result.stopped == "interrupt":
            shutil.rmtree(run.folder)
            _say(console, f"interrupted in {run.name}; finished runs are kept, the same command continues after them")
            _show(console, records)
            return 130
        if not result.policies:
            _say(console, f"{run.name}: no policy after {result.steps} steps; give it more", style="bold red")
            failed = True
            continue
        if result.stopped == "time" and result.steps < (result.exploration_steps or 0):
            _say(console, unfinished(run, result), style="yellow")
        try:
            with console.status(f"{run.name}: evaluating {len(result.policies)} policies"):
                records.append(evaluated(run, result))
        except Exception as error:  # of policies that a library plays
            _say(console, _failure(run, error), style="bold red")
            failed = True
    _show(console, records)
    _say(console, f"\n{options.out}")
    return 1 if failed or refused else 0


def known_algorithms() -> str:
    """Lines of the help: which algorithms there are, by extra, and who has which preset."""
    from llm_morl_agents.classic import ALGORITHMS

    rows = ALGORITHMS.values()
    lists = {
        "classic": [row.name for row in rows if row.library == "morl_baselines"],
        "sb3": [row.name for row in rows if row.library != "morl_baselines"],
    }
    for preset in dict.fromkeys(preset for row in rows for preset in row.presets if preset != "default"):
        lists[f"--preset {preset}"] = [row.name for row in rows if preset in row.presets]
    return "\n".join(f"  {name}: {' '.join(names)}" for name, names in lists.items())


def own_console() -> Console:
    """A console on what standard output is now: it goes on where what a library prints is dropped."""
    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=WIDTH)


def check_options(options: ClassicOptions) -> None:
    """Refuse numbers out of range and names that are unknown.

    Raises:
        UserError: If there is one.
    """
    from llm_morl_agents.classic import ALGORITHMS

    for name, least in (("seeds", 1), ("steps", 1), ("eval_problems", 4)):
        if getattr(options, name) < least:
            raise UserError(f"{name} must be at least {least}, got {getattr(options, name)}")
    if options.max_cpu_seconds is not None and not options.max_cpu_seconds > 0:
        raise UserError(f"max_cpu_seconds must be above 0, got {options.max_cpu_seconds}")
    unknown = [name for name in options.algo if name not in ALGORITHMS]
    if unknown or not options.algo:
        raise UserError(f"algo: unknown {unknown}; known are {', '.join(ALGORITHMS)}")
    if len(set(options.algo)) < len(options.algo):
        raise UserError(f"algo: each algorithm once, got {' '.join(options.algo)}")
    if len(without_preset(options)) == len(options.algo):
        having = {name: sorted(ALGORITHMS[name].presets) for name in options.algo}
        told = ", ".join(f"{' '.join(presets)} for {name}" for name, presets in having.items())
        raise UserError(f"preset must be one of {told}, got {options.preset!r}")


def without_preset(options: ClassicOptions) -> list[str]:
    """The algorithms that do not have the preset that was asked for."""
    from llm_morl_agents.classic import ALGORITHMS

    asked = options.preset
    return [name for name in options.algo if asked is not None and asked not in ALGORITHMS[name].presets]


def refusals(options: ClassicOptions) -> dict[str, str]:
    """Why algorithms cannot be trained on the view, by algorithm.

    Raises:
        ValueError: If the environment cannot be made.
    """
    import gymnasium as gym

    import llm_morl_env
    from llm_morl_agents.classic import assert_supported

    llm_morl_env.register()
    env = gym.make(options.env, view=options.view, **options.env_kwargs)
    if options.eval_split != "eval":
        gym.make(options.env, view=options.view, split=options.eval_split, **options.env_kwargs)
    found = {}
    for algo in options.algo:
        try:
            assert_supported(algo, env)
        except ValueError as error:
            found[algo] = str(error)
    return found


def check_same(run: Run) -> None:
    """Refuse to take a run of other options for this one.

    Raises:
        UserError: If the options that it was made with differ, or cannot be read.
    """
    with user_errors():
        before = json.loads((run.folder / RUN).read_text(encoding="utf-8"))
    changed = sorted(name for name in {*before, *run.plain} if before.get(name) != run.plain.get(name))
    if changed:
        name = changed[0]
        raise UserError(
            f"{run.folder} was made with {name}={before.get(name)!r}, not {run.plain.get(name)!r}: "
            "give another --out, or --overwrite"
        )


def begin(run: Run) -> None:
    """A fresh folder for a run, with its options.

    Raises:
        OSError: If it cannot be written.
    """
    if run.folder.exists():
        shutil.rmtree(run.folder)
    run.folder.mkdir(parents=True)
    (run.folder / RUN).write_text(json.dumps(run.plain, indent=1) + "\n", encoding="utf-8")


def train(run: Run, console: Console) -> ClassicResult:
    """Train one run, with a line of progress.

    Raises:
        ImportError: If its library is not installed.
        ValueError: If it cannot be trained on the view, or a setting is wrong.
        Exception: Whatever its library raises.
    """
    from llm_morl_agents.classic import train_classic

    options = run.options
    with _progress(console, run.name) as shown:
        return train_classic(
            run.algo,
            options.env,
            view=options.view,
            total_timesteps=options.steps,
            seed=run.seed,
            env_kwargs=options.env_kwargs,
            algo_kwargs=options.algo_kwargs,
            preset=run.preset,
            max_cpu_seconds=options.max_cpu_seconds,
            history=run.folder / HISTORY,
            progress=shown,
        )


def unfinished(run: Run, result: ClassicResult) -> str:
    """A line on a training that the time stopped while it still explored as its steps had it."""
    return (
        f"{run.name}: stopped by time after {result.steps:,} of {run.options.steps:,} steps: exploration goes over "
        f"{result.exploration_steps:,}; give --steps nearer to what the time allows"
    )


def evaluated(run: Run, result: ClassicResult) -> FrontRecord:
    """The run's front on held-out problems, written into its folder."""
    from llm_morl_agents.fronts.evaluation import evaluate_front
    from llm_morl_agents.fronts.record import FrontRecord, write_record

    options = run.options
    evaluation = evaluate_front(
        result.policies,
        options.env,
        n_episodes=options.eval_problems,
        split=options.eval_split,
        env_kwargs=options.env_kwargs,
    )
    record = FrontRecord(
        method=run.algo,
        kind="classic",
        env_id=options.env,
        env_kwargs=options.env_kwargs,
        view=options.view,
        seed=run.seed,
        steps=result.steps,
        cpu_seconds=result.cpu_seconds,
        evaluation=evaluation,
        settings={
            **result.settings,
            "total_timesteps": options.steps,
            "max_cpu_seconds": options.max_cpu_seconds,
        },
    )
    write_record(record, run.folder)
    return record


@contextlib.contextmanager
def _progress(console: Console, name: str) -> Iterator[Callable[[ClassicProgress], None]]:
    """A line that changes on a terminal, else a line now and then."""
    said = 0.0

    def described(row: ClassicProgress) -> str:
        mean = "" if row.mean_return is None else "  return " + " ".join(f"{value:.3f}" for value in row.mean_return)
        return f"{name}  {row.steps:,}/{row.total_timesteps:,} steps  {row.cpu_seconds:.0f} CPU-s{mean}"

    if console.is_terminal:
        with console.status(name) as status:
            yield lambda row: status.update(described(row))
        return

    def line(row: ClassicProgress) -> None:
        nonlocal said
        if time.monotonic() - said > LINE_SECONDS:
            said = time.monotonic()
            _say(console, described(row))

    yield line


def _failure(run: Run, error: Exception) -> str:
    """A line on a run that failed; the traceback goes into its folder."""
    place = run.folder / ERROR
    place.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    message = " ".join(str(error).split())
    return f"{run.name}: {type(error).__name__}{': ' if message else ''}{message} (traceback: {place})"


def _show(console: Console, records: Sequence[FrontRecord]) -> None:
    if not records:
        return
    about = records[0].evaluation
    table = Table(title=f"{records[0].env_id}, {len(about.problems)} problems of {about.split}, objectives on [0, 1]")
    for name in ("algorithm", "seed", "policies", "claimed\nhypervolume", "hypervolume", "expected\nutility"):
        table.add_column(name, justify="left" if name == "algorithm" else "right")
    for name in ("steps", "CPU-s"):
        table.add_column(name, justify="right")
    for record in sorted(records, key=lambda record: (record.method, record.seed)):
        evaluation = record.evaluation
        claimed = evaluation.claimed_hypervolume
        measured = [evaluation.measures[name] for name in ("hypervolume", "expected_utility")]
        table.add_row(
            record.method,
            str(record.seed),
            str(len(evaluation.labels)),
            "" if claimed is None else f"{claimed:.3f}",
            *(f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in measured),
            "" if record.steps is None else f"{record.steps:,}",
            "" if record.cpu_seconds is None else f"{record.cpu_seconds:.0f}",
        )
    console.print(table)


def _say(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
