"""What a view with few actions is worth without learning: its first option, always.

Shapes: n problems, N rows of a batch, K objectives.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_morl_agents.fronts.naming import key_of
from llm_morl_agents.fronts.record import FrontRecord
from llm_morl_env.candidates import GrammarCandidates
from llm_morl_env.envs.choice import source_of
from llm_morl_env.envs.step_vector import MOSyncVectorEnv

Floats = NDArray[np.float64]

#: Episodes that are played side by side, and problems whose candidates are prepared together.
ROWS = 32
#: Views whose actions have an order, the most likely first.
VIEWS = ("index", "choice")


@dataclass(frozen=True, eq=False)
class FirstOptionPolicy:
    """Takes action 0 always: of the index view what its ranking puts first, of the choice view the likeliest candidate.

    Where a frozen language model ranks, that is what the model says by itself. A learner has to beat it, not chance.

    Args:
        env_id: Of the environment.
        env_kwargs: Arguments of the view, the view itself among them: ``{"view": "index", "language_model": "tiny"}``.
        label: For tables; the view is named in it where none is given.
        weights: It serves no preference.
        claimed: It claims nothing.

    Raises:
        ValueError: If the view is neither ``"index"`` nor ``"choice"``.
    """

    env_id: str
    env_kwargs: Mapping[str, Any]
    label: str = ""
    weights: Floats | None = None
    claimed: Floats | None = None

    def __post_init__(self) -> None:
        view = self.env_kwargs.get("view")
        if view not in VIEWS:
            raise ValueError(f"FirstOptionPolicy(env_kwargs=) must have a view of {VIEWS}, got view={view!r}")
        if not self.label:
            object.__setattr__(self, "label", f"first option of {view}")

    def returns(self, problems: Sequence[int], *, split: str, seed: int) -> Floats:
        """Vector returns (n, K), each episode with a seed of its own. See `FrontPolicy.returns`."""
        numbers = [int(problem) for problem in problems]
        seeds = np.random.default_rng(seed).integers(2**31, size=len(numbers)).tolist()
        one_step = self.env_kwargs["view"] == "choice"
        envs = gym.make_vec(
            self.env_id,
            num_envs=1 if one_step else min(ROWS, len(numbers)),
            autoreset_mode="Disabled",
            **self.env_kwargs,
        )
        assert isinstance(envs, MOSyncVectorEnv)  # of these views
        if not one_step:
            return self._play(envs, numbers, seeds, split)
        parts = [slice(start, start + ROWS) for start in range(0, len(numbers), ROWS)]
        found = []
        for part in parts:
            envs.call("prepare", numbers[part], split)
            found.append(self._play(envs, numbers[part], seeds[part], split))
        return np.concatenate(found)

    def _play(self, envs: MOSyncVectorEnv, problems: Sequence[int], seeds: Sequence[int], split: str) -> Floats:
        """A row that ends takes the next problem; when none is left, its last one again, which is not counted."""
        n_rows = envs.num_envs
        returns = np.zeros((len(problems), envs.reward_dim))
        at, following = np.arange(n_rows), n_rows  # the episodes that rows play, by their places among the problems
        envs.reset(seed=list(seeds[:n_rows]), options={"problem": list(problems[:n_rows]), "split": split})
        playing = np.ones(n_rows, np.bool_)
        while playing.any():
            _, rewards, terminated, truncated, _ = envs.step(np.zeros(n_rows, np.int64))
            returns[at[playing]] += rewards[playing]
            over = terminated | truncated
            for row in np.flatnonzero(over & playing):
                playing[row] = following < len(problems)
                at[row], following = (following, following + 1) if playing[row] else (at[row], following)
            if over.any() and playing.any():
                again = [problems[place] for place in at[over].tolist()]
                envs.reset(
                    seed=[seeds[place] for place in at.tolist()],
                    options={"problem": again, "split": split, "reset_mask": over},
                )
        return returns


def first_options(records: Iterable[FrontRecord]) -> list[FirstOptionPolicy]:
    """What classic methods are compared with where a language model ranks what they choose from: its first option.

    One for each view whose first option is another; arguments of the view that do not change it are left out, and
    defaults that are spelled out count as defaults.

    Args:
        records: Of the methods. Those of other views, or of a view that no model ranks, have none.
    """
    found: dict[Hashable, FirstOptionPolicy] = {}
    for record in records:
        if record.kind == "classic" and _ranked_by_a_model(record):
            kwargs = {"view": record.view, **record.env_kwargs}
            if record.view == "index":
                kwargs["obs_mode"] = "features"
            for name in ("k", "ranking", "certainty") if record.view == "index" else ("n_problems",):
                kwargs.pop(name, None)
            found.setdefault(_key(kwargs), FirstOptionPolicy(record.env_id, kwargs))
    return list(found.values())


def _key(kwargs: Mapping[str, Any]) -> Hashable:
    """Equal for arguments of equal first options: defaults are filled in, and a path is that of the file."""
    told = {name: value for name, value in kwargs.items() if value is not None}
    if told["view"] == "choice":
        defaults = {p.name: p.default for p in inspect.signature(source_of).parameters.values() if p.name != "task"}
        told = {"candidates": "model", **{name: v for name, v in defaults.items() if v is not None}, **told}
        if told["candidates"] == "model":
            told = {"language_model": "tiny", **told, "temperature": float(told.get("temperature", 1))}
        else:
            del told["candidate_seed"]
    for name in ("candidates", "language_model"):
        if name in told and Path(str(told[name])).exists():
            told[name] = str(Path(str(told[name])).resolve())
    return key_of(told)


def _ranked_by_a_model(record: FrontRecord) -> bool:
    given = record.env_kwargs
    if record.view == "index":
        return given.get("language_model") is not None and given.get("ranking", "model") == "model"
    if record.view != "choice":
        return False
    if given.get("candidates") is not None or given.get("language_model") is not None:
        return given.get("candidates") != "grammar"
    env: Any = gym.make(record.env_id, **{**given, "view": "choice"})
    return not isinstance(env.unwrapped.source, GrammarCandidates)
