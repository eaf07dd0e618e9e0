"""The environments' tokenizer: a thin, picklable handle on a ``tokenizers`` file.

The built-in one (``assets/tokenizer.json``) is the action space of the token views, so it is frozen: a change of it is
a version bump of every id. Structural tags are added tokens with ``special=False`` (a special token would vanish in
`decode`, and the format with it); only pad, bos and eos are special.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

BUILT_IN = Path(__file__).parent / "assets" / "tokenizer.json"

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
SPECIALS = (PAD, BOS, EOS)
#: Structural tags, one token each, in the order of their ids after the specials.
TAGS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>", "<tools>", "<user>", "<answer>",
    "<doc>", "<question>",
)  # fmt: skip
#: Names that other makers give the three specials; the first that a vocabulary has is taken.
_ALIASES = {
    PAD: (PAD, "<|pad|>", "[PAD]", "<|endoftext|>", "<|finetune_right_pad_id|>"),
    BOS: (BOS, "<s>", "<|begin_of_text|>", "<|endoftext|>", "<|im_start|>"),
    EOS: (EOS, "</s>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>"),
}


class TextTokenizer:
    """Text to ids and back, for lengths, caps and token views.

    Args:
        path: A ``tokenizer.json`` or a directory that holds one; None takes the built-in tokenizer.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a tokenizer, or names no end-of-sequence token that is known here.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        file = BUILT_IN if path is None else Path(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        if not file.is_file():
            raise FileNotFoundError(f"tokenizer={str(path)!r}: no such file: {file}")
        self.path = file
        self._tokenizer = _load(str(file))
        self.vocab_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        eos = self._special(EOS)
        if eos is None:  # any stand-in would end responses at an ordinary token
            raise ValueError(f"tokenizer={str(path)!r} has no end-of-sequence token; known names are {_ALIASES[EOS]}")
        self.eos_id: int = eos
        pad, bos = self._special(PAD), self._special(BOS)
        self.pad_id: int = eos if pad is None else pad
        self.bos_id: int = eos if bos is None else bos

    def _special(self, name: str) -> int | None:
        """Id of the first alias that the vocabulary has."""
        ids = (self._tokenizer.token_to_id(alias) for alias in _ALIASES[name])
        return next((int(i) for i in ids if i is not None), None)

    def __reduce__(self) -> tuple[type[TextTokenizer], tuple[str]]:
        return type(self), (str(self.path),)

    def __deepcopy__(self, memo: object) -> TextTokenizer:
        return self  # immutable: environment specs deep-copy their keyword arguments once per wrapper

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without specials. Lone surrogates, which no encoding can hold, become ``?``."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return list(self._tokenizer.encode(clean, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; specials vanish, tags stay."""
        return str(self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True))

    def count(self, text: str) -> int:
        """Length of a text in tokens of its canonical encoding."""
        return len(self.encode(text))

    def truncate(self, text: str, max_tokens: int) -> tuple[str, bool]:
        """The text cut at ``max_tokens`` tokens, and whether anything was cut.

        Of a text so long that it cannot fit, only a beginning with room to spare is encoded: megabytes of model output
        cost no more than a long response.
        """
        room = 2 * (max_tokens + 1) * _longest_token(str(self.path))
        beginning = text[:room]
        ids = self.encode(beginning)
        if len(ids) <= max_tokens and len(beginning) == len(text):
            return text, False
        return self.decode(ids[:max_tokens]), True

    def token_texts(self) -> tuple[str, ...]:
        """Decoded text of every id alone, (V,); a token that is part of a multi-byte character decodes to U+FFFD."""
        return tuple(self._tokenizer.decode([i], skip_special_tokens=True) for i in range(self.vocab_size))


@cache
def _load(path: str) -> Tokenizer:
    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"tokenizer={path!r} is not a tokenizers file: {error}") from error


@cache
def _longest_token(path: str) -> int:
    """Characters of the longest token as the vocabulary writes it (in a byte-level one: bytes)."""
    return max(len(token) for token in _load(path).get_vocab(with_added_tokens=True))
