"""Importing the light layers loads nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "mo_gymnasium", "scipy", "stable_baselines3", "matplotlib", "pandas", "wandb")


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import llm_morl_rewards", ()),
        ("import llm_morl_env", ()),
        ("import gymnasium, llm_morl_env; gymnasium.make('ToolCall-MO-v0').reset(seed=0)", ("scipy",)),
        ("import gymnasium, llm_morl_env; gymnasium.make_vec('ToolCall-MO-v0', num_envs=2).reset(seed=0)", ("scipy",)),
    ],
)
def test_import_is_light(code: str, allowed: tuple[str, ...]) -> None:
    heavy = [name for name in HEAVY if name not in allowed]
    script = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
