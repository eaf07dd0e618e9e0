"""Neural rewards: any sequence classifier as a reward model, and similarity to a reference by sentence embeddings.

Both are frozen picklable rewards of kind ``batch`` that carry a path, not weights: the model is loaded at the first
call, once in a process. Shapes: N responses, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llm_morl_rewards import Problem
from llm_morl_rewards.base import Kind

#: What a reward model reads: the response; prompt and response as two segments; as a chat of two messages by the
#: tokenizer's template; or one text, the response right behind the prompt.
Reads = Literal["response", "pair", "chat", "text"]
#: What a response is compared with: its problem's gold answer, target, or prompt.
Against = Literal["gold", "target", "prompt"]


@dataclass(frozen=True)
class RewardModel:
    """The score of a sequence-classification model, as a reward.

    With one label the logit z becomes ``1 / (1 + exp(-z))`` in [0, 1], or, where ``bounds`` are given, z itself, cut to
    them. With L labels it is the softmax probability of ``label``, in [0, 1].

    Args:
        path: A transformers directory, or a hub id, of a sequence classifier.
        name: Of the objective.
        reads: See `Reads`. Texts over the model's length lose their beginning: the response stands at the end.
        label: Which of L labels, by number or by its name in the model's ``id2label``; none for a model of one label.
        bounds: Least and greatest logit of a model of one label, for models whose scores are meant as they are.
        batch_size: Responses in a forward pass.
        device: Where to load the model.

    Raises:
        ValueError: If an option is out of its range; at the first call, if the labels do not fit the model, or
            ``reads="chat"`` meets a tokenizer without a chat template.
        OSError: At the first call, if there is no such model.
    """

    path: str | Path
    name: str = "score"
    reads: Reads = "pair"
    label: int | str | None = None
    bounds: tuple[float, float] | None = None
    batch_size: int = 32
    device: str = "cpu"
    kind: Kind = field(default="batch", init=False)

    def __post_init__(self) -> None:
        if self.reads not in get_args(Reads):
            raise ValueError(f"RewardModel(reads=) must be one of {get_args(Reads)}, got {self.reads!r}")
        if self.batch_size < 1:
            raise ValueError(f"RewardModel(batch_size=) must be at least 1, got {self.batch_size!r}")
        if self.bounds is not None:
            object.__setattr__(self, "bounds", tuple(self.bounds))
            if not (len(self.bounds) == 2 and np.isfinite(self.bounds).all() and self.bounds[0] < self.bounds[1]):
                raise ValueError(f"RewardModel(bounds=) must be finite with low < high, got {self.bounds!r}")
            if self.label is not None:
                raise ValueError("RewardModel(bounds=) belongs to models of one label, got label= too")

    @property
    def low(self) -> float:
        """Lower bound."""
        return 0.0 if self.bounds is None else float(self.bounds[0])

    @property
    def high(self) -> float:
        """Upper bound."""
        return 1.0 if self.bounds is None else float(self.bounds[1])

    def __call__(self, problems: Sequence[Problem], responses: Sequence[str]) -> NDArray[np.float64]:
        """Scores (N,)."""
        model, tokenizer = _classifier(str(self.path), self.device)
        column = _column(model.config, self.label, self.path)
        scores = np.empty(len(responses))
        # Texts of like length share a batch: less padding.
        order = np.argsort([len(p.prompt) + len(r) for p, r in zip(problems, responses, strict=True)], kind="stable")
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            encoded = self._encoded(tokenizer, [(problems[i].prompt, responses[i]) for i in rows], model.config)
            with torch.inference_mode():
                logits = model(**encoded.to(self.device)).logits.double().cpu()  # (rows, L)
            if column is None and self.bounds is not None:
                values = logits[:, 0].clamp(*self.bounds)
            else:
                values = logits[:, 0].sigmoid() if column is None else logits.softmax(dim=-1)[:, column]
            scores[rows] = values.numpy()
        return scores

    def _encoded(self, tokenizer: Any, pairs: Sequence[tuple[str, str]], config: Any) -> Any:
        known = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or 10**6]
        options = {
            "return_tensors": "pt",
            "padding": True,
            "truncation": True,
            "max_length": min(*known, 10**6),
        }
        if self.reads == "pair":
            return tokenizer([p for p, _ in pairs], [r for _, r in pairs], **options)
        if self.reads != "chat":
            # Decoders' tokenizers make no token of an empty text, and there would be nothing to score.
            nothing = tokenizer.eos_token or tokenizer.pad_token
            return tokenizer([(r if self.reads == "response" else p + r) or nothing for p, r in pairs], **options)
        if not tokenizer.chat_template:
            raise ValueError(f"RewardModel(reads='chat'): the tokenizer of {str(self.path)!r} has no chat template")
        chats = [[{"role": "user", "content": p}, {"role": "assistant", "content": r}] for p, r in pairs]
        texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats]
        return tokenizer(texts, add_special_tokens=False, **options)  # the template writes its own


@cache
def _classifier(path: str, device: str) -> tuple[Any, Any]:
    model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(path, truncation_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:  # decoders find the last token by it
        model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _column(config: Any, label: int | str | None, path: str | Path) -> int | None:
    """Index of the label; None for a model of one."""
    names = {int(i): name for i, name in config.id2label.items()}
    if len(names) == 1 and label is None:
        return None
    for index, name in names.items():
        if label in (index, name) and not isinstance(label, bool) and len(names) > 1:
            return index
    wanted = f"one of {list(names.values())} or a number below {len(names)}" if len(names) > 1 else "None: it has one"
    raise ValueError(f"RewardModel(label=) of {str(path)!r} must be {wanted}, got {label!r}")


@dataclass(frozen=True)
class SemanticSimilarity:
    """Closeness in meaning of a response to a reference: cosine of sentence embeddings, cut to [0, 1].

    ``max(0, cos(e(response), e(reference)))``, the greatest over several references (a list as target or in
    ``meta["references"]``). An empty response has 0. Embeddings know little of negation and of numbers: "open" and "do
    not open" are close. Use it beside a check, not instead of one.

    Args:
        path: A sentence-transformers directory or hub id.
        name: Of the objective.
        against: See `Against`.
        batch_size: Texts in a forward pass.
        device: Where to load the model.

    Raises:
        ValueError: If an option is out of its range; when a problem without reference is scored.
        ImportError: At the first call, if sentence-transformers (extra ``similarity``) is not installed.
    """

    path: str | Path
    name: str = "similarity"
    against: Against = "gold"
    batch_size: int = 64
    device: str = "cpu"
    low: float = field(default=0.0, init=False)
    high: float = field(default=1.0, init=False)
    kind: Kind = field(default="batch", init=False)

    def __post_init__(self) -> None:
        if self.against not in get_args(Against):
            raise ValueError(f"SemanticSimilarity(against=) must be one of {get_args(Against)}, got {self.against!r}")
        if self.batch_size < 1:
            raise ValueError(f"SemanticSimilarity(batch_size=) must be at least 1, got {self.batch_size!r}")

    def __call__(self, problems: Sequence[Problem], responses: Sequence[str]) -> NDArray[np.float64]:
        """Similarities (N,). Each distinct text is embedded once."""
        references = [self._references(problem) for problem in problems]
        texts = list(dict.fromkeys([*responses, *(text for row in references for text in row)]))
        if not texts:
            return np.empty(0)
        encoder = _encoder(str(self.path), self.device)
        embeddings = encoder.encode(
            texts, batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        vectors = dict(zip(texts, np.asarray(embeddings, dtype=np.float64), strict=True))
        best = [
            max(float(vectors[response] @ vectors[text]) for text in row) if response.strip() else 0.0
            for response, row in zip(responses, references, strict=True)
        ]
        return np.asarray(np.clip(best, 0.0, 1.0))

    def _references(self, problem: Problem) -> list[str]:
        found = {
            "gold": problem.meta.get("references", problem.meta.get("gold")),
            "target": problem.target,
            "prompt": problem.prompt,
        }[self.against]
        texts = [found] if isinstance(found, str) else found
        if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(
                f"SemanticSimilarity(against={self.against!r}): the problem has no such text, got {found!r}"
            )
        return list(texts)


@cache
def _encoder(path: str, device: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(
            "SemanticSimilarity needs sentence-transformers: pip install 'llm-morl-env[similarity]'"
        ) from error
    return SentenceTransformer(path, device=device)
