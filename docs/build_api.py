"""Writes the API reference of the three packages into a directory: ``python docs/build_api.py build/docs/api``."""

import importlib
import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc

PACKAGES = ("llm_morl_env", "llm_morl_agents", "llm_morl_rewards")
#: The command line, which ``--help`` documents.
LEFT_OUT = {f"llm_morl_agents.{name}" for name in ("cli", "commands", "experiments", "pretrain")}


def main(output: Path) -> None:
    """Modules are named one by one: pdoc leaves out those that a package's ``__all__`` does not list."""
    names = []
    for package in map(importlib.import_module, PACKAGES):
        # Names that are loaded when first asked for are not in the module yet, and pdoc looks there.
        vars(package).update({name: getattr(package, name) for name in package.__all__})
        modules = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        names += [package.__name__, *(module.name for module in modules if module.name not in LEFT_OUT)]
    pdoc.render.configure(docformat="google")
    warnings.filterwarnings("ignore", "Error parsing type annotation")  # of the __init__ that a dataclass generates
    pdoc.pdoc(*names, output_directory=output)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
