"""The kinds of request of the multi-turn tool task: what each draws, says, and takes to be done.

A kind is a function ``(Draw) -> Request``. Words are those of the tool catalogue, which cost one or two tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from llm_morl_env.tasks.tool_catalogue import CITIES, DAYS, ITEMS, MEETINGS, WordList
from llm_morl_env.tasks.toolworld_phrasings import PHRASINGS
from llm_morl_rewards.world import SKIES, World

#: A guess of the user's that may be wrong. With a right one the gold dialogue acts at once, else it looks first.
Hint = Literal["none", "right", "wrong"]
Call = dict[str, Any]

TITLES = MEETINGS.second
#: A fifth of the pairs of values is held out: those with ``key % HOLD_OUT == 0``.
HOLD_OUT = 5
FIRST_HOUR, LAST_HOUR = 7, 22
MAX_PRICE, MAX_STOCK = 20, 9


@dataclass(frozen=True)
class Request:
    """A drawn request.

    Args:
        words: What the user says.
        world: The world before.
        calls: The gold calls, in order; failing ones among them where only trying shows that something is not there.
        tools: The tools needed by those who look and by those who do not.
        answer: The word that a question wants to hear.
    """

    words: str
    world: World
    calls: tuple[Call, ...]
    tools: tuple[str, ...]
    answer: str | None = None


class Draw:
    """Draws of one problem; outside the training split phrasings and pairs of values are the held-out ones.

    Args:
        rng: Of the problem.
        split: See `llm_morl_env.tasks.building.SPLITS`.
        hint: Of the request.
    """

    def __init__(self, rng: np.random.Generator, split: str, hint: Hint = "none") -> None:
        self.rng, self.split, self.hint = rng, split, hint

    def pick(self, options: Sequence[Any]) -> Any:
        """One of several."""
        return options[int(self.rng.integers(len(options)))]

    def yes(self) -> bool:
        """A fair coin."""
        return bool(self.rng.integers(2))

    def number(self, low: int, high: int, *, but: Sequence[int] = ()) -> int:
        """An integer in [low, high] that is none of ``but``."""
        return int(self.pick([n for n in range(low, high + 1) if n not in but]))

    def word(self, source: WordList, *, but: Sequence[str] = ()) -> str:
        """A word of the split that is none of ``but``."""
        return str(self.pick([word for word in self._pool(source) if word not in but]))

    def pair(self, first: WordList, second: WordList) -> tuple[str, str]:
        """Two different words; for `HOLD_OUT` the place of the second counts twice. Of unseen words all are new."""
        ours, theirs = self._pool(first), self._pool(second)
        while True:
            i, j = int(self.rng.integers(len(ours))), int(self.rng.integers(len(theirs)))
            held = (i + 2 * j) % HOLD_OUT == 0
            if ours[i] != theirs[j] and (self.split == "unseen" or held == (self.split != "train")):
                return ours[i], theirs[j]

    def say(self, kind: str, **values: object) -> str:
        """One of the kind's phrasings, the last two of which are held out."""
        phrasings = PHRASINGS[kind]
        chosen = phrasings[:-2] if self.split == "train" else phrasings[-2:]
        return str(self.pick(chosen)).format(**values)

    def hinted(self, true: bool) -> tuple[bool, str]:
        """Whether the gold dialogue looks first, and the user's guess on a condition, ``true`` in fact."""
        if self.hint == "none":
            return True, ""
        says = true == (self.hint == "right")
        return self.hint == "wrong", " i think so." if says else " i do not think so."

    def _pool(self, source: WordList) -> tuple[str, ...]:
        return source.unseen if self.split == "unseen" else source.seen

    def goods(self, *known: tuple[str, int, int]) -> tuple[tuple[str, int, int], ...]:
        """The goods and one more."""
        other = self.pick([item for item in ITEMS.seen if item not in [item for item, _, _ in known]])
        return (*known, (other, self.number(1, MAX_PRICE), self.number(1, MAX_STOCK)))

    def events(self, *known: tuple[str, str, int], free_days: Sequence[str] = ()) -> tuple[tuple[str, str, int], ...]:
        """The events and one or two more, none of them on ``free_days``, at an hour that no other has."""
        found = list(known)
        for _ in range(self.number(1, 2)):
            title = self.pick([word for word in TITLES.seen if word not in [title for title, _, _ in found]])
            day = self.pick([day for day in DAYS.seen if day not in free_days])
            found.append((title, day, self.number(FIRST_HOUR, LAST_HOUR, but=[hour for _, _, hour in found])))
        return tuple(found)

    def weather(self, *known: tuple[str, str, str]) -> tuple[tuple[str, str, str], ...]:
        """The forecasts, and one of another city."""
        other = self.pick([city for city in CITIES.seen if city not in [city for city, _, _ in known]])
        return (*known, (other, self.pick(DAYS.seen), self.pick(SKIES)))


