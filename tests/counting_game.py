"""A dialogue for tests: count up from a number, one number a turn, until you say that you are done.

The reply to a number is the question for the next one; only the prompt and the replies say where the count stands.
"""

from dataclasses import dataclass

import numpy as np

from llm_morl_env.task import Task
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector, reward
from llm_morl_rewards.turns import join_turns, split_turns

TOKENIZER = TextTokenizer()
TURNS, CAP = 3, 6


@reward(low=-1.0, high=1.0)
def counted(problem, response):
    """Share of the numbers that were said in order, less a third for each other turn but "done"."""
    turns = split_turns(response)
    right = sum(turn == number for turn, number in zip(turns, problem.target, strict=False))
    wrong = sum(turn not in ("done", *problem.target) for turn in turns)
    return float(np.clip((right - wrong) / len(problem.target), -1, 1))


@reward(low=0.0, high=1.0)
def quick(problem, response):
    """Falls with every character: most of it is paid in the first turn, and later turns lose of it."""
    return float(np.exp(-0.1 * len(response)))


@reward(low=0.0, high=4.0, kind="group")
def more_turns(problems, responses, group):
    """How many turns more than the shortest dialogue of the group."""
    lengths = np.array([len(split_turns(response)) for response in responses])
    return np.array([n - lengths[group == g].min() for g, n in zip(group, lengths, strict=True)], float)


@dataclass(frozen=True)
class Counting:
    """Asks for the next number, until the response is "done"."""

    max_turns: int = TURNS
    max_reply_tokens: int = 4

    def reply(self, problem, responses):
        """The next question; None after "done"."""
        return None if responses[-1] == "done" else f" {len(responses)}? "


class Digits:
    """A grammar: one digit or "done", then the end; the mask is that of a turn, whatever came before."""

    def allowed(self, problem, response_ids):
        """Mask (V,)."""
        ways = [[*TOKENIZER.encode(text), TOKENIZER.eos_id] for text in (*"0123456789", "done")]
        mask = np.zeros(TOKENIZER.vocab_size, np.bool_)
        written = list(response_ids)
        mask[[way[len(written)] for way in ways if way[: len(written)] == written and len(way) > len(written)]] = True
        mask[TOKENIZER.eos_id] |= not mask.any()
        return mask


def problem_of(start):
    """Two numbers are asked for; the gold dialogue says them and is done."""
    numbers = [str(start), str(start + 1)]
    return Problem(f"count 2 from {start}: ", numbers, {"gold": join_turns([*numbers, "done"])})


def counting_task(*, rewards=(counted, quick), turns=TURNS, **kwargs):
    """The task; a maker as `llm_morl_env.registration.TASKS` names them."""
    problems = [problem_of(start) for start in range(8)]
    return Task(
        name="counting",
        problems={"train": problems, "eval": problems[:4]},
        rewards=RewardVector(rewards),
        tokenizer=TOKENIZER,
        max_prompt_tokens=16,
        max_response_tokens=CAP,
        dialogue=Counting(turns),
        **{"grammar": Digits(), **kwargs},
    )
