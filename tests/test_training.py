"""Training: it learns, it resumes bit for bit, and it fails with a trace."""

import math
import signal

import pytest
import torch

from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.windows import Windows
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Batch, Spec
from drift_wm.learning.held_out import held_out_metrics
from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.learning.train import scales_of
from drift_wm.learning.trainer import Trainer
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.learned import differing_shape, load_world_model, stored_shape
from drift_wm.storage.checkpoint import load_checkpoint

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)
CONFIG = TrainingConfig(batch_size=32, warmup=3, log_every=5, checkpoint_every=7)


def make(small_model, episodes, config=CONFIG, seed=0) -> tuple[Trainer, Windows]:
    trainer = Trainer(SPEC, small_model, config, seed=seed)
    trainer.rescale(scales_of(compute_statistics(episodes, chunk=small_model.chunk)))
    return trainer, Windows(episodes, history=1, chunk=small_model.chunk)


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {**trainer.averaged.state_dict(), **{f"raw.{n}": v for n, v in trainer.model.state_dict().items()}}


def assert_same(a: Trainer, b: Trainer) -> None:
    other = state_of(b)
    for name, value in state_of(a).items():
        assert torch.equal(value, other[name]), name


class Interrupt:
    """Training data that press Ctrl-C while some batch is drawn."""

    def __init__(self, windows: Windows, after: int) -> None:
        self.windows, self.left = windows, after

    def sample(self, size: int, rng: torch.Generator) -> Batch:
        batch = self.windows.sample(size, rng)
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return batch


SHAPES = {
    "regression": {"name": "regression"},
    "gaussian": {"name": "gaussian"},
    "diffusion": {"name": "diffusion"},
    "consistency": {"name": "consistency"},
    "distilled": {"name": "distilled", "steps": 4},
    "drifting": {"name": "drifting"},
    "branching": {"name": "drifting", "ways": 2},
    "drifting ensemble": {"name": "drifting", "members": 2},
    "distilled ensemble": {"name": "distilled", "steps": 4, "members": 2},
}


@pytest.mark.parametrize(
    ("shape", "half"),
    # The distilled model trains to step 10, then halves its steps to 2 until step 13, and to 1 from there.
    [(shape, 10) for shape in SHAPES]
    + [("distilled", 12), ("distilled", 13), ("distilled", 16), ("consistency", 4)]
    + [("branching", 3)],  # while noise comes in
)
def test_a_round_in_two_parts_is_one_round_bit_for_bit(tmp_path, linear_episodes, shape, half):
    generator = GeneratorConfig(width=16, depth=2, noise_size=2, **SHAPES[shape])
    shape = WorldModelConfig(chunk=2, generator=generator)
    through, windows = make(shape, linear_episodes)
    through.train_round(windows, 20)
    stopped, windows = make(shape, linear_episodes)
    path = tmp_path / "checkpoints" / "round_0000.pt"
    with pytest.raises(KeyboardInterrupt):
        stopped.train_round(Interrupt(windows, half), 20, save_to=path)
    resumed = Trainer(SPEC, shape, CONFIG, seed=99)  # another seed: all state comes from the checkpoint
    resumed.restore(load_checkpoint(path))
    assert (resumed.round_step, resumed.steps, resumed.rounds) == (half, half, 0)
    resumed.train_round(windows, 20, save_to=path)
    assert_same(through, resumed)
    assert (resumed.round_step, resumed.steps, resumed.rounds) == (0, 20, 1)
    # and the next round, with a new schedule, goes on the same way
    again = Trainer(SPEC, shape, CONFIG, seed=98)
    again.restore(load_checkpoint(path))
    through.train_round(windows, 6)
    again.train_round(windows, 6)
    assert_same(through, again)


def test_a_checkpoint_stays_as_it_was_read_however_many_go_on_from_it(tmp_path, linear_episodes, small_model):
    trainer, windows = make(small_model, linear_episodes)
    trainer.train_round(windows, 4, save_to=tmp_path / "parent.pt")
    checkpoint = load_checkpoint(tmp_path / "parent.pt")
    children = [Trainer(SPEC, small_model, CONFIG, seed=3) for _ in range(2)]
    for child in children:
        child.restore(checkpoint)
        child.train_round(windows, 4)
    assert_same(*children)


