import torch

from drift_wm.nets import ConditionalMLP


def network(seed: int = 0, noise: int = 2) -> ConditionalMLP:
    return ConditionalMLP(3, noise, 4, width=16, depth=3, rng=torch.Generator().manual_seed(seed))


def test_broadcasting_equals_repeating():
    net, c, z = network(), torch.randn(5, 1, 3), torch.randn(1, 7, 2)
    torch.testing.assert_close(net(c, z), net(c.expand(5, 7, 3), z.expand(5, 7, 2)))


def test_same_seed_same_weights_whatever_the_global_seed():
    torch.manual_seed(1)
    first = network(3).state_dict()
    torch.manual_seed(2)
    for name, value in network(3).state_dict().items():
        assert torch.equal(first[name], value)
    assert not torch.equal(first["output.weight"], network(4).state_dict()["output.weight"])


def test_starts_near_zero_and_answers_to_both_inputs():
    net, c, z = network(), torch.randn(64, 3), torch.randn(64, 2)
    y = net(c, z)
    assert y.abs().max() < 0.2
    assert not torch.allclose(y, net(c, -z))
    assert not torch.allclose(y, net(-c, z))


def test_without_noise_input():
    net = network(noise=0)
    assert net.from_noise is None
    assert net(torch.zeros(2, 3)).shape == (2, 4)


def test_rebasing_keeps_the_function():
    net, c, z = network(), torch.randn(20, 3), torch.randn(20, 2)
    before = net(c, z)
    scale, shift = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([0.3, -1.0, 0.0])
    net.rebase_condition(scale, shift)
    torch.testing.assert_close(net((c - shift) / scale, z), before)
    out_scale, out_shift = torch.tensor([3.0, 0.1, 1.0, 2.0]), torch.tensor([0.0, 1.0, -1.0, 5.0])
    net.rebase_output(out_scale, out_shift)
    torch.testing.assert_close(net((c - shift) / scale, z) * out_scale + out_shift, before)
