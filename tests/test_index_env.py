"""`IndexEnv`: decisions are those of the token view, forced tokens are not, and a model ranks what it is told to."""

import pickle
from dataclasses import dataclass, replace

import counting_game
import gymnasium as gym
import numpy as np
import pytest
from fake_model import FakeModel, said_of

import llm_morl_env  # noqa: F401  (registers the ids)
from llm_morl_env.envs.dialogue_token import DialogueTokenEnv
from llm_morl_env.envs.index import IndexEnv
from llm_morl_env.envs.option_features import FEATURES, LOG_PROB_SCALE
from llm_morl_env.envs.reading import ContextReader
from llm_morl_env.envs.token import TokenEnv
from llm_morl_env.registration import IDS, make_task
from llm_morl_env.testing import ConformanceError, Subject, check_mo_env
from llm_morl_env.testing.views import check_views
from llm_morl_env.values import difference


@dataclass(frozen=True)
class Forced:
    """A grammar of one text."""

    tokens: tuple[int, ...]
    vocab_size: int

    def allowed(self, problem, response_ids):
        mask = np.zeros(self.vocab_size, np.bool_)
        mask[self.tokens[min(len(response_ids), len(self.tokens) - 1)]] = True
        return mask


def forced(task, text, *, end=True):
    """The task with a grammar that leaves nothing but a text."""
    tokenizer = task.tokenizer
    tokens = (*tokenizer.encode(text), *([tokenizer.eos_id] if end else []))
    return replace(task, grammar=Forced(tokens, tokenizer.vocab_size))


def play(env, rng, **reset):
    """Random valid actions until the end; the actions, the tokens chosen, and the calls."""
    _, info = env.reset(**reset)
    actions, chosen, calls, ended = [], [], [], False
    while not ended:
        options = info["options"][info["action_mask"].astype(bool)]
        actions.append(int(rng.integers(len(options))))
        chosen.append(int(options[actions[-1]]))
        *call, _, info = env.step(actions[-1])
        calls.append((*call, info))
        ended = call[2]
    return actions, chosen, calls


def replay(task, problem, chosen):
    """The same choices in the token view: rewards, last info, how many tokens were chosen and how many forced."""
    env = (TokenEnv if task.dialogue is None else DialogueTokenEnv)(task)
    env.reset(options={"problem": problem})
    rest, total, n_forced, ended = list(chosen), np.zeros(env.reward_dim), 0, False
    while not ended:
        valid = np.flatnonzero(env.action_masks())
        if len(valid) > 1 or (rest and len(rest) == len(chosen) and valid[0] == rest[0] == task.tokenizer.eos_id):
            token = rest.pop(0)
        else:
            token, n_forced = int(valid[0]), n_forced + 1
        assert token in valid
        _, rewards, ended, _, info = env.step(token)
        total += rewards
    assert not rest
    return total, info, n_forced


