"""A small deterministic world of calendar, store and weather forecast, and the tools that look at it and change it.

A `World` is a value: `execute` gives the world after a call and the tool's result, and leaves the given one as it was.
Whatever a model calls is answered: a wrong tool, wrong arguments or an impossible wish give a result that begins with
``error:`` and an unchanged world. No result repeats text of the call that the world does not know, so results stay
short. Left out on purpose: time, money that runs out, and chance, so that replaying the calls of a dialogue is enough
to know its world.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from llm_morl_rewards.extract import ToolCall

#: What the forecast may say.
SKIES = ("rain", "sun", "snow")
#: Events that a day of the calendar has room for.
MAX_EVENTS_PER_DAY = 4
LAST_HOUR = 23
ERROR = "error:"
_NAME = re.compile(r"[a-z]{1,12}")


@dataclass(frozen=True)
class World:
    """The state: hashable, compared by value, in one canonical order.

    Args:
        events: Title, day and hour of each event in the calendar; titles are distinct.
        goods: Item, price and stock of each thing in the store.
        weather: City, day and sky of each forecast.
        cart: Items in the cart; one that is there twice stands there twice.
        paid: Items that were paid for, likewise.

    Raises:
        ValueError: If a title, an item or a city with its day is there twice.
    """

    events: tuple[tuple[str, str, int], ...] = ()
    goods: tuple[tuple[str, int, int], ...] = ()
    weather: tuple[tuple[str, str, str], ...] = ()
    cart: tuple[str, ...] = ()
    paid: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("events", "goods", "weather", "cart", "paid"):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name))))
        keys: Mapping[str, Sequence[Any]] = {
            "events": [title for title, _, _ in self.events],
            "goods": [item for item, _, _ in self.goods],
            "weather": [(city, day) for city, day, _ in self.weather],
        }
        for name, found in keys.items():
            if len(set(found)) != len(found):
                raise ValueError(f"World({name}=): entries must differ in their key, got {found}")


@dataclass(frozen=True)
class WorldTool:
    """A tool of the world.

    Args:
        domain: ``calendar``, ``store`` or ``weather``.
        arguments: Name and type (``"string"`` or ``"integer"``) of each argument; all must be given, and no others.
        run: ``(world, *values) -> (world, result)``.
        reads: Whether it only looks.
    """

    domain: str
    arguments: tuple[tuple[str, str], ...]
    run: Callable[..., tuple[World, str]]
    reads: bool = False


def execute(world: World, call: ToolCall) -> tuple[World, str]:
    """The world after a call, and the tool's result. Never raises on a call, whatever it holds.

    >>> world = World(goods=(("milk", 3, 1),))
    >>> after, result = execute(world, ToolCall("add_to_cart", {"item": "milk"}))
    >>> after.cart, result, world.cart
    (('milk',), 'ok', ())
    >>> execute(after, ToolCall("add_to_cart", {"item": "milk"}))[1]
    'error: no milk left'
    """
    tool = TOOLS.get(call.name)
    if tool is None:
        return world, f"{ERROR} no tool"
    if set(call.arguments) != {name for name, _ in tool.arguments}:
        return world, f"{ERROR} arguments"
    values = [call.arguments[name] for name, _ in tool.arguments]
    if not all(_is_of(kind, value) for (_, kind), value in zip(tool.arguments, values, strict=True)):
        return world, f"{ERROR} arguments"
    return tool.run(world, *values)


def is_error(result: str) -> bool:
    """Whether a result says that the call failed."""
    return result.startswith(ERROR)


def facts(world: World) -> dict[tuple[str, str], Any]:
    """What calls can change, by kind and name: when an event is, how often an item was taken (cart or paid) and paid.

    Two worlds of one start are equal exactly if their facts are: the stock is what the start had less what was taken.

    >>> facts(World(events=(("lunch", "monday", 9),), cart=("milk",), paid=("milk",)))
    {('event', 'lunch'): ('monday', 9), ('taken', 'milk'): 2, ('paid', 'milk'): 1}
    """
    found: dict[tuple[str, str], Any] = {("event", title): (day, hour) for title, day, hour in world.events}
    found.update({("taken", item): number for item, number in Counter(world.cart + world.paid).items()})
    found.update({("paid", item): number for item, number in Counter(world.paid).items()})
    return found


def difference(first: World, second: World) -> int:
    """Number of facts in which two worlds differ; an event that is moved is one, whether it is there or not too.

    >>> difference(World(events=(("lunch", "monday", 9),)), World(events=(("lunch", "friday", 9),), cart=("milk",)))
    2
    """
    ours, theirs = facts(first), facts(second)
    return sum(ours.get(key) != theirs.get(key) for key in ours.keys() | theirs.keys())


def to_json(world: World) -> dict[str, Any]:
    """The world as a JSON value.

    >>> from_json(to_json(World(cart=("milk",)))) == World(cart=("milk",))
    True
    """
    return {
        "events": [list(event) for event in world.events],
        "goods": [list(good) for good in world.goods],
        "weather": [list(forecast) for forecast in world.weather],
        "cart": list(world.cart),
        "paid": list(world.paid),
    }


def from_json(value: Mapping[str, Any]) -> World:
    """The world of `to_json`.

    Raises:
        ValueError: If the value has another form.
    """
    try:
        return World(
            events=tuple((str(title), str(day), int(hour)) for title, day, hour in value["events"]),
            goods=tuple((str(item), int(price), int(stock)) for item, price, stock in value["goods"]),
            weather=tuple((str(city), str(day), str(sky)) for city, day, sky in value["weather"]),
            cart=tuple(str(item) for item in value["cart"]),
            paid=tuple(str(item) for item in value["paid"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"from_json(value=) must be a world as of to_json, got {value!r}: {error!r}") from error


def _is_of(kind: str, value: Any) -> bool:
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str)


def _list_events(world: World, day: str) -> tuple[World, str]:
    found = sorted((hour, title) for title, at, hour in world.events if at == day)
    return world, ", ".join(f"{title} at {hour}" for hour, title in found) or "no events"


def _add_event(world: World, title: str, day: str, hour: int) -> tuple[World, str]:
    # A calendar of any text would let a model write replies of any length.
    if not (_NAME.fullmatch(title) and _NAME.fullmatch(day) and 0 <= hour <= LAST_HOUR):
        return world, f"{ERROR} arguments"
    if any(title == known for known, _, _ in world.events):
        return world, f"{ERROR} {title} is there"
    return _place(world, title, day, hour)


def _move_event(world: World, title: str, day: str) -> tuple[World, str]:
    hours = [hour for known, _, hour in world.events if known == title]
    if not hours:
        return world, f"{ERROR} no event"
    if not _NAME.fullmatch(day):
        return world, f"{ERROR} arguments"
    without = replace(world, events=tuple(event for event in world.events if event[0] != title))
    after, result = _place(without, title, day, hours[0])
    return (world, result) if is_error(result) else (after, result)


def _place(world: World, title: str, day: str, hour: int) -> tuple[World, str]:
    taken = [at for _, known, at in world.events if known == day]
    if hour in taken:
        return world, f"{ERROR} {hour} is taken"
    if len(taken) >= MAX_EVENTS_PER_DAY:
        return world, f"{ERROR} no room"
    return replace(world, events=(*world.events, (title, day, hour))), "ok"


def _cancel_event(world: World, title: str) -> tuple[World, str]:
    kept = tuple(event for event in world.events if event[0] != title)
    if len(kept) == len(world.events):
        return world, f"{ERROR} no event"
    return replace(world, events=kept), "ok"


def _get_weather(world: World, city: str, day: str) -> tuple[World, str]:
    for known, at, sky in world.weather:
        if (known, at) == (city, day):
            return world, sky
    return world, f"{ERROR} no weather"


def _good(world: World, item: str) -> tuple[int, int] | None:
    return next(((price, stock) for known, price, stock in world.goods if known == item), None)


def _get_price(world: World, item: str) -> tuple[World, str]:
    good = _good(world, item)
    return world, f"{ERROR} no item" if good is None else f"{item} price {good[0]}"


def _get_stock(world: World, item: str) -> tuple[World, str]:
    good = _good(world, item)
    return world, f"{ERROR} no item" if good is None else f"{item} count {good[1]}"


def _add_to_cart(world: World, item: str) -> tuple[World, str]:
    good = _good(world, item)
    if good is None:
        return world, f"{ERROR} no item"
    if good[1] < 1:
        return world, f"{ERROR} no {item} left"
    return replace(world, goods=_restocked(world, item, -1), cart=(*world.cart, item)), "ok"


def _remove_item(world: World, item: str) -> tuple[World, str]:
    if item not in world.cart:
        return world, f"{ERROR} no item"
    position = world.cart.index(item)
    cart = world.cart[:position] + world.cart[position + 1 :]
    return replace(world, goods=_restocked(world, item, 1), cart=cart), "ok"


def _restocked(world: World, item: str, change: int) -> tuple[tuple[str, int, int], ...]:
    return tuple((known, price, stock + change * (known == item)) for known, price, stock in world.goods)


def _pay(world: World) -> tuple[World, str]:
    if not world.cart:
        return world, f"{ERROR} no item"
    return replace(world, cart=(), paid=world.paid + world.cart), "ok"


#: The tools, by name. Read-only.
TOOLS: Mapping[str, WorldTool] = MappingProxyType(
    {
        "list_events": WorldTool("calendar", (("day", "string"),), _list_events, reads=True),
        "add_event": WorldTool("calendar", (("title", "string"), ("day", "string"), ("hour", "integer")), _add_event),
        "move_event": WorldTool("calendar", (("title", "string"), ("day", "string")), _move_event),
        "cancel_event": WorldTool("calendar", (("title", "string"),), _cancel_event),
        "get_weather": WorldTool("weather", (("city", "string"), ("day", "string")), _get_weather, reads=True),
        "get_price": WorldTool("store", (("item", "string"),), _get_price, reads=True),
        "get_stock": WorldTool("store", (("item", "string"),), _get_stock, reads=True),
        "add_to_cart": WorldTool("store", (("item", "string"),), _add_to_cart),
        "remove_item": WorldTool("store", (("item", "string"),), _remove_item),
        "pay": WorldTool("store", (), _pay),
    }
)
