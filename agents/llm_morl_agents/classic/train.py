"""`train_classic`: a classic algorithm, a language task, one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_morl_agents.classic.algorithms import Job, resolve_algorithm
from llm_morl_agents.classic.clock import Clock, Progress
from llm_morl_agents.classic.environments import Maker
from llm_morl_agents.classic.recorder import History
from llm_morl_agents.classic.result import ClassicResult
from llm_morl_agents.classic.support import assert_supported


def train_classic(
    algo: str,
    env_id: str,
    *,
    view: str,
    total_timesteps: int,
    seed: int,
    env_kwargs: Mapping[str, Any] | None = None,
    algo_kwargs: Mapping[str, Any] | None = None,
    preset: str | None = None,
    max_cpu_seconds: float | None = None,
    scaled: bool = True,
    deterministic: bool = True,
    history: str | Path | None = None,
    progress: Progress | None = None,
) -> ClassicResult:
    """Train a classic algorithm on a view of a language task.

    Ctrl-C, like the end of the time, ends the training at the next step and keeps what was learned.

    Args:
        algo: A name of `llm_morl_agents.classic.algorithms.ALGORITHMS`.
        env_id: Registered id.
        view: ``"token"``, ``"index"`` or ``"choice"``.
        total_timesteps: Steps of the training environment; the library may overrun them by a part of its own loop.
            Schedules are laid out over them, unless ``algo_kwargs`` say otherwise: exploration (over the first half;
            over .4 of them for DQN, all of them for PQL), the size of replay buffers, GPI-LS's iterations (a tenth
            each), when MORL/D starts to learn (after a twentieth). Where ``max_cpu_seconds`` is to end the training,
            steps that are far more than the time allows leave it exploring to the end.
        seed: Of everything. Equal arguments give equal results, with ``max_cpu_seconds=None``.
        env_kwargs: More for ``gym.make``: ``obs_mode``, ``k``, ``language_model``, ``difficulty``, ...
        algo_kwargs: Over the preset: keywords of the algorithm's constructor and of its ``train``, and ``weights`` of a
            sweep. ``curvature`` bends the objectives that are learned on, see
            `llm_morl_agents.classic.environments.Curved`: dents of a front come within reach of linear weights.
        preset: Of the algorithm's row; None takes ``"default"``.
        max_cpu_seconds: End of the training in CPU-seconds of this process.
        scaled: Whether objectives are learned on [0, 1], by their declared bounds. What is given back is as the task
            pays in any case.
        deterministic: Whether stochastic policies play their most likely action when they are evaluated.
        history: File that gets the rows of the training, a line of JSON each.
        progress: Called about every CPU-second.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If a name or a number is out of range, or the algorithm cannot be trained on this view.
    """
    row = resolve_algorithm(algo)
    for name, value in (("total_timesteps", total_timesteps), ("seed", seed + 1)):
        if value < 1:
            raise ValueError(f"train_classic({name}=) is too small, got {locals()[name]!r}")
    if max_cpu_seconds is not None and not max_cpu_seconds > 0:
        raise ValueError(f"train_classic(max_cpu_seconds=) must be above 0 or None, got {max_cpu_seconds!r}")
    settings = row.settings(preset, algo_kwargs)
    curvature = float(settings.get("curvature", 0.0))
    maker = Maker(env_id, view, dict(env_kwargs or {}), scaled, curvature)
    assert_supported(row, maker.make())
    train = row.load()
    rows = History(history)
    clock = Clock(total_timesteps, rows, max_cpu_seconds=max_cpu_seconds, progress=progress)
    own = {name: value for name, value in settings.items() if name != "curvature"}
    trained = train(Job(row, maker, total_timesteps, seed, own, clock, rows, deterministic))
    return ClassicResult(
        algo=algo,
        env_id=env_id,
        view=view,
        seed=seed,
        policies=trained.policies,
        history=rows.rows,
        cpu_seconds=clock.cpu_seconds,
        steps=clock.steps,
        stopped=clock.stopped,
        low=maker.low,
        width=maker.width,
        settings=settings,
        env_kwargs=maker.env_kwargs,
        exploration_steps=row.exploration_steps(total_timesteps, settings),
        choose=trained.choose,
    )
