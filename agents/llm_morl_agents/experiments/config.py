"""Options of an experiment: dataclasses that are the command line, the TOML file and the record in the folder."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import tomli_w
import tyro

from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.settings import Settings

DEFAULT_ENV = "ToolCall-MO-v0"
DEFAULT_ARMS = ("gdpo:static", "gdpo:saw", "dvao")


def pairs_of(arguments: list[str]) -> dict[str, Any]:
    """``["a=1", "b=x"]`` as a mapping; values are Python literals where they can be read as one, else text.

    >>> pairs_of(["format=0.9", "name=abc"])
    {'format': 0.9, 'name': 'abc'}

    Raises:
        ValueError: If an argument has no ``=``.
    """
    pairs: dict[str, Any] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name:
            raise ValueError(f"{argument!r} is not of the form NAME=VALUE")
        try:
            pairs[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            pairs[name] = value
    return pairs


Pairs = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME=VALUE",
        instance_from_str=pairs_of,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [f"{name}={v}" for name, v in value.items()] or ["none"],
    ),
]


def _settings_flags() -> Any:
    """`Settings` as options that are absent unless given, so that agents keep their own defaults."""
    # `checkpoint_every` is an option of its own with another default.
    hints = get_type_hints(Settings)
    texts = dict(re.findall(r"^ {8}(\w+): ((?:.|\n {12})+)", Settings.__doc__ or "", flags=re.MULTILINE))
    flags = {}
    for f in fields(Settings):
        if f.name != "checkpoint_every":
            text = " ".join(texts[f.name].split()).replace("``", "")
            flags[f.name] = Annotated[
                hints[f.name], tyro.conf.arg(help=text, help_behavior_hint=f"(usually {f.default!r})")
            ]
    return TypedDict("SettingsFlags", flags, total=False)  # type: ignore[operator]  # made at run time


if TYPE_CHECKING:
    SettingsFlags = dict[str, Any]
else:
    SettingsFlags = _settings_flags()


@dataclass(frozen=True)
class TaskOptions:
    """Which problems and which objectives.

    Args:
        env: Id of a registered environment with vector rewards, as ``id`` or ``module:id``; ToolCall-MO-v0 unless
            ``rewards`` are given.
        difficulty: Tier of a built-in task: easy, standard (its default) or hard.
        objectives: Objectives by name, in the order wanted; the environment's default otherwise.
        data: Problems from a JSON Lines or Parquet file: in a public format for the environment (BFCL and RLLA for
            ToolCall-MO-v0), or with ``rewards`` one's own: columns prompt, target, meta.
        data_format: Name of the format of ``data``, where its columns do not tell it.
        rewards: One's own rewards as ``module:attribute``, importable from the working directory: a RewardVector or a
            list of functions declared with @reward. Every fifth row of ``data`` evaluates, the others train.
        tokenizer: Of the environment, which counts lengths: a tokenizer.json or its directory; the built-in one
            otherwise.
        max_response_tokens: A response is cut there, in tokens of the environment's tokenizer; the task's otherwise.
        transforms: Changes of the rewards, applied in order, each by its name in llm_morl_env.transforms with options
            (quote them for the shell): 'noisy(scale=0.5)'.
        env_kwargs: Further arguments of the environment, as NAME=VALUE.
    """

    env: str | None = None
    difficulty: str | None = None
    objectives: tuple[str, ...] | None = None
    data: Path | None = None
    data_format: str | None = None
    rewards: str | None = None
    tokenizer: Path | None = None
    max_response_tokens: int | None = None
    transforms: tuple[str, ...] = ()
    env_kwargs: Pairs = field(default_factory=dict)

    @property
    def task_name(self) -> str:
        """The id, or what stands for it where problems and rewards are the user's own."""
        return (self.env or DEFAULT_ENV) if self.rewards is None else f"{self.rewards} on {self.data}"


