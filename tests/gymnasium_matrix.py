"""Runs the conformance tests on one release of Gymnasium: ``python tests/gymnasium_matrix.py 1.3.0 [for pytest]``.

``make test-gym-matrix`` does so for each release. The release is installed by itself into ``build/gymnasium-VERSION``,
in front of the environment's own, so that nothing else is installed twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What depends on Gymnasium's releases: the conformance suite over every id and view, batches, wrappers, registration.
TESTS = (
    "test_testing.py",
    "test_vector_testing.py",
    "test_registration.py",
    "test_text_env.py",
    "test_token_env.py",
    "test_index_env.py",
    "test_choice_env.py",
    "test_step_vector.py",
    "test_vector_env.py",
    "test_dialogue_vector.py",
    "test_record.py",
    "test_vector_record.py",
    "test_wrappers.py",
    "test_transform_wrappers.py",
    "test_conditioned.py",
    "test_normalized.py",
    "test_clipped_objectives.py",
    "test_monitor.py",
    "test_reading.py",
    "test_dialogue_token.py",
    "test_dialogue_text.py",
    "test_dialogue_views.py",
    "test_skip_forced.py",
    "test_prompt_words.py",
)


def install(version: str) -> Path:
    """The folder that holds a release of Gymnasium, which is installed where it is not there."""
    folder = ROOT / "build" / f"gymnasium-{version}"
    if not (folder / f"gymnasium-{version}.dist-info").is_dir():
        arguments = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", *arguments, f"gymnasium=={version}"], check=True)
    return folder


def main(version: str, *arguments: str) -> int:
    """Exit status of the tests; 1 where another release was imported."""
    path = os.pathsep.join([str(install(version)), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}  # processes that tests start have it too
    found = subprocess.run(
        [sys.executable, "-c", "import gymnasium; print(gymnasium.__version__, gymnasium.__file__)"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    print(f"gymnasium {found[0]} ({found[1]})", flush=True)
    if found[0] != version:
        print(f"error: gymnasium {version} was to be tested, {found[0]} was imported", file=sys.stderr)
        return 1
    tests = [str(ROOT / "tests" / name) for name in TESTS]
    options = ["--quiet", "-p", "no:cacheprovider", *arguments]
    return subprocess.run([sys.executable, "-m", "pytest", *options, *tests], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
