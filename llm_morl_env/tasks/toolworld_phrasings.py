"""What the requests of the multi-turn tool task say, by kind. Data only; the last two of each are held out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: Read-only.
PHRASINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ask_price": (
            "what does the {item} cost",
            "how much is the {item}",
            "tell me the cost of {item}",
            "what do i pay for {item}",
            "how much do i pay for the {item}",
            "what is the cost of the {item}",
        ),
        "ask_stock": (
            "how many {item} are there",
            "count the {item}",
            "tell me how many {item} there are",
            "is there {item} and how many",
            "how many {item} do you have",
            "tell me the count of {item}",
        ),
        "ask_weather": (
            "how is the weather in {city} on {day}",
            "tell me the weather of {city} on {day}",
            "on {day} i am in {city}, how is the weather",
            "what is the {city} weather on {day}",
            "show the weather in {city} on {day}",
            "how is the weather on {day} in {city}",
        ),
        "ask_day": (
            "what is on {day}",
            "tell me what i have on {day}",
            "what do i do on {day}",
            "what is there on {day}",
            "show me what i have on {day}",
            "what do i have on {day}",
        ),
        "add_event": (
            "add {title} on {day} at {hour}",
            "put {title} on {day} at {hour}",
            "on {day} at {hour} i have {title}",
            "plan {title} for {day} at {hour}",
            "make it {title} on {day} at {hour}",
            "on {day} add {title} at {hour}",
        ),
        "move_event": (
            "move {title} to {day}",
            "put {title} to {day}",
            "the {title} is now on {day}, move it",
            "i want the {title} on {day}, move it",
            "make it {day} for the {title}",
            "the {title} moves to {day}",
        ),
        "cancel_event": (
            "cancel {title}",
            "cancel the {title}",
            "i have no {title}, cancel it",
            "the {title} is off, cancel it",
            "cancel my {title}",
            "i do not want the {title}, cancel it",
        ),
        "take": (
            "put {item} in the cart",
            "i want {item} in the cart",
            "add {item} to the cart",
            "get {item} in my cart",
            "put the {item} to my cart",
            "i want to have {item} in my cart",
        ),
        "put_back": (
            "get {item} out of the cart",
            "i do not want the {item} in my cart",
            "put the {item} out of the cart",
            "there should be no {item} in the cart",
            "the {item} should not be in the cart",
            "get the {item} out of my cart",
        ),
        "cheaper": (
            "get the cheaper of {first} and {second}",
            "put the cheaper of {first} and {second} in the cart",
            "i want {first} or {second} in the cart, the cheaper",
            "add to the cart the cheaper of {first} and {second}",
            "the cheaper of {first} and {second} should be in the cart",
            "get {first} or {second}, the cheaper",
        ),
        "by_weather": (
            "if there is {sky} {place} on {day}, cancel {title}, else move it to {target}",
            "cancel {title} if there is {sky} {place} on {day}, else move it to {target}",
            "with {sky} {place} on {day} cancel {title}, else move it to {target}",
            "on {day}, if there is {sky} {place}, cancel {title}, else move it to {target}",
            "if on {day} there is {sky} {place}, cancel the {title}, else move it to {target}",
        ),
        "clear_day": (
            "cancel what i have on {day}",
            "i am not here on {day}, cancel what i have",
            "cancel what is on {day}",
            "on {day} cancel what i have",
            "what i have on {day}, cancel it",
        ),
        "move_day": (
            "move what i have on {day} to {target}",
            "what is on {day} should move to {target}",
            "move what is on {day} to {target}",
            "from {day} move what i have to {target}",
            "what i have on {day}, move it to {target}",
        ),
        "take_or": (
            "get {first}, or {second} if there is no {first}",
            "put {first} in the cart, or {second} if there is no {first}",
            "i want {first}, or {second} if there is no {first}",
            "add {first} to the cart, if there is no {first} add {second}",
            "please get {first}, or if there is no {first} get {second}",
            "if there is no {first} get {second}, else {first}",
        ),
        "slot_or": (
            "add {title} on {day} at {hour}, or at {later} if i have a plan at {hour}",
            "put {title} on {day} at {hour}, if i have a plan then at {later}",
            "on {day} add {title} at {hour}, or if i have a plan at {later}",
            "plan {title} for {day} at {hour}, or at {later} if i have a plan",
            "on {day} put {title} at {hour}, or at {later} if there is a plan at {hour}",
            "add {title} at {hour} on {day}, if i have a plan then at {later}",
        ),
        "price_if": (
            "get {first} if it is at most {limit} dollars, else {second}",
            "put in the cart {first} if it is at most {limit} dollars, else {second}",
            "i want {first} if it is at most {limit} dollars, else {second}",
            "add to the cart {first} if it is at most {limit} dollars, else {second}",
            "please get {first} if it is at most {limit} dollars, else {second}",
            "i want to get {first} if it is at most {limit} dollars, else {second}",
        ),
        "stock_if": (
            "get {first} if there are {limit} or more, else {second}",
            "put in the cart {first} if there are {limit} or more, else {second}",
            "i want {first} if there are {limit} or more, else {second}",
            "add to the cart {first} if there are {limit} or more, else {second}",
            "please get {first} if there are {limit} or more, else {second}",
            "i want to get {first} if there are {limit} or more, else {second}",
        ),
    }
)
