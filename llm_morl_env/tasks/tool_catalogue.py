"""The tools of the procedural tool-call task: signatures, phrasings and value lists. Data only.

Each phrasing is an imperative clause with one ``{placeholder}`` per argument. Free text (titles, messages, files)
stands in quotation marks, as people write it; names, places and things do not. A boolean is rendered as one of two
phrases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ArgumentType = Literal["string", "enum", "integer", "float", "boolean", "list"]


@dataclass(frozen=True)
class WordList:
    """Words that a string or list argument draws from; ``unseen`` words appear in the split of that name only."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]


@dataclass(frozen=True)
class TwoWords:
    """Two-word strings ``"first second"``; a fifth of the combinations is held out for evaluation."""

    first: WordList
    second: WordList


@dataclass(frozen=True)
class Argument:
    """One typed argument and where its values come from."""

    name: str
    type: ArgumentType
    source: WordList | TwoWords | tuple[str, ...] | tuple[int, int] = ()
    quoted: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """The closed list of an enum's values, or the two phrases of a boolean."""
        if not isinstance(self.source, tuple):
            raise TypeError(f"argument {self.name!r} of type {self.type!r} has no closed list of values")
        return tuple(str(value) for value in self.source)


@dataclass(frozen=True)
class Tool:
    """A tool with its phrasings; ``held_out`` phrasings appear outside the training split only."""

    name: str
    domain: str
    arguments: tuple[Argument, ...]
    phrasings: tuple[str, ...] = field(repr=False)
    held_out: tuple[str, ...] = field(repr=False)

    @property
    def signature(self) -> str:
        """How the prompt shows the tool, for example ``set_timer(minutes:int,label:str)``."""
        return f"{self.name}({','.join(f'{a.name}:{_shown_type(a)}' for a in self.arguments)})"


def _shown_type(argument: Argument) -> str:
    if argument.type == "enum":
        return "|".join(argument.options)
    return {"string": "str", "integer": "int", "float": "float", "boolean": "bool", "list": "list"}[argument.type]


def _words(seen: str, unseen: str) -> WordList:
    return WordList(tuple(seen.split()), tuple(unseen.split()))


PEOPLE = _words("anna ben carla david emma frank grace henry", "omar lena")
CITIES = _words("paris rome oslo madrid berlin london tokyo cairo", "lima delhi")
ROOMS = _words("kitchen bedroom office hall bathroom garage", "attic cellar")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday", "today tomorrow")
ITEMS = _words("milk bread rice soup apples coffee cheese pasta", "honey olives")
THINGS = TwoWords(
    _words("red blue green small large new", "old soft"), _words("lamp chair book shirt cup bag", "rug clock")
)
MEETINGS = TwoWords(
    _words("team budget project weekly final client", "board launch"),
    _words("lunch meeting review call report plan", "party talk"),
)
SONGS = TwoWords(
    _words("summer night golden quiet happy river", "winter lost"),
    _words("song dance dream light road rain", "waltz storm"),
)


def text(name: str, source: WordList | TwoWords, *, quoted: bool = False) -> Argument:
    """A string argument."""
    return Argument(name, "string", source, quoted)


def enum(name: str, *values: str) -> Argument:
    """A string argument with a closed list of values, which the signature shows."""
    return Argument(name, "enum", tuple(values))


def integer(name: str, low: int, high: int) -> Argument:
    """An integer argument in [low, high]."""
    return Argument(name, "integer", (low, high))


def number(name: str, low: int, high: int) -> Argument:
    """A float argument in [low, high + 0.9], one decimal, never integral."""
    return Argument(name, "float", (low, high))


def flag(name: str, true: str, false: str) -> Argument:
    """A boolean argument with the phrase of each value."""
    return Argument(name, "boolean", (true, false))


def several(name: str, source: WordList) -> Argument:
    """A list of two or three different words."""
    return Argument(name, "list", source)


