"""A preference as a soft token: both engines, gradients, copies, checkpoints."""

import numpy as np
import pytest
import torch

from llm_morl_agents import GRPO, load_policy
from llm_morl_agents.families.config import FamilyConfig
from llm_morl_agents.families.embedded_preference import (
    HFPreferencePolicy,
    LlamaPreferencePolicy,
    with_embedded_preference,
)
from llm_morl_agents.families.training import first_policy, task_of, training_envs
from llm_morl_agents.policy import Sampling, draw_uniforms

PROMPTS = ["\x020.25 0.75\x03?", "\x021 0\x03a?", "\x020.25 0.75\x03bca?"]
GROUP = np.array([0, 0, 1, 1, 1, 2])


def make(fast=True, seed=0, **options):
    return with_embedded_preference(
        load_policy("scratch", tokenizer="letters-3", seed=seed, fast=fast, sizes={"layers": 2}, **options), 2
    )


def generated(policy, prompts=PROMPTS, group=GROUP):
    ids = policy.encode_prompts(prompts)
    return ids, policy.generate(
        ids, group, Sampling(max_new_tokens=7), draw_uniforms(np.random.default_rng(0), len(group), 7)
    )


@pytest.mark.parametrize(("fast", "engine"), [(True, LlamaPreferencePolicy), (False, HFPreferencePolicy)])
def test_scoring_agrees_with_generation(fast, engine):
    policy = make(fast)
    assert type(policy) is engine
    ids, generation = generated(policy)
    stats = policy.token_stats(ids, GROUP, generation.response_ids, generation.response_mask)
    np.testing.assert_allclose(stats.logprobs.detach().numpy(), generation.logprobs, atol=1e-5)


def test_the_engines_agree():
    fast, slow = make(True), make(False)
    _, generation = generated(fast)
    for policy in (fast, slow):
        ids = policy.encode_prompts(PROMPTS)
        stats = policy.token_stats(ids, GROUP, generation.response_ids, generation.response_mask)
        stats.logprobs.sum().backward()
    for name, parameter in fast.trainable_parameters().items():
        torch.testing.assert_close(parameter.grad, slow.trainable_parameters()[name].grad, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(generated(slow)[1].logprobs, generation.logprobs, atol=1e-5)


def test_the_gradient_reaches_the_map_and_the_model():
    policy = make()
    ids, generation = generated(policy)
    policy.token_stats(ids, GROUP, generation.response_ids, generation.response_mask).logprobs.sum().backward()
    gradients = {name: p.grad for name, p in policy.trainable_parameters().items()}
    assert gradients["preference_map.weight"].abs().min() > 0
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())


def test_preferences_differ_and_batches_do_not_matter():
    policy = make()
    same = [f"\x02{w}\x03?" for w in ("1 0", "0 1", "0.5 0.5")]
    ids = policy.encode_prompts(same)
    response = np.tile(policy.encode_prompts(["\x021 0\x03ab"])[0][1:], (3, 1))
    mask = np.ones_like(response, dtype=bool)
    together = policy.token_stats(ids, np.arange(3), response, mask).logprobs.detach().numpy()
    assert np.abs(together[0] - together[1]).max() > 1e-4
    for row in range(3):
        alone = policy.token_stats(ids[row : row + 1], np.zeros(1, np.int64), response[:1], mask[:1]).logprobs
        np.testing.assert_allclose(alone.detach().numpy()[0], together[row], atol=1e-5)


def test_a_frozen_copy_keeps_its_map():
    policy = make()
    reference = policy.frozen_copy()
    before = generated(reference)[1].logprobs
    with torch.no_grad():
        policy.preference_map.weight.add_(1.0)
    np.testing.assert_array_equal(generated(reference)[1].logprobs, before)
    assert np.abs(generated(policy)[1].logprobs - before).max() > 1e-3
    assert not reference.preference_map.weight.requires_grad


# peft reads a property that transformers has renamed; nothing on our side calls it.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_with_lora_map_and_adapters_are_trained():
    pytest.importorskip("peft")
    policy = make(fast=None, lora={"r": 2, "target_modules": ["q_proj"]})
    names = policy.trainable_parameters().keys()
    assert "preference_map.weight" in names
    assert all("lora" in name for name in names if name != "preference_map.weight")
    ids, generation = generated(policy)
    stats = policy.token_stats(ids, GROUP, generation.response_ids, generation.response_mask)
    np.testing.assert_allclose(stats.logprobs.detach().numpy(), generation.logprobs, atol=1e-5)


def test_an_agent_continues_bit_for_bit(tmp_path):
    """With a KL term, whose reference has a map too."""
    config = FamilyConfig(env="DentFront-MO-v0", conditioning="embedding", prompts=4, group_size=4)
    task = task_of(config)
    settings = {"learning_rate": 1e-2, "kl_coef": 0.1, "seed": 3}
    whole = GRPO(training_envs(config, task), first_policy(config, task), **settings)
    whole.learn(2)
    whole.save(tmp_path / "agent")
    rest = GRPO.load(tmp_path / "agent", training_envs(config, task), policy=first_policy(config, task))
    reports = [agent.step().as_row() for agent in (whole, rest)]
    timings = {"cpu_seconds", "wall_seconds", "weighter_seconds"}
    assert {k: v for k, v in reports[0].items() if k not in timings} == {
        k: v for k, v in reports[1].items() if k not in timings
    }
    for name, tensor in whole.policy.state_tensors().items():
        assert torch.equal(tensor, rest.policy.state_tensors()[name]), name


def test_what_is_refused(tmp_path):
    policy = make()
    with pytest.raises(ValueError, match="carries no preference"):
        policy.encode_prompts(["?"])
    with pytest.raises(ValueError, match="conditioned on 2 weights, the prompt carries 3"):
        policy.encode_prompts(["\x021 0 0\x03?"])
    with pytest.raises(ValueError, match="has a preference map already"):
        with_embedded_preference(policy, 2)
    with pytest.raises(ValueError, match="up to 6 objectives, got 7"):
        with_embedded_preference(load_policy("scratch", tokenizer="letters-3"), 7)
    with pytest.raises(ValueError, match="its family's save"):
        policy.save_pretrained(tmp_path)
