"""`mixture_task`: a task of tasks, with the union of their objectives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from llm_morl_env import registration
from llm_morl_env.sampling import MixtureSampler, Shares, Temperature, shares_of
from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tasks.building import transformed
from llm_morl_env.tasks.dispatch import DialogueByTask, ExamplesByTask, GrammarByTask, PreferencesByTask, RewardByTask
from llm_morl_env.tasks.mixed_problems import MIN_SHARE, MixedProblems, tagged
from llm_morl_rewards import RewardVector
from llm_morl_rewards.base import RewardFunction

#: What the id without arguments mixes.
DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType({"toolcall": 0.7, "mathreasoning": 0.3})


def mixture_task(
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    *,
    sampling: Shares | str | Mapping[str, Any] | None = None,
    upweight: Shares | str | Mapping[str, Any] | None = None,
    tasks: Mapping[str, Task] | None = None,
    task_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
    objectives: Sequence[str] | None = None,
    max_response_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    transforms: Sequence[TransformLike] = (),
) -> Task:
    """Answer problems of several tasks, each scored by the objectives of its own task.

    ## Description

    A task of tasks, drawn by their weights. The objectives are the union of theirs in the order of first appearance;
    objectives of one name are one objective, and need one pair of bounds. Where a task lacks an objective, the reward
    is the lower bound and ``info["objective_mask"]`` is False: the agents of this package leave such entries out of
    their statistics. A problem's ``meta["task"]`` says which task it is of.

    ## Prompt and answer

    Those of the tasks. Caps are the greatest of theirs. All need one tokenizer.

    ## Objectives

    | name | bounds | formula |
    |---|---|---|
    | each of the tasks' | the task's | the task's; False in ``objective_mask`` on problems of tasks without it |

    Without arguments: ``format``, ``correctness``, ``brevity`` of the tool calls (seven problems of ten), ``accuracy``,
    ``conciseness``, ``clarity`` of the word problems.

    ## Conflict

    Objectives of different tasks conflict through the policy's capacity and through what a batch spends on each task,
    not on one answer; within a task, its own conflicts remain. No front is known.

    ## Difficulty and splits

    The splits that all tasks have. ``train``: by ``sampling``, a task is drawn by its share, then one of its problems.
    As a sequence it has the shares of the weights; it is endless if a task's is, and repeats the problems of smaller
    ones. Other splits: interleaved by the weights, so that every beginning has the shares, until the first task is
    used up (each task appears at least once); draws follow the weights.

    ``sampling="temperature(tau=2)"`` and ``"cooldown(start=5)"`` draw tasks of small weight more often; ``upweight``
    multiplies their loss instead (``info["loss_weight"]``): see `llm_morl_env.sampling` for the difference. A schedule
    goes by ``reset(options={"progress": t})``, which the agents of this package say.

    ## Data formats

    Those of the tasks, by ``task_kwargs={"toolcall": {"data": ...}}``.

    ## Version history

    - v0: first version.

    ## Credits

    Temperature sampling, scalarization and Cooldown: Li et al. 2024, arXiv 2410.04579.

    Args:
        weights: By task, above 0; brought to the sum 1. A name is one of ``tasks``, or a built-in task's, or any name
            whose ``task_kwargs`` say which: ``{"task": "toolcall", "difficulty": "hard"}``.
        sampling: A `Temperature`, a `Cooldown`, or as a text or a mapping; None draws by the weights.
        upweight: What the loss is brought to, likewise; None leaves it.
        tasks: Task objects by name.
        task_kwargs: By name, for the makers of built-in tasks; their ``transforms`` must not be random.
        objectives: Names out of the union, in the order wanted; None takes it as it is.
        max_response_tokens: A response is cut there before it is scored; None takes the greatest of the tasks.
        max_prompt_tokens: Longest prompt that the token view shows; None takes the greatest of the tasks.
        transforms: Applied to the mixture in order.

    Raises:
        ValueError: If names or weights are wrong, or the tasks do not go together: another tokenizer, one name with
            other bounds, dialogues beside one turn, preferences beside none, noise inside a task, a mixture inside a
            mixture.

    >>> from llm_morl_env import make_task
    >>> mixed = mixture_task(
    ...     {"easy": 3, "hard": 1},
    ...     task_kwargs={
    ...         "easy": {"task": "toolcall", "difficulty": "easy", "objectives": ["format", "correctness"]},
    ...         "hard": {"task": "toolcall", "difficulty": "hard", "objectives": ["correctness", "name"]},
    ...     },
    ... )
    >>> mixed.rewards.names, [mixed[i].meta["task"] for i in range(4)]
    (('format', 'correctness', 'name'), ['easy', 'easy', 'hard', 'easy'])
    >>> mixed.rewards.mask([mixed[0], mixed[2]]).tolist()
    [[True, True, False], [False, True, True]]
    """
    shares = _shares(weights)
    parts = _parts(list(shares), tasks or {}, task_kwargs or {})
    _check_together(parts)
    names, of_all = tuple(parts), list(parts.values())
    rewards = _union(parts)
    grammars = {name: part.grammar for name, part in parts.items()}
    dialogues = {name: part.dialogue for name, part in parts.items() if part.dialogue is not None}
    examples = {name: part.examples for name, part in parts.items() if part.examples is not None}
    preferences = {name: part.preferences for name, part in parts.items() if part.preferences is not None}
    task = Task(
        name="mixture",
        problems={
            split: MixedProblems(
                [tagged(name, part.problems[split]) for name, part in parts.items()],
                list(shares.values()),
                repeat=split == "train",
            )
            for split in of_all[0].problems
            if all(split in part.problems for part in of_all)
        },
        rewards=rewards if objectives is None else rewards.select(objectives),
        tokenizer=of_all[0].tokenizer,
        max_prompt_tokens=_cap(max_prompt_tokens, [part.max_prompt_tokens for part in of_all]),
        max_response_tokens=_cap(max_response_tokens, [part.max_response_tokens for part in of_all]),
        grammar=None if all(g is None for g in grammars.values()) else GrammarByTask(grammars, of_all[0].tokenizer),
        dialogue=DialogueByTask(dialogues) if dialogues else None,
        examples=ExamplesByTask(examples) if len(examples) == len(parts) else None,
        preferences=PreferencesByTask(preferences) if preferences else None,
        sampler=MixtureSampler(
            names,
            tuple(shares.values()),
            Temperature() if sampling is None else shares_of(sampling, "sampling="),
            None if upweight is None else shares_of(upweight, "upweight="),
        ),
    )
    return transformed(task, transforms)


#: A mixture written as an object: ``Mixture({"toolcall": 0.7, "mathreasoning": 0.3}, sampling=Temperature(2))``.
Mixture = mixture_task


def _cap(given: int | None, caps: Sequence[int]) -> int:
    return max(caps) if given is None else given


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(f"weights= must be a mapping of at least one task to its weight, got {weights!r}")
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"weights={dict(weights)!r}: that of {name!r} must be finite and above 0, got {weight!r}")
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items()}
    for name, share in shares.items():
        if share < MIN_SHARE:
            raise ValueError(f"weights={dict(weights)!r}: the share of {name!r} must be at least {MIN_SHARE:g}")
    return shares


def _parts(
    names: Sequence[str], tasks: Mapping[str, Task], task_kwargs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Task]:
    for parameter, given in (("tasks", tasks), ("task_kwargs", task_kwargs)):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"{parameter}=: {unknown} have no weight; weights are of {list(names)}")
    both = [name for name in tasks if name in task_kwargs]
    if both:
        raise ValueError(f"task_kwargs=: {both} are given by tasks= already, as objects")
    parts = {}
    for name in names:
        kwargs = dict(task_kwargs.get(name, {}))
        maker = kwargs.pop("task", name)
        if name not in tasks and maker not in registration.TASKS:
            raise ValueError(
                f"weights=: {name!r} is neither in tasks= nor a built-in task, {list(registration.TASKS)}, "
                "nor do its task_kwargs say which"
            )
        if name not in tasks and maker == "mixture":
            raise ValueError(f"weights=: {name!r} is a mixture itself; give the weights of all tasks in one")
        parts[name] = tasks[name] if name in tasks else registration.make_task(maker, **kwargs)
    return parts


def _check_together(parts: Mapping[str, Task]) -> None:
    """Raise a ValueError if the tasks cannot be mixed."""
    first_name, first = next(iter(parts.items()))
    for name, part in parts.items():
        if part.tokenizer.path.resolve() != first.tokenizer.path.resolve():
            raise ValueError(
                f"a mixture needs one tokenizer: that of {first_name!r} is {first.tokenizer.path}, "
                f"that of {name!r} is {part.tokenizer.path}"
            )
        if (part.dialogue is None) != (first.dialogue is None):
            turns = {n: "one turn" if p.dialogue is None else "a dialogue" for n, p in parts.items()}
            raise ValueError(f"dialogues mix with dialogues only: {turns}")
        if (part.preferences is None) != (first.preferences is None):
            raise ValueError(
                f"preferences in the prompts of one of {first_name!r} and {name!r} alone; give them to the mixture, by "
                "transforms="
            )
        if part.sampler is not None:
            raise ValueError(f"task {name!r} draws its problems itself; give the weights of all tasks in one mixture")
        if part.perturbations:
            raise ValueError(f"task {name!r} has noise of its own; give it to the mixture, by transforms=")


def _union(parts: Mapping[str, Task]) -> RewardVector:
    by_name: dict[str, dict[str, RewardFunction]] = {}
    for task, part in parts.items():
        for function in part.rewards:
            by_name.setdefault(function.name, {})[task] = function
    for name, functions in by_name.items():
        bounds = {task: (float(function.low), float(function.high)) for task, function in functions.items()}
        if len(set(bounds.values())) > 1:
            one = f"{{'transforms': ['scale(objectives=({name!r},))']}}"
            raise ValueError(
                f"objective {name!r} has other bounds in other tasks: {bounds}; bring them to one scale (ScaleToUnit), "
                f"for example by task_kwargs={{{next(iter(bounds))!r}: {one}, ...}}"
            )
    return RewardVector([RewardByTask(functions, list(parts)) for functions in by_name.values()])
