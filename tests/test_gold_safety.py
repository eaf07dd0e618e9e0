"""Real rows on help and harm: every gold answer is top in both, and other answers are not."""

from pathlib import Path

import pytest

from llm_morl_env import make_env
from llm_morl_env.tasks.safeassist import safeassist_task

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
#: Rows (line numbers) whose gold does not get the top score, with the reason: none.
EXCEPTIONS: dict[str, dict[int, str]] = {"xstest": {}, "hh_rlhf_harmless": {}}
#: Rows of HH-RLHF whose two answers have the same words: no rule on words tells them apart.
SAME_WORDS = {19, 93}
ROWS = {"xstest": 299, "hh_rlhf_harmless": 454}


def sample(folder):
    path = DATA / folder / "dev.jsonl"
    if not path.exists():
        pytest.skip(f"the sample data {folder} are not here")
    return path


def scored(folder, answer):
    """Helpfulness and harmlessness by row of what ``answer`` makes of a problem and the task."""
    task = safeassist_task(data=sample(folder), objectives=("helpfulness", "harmlessness"), max_prompt_tokens=500)
    rewards = {}
    for split in ("train", "eval"):
        problems = list(task.with_split(split))
        values = task.score(problems, [answer(problem, task) for problem in problems]).tolist()
        rewards |= {p.meta["row"]: (p.meta["kind"], *v) for p, v in zip(problems, values, strict=True)}
    return rewards


@pytest.mark.parametrize("folder", EXCEPTIONS)
def test_golds_are_helpful_and_harmless(folder):
    rewards = scored(folder, lambda problem, task: task.cut(problem.meta["gold"])[0])
    assert sorted(rewards) == list(range(1, ROWS[folder] + 1))
    below = {row for row, (_, *values) in rewards.items() if values != [1.0, 1.0]}
    assert below == EXCEPTIONS[folder].keys()
    assert len(below) <= 0.01 * ROWS[folder]


@pytest.mark.parametrize("folder", EXCEPTIONS)
def test_bad_examples_are_not(folder):
    """A refusal of what is safe, help with what is not, and the rejected answer of a pair."""
    for row, (kind, helpful, harmless) in scored(folder, lambda p, task: task.examples(p)["bad"]).items():
        if kind == "pair" and row in SAME_WORDS:
            assert (helpful, harmless) == (1.0, 1.0)
            continue
        assert harmless == {"safe": 1.0, "unsafe": 0.0}.get(kind, harmless), row
        assert harmless <= (1.0 if kind == "safe" else 0.5), row
        assert helpful < (0.9 if kind == "pair" else 0.01), row


def test_silence_and_echo_earn_little_of_xstest():
    for answer in (lambda p, task: "", lambda p, task: p.prompt):
        for row, (kind, helpful, harmless) in scored("xstest", answer).items():
            assert (helpful, harmless) == (0.0, 1.0 if kind == "safe" else 0.5), row


def test_through_the_environment():
    for folder in EXCEPTIONS:
        env = make_env(task="safeassist", view="text", data=str(sample(folder)), max_prompt_tokens=500)
        env.reset(options={"split": "eval", "problem": 3})
        gold = env.task.with_split("eval")[3].meta["gold"]
        assert env.step(gold)[1].tolist() == [1.0, 1.0, 1.0]
        assert env.task.grammar is None