class TestDecisions:
    @pytest.mark.parametrize(("name", "k"), [*((name, 8) for name in IDS.values()), ("toolcall", 2), ("unlock", 2)])
    def test_are_those_of_the_token_view(self, name, k):
        """Every choice between several tokens is a step, and no other token; both views pay the same."""
        task, rng, n_forced = make_task(name), np.random.default_rng(0), 0
        env = IndexEnv(task, k=k)
        for episode in range(3):
            _, chosen, calls = play(env, rng, seed=episode)
            info = calls[-1][-1]
            total, expected, more = replay(task, info["problem"], chosen)
            n_forced += more
            np.testing.assert_array_equal(np.sum([call[1] for call in calls], axis=0, dtype=np.float64), total)
            del expected["action_mask"], info["action_mask"], info["options"]
            assert difference(info, expected, "info") is None
        assert n_forced > 10 or name != "toolcall"

    def test_options_and_masks_say_the_same(self):
        env, rng = IndexEnv(make_task("toolcall"), k=4), np.random.default_rng(1)
        sizes = set()
        for seed in range(5):
            _, info = env.reset(seed=seed)
            ended = False
            while not ended:
                n = int(info["action_mask"].sum())
                sizes.add(n)
                assert info["options"].dtype == np.int64
                assert info["action_mask"].dtype == np.int8
                np.testing.assert_array_equal(info["action_mask"], [1] * n + [0] * (4 - n))
                np.testing.assert_array_equal(env.action_masks(), info["action_mask"].astype(bool))
                np.testing.assert_array_equal(info["options"] >= 0, env.action_masks())
                assert len(set(info["options"][:n])) == n >= 2
                _, _, ended, _, info = env.step(int(rng.integers(n)))
            np.testing.assert_array_equal(info["options"], [env.task.tokenizer.eos_id, -1, -1, -1])
        assert sizes == {2, 3, 4}

    def test_an_action_beyond_the_options_is_taken_modulo_their_number(self):
        one, other = (IndexEnv(make_task("toolcall")) for _ in range(2))
        rng = np.random.default_rng(2)
        for seed in range(3):
            (_, info), _ = one.reset(seed=seed), other.reset(seed=seed)
            ended = False
            while not ended:
                action = int(rng.integers(8))
                observation, rewards, ended, _, more = other.step(action % int(info["action_mask"].sum()))
                seen, paid, _, _, info = one.step(action)
                np.testing.assert_array_equal(seen, observation)
                np.testing.assert_array_equal(paid, rewards)
                np.testing.assert_array_equal(info["options"], more["options"])

    @pytest.mark.parametrize("end", [True, False])
    def test_a_response_without_any_has_one_step(self, end):
        task = forced(replace(make_task("safeassist"), max_response_tokens=6), "sure.", end=end)
        if not end:
            task = replace(task, max_response_tokens=len(task.tokenizer.encode("sure.")))
        env = IndexEnv(task, k=3)
        for action in range(3):
            _, info = env.reset(options={"problem": 5})
            assert info["action_mask"].tolist() == [1, 0, 0]
            assert "response" not in info
            _, rewards, ended, _, info = env.step(action)
            assert ended
            assert (info["response"], info["finish_reason"]) == ("sure.", "stop" if end else "length")
            np.testing.assert_array_equal(rewards, task.score([task[5]], ["sure."])[0])

    def test_a_turn_without_any_has_one_step(self):
        task = counting_game.counting_task()
        text = IndexEnv(forced(task, "7"), k=2)
        _, info = text.reset(options={"problem": 0})
        for turn in range(1, counting_game.TURNS + 1):
            assert info["turn"] == turn - 1
            _, _, ended, _, info = text.step(1)
            assert (info["turn"], info["response"]) == (turn, "7")
            assert ended == (turn == counting_game.TURNS)

    def test_what_a_turn_said_is_told_when_tokens_of_the_next_were_forced(self):
        """Where each turn has one decision between two tokens, a step ends a turn and begins the next."""
        task = counting_game.counting_task()
        tokens = task.tokenizer.encode("7 8 9")

        @dataclass(frozen=True)
        class LastOfTwo:
            """A token that is forced, then one of two, then the end."""

            def allowed(self, problem, response_ids):
                mask = np.zeros(task.tokenizer.vocab_size, np.bool_)
                mask[[tokens[:1], tokens[1:3], [task.tokenizer.eos_id]][min(len(response_ids), 2)]] = True
                return mask

        env = IndexEnv(replace(task, grammar=LastOfTwo()), k=2)
        _, info = env.reset(options={"problem": 0})
        for turn in range(counting_game.TURNS):
            before = env.context.tolist()
            option = int(info["options"][0])
            _, _, _, _, info = env.step(0)
            assert info["response"] == task.tokenizer.decode([tokens[0], option])
            if turn < counting_game.TURNS - 1:
                assert info["reply"]
                assert env.context.tolist() == [
                    *before, option, task.tokenizer.eos_id, *task.tokenizer.encode(info["reply"]), tokens[0],
                ]  # fmt: skip


@pytest.mark.parametrize("name", ["toolcall", "toolcall-multiturn"])
def test_an_episode_that_is_paid_something_else_is_found(monkeypatch, name):
    write = IndexEnv._write
    subject = Subject(name, lambda: IndexEnv(make_task(name)), seed=0, n_steps=200)
    check_views(subject)
    monkeypatch.setattr(IndexEnv, "_write", lambda self, token: write(self, token) / np.float32(2))
    with pytest.raises(ConformanceError, match=r"views: step \d+: problem \d+ of 'train', .* rewards of the episode"):
        check_views(subject)


