"""LLM generation tasks as multi-objective Gymnasium environments. Importing this registers the ids."""

from llm_morl_env.registration import make_env, make_task, make_text_vec, make_vector_env, register

__all__ = ["make_env", "make_task", "make_text_vec", "make_vector_env", "register"]

register()
