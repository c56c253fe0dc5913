"""What holds for all generators: they learn known laws, count their evaluations, and survive a change of units."""

import math
from functools import cache

import pytest
import torch

from drift_wm.fields import attraction_field, energy_field, kernel_field
from drift_wm.generators import DriftingGenerator, GeneratorConfig, RegressionGenerator, make_generator, sample_scores
from drift_wm.generators.config import GENERATORS
from drift_wm.generators.drifting import make_field

NAMES = [name for name in GENERATORS if name != "regression"]
CHANGED = {"distilled": {"steps": 16}}  # in the tests of known laws


def make(name: str, **kwargs):
    config = GeneratorConfig(**{"name": name, "width": 48, "depth": 2, "noise_size": 4, **kwargs})
    return make_generator(config, 1, 1, blocks=1, rng=torch.Generator().manual_seed(0))


def gaussian_law(c, rng):
    """y ~ N(2 c, 0.5^2), one y for each c."""
    return 2 * c + 0.5 * torch.randn(c.shape, generator=rng)


def two_modes(c, rng):
    """y = c + 1 with probability 0.8, c - 1 otherwise."""
    sign = torch.where(torch.rand(c.shape, generator=rng) < 0.8, 1.0, -1.0)
    return c + sign + 0.05 * torch.randn(c.shape, generator=rng)


