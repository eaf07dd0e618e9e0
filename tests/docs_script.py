"""The scripts behind the pages of docs/, as modules."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).resolve().parents[1] / "docs"


@contextmanager
def docs_script(name: str) -> Iterator[ModuleType]:
    """A script of docs/ by its name, imported beside its neighbours, and forgotten at the end."""
    sys.path.insert(0, str(DOCS))
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    try:
        yield module
    finally:
        del sys.modules[name]
        sys.path.remove(str(DOCS))
