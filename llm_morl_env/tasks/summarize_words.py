"""Words and sentences of the procedural summarisation task. Data only; most words are one token."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """What a document says of an item, and the values it takes.

    Args:
        name: The key of a clause.
        words: Values; empty for a number.
        unseen: Values of the split of that name.
        numbers: Least and greatest number.
    """

    name: str
    words: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    numbers: tuple[int, int] = (2, 99)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PEOPLE = _words("anna ben carla david emma frank grace henry"), ("omar", "lena")
_FOOD = _words("apples bread cheese pasta milk"), ("coffee", "rice")

ATTRIBUTES = (
    Attribute("room", _words("kitchen bathroom bedroom garage hall"), ("office", "garden")),
    Attribute("city", _words("paris rome oslo madrid berlin london tokyo cairo"), ("lima", "delhi")),
    Attribute("food", *_FOOD),
    Attribute("gift", _words("book phone car playlist song boxes"), ("video", "lamp")),
    Attribute("name", *_PEOPLE),
    Attribute("email", *_PEOPLE),
    Attribute("order", *_FOOD),
    Attribute("people"),
    Attribute("minutes"),
    Attribute("day", numbers=(2, 30)),
)

ITEMS = _words("meeting dance lunch breakfast hotel show call dream plan task")
UNSEEN_ITEMS = ("report", "request", "review")

#: How a document states a fact. Key and value stand side by side; the item comes before or after them.
FACTS = (
    "the {item} has the {key} {value}.",
    "for the {item}, {key} {value}.",
    "the {key} {value} is for the {item}.",
    "people say the {item} has {key} {value}.",
    "about the {item}: {key} {value}.",
    "you can see {key} {value} with the {item}.",
)
#: The parts of these occur in training, put together otherwise.
HELD_OUT_FACTS = (
    "people say the {key} {value} is for the {item}.",
    "about the {item}, {key} {value}.",
    "you can see the {item} has the {key} {value}.",
)
#: What a sentence without a fact may mention, whatever the split.
MENTIONED = tuple(sorted({*ITEMS, *UNSEEN_ITEMS, *(word for a in ATTRIBUTES for word in (*a.words, *a.unseen))}))
#: Sentences without a fact.
CHATTER = (
    "people want to see the {item}.",
    "you can see {word} again.",
    "there is much to say about {word}.",
    "the {item} was nice.",
)
HELD_OUT_CHATTER = (
    "people want to say {word} again.",
    "you can see the {item} was nice.",
    "there is much to see about {word}.",
)
