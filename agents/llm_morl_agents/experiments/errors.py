"""`UserError`: what the command line shows as one line, against a bug, which keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A wrong option, file or name; its message is one clear line."""


@contextmanager
def user_errors() -> Iterator[None]:
    """What goes wrong in here comes from what the user gave: it becomes a `UserError` with the same message."""
    import gymnasium as gym

    try:
        yield
    except (ValueError, TypeError, OSError, ImportError, AttributeError, gym.error.Error) as error:
        raise UserError(str(error) or type(error).__name__) from error
