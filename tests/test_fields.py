"""Fields against brute-force loops, and the laws that make them fields."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_wm.fields import attraction_field, blockwise, energy_field, kernel_field

FIELDS = {
    "energy": energy_field,
    "energy, smoothed": lambda x, p, n=None: energy_field(x, p, n, smoothing=0.3),
    "energy, small exponent": lambda x, p, n=None: energy_field(x, p, n, exponent=0.6),
    "kernel": kernel_field,
    "kernel, per condition": lambda x, p, n=None: kernel_field(x, p, n, pooled=False),
}
each_field = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())


def sets(seed: int, B: int = 3, G: int = 4, M: int = 2, J: int = 5, Y: int = 3):
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(B, count, Y, generator=rng, dtype=torch.float64) for count in (G, M, J))


def test_energy_field_is_the_brute_force_loop():
    x, positives, _ = sets(0)
    B, G, _ = x.shape
    expected = torch.zeros_like(x)
    for b in range(B):
        for i in range(G):
            for y in positives[b]:
                expected[b, i] += (y - x[b, i]) / (y - x[b, i]).norm() / len(positives[b])
            for j in range(G):
                if j != i:
                    expected[b, i] -= (x[b, j] - x[b, i]) / (x[b, j] - x[b, i]).norm() / (G - 1)
    torch.testing.assert_close(energy_field(x, positives), expected)


@pytest.mark.parametrize(("exponent", "smoothing"), [(1.0, 0.0), (0.7, 0.0), (1.5, 0.0), (0.7, 0.2), (1.0, 0.2)])
def test_energy_field_is_minus_the_gradient_of_the_energy_score(exponent, smoothing):
    x, positives, _ = sets(1, M=1)
    G = x.shape[1]
    x.requires_grad_()

    def distance(difference):
        return ((difference.square().sum(dim=-1) + smoothing**2) ** (exponent / 2)).sum() / exponent

    between = sum(distance(x[:, i] - x[:, j]) for i in range(G) for j in range(G) if i != j)
    score = distance(x - positives) / G - between / (2 * G * (G - 1))
    (gradient,) = torch.autograd.grad(score, x)
    found = energy_field(x.detach(), positives, exponent=exponent, smoothing=smoothing)
    torch.testing.assert_close(found / G, -gradient)


@pytest.mark.parametrize("pooled", [True, False])
def test_kernel_field_is_the_brute_force_loop(pooled):
    x, positives, _ = sets(2, B=2, G=3, M=2, Y=2)
    temperatures = (0.05, 0.2)
    B, G, Y = x.shape
    targets = torch.cat([x, positives], dim=1)
    T = targets.shape[1]
    scales = []
    for b in range(B):
        pairs = [(x[b, i] - targets[b, t]).norm() for i in range(G) for t in range(T)]
        scales.append(sum(pairs) / len(pairs))
    if pooled:
        scales = [sum(scales) / B] * B
    total = torch.zeros_like(x)
    for temperature in temperatures:
        force = torch.zeros_like(x)
        for b in range(B):
            k = torch.empty(G, T, dtype=x.dtype)
            for i in range(G):
                for t in range(T):
                    d = (x[b, i] - targets[b, t]).norm() / scales[b] + (100.0 if t == i else 0.0)
                    k[i, t] = -d / temperature
            a = (k.softmax(dim=1) * k.softmax(dim=0)).clamp_min(1e-6).sqrt()
            for i in range(G):
                weight_negative, weight_positive = a[i, :G].sum(), a[i, G:].sum()
                for t in range(T):
                    signed = a[i, t] * (-weight_positive if t < G else weight_negative)
                    force[b, i] += signed * targets[b, t]
        for b in range(B):
            part = force if pooled else force[b]
            total[b] += force[b] / part.square().mean().sqrt()
    expected = torch.stack([total[b] * scales[b] / math.sqrt(Y) for b in range(B)])
    torch.testing.assert_close(kernel_field(x, positives, temperatures=temperatures, pooled=pooled), expected)


def test_attraction_field_points_to_the_mean_of_the_data():
    x, positives, _ = sets(3)
    torch.testing.assert_close(x + attraction_field(x, positives), positives.mean(1, keepdim=True).expand_as(x))


@each_field
def test_zero_where_positives_and_negatives_are_one_set(field):
    x, positives, _ = sets(4)
    torch.testing.assert_close(field(x, positives, positives), torch.zeros_like(x))


@each_field
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_antisymmetric(field, seed):
    x, positives, negatives = sets(seed)
    torch.testing.assert_close(field(x, positives, negatives), -field(x, negatives, positives))


@each_field
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_equivariant_under_permutation_of_samples_and_blind_to_the_order_of_data(field, seed):
    x, positives, _ = sets(seed)
    order, shuffled = torch.randperm(x.shape[1]), torch.randperm(positives.shape[1])
    torch.testing.assert_close(field(x[:, order], positives[:, shuffled]), field(x, positives)[:, order])


@each_field
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-5, 5))
def test_moves_with_its_data(field, seed, shift):
    x, positives, _ = sets(seed)
    torch.testing.assert_close(field(x + shift, positives + shift), field(x, positives))


@pytest.mark.parametrize("field", [FIELDS["energy"], FIELDS["kernel, per condition"]])
def test_conditions_are_independent(field):
    x, positives, _ = sets(5)
    alone = torch.cat([field(x[b : b + 1], positives[b : b + 1]) for b in range(x.shape[0])])
    torch.testing.assert_close(field(x, positives), alone)


def test_pooled_kernel_field_shares_only_its_scales():
    x, positives, _ = sets(6)

    def first_beside(others, their_positives):
        return kernel_field(torch.cat([x[:1], others]), torch.cat([positives[:1], their_positives]))[0]

    found = first_beside(x[1:], positives[1:])
    torch.testing.assert_close(first_beside(5 - x[1:], 5 - positives[1:]), found, msg="others as far apart as before")
    assert not torch.allclose(first_beside(3 * x[1:], 3 * positives[1:]), found)


def test_mean_field_vanishes_at_the_true_law_for_one_positive_per_condition():
    """The reason for the energy field: with x and y from one law and a single positive, V is zero on average."""
    rng = torch.Generator().manual_seed(7)
    x = torch.randn(200_000, 3, 1, generator=rng)
    y = torch.randn(200_000, 1, 1, generator=rng)
    drift_along_x = (energy_field(x, y) * x).mean()
    assert abs(float(drift_along_x)) < 0.01
    too_narrow = (energy_field(0.5 * x, y) * x).mean()
    assert float(too_narrow) > 0.05  # pushes outwards


def test_coinciding_points_give_finite_fields():
    x = torch.zeros(2, 3, 4)
    for field in FIELDS.values():
        assert torch.isfinite(field(x, torch.zeros(2, 1, 4))).all()


def test_smoothing_fades_near_the_target_and_not_far_away():
    target = torch.zeros(1, 1, 1)
    near, far = torch.full((1, 2, 1), 0.01), torch.full((1, 2, 1), 100.0)
    assert energy_field(near, target, smoothing=0.1).abs().max() < 0.11
    assert energy_field(far, target, smoothing=0.1).abs().min() > 0.99


def test_blockwise_adds_the_field_of_each_part():
    x, positives, _ = sets(8, Y=6)
    expected = energy_field(x, positives)
    for part in (slice(0, 2), slice(2, 4), slice(4, 6)):
        expected[..., part] += energy_field(x[..., part], positives[..., part])
    torch.testing.assert_close(blockwise(energy_field, 3)(x, positives), expected)
    assert blockwise(energy_field, 1) is energy_field


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("exponent", "smoothing"), [(1.0, 0.0), (0.7, 0.02)])
def test_energy_field_of_blocks_is_that_of_each_part_added(exponent, smoothing, apart):
    x, positives, negatives = sets(9, Y=6)

    def energy(a, b, **blocks):
        others = (negatives if a.shape[-1] == 6 else negatives.view(3, 5, 3, 2).transpose(1, 2).flatten(0, 1), None)
        return energy_field(a, b, others[not apart], exponent=exponent, smoothing=smoothing, **blocks)

    torch.testing.assert_close(energy(x, positives, blocks=3), blockwise(energy, 3)(x, positives))
    torch.testing.assert_close(energy(x, positives, blocks=1), energy(x, positives))


@pytest.mark.parametrize("field", [energy_field, kernel_field, attraction_field])
@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 3), (2, 4, 3), (3, 3), (3, 0, 3)])
def test_sets_of_other_shapes_are_not_broadcast(field, shape):
    with pytest.raises(ValueError, match=r"positives has shape .*expected \(3, 1 or more, 3\)"):
        field(torch.zeros(3, 4, 3), torch.zeros(shape))
    if field is attraction_field:
        return  # it repels nothing
    with pytest.raises(ValueError, match="negatives has shape"):
        field(torch.zeros(3, 4, 3), torch.zeros(3, 2, 3), torch.zeros(shape))


@pytest.mark.parametrize("field", [energy_field, kernel_field])
def test_one_sibling_is_refused(field):
    with pytest.raises(ValueError, match=r"at least 2 generated siblings.*got 1.*model\.generator\.siblings"):
        field(torch.zeros(2, 1, 3), torch.zeros(2, 1, 3))
