"""`UnicodeText`: a text space that holds any string, for prompts and responses."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from gymnasium.spaces import Text
from numpy.typing import NDArray

#: Longest text of the built-in spaces, in characters: a bound, not a buffer (only flattening allocates it).
MAX_CHARACTERS = 2**20
#: Longest text that `UnicodeText.sample` draws unless a length is asked for.
SAMPLE_CHARACTERS = 64
SAMPLE_ALPHABET = string.ascii_letters + string.digits + string.punctuation + " \n" + "éßЖλ中한☃🙂"


class CodePoints(Sequence[str]):
    """All Unicode code points in order, lone surrogates included, as Gymnasium wants a character set: without a table.

    (The character set of a stock `Text` that covers Unicode costs a second and 1.1 million entries.)
    """

    def __len__(self) -> int:
        return 0x110000

    def __contains__(self, character: object) -> bool:
        return isinstance(character, str) and len(character) == 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [chr(i) for i in range(*index.indices(len(self)))]
        return chr(range(len(self))[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CodePoints)

    def __hash__(self) -> int:
        return hash(CodePoints)


class UnicodeText(Text):
    r"""A text space that looks at type and length alone: any `str` of 0 to ``max_length`` characters is a member.

    The stock `Text` admits 62 alphanumerics by default: no space, no brace, no newline. Batching, flattening and
    sampling with a mask work as there, over all code points; plain sampling draws short texts from a small mixed
    alphabet.

    Args:
        max_length: Greatest length in characters.
        seed: Of the space's generator.

    >>> UnicodeText().contains('{"naïve": "雪"}\n')
    True
    """

    def __init__(self, max_length: int = MAX_CHARACTERS, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=SAMPLE_ALPHABET, seed=seed)

    def sample(
        self,
        mask: tuple[int | None, NDArray[np.int8] | None] | None = None,
        probability: tuple[int | None, NDArray[np.float64] | None] | None = None,
    ) -> str:
        """Draw a text; see `Text.sample`. A mask or probability over characters covers all code points."""
        length, characters = mask or probability or (None, None)
        if characters is not None:
            return super().sample(mask, probability)
        if length is None:
            length = int(self.np_random.integers(min(self.max_length, SAMPLE_CHARACTERS), endpoint=True))
        elif not 0 <= length <= self.max_length:
            raise ValueError(f"UnicodeText.sample: the length must lie in 0..{self.max_length}, got {length!r}")
        alphabet = self.characters
        return "".join(alphabet[i] for i in self.np_random.integers(len(alphabet), size=length))

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a `str` of at most ``max_length`` characters."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"UnicodeText(max_length={self.max_length})"

    @property
    def character_set(self) -> Any:
        """All code points (a sequence that acts as a set)."""
        return CodePoints()

    @property
    def character_list(self) -> Any:
        """All code points in order."""
        return CodePoints()

    def character_index(self, char: str) -> np.int32:
        """The code point."""
        return np.int32(ord(char))
