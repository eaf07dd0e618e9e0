"""Make the tokenizers of letters: ``python -m llm_morl_env.build_letters [DIRECTORY]``.

One token for each of the first V letters of the alphabet, for ``?`` and for the specials: V + 4 in all. What is none of
these reads as ``?``, one for each character, so every text has a length, and only texts of letters and ``?`` survive
encoding and decoding.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from llm_morl_env.tasks.letters import LETTERS, letters_file
from llm_morl_env.tokenizer import BUILT_IN, SPECIALS


def build(letters: int) -> Tokenizer:
    """The tokenizer of the first ``letters`` letters."""
    vocabulary = {token: i for i, token in enumerate([*SPECIALS, "?", *LETTERS[:letters]])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIALS])
    return tokenizer


def main() -> None:
    """Write all of them into the directory given, or over the packaged ones."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else BUILT_IN.parent
    for letters in range(2, len(LETTERS) + 1):
        path = directory / letters_file(letters).relative_to(BUILT_IN.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        build(letters).save(str(path))
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