def fit(generator, law, steps: int, rate: float = 3e-3):
    rng = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=rate)
    for step in range(steps):
        progress = generator.begin_step(step, steps)
        optimiser.param_groups[0]["lr"] = rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        c = torch.rand(256, 1, generator=rng) * 2 - 1
        loss = generator.loss(c, law(c, rng), rng=rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return generator


@cache
def fitted(name: str, law, **kwargs):
    """Trained once for all tests."""
    return fit(make(name, **kwargs), law, 500)


def samples(generator, c, count=4000):
    z = torch.randn(count, generator.noise_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return generator.sample(torch.full((1, 1), c), z)


@pytest.mark.parametrize("name", NAMES)
def test_learns_spread_and_mean_from_one_positive_per_condition(name):
    # Bounds leave room for DDIM, which loses 7 % of this spread in 20 steps even with the exact denoiser.
    generator = fitted(name, gaussian_law, **CHANGED.get(name, {}))
    for c in (-0.5, 0.5):
        y = samples(generator, c)
        assert abs(float(y.mean()) - 2 * c) < 0.2
        assert 0.7 < float(y.std()) / 0.5 < 1.3


@pytest.mark.parametrize("steps", [5, 20, 100])
def test_samples_by_predicted_noise_do_not_run_away(steps):
    """Where almost no data are left in x, what a trained network misses of the noise counts many times over."""
    generator = fitted("diffusion", gaussian_law, prediction="eps")
    generator.set_sampling_steps(steps)
    for c in (-0.5, 0.5):
        y = samples(generator, c)
        assert abs(float(y.mean()) - 2 * c) < 0.2
        assert 0.7 < float(y.std()) / 0.5 < 1.5
        assert float((y - 2 * c).abs().max()) < 4


@pytest.mark.parametrize("method", [{"name": "regression"}, {"name": "drifting", "field": "attraction"}])
def test_regression_and_attraction_keep_the_mean_and_no_spread(method):
    generator = fitted(law=gaussian_law, **method)
    for c in (-0.5, 0.5):
        y = samples(generator, c)
        assert abs(float(y.mean()) - 2 * c) < 0.1
        assert float(y.std()) < 0.1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gaussian"])
def test_keeps_the_minority_mode(name):
    y = samples(fitted(name, two_modes, **CHANGED.get(name, {})), 0.0)
    assert float((y < -0.5).float().mean()) > 0.05
    assert 0.6 < float((y > 0.5).float().mean()) < 0.9


def test_what_a_gaussian_and_a_regression_make_of_two_modes():
    y = samples(fitted("gaussian", two_modes), 0.0)
    assert abs(float(y.mean()) - 0.6) < 0.15
    assert abs(float(y.std()) - 0.8) < 0.15
    assert float((y.abs() < 0.5).float().mean()) > 0.25, "a bridge of samples where no data are"
    mean = samples(fitted("regression", two_modes), 0.0)
    assert abs(float(mean.mean()) - 0.6) < 0.15
    assert torch.equal(mean.min(), mean.max())


def test_scores_are_the_proper_score_and_the_moments_of_the_samples():
    generator, G = make("drifting"), 5
    c = torch.rand(8, 1, generator=torch.Generator().manual_seed(2))
    y = gaussian_law(c, torch.Generator().manual_seed(3))
    measured = sample_scores(generator, c, y, rng=torch.Generator().manual_seed(4), samples=G)
    z = torch.randn(8, G, 4, generator=torch.Generator().manual_seed(4))
    x = generator.sample(c.unsqueeze(1), z).detach()
    between = sum((x[:, i] - x[:, j]).norm(dim=-1) for i in range(G) for j in range(G)) / (2 * G * (G - 1))
    expected = (x - y.unsqueeze(1)).norm(dim=-1).mean(1) - between
    torch.testing.assert_close(measured["energy_score"], expected.mean())
    torch.testing.assert_close(measured["error"], ((x.mean(1) - y).square().mean() - x.var(1).mean() / G).sqrt())
    torch.testing.assert_close(measured["spread"], x.var(dim=1).mean().sqrt())
    assert not any(value.requires_grad for value in measured.values())


def test_the_law_itself_errs_no_more_than_its_mean():
    """Eight samples of a law have a mean of their own, which is no error of the law."""

    class Law:
        noise_size = 1

        def each(self):
            return [self]

        def sample(self, c, z):
            return c + z

    c = torch.zeros(4000, 1)
    y = torch.randn(4000, 1, generator=torch.Generator().manual_seed(5))
    measured = sample_scores(Law(), c, y, rng=torch.Generator().manual_seed(6))
    assert float(measured["error"]) == pytest.approx(float(y.square().mean().sqrt()), abs=0.02)


@pytest.mark.parametrize("name", ["drifting", "regression", "gaussian", "diffusion", "flow", "consistency"])
@pytest.mark.parametrize(("c", "y"), [((8, 1), (8, 2)), ((7, 1), (8, 1)), ((8, 1), (8,)), ((8, 2), (8, 1))])
def test_positives_of_another_shape_are_not_broadcast(name, c, y):
    with pytest.raises(ValueError, match=r"conditions have shape .* and positives"):
        make(name).loss(torch.zeros(c), torch.zeros(y), rng=torch.Generator())


def test_energy_score_prefers_the_true_law():
    class Normal:
        noise_size, stochastic, nfe = 1, True, 1

        def __init__(self, std):
            self.std = std

        def each(self):
            return [self]

        def sample(self, c, z):
            return self.std * z

    y = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    scores = {
        std: float(sample_scores(Normal(std), 0 * y, y, rng=torch.Generator().manual_seed(2))["energy_score"])
        for std in (0.7, 1.0, 1.3)
    }
    assert min(scores, key=scores.get) == 1.0
    assert scores[1.0] == pytest.approx(1 / math.sqrt(math.pi), abs=0.02)  # E|x - y| / 2 of two standard normals


def test_gradient_is_that_of_regression_on_the_moved_samples():
    generator = make("drifting", siblings=4, exponent=1.0, smoothing=0.0, mean_weight=0.0)
    c = torch.rand(8, 1, generator=torch.Generator().manual_seed(2))
    y = gaussian_law(c, torch.Generator().manual_seed(3))
    loss = generator.loss(c, y, rng=torch.Generator().manual_seed(4))
    (found,) = torch.autograd.grad(loss, generator.backbone.output.bias)
    z = torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(4))
    V = energy_field(generator.backbone(c.unsqueeze(1), z).detach(), y.unsqueeze(1))
    torch.testing.assert_close(found, (-2 * V).mean(dim=(0, 1)))
    torch.testing.assert_close(loss.detach(), V.square().sum(dim=-1).mean())


def test_the_configured_exponent_and_smoothing_make_the_field():
    generator = make("drifting", siblings=4, exponent=1.2, smoothing=0.3, mean_weight=0.0)
    c = torch.rand(8, 1, generator=torch.Generator().manual_seed(2))
    y = gaussian_law(c, torch.Generator().manual_seed(3))
    z = torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(4))
    x = generator.backbone(c.unsqueeze(1), z).detach()
    loss = generator.loss(c, y, rng=torch.Generator().manual_seed(4))
    V = energy_field(x, y.unsqueeze(1), exponent=1.2, smoothing=0.3)
    torch.testing.assert_close(loss.detach(), V.square().sum(dim=-1).mean())


