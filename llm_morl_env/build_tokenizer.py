"""Make the built-in tokenizer: ``python -m llm_morl_env.build_tokenizer PATH``.

Byte-level BPE with at most 1,024 entries, trained on the texts of all planned built-in tasks, both splits.
Deterministic: the same catalogue gives the same bytes, and a test holds the shipped file to that.

The pre-tokenizer departs from GPT-2's in three ways, each to save decode steps: digits are single tokens (a number of
any length is copied digit by digit); a run of punctuation keeps its inner spaces (``": "`` is one token, so a word in
JSON starts without a space and copying from a quotation is the identity); and two pieces of the tool-call skeleton stay
whole.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from llm_morl_env.tasks import tool_catalogue, word_lists
from llm_morl_env.tasks.toolcall_problems import TIERS, ToolCallProblems, thought_of, write_gold, write_prompt
from llm_morl_env.tokenizer import BUILT_IN, SPECIALS, TAGS

VOCAB_SIZE = 1024
_SKELETON = r'\{"name": "|", "parameters": \{"'
_PATTERN = _SKELETON + r"| ?[A-Za-z_]+|[0-9]|(?:[^A-Za-z0-9_\s]| (?![A-Za-z_]))+|\s"
_N_TOOLCALL, _N_OTHER, _N_COMMON = 3000, 900, 4


def corpus() -> Iterator[str]:
    """Texts of all planned tasks, in the mixture that the merges should serve."""
    tier = TIERS["hard"]
    for split in ("train", "eval", "unseen"):
        problems = ToolCallProblems(tier, split, seed=0, count_tokens=len)
        for index in range(min(_N_TOOLCALL, len(problems))):
            request = problems.request(index)
            filler = tool_catalogue.FILLERS[index % len(tool_catalogue.FILLERS)]
            yield write_prompt(request)
            yield write_gold(request.calls, request.reply, f"{filler} {thought_of(request.calls)}")
    rng = np.random.default_rng(0)
    for frames in (word_lists.SUMMARY, word_lists.MATH, word_lists.SAFE):
        for _ in range(_N_OTHER):
            yield _fill(frames, rng)
    yield from [word_lists.COMMON] * _N_COMMON


def _fill(lists: dict[str, Any], rng: np.random.Generator) -> str:
    frame: str = lists["frames"][int(rng.integers(len(lists["frames"])))]
    for key, words in lists.items():
        if key == "frames":
            continue
        while "{" + key + "}" in frame:
            options = words.split()
            frame = frame.replace("{" + key + "}", options[int(rng.integers(len(options)))], 1)
    return frame


def build() -> Tokenizer:
    """Train the tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    added = [AddedToken(name, normalized=False) for name in (*SPECIALS, *TAGS)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=added,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_untagged(corpus()), trainer)
    return _tags_not_special(tokenizer)


def _tags_not_special(tokenizer: Tokenizer) -> Tokenizer:
    """The trainer marks every reserved token special, and `decode` would drop the tags: undo that for them."""
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        token["special"] = token["content"] in SPECIALS
    return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))


def _untagged(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        for tag in TAGS:
            text = text.replace(tag, "\n")
        yield text


def main() -> None:
    """Write the tokenizer to the path given, or over the packaged one."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else BUILT_IN
    path.parent.mkdir(parents=True, exist_ok=True)
    build().save(str(path))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
