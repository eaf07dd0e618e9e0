"""The embedded policy: its demonstrations, the recipe that makes it, and the levels that its card states."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_morl_agents.policies.load import TINY, load_policy
from llm_morl_agents.pretrain.card import MAIN_OBJECTIVE, start_levels
from llm_morl_agents.pretrain.demonstrations import DEMONSTRATIONS
from llm_morl_agents.pretrain.demonstrations.toolcall import CLEAN, Corruption, demonstrate
from llm_morl_agents.pretrain.recipe import SHARES, STEPS, Phase, Recipe, _weighed, pretrain, recipe_of
from llm_morl_env import make_task
from llm_morl_env.tasks.toolcall_problems import TIERS, ToolCallProblems
from llm_morl_env.tokenizer import BUILT_IN, TextTokenizer
from llm_morl_rewards.toolcall import tool_correctness, tool_format, tool_keys, tool_name, tool_values

TOKENIZER = TextTokenizer()
PROBLEMS = ToolCallProblems(TIERS["standard"], "train", seed=1, count_tokens=TOKENIZER.count)


def _scores(corruption: Corruption, n: int = 300) -> np.ndarray:
    """Format, correctness, name, keys and values of n demonstrations, (n, 5)."""
    rng = np.random.default_rng(0)
    rewards = (tool_format, tool_correctness, tool_name, tool_keys, tool_values)
    rows = []
    for index in range(n):
        prompt, response = demonstrate(PROBLEMS, index, corruption, rng)
        assert prompt == PROBLEMS[index].prompt
        rows.append([reward(PROBLEMS[index], response) for reward in rewards])
    return np.array(rows)


def test_clean_demonstrations_are_gold_answers():
    assert (_scores(CLEAN) == [1.0, 3.0, 1.0, 1.0, 1.0]).all()


@pytest.mark.parametrize(
    ("corruption", "column", "low", "high"),
    [
        (Corruption(format=1.0), 0, 0.0, 0.0),
        (Corruption(format=0.3), 0, 0.6, 0.8),
        (Corruption(value=1.0), 4, 0.0, 0.45),  # another value of its kind is now and then the same one
        (Corruption(key=1.0), 3, 0.0, 0.4),
        (Corruption(name=1.0), 2, 0.2, 0.5),  # one of three or four shown tools, the right one among them
        (Corruption(decision=1.0), 1, -3.0, -3.0),
    ],
)
def test_each_corruption_spoils_what_it_names(corruption, column, low, high):
    assert low <= _scores(corruption)[:, column].mean() <= high


def test_values_alone_leave_the_rest_right():
    scores = _scores(Corruption(value=1.0))
    assert (scores[:, [0, 2, 3]] == 1.0).all()


def test_the_recipe_is_reproducible_and_leaves_thread_and_random_state():
    recipe = Recipe(batch_size=4, phases=(Phase(2, 1e-3, 0.01, 0.3, 0.0), Phase(2, 1e-3, None, 0.0, 1.0)))
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    losses: list[tuple[int, int, float]] = []
    first = pretrain(recipe, TOKENIZER, lambda *seen: losses.append(seen)).state_dict()
    second = pretrain(recipe, TOKENIZER).state_dict()
    other = pretrain(replace(recipe, seed=1), TOKENIZER).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.norm.weight"], other["model.norm.weight"])
    assert [(phase, step) for phase, step, _ in losses] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_a_short_budget_learns_the_form(tmp_path):
    """A tenth of the steps, on the easy tier: the form is there and corruption shows; copying comes later."""
    clean, noisy = Recipe().phases
    recipe = Recipe(difficulty="easy", phases=(replace(clean, steps=100), replace(noisy, steps=12)))
    losses: dict[int, list[float]] = {0: [], 1: []}
    model = pretrain(recipe, TOKENIZER, lambda phase, step, loss: losses[phase].append(loss))
    assert np.mean(losses[0][-10:]) < 0.25 * losses[0][0]
    from llm_morl_agents.policies.tiny import save_tiny

    save_tiny(model, tmp_path / "model")
    policy = load_policy(tmp_path / "model")
    (train,) = start_levels(policy, task="toolcall", difficulty="easy", n_problems=64, splits=["train"])
    assert 0.25 < train.sampled["format"] < 0.95
    assert train.greedy["name"] > 0.5


def test_shipped_tokenizer_is_the_environments():
    assert (TINY / "tokenizer.json").read_bytes() == BUILT_IN.read_bytes()


def test_shipped_policy_starts_in_its_range():
    """Training phrasings, temperature 1: format .45 to .70, fully correct .15 to .35 (and a tolerance of sampling)."""
    train, held_out, unseen = start_levels(load_policy("tiny"), task="toolcall", n_problems=256)
    assert 0.40 <= train.sampled["format"] <= 0.75
    assert 0.10 <= train.sampled["full"] <= 0.40
    assert held_out.sampled["full"] > 0.1
    assert unseen.sampled["correctness"] < held_out.sampled["correctness"]
    assert train.sampled["brevity"] < 0.8, "brevity must not be saturated from the start"
    assert train.greedy["format"] > 0.95


def test_the_tables_name_every_demonstrated_task():
    for table in (STEPS, SHARES, MAIN_OBJECTIVE):
        assert table.keys() == DEMONSTRATIONS.keys()
    np.testing.assert_allclose(np.sum(list(SHARES.values()), axis=0), 1.0)


def test_a_recipe_for_one_task_and_for_several():
    one, all_of_them = recipe_of(["toolcall"], seed=3), recipe_of(list(DEMONSTRATIONS))
    assert one == Recipe(seed=3), "the default recipe is that of the tool calls"
    assert all_of_them.shares == {task: shares[0] for task, shares in SHARES.items()}
    assert all_of_them.hidden_size > one.hidden_size
    with pytest.raises(ValueError, match=r"tasks must be some of .*got \['chess'\]"):
        recipe_of(["chess"])
    with pytest.raises(ValueError, match="Recipe"):
        Recipe(shares={"toolcall": 0.0})


@pytest.mark.parametrize("task", DEMONSTRATIONS)
def test_demonstrations_begin_with_the_prompt_and_end_with_a_response(task):
    demonstrate_task = DEMONSTRATIONS[task](seed=10_000)
    problems = make_task(task, seed=10_000)
    for noise in (0.0, 1.0):
        for index in range(20):
            segments = demonstrate_task(index, noise, np.random.default_rng(index))
            assert segments == demonstrate_task(index, noise, np.random.default_rng(index))
            assert segments[0] == (problems[index].prompt, False)
            assert segments[-1][1]
            assert [own for _, own in segments] == [i % 2 == 1 for i in range(len(segments))]


def test_several_tasks_share_a_batch_and_ends_follow_each_own_text():
    recipe = Recipe(
        {"toolcall": 0.5, "toolcall-multiturn": 0.5}, batch_size=4, phases=(Phase(1, 1e-3, None, 0.3, 0.0),)
    )
    first, second = (pretrain(recipe, TOKENIZER).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    ids, weights = _weighed((("ab", False), ("c", True), ("d", False), ("e", True)), 0.3, TOKENIZER)
    ends = [i for i, token in enumerate(ids) if token == TOKENIZER.eos_id]
    assert len(ends) == 2
    assert ends[-1] == len(ids) - 1
    assert [weights[i] for i in ends] == [1.0, 1.0]
    assert set(weights) == {0.3, 1.0}


@pytest.mark.parametrize(
    ("task", "hardest", "easier"),
    [
        ("toolcall-multiturn", (0.15, 0.40), {"economy": (0.4, 0.8), "format": (0.5, 0.85)}),
        ("summarize", (0.20, 0.50), {"faithfulness": (0.3, 0.6), "conciseness": (0.6, 0.9)}),
        ("mathreasoning", (0.25, 0.55), {"clarity": (0.7, 0.95), "conciseness": (0.2, 0.5)}),
        ("safeassist", (0.30, 0.60), {"harmlessness": (0.65, 0.9), "brevity": (0.5, 0.8)}),
    ],
)
def test_shipped_policy_starts_in_its_range_on_the_other_tasks(task, hardest, easier):
    """Training phrasings, temperature 1; greedy decoding knows more: there is something to learn and to sharpen."""
    (train,) = start_levels(load_policy("tiny"), task=task, n_problems=96, splits=["train"])
    main = MAIN_OBJECTIVE[task]
    assert hardest[0] <= train.sampled[main] <= hardest[1]
    assert train.greedy[main] > train.sampled[main] + 0.1
    for objective, (low, high) in easier.items():
        assert low <= train.sampled[objective] <= high
