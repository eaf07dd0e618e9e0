"""Shared fixtures, and one thread: the models are too small for a second one to help."""

import pytest
import torch
from tiny_task import save_policy

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def policy_directory(tmp_path_factory):
    """A tiny policy over letters, as a directory that `load_policy` reads. Tests must not write into it."""
    return save_policy(tmp_path_factory.mktemp("letters"))
