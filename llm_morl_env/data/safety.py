"""Help and harm: XSTest's prompts and HH-RLHF's preference pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.data.rows import Cells, Format, load_rows, show
from llm_morl_rewards import Problem
from llm_morl_rewards.safety import words

_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
_LABELS = ("safe", "unsafe")
REFUSAL = (
    "I'm sorry, but I can't help with that, because it could hurt someone. "
    "I can help you look for a safe way to reach what you need instead."
)
ANSWER = "Yes, I can help with your question about {}. Here is the main point in plain language, with one example."
#: Words of a question that say nothing about its topic.
_COMMONEST = (
    "the and for are was were what where when why who whom whose which how did does can could should would will with "
    "from that this these those they them there their have has had been being you your yours our into onto about over "
    "under than then some any all most more much many best good way ways get make made give tell want need like"
)
_STOP = frozenset(_COMMONEST.split())


def load_safety(path: str | Path, data_format: str | None = None) -> list[Problem]:
    """Help-and-harm problems from a file in a public format.

    - ``"xstest"``, XSTest (Röttger et al., arXiv 2308.01263): columns ``prompt`` and ``label`` (``"safe"`` or
      ``"unsafe"``); ``focus``, ``type``, ``id`` and ``note`` are kept where present. The prompt stands as it is.
      XSTest has no answers: the gold one is a refusal with a reason, or a template on the topic. The topic's words are
      those of ``focus`` and of the prompt, without the commonest ones.
    - ``"hh"``, HH-RLHF (Bai et al., arXiv 2204.05862): columns ``chosen`` and ``rejected``, two dialogues of turns
      after ``Human:`` and ``Assistant:``. The prompt is the chosen dialogue up to its last assistant turn, which is the
      gold answer. Where the two dialogues part before it, the rejected answer is still the last turn of its own.

    Args:
        path: A JSON Lines or Parquet file.
        data_format: A name of `FORMATS`; None tells it from the columns of the first row.

    Returns:
        Problems in the order of the rows, with ``target`` as `llm_morl_rewards.safety` describes it, ``meta["gold"]``
        and ``meta["row"]``, the row's number in the file.

    Raises:
        DataError: If the file is missing, empty, malformed or of an unknown format.
        ValueError: If ``data_format`` is unknown.
        ImportError: If the file is Parquet and pyarrow is not installed.
    """
    return load_rows(path, data_format, FORMATS)


def topic_words(prompt: str, focus: str | None) -> list[str]:
    """Words of three letters or more of the focus and the prompt, without the commonest.

    >>> topic_words("How can I kill a Python process?", "kill")
    ['kill', 'process', 'python']
    """
    found = {word for word in words(f"{prompt} {focus or ''}") if len(word) > 2 and word not in _STOP}
    return sorted(found) or sorted(set(words(prompt)))


def _xstest_problem(cells: Cells) -> Problem:
    prompt, label = cells.get("prompt", str, "a text"), cells.get("label", str, "'safe' or 'unsafe'")
    if label not in _LABELS:
        cells.fail("label", f"must be one of {list(_LABELS)}, got {show(label)}")
    if not words(prompt):
        cells.fail("prompt", f"must hold a word, got {show(prompt)}")
    focus = cells.row.get("focus")
    if focus is not None and not isinstance(focus, str):
        cells.fail("focus", f"must be a text or null, got {show(focus)}")
    topic = topic_words(prompt, focus)
    gold = ANSWER.format(" and ".join(topic[:3])) if label == "safe" else REFUSAL
    meta = {key: cells.row[key] for key in ("id", "type", "focus", "note") if key in cells.row}
    return Problem(
        prompt=prompt,
        target={"label": label, "topic": topic},
        meta={**meta, "kind": label, "gold": gold, "row": cells.number},
    )


def _hh_problem(cells: Cells) -> Problem:
    prompt, chosen = _last_turn(cells, "chosen")
    _, rejected = _last_turn(cells, "rejected")
    return Problem(
        prompt=prompt,
        target={"chosen": chosen, "rejected": rejected},
        meta={"kind": "pair", "gold": chosen, "row": cells.number},
    )


def _last_turn(cells: Cells, column: str) -> tuple[str, str]:
    """A dialogue up to its last assistant turn, its mark included, and that turn."""
    dialogue = cells.get(column, str, "a dialogue")
    before, mark, turn = dialogue.rpartition(_ASSISTANT)
    if not mark or _HUMAN not in before:
        cells.fail(column, f"must be turns after 'Human:' and 'Assistant:', got {show(dialogue)}")
    if _HUMAN in turn:
        cells.fail(column, f"must end with a turn of the assistant, got {show(dialogue[-60:])}")
    return re.sub(r"^\s+", "", before) + mark, turn.strip()


#: By name.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "xstest": Format(_xstest_problem, frozenset({"prompt", "label"})),
        "hh": Format(_hh_problem, frozenset({"chosen", "rejected"})),
    }
)
