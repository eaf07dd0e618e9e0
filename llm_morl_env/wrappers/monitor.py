"""`MOMonitor`: what an episode earned, as a number and as a vector, for Stable-Baselines3 and its log files."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from llm_morl_env.wrappers.declared import declared
from llm_morl_env.wrappers.record import KEY, ActType, ObsType, RecordVectorReturn

#: How the names of Stable-Baselines3's log files end.
FILE_NAME = "monitor.csv"


class MOMonitor(RecordVectorReturn[ObsType, ActType]):
    """Episode statistics of a scalarised environment: the scalar where single-objective libraries look, and the vector.

    At the end of each episode ``info["episode"]`` has what Stable-Baselines3 reads (``r``, the return of the scalar
    reward, ``l`` and ``t``, the seconds since the monitor was made), and ``info["mo_episode"]`` the vector return, see
    `RecordVectorReturn`. Stable-Baselines3 puts its own ``Monitor`` around an environment that it is handed, and writes
    ``info["episode"]`` anew; ``info["mo_episode"]`` survives, and so do the queues of this wrapper
    (``model.get_env().get_attr("return_queue")``).

    Args:
        env: An environment whose info holds ``"vector_reward"``: under `ScalarizedReward` or `WeightConditioned`.
        filename: A CSV file with a row for each episode: ``r, l, t`` and a column for each objective, which
            ``stable_baselines3.common.monitor.load_results`` reads. As there, a directory gets a ``monitor.csv``, and
            other names get the ending ``.monitor.csv``. A file that is there is overwritten. None writes none.
        gamma: Discount of ``info["mo_episode"]["dr"]``, in [0, 1].
        buffer_length: How many episodes the queues hold.
        timed: Whether infos say ``t``. It differs from run to run: without it infos are reproducible. The file has it.

    Attributes:
        path: Of the file, or None.

    Raises:
        TypeError: If the environment has no such reward space.
        ValueError: If an argument is out of its range; in `step`, if the info holds no vector, or the statistics are
            there already.

    >>> import gymnasium as gym, llm_morl_env
    >>> from llm_morl_env.wrappers import ScalarizedReward
    >>> env = MOMonitor(ScalarizedReward(gym.make("ToolCall-MO-v0", view="text")), timed=False)
    >>> _ = env.reset(seed=0)
    >>> info = env.step("no call")[4]
    >>> info["episode"], info["mo_episode"]["r"].tolist()
    ({'r': -2.0, 'l': 1}, [0.0, -3.0, 1.0])
    """

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        filename: str | None = None,
        *,
        gamma: float = 1.0,
        buffer_length: int = 100,
        timed: bool = True,
    ) -> None:
        named = None if filename is None else str(filename)
        gym.utils.RecordConstructorArgs.__init__(
            self, filename=named, gamma=gamma, buffer_length=buffer_length, timed=timed
        )
        super().__init__(env, gamma, buffer_length=buffer_length, timed=timed)
        names = declared(env, "objective_names") or tuple(f"objective_{k}" for k in range(self._shape[0]))
        self._columns = ("r", "l", "t", *names)
        self._made = time.time()
        self._scalar_return = 0.0
        self.path = None if named is None else _file_of(named)
        if self.path is not None:
            self._begin_file(self.path)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Begin an episode; an unfinished one is forgotten."""
        self._scalar_return = 0.0
        return super().reset(seed=seed, options=options)

    def step(self, action: ActType) -> tuple[ObsType, Any, bool, bool, dict[str, Any]]:
        """Step; the reward is that of the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "vector_reward" not in info:
            raise ValueError(
                "MOMonitor.step: needs info['vector_reward'], as llm_morl_env.wrappers.ScalarizedReward and "
                f"WeightConditioned give it, got the keys {sorted(info)}"
            )
        self._scalar_return += float(reward)
        info = self._recorded(info["vector_reward"], terminated or truncated, info)
        if terminated or truncated:
            info = {**info, "episode": self._episode(info[KEY])}
        return observation, reward, terminated, truncated, info

    def _episode(self, statistics: dict[str, Any]) -> dict[str, Any]:
        """Statistics of the scalar return; writes the row of the file."""
        seconds = round(time.time() - self._made, 6)
        said = {"r": round(self._scalar_return, 6), "l": statistics["l"]}
        if self.path is not None:
            numbers = [said["r"], said["l"], seconds, *np.round(statistics["r"], 6).tolist()]
            with self.path.open("a", newline="") as file:  # not kept open: the environment stays picklable
                csv.writer(file, lineterminator="\n").writerow(numbers)
        return {**said, "t": seconds} if self.timed else said

    def _begin_file(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"t_start": self._made, "env_id": str(self.env.spec.id if self.env.spec else None)}
        with path.open("w", newline="") as file:
            file.write(f"#{json.dumps(about)}\n")
            csv.writer(file, lineterminator="\n").writerow(self._columns)


def _file_of(filename: str) -> Path:
    """Where Stable-Baselines3's ``Monitor`` would write.

    >>> _file_of("runs/ppo").name, _file_of("runs/0.monitor.csv").name
    ('ppo.monitor.csv', '0.monitor.csv')
    """
    path = Path(filename)
    if filename.endswith(FILE_NAME):
        return path.absolute()
    return (path / FILE_NAME if path.is_dir() else path.with_name(f"{path.name}.{FILE_NAME}")).absolute()
