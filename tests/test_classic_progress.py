"""The line of progress of ``llm-morl classic``, while what libraries print is dropped."""

from __future__ import annotations

import io
import time

from llm_morl_agents.classic.clock import ClassicProgress
from llm_morl_agents.classic.compat import silenced
from llm_morl_agents.commands import classic


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def row(steps: int) -> ClassicProgress:
    return ClassicProgress(steps, 1000, 2.0, (0.25, 0.5))


def test_the_line_moves_on_a_terminal_while_a_library_is_silenced(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    console = classic.own_console()
    assert console.is_terminal
    with classic._progress(console, "pcn-seed0") as shown, silenced():
        print("what the library prints")
        for steps in (100, 200):
            shown(row(steps))
            deadline = time.monotonic() + 10
            while f"{steps}/1,000 steps" not in terminal.getvalue() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert f"pcn-seed0  {steps}/1,000 steps  2 CPU-s  return 0.250 0.500" in terminal.getvalue()
    print("afterwards")
    assert "what the library prints" not in terminal.getvalue()
    assert terminal.getvalue().endswith("afterwards\n")


def test_lines_are_written_to_a_file_while_a_library_is_silenced(monkeypatch, capsys):
    monkeypatch.setattr(classic, "LINE_SECONDS", 0.0)
    with classic._progress(classic.own_console(), "pcn-seed0") as shown, silenced():
        print("what the library prints")
        shown(row(100))
        shown(row(200))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"pcn-seed0  {steps}/1,000 steps  2 CPU-s  return 0.250 0.500" for steps in (100, 200)]