def test_the_mean_is_pulled_by_its_share_of_the_drift():
    generator = make("drifting", siblings=4, mean_weight=0.3)
    c = torch.rand(8, 1, generator=torch.Generator().manual_seed(2))
    y = gaussian_law(c, torch.Generator().manual_seed(3))
    (found,) = torch.autograd.grad(
        generator.loss(c, y, rng=torch.Generator().manual_seed(4)), generator.mean_output.bias
    )
    z = torch.randn(8, 4, 4, generator=torch.Generator().manual_seed(4))
    features = generator.backbone.features(generator.backbone.from_condition(c.unsqueeze(1)), z)
    V = make_field(generator.config)(generator.backbone.read_out(features, z).detach(), y.unsqueeze(1))
    error = generator.mean_output(features.mean(dim=1)) - y
    drift, size = (values.square().sum(dim=-1).mean().sqrt() for values in (V, error))
    torch.testing.assert_close(found, 2 * 0.3 * drift * (error / size).mean(dim=0))
    (pull,) = torch.autograd.grad(generator.mean_loss(features.mean(dim=1), y, drift=drift.square()), features)
    expected = 2 * 0.3 * drift * (error / size) @ generator.mean_output.weight / (8 * 4)
    torch.testing.assert_close(pull, expected.unsqueeze(1).expand_as(pull), msg="features follow")


@pytest.mark.parametrize("name", GENERATORS)
def test_a_loss_is_the_same_without_gradients(name):
    generator = make(name, **CHANGED.get(name, {}))
    c, y = torch.rand(8, 1, generator=torch.Generator().manual_seed(2)), torch.linspace(-1, 1, 8).unsqueeze(1)
    expected = generator.loss(c, y, rng=torch.Generator().manual_seed(4)).detach()
    with torch.no_grad():
        torch.testing.assert_close(generator.loss(c, y, rng=torch.Generator().manual_seed(4)), expected)


def test_the_centre_of_drifting_learns_the_mean():
    generator = fitted("drifting", two_modes)
    c = torch.tensor([[-0.5], [0.0], [0.5]])
    with torch.no_grad():
        mean = generator.centre(generator.backbone.from_condition(c))
    assert float((mean - (c + 0.6)).abs().max()) < 0.15, "0.8 - 0.2 above the middle, where there are no data"


@pytest.mark.parametrize("name", GENERATORS)
def test_the_centre_is_one_answer_and_survives_a_change_of_units(name):
    generator = make(name, steps=4)
    known = generator.backbone.from_condition(torch.tensor([[0.3], [0.7]]))
    centre = generator.centre(known)
    assert centre.shape == (2, 1)
    if name != "drifting":
        torch.testing.assert_close(centre, generator.decode(known, torch.zeros(1, generator.noise_size)))
    if generator.rebases_output:
        generator.rebase((torch.ones(1), torch.zeros(1)), (torch.tensor([2.0]), torch.tensor([1.0])))
        torch.testing.assert_close(2 * generator.centre(known) + 1, centre)