@dataclass(frozen=True)
class RunOptions(TaskOptions):
    """What every run of an experiment shares.

    Args:
        policies: The language model: tiny (the embedded one), scratch (a small random one over the environment's
            tokenizer, made with the run's seed), a transformers directory or a hub id. auto is tiny where that knows
            the environment's tokens, else scratch, at a learning rate of 0.003 unless one is given. Of several, seed s
            starts from the (s modulo their number)-th, so that the initial model varies with the seed.
        device: Where it lives.
        dtype: float32, bfloat16, float16 or auto.
        steps: Training steps of a run.
        prompts: Prompts in a step.
        group_size: Responses to each prompt.
        eval_every: Steps between evaluations; 0: at the start and the end only.
        eval_problems: Problems of the evaluation split that are scored, at most.
        eval_samples: Sampled answers to each of them, averaged; by default 1, or as many as make 256 answers in all
            where the split is smaller.
        checkpoint_every: Steps between checkpoints, from which a killed run resumes.
        rescale: Under agents whose step is as large as the weights (rloo, reinforce, dr_grpo), rescale every step's
            weights to one sum, so that arms differ by what they weigh and not by their learning rate.
        threads: Threads of torch in each process. 1 suits models of a few million parameters, which more make slower;
            give larger ones the cores.
        out: Folder that holds the folders of experiments.
        name: Name of this experiment's folder; made of the task and a digest of the options otherwise.
        overwrite: Delete what the folder holds of an earlier experiment, and begin anew.
        settings: Settings of the agents; an arm's own options come before them.
    """

    #: Of ``llm-morl``, with what continues an experiment that is there.
    command: ClassVar[str] = "train --resume"

    policies: Annotated[tuple[str, ...], tyro.conf.arg(name="policy")] = ("auto",)
    device: str = "cpu"
    dtype: str = "float32"
    steps: int = 80
    prompts: int = 16
    group_size: int = 8
    eval_every: int = 10
    eval_problems: int = 512
    eval_samples: int | None = None
    checkpoint_every: int = 10
    rescale: bool = True
    threads: int = 1
    out: Path = Path("runs")
    name: str | None = None
    overwrite: bool = False
    settings: Annotated[SettingsFlags, tyro.conf.arg(name="")] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "group_size", "eval_problems", "checkpoint_every", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.policies:
            raise UserError("policy: give at least one")
        if self.eval_samples is not None and self.eval_samples < 1:
            raise UserError(f"eval_samples must be at least 1, got {self.eval_samples}")
        if self.eval_every < 0:
            raise UserError(f"eval_every must be non-negative, got {self.eval_every}")
        if self.name is not None and (self.name in ("", "..") or Path(self.name).name != self.name):
            raise UserError(f"name must be the name of a folder, not a path, got {self.name!r}")

    def policy_of(self, seed: int) -> str:
        """The language model that a run with this seed starts from.

        >>> [RunOptions(policies=("a", "b")).policy_of(seed) for seed in range(3)]
        ['a', 'b', 'a']
        """
        return self.policies[seed % len(self.policies)]

    @property
    def folder(self) -> Path:
        """Where the experiment lives. Without a name the same options always mean the same folder."""
        if self.name is not None:
            return self.out / self.name
        task = Path(self.env or DEFAULT_ENV).name if self.rewards is None else self.rewards
        digest = hashlib.sha256(json.dumps(comparable(self), sort_keys=True).encode()).hexdigest()[:6]
        return self.out / f"{re.sub(r'[^a-z0-9]+', '-', task.lower()).strip('-')}-{digest}"


@dataclass(frozen=True)
class CompareOptions:
    """What is compared.

    Args:
        arms: What is compared, each as agent:weighter, options in parentheses (quote them for the shell):
            'gdpo:saw(ema=0.7)', 'gdpo(clip_low=0.1):static'; dvao stands alone. The first arm is the one that the
            others are compared with.
        seeds: Runs of each arm, with the seeds 0, 1, ...
        thresholds: Levels for "steps to threshold", as OBJECTIVE=VALUE; half-way from the start to the upper bound
            otherwise.
        jobs: Runs at a time; the number of usable CPUs otherwise.
        controls: Arms that say what a dynamic weighter's gain is owed to, any of: grid (static weights over the whole
            simplex), frozen (for each dynamic arm, its own mean weights held fixed; runs when that arm has finished),
            random (weights drawn anew at every step). The report says in words what each dynamic arm beats.
        grid_size: Static weight vectors of the control grid, at least: the smallest evenly spaced lattice on the
            simplex with so many, the corners (one objective alone) among them.
        preferences: Run every arm for so many preference vectors, at least (a lattice as above), and compare the
            fronts that the methods reach; 0 for none.
    """

    arms: tuple[str, ...] = DEFAULT_ARMS
    seeds: int = 3
    thresholds: Pairs = field(default_factory=dict)
    jobs: int | None = None
    controls: tuple[Literal["grid", "frozen", "random"], ...] = ()
    grid_size: int = 21
    preferences: int = 0


# The first base comes last: the command line shows the options of a command before those that all share.
@dataclass(frozen=True)
class CompareConfig(RunOptions, CompareOptions):
    """Several agents and weighters on one task."""

    command: ClassVar[str] = "compare"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds < 1:
            raise UserError(f"seeds must be at least 1, got {self.seeds}")
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"jobs must be at least 1, got {self.jobs}")
        if self.grid_size < 2:
            raise UserError(f"grid_size must be at least 2, got {self.grid_size}")
        if self.preferences < 0 or self.preferences == 1:
            raise UserError(f"preferences must be 0 or at least 2, got {self.preferences}")
        if self.preferences and "grid" in self.controls:
            raise UserError("preferences: the control grid is the front of a static arm; give --arms gdpo:static")
        check_numbers("thresholds", self.thresholds)


