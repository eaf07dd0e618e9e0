"""A task and a policy that train in seconds: prompts of letters, answered letter by letter by a Llama of 5,000 weights.

Also imported by the fresh processes that some tests start.
"""

import tempfile
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from llm_morl_agents.batch import RolloutBatch
from llm_morl_agents.policies.load import load_policy
from llm_morl_agents.policies.tiny import new_tiny_model, save_tiny
from llm_morl_agents.policy import Sampling, draw_uniforms
from llm_morl_env import make_text_vec
from llm_morl_env.tokenizer import BOS, EOS, PAD, TextTokenizer
from llm_morl_rewards import Problem, reward

LETTERS = "abcdefgh"


def save_tokenizer(directory):
    """One token for each letter, for "?" and for the specials; written to ``directory/tokenizer.json``."""
    vocabulary = {token: i for i, token in enumerate([PAD, BOS, EOS, "?", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in (PAD, BOS, EOS)])
    path = Path(directory) / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def save_policy(directory, *, seed=0, flat=True, **sizes):
    """A random policy over the letters, as a directory.

    Args:
        directory: Where to.
        seed: Of the weights.
        flat: Start near the uniform distribution: with tied embeddings a random model would repeat its last token.
        sizes: Of `new_tiny_model`.
    """
    with tempfile.TemporaryDirectory() as aside:  # `save_tiny` copies it, and not onto itself
        return _save_policy(Path(directory), save_tokenizer(aside), seed=seed, flat=flat, **sizes)


def _save_policy(directory, path, *, seed, flat, **sizes):
    tokenizer = TextTokenizer(path)
    model = new_tiny_model(
        tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        bos_id=tokenizer.bos_id,
        seed=seed,
        **{"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32, "max_positions": 32, **sizes},
    )
    if flat:
        model.model.norm.weight.data.mul_(0.1)
    save_tiny(model, directory, tokenizer=path)
    return directory


@reward(low=0.0, high=1.0)
def correct(problem, response):
    """1 if the answer begins with the letter that the prompt names."""
    return float(response[:1] == problem.target)


@reward(low=0.0, high=1.0)
def short(problem, response):
    """1 for one letter, less for each one more, 0 for none."""
    return max(0.0, 1.5 - 0.5 * len(response)) if response else 0.0


PROBLEMS = [Problem(f"{letter}?", letter) for letter in LETTERS]


def make_env(directory, rewards=(correct, short), *, problems=PROBLEMS, num_envs=32, group_size=4, cap=3, **kwargs):
    """The batched environment of the letters; responses of at most ``cap`` letters."""
    return make_text_vec(
        problems,
        rewards,
        num_envs=num_envs,
        group_size=group_size,
        max_response_tokens=cap,
        tokenizer=directory,
        **kwargs,
    )


def make_batch(policy, *, sizes=(3, 2, 4, 1), seed=0, cap=4, temperature=1.0):
    """Responses that the policy drew, with random rewards (N, 2); ragged groups, interleaved, with odd numbers."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    prompts = [LETTERS[: 1 + p % 3] + "?" for p in range(len(sizes))]
    prompt_ids = policy.encode_prompts(prompts)
    drawn = policy.generate(
        prompt_ids, index, Sampling(temperature, max_new_tokens=cap), draw_uniforms(rng, len(index), cap)
    )
    return RolloutBatch(
        prompt_ids=tuple(tuple(ids) for ids in prompt_ids),
        response_ids=drawn.response_ids,
        response_mask=drawn.response_mask,
        behaviour_logprobs=drawn.logprobs,
        rewards=rng.random((len(index), 2)),
        group=10 * index + 7,
        finished=drawn.finished,
    )


def load(directory, **options):
    """The policy of `save_policy`."""
    return load_policy(directory, **options)


def parameters_of(policy):
    """Copies of the trainable parameters as numpy arrays, by name."""
    return {name: tensor.numpy() for name, tensor in policy.state_tensors().items()}


def comparable(report):
    """A `StepReport` as a row without its times."""
    return {name: value for name, value in report.as_row().items() if not name.endswith("_seconds")}
