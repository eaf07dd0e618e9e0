"""``llm-morl pretrain``: make the embedded policy from nothing."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

_DESCRIPTION = """Make the embedded policy: a small Llama with random weights, shown corrupted demonstrations of a task.

Example:

  llm-morl pretrain toolcall --out my-tiny"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    from llm_morl_agents.pretrain.main import PretrainOptions, run

    options = tyro.cli(PretrainOptions, args=arguments, prog="llm-morl pretrain", description=_DESCRIPTION)
    run(options)
    return 0
