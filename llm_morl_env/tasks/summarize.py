"""`summarize_task`: documents to be summarised; what is told, whether it is true, and how short it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from llm_morl_env.data.summaries import load_summaries
from llm_morl_env.task import Task, TransformLike
from llm_morl_env.tasks.building import SPLITS, Splits, counter_of, real_splits, transformed
from llm_morl_env.tasks.summarize_front import SummaryFront
from llm_morl_env.tasks.summarize_grammar import SummaryGrammar, splits_by_clause
from llm_morl_env.tasks.summarize_problems import TIERS, summary_problems
from llm_morl_env.tokenizer import TextTokenizer
from llm_morl_rewards import Problem, RewardVector
from llm_morl_rewards.summary import (
    ROUGE_TYPES,
    compression,
    join_clauses,
    key_fact_coverage,
    key_fact_faithfulness,
    rouge_reward,
    source_faithfulness,
)

#: Longest prompt of each tier, in tokens of the built-in tokenizer, with some room.
MAX_PROMPT_TOKENS = MappingProxyType({"easy": 56, "standard": 88, "hard": 136})
#: Room for the longest gold answer of any tier (30 tokens) and then some.
MAX_RESPONSE_TOKENS = 48
DEFAULT_OBJECTIVES = ("coverage", "faithfulness", "conciseness")
#: With ``data`` only: ROUGE needs references.
OBJECTIVES = (*DEFAULT_OBJECTIVES, *ROUGE_TYPES)
_UNRELATED = "An old castle near Madrid was sold last summer."


def summarize_task(
    *,
    difficulty: str = "standard",
    data: str | Path | None = None,
    data_format: str | None = None,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    seed: int = 0,
    tokenizer: str | Path | TextTokenizer | None = None,
    max_response_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    transforms: Sequence[TransformLike] = (),
) -> Task:
    """Summarise a document: tell its key facts, nothing that it does not say, in few words.

    ## Description

    The built-in documents are notes about an item (a meeting, a lunch), mixed with sentences about other things. The
    summary lists the facts of the item that the question names. With ``data`` documents and reference summaries are
    real.

    ## Prompt and answer

    ```text
    <doc>people say the lunch has room kitchen. the day 12 is for the dance. about the lunch: people 48.<question>the lunch<answer>

    room kitchen; people 48
    ```

    Clauses ``key value`` stand in any order, with "; " between them and one space after the key; what deviates is a
    clause that is not supported. The prompt of real data is an instruction and the text.

    ## Objectives

    | name | bounds | built-in problems | with ``data`` |
    |---|---|---|---|
    | ``coverage`` | [0, 1] | stated facts / facts | mean of ``rouge1``, ``rouge2``, ``rougeL`` |
    | ``faithfulness`` | [0, 1] | stated facts / clauses, 0 without a clause | share of the summary's bigrams that the text or a reference has, counts clipped |
    | ``conciseness`` | [0, 1] | max(0, 1 - tokens of summary / tokens of document) | the same |
    | ``rouge1``, ``rouge2``, ``rougeL`` | [0, 1] | - | ROUGE F1, the best over the references, no stemming |

    A fact is stated by a clause with its key and its value, unless another clause has the key with another value. A
    clause that repeats one adds to the clauses alone. So neither guessing several values, nor repeating, nor all
    values in one clause, nor a copy of the document pays. Lengths are counted by the environment's tokenizer.

    Gold answers have coverage and faithfulness 1. That n-grams of a reference count as supported departs from the
    measure as published; without it an abstractive reference would be called unfaithful.

    ## Conflict

    Every clause costs tokens, so coverage and conciseness conflict for each document; an empty summary has the greatest
    conciseness, and no coverage and no faithfulness. The front of the built-in problems is known
    (`llm_morl_env.tasks.summarize_front.SummaryFront`): of F facts, the k cheapest ones to tell, k = 0..F. Coverage and
    faithfulness do not conflict for one who reads perfectly; for a policy that errs, each further fact is a risk.

    ## Difficulty and splits

    - ``easy``: 2 or 3 facts of the item, no other sentence.
    - ``standard``: 3 or 4 facts, a fact of another item under a key that the item lacks, a sentence without a fact.
    - ``hard``: 4 to 6 facts, 2 or 3 facts of other items under the same keys with other values, at most one other
      sentence.

    Splits train (endless), eval (512 problems; held-out phrasings, numbers and combinations of item, key and value;
    every prefix has each number of facts as often as it can) and unseen (as eval, with items and words about which no
    training document states a fact; some mention them). Real data: every fifth row is the eval split, the others are
    the train split.

    ## Data formats

    - ``scitldr``: columns ``source`` and ``target``, lists of texts; optional ``paper_id`` and ``title``. SciTLDR,
      https://github.com/allenai/scitldr, Apache 2.0.
    - ``summary``: columns ``document`` and ``summary``, texts (or a list of summaries).

    ROUGE needs the extra ``text``. Its words are runs of a-z and digits; rows without two of them are refused.

    ## Version history

    - v0: first version.

    ## Credits

    ROUGE: Lin, 2004. SciTLDR: Cachola et al., 2020 (arXiv 2004.15011). Novel n-grams as a measure of abstraction: See
    et al., 2017 (arXiv 1704.04368).

    Args:
        difficulty: ``"easy"``, ``"standard"`` or ``"hard"``.
        data: A file of real rows in place of the procedural problems, see `llm_morl_env.data.load_summaries`; then
            ``difficulty`` and ``seed`` say nothing.
        data_format: ``"scitldr"`` or ``"summary"``; None tells it from the columns.
        objectives: Any of `OBJECTIVES` (without ``data``: of `DEFAULT_OBJECTIVES`), in the order wanted.
        seed: Of the procedural problems: problem i of a split is a function of it and i.
        tokenizer: Counts lengths, cuts responses, and is the action space of the token views: a ``tokenizer.json``, its
            directory or a `TextTokenizer`; None takes the built-in one, wasteful for a real corpus. Where its tokens
            run across clauses, the procedural task has neither masks nor a known front.
        max_response_tokens: A response is cut there before it is scored; None takes 48, or twice the longest gold
            response with ``data``.
        max_prompt_tokens: Longest prompt that the token view shows (longer ones lose their beginning); None takes the
            tier's, or the longest prompt with ``data``.
        transforms: Applied to the task in order.

    Raises:
        ValueError: If a name is unknown or an objective is given twice.
        DataError: If ``data`` is malformed.
        ImportError: If an objective needs ROUGE and rouge-score is not installed.

    >>> task = summarize_task(difficulty="easy").with_split("eval")
    >>> gold = task[0].meta["gold"]
    >>> task.score([task[0]] * 2, [gold, gold.split("; ")[0]])[:, :2].tolist()
    [[1.0, 1.0], [0.5, 1.0]]
    """  # noqa: E501  (a row of a table is one line, and so is a prompt)
    counter = counter_of(tokenizer)
    if data is None and data_format is not None:
        raise ValueError(f"data_format={data_format!r} needs data=, got None")
    if data is None:
        problems, prompt_tokens, response_tokens = _procedural(difficulty, seed, counter)
        rewards = fact_rewards(counter).select(objectives)
    else:
        rewards = reference_rewards(counter, objectives)
        problems, prompt_tokens, response_tokens = _real(data, data_format, counter, max_prompt_tokens)
    cap = response_tokens if max_response_tokens is None else max_response_tokens
    by_clause = data is None and splits_by_clause(counter)
    task = Task(
        name="summarize",
        problems=problems,
        rewards=rewards,
        tokenizer=counter,
        max_prompt_tokens=prompt_tokens if max_prompt_tokens is None else max_prompt_tokens,
        max_response_tokens=cap,
        grammar=SummaryGrammar(counter, cap) if by_clause else None,
        front=SummaryFront(counter.count, cap, rewards.names) if by_clause else None,
        examples=summarize_examples,
    )
    return transformed(task, transforms)


def _procedural(difficulty: str, seed: int, tokenizer: TextTokenizer) -> tuple[Splits, int, int]:
    if difficulty not in TIERS:
        raise ValueError(f"difficulty must be one of {list(TIERS)}, got {difficulty!r}")
    tier = TIERS[difficulty]
    splits: Splits = {name: summary_problems(tier, name, seed=seed, count_tokens=tokenizer.count) for name in SPLITS}
    return splits, MAX_PROMPT_TOKENS[difficulty], MAX_RESPONSE_TOKENS


def _real(
    data: str | Path, data_format: str | None, tokenizer: TextTokenizer, max_prompt_tokens: int | None
) -> tuple[Splits, int, int]:
    rows = load_summaries(data, data_format)
    return real_splits(rows, WithDocumentTokens(tokenizer.count), tokenizer.count, max_prompt_tokens)


@dataclass(frozen=True)
class WithDocumentTokens:
    """Adds ``document_tokens``, the length of ``meta["document"]``, to a problem's ``meta``.

    Args:
        count: Length of a text.
    """

    count: Callable[[str], int]

    def __call__(self, problem: Problem) -> Problem:
        """The problem with it."""
        return replace(problem, meta={**problem.meta, "document_tokens": self.count(problem.meta["document"])})


def fact_rewards(tokenizer: TextTokenizer) -> RewardVector:
    """The objectives of the procedural problems, lengths counted by ``tokenizer``."""
    return RewardVector([key_fact_coverage, key_fact_faithfulness, compression(tokenizer.count)])


def reference_rewards(tokenizer: TextTokenizer, objectives: Sequence[str] = DEFAULT_OBJECTIVES) -> RewardVector:
    """These objectives of real data, lengths counted by ``tokenizer``; rouge-score is loaded where one needs it.

    Raises:
        ValueError: If a name is unknown or given twice.
        ImportError: If an objective needs rouge-score and it is not installed.
    """
    unknown = [name for name in objectives if name not in OBJECTIVES]
    if unknown:
        raise ValueError(f"objectives={list(objectives)!r}: unknown {unknown}; known are {list(OBJECTIVES)}")
    free = {"faithfulness": source_faithfulness, "conciseness": compression(tokenizer.count)}
    return RewardVector([free[name] if name in free else rouge_reward(name) for name in objectives])


def summarize_examples(problem: Problem) -> Mapping[str, str]:
    """Good: the gold answer. Mediocre: that with something wrong or missing. Bad: no summary of this document.

    The bad answer to a built-in problem is the document's first sentence, which is no clause.
    """
    gold, document = str(problem.meta["gold"]), str(problem.meta["document"])
    if "facts" in problem.target:
        (key, value), *rest = problem.target["facts"].items()
        wrong = next(option for option in [*problem.target["values"], "none"] if option != value)
        return {"good": gold, "mediocre": join_clauses({key: wrong, **dict(rest)}), "bad": f"{document.split('.')[0]}."}
    words = gold.split()
    mediocre = " ".join([*words[: (len(words) + 1) // 2], "and", "more"])
    return {"good": gold, "mediocre": mediocre, "bad": _UNRELATED}
