"""Options of a command: dataclass defaults, then ``--config file.toml``, then what the command line says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from llm_morl_agents.experiments.config import TaskOptions, read_toml
from llm_morl_agents.experiments.errors import UserError

ConfigType = TypeVar("ConfigType", bound=TaskOptions)


def parse(cls: type[ConfigType], arguments: Sequence[str], *, prog: str, description: str) -> ConfigType:
    """Options from a command line, on top of those of its ``--config`` file.

    Raises:
        UserError: If the file or a value is wrong.
        SystemExit: With 2 if an option is unknown or malformed, with 0 after ``--help``.
    """
    rest, config_file = take_config(arguments)
    default = cls() if config_file is None else read_toml(config_file, cls)
    more = "--config FILE.TOML holds any of the options below (settings in a table [settings]); options override it."
    return tyro.cli(cls, args=rest, default=default, prog=prog, description=f"{description}\n\n{more}")


def take_config(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """The arguments without ``--config FILE``, and the file."""
    rest, file = [], None
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if name != "--config":
            rest.append(argument)
            continue
        given: Any = value if equals else next(remaining, None)
        if not given:
            raise UserError("--config needs the name of a TOML file")
        file = Path(given)
    return rest, file
