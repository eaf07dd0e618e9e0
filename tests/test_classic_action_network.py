"""`SharedActionNetwork`: one set of parameters for every action, in the place of a library's flat network."""

import numpy as np
import pytest
import torch
from classic_extra import require

from llm_morl_agents.classic.action_network import SharedActionNetwork, shared_networks
from llm_morl_agents.classic.environments import Maker

A, F, REST, K = 4, 3, 2, 2
#: The last is the network's answer to a single observation, as the libraries ask for it while they act.
FORMS = {
    "batch": ((5, A * F + REST), (5, K)),
    "one weight": ((5, A * F + REST), (K,)),
    "single": ((A * F + REST,), (K,)),
}


def network(seed=0, hidden=(8,)):
    torch.manual_seed(seed)
    return SharedActionNetwork(A, F, A * F + REST, K, hidden)


@pytest.mark.parametrize("form", FORMS)
def test_values_permute_with_the_actions_and_nothing_else_changes(form):
    (size, weights), net = FORMS[form], network()
    generator = torch.Generator().manual_seed(1)
    obs, w = torch.randn(*size, generator=generator), torch.rand(*weights, generator=generator)
    order = torch.tensor([2, 0, 3, 1])
    listed = obs[..., : A * F].reshape(*size[:-1], A, F)[..., order, :].reshape(*size[:-1], A * F)
    moved = torch.cat([listed, obs[..., A * F :]], dim=-1)
    values = net(obs, w)
    assert values.shape == (size[0] if len(size) > 1 else 1, A, K)
    torch.testing.assert_close(net(moved, w), values[:, order])


def test_every_input_of_an_action_reaches_its_value_and_no_input_of_another():
    net = network()
    obs = torch.randn(1, A * F + REST, generator=torch.Generator().manual_seed(2), requires_grad=True)
    w = torch.tensor([0.3, 0.7], requires_grad=True)
    to_obs, to_w = torch.autograd.grad(net(obs, w)[0, 1].sum(), [obs, w])
    reached = set(torch.nonzero(to_obs[0]).flatten().tolist())
    assert reached == {*range(F, 2 * F), *range(A * F, A * F + REST)}
    assert bool((to_w != 0).all())


def test_targets_are_copies_that_no_gradient_reaches():
    maker = Maker("DentFront-MO-v0", "index", {"k": 3, "obs_mode": "onehot"}, True, 0.0)
    networks, targets = shared_networks(maker.make(), [8], 2)
    for net, target in zip(networks, targets, strict=True):
        for one, other in zip(net.parameters(), target.parameters(), strict=True):
            assert torch.equal(one, other)
            assert one.requires_grad
            assert not other.requires_grad
            assert one.data_ptr() != other.data_ptr()
    assert not all(map(torch.equal, networks[0].parameters(), networks[1].parameters()))


def test_views_that_do_not_list_their_actions_are_refused():
    maker = Maker("DentFront-MO-v0", "token", {}, True, 0.0)
    with pytest.raises(ValueError, match=r"network.*'shared'.*index or choice.*take network='flat'"):
        shared_networks(maker.make(), [8], 1)


@pytest.fixture(scope="module")
def trained():
    require("morl_baselines")
    from llm_morl_agents.classic import train_classic

    settings = {"net_arch": [16, 16], "batch_size": 16, "learning_starts": 20, "network": "shared"}

    def train(algo, **kwargs):
        given = {"view": "choice", "total_timesteps": 150, "seed": 0, "env_kwargs": {"k": 3}, **kwargs}
        given["algo_kwargs"] = {**settings, **kwargs.get("algo_kwargs", {})}
        return train_classic(algo, "CountsFront-MO-v0", **given)

    return train


@pytest.mark.classic
@pytest.mark.parametrize("algo", ["envelope", "gpi_ls"])
def test_algorithms_train_and_play_with_it(trained, algo):
    first, again = trained(algo), trained(algo)
    assert first.steps == 150
    for one, other in zip(first.policies, again.policies, strict=True):
        played = [policy.returns([0, 0], split="eval", seed=0) for policy in (one, other)]
        np.testing.assert_array_equal(*played)


@pytest.mark.classic
def test_its_parameters_move_and_unknown_networks_are_refused(trained, monkeypatch):
    from llm_morl_agents.classic import morl_baselines

    seen = []
    made = morl_baselines.shared_networks

    def watched(*args):
        networks, targets = made(*args)
        seen.append((networks[0], [p.detach().clone() for p in networks[0].parameters()]))
        return networks, targets

    monkeypatch.setattr(morl_baselines, "shared_networks", watched)
    trained("envelope")
    ((net, before),) = seen
    assert any(not torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    with pytest.raises(ValueError, match=r"network.*must be 'flat' or 'shared', got 'deep'"):
        trained("envelope", algo_kwargs={"network": "deep"})