def call(name: str, **arguments: object) -> Call:
    """A gold call."""
    return {"name": name, "arguments": arguments}


def _hour(draw: Draw, *but: int) -> int:
    return draw.number(FIRST_HOUR, LAST_HOUR, but=but)


def ask_price(draw: Draw) -> Request:
    """What does the milk cost?"""
    item, price = draw.word(ITEMS), draw.number(2, MAX_PRICE)
    words = draw.say("ask_price", item=item)
    world = World(goods=draw.goods((item, price, draw.number(1, MAX_STOCK))))
    return Request(words, world, (call("get_price", item=item),), ("get_price",), str(price))


def ask_stock(draw: Draw) -> Request:
    """How many milk are there?"""
    item, stock = draw.word(ITEMS), draw.number(1, MAX_STOCK)
    world = World(goods=draw.goods((item, draw.number(1, MAX_PRICE), stock)))
    return Request(draw.say("ask_stock", item=item), world, (call("get_stock", item=item),), ("get_stock",), str(stock))


def ask_weather(draw: Draw) -> Request:
    """How is the weather in Paris on Monday?"""
    city, day = draw.pair(CITIES, DAYS)
    sky = draw.pick(SKIES)
    world = World(weather=draw.weather((city, day, sky)))
    words = draw.say("ask_weather", city=city, day=day)
    return Request(words, world, (call("get_weather", city=city, day=day),), ("get_weather",), sky)


def ask_day(draw: Draw) -> Request:
    """What is on Monday?"""
    title, day = draw.pair(TITLES, DAYS)
    world = World(events=draw.events((title, day, _hour(draw)), free_days=[day]))
    return Request(draw.say("ask_day", day=day), world, (call("list_events", day=day),), ("list_events",), title)


def add_event(draw: Draw) -> Request:
    """Add lunch on Monday at 9."""
    (title, day), hour = draw.pair(TITLES, DAYS), _hour(draw)
    others = tuple(event for event in draw.events((title, day, hour), free_days=[day]) if event[0] != title)
    words = draw.say("add_event", title=title, day=day, hour=hour)
    gold = call("add_event", title=title, day=day, hour=hour)
    return Request(words, World(events=others), (gold,), ("add_event",))


def move_event(draw: Draw) -> Request:
    """Move lunch to Friday."""
    title, other = draw.pair(TITLES, DAYS)
    day = draw.pick([d for d in DAYS.seen if d != other])
    world = World(events=draw.events((title, day, _hour(draw))))
    gold = call("move_event", title=title, day=other)
    return Request(draw.say("move_event", title=title, day=other), world, (gold,), ("move_event",))


def cancel_event(draw: Draw) -> Request:
    """Cancel lunch."""
    title, day = draw.pair(TITLES, DAYS)
    world = World(events=draw.events((title, day, _hour(draw))))
    return Request(
        draw.say("cancel_event", title=title), world, (call("cancel_event", title=title),), ("cancel_event",)
    )


def take(draw: Draw) -> Request:
    """Put milk in the cart."""
    item = draw.word(ITEMS)
    world = World(goods=draw.goods((item, draw.number(1, MAX_PRICE), draw.number(1, MAX_STOCK))))
    return Request(draw.say("take", item=item), world, (call("add_to_cart", item=item),), ("add_to_cart",))


