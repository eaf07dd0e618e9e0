"""What a user installs: the wheel and the sdist, built offline from a copy of the tree that holds the usual litter."""

import email
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = {"llm_morl_env": "", "llm_morl_agents": "agents", "llm_morl_rewards": "rewards"}
LITTER = ["runs/demo/metrics.jsonl", ".venv/bin/python", ".mypy_cache/x.json", "build/docs/index.html"]
LITTER += ["data/own.jsonl", "llm_morl_env/__pycache__/x.pyc", "agents/llm_morl_agents/__pycache__/x.pyc"]
#: Not source: what a working copy may hold besides.
IGNORED = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "dist", "__pycache__", ".*_cache", ".hypothesis")


def build(tree: Path, out: Path, *what: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *what, str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the working tree, in a directory whose name has a space, with litter that must not be shipped."""
    copy = tmp_path_factory.mktemp("a tree") / "llm morl"
    shutil.copytree(ROOT, copy, ignore=IGNORED)
    for name in LITTER:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("{}", encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def wheel(tree):
    """The wheel made of the tree."""
    build(tree, tree.parent / "from tree", "--wheel")
    (path,) = (tree.parent / "from tree").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(tree):
    """The sdist; beside it lies the wheel that was made of it."""
    build(tree, tree.parent / "from sdist")
    (path,) = (tree.parent / "from sdist").glob("*.tar.gz")
    return path


def contents(path: Path) -> dict[str, bytes]:
    """Files of a wheel but for RECORD, which holds their digests."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_wheel_holds_exactly_the_three_packages(wheel):
    tops = {name.split("/")[0] for name in contents(wheel)}
    assert tops == {*PACKAGES, f"llm_morl_env-{PROJECT['version']}.dist-info"}


def test_wheel_of_the_sdist_equals_wheel_of_the_tree(wheel, sdist):
    (other,) = sdist.parent.glob("*.whl")
    assert other.name == wheel.name
    assert contents(other) == contents(wheel)


def test_wheel_holds_every_source_file_and_no_litter(tree, wheel):
    """Modules, type markers, assets, templates: whatever lies in the packages, byte for byte."""
    expected = {}
    for package, folder in PACKAGES.items():
        for path in (tree / folder / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                expected[path.relative_to(tree / folder).as_posix()] = path.read_bytes()
    shipped = {name: data for name, data in contents(wheel).items() if ".dist-info/" not in name}
    assert shipped.keys() == expected.keys()
    assert shipped == expected
    needed = {f"{package}/py.typed" for package in PACKAGES}
    needed |= {"llm_morl_env/assets/tokenizer.json", "llm_morl_agents/assets/tiny/model.safetensors"}
    assert needed <= shipped.keys()


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < 6_000_000


def test_metadata(wheel):
    files = contents(wheel)
    info = f"llm_morl_env-{PROJECT['version']}.dist-info"
    metadata = email.message_from_bytes(files[f"{info}/METADATA"])
    assert (metadata["Name"], metadata["Version"]) == ("llm-morl-env", PROJECT["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert files[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().startswith("# llm-morl-env")
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert f"version: {PROJECT['version']}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_sdist_holds_sources_only(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "Makefile", "tests/test_packaging.py"} <= names
    assert not names & set(LITTER)
    allowed = {*PACKAGES, "agents", "rewards", "tests", "notebooks", "benchmarks", "docs", ".ci"}
    assert {name.split("/")[0] for name in names if "/" in name} <= allowed


def test_unpacked_wheel_works_elsewhere(wheel, tmp_path):
    """Assets are found in the package, the console script exists, and nothing reaches back into the repository."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        entry_points = archive.read(f"llm_morl_env-{PROJECT['version']}.dist-info/entry_points.txt").decode()
    assert "llm-morl = llm_morl_agents.cli:main" in entry_points
    script = """
import json, gymnasium, llm_morl_env, llm_morl_agents, llm_morl_rewards
from llm_morl_agents.cli import main
assert callable(main)
prompt, _ = gymnasium.make("ToolCall-MO-v0", view="text").reset(seed=0)
policy = llm_morl_agents.load_policy("tiny")
assert len(policy.encode_prompts([prompt])) == 1
print(json.dumps([m.__file__ for m in (llm_morl_env, llm_morl_agents, llm_morl_rewards)]))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(file).is_relative_to(tmp_path / "site") for file in json.loads(done.stdout.splitlines()[-1]))