@pytest.mark.parametrize("as_parent", [False, True])
def test_training_goes_on_on_another_kind_of_device(tmp_path, linear_episodes, small_model, caplog, as_parent):
    trainer, windows = make(small_model, linear_episodes)
    trainer.train_round(windows, 4, save_to=tmp_path / "of_gpu.pt")
    checkpoint = load_checkpoint(tmp_path / "of_gpu.pt")
    checkpoint.state["rng"] = torch.zeros(16, dtype=torch.uint8)  # of CUDA: a seed and how many numbers were drawn
    children = []
    for _ in range(2):
        child = Trainer(SPEC, small_model, CONFIG, seed=3)
        child.restore(checkpoint, as_parent=as_parent)
        child.train_round(windows, 4)
        children.append(child)
    assert_same(*children)
    assert (children[0].steps, children[0].rounds) == (8, 2)
    assert ("trained on another kind of device than cpu" in caplog.text) is not as_parent


def test_learns_a_linear_world_and_forgets_nothing_in_the_checkpoint(tmp_path, linear_episodes, small_model):
    config = TrainingConfig(batch_size=64, learning_rate=3e-3, warmup=10)
    trainer, windows = make(small_model, linear_episodes[:5], config)
    before = held_out_metrics(trainer.world_model, linear_episodes[5:], seed=0)
    path = tmp_path / "model.pt"
    trainer.train_round(windows, 600, save_to=path)
    after = held_out_metrics(trainer.world_model, linear_episodes[5:], seed=0)
    assert after["energy_score"] < 0.4 * before["energy_score"]
    assert after["open_loop_error"] < 0.5 * before["open_loop_error"]
    loaded = load_world_model(load_checkpoint(path))
    assert held_out_metrics(loaded, linear_episodes[5:], seed=0) == after
    assert loaded.spec == SPEC
    assert loaded.config == small_model


def test_lineage_names_each_parent(tmp_path, linear_episodes, small_model):
    trainer, windows = make(small_model, linear_episodes)
    paths = [tmp_path / f"{i}.pt" for i in range(3)]
    for path in paths:
        trainer.train_round(windows, 4, save_to=path)
    first, second, third = (load_checkpoint(path) for path in paths)
    assert first.parent is None
    assert second.parent == first.id
    assert third.parent == second.id
    assert len({first.id, second.id, third.id}) == 3
    elsewhere = Trainer(SPEC, small_model, CONFIG, seed=5)
    elsewhere.restore(second)
    elsewhere.train_round(windows, 4, save_to=tmp_path / "branch.pt")
    assert load_checkpoint(tmp_path / "branch.pt").parent == second.id
    with pytest.raises(KeyboardInterrupt):
        elsewhere.train_round(Interrupt(windows, 2), 4, save_to=tmp_path / "half.pt")
    half, branch = load_checkpoint(tmp_path / "half.pt"), load_checkpoint(tmp_path / "branch.pt")
    resumed, child, cousin = (Trainer(SPEC, small_model, CONFIG, seed=5) for _ in range(3))
    resumed.restore(half)
    assert (resumed.parent, resumed.rounds, resumed.round_step) == (branch.id, 3, 2)
    child.restore(half, as_parent=True)
    assert (child.parent, child.rounds, child.round_step) == (half.id, 4, 0)
    cousin.restore(branch, as_parent=True)
    assert len({5, child.rng.initial_seed(), cousin.rng.initial_seed()}) == 3, "no batches as those before"


def test_learning_rate_rises_then_falls_in_each_round(linear_episodes, small_model):
    config = TrainingConfig(batch_size=4, warmup=4, log_every=1, learning_rate=1e-3)
    trainer, windows = make(small_model, linear_episodes, config)
    for _ in range(2):
        rates = []
        trainer.train_round(windows, 20, on_step=lambda done, total, m, r=rates: r.append(m["learning_rate"]))
        assert rates[:4] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])
        assert rates[4:] == sorted(rates[4:], reverse=True)
        expected_last = 1e-3 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * 19 / 20)))
        assert rates[-1] == pytest.approx(expected_last)