def put_back(draw: Draw) -> Request:
    """Take milk out of the cart."""
    item, other = draw.pair(ITEMS, ITEMS)
    goods = ((item, draw.number(1, MAX_PRICE), draw.number(0, MAX_STOCK)), (other, draw.number(1, MAX_PRICE), 1))
    world = World(goods=goods, cart=(item, other))
    return Request(draw.say("put_back", item=item), world, (call("remove_item", item=item),), ("remove_item",))


def cheaper(draw: Draw) -> Request:
    """Put the cheaper one of milk and bread in the cart; with a hint: I think it is the milk."""
    first, second = draw.pair(ITEMS, ITEMS)
    low, high = sorted(draw.number(1, MAX_PRICE // 2) + offset for offset in (0, draw.number(1, MAX_PRICE // 2)))
    prices = (low, high) if draw.yes() else (high, low)
    goods = draw.goods(
        *((item, price, draw.number(1, MAX_STOCK)) for item, price in zip((first, second), prices, strict=True))
    )
    bought, left = (first, second) if prices[0] < prices[1] else (second, first)
    words = draw.say("cheaper", first=first, second=second) + "."
    if draw.hint != "none":
        words += f" i think it is the {bought if draw.hint == 'right' else left}."
    looks = () if draw.hint == "right" else tuple(call("get_price", item=item) for item in (first, second))
    return Request(words, World(goods=goods), (*looks, call("add_to_cart", item=bought)), ("get_price", "add_to_cart"))


def cheaper_paid(draw: Draw) -> Request:
    """Buy the cheaper one of milk and bread: as `cheaper`, and pay."""
    found = cheaper(draw)
    words = f"{found.words} then pay."
    return Request(words, found.world, (*found.calls, call("pay")), (*found.tools, "pay"))


def price_if(draw: Draw) -> Request:
    """Put milk in the cart if it costs at most 9, else bread."""
    first, second = draw.pair(ITEMS, ITEMS)
    true, limit = draw.yes(), draw.number(3, MAX_PRICE - 2)
    price = draw.number(1, limit) if true else draw.number(limit + 1, MAX_PRICE)
    good = (first, price, draw.number(1, MAX_STOCK))
    return _good_if(draw, "price_if", (good, second, limit), true, call("get_price", item=first))


def stock_if(draw: Draw) -> Request:
    """Put milk in the cart if there are at least 4, else bread."""
    first, second = draw.pair(ITEMS, ITEMS)
    true, limit = draw.yes(), draw.number(3, MAX_STOCK - 2)
    stock = draw.number(limit, MAX_STOCK) if true else draw.number(1, limit - 1)
    good = (first, draw.number(1, MAX_PRICE), stock)
    return _good_if(draw, "stock_if", (good, second, limit), true, call("get_stock", item=first))


def _good_if(draw: Draw, kind: str, asked: tuple[tuple[str, int, int], str, int], true: bool, look: Call) -> Request:
    """A thing, or a second one where the condition on the first, which one call tells, is not true."""
    good, second, limit = asked
    goods = draw.goods(good, (second, draw.number(1, MAX_PRICE), draw.number(1, MAX_STOCK)))
    looks, guess = draw.hinted(true)
    words = draw.say(kind, first=good[0], second=second, limit=limit)
    act = call("add_to_cart", item=good[0] if true else second)
    return Request(
        f"{words}.{guess}", World(goods=goods), (look, act) if looks else (act,), (look["name"], "add_to_cart")
    )


def weather_if(draw: Draw) -> Request:
    """If there is rain in Paris on Monday, cancel lunch, else move it to Friday."""
    city, day = draw.pair(CITIES, DAYS)
    true, asked = draw.yes(), draw.pick(SKIES)
    sky = asked if true else draw.pick([sky for sky in SKIES if sky != asked])
    place = f"in {city}"
    looks = (call("get_weather", city=city, day=day),)
    return _by_weather(draw, (asked, place, day), true, looks, draw.weather((city, day, sky)))


def weather_either(draw: Draw) -> Request:
    """If there is rain in Paris or Rome on Monday, cancel lunch, else move it to Friday.

    Where the first city says yes, the second need not be looked at.
    """
    city, day = draw.pair(CITIES, DAYS)
    second = draw.word(CITIES, but=[city])
    asked = draw.pick(SKIES)
    others = [sky for sky in SKIES if sky != asked]
    # Both answers are as likely as each other: the first city alone says yes, the second alone, or (twice) neither.
    case = draw.number(0, 3)
    skies = (asked if case == 0 else draw.pick(others), asked if case == 1 else draw.pick(others))
    forecasts = ((city, day, skies[0]), (second, day, skies[1]))
    looks = tuple(call("get_weather", city=name, day=day) for name in ((city,) if case == 0 else (city, second)))
    return _by_weather(draw, (asked, f"in {city} or {second}", day), case < 2, looks, draw.weather(*forecasts))


def _by_weather(
    draw: Draw,
    asked: tuple[str, str, str],
    true: bool,
    looks: tuple[Call, ...],
    weather: tuple[tuple[str, str, str], ...],
) -> Request:
    """Cancel an event or move it, by a condition on the weather that the calls of ``looks`` decide."""
    sky, place, day = asked
    title = draw.word(TITLES)
    target = draw.pick([d for d in DAYS.seen if d != day])
    world = World(events=draw.events((title, day, _hour(draw))), weather=weather)
    needed, guess = draw.hinted(true)
    words = draw.say("by_weather", sky=sky, place=place, day=day, title=title, target=target)
    act = call("cancel_event", title=title) if true else call("move_event", title=title, day=target)
    tools = ("get_weather", "cancel_event", "move_event")
    return Request(f"{words}.{guess}", world, (*(looks if needed else ()), act), tools)


def clear_day(draw: Draw) -> Request:
    """Cancel what is on Monday, or move it to Friday."""
    title, day = draw.pair(TITLES, DAYS)
    world = World(events=draw.events((title, day, _hour(draw)), free_days=[day]))
    look = call("list_events", day=day)
    if draw.yes():
        act, words = call("cancel_event", title=title), draw.say("clear_day", day=day)
    else:
        target = draw.pick([d for d in DAYS.seen if d != day])
        act, words = call("move_event", title=title, day=target), draw.say("move_day", day=day, target=target)
    return Request(words, world, (look, act), ("list_events", "cancel_event", "move_event"))


def take_or(draw: Draw) -> Request:
    """Put milk in the cart, or bread if there is none: only trying (or the count, where it is on offer) tells."""
    first, second = draw.pair(ITEMS, ITEMS)
    there = draw.yes()
    stock = draw.number(1, MAX_STOCK) if there else 0
    goods = draw.goods(
        (first, draw.number(1, MAX_PRICE), stock), (second, draw.number(1, MAX_PRICE), draw.number(1, MAX_STOCK))
    )
    calls = tuple(call("add_to_cart", item=item) for item in ((first,) if there else (first, second)))
    return Request(draw.say("take_or", first=first, second=second), World(goods=goods), calls, ("add_to_cart",))


def slot_or(draw: Draw) -> Request:
    """Add lunch on Monday at 9, or at 10 if there is something at 9."""
    title, day = draw.pair(TITLES, DAYS)
    hour = _hour(draw)
    later = _hour(draw, hour)
    events = tuple(event for event in draw.events((title, day, later), free_days=[day]) if event[0] != title)
    free = draw.yes()
    if not free:
        known = [word for word in TITLES.seen if word not in (title, *(word for word, _, _ in events))]
        events = (*events, (draw.pick(known), day, hour))
    words = draw.say("slot_or", title=title, day=day, hour=hour, later=later)
    hours = (hour,) if free else (hour, later)
    calls = tuple(call("add_event", title=title, day=day, hour=at) for at in hours)
    return Request(words, World(events=events), calls, ("add_event",))


_ALL = (
    *(ask_price, ask_stock, ask_weather, ask_day, add_event, move_event, cancel_event, take, put_back),
    *(cheaper, cheaper_paid, price_if, stock_if, weather_if, weather_either, clear_day, take_or, slot_or),
)
#: The kinds, by name. Read-only.
KINDS: Mapping[str, Callable[[Draw], Request]] = MappingProxyType({kind.__name__: kind for kind in _ALL})
