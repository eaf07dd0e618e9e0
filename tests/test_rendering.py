"""Episodes as text."""

import numpy as np
import pytest

from llm_morl_env.rendering import BAR_WIDTH, printable, render_dialogue, render_episode, reward_bar
from llm_morl_rewards import RewardVector
from llm_morl_rewards.toolcall import tool_correctness, tool_format

REWARDS = RewardVector([tool_format, tool_correctness])


def test_a_finished_episode_shows_everything() -> None:
    shown = render_episode("two\nlines", REWARDS, ("hi", "length", np.array([1.0, -1.5], np.float32)))
    assert shown.split("\n") == [
        "prompt",
        "  | two",
        "  | lines",
        "answer (length)",
        "  | hi",
        "reward",
        "  format       ████████████████████████   1.00  [0, 1]",
        "  correctness  ██████··················  -1.50  [-3, 3]",
    ]


def test_a_running_episode_shows_the_prompt() -> None:
    assert render_episode("hello", REWARDS) == "prompt\n  | hello"


@pytest.mark.parametrize(("value", "filled"), [(-9.0, 0), (-3.0, 0), (0.0, 12), (3.0, 24), (9.0, 24)])
def test_bars_keep_their_width(value: float, filled: int) -> None:
    bar = reward_bar(value, -3.0, 3.0)
    assert bar == "█" * filled + "·" * (BAR_WIDTH - filled)


def test_control_characters_and_surrogates_are_escaped() -> None:
    assert printable("a\n雪 \x1b[31m\r\u2028\ud800") == "a\n雪 \\x1b[31m\\r\\u2028\\ud800"


def test_a_dialogue_shows_turns_and_replies() -> None:
    values = np.array([1.0, -3.0])
    shown = render_dialogue("ask", ["one", "two"], ["and?"], "turns", REWARDS, values)
    assert shown.split("\n") == [
        "prompt",
        "  | ask",
        "turn 1",
        "  | one",
        "reply",
        "  | and?",
        "turn 2 (turns)",
        "  | two",
        "reward",
        "  format       ████████████████████████   1.00  [0, 1]",
        "  correctness  ························  -3.00  [-3, 3]",
    ]
    running = render_dialogue("ask", ["o\x1b[2J"], ["an\x07d?"], "", REWARDS, values).split("\n")
    assert running[2:7] == ["turn 1", "  | o\\x1b[2J", "reply", "  | an\\x07d?", "reward so far"]
    assert render_dialogue("ask", [], [], "", REWARDS, values) == "prompt\n  | ask"
