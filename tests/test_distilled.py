"""Progressive distillation: its phases, its target, and what a later round begins from."""

import pytest
import torch

from drift_wm.generators import GeneratorConfig, make_generator
from drift_wm.generators.diffusion import LAST_TIMES, schedule
from drift_wm.generators.distilled import DistilledGenerator


def make(steps: int = 8) -> DistilledGenerator:
    config = GeneratorConfig(name="distilled", width=16, depth=2, steps=steps)
    generator = make_generator(config, 2, 3, blocks=1, rng=torch.Generator().manual_seed(0))
    assert isinstance(generator, DistilledGenerator)
    return generator


def disturb(generator: DistilledGenerator) -> None:
    """A training step in all but meaning."""
    with torch.no_grad():
        for weight in generator.backbone.parameters():
            weight.add_(0.01 * torch.randn(weight.shape))


def weights(network) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_evaluations_halve_from_phase_to_phase_and_the_rate_starts_anew():
    generator = make(steps=8)
    nfe, progress = [], []
    for done in range(40):
        progress.append(generator.begin_step(done, 40))
        nfe.append(generator.nfe)
    assert nfe == [8] * 20 + [4] * 5 + [2] * 5 + [1] * 10
    expected = [i / 20 for i in range(20)] + [i / 5 for i in range(5)] * 2 + [i / 10 for i in range(10)]
    assert progress == pytest.approx(expected)


def test_one_step_needs_no_distillation():
    generator = make(steps=1)
    assert [generator.begin_step(done, 4) for done in range(4)] == [0, 0.25, 0.5, 0.75]
    assert generator.nfe == 1
    assert int(generator.phase) == 0


def test_each_phase_is_taught_by_the_student_of_the_one_before():
    generator = make(steps=4)
    for done in range(12):  # two halvings: the second phase begins at step 6, the third at step 8
        student = weights(generator.backbone)
        phase = int(generator.phase)
        generator.begin_step(done, 12)
        assert same(weights(generator.backbone), student)
        if int(generator.phase) != phase:
            assert same(weights(generator.teacher), student)
        disturb(generator)
    assert generator.nfe == 1


@pytest.mark.parametrize("steps", [12, 3])
def test_a_later_round_begins_from_the_diffusion_model_also_where_a_phase_was_skipped(steps):
    generator = make(steps=8)
    trained = None
    for done in range(steps):
        before = weights(generator.backbone)
        generator.begin_step(done, steps)
        if int(generator.phase) > 0 and trained is None:
            trained = before
        disturb(generator)
    assert trained is not None
    assert same(weights(generator.diffusion), trained)
    assert not same(weights(generator.backbone), trained)
    generator.begin_step(0, steps)
    assert same(weights(generator.backbone), trained)
    assert generator.nfe == 8


def test_frozen_networks_get_no_gradient():
    generator = make(steps=4)
    generator.begin_step(6, 12)
    assert int(generator.phase) == 1
    generator.loss(torch.randn(8, 2), torch.randn(8, 3), rng=torch.Generator().manual_seed(0)).backward()
    assert all(weight.grad is None for weight in [*generator.teacher.parameters(), *generator.diffusion.parameters()])
    assert generator.backbone.output.weight.grad.abs().sum() > 0


def test_the_last_student_regresses_on_two_steps_of_its_teacher():
    generator = make(steps=2)
    generator.begin_step(2, 4)
    disturb(generator)
    c, y = torch.randn(8, 2), torch.randn(8, 3)
    found = generator.loss(c, y, rng=torch.Generator().manual_seed(1))
    rng = torch.Generator().manual_seed(1)
    torch.randint(1, 2, (8, 2, 1), generator=rng)  # of the one step that is left
    alpha, sigma = schedule(torch.tensor(LAST_TIMES["v"]))
    x = alpha * y.unsqueeze(1) + sigma * torch.randn(8, 2, 3, generator=rng)
    config = GeneratorConfig(name="diffusion", width=16, depth=2, steps=2)
    teacher = make_generator(config, 2, 3, blocks=1, rng=torch.Generator())
    teacher.backbone.load_state_dict(generator.teacher.state_dict())
    difference = generator.sample(c.unsqueeze(1), x) - teacher.sample(c.unsqueeze(1), x)
    torch.testing.assert_close(found, difference.square().sum(dim=-1).mean())


def test_a_denoiser_that_knows_the_answer_teaches_itself_without_loss(monkeypatch):
    """A point mass at y = 1: every path is straight in (alpha, sigma), so one long step is two short ones."""
    generator = make(steps=8)
    generator.begin_step(20, 40)

    def complete(known, inputs):
        x, t = inputs[..., :3], inputs[..., 3:4]
        alpha, sigma = schedule(t)
        return (alpha * x - 1) / sigma

    for network in (generator.backbone, generator.teacher):
        monkeypatch.setattr(network, "complete", complete)
    y = torch.ones(64, 3)
    assert float(generator.loss(torch.zeros(64, 2), y, rng=torch.Generator().manual_seed(0))) < 1e-5
    torch.testing.assert_close(generator.sample(torch.zeros(64, 2), torch.randn(64, 3)), y, rtol=1e-4, atol=1e-4)


def test_rebasing_reaches_the_networks_that_are_kept():
    generator = make(steps=4)
    generator.begin_step(6, 12)
    disturb(generator)
    c, y = torch.randn(8, 2), torch.randn(8, 3)
    before = generator.loss(c, y, rng=torch.Generator().manual_seed(1))
    kept = generator.diffusion(c, torch.zeros(8, generator.diffusion.from_noise.in_features))
    scale, shift = torch.tensor([2.0, 0.5]), torch.tensor([1.0, -1.0])
    generator.rebase((scale, shift), (torch.ones(3), torch.zeros(3)))
    rebased = (c - shift) / scale
    after = generator.loss(rebased, y, rng=torch.Generator().manual_seed(1))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    again = generator.diffusion(rebased, torch.zeros(8, generator.diffusion.from_noise.in_features))
    torch.testing.assert_close(again, kept, rtol=1e-4, atol=1e-5)
