"""`MOSyncVectorEnv`: a batch of environments that step one by one, with vector rewards and every autoreset mode.

Shapes: N environments, K objectives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from numpy.typing import NDArray

from llm_morl_env.envs.reading import ContextReader, ReadingEnv
from llm_morl_env.wrappers.declared import declared

Env = gym.Env[Any, Any]
BoolArray = NDArray[np.bool_]


class MOSyncVectorEnv(VectorEnv[Any, Any, NDArray[Any]]):
    """N environments with vector rewards, stepped in turn: rewards (N, K), and an autoreset mode that is chosen.

    ## Description
    What MO-Gymnasium's ``MOSyncVectorEnv`` is, on every Gymnasium from 1.2 on: any environments with vector rewards
    that share their spaces. Rows are exactly what the environments return when they are stepped one by one
    (what a language model says of a batch, up to rounding: numbers about 1 of the embedded one move by some 1e-5).

    Where all of them are a `ReadingEnv` with the same language model (``view="token"`` with ``obs_mode="embed"``, and
    ``view="index"``), the model reads for all rows in one batch. Under wrappers other than those of ``gym.make`` it
    reads row by row.

    For processes instead, Gymnasium's own ``AsyncVectorEnv`` takes vector rewards under one of its modes alone:
    ``AsyncVectorEnv(env_fns, shared_memory=False, autoreset_mode="SameStep")``.

    ## Observation Space
    That of the environments, batched by ``gymnasium.vector.utils.batch_space``; fresh arrays in every call.

    ## Action Space
    Batched likewise: N actions. `action_masks` stacks those of the environments, bool (N, ...);
    ``info["action_mask"]`` too.

    ## Reward Space
    ``reward_space``, and ``return_space``, ``reward_dim`` and ``objective_names`` where there are: of one row. `step`
    returns float32 (N, K).

    ## Starting State
    ``reset(seed=s)`` seeds row i with s + i, a list of N each with its own. Of ``options``, a sequence under
    ``"problem"`` has one entry for each row that is reset; all else goes to every row as it is. Automatic resets have
    no options.

    ## Episode Termination
    As in the environments. Then, by ``autoreset_mode``: ``NEXT_STEP`` (the default, as in Gymnasium): the next `step`
    ignores the row's action, resets it, and returns zero rewards for it. ``SAME_STEP``: it is reset at once, and its
    last observation and info stand in ``info["final_obs"]`` and ``info["final_info"]``. ``DISABLED``: the caller
    resets, some rows by ``options={"reset_mask": bool (N,)}``; `step` is an error before.

    ## Info
    What the environments say, each key as an array (N, ...) beside its Gymnasium mask ``"_key"``.

    ## Arguments
    env_fns: N functions that make the environments.
    autoreset_mode: ``"NextStep"``, ``"SameStep"`` or ``"Disabled"``, or the `AutoresetMode`.

    ## Credits
    MO-Gymnasium's ``MOSyncVectorEnv`` (Felten et al. 2023); Gymnasium's ``SyncVectorEnv``, whose modes these are.
    """

    def __init__(
        self,
        env_fns: Iterable[Callable[[], Env]],
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.envs: list[Env] = [make() for make in env_fns]
        if not self.envs:
            raise ValueError("MOSyncVectorEnv(env_fns=) must hold at least one function, got none")
        self.num_envs, first = len(self.envs), self.envs[0]
        for row, env in enumerate(self.envs):
            for name in ("observation_space", "action_space"):
                if getattr(env, name) != getattr(first, name):
                    raise ValueError(
                        f"MOSyncVectorEnv(env_fns=): environments must share their spaces; {name} of row {row} is "
                        f"{getattr(env, name)}, of row 0 {getattr(first, name)}"
                    )
        space = declared(first, "reward_space")
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise ValueError(
                f"MOSyncVectorEnv(env_fns=): {first} must declare reward_space, a Box (K,), got {space!r}; "
                "environments with one reward have gymnasium.vector.SyncVectorEnv"
            )
        self.reward_space: Box = space
        self.reward_dim = int(space.shape[0])
        self.return_space, self.objective_names = declared(first, "return_space"), declared(first, "objective_names")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**first.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode, self.spec = first.render_mode, first.spec
        self.single_observation_space, self.single_action_space = first.observation_space, first.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._seen: list[tuple[Any, dict[str, Any]]] = [(None, {})] * self.num_envs
        self._begun, self._ended = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        self._parts, self._reader = _read_together(self.envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all rows, or those of ``options["reset_mask"]``.

        Args:
            seed: Of row 0, the others count on from it; or one for each row.
            options: For the environments; see the class for ``"problem"`` and ``"reset_mask"``.

        Returns:
            N observations (of rows that were not reset, the ones before), and the info of the rows that were.

        Raises:
            ValueError: If there are not N seeds, or an option does not fit.
        """
        seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        seeds = [None] * self.num_envs if seeds is None else list(seeds)
        if len(seeds) != self.num_envs:
            raise ValueError(f"reset(seed=) must be one int or {self.num_envs} of them, got {seed!r}")
        rest = dict(options or {})
        rows = self._masked_rows(rest.pop("reset_mask", None))
        for row, row_options in zip(rows, _options_by_row(rest, len(rows)), strict=True):
            self._begin(row, seed=seeds[row], options=row_options if options is not None else None)
        self._look(rows)
        self._begun[rows], self._ended[rows] = True, False
        infos: dict[str, Any] = {}
        for row in rows:
            infos = self._add_info(infos, self._seen[row][1], row)
        return self._observations(), infos

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Step every row, or reset it where its turn has come.

        Returns:
            N observations, rewards float32 (N, K), terminated, truncated, info.

        Raises:
            RuntimeError: If a row has no running episode and is not reset by itself.
            ValueError: If there are not N actions.
        """
        by_row = list(iterate(self.action_space, actions))
        if len(by_row) != self.num_envs:
            raise ValueError(f"MOSyncVectorEnv.step: needs {self.num_envs} actions, got {len(by_row)}")
        over = ~self._begun if self.autoreset_mode is AutoresetMode.NEXT_STEP else ~self._begun | self._ended
        if over.any():
            raise RuntimeError(
                f"MOSyncVectorEnv.step: {int(over.sum())} of {self.num_envs} rows have no running episode, call reset "
                "first"
            )
        rewards = np.zeros((self.num_envs, self.reward_dim), np.float32)
        terminated, truncated = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        for row, action in enumerate(by_row):
            if self._ended[row]:
                self._begin(row)
            else:
                rewards[row], terminated[row], truncated[row] = self._advance(row, action)
        later, ended = self._look(range(self.num_envs))
        rewards, terminated = rewards + later, terminated | ended
        self._ended = terminated | truncated
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._ended.any():
            infos = self._reset_ended()
        for row, (_, info) in enumerate(self._seen):
            infos = self._add_info(infos, info, row)
        return self._observations(), rewards, terminated, truncated, infos

    def _reset_ended(self) -> dict[str, Any]:
        """Reset the rows that ended; infos with how they ended."""
        infos: dict[str, Any] = {}
        rows = np.flatnonzero(self._ended).tolist()
        for row in rows:
            observation, info = self._seen[row]
            infos = self._add_info(infos, {"final_obs": observation, "final_info": info}, row)
            self._begin(row)
        self._look(rows)
        self._ended[:] = False
        return infos

    def _begin(self, row: int, **kwargs: Any) -> None:
        if self._reader is None:
            self._seen[row] = self.envs[row].reset(**kwargs)
        else:
            self._parts[row].begin(**kwargs)

    def _advance(self, row: int, action: Any) -> tuple[NDArray[np.float32], bool, bool]:
        if self._reader is None:
            observation, rewards, terminated, truncated, info = self.envs[row].step(action)
            self._seen[row] = observation, info
            return np.asarray(rewards), terminated, truncated
        return *self._parts[row].advance(action), False

    def _look(self, rows: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Where a model reads for all, observe rows that have made their transition.

        Returns:
            Rewards (N, K) and ends (N,) of what rows wrote on without a decision.
        """
        rewards, ended = np.zeros((self.num_envs, self.reward_dim), np.float32), np.zeros(self.num_envs, np.bool_)
        waiting = list(rows) if self._reader is not None else []
        while self._reader is not None and waiting:
            parts, again = [self._parts[row] for row in waiting], []
            for row, part, reading in zip(waiting, parts, self._reader.read(waiting, parts), strict=True):
                written = part.write_on(reading)
                if written is None:
                    self._seen[row] = part.observe(reading)
                else:
                    rewards[row] += written[0]
                    ended[row] |= written[1]
                    again.append(row)
            waiting = again
        return rewards, ended

    def _masked_rows(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        rows = np.asarray(mask)
        if rows.dtype != np.bool_ or rows.shape != (self.num_envs,) or not rows.any():
            raise ValueError(f"reset(options=): 'reset_mask' must be bool ({self.num_envs},) with a True, got {mask!r}")
        if not (rows | self._begun).all():
            raise ValueError(f"reset(options=): 'reset_mask' leaves out rows that were never reset, got {mask!r}")
        return [int(row) for row in np.flatnonzero(rows)]

    def _observations(self) -> Any:
        empty = create_empty_array(self.single_observation_space, n=self.num_envs, fn=np.zeros)
        seen = [observation for observation, _ in self._seen]
        return concatenate(self.single_observation_space, seen, cast(Any, empty))

    @property
    def np_random_seed(self) -> Any:
        """Seeds of the environments' generators."""
        return self.get_attr("np_random_seed")

    @property  # type: ignore[misc]  # without a setter, as in Gymnasium's own batches
    def np_random(self) -> Any:
        """The environments' generators."""
        return self.get_attr("np_random")

    def action_masks(self) -> BoolArray:
        """The environments' action masks, stacked: bool (N, ...), a fresh array."""
        return np.stack(self.call("action_masks"))

    def render(self) -> tuple[Any, ...]:
        """What the environments render."""
        return tuple(env.render() for env in (self._parts or self.envs))

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment, or get an attribute of each."""
        found = [env.get_wrapper_attr(name) for env in self.envs]
        return tuple(value(*args, **kwargs) if callable(value) else value for value in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of each environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each environment: one value for all, or a list or tuple of N.

        Raises:
            ValueError: If a list or tuple has another length.
        """
        each = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(each) != self.num_envs:
            raise ValueError(f"set_attr({name!r}): needs {self.num_envs} values, got {len(each)}")
        for env, value in zip(self.envs, each, strict=True):
            env.set_wrapper_attr(name, value)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()


def _read_together(envs: Sequence[Env]) -> tuple[list[ReadingEnv[Any, Any]], ContextReader | None]:
    """The environments in two phases, and one reader for all; none where they do not share a language model."""
    parts: list[ReadingEnv[Any, Any]] = []
    for env in envs:
        while isinstance(env, OrderEnforcing | PassiveEnvChecker):
            env = env.env
        if not isinstance(env, ReadingEnv) or env.language_model is None:
            return [], None
        parts.append(env)
    if any(part.language_model is not parts[0].language_model for part in parts):
        return [], None
    return parts, ContextReader(parts)


def _options_by_row(options: Mapping[str, Any], n_rows: int) -> list[dict[str, Any]]:
    """The options of each row: a sequence under ``"problem"`` has one entry a row."""
    problems = options.get("problem")
    if problems is None or np.ndim(problems) == 0:
        return [dict(options) for _ in range(n_rows)]
    if len(problems) != n_rows:
        raise ValueError(f"reset(options=): 'problem' must hold {n_rows} int(s), one a row, got {problems!r}")
    return [{**options, "problem": problem} for problem in problems]
