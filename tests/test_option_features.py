"""Options of the index view: their order and their features, by values and by property."""

import numpy as np
import pytest

from llm_morl_env.envs.option_features import (
    FEATURES,
    LOG_PROB_SCALE,
    continues_copy,
    option_features,
    rank_by_model,
    rank_by_source,
    read_source,
    token_kinds,
)
from llm_morl_env.registration import make_task
from llm_morl_env.tokenizer import TextTokenizer

TOKENIZER = TextTokenizer()
KINDS = token_kinds(TOKENIZER)
TEXTS = TOKENIZER.token_texts()
EVERY = np.arange(TOKENIZER.vocab_size)


def ids(*texts):
    """The token of each text."""
    return np.array([TEXTS.index(text) for text in texts], np.int64)


def features(options, k, *, written=(), previous=0, source, log_probs=None):
    """(k, F)."""
    flat = option_features(
        np.asarray(options, np.int64),
        k,
        written=np.array(written, np.int64),
        previous=previous,
        source=source,
        kinds=KINDS,
        eos_id=TOKENIZER.eos_id,
        log_probs=log_probs,
    )
    assert flat.dtype == np.float32
    assert flat.shape == (k * len(FEATURES),)
    return flat.reshape(k, len(FEATURES))


class TestKinds:
    def test_words_are_the_same_with_a_space_before_them(self):
        (bare,), (spaced,) = ids("carla"), ids(" carla")
        assert KINDS.same[bare] == KINDS.same[spaced] == min(bare, spaced)
        assert KINDS.same[ids("u")[0]] != KINDS.same[ids("n")[0]]

    def test_specials_and_parts_of_characters_are_like_nothing_else(self):
        alone = [i for i, text in enumerate(TEXTS) if not text or "\ufffd" in text]
        assert len(alone) > 3
        np.testing.assert_array_equal(KINDS.same[alone], alone)
        assert set(np.flatnonzero(KINDS.is_mark)) & set(alone) == {TOKENIZER.eos_id}

    def test_marks_have_neither_letters_nor_digits(self):
        assert KINDS.is_mark[ids('"', '", "', "}}", "-", ".")].all()
        assert not KINDS.is_mark[ids("u", "4", " ", "\n", '", "parameters": {"', "<tools>")].any()

    def test_are_found_once(self):
        assert token_kinds(TextTokenizer()) is KINDS


class TestSource:
    def test_knows_the_last_place_of_each_token_from_one(self):
        source = read_source(ids(" carla", "set_", "carla", "u"), KINDS)
        same = KINDS.same
        assert source.last[same[ids("carla", "set_", "u", "n")]].tolist() == [3, 2, 4, 0]
        assert source.last.sum() == 9
        assert not read_source(ids(), KINDS).last.any()

    def test_copies_go_on_as_the_source_does_anywhere(self):
        source = read_source(ids("u", " carla", "n", "u", "4"), KINDS)
        after = set(EVERY[continues_copy(EVERY, ids("u")[0], source, KINDS)])
        assert after == set(ids("carla", " carla", "4"))
        assert not continues_copy(EVERY, ids("4")[0], source, KINDS).any()  # nothing stands behind it
        assert not continues_copy(EVERY, ids("9")[0], read_source(ids(), KINDS), KINDS).any()


