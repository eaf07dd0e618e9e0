"""Problems from local files: real data in the public formats of each task's field, and one's own prompts."""

from llm_morl_env.data.custom import load_problems
from llm_morl_env.data.mathematics import load_math
from llm_morl_env.data.rows import DataError, longest, read_rows, split_rows
from llm_morl_env.data.safety import load_safety
from llm_morl_env.data.summaries import load_summaries
from llm_morl_env.data.toolcall import load_toolcall

__all__ = [
    "DataError",
    "load_math",
    "load_problems",
    "load_safety",
    "load_summaries",
    "load_toolcall",
    "longest",
    "read_rows",
    "split_rows",
]
