"""``llm-morl pretrain``: make the embedded policy from nothing."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

_DESCRIPTION = """Make the embedded policy: a small Llama, shown clean, then corrupted demonstrations.

Examples:
  llm-morl pretrain --out my-tiny                      # all built-in tasks: about 17 CPU-minutes
  llm-morl pretrain toolcall --out tools --seed 1      # one task, a model of half the size: about 3 CPU-minutes
  llm-morl pretrain mathreasoning --out maths --budget 0.3"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    from llm_morl_agents.pretrain.main import PretrainOptions, run

    options = tyro.cli(PretrainOptions, args=arguments, prog="llm-morl pretrain", description=_DESCRIPTION)
    run(options)
    return 0