TOOLS: tuple[Tool, ...] = (
    # calendar
    Tool(
        "add_event",
        "calendar",
        (text("title", MEETINGS, quoted=True), text("day", DAYS), integer("hour", 7, 22)),
        (
            "add an event {title} on {day} at {hour}",
            "put {title} in my calendar for {day} at {hour}",
            "plan {title} on {day}, {hour} o'clock",
            "on {day} at {hour} i have {title}, add it to the calendar",
            "make a calendar event for {title}, {day} at {hour}",
            "schedule an event on {day} at {hour} called {title}",
            "add {title} to the calendar, {day} at {hour}",
        ),
        (
            "put an event called {title} on {day} at {hour}",
            "schedule {title} in the calendar for {day}, {hour} o'clock",
        ),
    ),
    Tool(
        "set_alarm",
        "calendar",
        (integer("hour", 4, 23), text("day", DAYS)),
        (
            "set an alarm for {hour} on {day}",
            "wake me up at {hour} on {day}",
            "on {day} wake me at {hour}",
            "i need an alarm on {day} at {hour}",
            "make an alarm for {day}, {hour} o'clock",
            "set the alarm to {hour} for {day}",
            "on {day} set an alarm at {hour}",
        ),
        (
            "wake me at {hour} o'clock on {day}",
            "put an alarm on {day} for {hour}",
        ),
    ),
    Tool(
        "set_timer",
        "calendar",
        (integer("minutes", 2, 59), text("label", ITEMS)),
        (
            "set a timer of {minutes} minutes for the {label}",
            "start a {minutes} minute timer for {label}",
            "the {label} needs {minutes} minutes, set a timer",
            "time the {label} for {minutes} minutes",
            "count {minutes} minutes for the {label}",
            "make a timer for {label}, {minutes} minutes",
            "for the {label} start a timer of {minutes} minutes",
        ),
        (
            "start a timer for the {label}, {minutes} minutes",
            "set {minutes} minutes on the timer for {label}",
        ),
    ),
    Tool(
        "add_task",
        "calendar",
        (text("title", MEETINGS, quoted=True), enum("priority", "low", "high")),
        (
            "add a task {title} with {priority} priority",
            "put {title} on my tasks, {priority} priority",
            "make a {priority} priority task called {title}",
            "i have to do {title}, it is a task of {priority} priority",
            "add {title} to my tasks with {priority} priority",
            "new task {title}, priority {priority}",
            "note a task with {priority} priority: {title}",
        ),
        (
            "add a {priority} priority task {title}",
            "put a task called {title} with priority {priority}",
        ),
    ),
    # travel
    Tool(
        "book_flight",
        "travel",
        (text("origin", CITIES), text("destination", CITIES), integer("seats", 2, 9)),
        (
            "book a flight from {origin} to {destination} for {seats} people",
            "i want to fly from {origin} to {destination}, {seats} seats",
            "get {seats} seats on a flight from {origin} to {destination}",
            "book {seats} seats from {origin} to {destination} by plane",
            "find a flight to {destination} from {origin} with {seats} seats",
            "fly {seats} people from {origin} to {destination}",
            "we are {seats} and fly from {origin} to {destination}, book it",
        ),
        (
            "book a flight with {seats} seats from {origin} to {destination}",
            "get a flight to {destination} from {origin} for {seats} people",
        ),
    ),
    Tool(
        "book_hotel",
        "travel",
        (text("city", CITIES), integer("nights", 2, 14), flag("breakfast", "with breakfast", "without breakfast")),
        (
            "book a hotel in {city} for {nights} nights {breakfast}",
            "find me a hotel in {city}, {nights} nights, {breakfast}",
            "i stay {nights} nights in {city}, book a hotel {breakfast}",
            "get a hotel room in {city} {breakfast} for {nights} nights",
            "for {nights} nights in {city} book a hotel {breakfast}",
            "reserve a hotel {breakfast} in {city} for {nights} nights",
            "i need a hotel {breakfast} in {city}, {nights} nights",
        ),
        (
            "reserve a hotel in {city} for {nights} nights {breakfast}",
            "book {nights} nights in a hotel in {city} {breakfast}",
        ),
    ),
    Tool(
        "find_route",
        "travel",
        (text("origin", CITIES), text("destination", CITIES), enum("mode", "car", "bus", "train")),
        (
            "find a route from {origin} to {destination} by {mode}",
            "how do i get from {origin} to {destination} by {mode}",
            "show the way from {origin} to {destination} by {mode}",
            "what is the way by {mode} from {origin} to {destination}",
            "find the best {mode} route from {origin} to {destination}",
            "i go by {mode} from {origin} to {destination}, show the route",
            "show a {mode} route to {destination} from {origin}",
        ),
        (
            "show the best route from {origin} to {destination} by {mode}",
            "find the way by {mode} from {origin} to {destination}",
        ),
    ),
    Tool(
        "rent_car",
        "travel",
        (text("city", CITIES), integer("days", 2, 21), flag("automatic", "automatic", "manual")),
        (
            "rent a car in {city} for {days} days, {automatic}",
            "i need a rental car in {city} for {days} days, {automatic}",
            "get me an {automatic} car to rent in {city} for {days} days",
            "rent a {automatic} car for {days} days in {city}",
            "for {days} days in {city} rent a car, {automatic}",
            "find a rental car, {automatic}, {days} days in {city}",
            "i want to rent a car for {days} days in {city}, {automatic}",
        ),
        (
            "rent a car for {days} days in {city}, {automatic}",
            "get a rental car in {city}, {automatic}, for {days} days",
        ),
    ),
    # home
    Tool(
        "set_light",
        "home",
        (text("room", ROOMS), integer("level", 5, 99)),
        (
            "set the {room} light to {level} percent",
            "dim the light in the {room} to {level}",
            "turn the {room} light to {level} percent",
            "make the light in the {room} {level} percent",
            "light in the {room} to {level}",
            "put the {room} light at {level} percent",
            "in the {room} set the light to {level}",
        ),
        (
            "turn the light in the {room} to {level} percent",
            "dim the {room} light to {level}",
        ),
    ),
    Tool(
        "set_heat",
        "home",
        (text("room", ROOMS), number("degrees", 15, 26)),
        (
            "heat the {room} to {degrees} degrees",
            "set the heat in the {room} to {degrees}",
            "make the {room} {degrees} degrees warm",
            "i want {degrees} degrees in the {room}",
            "warm the {room} up to {degrees} degrees",
            "set the {room} to {degrees} degrees",
            "in the {room} put the heat at {degrees}",
        ),
        (
            "warm the {room} to {degrees} degrees",
            "put the heat in the {room} to {degrees} degrees",
        ),
    ),
    Tool(
        "lock_door",
        "home",
        (enum("door", "front", "back"), flag("locked", "lock", "unlock")),
        (
            "{locked} the {door} door",
            "{locked} the {door} door now",
            "go and {locked} the {door} door",
            "the {door} door, {locked} it",
            "make sure to {locked} the {door} door",
            "{locked} the door at the {door}",
            "for the {door} door: {locked} it",
        ),
        (
            "now {locked} the {door} door",
            "{locked} the {door} door for me",
        ),
    ),
    Tool(
        "clean_rooms",
        "home",
        (several("rooms", ROOMS), flag("quiet", "quietly", "at full power")),
        (
            "clean the {rooms} {quiet}",
            "vacuum the {rooms} {quiet}",
            "start cleaning the {rooms} {quiet}",
            "send the robot to the {rooms}, {quiet}",
            "let the robot clean {rooms} {quiet}",
            "{quiet} clean these rooms: {rooms}",
            "the {rooms} are dirty, clean them {quiet}",
        ),
        (
            "let the robot vacuum the {rooms} {quiet}",
            "start to clean the {rooms}, {quiet}",
        ),
    ),
    # shop
    Tool(
        "order_food",
        "shop",
        (several("items", ITEMS), text("day", DAYS)),
        (
            "order {items} for {day}",
            "get {items} delivered on {day}",
            "i want {items} delivered on {day}",
            "on {day} deliver {items}",
            "order food for {day}: {items}",
            "have {items} brought here on {day}",
            "place a food order of {items} for {day}",
        ),
        (
            "order {items} to be delivered on {day}",
            "place an order of {items} for {day}",
        ),
    ),
    Tool(
        "buy_item",
        "shop",
        (text("item", THINGS), integer("count", 2, 30), flag("gift", "as a gift", "not as a gift")),
        (
            "buy {count} of the {item} {gift}",
            "i want to buy a {item}, {count} of them, {gift}",
            "get me the {item}, count {count}, {gift}",
            "buy the {item} {gift}, {count} pieces",
            "purchase {count} pieces of the {item} {gift}",
            "{gift} buy {count} pieces of the {item}",
            "buy me {count} times the {item} {gift}",
        ),
        (
            "purchase the {item} {gift}, {count} of them",
            "buy {count} pieces of the {item} {gift}",
        ),
    ),
    Tool(
        "track_order",
        "shop",
        (integer("order", 100, 999), flag("notify", "and tell me when it moves", "without telling me")),
        (
            "track order {order} {notify}",
            "where is my order {order}, track it {notify}",
            "follow the order {order} {notify}",
            "track my order number {order} {notify}",
            "look where order {order} is {notify}",
            "find order {order} {notify}",
            "follow order number {order} {notify}",
        ),
        (
            "track the order number {order} {notify}",
            "look where my order {order} is {notify}",
        ),
    ),
    Tool(
        "list_add",
        "shop",
        (several("items", ITEMS), enum("list", "food", "home")),
        (
            "add {items} to my {list} list",
            "put {items} on the {list} list",
            "write {items} on my {list} list",
            "my {list} list needs {items}",
            "on the {list} list note {items}",
            "add to the {list} list: {items}",
            "note {items} on the {list} list",
        ),
        (
            "write {items} to the {list} list",
            "put on my {list} list: {items}",
        ),
    ),
    # messages
    Tool(
        "send_message",
        "messages",
        (text("person", PEOPLE), text("text", MEETINGS, quoted=True)),
        (
            "send {person} a message saying {text}",
            "write {person} a message: {text}",
            "tell {person} {text}",
            "message {person} with {text}",
            "send a message to {person}: {text}",
            "let {person} know {text}",
            "text {person} {text}",
        ),
        (
            "send the message {text} to {person}",
            "write a message to {person} saying {text}",
        ),
    ),
    Tool(
        "send_email",
        "messages",
        (several("people", PEOPLE), text("subject", MEETINGS, quoted=True)),
        (
            "email {people} about {subject}",
            "send an email to {people} with subject {subject}",
            "write an email to {people} about {subject}",
            "email {people} with subject {subject}",
            "send {people} an email about {subject}",
            "mail {people}, the subject is {subject}",
            "i need an email to {people} about {subject}",
        ),
        (
            "write {people} an email with subject {subject}",
            "send an email about {subject} to {people}",
        ),
    ),
    Tool(
        "call_person",
        "messages",
        (text("person", PEOPLE), flag("video", "with video", "without video")),
        (
            "call {person} {video}",
            "start a call with {person} {video}",
            "ring {person} {video}",
            "i want to speak to {person}, call {video}",
            "make a call to {person} {video}",
            "phone {person} {video}",
            "call up {person} {video}",
        ),
        (
            "start a call to {person} {video}",
            "phone {person} now {video}",
        ),
    ),
    Tool(
        "share_file",
        "messages",
        (text("file", SONGS, quoted=True), text("person", PEOPLE), flag("edit", "to edit", "to read only")),
        (
            "share the file {file} with {person} {edit}",
            "give {person} the file {file} {edit}",
            "let {person} have the file {file} {edit}",
            "share {file} with {person} {edit}",
            "the file {file} goes to {person} {edit}",
            "open the file {file} to {person} {edit}",
            "share with {person} the file {file} {edit}",
        ),
        (
            "give the file {file} to {person} {edit}",
            "share file {file} with {person} {edit}",
        ),
    ),
    # money
    Tool(
        "pay_bill",
        "money",
        (enum("bill", "power", "water", "phone"), number("amount", 10, 99)),
        (
            "pay the {bill} bill of {amount}",
            "pay {amount} for the {bill} bill",
            "the {bill} bill is {amount}, pay it",
            "settle my {bill} bill, {amount}",
            "pay my {bill} bill, it is {amount}",
            "my {bill} bill of {amount} is due, pay it",
            "for the {bill} bill pay {amount}",
        ),
        (
            "settle the {bill} bill of {amount}",
            "pay {amount} on my {bill} bill",
        ),
    ),
    Tool(
        "send_money",
        "money",
        (text("person", PEOPLE), number("amount", 5, 99)),
        (
            "send {amount} to {person}",
            "send {person} {amount} in money",
            "transfer {amount} to {person}",
            "give {person} {amount} from my account",
            "transfer {person} {amount}",
            "i owe {person} {amount}, send it",
            "pay {person} {amount}",
        ),
        (
            "send {person} {amount}",
            "transfer {amount} in money to {person}",
        ),
    ),
    Tool(
        "change_money",
        "money",
        (number("amount", 10, 99), enum("source", "usd", "eur"), enum("target", "gbp", "yen")),
        (
            "change {amount} {source} to {target}",
            "convert {amount} {source} into {target}",
            "how much is {amount} {source} in {target}",
            "exchange {amount} {source} for {target}",
            "turn {amount} {source} into {target}",
            "what are {amount} {source} in {target}",
            "i have {amount} {source}, change it to {target}",
        ),
        (
            "convert {amount} {source} to {target}",
            "exchange {amount} {source} into {target}",
        ),
    ),
    Tool(
        "split_bill",
        "money",
        (number("amount", 10, 99), several("people", PEOPLE)),
        (
            "split {amount} between {people}",
            "split a bill of {amount} with {people}",
            "divide {amount} among {people}",
            "share the bill of {amount} between {people}",
            "split the bill, {amount}, among {people}",
            "divide the bill of {amount} between {people}",
            "the bill is {amount}, split it with {people}",
        ),
        (
            "split the bill of {amount} between {people}",
            "divide a bill of {amount} with {people}",
        ),
    ),
)

