import copy

import torch

from drift_wm.generators.nets import ConditionalMLP, rebase_output, time_features, time_features_size


def network(seed: int = 0, noise: int = 2, shortcut: float = 0.5) -> ConditionalMLP:
    return ConditionalMLP(3, noise, 4, width=16, depth=3, shortcut=shortcut, rng=torch.Generator().manual_seed(seed))


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
    net, c, z = network(shortcut=1.0), torch.randn(64, 3), torch.randn(64, 2)
    y = net(c, z)
    assert y.abs().max() < 0.2
    assert not torch.allclose(y, net(c, -z))
    assert not torch.allclose(y, net(-c, z))


def test_without_noise_as_with_noise_of_zero():
    net, c = network(), torch.randn(5, 3)
    torch.testing.assert_close(net(c), net(c, torch.zeros(5, 2)))


def test_the_first_layer_is_a_sum_of_parts_that_may_be_computed_apart():
    net, c, z = network(), torch.randn(5, 3), torch.randn(5, 2)
    parts = net.first_layer_of(slice(0, 2), c[:, :2]) + net.first_layer_of(slice(2, None), c[:, 2:])
    known = parts + net.from_condition.bias
    torch.testing.assert_close(known, net.from_condition(c))
    torch.testing.assert_close(net.complete(known, z), net(c, z))


def test_completing_without_a_gradient_says_the_same_and_spares_what_is_known():
    net, known, z = network(), torch.randn(5, 16), torch.randn(5, 2)
    before, expected, without = known.clone(), net.complete(known, z), net.complete(known, None)
    with torch.no_grad():
        torch.testing.assert_close(net.complete(known, z), expected)
        torch.testing.assert_close(net.complete(known, None), without)
    assert torch.equal(known, before)


def test_a_share_of_what_is_linear_passes_all_activations():
    net, c, z = network(shortcut=0.5), torch.randn(5, 3), torch.randn(5, 2)
    first = net.from_condition(c) + net.from_noise(z)
    learned = torch.linspace(-1, 1, 16)
    with torch.no_grad():
        net.hidden[-1].weight.zero_()  # what activations say is then silu(0) = 0
        net.learned_shortcut.copy_(learned)
    torch.testing.assert_close(net.features(net.from_condition(c), z), (0.5 + learned) * first)


def test_folding_the_share_keeps_the_function():
    net, c, z = network(shortcut=0.5), torch.randn(5, 3), torch.randn(5, 2)
    with torch.no_grad():
        net.learned_shortcut.copy_(torch.linspace(-1, 1, 16))
    folded = copy.deepcopy(net)
    folded.fold_shortcut()
    assert torch.equal(folded(c, z), net(c, z))
    torch.testing.assert_close(folded.learned_shortcut, net.learned_shortcut + 0.5)


def test_noise_scales_the_last_features_with_unit_variance():
    net = ConditionalMLP(3, 8, 4, width=512, depth=2, shortcut=0, rng=torch.Generator().manual_seed(0))
    gain = net.gain(torch.randn(500, 8, generator=torch.Generator().manual_seed(1)))
    assert abs(float(gain.detach().std()) - 1) < 0.1


def test_time_features_are_bounded_and_tell_times_apart():
    t = torch.linspace(0, 1, 101).unsqueeze(1)
    features = time_features(t, 6)
    assert features.shape == (101, time_features_size(6))
    torch.testing.assert_close(features[:, :1], t)
    assert features.abs().max() <= 1
    distance = torch.cdist(features, features) + torch.eye(101)
    assert distance.min() > 0.1


def test_rebasing_keeps_the_function():
    net, c, z = network(), torch.randn(20, 3), torch.randn(20, 2)
    before = net(c, z)
    scale, shift = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([0.3, -1.0, 0.0])
    net.rebase_condition(scale, shift)
    torch.testing.assert_close(net((c - shift) / scale, z), before)
    out_scale, out_shift = torch.tensor([3.0, 0.1, 1.0, 2.0]), torch.tensor([0.0, 1.0, -1.0, 5.0])
    rebase_output(net.output, out_scale, out_shift)
    torch.testing.assert_close(net((c - shift) / scale, z) * out_scale + out_shift, before)


def test_the_mean_over_noises_passes_the_last_layer_once():
    net, c, z = network(), torch.randn(5, 3), torch.randn(7, 2)
    features = net.features(net.from_condition(c).unsqueeze(1), z)
    torch.testing.assert_close(net.mean_read_out(features.clone(), z), net.read_out(features, z).mean(dim=1))