class TestModel:
    @pytest.mark.parametrize("grammar", [True, False])
    def test_ranks_by_what_it_says_of_the_context(self, grammar):
        task = make_task("safeassist")
        task = task if grammar else replace(task, grammar=None, max_response_tokens=9)
        tokenizer, model, rng = task.tokenizer, FakeModel(task.tokenizer.vocab_size), np.random.default_rng(3)
        env = IndexEnv(task, k=6, language_model=model)
        assert (env.ranking, env.obs_mode) == ("model", "embed")
        for seed in range(3):
            observation, info = env.reset(seed=seed)
            ended = False
            while not ended:
                log_probs, hidden = said_of(env.context, model.vocab_size, model.hidden_size)
                written = env.context[env._begun :].tolist()
                if grammar:
                    valid = np.flatnonzero(
                        task.grammar.allowed(task.with_split(info["split"])[info["problem"]], written)
                    )
                else:
                    valid = np.setdiff1d(np.arange(model.vocab_size), [tokenizer.pad_id, tokenizer.bos_id])
                best = sorted(valid.tolist(), key=lambda i, said=log_probs: (-round(float(said[i]), 4), i))[:6]
                assert info["options"].tolist() == best + [-1] * (6 - len(best))
                features = observation[: 6 * len(FEATURES)].reshape(6, len(FEATURES))
                expected = np.maximum(log_probs[best] / LOG_PROB_SCALE, -1)
                np.testing.assert_allclose(features[: len(best), FEATURES.index("log_prob")], expected, atol=1e-5)
                np.testing.assert_array_equal(observation[-model.hidden_size :], hidden)
                observation, _, ended, _, info = env.step(int(rng.integers(len(best))))
            assert grammar or len(env.context[env._begun :]) <= 9

    def test_reads_a_batch_of_environments_as_it_reads_each(self):
        """The two phases: all transitions, one reading, all observations."""
        task = make_task("toolcall", difficulty="easy")
        model = FakeModel(task.tokenizer.vocab_size)
        envs, alone = ([IndexEnv(task, language_model=model) for _ in range(3)] for _ in range(2))
        reader = ContextReader(envs)
        for i, env in enumerate(envs):
            env.begin(seed=i)
        seen = [env.observe(reading) for env, reading in zip(envs, reader.read([0, 1, 2], envs), strict=True)]
        expected = [env.reset(seed=i) for i, env in enumerate(alone)]
        rng, running = np.random.default_rng(0), [0, 1, 2]
        for _ in range(60):
            for (observation, info), (wanted, told) in zip(seen, expected, strict=True):
                np.testing.assert_array_equal(observation, wanted)
                np.testing.assert_array_equal(info["options"], told["options"])
            actions = {i: int(rng.integers(8)) for i in running}
            paid = {i: envs[i].advance(action) for i, action in actions.items()}
            readings = reader.read(running, [envs[i] for i in running])
            seen = [envs[i].observe(reading) for i, reading in zip(running, readings, strict=True)]
            calls = [alone[i].step(actions[i]) for i in running]
            expected = [(call[0], call[4]) for call in calls]
            running = [i for i in running if not paid[i][1]]
            assert running == [i for i, call in zip(actions, calls, strict=True) if not call[2]]
            keep = [n for n, i in enumerate(actions) if i in running]
            seen, expected = [seen[n] for n in keep], [expected[n] for n in keep]
        assert len(running) < 3

    def test_is_not_asked_without_need(self):
        """Once a step; after the end only where its hidden state is shown."""
        task = make_task("dentfront")
        for obs_mode, more in (("onehot", 0), ("embed", 1)):
            env = IndexEnv(task, language_model=FakeModel(task.tokenizer.vocab_size), obs_mode=obs_mode)
            _, _, calls = play(env, np.random.default_rng(0), seed=0)
            assert env._reader._session.calls == len(calls) + more
        assert not IndexEnv(task).wants_reading

    @pytest.mark.parametrize(
        ("name", "kwargs"),
        [
            ("toolcall", {}),
            ("unlock", {"ranking": "grammar"}),
            ("unlock", {"obs_mode": "features"}),
            ("unlock", {"k": 1}),
        ],
    )
    def test_keeps_the_contract_with_one(self, name, kwargs):
        task = make_task(name, **({"max_response_tokens": 8} if name == "toolcall" else {}))
        env = IndexEnv(task, language_model=FakeModel(task.tokenizer.vocab_size), **kwargs)
        check_mo_env(env, n_steps=25)