#: Tools of the ``hard`` tier beyond `TOOLS`: two more domains.
HARD_TOOLS: tuple[Tool, ...] = (
    Tool(
        "get_weather",
        "weather",
        (text("city", CITIES), text("day", DAYS), enum("unit", "celsius", "kelvin")),
        (
            "what is the weather in {city} on {day} in {unit}",
            "show the weather for {city}, {day}, in {unit}",
            "how warm is it in {city} on {day} in {unit}",
            "get the {city} weather of {day} in {unit}",
        ),
        ("show the weather in {city} on {day} in {unit}", "get the weather for {city} on {day} in {unit}"),
    ),
    Tool(
        "rain_alert",
        "weather",
        (text("city", CITIES), integer("percent", 10, 95), flag("daily", "every day", "once")),
        (
            "warn me {daily} when rain in {city} is over {percent} percent",
            "set a rain alert for {city} at {percent} percent {daily}",
            "if rain in {city} passes {percent} percent, warn me {daily}",
            "tell me {daily} about rain in {city} above {percent} percent",
        ),
        (
            "set an alert {daily} for rain in {city} at {percent} percent",
            "warn me {daily} if rain in {city} is above {percent} percent",
        ),
    ),
    Tool(
        "play_song",
        "music",
        (text("song", SONGS, quoted=True), text("room", ROOMS), flag("repeat", "on repeat", "once")),
        (
            "play {song} in the {room} {repeat}",
            "put on the song {song} in the {room} {repeat}",
            "i want to hear {song} in the {room} {repeat}",
            "in the {room} play the song {song} {repeat}",
        ),
        ("play the song {song} in the {room} {repeat}", "put on {song} in the {room} {repeat}"),
    ),
    Tool(
        "make_playlist",
        "music",
        (text("name", SONGS, quoted=True), several("people", PEOPLE), flag("public", "for everyone", "in private")),
        (
            "make a playlist {name} with {people} {public}",
            "start a playlist called {name} with {people} {public}",
            "new playlist {name} {public}, shared with {people}",
            "create the playlist {name} {public} with {people}",
        ),
        ("create a playlist called {name} with {people} {public}", "start the playlist {name} {public} with {people}"),
    ),
    Tool(
        "set_volume",
        "music",
        (text("room", ROOMS), integer("level", 5, 99), flag("fade", "slowly", "at once")),
        (
            "set the volume in the {room} to {level} {fade}",
            "turn the music in the {room} to {level} {fade}",
            "{fade} make the music in the {room} {level} loud",
            "volume {level} in the {room} {fade}",
        ),
        ("turn the volume in the {room} to {level} {fade}", "set the music in the {room} to {level} {fade}"),
    ),
    Tool(
        "snow_report",
        "weather",
        (several("cities", CITIES), enum("unit", "inch", "meter")),
        (
            "how much snow is there in {cities} in {unit}",
            "give me the snow of {cities} in {unit}",
            "snow report for {cities}, {unit} please",
            "compare the snow in {cities} in {unit}",
        ),
        ("give me a snow report for {cities} in {unit}", "how much snow fell in {cities} in {unit}"),
    ),
)

