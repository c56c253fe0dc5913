"""The generators on conditional laws that are known."""

import pytest
import torch

from drift_wm.fields import attraction_field, energy_field, kernel_field
from drift_wm.generators import DriftingGenerator, GeneratorConfig, RegressionGenerator, make_generator
from drift_wm.generators.drifting import make_field


def fit(generator, draw, steps: int = 1200):
    rng = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(generator.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        c, y = draw(256, rng)
        loss, _ = generator.loss(c, y, rng=rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return generator


def gaussian_world(size, rng):
    """y ~ N(2 c, 0.5^2), one y for each c."""
    c = torch.rand(size, 1, generator=rng) * 2 - 1
    return c, 2 * c + 0.5 * torch.randn(size, 1, generator=rng)


def two_modes(size, rng):
    """y = c + 1 with probability 0.8, c - 1 otherwise."""
    c = torch.rand(size, 1, generator=rng) * 2 - 1
    sign = torch.where(torch.rand(size, 1, generator=rng) < 0.8, 1.0, -1.0)
    return c, c + sign + 0.05 * torch.randn(size, 1, generator=rng)


def samples(generator, c, count=4000):
    z = torch.randn(count, generator.noise_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return generator.sample(torch.full((1, 1), c), z)


def make(name: str, **kwargs):
    config = GeneratorConfig(name=name, width=48, depth=2, noise_size=4, **kwargs)
    return make_generator(config, 1, 1, blocks=1, rng=torch.Generator().manual_seed(0))


def test_drifting_learns_spread_and_mean_from_one_positive_per_condition():
    generator = fit(make("drifting"), gaussian_world)
    for c in (-0.5, 0.5):
        y = samples(generator, c)
        assert abs(float(y.mean()) - 2 * c) < 0.1
        assert 0.85 < float(y.std()) / 0.5 < 1.15


def test_drifting_keeps_the_minority_mode_that_regression_averages_away():
    y = samples(fit(make("drifting"), two_modes), 0.0)
    assert 0.72 < float((y > 0).float().mean()) < 0.88
    mean = samples(fit(make("regression"), two_modes, steps=400), 0.0)
    assert abs(float(mean.mean()) - 0.6) < 0.15
    assert float(mean.std()) == 0.0


def test_metrics_are_the_proper_score_and_the_error_of_the_mean():
    generator = make("drifting")
    c, y = gaussian_world(8, torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(4)
    _, metrics = generator.loss(c, y, rng=rng)
    z = torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(4))
    x = generator.backbone(c.unsqueeze(1), z)
    between = sum((x[:, i] - x[:, j]).norm(dim=-1) for i in range(4) for j in range(4)) / (2 * 4 * 3)
    expected = (x - y.unsqueeze(1)).norm(dim=-1).mean(1) - between
    torch.testing.assert_close(metrics["energy_score"], expected.mean())
    torch.testing.assert_close(metrics["error"], (x.mean(1) - y).square().mean().sqrt())


def test_gradient_is_that_of_regression_on_the_moved_samples():
    generator = make("drifting")
    c, y = gaussian_world(8, torch.Generator().manual_seed(3))
    loss, _ = generator.loss(c, y, rng=torch.Generator().manual_seed(4))
    (found,) = torch.autograd.grad(loss, generator.backbone.output.bias)
    z = torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(4))
    V = energy_field(generator.backbone(c.unsqueeze(1), z).detach(), y.unsqueeze(1))
    torch.testing.assert_close(found, (-2 * V).mean(dim=(0, 1)))


def test_rivals_share_parameters_and_initial_weights():
    drifting, regression = make("drifting"), make("regression")
    assert isinstance(drifting, DriftingGenerator)
    assert isinstance(regression, RegressionGenerator)
    for (name, a), (other, b) in zip(drifting.named_parameters(), regression.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["drifting", "regression"])
def test_one_network_evaluation_and_shapes(name):
    generator = make(name)
    assert generator.nfe == 1
    assert generator.sample(torch.zeros(5, 1, 1), torch.zeros(1, 7, 4)).shape == (5, 7, 1)


def test_fields_by_name():
    x, y = torch.randn(2, 3, 2), torch.randn(2, 1, 2)
    for name, field in (("energy", energy_field), ("kernel", kernel_field), ("attraction", attraction_field)):
        torch.testing.assert_close(make_field(GeneratorConfig(field=name))(x, y), field(x, y))
    per_condition = make_field(GeneratorConfig(field="kernel_per_condition"))(x, y)
    torch.testing.assert_close(per_condition, kernel_field(x, y, pooled=False))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"name": "gan"}, "name='gan'.*drifting"),
        ({"field": "magnetic"}, "field='magnetic'.*energy"),
        ({"siblings": 1}, "siblings=1.*at least 2"),
        ({"smoothing": -0.1}, "smoothing=-0.1"),
        ({"width": 0}, "width=0"),
    ],
)
def test_wrong_settings_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        GeneratorConfig(**wrong)