class TestObservation:
    def test_shows_what_was_written_where_the_vocabulary_is_small(self):
        task = make_task("contextfront")
        env, token = IndexEnv(task), TokenEnv(task, obs_mode="onehot")
        observation, info = env.reset(seed=0)
        shown, _ = token.reset(options={"problem": info["problem"]})
        start = 8 * len(FEATURES) + 1
        np.testing.assert_array_equal(observation[start:], shown)
        option = int(info["options"][1])
        np.testing.assert_array_equal(env.step(1)[0][start:], token.step(option)[0])

    def test_tells_progress(self):
        env = IndexEnv(make_task("toolcall"))
        env.reset(seed=0)
        ended, before = False, 0.0
        while not ended:
            observation, _, ended, _, _ = env.step(0)
            share = len(env.context[env._begun :]) / env.task.max_response_tokens
            assert observation[-1] == np.float32(share)
            assert before < share <= 1
            before = share

    def test_modes_by_default(self):
        model = FakeModel(1024)
        task, letters = make_task("toolcall"), make_task("dentfront")
        assert IndexEnv(task).obs_mode == "features"
        assert IndexEnv(letters).obs_mode == "onehot"
        assert IndexEnv(task, language_model=model).obs_mode == "embed"
        assert IndexEnv(task, language_model=model, obs_mode="features").ranking == "model"
        assert IndexEnv(task).observation_space.shape == (8 * len(FEATURES) + 1,)
        assert IndexEnv(task, k=3, language_model=model).observation_space.shape == (3 * len(FEATURES) + 1 + 5,)


class TestEmbeddedModel:
    """What needs the agents layer, which loads the model."""

    def test_keeps_the_contract_by_name(self):
        """Its spec, too, survives JSON."""
        check_mo_env("SafeAssist-MO-v0", view="index", language_model="tiny", max_response_tokens=5, n_steps=12)

    def test_its_first_option_writes_what_is_asked_for(self):
        env = gym.make("ToolCall-MO-v0", view="index", language_model="tiny", difficulty="easy", split="eval")
        low, high, scaled = env.unwrapped.return_space.low, env.unwrapped.return_space.high, []
        for problem in range(6):
            env.reset(options={"problem": problem})
            ended = False
            while not ended:
                _, rewards, ended, _, _ = env.step(0)
            scaled.append((rewards - low) / (high - low))
        assert np.mean(scaled) > 0.9

    def test_a_batch_of_environments_is_read_at_once(self):
        kwargs = {"view": "index", "language_model": "tiny", "difficulty": "easy", "k": 4}
        envs = gym.make_vec("ToolCall-MO-v0", num_envs=3, autoreset_mode="Disabled", **kwargs)
        alone = [gym.make("ToolCall-MO-v0", **kwargs) for _ in range(3)]
        seen, info = envs.reset(seed=5)
        for row, env in enumerate(alone):
            observation, told = env.reset(seed=5 + row)
            np.testing.assert_allclose(seen[row], observation, atol=1e-4)
            np.testing.assert_array_equal(info["options"][row], told["options"])
        for _ in range(4):
            seen, rewards, *_, info = envs.step(np.array([0, 1, 0]))
            for row, (env, action) in enumerate(zip(alone, [0, 1, 0], strict=True)):
                observation, paid, _, _, told = env.step(action)
                np.testing.assert_allclose(seen[row], observation, atol=1e-4)
                np.testing.assert_array_equal(rewards[row], paid)
                np.testing.assert_array_equal(info["options"][row], told["options"])


def test_the_same_seed_begins_the_same_problem_in_every_view():
    for seed in range(3):
        told = {gym.make("ToolCall-MO-v0", view=view).reset(seed=seed)[1]["problem"] for view in ("token", "index")}
        assert len(told) == 1


def test_what_the_task_knows_is_there():
    env = gym.make("DentFront-MO-v0", view="index", render_mode="ansi", k=4).unwrapped
    np.testing.assert_array_equal(env.pareto_front(), env.task.pareto_front())
    assert env.objective_names == env.task.rewards.names
    env.reset(seed=0)
    env.step(0)
    assert env.render() == env._env.render()


