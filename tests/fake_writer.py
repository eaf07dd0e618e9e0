"""A writer of candidates for tests: it knows good answers, spoils some of them, and is less sure of those."""

import numpy as np

from llm_morl_env.language_model import Candidate


class FakeWriter:
    """A handle, as `llm_morl_env.language_model.LanguageModel` says, that only writes; it counts its batches.

    Args:
        task: Of problems with gold answers; those of the first ``n_known`` of train and eval are known.
        n_known: So many.
    """

    name, hidden_size = "fake-writer", 3

    def __init__(self, task, n_known=64):
        splits = (task.with_split(split) for split in ("train", "eval"))
        self.known = {p.prompt: p.meta["gold"] for s in splits for p in (s[i] for i in range(min(n_known, len(s))))}
        self.count, self.vocab_size = task.tokenizer.count, task.tokenizer.vocab_size
        self.batches = []

    def __deepcopy__(self, memo):
        return self

    def write(self, prompts, n_candidates, *, max_new_tokens, temperature=1.0, rngs):
        self.batches.append(len(prompts))
        return [
            [self._candidate(self.known[p], rng) for _ in range(n_candidates)]
            for p, rng in zip(prompts, rngs, strict=True)
        ]

    def _candidate(self, gold, rng):
        good = rng.random() < 0.5
        text = gold if good else gold[: int(rng.integers(1, len(gold)))]
        log_probs = -rng.exponential(0.1 if good else 1.0, self.count(text) + 1).astype(np.float32)
        return Candidate(text, log_probs, rng.normal(size=3).astype(np.float32), bool(good))
