"""Demonstrations of the multi-turn tool task."""

import pickle

import numpy as np
import pytest
import torch

from llm_morl_agents.pretrain.demonstrations.toolworld import toolworld_demonstrations
from llm_morl_env.tasks.toolworld import OBJECTIVES, toolcall_multiturn_task
from llm_morl_env.tasks.toolworld_problems import TIERS
from llm_morl_rewards.turns import join_turns

torch.set_num_threads(1)


def demonstrate(difficulty, noise, number, seed=4):
    task = toolcall_multiturn_task(difficulty=difficulty, objectives=OBJECTIVES, seed=seed)
    make, rng = toolworld_demonstrations(seed=seed, difficulty=difficulty), np.random.default_rng(0)
    return task, [make(index, noise, rng) for index in range(number)]


def responses_of(segments):
    return [text for text, own in segments if own]


@pytest.mark.parametrize("difficulty", TIERS)
def test_clean_ones_earn_all_but_brevity_in_full(difficulty):
    task, shown = demonstrate(difficulty, 0.0, 300)
    scores = task.score([task[i] for i in range(300)], [join_turns(responses_of(segments)) for segments in shown])
    assert (scores[:, :3] == 1.0).all()
    assert 0.9 < scores[:, 3].mean() < 1.0


@pytest.mark.parametrize("difficulty", TIERS)
def test_noisy_ones_leave_something_to_gain_everywhere(difficulty):
    task, shown = demonstrate(difficulty, 1.0, 300)
    scores = task.score([task[i] for i in range(300)], [join_turns(responses_of(segments)) for segments in shown])
    assert ((scores.mean(0) > 0.3) & (scores.mean(0) < 0.8)).all(), scores.mean(0)
    assert (scores.std(0) > 0.2).all()


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_segments_are_what_the_environment_would_show(noise):
    task, shown = demonstrate("hard", noise, 150)
    longest = 0
    for index, segments in enumerate(shown):
        problem, responses = task[index], responses_of(segments)
        assert segments[0] == (problem.prompt, False)
        assert [own for _, own in segments] == [False, True] * len(responses)
        assert len(responses) <= task.dialogue.max_turns
        replies = [text for text, own in segments if not own][1:]
        assert replies == [task.dialogue.reply(problem, responses[:n]) for n in range(1, len(responses))]
        ended = task.dialogue.reply(problem, responses) is None
        assert ended or len(responses) == task.dialogue.max_turns
        longest = max(longest, *(task.tokenizer.count(response) for response in responses))
    assert longest <= (40 if noise == 0 else 1.5 * task.max_response_tokens)


def test_they_are_a_function_of_index_noise_and_generator():
    make = toolworld_demonstrations(seed=4)
    again = pickle.loads(pickle.dumps(make))
    first = [make(i, 0.5, np.random.default_rng(i)) for i in range(40)]
    assert first == [again(i, 0.5, np.random.default_rng(i)) for i in range(40)]
    assert first != [make(i, 0.5, np.random.default_rng(i + 1)) for i in range(40)]