def test_the_learning_rate_falls_to_the_end_of_each_phase(linear_episodes):
    shape = WorldModelConfig(chunk=2, generator=GeneratorConfig(name="distilled", width=16, depth=2, steps=2))
    config = TrainingConfig(batch_size=4, warmup=0, log_every=1, learning_rate=1e-3)
    trainer, windows = make(shape, linear_episodes, config)
    rates = []
    trainer.train_round(windows, 20, on_step=lambda done, total, m: rates.append(m["learning_rate"]))
    phase = [1e-3 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * i / 10))) for i in range(10)]
    assert rates == pytest.approx(phase * 2)
    assert trainer.world_model.generator.nfe == 1


def test_logged_scores_do_not_disturb_the_training(linear_episodes, small_model):
    often, windows = make(small_model, linear_episodes, TrainingConfig(batch_size=4, log_every=1))
    seldom, windows = make(small_model, linear_episodes, TrainingConfig(batch_size=4, log_every=100))
    metrics = often.train_round(windows, 10)
    seldom.train_round(windows, 10)
    assert_same(often, seldom)
    assert set(metrics) == {"loss", "gradient_norm", "learning_rate", "energy_score", "error", "spread"}


def test_averaged_weights_are_the_exponential_mean(linear_episodes, small_model):
    config = TrainingConfig(batch_size=4, averaging=0.2, log_every=1)
    trainer, windows = make(small_model, linear_episodes, config)
    name = "generator.backbone.output.weight"
    seen = []
    trainer.train_round(
        windows, 20, on_step=lambda done, total, metrics: seen.append(trainer.model.state_dict()[name].clone())
    )
    expected = torch.stack(seen[:4]).mean(dim=0)
    for weights in seen[4:]:  # a fifth of 20 steps: a decay of 0.75
        expected = 0.75 * expected + 0.25 * weights
    torch.testing.assert_close(trainer.world_model.state_dict()[name], expected)


def test_checkpoints_on_the_way(tmp_path, linear_episodes, small_model):
    trainer, windows = make(small_model, linear_episodes)
    path = tmp_path / "round.pt"
    seen = []

    class Watched(Interrupt):
        def sample(self, size, rng):
            seen.append(load_checkpoint(path).state["round_step"] if path.exists() else None)
            return super().sample(size, rng)

    trainer.train_round(Watched(windows, 100), 16, save_to=path)
    assert seen == [None] * 7 + [7] * 7 + [14] * 2
    assert load_checkpoint(path).state["rounds"] == 1


def test_a_non_finite_loss_stops_and_keeps_the_evidence(tmp_path, linear_episodes, small_model):
    trainer, windows = make(small_model, linear_episodes)

    class Poisoned:
        def sample(self, size, rng):
            batch = windows.sample(size, rng)
            batch.reward[0, 0] = float("nan")
            return batch

    with pytest.raises(FloatingPointError, match="became nan at step 0"):
        trainer.train_round(Poisoned(), 5)
    with pytest.raises(FloatingPointError, match=r"non_finite_batch\.pt"):
        trainer.train_round(Poisoned(), 5, save_to=tmp_path / "checkpoints" / "model.pt")
    kept = torch.load(tmp_path / "checkpoints" / "non_finite_batch.pt", weights_only=True)
    assert torch.isnan(kept["reward"]).any()
    assert set(kept) == {"obs", "actions", "reward", "ended", "rng"}
    rng = torch.Generator()
    rng.set_state(kept["rng"])
    assert torch.equal(windows.sample(32, rng).obs, kept["obs"]), "the batch can be drawn again"


def test_a_checkpoint_of_other_dimensions_is_refused_by_name(tmp_path, linear_episodes, small_model):
    trainer, windows = make(small_model, linear_episodes)
    trainer.train_round(windows, 1, save_to=tmp_path / "model.pt")
    checkpoint = load_checkpoint(tmp_path / "model.pt")
    other = Trainer(Spec(4, 2, 0.1), WorldModelConfig(chunk=5), CONFIG, seed=0)
    with pytest.raises(ValueError, match=r"observation_size \(checkpoint 3, here 4\).*chunk \(checkpoint 2, here 5\)"):
        other.restore(checkpoint)


