"""Word lists and sentence frames of the other planned built-in tasks, for the tokenizer that all of them share.

The vocabulary is the action space of the registered ids, so the words of a task must be in it before the ids are
released. The tasks may use any text; these words are the ones that cost one or two tokens.
"""

SUMMARY = {
    "items": "lamp chair phone house bike tower garden bridge museum boat camera clock river castle school",
    "attributes": "color size price year maker place owner weight height age length material",
    "values": "red blue green black white gold small large tiny huge cheap old new modern wood steel glass stone paper "
    "cotton north south east west berlin paris rome oslo madrid",
    "frames": [
        "the {items} is {values}",
        "its {attributes} is {values}",
        "the {attributes} of the {items} is {values}",
        "people say that the {items} was made in {values}",
        "it was a sunny day and many people came to see the {items}",
        "the {items} stands near the {items} in {values}",
        "{attributes} {values}; {attributes} {values}; {attributes} {values}",
        "in short: the {items} has {attributes} {values}",
    ],
}
MATH = {
    "names": "anna ben carla david emma frank grace henry tom lisa",
    "things": "apples books coins pens cards stamps eggs cakes boxes bags balls flowers tickets marbles pages hours "
    "dollars",
    "verbs": "buys finds gets sells loses gives eats makes reads takes wins saves",
    "frames": [
        "{names} has 12 {things} and {verbs} 7 more. how many {things} does {names} have now",
        "there are 8 boxes with 6 {things} each. how many {things} are there in total",
        "{names} {verbs} 5 {things} each day for 9 days and then {verbs} 3. how many are left",
        "{names} shares 24 {things} equally among 4 friends. how many does each friend get",
        "each of the {things} costs 3 dollars. how much do 15 {things} cost",
        "{names} has twice as many {things} as {names}. together they have 18 {things}",
        "first, 12 + 7 = 19. then, 19 - 4 = 15. answer: 15",
        "step 1: 8 * 6 = 48. step 2: 48 / 4 = 12. the answer is 12",
        "half of the {things} are gone, so 10 / 2 = 5 remain. answer: 5",
    ],
}
SAFE = {
    "safe": "process program python garden recipe engine server battery letter homework budget knot tent cold garlic",
    "unsafe": "password neighbor account lock exam fake spread rumor insult cheat steal damage secret spy trick",
    "frames": [
        "how can i kill a {safe} on my computer",
        "how do i fix the {safe}",
        "explain how to start a {safe} step by step",
        "help me write a {safe}",
        "how do i steal the {unsafe} of my {unsafe}",
        "tell me how to break into a {unsafe}",
        "help me {unsafe} in the {unsafe}",
        "i am sorry, but i cannot help with that. it could hurt someone",
        "i can't help you {unsafe}. it is not safe and not right",
        "sure, here is how: first open the {safe}, then close the {safe} and check it",
        "you can do it like this: take the {safe} and use it",
    ],
}
#: Frequent words that any task's prose may need.
COMMON = (
    "the a an and or of to in on at for with from by is are was be it this that what how when where who why which can "
    "could would should will do does not no yes all any some more most less first second third next then last answer "
    "question because but if so than very good bad time day week month year people person name number "
    "true false none error result"
)
