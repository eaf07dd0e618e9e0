"""Where fronts come from: what ``front.json`` records, and the checkpoints of ``llm-morl compare`` and ``train``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from llm_morl_agents.experiments.compare import Job
from llm_morl_agents.experiments.config import DEFAULT_ENV
from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.results import read_experiment
from llm_morl_agents.experiments.runner import CHECKPOINT, FINISHED, METRICS, read_rows
from llm_morl_agents.families.table import env_kwargs_of, settings_of
from llm_morl_agents.fronts.baselines import LanguageModelPolicy
from llm_morl_agents.fronts.evaluation import VIEW_ARGUMENTS, evaluate_front
from llm_morl_agents.fronts.record import FRONT, FrontRecord, find_records, plain_settings, read_record, write_record
from llm_morl_agents.settings import Settings

CONFIG = "config.toml"
#: Where ``llm-morl front`` keeps what it evaluated, in its own folder.
RECORDS = "records"
#: Of the training that decide how a policy is sampled.
_SAMPLING = ("temperature", "top_p", "max_new_tokens", "stop")


@dataclass(frozen=True)
class Subject:
    """Which task a front belongs to: two ids of one spec are one environment, and views do not matter.

    Args:
        env_id: As it is registered.
        plain_kwargs: The task's arguments as JSON, sorted.
    """

    env_id: str
    plain_kwargs: str

    @classmethod
    def of(cls, env_id: str, env_kwargs: Mapping[str, Any]) -> Subject:
        """The task of an environment.

        Raises:
            UserError: If there is no such id, or an argument is no JSON value.
        """
        try:
            known = gym.spec(env_id).id
        except gym.error.Error as error:
            raise UserError(str(error)) from error
        kept = {name: value for name, value in env_kwargs.items() if name not in VIEW_ARGUMENTS}
        try:
            return cls(known, json.dumps(kept, sort_keys=True))
        except TypeError as error:
            raise UserError(f"env_kwargs of {env_id} must be JSON values, got {kept!r}") from error

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """The task's arguments."""
        kwargs: dict[str, Any] = json.loads(self.plain_kwargs)
        return kwargs

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.env_kwargs.items())
        return f"{self.env_id} ({told})" if told else self.env_id


@dataclass(frozen=True, eq=False)
class RecordSource:
    """A front that was evaluated already.

    Args:
        folder: Of its files.
        record: What they say.
    """

    folder: Path
    record: FrontRecord

    @property
    def subject(self) -> Subject:
        """Its task."""
        return Subject.of(self.record.env_id, self.record.env_kwargs)