def test_rivals_share_parameters_and_initial_weights():
    drifting, regression = make("drifting", mean_weight=0.0), make("regression")
    extra = dict(make("drifting").named_parameters()).keys() - dict(drifting.named_parameters()).keys()
    assert extra == {"mean_output.weight", "mean_output.bias"}
    assert isinstance(drifting, DriftingGenerator)
    assert isinstance(regression, RegressionGenerator)
    for (name, a), (other, b) in zip(drifting.named_parameters(), regression.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", GENERATORS)
def test_shapes_noise_and_evaluations(name):
    generator = make(name, steps=4)
    counted = []
    generator.backbone.output.register_forward_hook(lambda *_: counted.append(1))
    c, z = torch.randn(5, 1, 1), torch.randn(1, 7, generator.noise_size)
    y = generator.sample(c, z)
    assert y.shape == (5, 7, 1)
    assert len(counted) == generator.nfe == (4 if name in ("diffusion", "flow", "distilled") else 1)
    torch.testing.assert_close(generator.sample(c.expand(5, 7, 1), z.expand(5, 7, -1)), y)
    assert torch.equal(y[:, 0], y[:, 1]) is not generator.stochastic
    with torch.no_grad():
        torch.testing.assert_close(generator.sample(c, z), y)  # activations in place


@pytest.mark.parametrize("name", GENERATORS)
def test_rebasing_keeps_the_distribution(name):
    config = GeneratorConfig(name=name, width=16, depth=3, noise_size=2, steps=4)
    generator = make_generator(config, 5, 3, blocks=1, rng=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    c, z = torch.randn(20, 5, generator=rng), torch.randn(20, generator.noise_size, generator=rng)
    before = generator.sample(c, z)
    scale, shift = torch.tensor([2.0, 0.5, 1.0, 3.0, 1.0]), torch.tensor([0.3, -1.0, 0.0, 0.0, 2.0])
    out_scale, out_shift = torch.tensor([3.0, 0.1, 1.0]), torch.tensor([0.0, 1.0, -5.0])
    generator.rebase((scale, shift), (out_scale, out_shift))
    if not generator.rebases_output:  # mixed with noise of unit scale: the owner keeps their units
        out_scale, out_shift = torch.ones(3), torch.zeros(3)
    torch.testing.assert_close(
        generator.sample((c - shift) / scale, z) * out_scale + out_shift, before, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", GENERATORS)
def test_sampling_steps_where_the_method_leaves_a_choice(name):
    generator = make(name, steps=4)
    before = generator.nfe
    generator.set_sampling_steps(0)
    assert generator.nfe == before
    if name in ("diffusion", "flow"):
        generator.set_sampling_steps(9)
        assert generator.nfe == 9
    else:
        with pytest.raises(ValueError, match="sampling_steps=9: expected 0"):
            generator.set_sampling_steps(9)


def test_fields_by_name():
    x, y = torch.randn(2, 3, 2), torch.randn(2, 1, 2)
    for name, field in (("kernel", kernel_field), ("attraction", attraction_field)):
        torch.testing.assert_close(make_field(GeneratorConfig(field=name))(x, y), field(x, y))
    energy = make_field(GeneratorConfig(field="energy", exponent=0.8, smoothing=0.1))
    torch.testing.assert_close(energy(x, y), energy_field(x, y, exponent=0.8, smoothing=0.1))
    per_condition = make_field(GeneratorConfig(field="kernel_per_condition"))(x, y)
    torch.testing.assert_close(per_condition, kernel_field(x, y, pooled=False))
    config = GeneratorConfig()
    config.field = "magnetic"
    with pytest.raises(ValueError, match="field='magnetic'"):
        make_field(config)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"name": "gan"}, "name='gan'.*drifting"),
        ({"field": "magnetic"}, "field='magnetic'.*energy"),
        ({"prediction": "x"}, "prediction='x'.*v or eps"),
        ({"name": "distilled", "steps": 4, "prediction": "eps"}, "prediction='eps'.*expected v"),
        ({"name": "distilled", "steps": 12}, "steps=12.*power of two"),
        ({"steps": 0}, "steps=0.*1 to 1000"),
        ({"siblings": 1}, "siblings=1.*at least 2"),
        ({"exponent": 2.0}, r"exponent=2\.0.*below 2"),
        ({"exponent": 0.0}, r"exponent=0\.0.*above 0"),
        ({"smoothing": -0.1}, "smoothing=-0.1"),
        ({"mean_weight": -0.1}, r"mean_weight=-0\.1"),
        ({"shortcut": 1.5}, r"shortcut=1\.5.*from 0 to 1"),
        ({"noise_size": 0}, "noise_size=0"),
        ({"depth": 0}, "depth=0"),
        ({"width": 0}, "width=0"),
        ({"members": 0}, "members=0"),
        ({"ways": 0}, "ways=0: expected an integer of at least 1"),
        ({"ways": 2, "field": "kernel"}, "ways=2: expected 1 for field=kernel"),
    ],
)
def test_wrong_settings_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        GeneratorConfig(**wrong)


OTHER_VALUES = {
    "noise_size": 3,
    "field": "kernel",
    "siblings": 5,
    "exponent": 1.2,
    "smoothing": 0.5,
    "mean_weight": 0.7,
    "per_step": False,
    "steps": 8,
    "prediction": "eps",
    "width": 20,
    "depth": 1,
    "shortcut": 0.5,
    "members": 2,
    "ways": 2,
}


def _trained_and_sampled(config):
    """The loss in the middle of a round, what a step down it leads to, and a sample of that."""
    rng = torch.Generator().manual_seed(0)
    generator = make_generator(config, 2, 4, blocks=2, rng=rng)
    c, y = torch.randn(6, 2, generator=rng), torch.randn(6, 4, generator=rng)
    generator.begin_step(5, 10)
    loss = generator.loss(c, y, rng=rng)
    loss.backward()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.sub_(parameter.grad if parameter.grad is not None else 0.0)
    members = len(generator.each())
    noise = torch.randn(6, 2 * members, generator.noise_size, generator=torch.Generator().manual_seed(1))
    return float(loss.detach()), generator.sample(c.unsqueeze(1), noise).mean(dim=1)


@pytest.mark.parametrize("setting", OTHER_VALUES)
@pytest.mark.parametrize(("name", "field"), [*((name, "energy") for name in GENERATORS), ("drifting", "attraction")])
def test_settings_without_effect_are_those_that_change_nothing(name, field, setting):
    if (name, setting) == ("distilled", "prediction") or (field, setting) == ("attraction", "ways"):
        return  # which must stay as they are
    given = {"name": name, "width": 12, "depth": 2, "steps": 4, "field": field}
    other = GeneratorConfig(**given | {setting: OTHER_VALUES[setting]})
    loss, sample = _trained_and_sampled(GeneratorConfig(**given))
    other_loss, other_sample = _trained_and_sampled(other)
    changes = loss != other_loss or sample.shape != other_sample.shape or not torch.equal(sample, other_sample)
    assert changes == (setting not in other.without_effect())
