from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from front_policies import CoinPolicy

from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.fronts.evaluation import FrontEvaluation, evaluate_front
from llm_morl_agents.fronts.gather import gather
from llm_morl_agents.fronts.record import (
    FRONT,
    RETURNS,
    FrontRecord,
    find_records,
    plain_settings,
    read_record,
    write_record,
)


def record(**changes: object) -> FrontRecord:
    policies = [
        CoinPolicy("weights .2 .8", (0.3, 0.7), weights=np.array([0.2, 0.8]), claimed=np.array([0.4, 1.0])),
        CoinPolicy("no preference", (0.7, 0.3)),
    ]
    env_kwargs = {"view": "token", "length": 4}
    evaluation = evaluate_front(
        policies, "DentFront-MO-v0", n_episodes=40, seeds=(0, 5), env_kwargs=env_kwargs, resamples=50
    )
    values = {
        "method": "pcn",
        "kind": "classic",
        "env_id": "DentFront-MO-v0",
        "env_kwargs": env_kwargs,
        "view": "token",
        "seed": 3,
        "steps": 1000,
        "cpu_seconds": 1.5,
        "evaluation": evaluation,
        "settings": {"gamma": 1.0, "net_arch": (64, 64), "max_cpu_seconds": None, "clip": np.inf, "sweep": np.eye(2)},
        **changes,
    }
    return FrontRecord(**values)  # type: ignore[arg-type]


def same(first: FrontEvaluation, second: FrontEvaluation) -> None:
    for name in ("objectives", "labels", "split", "seeds", "level", "resamples"):
        assert getattr(first, name) == getattr(second, name), name
    for name in ("low", "high", "claimed", "problems", "returns", "conditions", "reference", "front", "means"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    for one, two in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one, two) if one is not None else None
        assert (one is None) == (two is None)


def test_what_is_written_is_read_back(tmp_path):
    written = record()
    assert write_record(written, tmp_path / "a" / "pcn") == tmp_path / "a" / "pcn" / FRONT
    found = read_record(tmp_path / "a" / "pcn")
    for name in (
        "method",
        "kind",
        "env_id",
        "env_kwargs",
        "view",
        "seed",
        "steps",
        "cpu_seconds",
        "settings",
        "versions",
    ):
        assert getattr(found, name) == getattr(written, name), name
    same(found.evaluation, written.evaluation)
    for name, measured in written.evaluation.measures.items():
        np.testing.assert_array_equal(measured.replicates, found.evaluation.measures[name].replicates)


def test_the_file_is_json_that_says_the_numbers(tmp_path):
    written = record(steps=None, cpu_seconds=None)
    plain = json.loads(write_record(written, tmp_path).read_text())
    assert plain["policies"][1]["claimed"] is None
    assert plain["policies"][1]["weights"] is None
    assert plain["policies"][0]["mean"] == written.evaluation.means[0].tolist()
    assert plain["measures"]["hypervolume"]["value"] == written.evaluation.measures["hypervolume"].value
    assert plain["claimed_hypervolume"] is None
    assert "gymnasium" in plain["versions"]


def test_settings_are_json_values_and_may_be_unknown(tmp_path):
    written = record()
    plain = json.loads(write_record(written, tmp_path).read_text())
    assert plain["settings"] == written.settings
    assert written.settings == {
        "gamma": 1,
        "net_arch": [64, 64],
        "max_cpu_seconds": None,
        "clip": "inf",
        "sweep": [[1, 0], [0, 1]],
    }
    del plain["settings"]
    (tmp_path / FRONT).write_text(json.dumps(plain))
    assert read_record(tmp_path).settings == {}


class Opaque:
    """Prints as no more than its address."""

    def method(self):
        """Has a name."""


@dataclass
class Holder:
    """Prints what it holds, addresses and all."""

    inner: object


def power(exponent, returns):
    """A function with arguments to fill in."""
    return returns**exponent


def made_anew():
    """Settings whose values are other objects each time."""
    return {
        "utility": lambda returns, weights: returns @ weights,
        "schedule": partial(power, 2, returns=Opaque()),
        "nested": {"hook": [Opaque().method, Opaque]},
        "opaque": Opaque(),
        "holder": Holder(Opaque()),
        "objectives": {"format", "brevity", "correctness", "name", "keys"},
        "built in": "text".upper,
    }


def test_settings_of_equal_runs_are_equal_and_have_no_addresses():
    first, second = plain_settings(made_anew()), plain_settings(made_anew())
    assert first == second == plain_settings(first)
    assert " at 0x" not in json.dumps(first)
    here = __name__
    assert first["utility"] == f"{here}.made_anew.<locals>.<lambda>"
    assert first["schedule"] == f'{here}.power(2, returns="{here}.Opaque")'
    assert first["nested"] == {"hook": [f"{here}.Opaque.method", f"{here}.Opaque"]}
    assert first["objectives"] == ["brevity", "correctness", "format", "keys", "name"]
    assert plain_settings({"utility": power}) != plain_settings({"utility": made_anew})
    assert plain_settings({"of": partial(power, 2)}) != plain_settings({"of": partial(power, 3)})


def test_equal_runs_write_equal_files(tmp_path):
    one, two = (write_record(record(settings=made_anew()), tmp_path / name) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_seeds_with_functions_of_one_name_are_one_method():
    records = [(record(settings=made_anew(), seed=seed), f"runs/{seed}") for seed in range(2)]
    (method,) = gather(records, title="t").methods
    assert [found.seed for found in method.records] == [0, 1]


def test_objectives_that_do_not_apply_stay_missing(tmp_path):
    written = record()
    holes = written.evaluation.returns.copy()
    holes[:, :, 3, 1] = np.nan
    evaluation = written.evaluation
    fields = {name: getattr(evaluation, name) for name in evaluation.__dataclass_fields__}
    written = written.with_evaluation(FrontEvaluation(**{**fields, "returns": holes}))
    write_record(written, tmp_path)
    same(read_record(tmp_path).evaluation, written.evaluation)


def test_records_are_found_below_a_folder(tmp_path):
    written = record()
    for name in ("b/seed1", "b/seed0", "a"):
        write_record(written, tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert find_records(tmp_path) == [tmp_path / name for name in ("a", "b/seed0", "b/seed1")]
    assert find_records(tmp_path / "a") == [tmp_path / "a"]


@pytest.mark.parametrize("damage", ["missing", "no json", "format", "key", "returns", "rows"])
def test_damaged_records_are_one_clear_line(tmp_path, damage):
    write_record(record(), tmp_path)
    front, returns = tmp_path / FRONT, tmp_path / RETURNS
    plain = json.loads(front.read_text())
    if damage == "missing":
        front.unlink()
    elif damage == "no json":
        front.write_text("{")
    elif damage == "format":
        front.write_text(json.dumps({**plain, "format": 99}))
    elif damage == "key":
        del plain["evaluation"]
        front.write_text(json.dumps(plain))
    elif damage == "returns":
        returns.unlink()
    else:
        returns.write_text("".join(returns.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=str(tmp_path)):
        read_record(tmp_path)


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="kind"):
        record(kind="quantum")
