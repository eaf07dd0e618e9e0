"""`InterruptFlag`: the first Ctrl-C of a training finishes the step in progress."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class InterruptFlag:
    """Turns the first SIGINT into a flag while it is entered; the second is a KeyboardInterrupt again.

    Attributes:
        raised: Whether a SIGINT came.
    """

    def __init__(self) -> None:
        self.raised = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._raise)
        return self

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.raised = True
        # A background job of a shell starts with SIGINT ignored; who sends a second one means it all the same.
        signal.signal(signal.SIGINT, self._previous if callable(self._previous) else signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
