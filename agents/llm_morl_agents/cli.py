"""``llm-morl``: dispatches to `llm_morl_agents.commands`. Only the command that is asked for is imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType

from llm_morl_agents.experiments.errors import UserError

#: Every command with its module in `llm_morl_agents.commands` and a line on what it does. Read-only.
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "compare": "several agents and weighters, several seeds, in parallel: table, plots, HTML report",
        "train": "one agent with one weighter",
        "family": "policies for every preference: one that reads it, a soup of several, or a sweep; the front",
        "classic": "classic multi-objective algorithms on a view of a task, evaluated anew",
        "front": "the fronts of classic algorithms and language models in one picture, with table and page",
        "evaluate": "reward vectors of a policy or a checkpoint, greedy and sampled",
        "envs": "the environments: ids, objectives, bounds; one rendered example",
        "report": "make the tables, plots and HTML of an experiment again from its files",
        "candidates": "answers of a frozen model to choose from: the file of the choice view",
        "pretrain": "make the embedded policy from nothing",
    }
)
_HELP = """usage: llm-morl COMMAND [OPTIONS]

Grouped policy gradients on vector rewards: language models under several objectives.

commands:
{commands}

examples:
  llm-morl compare --arms gdpo:static gdpo:saw dvao --seeds 3 --steps 80
  llm-morl train --arm gdpo:saw --steps 40 --name first
  llm-morl COMMAND --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Without the program's name; None takes the process's.

    Returns:
        The exit status: 0; 1 where a run failed; 2 for a mistake of the user; 130 after an interruption.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {name:<{width}}  {line}" for name, line in COMMANDS.items()]
        print(_HELP.format(commands="\n".join(lines)), end="")
        return 0
    if given[0] == "--version":
        print(version("llm-morl-env"))
        return 0
    if given[0] not in COMMANDS:
        print(f"llm-morl: unknown command {given[0]!r}; known are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command = importlib.import_module(f"llm_morl_agents.commands.{given[0]}")
    try:
        status: int = command.main(given[1:])
    except UserError as error:
        print(f"llm-morl {given[0]}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"llm-morl {given[0]}: interrupted", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
