"""The arrows between the layers: what each may import, and that the contracts of import-linter notice a breach."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
LINTER = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports"
OWN = ("llm_morl_rewards", "llm_morl_env", "llm_morl_agents")
#: All that the light layers may import, extras inside the function that needs them included.
ALLOWED = {
    "llm_morl_rewards": {"numpy", "scipy", "httpx"},
    "llm_morl_env": {"llm_morl_rewards", "numpy", "gymnasium", "mo_gymnasium", "tokenizers", "moocore", "pyarrow"},
}


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    """Import-linter with this project's contracts on the packages that lie in ``directory``."""
    command = [LINTER, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    environment = {**os.environ, "COLUMNS": "200"}  # a contract on a line
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("layer", ALLOWED)
def test_light_layers_import_what_they_may(layer):
    graph = grimp.build_graph(*OWN, include_external_packages=True)
    imported = set()
    for module in {layer, *graph.find_descendants(layer)}:
        imported |= {name.split(".")[0] for name in graph.find_modules_directly_imported_by(module)}
    assert imported - {layer} - sys.stdlib_module_names <= ALLOWED[layer]


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        (None, "", None),
        ("llm_morl_rewards/bad.py", "import torch", "rewards need"),
        ("llm_morl_rewards/bad.py", "def f():\n    import gymnasium", "rewards need"),
        ("llm_morl_rewards/bad.py", "from llm_morl_env import good", "agents know"),
        ("llm_morl_env/bad.py", "import transformers.models", "environments need"),
        ("llm_morl_env/bad.py", "from llm_morl_agents import good", "agents know"),
        # Indirectly: the environments import good, and good is what imports torch.
        ("llm_morl_rewards/good.py", "import torch", "environments need"),
        ("llm_morl_agents/bad.py", "import trl", "other libraries"),
    ],
)
def test_contracts_notice(tmp_path, module, line, broken):
    for package in OWN:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "good.py").write_text("import numpy\n")
    (tmp_path / "llm_morl_env" / "user.py").write_text("from llm_morl_rewards import good\n")
    if module is not None:
        (tmp_path / module).write_text(line + "\n")
    done = lint(tmp_path)
    noticed = [row for row in done.stdout.splitlines() if row.endswith("BROKEN")]
    assert done.returncode == (broken is not None), done.stdout + done.stderr
    assert bool(noticed) == (broken is not None)
    assert broken is None or any(row.startswith(broken) for row in noticed), done.stdout
