"""Ranks over tasks."""

import pytest
from test_summary import made_results, made_run

from llm_morl_agents.experiments.errors import UserError
from llm_morl_agents.experiments.ranking import rank_folders, ranks
from llm_morl_agents.experiments.summary import summarise


def task(tmp_path, **levels):
    arms = {f"gdpo:{name}": [made_run(f"gdpo:{name}", 0, [level, 0.0])] for name, level in levels.items()}
    return summarise(made_results(tmp_path, arms))


def test_mean_ranks_the_best_first(tmp_path):
    first = task(tmp_path, static=0.2, saw=0.6, random=0.4)
    second = task(tmp_path, saw=0.5, static=0.5, random=0.9, dvao=1.0)
    found = ranks({"one": first, "two": second})
    assert (found.tasks, found.arms) == (("one", "two"), ("gdpo:random", "gdpo:saw", "gdpo:static"))
    assert found.ranks.tolist() == [[2, 1, 3], [1, 2.5, 2.5]]
    assert found.mean_rank.tolist() == [1.5, 1.75, 2.75]
    assert found.levels[0].round(6).tolist() == [0.2, 0.3, 0.1]


def test_nothing_to_rank(tmp_path):
    with pytest.raises(ValueError, match="at least one task"):
        ranks({})
    with pytest.raises(ValueError, match="no arm is in all"):
        ranks({"one": task(tmp_path, saw=0.5), "two": task(tmp_path, static=0.5)})


def test_folders(finished_experiment, tmp_path):
    found = rank_folders([finished_experiment])
    assert (found.tasks, set(found.arms)) == ((finished_experiment.name,), {"gdpo:static", "gdpo:saw"})
    assert sorted(found.mean_rank) in ([1, 2], [1.5, 1.5])
    with pytest.raises(UserError, match="config"):
        rank_folders([tmp_path])
