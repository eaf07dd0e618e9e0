"""A language model for tests of environments: what it says of a context is a hash of it."""

import numpy as np

from llm_morl_env.language_model import Reading


def said_of(context, vocab_size, hidden_size):
    """Log-probabilities (V,) and hidden state (C,) of a context."""
    rng = np.random.default_rng([len(context), *context])
    logits = 3 * rng.normal(size=vocab_size)
    log_probs = logits - np.log(np.exp(logits).sum())
    return log_probs.astype(np.float32), rng.normal(size=hidden_size).astype(np.float32)


class FakeSession:
    """Keeps the contexts, and counts the calls."""

    def __init__(self, model, n_rows, max_tokens):
        self.model, self.contexts, self.max_tokens, self.calls = model, [[] for _ in range(n_rows)], max_tokens, 0

    def read(self, rows, tokens, restart):
        self.calls += 1
        for row, new, again in zip(rows, tokens, restart, strict=True):
            assert len(new) > 0
            self.contexts[row] = [*([] if again else self.contexts[row]), *map(int, new)]
            assert len(self.contexts[row]) <= self.max_tokens
        said = [said_of(self.contexts[row], self.model.vocab_size, self.model.hidden_size) for row in rows]
        return Reading(np.stack([one for one, _ in said]), np.stack([hidden for _, hidden in said]))


class FakeModel:
    """A handle, as `llm_morl_env.language_model.LanguageModel` says: copies of it are itself."""

    def __init__(self, vocab_size, hidden_size=5):
        self.name, self.vocab_size, self.hidden_size = "fake", vocab_size, hidden_size

    def __deepcopy__(self, memo):
        return self

    def session(self, n_rows, max_tokens):
        return FakeSession(self, n_rows, max_tokens)
