"""The pages of the environments are what their docstrings, spaces and rewards say today."""

import importlib.util
import sys
from pathlib import Path

import pytest

from llm_morl_env.registration import IDS

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def build():
    specification = importlib.util.spec_from_file_location("build_environments", DOCS / "build_environments.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["build_environments"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("env_id", IDS)
def test_the_page_is_current(build, env_id):
    page = build.page(env_id)
    assert build.path_of(env_id).read_text(encoding="utf-8") == page, "run: python docs/build_environments.py"
    for part in ("## Spaces", "## Example", "| good |", "| bad |", "## Version history", "## Arguments"):
        assert part in page


@pytest.mark.parametrize("env_id", IDS)
def test_there_is_a_thumbnail_and_a_link(build, env_id, tmp_path):
    build.thumbnail(env_id, tmp_path / "made.png")
    made, shipped = (tmp_path / "made.png").read_bytes(), (build.THUMBNAILS / f"{IDS[env_id]}.png").read_bytes()
    assert made[:8] == shipped[:8] == b"\x89PNG\r\n\x1a\n"
    assert 0.5 < len(made) / len(shipped) < 2
    assert f"environments/{IDS[env_id]}.md" in (DOCS / "environments.md").read_text(encoding="utf-8")


def test_no_page_of_an_environment_that_is_gone(build):
    assert {path.stem for path in build.PAGES.glob("*.md")} == {*IDS.values()}
