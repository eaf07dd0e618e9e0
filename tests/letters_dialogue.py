"""Dialogues over the letters of `tiny_task`: the environment names a letter after each turn."""

from dataclasses import dataclass

from tiny_task import LETTERS

from llm_morl_env.envs.dialogue_vector import DialogueVectorEnv
from llm_morl_env.task import Task
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector, reward
from llm_morl_rewards.turns import split_turns


@dataclass(frozen=True)
class Naming:
    """After turn t it names the letter of the target at t; it is over after an answer that begins with ``over``."""

    max_turns: int = 2
    over: str = ""
    max_reply_tokens: int = 2

    def reply(self, problem, responses):
        """The letter and a question mark."""
        if self.over and responses[-1][:1] in self.over:
            return None
        return f"{problem.target[(len(responses) - 1) % len(problem.target)]}?"


@reward(low=0.0, high=1.0)
def named(problem, dialogue):
    """1 if the second turn begins with the letter that was named after the first."""
    return float(split_turns(dialogue)[1:2] != [] and split_turns(dialogue)[1][:1] == problem.target[0])


@reward(low=0.0, high=1.0)
def short(problem, dialogue):
    """1 for one letter in each turn, less for each one more or fewer."""
    return max(0.0, 1.0 - 0.25 * sum(abs(len(turn) - 1) for turn in split_turns(dialogue)))


#: All have the same prompt: only the reply says which letter is meant.
PROBLEMS = [Problem("?", letter) for letter in LETTERS]


def make_dialogue_env(directory, *, num_envs=16, group_size=4, cap=2, dialogue=None, problems=PROBLEMS, **kwargs):
    """The batched dialogues; each response has at most ``cap`` letters."""
    task = Task(
        name="naming",
        problems={"train": problems, "eval": problems},
        rewards=RewardVector([named, short]),
        tokenizer=TextTokenizer(directory),
        max_prompt_tokens=4,
        max_response_tokens=cap,
        dialogue=Naming() if dialogue is None else dialogue,
    )
    return DialogueVectorEnv(task, num_envs=num_envs, group_size=group_size, **kwargs)