class TestRankBySource:
    source = read_source(ids("to", " carla", ",", "4", " carla", "u", "4", "9"), KINDS)

    def test_few_are_taken_by_id(self):
        valid = np.sort(ids("9", "u", "4", "z", "}}"))
        np.testing.assert_array_equal(rank_by_source(valid, 5, ids("4")[0], self.source, KINDS), valid)

    def test_copies_then_source_and_marks_in_turn_then_the_rest(self):
        valid = np.sort(np.concatenate([ids("9", "u", "carla", "x", "z", "}}", '"', "to"), [TOKENIZER.eos_id]]))
        ranked = rank_by_source(valid, 8, int(ids("4")[0]), self.source, KINDS)
        #          copies: latest first   source        mark        source   mark   source  mark
        expected = [*ids("9", "carla"), *ids("u"), TOKENIZER.eos_id, *ids("to"), *ids("}}"), *ids('"'), *ids("x")]
        np.testing.assert_array_equal(ranked, expected)

    @pytest.mark.parametrize("k", [1, 2, 8, 50])
    def test_is_the_beginning_of_one_order(self, k):
        rng = np.random.default_rng(k)
        for _ in range(20):
            source = read_source(rng.integers(len(TEXTS), size=30), KINDS)
            valid = np.sort(rng.choice(len(TEXTS), size=200, replace=False))
            previous = int(source.ids[rng.integers(30)])
            ranked = rank_by_source(valid, k, previous, source, KINDS)
            longer = rank_by_source(valid, 60, previous, source, KINDS)
            assert len(set(longer)) == 60
            assert set(longer) <= set(valid)
            np.testing.assert_array_equal(ranked, longer[:k])
            n_copies = continues_copy(valid, previous, source, KINDS).sum()
            assert continues_copy(ranked, previous, source, KINDS)[:n_copies].all()

    def test_reaches_most_of_what_gold_answers_say(self):
        """Of the tokens of gold answers, where there are more valid ones than options."""
        task, reached = make_task("toolcall", difficulty="easy"), []
        for problem in (task[i] for i in range(12)):
            source = read_source(np.array(TOKENIZER.encode(problem.prompt)), KINDS)
            gold = TOKENIZER.encode(problem.meta["gold"])
            for n, token in enumerate(gold):
                valid = np.flatnonzero(task.grammar.allowed(problem, gold[:n]))
                if len(valid) > 8:
                    by_source = rank_by_source(valid, 8, gold[n - 1], source, KINDS)
                    reached.append((token in by_source, token in valid[:8]))
        by_source, by_id = np.mean(reached, axis=0)
        assert len(reached) > 30
        assert by_source > 0.8
        assert by_source > by_id + 0.3


class TestRankByModel:
    @pytest.mark.parametrize("k", [1, 3, 8, 40])
    def test_agrees_with_sorting(self, k):
        rng = np.random.default_rng(k)
        for _ in range(50):
            log_probs = np.round(-rng.exponential(size=60), 1).astype(np.float32)  # many ties
            valid = np.sort(rng.choice(60, size=rng.integers(1, 40), replace=False))
            expected = sorted(valid.tolist(), key=lambda i, said=log_probs: (-said[i], i))[:k]
            assert rank_by_model(valid, k, log_probs).tolist() == expected


class TestFeatures:
    source = read_source(ids("to", " carla", "4", "u"), KINDS)

    def test_values(self):
        log_probs = np.full(len(TEXTS), -2.5, np.float32)
        log_probs[ids("}}")] = -99.0
        options = [*ids("carla", "}}", "u"), TOKENIZER.eos_id]
        got = features(options, 5, written=ids("u"), previous=ids("to")[0], source=self.source, log_probs=log_probs)
        low = -2.5 / LOG_PROB_SCALE
        expected = [
            [1, low, 0, 0, 1, 1, 0.5, 0],
            [1, -1.0, 0, 1, 0, 0, 0.0, 0],
            [1, low, 0, 0, 1, 0, 1.0, 1],
            [1, low, 1, 1, 0, 0, 0.0, 0],
            [0] * len(FEATURES),
        ]
        np.testing.assert_allclose(got, np.array(expected, np.float32))

    def test_belong_to_the_option(self):
        """Options in another order have their features in that order."""
        rng = np.random.default_rng(0)
        source = read_source(rng.integers(len(TEXTS), size=300), KINDS)
        options, written = rng.choice(len(TEXTS), 8, replace=False), rng.integers(len(TEXTS), size=300)
        log_probs = -rng.exponential(size=len(TEXTS)).astype(np.float32)
        said = {"written": written, "previous": int(source.ids[3]), "source": source, "log_probs": log_probs}
        order = rng.permutation(8)
        np.testing.assert_array_equal(features(options[order], 8, **said), features(options, 8, **said)[order])

    def test_without_a_model_and_without_a_source(self):
        got = features(ids("u", "}}"), 2, source=read_source(ids(), KINDS))
        np.testing.assert_array_equal(got, [[1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0, 0, 0]])
