"""Dialogues as one text: what rewards of tasks with several turns read."""

from __future__ import annotations

from collections.abc import Sequence

#: ASCII's record separator. Prompts and answers have no use for it.
SEPARATOR = "\x1e"


def join_turns(responses: Sequence[str]) -> str:
    r"""One text of the responses of a dialogue, in order. A separator inside a response is dropped.

    >>> join_turns(["first", "sec\x1eond"])
    'first\x1esecond'
    """
    return SEPARATOR.join(response.replace(SEPARATOR, "") for response in responses)


def split_turns(dialogue: str) -> list[str]:
    r"""The responses of `join_turns`; a plain response is a dialogue of one turn.

    >>> split_turns("first\x1esecond"), split_turns("only")
    (['first', 'second'], ['only'])
    """
    return dialogue.split(SEPARATOR)