#: What the ``easy`` tier uses: eight tools with at most two kinds of argument to tell apart.
EASY_TOOLS: tuple[str, ...] = (
    "set_alarm",
    "set_timer",
    "book_hotel",
    "set_light",
    "lock_door",
    "call_person",
    "send_money",
    "track_order",
)

CARRIERS = ("{}", "{}", "please {}", "can you {}", "hey, {}", "could you {}", "{} please", "{}, thanks")
HELD_OUT_CARRIERS = ("{}", "please {}", "hey, can you {}", "could you {} please")
JOINERS = (" and ", ", then ", ". also ", " and then ")
HELD_OUT_JOINERS = (" and also ", ". then ")

SMALL_TALK: tuple[str, ...] = (
    "hello",
    "good morning",
    "how are you",
    "thank you so much",
    "that was very kind",
    "you are great",
    "tell me a joke",
    "what is your name",
    "good night",
    "i am happy",
    "nice to meet you",
    "do you like music",
    "see you soon",
    "i feel tired",
    "you are funny",
    "have a nice day",
    "who made you",
    "i love this",
    "hello again",
    "are you a robot",
    "that is all for now",
    "i am bored",
    "what do you think",
    "well done",
)
HELD_OUT_SMALL_TALK: tuple[str, ...] = (
    "hello, how are you",
    "good evening",
    "thanks, you are very kind",
    "what is a good joke",
    "i am so tired",
    "do you like to talk",
    "have a good night",
    "you are very nice",
    "i feel great",
    "see you again",
)
REPLIES = ("you are welcome", "hello to you", "i am here to help", "that is nice")

#: Thoughts before the one that names the tools; demonstrations use zero to three of them.
FILLERS = (
    "let me see.",
    "the user wants some help.",
    "i will look at the tools.",
    "this is easy.",
    "i should be careful.",
    "i must read the request again.",
)