@dataclass(frozen=True)
class TrainOptions:
    """What is trained.

    Args:
        arm: What is trained, as agent:weighter, options in parentheses (quote them for the shell).
        seed: Of every random stream.
        resume: Continue the run in the folder.
        export: Write the trained policy there, as a transformers directory.
    """

    arm: str = "gdpo:saw"
    seed: int = 0
    resume: bool = False
    export: Path | None = None


@dataclass(frozen=True)
class TrainConfig(RunOptions, TrainOptions):
    """One agent with one weighter and one seed."""


#: Options that change neither the runs nor their results; a family is evaluated anew by every call.
INCIDENTAL = frozenset({"out", "name", "jobs", "thresholds", "export", "evaluation_preferences"})
#: Options that are meant for one call and never recorded.
TRANSIENT = frozenset({"overwrite", "resume"})
ConfigType = TypeVar("ConfigType", bound=TaskOptions)


def check_numbers(name: str, pairs: Mapping[str, Any]) -> None:
    """Refuse values that are not numbers."""
    for key, value in pairs.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(f"{name}: the value of {key!r} must be a number, got {value!r}")


def as_plain(config: TaskOptions) -> dict[str, Any]:
    """The options as TOML can hold them; those that are None are left out."""
    plain = {f.name: _plain(getattr(config, f.name)) for f in fields(config) if f.name not in TRANSIENT}
    return {name: value for name, value in plain.items() if value not in (None, {}, [])}


def comparable(config: TaskOptions) -> dict[str, Any]:
    """The plain options that the results depend on."""
    return {name: value for name, value in as_plain(config).items() if name not in INCIDENTAL}


def differing(config: TaskOptions, other: TaskOptions) -> list[str]:
    """Names of the options in which two experiments differ, as ``name: old -> new``; settings one by one."""
    mine, theirs = (_flattened(comparable(c)) for c in (config, other))
    keys = [key for key in {**theirs, **mine} if mine.get(key) != theirs.get(key)]
    return [f"{key}: {theirs.get(key, 'default')} -> {mine.get(key, 'default')}" for key in keys]


def write_toml(config: TaskOptions, path: Path, comment: str = "") -> None:
    """Write the options so that `read_toml` gives an equal object."""
    lines = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    path.write_text(lines + tomli_w.dumps(as_plain(config)), encoding="utf-8")


def read_toml(path: Path, cls: type[ConfigType]) -> ConfigType:
    """The options in a file; what it does not say has its default.

    Raises:
        UserError: If the file is missing or malformed, a key is unknown, or a value has the wrong type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    hints = get_type_hints(cls, include_extras=True)
    known = [f.name for f in fields(cls)]
    if "policy" in values and "policy" not in known and "policies" in known:  # as on the command line, or one text
        given = values.pop("policy")
        values = {"policies": given if isinstance(given, list) else [given], **values}
    unknown = [key for key in values if key not in known]
    if unknown:
        raise UserError(f"{path}: unknown key {unknown[0]!r}; known are {known}")
    try:
        return cls(**{name: _converted(name, value, hints[name]) for name, value in values.items()})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {key: "none" if v is None else _plain(v) for key, v in value.items()}
    return value


def _flattened(plain: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        flat.update({f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value})
    return flat


def _converted(name: str, value: Any, hint: Any) -> Any:
    """A TOML value as the annotated type wants it; `UserError` where it does not fit."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        if value == "none":
            return None
        hint = next(arm for arm in get_args(hint) if arm is not type(None))
    if hint is SettingsFlags:
        return _converted_settings(name, value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_converted(name, v, get_args(hint)[0]) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if get_origin(hint) is Literal:
        fits, wanted = value in get_args(hint), f"one of {list(get_args(hint))}"
    else:
        kind = get_origin(hint) or hint
        fits = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
        wanted = {tuple: "a list", dict: "a table", Path: "a text", str: "a text"}.get(kind, f"of type {kind.__name__}")
    if not fits:
        raise UserError(f"{name} must be {wanted}, got {value!r}")
    return value


def _converted_settings(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{name} must be a table, got {value!r}")
    hints = get_type_hints(SettingsFlags, include_extras=True)
    unknown = [key for key in value if key not in hints]
    if unknown:
        raise UserError(f"unknown key {name}.{unknown[0]}; known are {list(hints)}")
    return {key: _converted(f"{name}.{key}", v, hints[key]) for key, v in value.items()}