@pytest.mark.parametrize(("name", "free"), [("diffusion", True), ("flow", True), ("distilled", False)])
def test_the_steps_of_a_sample_are_free_where_training_does_not_know_them(tmp_path, linear_episodes, name, free):
    def shape(steps, width=16):
        generator = GeneratorConfig(name=name, width=width, depth=2, steps=steps)
        return WorldModelConfig(chunk=2, generator=generator)

    trainer, windows = make(shape(4), linear_episodes)
    trainer.train_round(windows, 1, save_to=tmp_path / "model.pt")
    checkpoint = load_checkpoint(tmp_path / "model.pt")
    other = Trainer(SPEC, shape(8), CONFIG, seed=0)
    if free:
        other.restore(checkpoint)
        assert other.world_model.generator.nfe == 8
    else:
        with pytest.raises(ValueError, match=r"generator\.steps \(checkpoint 4, here 8\)"):
            other.restore(checkpoint)
    with pytest.raises(ValueError, match=r"generator\.width \(checkpoint 16, here 8\)"):
        Trainer(SPEC, shape(4, width=8), CONFIG, seed=0).restore(checkpoint)


def test_settings_that_a_checkpoint_does_not_name_have_their_defaults(tmp_path, linear_episodes, small_model):
    trainer, windows = make(small_model, linear_episodes)
    trainer.train_round(windows, 1, save_to=tmp_path / "model.pt")
    checkpoint = load_checkpoint(tmp_path / "model.pt")
    del checkpoint.config["model"]["self_rollout"]
    del checkpoint.config["model"]["generator"]["members"]
    assert stored_shape(checkpoint) == (SPEC, small_model)
    Trainer(SPEC, small_model, CONFIG, seed=1).restore(checkpoint)
    members = GeneratorConfig(width=32, depth=2, noise_size=2, members=2)
    with pytest.raises(ValueError, match=r"generator\.members \(checkpoint 1, here 2\)"):
        Trainer(SPEC, WorldModelConfig(chunk=2, generator=members), CONFIG, seed=1).restore(checkpoint)


def test_checkpoints_of_other_kinds_and_versions_are_refused(tmp_path, linear_episodes, small_model):
    trainer, windows = make(small_model, linear_episodes)
    trainer.train_round(windows, 1, save_to=tmp_path / "model.pt")
    checkpoint = load_checkpoint(tmp_path / "model.pt")
    object.__setattr__(checkpoint, "kind", "policy")
    for use in (load_world_model, trainer.restore):
        with pytest.raises(ValueError, match="kind 'policy'"):
            use(checkpoint)
    object.__setattr__(checkpoint, "kind", "world_model")
    checkpoint.config["model"]["flux"] = 1
    with pytest.raises(ValueError, match=r"does not know.*flux"):
        stored_shape(checkpoint)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0"),
        ({"averaging": 0.0}, r"averaging=0\.0"),
        ({"averaging": 1.1}, r"averaging=1\.1"),
        ({"value_averaging": 0.0}, r"value_averaging=0\.0"),
        ({"final_fraction": 1.1}, r"final_fraction=1\.1"),
        ({"value_rate": 0.0}, r"value_rate=0\.0"),
        ({"weight_decay": -0.1}, r"weight_decay=-0\.1"),
        ({"warmup": -1}, "warmup=-1"),
        ({"clip": 0.0}, "clip=0"),
        ({"log_every": 0}, "log_every=0"),
        ({"checkpoint_every": 0}, "checkpoint_every=0"),
    ],
)
def test_wrong_settings_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        TrainingConfig(**wrong)


def test_a_pace_that_is_not_known_keeps_no_models_apart(small_model):
    known, other, unknown = (Spec(3, 2, seconds) for seconds in (0.02, 0.05, 0.0))
    assert differing_shape((known, small_model), (unknown, small_model)) == {}
    assert differing_shape((unknown, small_model), (known, small_model)) == {}
    assert differing_shape((known, small_model), (other, small_model)) == {"decision_seconds": (0.02, 0.05)}
