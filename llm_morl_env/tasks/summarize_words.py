"""Words and sentences of the procedural summarisation task. Data only; most words are one or two tokens."""

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
_CITIES = _words("paris rome oslo madrid berlin london tokyo cairo"), ("lima", "delhi")

ATTRIBUTES = (
    Attribute("color", _words("red blue green black white gold"), ("brown", "gray")),
    Attribute("size", _words("small large tiny huge long big"), ("wide", "short")),
    Attribute("price"),
    Attribute("year", numbers=(1900, 2020)),
    Attribute("maker", *_PEOPLE),
    Attribute("place", *_CITIES),
    Attribute("owner", *_PEOPLE),
    Attribute("weight"),
    Attribute("height"),
    Attribute("age"),
    Attribute("length"),
    Attribute("material", _words("wood steel glass stone paper cotton"), ("iron", "silk")),
)

ITEMS = _words("lamp phone house tower boat clock river bridge castle school garden book")
UNSEEN_ITEMS = ("museum", "chair", "bike", "camera")

#: How a document states a fact. The key always comes before the value.
FACTS = (
    "the {key} of the {item} is {value}.",
    "the {item} has the {key} {value}.",
    "people say the {key} of the {item} is {value}.",
    "for the {item}, the {key} is {value}.",
)
HELD_OUT_FACTS = (
    "the {key} that the {item} has is {value}.",
    "you can read that the {key} of the {item} is {value}.",
    "of the {item}, the {key} is {value}.",
)
#: Sentences without a fact.
CHATTER = (
    "it was a nice day.",
    "many people want to see the {item}.",
    "there is not much to say about the {item}.",
    "you should see it again.",
)
HELD_OUT_CHATTER = (
    "some people look at the {item} every day.",
    "the weather was nice.",
    "i want to tell you about the {item}.",
)
