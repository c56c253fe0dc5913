"""The Gaussian rival: its likelihood knows the true moments, and its variances keep their bounds."""

import math

import torch

from drift_wm.generators import GeneratorConfig, make_generator
from drift_wm.generators.gaussian import GaussianGenerator


def make() -> GaussianGenerator:
    config = GeneratorConfig(name="gaussian", width=8, depth=1)
    generator = make_generator(config, 1, 1, blocks=1, rng=torch.Generator().manual_seed(0))
    assert isinstance(generator, GaussianGenerator)
    return generator


def constant(mean: float, log_variance: float) -> GaussianGenerator:
    """A generator that ignores its condition."""
    generator = make()
    with torch.no_grad():
        generator.backbone.output.weight.zero_()
        generator.backbone.output.bias.copy_(torch.tensor([mean, log_variance]))
    return generator


def moments(generator) -> tuple[float, float]:
    c = torch.zeros(1, 1)
    mean = generator.sample(c, torch.zeros(1, 1)).item()
    return mean, generator.sample(c, torch.ones(1, 1)).item() - mean


def test_the_true_mean_and_variance_have_the_largest_likelihood():
    rng = torch.Generator().manual_seed(0)
    y = 0.7 + 0.4 * torch.randn(5000, 1, generator=rng)
    grid = [constant(mean, 2 * math.log(std)) for mean in (0.6, 0.65, 0.7, 0.75, 0.8) for std in (0.3, 0.35, 0.4, 0.5)]
    with torch.no_grad():
        best = min(grid, key=lambda generator: float(generator.loss(torch.zeros(5000, 1), y, rng=rng)))
    mean, std = moments(best)
    assert abs(mean - 0.7) < 0.01
    assert abs(std - 0.4) < 0.02  # the soft upper bound narrows a little


def test_the_loss_is_twice_the_negative_log_likelihood_and_the_pull_on_the_bounds():
    generator = constant(0.2, -1.0)
    mean, std = moments(generator)
    y = torch.linspace(-1, 1, 7).unsqueeze(1)
    found = generator.loss(torch.zeros(7, 1), y, rng=torch.Generator())
    likelihood = torch.distributions.Normal(mean, std).log_prob(y).mean()
    bounds = 0.01 * (generator.largest - generator.smallest).sum()
    torch.testing.assert_close(found, -2 * likelihood - math.log(2 * math.pi) + bounds)
    generator.zero_grad()
    found.backward()
    assert generator.largest.grad is not None
    assert generator.smallest.grad is not None


def test_spreads_stay_between_the_bounds_whatever_the_network_says():
    _, widest = moments(constant(0.0, 100.0))
    _, narrowest = moments(constant(0.0, -100.0))
    generator = make()
    assert math.isclose(2 * math.log(widest), generator.largest.item(), abs_tol=1e-3)
    assert math.isclose(2 * math.log(narrowest), generator.smallest.item(), abs_tol=1e-3)


def test_rebasing_moves_the_bounds_with_the_units():
    generator = constant(0.0, 100.0)
    _, before = moments(generator)
    scale, shift = torch.tensor([4.0]), torch.tensor([1.0])
    generator.rebase((torch.ones(1), torch.zeros(1)), (scale, shift))
    mean, after = moments(generator)
    assert math.isclose(4 * after, before, rel_tol=1e-5)
    assert math.isclose(4 * mean + 1, 0.0, abs_tol=1e-6)