@dataclass(frozen=True, eq=False)
class RunsSource:
    """Finished runs of one arm and one seed, a policy for each preference, to be evaluated from their checkpoints.

    Args:
        folder: Of the experiment.
        method: The arm without its preference.
        seed: Of the runs.
        jobs: The runs.
        subject: Their task.
        settings: Of their training, see `FrontRecord`.
    """

    folder: Path
    method: str
    seed: int
    jobs: tuple[Job, ...]
    subject: Subject
    settings: Mapping[str, Any]

    def record(self, place: Path, *, n_episodes: int, split: str, seeds: Sequence[int]) -> FrontRecord:
        """The front of these runs; kept in ``place`` and taken from there where it is newer than the checkpoints."""
        kept = place / FRONT
        written = max((job.folder / CHECKPOINT).stat().st_mtime_ns for job in self.jobs)
        if kept.is_file() and kept.stat().st_mtime_ns > written:
            record = read_record(place)
            about = record.evaluation
            subject = Subject.of(record.env_id, record.env_kwargs)
            mine = self.method, self.seed, self.subject, plain_settings(self.settings)
            same = (record.method, record.seed, subject, record.settings) == mine
            if same and (about.split, about.seeds) == (split, tuple(seeds)) and len(about.problems) >= n_episodes:
                return record
        rows = [row for job in self.jobs for row in read_rows(job.folder / METRICS) if row["kind"] == "step"]
        kwargs = self.subject.env_kwargs
        record = FrontRecord(
            method=self.method,
            kind="language model",
            env_id=self.subject.env_id,
            env_kwargs=kwargs,
            view="text",
            seed=self.seed,
            steps=len(rows),
            cpu_seconds=sum(float(row["cpu_seconds"]) for row in rows),
            evaluation=evaluate_front(
                [self._policy(job) for job in self.jobs],
                self.subject.env_id,
                n_episodes=n_episodes,
                seeds=seeds,
                split=split,
                env_kwargs=kwargs,
            ),
            settings=self.settings,
        )
        write_record(record, place)
        return record

    def _policy(self, job: Job) -> LanguageModelPolicy:
        from llm_morl_agents.checkpoint import load_trained_policy

        facts = json.loads((job.folder / FINISHED).read_text(encoding="utf-8"))
        settings = Settings(**{name: facts["settings"][name] for name in _SAMPLING})
        env = gym.make(self.subject.env_id, view="text", **self.subject.env_kwargs)
        cap = env.unwrapped.task.max_response_tokens  # type: ignore[attr-defined]  # not in Gymnasium
        preference = job.arm.options.get("preference")
        weights = None if preference is None else np.array(preference, np.float64) / float(np.sum(preference))
        return LanguageModelPolicy(
            load_trained_policy(job.folder / CHECKPOINT),
            self.subject.env_id,
            self.subject.env_kwargs,
            settings.sampling(default_max_new_tokens=cap),
            label=job.arm.text if weights is None else f"weights {' '.join(f'{w:.3g}' for w in weights)}",
            weights=weights,
        )


Source = RecordSource | RunsSource


def find_sources(folders: Sequence[Path]) -> tuple[list[Source], list[str]]:
    """Every front at and below some folders.

    Args:
        folders: Of ``llm-morl classic``, ``family``, ``compare``, ``train``, or what holds several of them. Records of
            ``llm-morl front`` itself are passed over.

    Returns:
        The fronts, in the order of folders and names, and lines about what was left out.

    Raises:
        UserError: If a folder does not exist or holds no front, or a file of one is malformed.
    """
    sources: list[Source] = []
    remarks: list[str] = []
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")
        records = [path for path in find_records(folder) if path.parent.name != RECORDS]
        inside = [path.parent for path in sorted(folder.rglob(CONFIG))]
        experiments = [
            path
            for path in inside
            if _is_experiment(path) and not any(path.is_relative_to(record) for record in records)
        ]
        if not records and not experiments:
            raise UserError(
                f"{folder} holds no front: neither {FRONT} (of llm-morl classic and llm-morl family) nor an experiment "
                "of llm-morl compare or llm-morl train"
            )
        for path in records:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                sources.append(RecordSource(path, read_record(path)))
        for path in experiments:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                found, more = _experiment_sources(path)
                sources += found
                remarks += more
    return sources, remarks


def _is_experiment(folder: Path) -> bool:
    try:
        values = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
    return "arms" in values or ("arm" in values and "kind" not in values)


def _experiment_sources(folder: Path) -> tuple[list[RunsSource], list[str]]:
    config, jobs = read_experiment(folder)
    if config.rewards is not None:
        return [], [f"{folder} was left out: its rewards are no registered environment's"]
    subject = Subject.of(config.env or DEFAULT_ENV, env_kwargs_of(config))
    groups: dict[tuple[str, int], list[Job]] = {}
    for job in jobs:
        if job.finished:
            groups.setdefault((job.arm.method, job.seed), []).append(job)
    unfinished = sum(not job.finished for job in jobs)
    remarks = [f"{folder}: {unfinished} runs are not finished, and left out"] if unfinished else []
    settings = settings_of(config)
    sources = [RunsSource(folder, name, seed, tuple(of), subject, settings) for (name, seed), of in groups.items()]
    return sources, remarks
