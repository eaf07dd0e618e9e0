"""`InterruptFlag`: the first SIGINT is a flag, the second an exception, and the handler before comes back."""

import os
import signal
import threading

import pytest

from llm_morl_agents.interrupt import InterruptFlag


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_a_flag_and_the_second_an_exception():
    with pytest.raises(KeyboardInterrupt), InterruptFlag() as flag:  # noqa: PT012  # what happens before matters
        assert not flag.raised
        interrupt()
        assert flag.raised
        interrupt()


def test_the_handler_before_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with InterruptFlag():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_other_threads_cannot_and_need_not():
    flags = []

    def work():
        with InterruptFlag() as flag:
            flags.append(flag.raised)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert flags == [False]