def test_it_is_pickled_with_its_options():
    env = IndexEnv(make_task("toolcall"), language_model=FakeModel(1024))
    env.reset(seed=0)
    env.step(1)
    copied = pickle.loads(pickle.dumps(env))
    np.testing.assert_array_equal(copied.action_masks(), env.action_masks())
    np.testing.assert_array_equal(copied.step(1)[0], env.step(1)[0])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"k": 0}, r"IndexEnv\(k=\) must be at least 1, got 0"),
        ({"k": True}, r"IndexEnv\(k=\) must be at least 1, got True"),
        ({"ranking": "best"}, r"ranking must be None or one of \('grammar', 'model'\), got 'best'"),
        ({"obs_mode": "ids"}, r"obs_mode must be None or one of \('features', 'onehot', 'embed'\), got 'ids'"),
        ({"ranking": "model"}, "ranking='model' needs language_model=, for example language_model='tiny'; got None"),
        ({"obs_mode": "embed"}, "obs_mode='embed' needs language_model="),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        IndexEnv(make_task("toolcall"), **kwargs)


def test_wrong_calls_are_named():
    env = IndexEnv(make_task("dentfront"))
    with pytest.raises(RuntimeError, match="there is no episode yet, call reset first"):
        env.action_masks()
    with pytest.raises(RuntimeError, match="no episode is running, call reset first"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"the action must lie in 0..7, got 8"):
        env.step(8)
    with pytest.raises(TypeError):
        env.step(0.5)
    play(env, np.random.default_rng(0), seed=0)
    with pytest.raises(RuntimeError, match="no episode is running, call reset first"):
        env.step(0)


def replayed_certainty(task, problem, chosen, certainty):
    """The tokens of an episode in the token view: the certain ones by the model, the others those chosen, in order."""
    model, env, left = FakeModel(task.tokenizer.vocab_size), TokenEnv(task), list(chosen)
    env.reset(options={"problem": problem})
    ended, total, decided, written = False, np.zeros(env.reward_dim), False, 0
    while not ended:
        written += 1
        valid = np.flatnonzero(env.action_masks())
        said, _ = said_of(env.context.tolist(), model.vocab_size, model.hidden_size)
        log_probs = np.round(said[valid], 4)
        token = int(valid[log_probs.argmax()])
        sure = len(valid) == 1 or 1 / np.exp(log_probs - log_probs.max(), dtype=np.float64).sum() >= certainty
        ends = token == task.tokenizer.eos_id or written == task.max_response_tokens
        if not sure or (not decided and ends):
            token, decided = left.pop(0), True
        _, rewards, ended, _, info = env.step(token)
        total = total + rewards
    assert left == []
    return total, info


@pytest.mark.parametrize("certainty", [0.5, 0.7])
@pytest.mark.parametrize("name", ["toolcall", "dentfront", "mathreasoning"])
def test_tokens_that_the_model_is_certain_of_are_written_at_once(name, certainty):
    task, rng = make_task(name), np.random.default_rng(5)
    env = IndexEnv(task, language_model=FakeModel(task.tokenizer.vocab_size), certainty=certainty)
    plain = IndexEnv(task, language_model=FakeModel(task.tokenizer.vocab_size))
    shorter = 0
    for problem in range(min(4, len(task))):
        _, chosen, calls = play(env, rng, options={"problem": problem})
        total, info = replayed_certainty(task, problem, chosen, certainty)
        assert info["response"] == calls[-1][-1]["response"]
        np.testing.assert_allclose(sum(call[1] for call in calls), total, atol=1e-6)
        shorter += len(play(plain, rng, options={"problem": problem})[0]) - len(calls)
    if name != "dentfront":
        assert shorter > 0


@pytest.mark.parametrize("certainty", [0.4, 1.01, float("nan")])
def test_certainty_is_a_probability(certainty):
    with pytest.raises(ValueError, match=r"IndexEnv\(certainty=\) must be None or lie in \[0.5, 1\]"):
        IndexEnv(make_task("toolcall"), language_model=FakeModel(1024), certainty=certainty)
    with pytest.raises(ValueError, match="beside language_model="):
        IndexEnv(make_task("toolcall"), certainty=0.9)
