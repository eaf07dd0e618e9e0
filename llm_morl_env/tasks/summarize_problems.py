"""Procedural summarisation problems: documents about an item among other things, with the facts to be told.

Problem i of a split is a pure function of (seed, split, i). See `Tier` for what the difficulties differ in, and
`llm_morl_env.tasks.summarize_words` for the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from llm_morl_env.tasks import summarize_words as words
from llm_morl_env.tasks.building import EVAL_SIZE, ProceduralProblems, stratify
from llm_morl_env.tasks.summarize_words import ATTRIBUTES, Attribute
from llm_morl_rewards import Problem
from llm_morl_rewards.summary import join_clauses

#: A fifth of all numbers and of all combinations of item, key and value is held out: those whose sum is divisible; of
#: a number that of its digits, so that every digit occurs in training at each place.
HOLD_OUT = 5


@dataclass(frozen=True)
class Tier:
    """One difficulty; pairs are the least and the greatest number.

    Args:
        facts: Facts of the item in question; each number is as likely.
        rivals: Facts of other items under keys that the item has too, with other values.
        others: Facts of other items under keys that the item lacks.
        chatter: Sentences without a fact.
    """

    facts: tuple[int, int]
    rivals: tuple[int, int] = (0, 0)
    others: tuple[int, int] = (0, 0)
    chatter: tuple[int, int] = (0, 0)


TIERS = MappingProxyType(
    {
        "easy": Tier(facts=(2, 3)),
        "standard": Tier(facts=(3, 4), others=(1, 1), chatter=(1, 1)),
        "hard": Tier(facts=(4, 6), rivals=(2, 3), chatter=(0, 1)),
    }
)


@dataclass(frozen=True)
class Fact:
    """Something that a document says: the value of an item's attribute."""

    item: str
    key: str
    value: str


@dataclass(frozen=True)
class SummaryMaker:
    """Makes the problems of a split.

    Args:
        tier: What to draw.
        split: See `llm_morl_env.tasks.building.SPLITS`; outside of ``train`` phrasings, numbers and combinations of
            item, key and value are those held out, in ``unseen`` items and words too, which training has in chatter
            alone.
        count_tokens: Length of a text, for ``meta["document_tokens"]``.
        n_facts: Number of facts of each problem; None draws it.
    """

    tier: Tier
    split: str
    count_tokens: Callable[[str], int]
    n_facts: tuple[int, ...] | None = None

    def __call__(self, index: int, rng: np.random.Generator) -> Problem:
        """Problem ``index``, all but its number of facts drawn from ``rng``."""
        n_facts = _between(rng, self.tier.facts) if self.n_facts is None else self.n_facts[index]
        item, told, sentences = self._draw(rng, n_facts)
        document = " ".join(sentences)
        facts = {fact.key: fact.value for fact in told if fact.item == item}
        return Problem(
            prompt=write_prompt(document, item),
            target={
                "item": item,
                "facts": facts,
                "keys": list(dict.fromkeys(fact.key for fact in told)),
                "values": list(dict.fromkeys(fact.value for fact in told)),
            },
            meta={
                "gold": join_clauses(facts),
                "document": document,
                "document_tokens": self.count_tokens(document),
                "n_facts": n_facts,
            },
        )

    def _draw(self, rng: np.random.Generator, n_facts: int) -> tuple[str, list[Fact], list[str]]:
        """The item in question, what the document says of any item, and its sentences, both in order."""
        held = self.split != "train"
        items = words.UNSEEN_ITEMS if self.split == "unseen" else words.ITEMS
        item, *other_items = (items[i] for i in rng.permutation(len(items)))
        attributes = [ATTRIBUTES[i] for i in rng.permutation(len(ATTRIBUTES))]
        own, lacking = attributes[:n_facts], attributes[n_facts:]
        facts = [Fact(item, a.name, draw_value(rng, item, a, self.split)) for a in own]
        shared = [own[i] for i in rng.permutation(n_facts)[: _between(rng, self.tier.rivals)]]
        said = {fact.key: fact.value for fact in facts}
        about_others = shared + lacking[: _between(rng, self.tier.others)]
        facts += [self._other(rng, other_items, attribute, said.get(attribute.name)) for attribute in about_others]
        sentences: list[tuple[str, Fact | None]] = [
            (_pick(rng, words.HELD_OUT_FACTS if held else words.FACTS).format(**vars(fact)), fact) for fact in facts
        ]
        chatter = words.HELD_OUT_CHATTER if held else words.CHATTER
        chosen = rng.permutation(len(chatter))[: _between(rng, self.tier.chatter)]
        sentences += [
            (chatter[position].format(item=item, word=_pick(rng, words.MENTIONED)), None) for position in chosen
        ]
        shuffled = [sentences[i] for i in rng.permutation(len(sentences))]
        return item, [fact for _, fact in shuffled if fact is not None], [sentence for sentence, _ in shuffled]

    def _other(self, rng: np.random.Generator, items: Sequence[str], attribute: Attribute, taken: str | None) -> Fact:
        while True:
            item = _pick(rng, items)
            value = draw_value(rng, item, attribute, self.split)
            if value != taken:
                return Fact(item, attribute.name, value)


def summary_problems(tier: Tier, split: str, *, seed: int, count_tokens: Callable[[str], int]) -> ProceduralProblems:
    """The problems of one split; every prefix of ``eval`` and ``unseen`` has each number of facts as often as it can.

    Args:
        tier: What to draw; see `TIERS`.
        split: One of `llm_morl_env.tasks.building.SPLITS`.
        seed: Of the whole task.
        count_tokens: Length of a text.
    """
    low, high = tier.facts
    sizes = high - low + 1
    n_facts = None if split == "train" else tuple(low + stratum for stratum in stratify([1 / sizes] * sizes, EVAL_SIZE))
    return ProceduralProblems(SummaryMaker(tier, split, count_tokens, n_facts), split, seed=seed)


def write_prompt(document: str, item: str) -> str:
    """The prompt: the document, then the item that the summary is about."""
    return f"<doc>{document}<question>the {item}<answer>"


def draw_value(rng: np.random.Generator, item: str, attribute: Attribute, split: str) -> str:
    """A value of an item's attribute, on the split's side of the hold-out."""
    if attribute.words and split == "unseen":
        return _pick(rng, attribute.unseen)
    while True:
        value = _pick(rng, attribute.words) if attribute.words else str(_between(rng, attribute.numbers))
        if is_held_out(item, attribute, value) == (split != "train"):
            return value


def is_held_out(item: str, attribute: Attribute, value: str) -> bool:
    """Whether no training document says this of this item.

    >>> [room for room in ATTRIBUTES[0].words if is_held_out("dance", ATTRIBUTES[0], room)]
    ['bedroom']
    >>> [day for day in map(str, range(2, 31)) if is_held_out("dance", ATTRIBUTES[9], day)]
    ['5', '14', '19', '23', '28']
    """
    if not attribute.words:
        return sum(map(int, value)) % HOLD_OUT == 0
    if item not in words.ITEMS or value not in attribute.words:
        return True
    place = words.ITEMS.index(item) + ATTRIBUTES.index(attribute) + 2 * attribute.words.index(value)
    return place % HOLD_OUT == 0


def _between(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(bounds[0], bounds[1], endpoint=True))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
