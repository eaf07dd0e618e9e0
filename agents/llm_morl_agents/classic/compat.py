"""`morl_baselines_compat`: morl-baselines as it is, without the accounts, the narrow buffers and the traces it leaves.

Each patch is small, replaces names while the context is open and puts them back, and is left out where the installed
release has no need of it. Nothing here changes an algorithm.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import os
import random
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from packaging.version import Version

from llm_morl_agents.classic.recorder import History, WandbRecorder
from llm_morl_agents.threads import one_thread

PACKAGE = "morl-baselines"
#: Truth values of `distutils.util.strtobool`.
TRUE, FALSE = ("y", "yes", "t", "true", "on", "1"), ("n", "no", "f", "false", "off", "0")


@dataclass(frozen=True)
class Patch:
    """A defect of morl-baselines, and what is done about it.

    Args:
        name: Short.
        defect: What happens without.
        apply: Opens the patch, given the history of the training.
        fixed_in: The first release without the defect; None while there is none.
    """

    name: str
    defect: str
    apply: Callable[[History], contextlib.AbstractContextManager[None]]
    fixed_in: str | None = None

    def needed(self, version: str) -> bool:
        """Whether a release of morl-baselines has the defect."""
        return self.fixed_in is None or Version(version) < Version(self.fixed_in)


@contextlib.contextmanager
def replaced(owner: Any, names: Mapping[str, Any]) -> Iterator[None]:
    """Attributes of an object or a module for the time of the body; what was not there is gone again."""
    missing = object()
    before = {name: getattr(owner, name, missing) for name in names}
    try:
        for name, value in names.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            if value is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


@contextlib.contextmanager
def offline(history: History) -> Iterator[None]:
    """``setup_wandb`` passes ``mode="online"``, and so needs an account: calls of W&B become rows of the history."""
    import wandb

    with replaced(wandb, WandbRecorder(history).functions()):
        yield


@contextlib.contextmanager
def wide_actions(history: History) -> Iterator[None]:
    """Envelope and GPI-LS keep actions as uint8, so that 300 comes back as 44: their buffers keep int64."""
    for name in ("envelope.envelope", "gpi_pd.gpi_pd"):
        importlib.import_module(f"morl_baselines.multi_policy.{name}")
    modules = [sys.modules[f"morl_baselines.multi_policy.{name}"] for name in ("envelope.envelope", "gpi_pd.gpi_pd")]
    with contextlib.ExitStack() as stack:
        for module in modules:
            buffers = {name: widened(getattr(module, name)) for name in ("ReplayBuffer", "PrioritizedReplayBuffer")}
            stack.enter_context(replaced(module, buffers))
        yield


def widened(buffer: Callable[..., Any]) -> Callable[..., Any]:
    """The maker of a buffer whose integer actions are int64."""

    def make(*args: Any, action_dtype: Any = np.float32, **kwargs: Any) -> Any:
        wide = np.int64 if np.issubdtype(action_dtype, np.integer) else action_dtype
        return buffer(*args, action_dtype=wide, **kwargs)

    return make


@contextlib.contextmanager
def float_observations(history: History) -> Iterator[None]:
    """EUPG keeps observations as int32, so that .7 comes back as 0: its buffer keeps float32."""
    module = importlib.import_module("morl_baselines.single_policy.esr.eupg")
    buffer = module.AccruedRewardReplayBuffer

    def make(*args: Any, obs_dtype: Any = np.float32, **kwargs: Any) -> Any:
        return buffer(*args, obs_dtype=np.float32, **kwargs)

    with replaced(module, {"AccruedRewardReplayBuffer": make}):
        yield


@contextlib.contextmanager
def on_processor(history: History) -> Iterator[None]:
    """Envelope, GPI-LS and EUPG hand ``device`` to the wrong argument and take a graphics card where there is one."""
    with replaced(torch.cuda, {"is_available": lambda: False}):
        yield


#: In the order in which they are opened.
PATCHES: tuple[Patch, ...] = (
    Patch("offline", "evaluation and logging need an account of Weights & Biases", offline),
    Patch("wide_actions", "actions above 255 are stored modulo 256", wide_actions),
    Patch("float_observations", "EUPG truncates observations to integers", float_observations),
    Patch("on_processor", "device='cpu' is ignored", on_processor),
)


@contextlib.contextmanager
def distutils_shim() -> Iterator[None]:
    """``distutils.util.strtobool``, which morl-baselines imports, for Pythons from 3.12 without setuptools."""
    if "distutils" in sys.modules or importlib.util.find_spec("distutils") is not None:
        yield
        return
    util = types.ModuleType("distutils.util")
    util.strtobool = strtobool  # type: ignore[attr-defined]
    package = types.ModuleType("distutils")
    package.util = util  # type: ignore[attr-defined]
    sys.modules |= {"distutils": package, "distutils.util": util}
    try:
        yield
    finally:
        del sys.modules["distutils"], sys.modules["distutils.util"]


def strtobool(value: str) -> int:
    """1 for yes, 0 for no, as distutils had it.

    Raises:
        ValueError: If it is neither.

    >>> strtobool("Yes"), strtobool("off")
    (1, 0)
    """
    if value.lower() not in TRUE + FALSE:
        raise ValueError(f"invalid truth value {value!r}")
    return int(value.lower() in TRUE)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of random, numpy and torch, seeded; their states before come back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  (the library's own)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


@contextlib.contextmanager
def sandbox() -> Iterator[None]:
    """A working directory of its own, deleted afterwards: PCN writes ``weights/PCN_model.pt`` into it."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="llm-morl-classic-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """What the library prints and warns of is dropped, and numpy prints as before: an import of it sets 4 digits."""
    with warnings.catch_warnings(), np.printoptions(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around imports of morl-baselines, which need ``distutils``, print, and change how numpy prints ever after.

    Raises:
        ImportError: If morl-baselines is not installed.
    """
    installed_version()
    with silenced(), distutils_shim():
        yield


@contextlib.contextmanager
def morl_baselines_compat(seed: int, history: History | None = None) -> Iterator[None]:
    """Run the body with morl-baselines made fit: see `PATCHES`, `seeded`, `sandbox`, `silenced`; one torch thread.

    The working directory and the global generators belong to the process: no other thread should lean on them.

    Args:
        seed: Of the global generators. Environments and their action spaces are seeded by whoever makes them.
        history: Gets what the library would tell Weights & Biases; None drops it.

    Raises:
        ImportError: If morl-baselines is not installed.
    """
    version = installed_version()
    rows = History() if history is None else history
    with contextlib.ExitStack() as stack:
        for context in (silenced(), distutils_shim(), one_thread(), seeded(seed), sandbox()):
            stack.enter_context(context)
        for patch in PATCHES:
            if patch.needed(version):
                stack.enter_context(patch.apply(rows))
        yield


def installed_version() -> str:
    """The installed release of morl-baselines.

    Raises:
        ImportError: If there is none.
    """
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(
            f"{PACKAGE} is not installed: pip install '.[classic]' in the project's folder (its pycddlib is built from "
            "source and needs a C compiler and the headers of GMP: package libgmp-dev)"
        ) from error


#: Kept for documentation: what a context changes, by name of the patch.
DEFECTS: Mapping[str, str] = MappingProxyType({patch.name: patch.defect for patch in PATCHES})
