"""The commands of ``llm-morl``, one module each with ``main(arguments) -> exit status``."""
