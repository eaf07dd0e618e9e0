"""What stands below a report's tables: how the numbers are meant, and what they do not say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_morl_agents.experiments.arms import KEEPS_SCALE, parse_arm
from llm_morl_agents.experiments.config import CompareConfig
from llm_morl_agents.experiments.fronts import MethodFront
from llm_morl_agents.experiments.plots import MOST_ARMS
from llm_morl_agents.experiments.policies import SCRATCH
from llm_morl_agents.experiments.results import Results
from llm_morl_agents.experiments.statistics import RESAMPLES, THRESHOLD_WINDOW
from llm_morl_agents.experiments.summary import Summary

#: Names in a sentence, at most.
MOST_NAMES = 12


def notes(results: Results, summary: Summary, fronts: Sequence[MethodFront] = ()) -> list[str]:
    """One sentence or two for each thing that a reader could take for something else."""
    said = [
        (
            f"Levels are mean rewards on the evaluation split (problems: {summary.arms[0].problems}), sampled at the "
            "training temperature, before and after training; sd is over seeds; greedy: the most likely answers."
        ),
        (
            f"Intervals of levels: 95 %, from a bootstrap over seeds and problems ({RESAMPLES} resamples), paired by "
            "problem."
        ),
        (
            "Hypervolume: of each seed's final mean vector, objectives scaled to [0, 1] by their bounds, reference "
            "point at the lower bounds; larger is better. Interquartile mean over seeds (below 4 seeds the mean), "
            "bootstrapped over seeds; differences are paired by seed, with Student's interval. Over training: mean of "
            "the evaluations' hypervolume, the area under its curve."
        ),
        "Worst: lowest scaled objective of the final mean vector, mean over seeds.",
        *_missing(results),
        *_origins(results),
        *_seeds(summary),
        *_arms(results, summary),
    ]
    levels = ", ".join(f"{n} {t:.3g}" for n, t in zip(results.objectives, summary.thresholds, strict=True))
    said += [
        (
            f"Steps: steps until the mean of the last {THRESHOLD_WINDOW} batches reaches a level ({levels}), mean over "
            "seeds."
        ),
        (
            "Weight, share: mean over steps and seeds of the weight, and of the objective's share of the advantage (a "
            "few steps may decide the latter: it has no limit where the objectives all but cancel); "
            "in training, evaluated: mean over training of the batches' and the evaluations' level."
        ),
        "CPU s/step: CPU seconds of the process in a training step, evaluation apart; of these the weighter's share.",
    ]
    if results.pareto_front is not None:
        said.append(
            "The Pareto front in the figure is that of single answers: the means of a policy that mixes answers may "
            "lie beyond it where it is hollow."
        )
    if fronts:
        said.append(
            "Points: preferences whose mean final vector no other of the method dominates. The hypervolume of a set of "
            "noisy means is biased upwards, alike for methods with as many preferences."
        )
    if results.unfinished:
        said.append(f"Not finished, and not in here: {few_names(results.unfinished)}.")
    return said


def few_names(names: Sequence[str]) -> str:
    """The first of them, and how many more there are.

    >>> few_names(["a", "b"]), few_names(list("abcdefghijklmno"))
    ('a, b', 'a, b, c, d, e, f, g, h, i, j, k, l and 3 more')
    """
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _missing(results: Results) -> list[str]:
    """What was left out, where objectives do not apply to all problems."""
    finals = np.concatenate([run.final for runs in results.arms.values() for run in runs])  # (runs n, K)
    missing = np.isnan(finals).sum(axis=0)
    parts = [f"{name} {count}" for name, count in zip(results.objectives, missing, strict=True) if count]
    if not parts:
        return []
    return [
        (
            f"Left out of every mean, since the objective does not apply (of {len(finals)} final rewards): "
            f"{', '.join(parts)}."
        )
    ]


def _origins(results: Results) -> list[str]:
    """What the runs start from."""
    policies = results.config.policies
    if any(run.facts.get("policy") == SCRATCH for runs in results.arms.values() for run in runs):
        return ["Models from scratch are made with the run's seed: the intervals cover initial models too."]
    if len(policies) > 1:
        return [f"Seeds take turns through {len(policies)} initial models; the intervals say nothing about others."]
    return [
        (
            "All runs start from one and the same checkpoint: the intervals say how far seeds and problems carry, and "
            "nothing about other initial models or tasks."
        )
    ]


def _seeds(summary: Summary) -> list[str]:
    seeds = max(len(arm.seeds) for arm in summary.arms)
    if seeds == 1:
        return ["There is one seed: the intervals cover the choice of problems alone."]
    if seeds < 10:
        return [
            (
                f"With {seeds} seeds a bootstrapped interval covers less than its 95 % where the spread over seeds "
                "dominates (about 80 % at 3 seeds, 90 % at 8); Student's holds."
            )
        ]
    return []


def _arms(results: Results, summary: Summary) -> list[str]:
    """What follows from which arms there are, and how many."""
    arms = [parse_arm(text) for text in results.arms]
    said = []
    if len(arms) > 1:
        said.append("A difference between arms whose interval contains 0 is no result.")
    if len(arms) > 2:
        said.append("Intervals are not adjusted for the number of arms: of 20 equal ones one will seem to differ.")
    kept = list(dict.fromkeys(arm.agent for arm in arms if arm.agent in KEEPS_SCALE))
    if kept and results.config.rescale:
        said.append(f"Under {', '.join(kept)} every step's weights are rescaled to one sum, the number of objectives.")
    elif kept:
        said.append(
            f"Under {', '.join(kept)} the size of the weights is a factor of the learning rate, and is left as it is."
        )
    preferences = isinstance(results.config, CompareConfig) and results.config.preferences
    if any(arm.dynamic for arm in arms) and sum(arm.static for arm in arms) > 1 and not preferences:
        said.append(
            "The best static weights are chosen by the very runs that they are judged by, which flatters them: not "
            "beating them may be owed to that choice, beating them is not."
        )
    if any(arm.frozen_from for arm in arms):
        said.append("frozen_mean(...) holds the mean weights of that arm's runs, over all steps and seeds, fixed.")
    if len(arms) > MOST_ARMS:
        said.append(
            f"Figures show {MOST_ARMS} arms at most, tables by objective 12: the first and the best of the others, of "
            "a grid the best alone. They are chosen by their result; summary.csv and seeds.csv hold all."
        )
    return said
