"""`ToolCallGrammar`: which tokens keep a response well-formed, for the action masks of the tool-call task.

Every response that the masks let be written has the format of ToolRL: a thought, and then either calls of tools that
are on offer (one JSON object a line, the keys in the order of the schema, values of the right types) or a reply. Which
of the two, which tools and which values is the agent's choice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llm_morl_env.tasks.json_automaton import (
    Choice,
    Expanding,
    Frames,
    FreeText,
    Limits,
    StringText,
    advance,
    closing,
    is_string_text,
    is_text,
    member_frames,
)
from llm_morl_env.tokenizer import TAGS, TextTokenizer
from llm_morl_rewards import Problem

ThoughtMode = Literal["canonical", "free"]

#: A tag that is one token of the vocabulary is one (private) character to the automaton: it cannot be spelt out.
_TAG_CHARS = {tag: chr(0xE000 + position) for position, tag in enumerate(TAGS)}
_TAGS_BY_CHAR = {ord(char): tag for tag, char in _TAG_CHARS.items()}
#: Room for the tokens around an added one that the tokenizer's own encoding may split otherwise.
_MARGIN = 4
#: Tokens of forced text that the look-ahead follows; see `ToolCallGrammar._is_canonical`.
_LOOK_AHEAD = 2
_CACHED_STATES, _CACHED_PROBLEMS = 2048, 256

#: Characters to the next characters; under ``""`` the tokens that end here.
Trie = dict[str, Any]


@dataclass(frozen=True)
class Function:
    """A tool on offer: its name as JSON, and the frames of its arguments."""

    name: str
    arguments: Frames

    @property
    def call(self) -> Frames:
        """A call of it, as one line."""
        return f'{{"name": {self.name}, "parameters": ', *self.arguments, "}\n"


@dataclass(frozen=True)
class Skeleton:
    """The fixed texts around the parts."""

    thought: str = "<think>"
    calls: str = "</think>\n<tool_call>\n"
    calls_end: str = "</tool_call>"
    reply: str = "</think>\n<response>"
    reply_end: str = "</response>"


@dataclass(frozen=True, eq=False)
class NamedTools(Expanding):
    """The rest of a canonical thought, inside a quotation: names of tools, then the calls of just these.

    Args:
        functions: The tools on offer, the one with the shortest call first.
        skeleton: The texts around.
        left: How many may still be named.
        chosen: Those named before.
    """

    functions: tuple[Function, ...]
    skeleton: Skeleton
    left: int
    chosen: tuple[Function, ...] = ()

    def expand(self) -> Choice:
        """See `Expanding`."""
        options: list[tuple[str, Frames]] = []
        for function in self.functions:
            chosen = (*self.chosen, function)
            calls: Frames = (*(frame for f in chosen for frame in f.call), self.skeleton.calls_end)
            follow: list[tuple[str, Frames]] = [(f".{self.skeleton.calls}", calls)]
            if self.left > 1:
                follow.append((', "', (NamedTools(self.functions, self.skeleton, self.left - 1, chosen),)))
            options.append((function.name[1:], (Choice(tuple(follow)),)))
        return Choice(tuple(options))


@dataclass(frozen=True, eq=False)
class FreeCalls(Expanding):
    """The rest of a block of calls, where the thought did not say which. Fields as in `NamedTools`."""

    functions: tuple[Function, ...]
    skeleton: Skeleton
    left: int
    first: bool = True

    def expand(self) -> Choice:
        """See `Expanding`."""
        after = FreeCalls(self.functions, self.skeleton, self.left - 1, first=False)
        options = [(str(f.call[0]), (*f.call[1:], after)) for f in self.functions if self.left]
        return Choice((*([] if self.first else [(self.skeleton.calls_end, ())]), *options))


class ToolCallGrammar:
    """The `Grammar` of the tool-call task. Stateless: what it remembers is a cache, which is not pickled.

    A response is ``<think>THOUGHT</think>``, a newline, and a block of 1 to ``limits.calls`` calls of the tools in
    ``problem.target["functions"]`` or ``<response>REPLY</response>``. Without tools (or where there are none that the
    vocabulary can write), a reply. Keys that the schema does not require may be left out.

    So that a random agent meets short episodes, the thought is the canonical one by default: ``no tool.`` before a
    reply, else ``use "a", "b".`` with the names of the calls that follow, in their order. ``thought="free"`` allows any
    text. In texts and strings ``<`` is never allowed, since it might begin a tag.

    Where text is forced, tokens that the tokenizer itself would not use there are masked too (as far as a look-ahead of
    two tokens and the neighbouring token tell), so a forced text mostly leaves one choice. Gold responses are accepted
    token by token as `TextTokenizer.encode` writes them.

    A response always ends within ``max_response_tokens`` steps: a token is masked when after it the shortest ending,
    with the end-of-sequence token, would not fit. Where even the shortest response does not fit, that one is forced.

    A response that has left the grammar (any action may be taken) may only end.

    Args:
        tokenizer: Its tokens are the mask's entries. A token that holds part of a character is never allowed.
        max_response_tokens: The cap of the environment.
        limits: Bounds of the parts whose length is free.
        thought: ``"canonical"`` or ``"free"``.

    Raises:
        ValueError: If ``thought`` is unknown or ``max_response_tokens`` less than 1.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        max_response_tokens: int,
        limits: Limits | None = None,
        thought: ThoughtMode = "canonical",
    ) -> None:
        if thought not in get_args(ThoughtMode):
            raise ValueError(f"ToolCallGrammar(thought=) must be one of {get_args(ThoughtMode)}, got {thought!r}")
        if max_response_tokens < 1:
            raise ValueError(f"ToolCallGrammar(max_response_tokens=) must be at least 1, got {max_response_tokens}")
        self.tokenizer, self.max_response_tokens = tokenizer, max_response_tokens
        self.limits, self.thought = limits or Limits(), thought
        self._starts: dict[int, tuple[Problem, Frames]] = {}
        self._states: dict[tuple[int, tuple[int, ...]], Frames | None] = {}
        self._options = lru_cache(_CACHED_STATES)(self._find_options)
        self._choices = lru_cache(_CACHED_STATES)(self._find_choices)
        self._costs: dict[str, float] = {}
        self._pair = lru_cache(2**16)(self._find_pair)
        self._count = lru_cache(_CACHED_STATES)(tokenizer.count)  # a token of the shortest ending leaves the text as is

    def __reduce__(self) -> tuple[Any, ...]:
        rest = (self.tokenizer, self.max_response_tokens, self.limits, self.thought)
        return _make, rest

    def allowed(self, problem: Problem, response_ids: Sequence[int]) -> NDArray[np.bool_]:
        """Mask over the vocabulary, (V,), a fresh array; at least one entry is True.

        Args:
            problem: Its ``target["functions"]`` are the tools on offer.
            response_ids: What was written so far.
        """
        ids = tuple(int(i) for i in response_ids)
        state = self._state(problem, ids)
        mask = np.zeros(self.tokenizer.vocab_size, dtype=np.bool_)
        if not state:
            mask[self.tokenizer.eos_id] = True
            return mask
        tokens, costs, canonical = self._choices(state, ids[-1] if ids else None)
        fits = costs < self.max_response_tokens - len(ids) - 1  # this token and the end-of-sequence token
        fits &= self._fits_as_text(state, ids, tokens, costs)
        for wanted in (canonical & fits, fits, costs == costs.min()):
            if wanted.any():
                mask[tokens[wanted]] = True
                break
        return mask

    def _fits_as_text(
        self, state: Frames, ids: Sequence[int], tokens: NDArray[np.int64], costs: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether the response can still end within the cap after each token, as the tokenizer itself encodes it.

        That encoding can be longer than the tokens chosen: words that the merges do not know fall into letters. What a
        token adds to it is estimated; where the estimate comes near the cap, the encoding is counted (for a token of
        plain text, of which there are hundreds, the estimate is an upper bound and decides).
        """
        text, options, ending = self.tokenizer.decode(ids), self._options(state)[0], closing(state)
        room = self.max_response_tokens - self._count(text + self._spelled(ending))
        word = len(text) - max(text.rfind(" "), text.rfind("\n")) - 1
        listed = costs[: len(options)] - self._cost(ending) + 1
        grown = np.concatenate([listed, word + self._lengths[tokens[len(options) :]]])
        fits = grown + _MARGIN <= room
        for position in np.flatnonzero(~fits[: len(options)]):
            token = int(tokens[position])
            end = self._texts[token] + closing(options[token])
            fits[position] = self._count(text + self._spelled(end)) <= self.max_response_tokens
        return fits

    def _spelled(self, text: str) -> str:
        """The text with its tags as they are."""
        return text.translate(_TAGS_BY_CHAR)

    def _state(self, problem: Problem, ids: tuple[int, ...]) -> Frames | None:
        """The automaton's state after these tokens; None once they have left the grammar."""
        if id(problem) not in self._starts:
            if len(self._starts) >= _CACHED_PROBLEMS:
                self._starts.clear()
                self._states.clear()
            self._starts[id(problem)] = problem, self._start(problem)  # held, so that its id stays its own
        if not ids:
            return self._starts[id(problem)][1]
        key = id(problem), ids
        if key not in self._states:
            if len(self._states) >= 16 * _CACHED_STATES:
                self._states.clear()
            known = len(ids) - 1
            while known and (id(problem), ids[:known]) not in self._states:
                known -= 1
            state = self._states[id(problem), ids[:known]] if known else self._starts[id(problem)][1]
            for token in ids[known:]:
                state = self._after(state, token)
            self._states[key] = state
        return self._states[key]

    def _after(self, state: Frames | None, token: int) -> Frames | None:
        text = self._texts[token] if 0 <= token < len(self._texts) else ""
        if not text:
            return None
        for char in text:
            state = advance(state, char) if state else None
        return state

    def _start(self, problem: Problem) -> Frames:
        target = problem.target if isinstance(problem.target, Mapping) else {}
        functions = sorted(self._functions(target.get("functions") or ()), key=lambda f: len(f.name + closing(f.call)))
        skeleton = self._skeleton
        no_call: Frames = (FreeText(self.limits.reply), skeleton.reply_end)
        options: list[tuple[str, Frames]]
        if self.thought == "canonical":
            options = [(f"no tool.{skeleton.reply}", no_call)]
            if functions:
                options.append(('use "', (NamedTools(tuple(functions), skeleton, self.limits.calls),)))
            return skeleton.thought, Choice(tuple(options))
        options = [(skeleton.reply, no_call)]
        if functions:
            options.append((skeleton.calls, (FreeCalls(tuple(functions), skeleton, self.limits.calls),)))
        return skeleton.thought, FreeText(self.limits.thought), Choice(tuple(options))

    def _functions(self, schemas: Sequence[Mapping[str, Any]]) -> Iterator[Function]:
        for name, schema in {schema["name"]: schema for schema in reversed(schemas)}.items():
            members = member_frames(schema.get("parameters") or {}, self.limits, self._writable)
            quoted = json.dumps(name, ensure_ascii=False)
            if members is not None and self._writable(quoted):
                yield Function(quoted, ("{", members))

    def _writable(self, text: str) -> bool:
        return "<" not in text and bool(np.isfinite(self._cost(text)))

    def _find_choices(
        self, state: Frames, last: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """The tokens that may follow, the tokens that the shortest ending takes after each, and which are canonical."""
        options, bulk = self._options(state)
        costs = [self._cost(closing(after)) for after in options.values()]
        canonical = [len(bulk) > 0 or self._is_canonical(last, token, after) for token, after in options.items()]
        if len(bulk):  # these leave the ending as it is
            costs += [self._cost(closing(state))] * len(bulk)
            canonical += [True] * len(bulk)
        tokens = np.concatenate([np.fromiter(options, np.int64, len(options)), bulk])
        return tokens, np.array(costs, np.float64), np.array(canonical, np.bool_)

    def _find_options(self, state: Frames) -> tuple[dict[int, Frames], NDArray[np.int64]]:
        """The tokens that may follow, with the state after each; plain text inside a free text separately."""
        top, found = state[0], {}
        bulk = np.empty(0, np.int64)
        trie = self._trie
        if isinstance(top, FreeText | StringText) and not (isinstance(top, StringText) and top.escaped):
            ids, lengths, trie = self._free if isinstance(top, FreeText) else self._quoted
            bulk = ids[lengths <= top.left]
        stack: list[tuple[Trie, Frames]] = [(trie, state)]
        while stack:
            node, frames = stack.pop()
            if "" in node:
                found.update(dict.fromkeys(node[""], frames))
            if not frames:
                continue
            for char in (frames[0][0],) if isinstance(frames[0], str) else node:
                if char and char in node and (after := advance(frames, char)) is not None:
                    stack.append((node[char], after))  # noqa: PERF401  (the list grows while it is read)
        return found, bulk

    def _is_canonical(self, last: int | None, token: int, after: Frames, depth: int = _LOOK_AHEAD) -> bool:
        """Whether a canonical encoding may have ``token`` after ``last`` here.

        A sequence of BPE tokens is canonical only if every two neighbours are (Berglund and van der Merwe, 2023), so
        this never refuses the tokenizer's own encoding, unless a pre-tokenizer looks further than a token.
        """
        if not self._pair(last, token):
            return False
        if not depth or not after or not isinstance(after[0], str):
            return True
        options, _ = self._options(after)
        return any(self._is_canonical(token, second, then, depth - 1) for second, then in options.items())

    def _find_pair(self, first: int | None, second: int) -> bool:
        ids = [second] if first is None else [first, second]
        return self.tokenizer.encode(self.tokenizer.decode(ids)) == ids

    def _cost(self, text: str) -> float:
        """The least number of tokens that spell a text; infinite where none do."""
        known = self._costs
        if len(known) > 32 * _CACHED_STATES:
            known.clear()
        known[""] = 0.0
        start = 0
        while text[start:] not in known:  # endings share their ends
            start += 1
        for begin in range(start - 1, -1, -1):
            node, end, least = self._trie, begin, np.inf
            while end < len(text) and text[end] in node:
                node, end = node[text[end]], end + 1
                if "" in node:
                    least = min(least, 1 + known[text[end:]])
            known[text[begin:]] = least
        return known[text]

    @cached_property
    def _skeleton(self) -> Skeleton:
        texts = vars(Skeleton()).copy()
        for tag, char in _TAG_CHARS.items():
            if char in self._texts:
                texts = {name: text.replace(tag, char) for name, text in texts.items()}
        return Skeleton(**texts)

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        """What each token adds to a text, tags as their characters; empty for specials and parts of characters."""
        anchor, decode = self.tokenizer.encode(".")[-1], self.tokenizer.decode
        before = len(decode([anchor]))  # some decoders strip the first token's space
        texts = (decode([anchor, token])[before:] for token in range(self.tokenizer.vocab_size))
        return tuple("" if "\ufffd" in text else _TAG_CHARS.get(text, text) for text in texts)

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(text) for text in self._texts], np.int64)

    @cached_property
    def _trie(self) -> Trie:
        return _make_trie(self._texts, range(len(self._texts)))

    @cached_property
    def _free(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Trie]:
        return self._split(is_text)

    @cached_property
    def _quoted(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Trie]:
        return self._split(is_string_text)

    def _split(self, plain: Callable[[str], bool]) -> tuple[NDArray[np.int64], NDArray[np.int64], Trie]:
        """Tokens of plain characters alone with their lengths, and the trie of the others."""
        ids = [i for i, text in enumerate(self._texts) if text and all(map(plain, text))]
        others = sorted(set(range(len(self._texts))) - set(ids))
        lengths = [len(self._texts[i]) for i in ids]
        return np.array(ids, np.int64), np.array(lengths, np.int64), _make_trie(self._texts, others)


def _make(tokenizer: TextTokenizer, max_response_tokens: int, limits: Limits, thought: ThoughtMode) -> ToolCallGrammar:
    return ToolCallGrammar(tokenizer, max_response_tokens=max_response_tokens, limits=limits, thought=thought)


def _make_trie(texts: Sequence[str], ids: Iterable[int]) -> Trie:
    root: Trie = {}
    for token in ids:
        if texts[token]:
            node = root
            for char in texts[token]:
                node = node.setdefault(char, {})
            node.setdefault("", []).append(token)
    return root
