"""Shared fixtures, and one thread: the models are too small for a second one to help."""

import contextlib

import pytest
import torch
from experiment_task import make_workspace, run_experiment, small
from tiny_task import save_policy

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def policy_directory(tmp_path_factory):
    """A tiny policy over letters, as a directory that `load_policy` reads. Tests must not write into it."""
    return save_policy(tmp_path_factory.mktemp("letters"))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """A user's working directory, see `experiment_task`. Tests give experiments their own ``out=``."""
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="session")
def finished_experiment(workspace, tmp_path_factory):
    """The folder of a comparison of two arms with two seeds, run in this process. Tests must not write into it."""
    with contextlib.chdir(workspace):
        return run_experiment(small(workspace, seeds=2, out=tmp_path_factory.mktemp("out"), name="done"))
