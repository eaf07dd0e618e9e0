"""Ids, and the functions behind them. The tables are read-only and in plain sight.

Tasks and views are named by import path, so that importing this module loads neither the rewards' scipy nor any task.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from gymnasium.vector import AutoresetMode

    from llm_morl_env.envs.base import TaskEnv
    from llm_morl_env.envs.step_vector import MOSyncVectorEnv
    from llm_morl_env.envs.vector import TextVectorEnv
    from llm_morl_env.language_model import LanguageModel
    from llm_morl_env.task import Task, TransformLike
    from llm_morl_env.tokenizer import TextTokenizer
    from llm_morl_rewards import Problem, RewardVector

#: Makers of tasks, by the ``task=`` keyword of the ids.
TASKS: Mapping[str, str] = MappingProxyType(
    {
        "toolcall": "llm_morl_env.tasks.toolcall:toolcall_task",
        "toolcall-multiturn": "llm_morl_env.tasks.toolworld:toolcall_multiturn_task",
        "summarize": "llm_morl_env.tasks.summarize:summarize_task",
        "mathreasoning": "llm_morl_env.tasks.mathreasoning:mathreasoning_task",
        "safeassist": "llm_morl_env.tasks.safeassist:safeassist_task",
        "mixture": "llm_morl_env.tasks.mixture:mixture_task",
        "countsfront": "llm_morl_env.tasks.counts_front:counts_front_task",
        "dentfront": "llm_morl_env.tasks.dent_front:dent_front_task",
        "contextfront": "llm_morl_env.tasks.context_front:context_front_task",
        "unlock": "llm_morl_env.tasks.unlock:unlock_task",
        "lengthtrap": "llm_morl_env.tasks.length_trap:length_trap_task",
    }
)
#: Environments of one episode at a time, by ``view=``.
VIEWS: Mapping[str, str] = MappingProxyType(
    {
        "token": "llm_morl_env.envs.token:TokenEnv",
        "text": "llm_morl_env.envs.text:TextEnv",
        "index": "llm_morl_env.envs.index:IndexEnv",
        "choice": "llm_morl_env.envs.choice:ChoiceEnv",
    }
)
#: Batched environments, by ``view=``.
VECTOR_VIEWS: Mapping[str, str] = MappingProxyType(
    {
        "text": "llm_morl_env.envs.vector:TextVectorEnv",
        "token": "llm_morl_env.envs.step_vector:MOSyncVectorEnv",
        "index": "llm_morl_env.envs.step_vector:MOSyncVectorEnv",
        "choice": "llm_morl_env.envs.step_vector:MOSyncVectorEnv",
    }
)
#: The same of tasks with a dialogue.
DIALOGUE_VIEWS: Mapping[str, str] = MappingProxyType(
    {
        "token": "llm_morl_env.envs.dialogue_token:DialogueTokenEnv",
        "text": "llm_morl_env.envs.dialogue:DialogueEnv",
        "index": "llm_morl_env.envs.index:IndexEnv",
    }
)
DIALOGUE_VECTOR_VIEWS: Mapping[str, str] = MappingProxyType(
    {
        "text": "llm_morl_env.envs.dialogue_vector:DialogueVectorEnv",
        "token": "llm_morl_env.envs.step_vector:MOSyncVectorEnv",
        "index": "llm_morl_env.envs.step_vector:MOSyncVectorEnv",
    }
)
#: Keywords of `make_env` and `make_vector_env` that belong to views, by view; all others are the task's.
VIEW_KEYWORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "token": ("obs_mode", "language_model"),
        "text": (),
        "index": ("obs_mode", "language_model", "k", "ranking", "certainty"),
        "choice": ("language_model", "k", "candidates", "n_problems", "temperature", "candidate_seed"),
    }
)
#: Task by id. A change of a task's prompts, rewards or tokenizer is a new version of its id.
IDS: Mapping[str, str] = MappingProxyType(
    {
        "ToolCall-MO-v0": "toolcall",
        "ToolCall-MultiTurn-MO-v0": "toolcall-multiturn",
        "Summarize-MO-v0": "summarize",
        "MathReasoning-MO-v0": "mathreasoning",
        "SafeAssist-MO-v0": "safeassist",
        "Mixture-MO-v0": "mixture",
        "CountsFront-MO-v0": "countsfront",
        "DentFront-MO-v0": "dentfront",
        "ContextFront-MO-v0": "contextfront",
        "Unlock-MO-v0": "unlock",
        "LengthTrap-MO-v0": "lengthtrap",
    }
)
#: Second names, in MO-Gymnasium's habit of lower case.
ALIASES: Mapping[str, str] = MappingProxyType({f"mo-{task}-v0": env_id for env_id, task in IDS.items()})


def register() -> None:
    """Register the ids with Gymnasium; an alias shares the spec of its id. Ids that are there already stay."""
    for env_id, task in IDS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=f"{__name__}:make_env",
                vector_entry_point=f"{__name__}:make_vector_env",
                disable_env_checker=True,  # it warns of vector rewards
                kwargs={"task": task},
            )
    for alias, env_id in ALIASES.items():
        gym.registry.setdefault(alias, gym.registry[env_id])


def make_env(
    *,
    task: str,
    view: str = "token",
    split: str = "train",
    render_mode: str | None = None,
    obs_mode: str | None = None,
    language_model: str | LanguageModel | None = None,
    k: int | None = None,
    ranking: str | None = None,
    certainty: float | None = None,
    candidates: str | None = None,
    n_problems: int | None = None,
    temperature: float | None = None,
    candidate_seed: int | None = None,
    **task_kwargs: Any,
) -> TaskEnv[Any, Any]:
    """Make an environment of one episode at a time; the ids' entry point.

    Keywords that belong to views (see `VIEW_KEYWORDS`) are None by default: the view's own default holds.

    Args:
        task: Name of the task, see `TASKS`.
        view: See `VIEWS`, and `DIALOGUE_VIEWS` for tasks of several turns.
        split: Split that `reset` draws from unless its options say otherwise.
        render_mode: None, ``"ansi"`` or ``"human"``.
        obs_mode: What is observed: of the token view ``"ids"`` (its default), ``"onehot"`` or ``"embed"``.
        language_model: A frozen model that the view reads or writes with: ``"tiny"``, the path of a model's directory,
            or a `LanguageModel`; see `llm_morl_env.language_model.resolve_language_model`.
        k: Number of options or candidates to choose from.
        ranking: What the index view orders its options by.
        certainty: From which probability on a token is no decision of the index view.
        candidates: Where the choice view has its candidates from.
        n_problems: How many problems the choice view draws from.
        temperature: At which the choice view's candidates are written.
        candidate_seed: Of the choice view's candidates.
        task_kwargs: For the task's maker, ``transforms`` among them.

    Raises:
        ValueError: If a name is unknown, or a keyword is given to a view that it does not belong to.
        TypeError: If the task knows no such keyword.
    """
    made = make_task(task, **task_kwargs).with_split(split)
    kwargs = view_keywords(
        view,
        obs_mode=obs_mode,
        language_model=language_model,
        k=k,
        ranking=ranking,
        certainty=certainty,
        candidates=candidates,
        n_problems=n_problems,
        temperature=temperature,
        candidate_seed=candidate_seed,
    )
    env: TaskEnv[Any, Any] = view_class(made, view)(made, render_mode=render_mode, **kwargs)
    return env


def view_keywords(view: str, **given: Any) -> dict[str, Any]:
    """Those of the keywords of views that were given, not None.

    Raises:
        ValueError: If one does not belong to the view.

    >>> view_keywords("token", obs_mode="ids", language_model=None)
    {'obs_mode': 'ids'}
    """
    kwargs = {keyword: value for keyword, value in given.items() if value is not None}
    known = VIEW_KEYWORDS.get(view)
    for keyword, value in kwargs.items():
        if known is not None and keyword not in known:
            owners = " or ".join(f"view={name!r}" for name, keywords in VIEW_KEYWORDS.items() if keyword in keywords)
            raise ValueError(f"{keyword}={value!r} belongs to {owners}, got view={view!r}")
    return kwargs


def make_vector_env(
    num_envs: int = 1,
    *,
    task: str,
    group_size: int = 1,
    view: str = "text",
    split: str = "train",
    render_mode: str | None = None,
    autoreset_mode: str | AutoresetMode | None = None,
    **kwargs: Any,
) -> TextVectorEnv | MOSyncVectorEnv:
    """Make a batched environment; the ids' vector entry point (``gym.make_vec``).

    The text view has a batched environment of its own, with groups. Of the other views it is a
    `llm_morl_env.envs.step_vector.MOSyncVectorEnv` of single ones, for which a language model reads in one batch.

    Args:
        num_envs: Rows of a batch, a multiple of ``group_size``.
        task: Name of the task, see `TASKS`.
        group_size: Rows that share a prompt; more than 1 in the text view alone.
        view: See `VECTOR_VIEWS`, and `DIALOGUE_VECTOR_VIEWS` for tasks of several turns.
        split: Split that `reset` draws from unless its options say otherwise.
        render_mode: None, ``"ansi"`` or ``"human"``.
        autoreset_mode: Of the text view, ``"SameStep"`` or ``"Disabled"``; by default the first, and for tasks of
            several turns, whose groups reset together, the second, which is all they know. Of the other views,
            ``"NextStep"`` (the default), ``"SameStep"`` or ``"Disabled"``.
        kwargs: Keywords of the view, as `make_env` has them; all others for the task's maker.

    Raises:
        ValueError: If a name is unknown, a keyword is given to a view that it does not belong to, or ``num_envs`` is no
            positive multiple of ``group_size``.
        TypeError: If the task knows no such keyword.
    """
    known = {keyword for keywords in VIEW_KEYWORDS.values() for keyword in keywords}
    view_kwargs = view_keywords(view, **{keyword: kwargs.pop(keyword) for keyword in list(kwargs) if keyword in known})
    made = make_task(task, **kwargs).with_split(split)
    env_class = view_class(made, view, batched=True)
    mode = {} if autoreset_mode is None else {"autoreset_mode": autoreset_mode}
    if view == "text":
        batch: TextVectorEnv = env_class(
            made, num_envs=num_envs, group_size=group_size, render_mode=render_mode, **mode
        )
        return batch
    if group_size != 1:
        raise ValueError(f"group_size={group_size!r} belongs to view='text', got view={view!r}")
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs!r}")
    make = partial(view_class(made, view), made, render_mode=render_mode, **view_kwargs)
    envs: MOSyncVectorEnv = env_class([make] * num_envs, **mode)
    return envs


def view_class(task: Task, view: str, *, batched: bool = False) -> Any:
    """The class that shows a task: see `VIEWS` and the three tables that follow it.

    Raises:
        ValueError: If there is no such view.
    """
    one_turn, dialogue = (VECTOR_VIEWS, DIALOGUE_VECTOR_VIEWS) if batched else (VIEWS, DIALOGUE_VIEWS)
    return _look_up("view", one_turn if task.dialogue is None else dialogue, view)


def make_task(task: str, **task_kwargs: Any) -> Task:
    """Make a built-in task by name (see `TASKS`)."""
    made: Task = _look_up("task", TASKS, task)(**task_kwargs)
    return made


def make_text_vec(
    problems: Sequence[Problem | str],
    rewards: RewardVector | Sequence[Any],
    *,
    num_envs: int,
    group_size: int = 1,
    eval_problems: Sequence[Problem | str] | None = None,
    max_response_tokens: int = 256,
    tokenizer: str | Path | TextTokenizer | None = None,
    transforms: Sequence[TransformLike] = (),
    autoreset_mode: str | AutoresetMode = "SameStep",
    render_mode: str | None = None,
) -> TextVectorEnv:
    """Make a batched environment of one's own prompts and rewards, without registration.

    Args:
        problems: The training split; a str is a problem of that prompt alone.
        rewards: A `RewardVector`, or functions declared by `llm_morl_rewards.reward`.
        num_envs: Rows of a batch, a multiple of ``group_size``.
        group_size: Rows that share a prompt.
        eval_problems: The evaluation split; None takes ``problems``.
        max_response_tokens: A response is cut there before it is scored.
        tokenizer: Counts lengths; see `llm_morl_env.tasks.custom.text_task`.
        transforms: Applied to the task in order.
        autoreset_mode: ``"SameStep"`` or ``"Disabled"``.
        render_mode: None, ``"ansi"`` or ``"human"``.

    >>> from llm_morl_rewards import reward
    >>> @reward(low=0.0, high=1.0)
    ... def polite(problem, response):
    ...     return float("please" in response)
    >>> envs = make_text_vec(["Ask for tea.", "Ask for milk."], [polite], num_envs=4, group_size=2)
    >>> prompts, info = envs.reset(seed=0)
    >>> envs.step(["tea", "tea please", "milk", "milk"])[1].tolist()
    [[0.0], [1.0], [0.0], [0.0]]
    """
    from llm_morl_env.envs.vector import TextVectorEnv
    from llm_morl_env.tasks.custom import text_task

    task = text_task(
        problems,
        rewards,
        eval_problems=eval_problems,
        max_response_tokens=max_response_tokens,
        tokenizer=tokenizer,
        transforms=transforms,
    )
    return TextVectorEnv(
        task, num_envs=num_envs, group_size=group_size, autoreset_mode=autoreset_mode, render_mode=render_mode
    )


def _look_up(parameter: str, table: Mapping[str, str], name: str) -> Any:
    if name not in table:
        raise ValueError(f"{parameter} must be one of {list(table)}, got {name!r}")
    module, attribute = table[name].split(":")
    return getattr(importlib.import_module(module), attribute)
