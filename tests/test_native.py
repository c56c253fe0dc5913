"""Machine code for futures: it says what torch does, and there is a loud way back where nothing compiles it."""

import logging
import platform
import shutil

import pytest
import torch

from drift_wm import compilation
from drift_wm.compilation import machine_code
from drift_wm.generators import DriftingGenerator, GeneratorConfig
from drift_wm.generators.branching import BranchingGenerator
from drift_wm.generators.denoising import MultiStepGenerator
from drift_wm.generators.gaussian import GaussianGenerator
from drift_wm.interfaces import History, Prediction, Spec
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel

SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)
SHAPES = [
    (1, 1, {}),
    (1, 3, {"depth": 1}),
    (3, 2, {"width": 17, "depth": 3}),  # a width between whole vectors
    (2, 2, {"members": 3}),
    (3, 2, {"angles": (2, 0)}),
]
"""Frames, steps of a chunk, and what else is asked of a network, of central and drawn futures alike."""
SEVERAL_PASSES = [
    (2, 3, {"name": "diffusion", "steps": 5}),
    (2, 1, {"name": "diffusion", "steps": 3, "members": 2}),
    (1, 2, {"name": "diffusion", "steps": 1, "angles": (1,), "width": 17}),
    (3, 2, {"name": "flow", "steps": 4, "depth": 1}),
    (1, 2, {"name": "distilled", "steps": 2}),
]
"""The same where a chunk takes several passes of the network."""
GAUSSIAN = [(2, 3, {"name": "gaussian"}), (1, 1, {"name": "gaussian", "members": 3, "angles": (1,), "width": 17})]
SEVERAL_WAYS = [
    (2, 3, {"ways": 2}),
    (1, 2, {"ways": 2, "depth": 1, "noise_size": 1}),
    (1, 1, {"ways": 40, "members": 2, "angles": (1,), "width": 17}),
]
"""The same where chance takes one of several outcomes."""
needs_a_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")


def make(
    seed: int = 0, *, history: int = 1, chunk: int = 2, precision: str = "float32", angles: tuple = (), **generator
) -> LearnedWorldModel:
    network = GeneratorConfig(**{"width": 64, "depth": 2, **generator})
    shape = WorldModelConfig(history=history, chunk=chunk, precision=precision, angles=list(angles), generator=network)
    rng = torch.Generator().manual_seed(seed)
    model = LearnedWorldModel(SPEC, shape, rng=rng).eval()
    with torch.no_grad():
        for member in model.members:
            member.backbone.learned_shortcut.uniform_(-1, 1, generator=rng)
        for layer in (model.members[0].central_layer or ())[:1]:
            layer.mul_(60)  # far from zero, so that wrong weights show
        for member in model.members:
            if isinstance(member, DriftingGenerator | MultiStepGenerator):
                member.backbone.output.weight.mul_(30)
            if isinstance(member, BranchingGenerator):  # odds that differ
                member.odds.weight.mul_(100)
            if isinstance(member, GaussianGenerator):  # bounds that both bend what lies between them
                member.largest.uniform_(-1, 1, generator=rng)
                member.smallest.uniform_(-3, -1, generator=rng)
        if not model.generator.rebases_output:  # so that machine code has to scale targets
            model.normaliser.target_mean.uniform_(-1, 1, generator=rng)
            model.normaliser.target_std.uniform_(0.5, 2, generator=rng)
    return model


def predict(
    model: LearnedWorldModel | PreparedModel,
    *,
    B: int = 1,
    N: int = 7,
    H: int = 6,
    P: int = 2,
    independent: bool = False,
) -> Prediction:
    rng = torch.Generator().manual_seed(5)
    K = model.history
    past = History(torch.randn(B, K, 3, generator=rng), torch.randn(B, K - 1, 2, generator=rng))
    actions = torch.rand(B, N, H, 2, generator=rng)
    return model.rollout(past, actions, particles=P, rng=rng, independent=independent)


def both_ways(model: LearnedWorldModel, *, central: bool, observe: bool) -> tuple[PreparedModel, PreparedModel]:
    fast, plain = (PreparedModel(model, central=central, observe=observe, compile=asked) for asked in (True, False))
    assert fast.is_compiled
    assert not plain.is_compiled
    return fast, plain


def assert_alike(found: Prediction, expected: Prediction) -> None:
    torch.testing.assert_close(found.reward, expected.reward, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.obs, expected.obs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.final, expected.final, rtol=1e-4, atol=1e-4)


@needs_a_compiler
@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize(
    ("history", "chunk", "network"),
    [
        *SHAPES,
        *SEVERAL_PASSES,
        *GAUSSIAN,
        *SEVERAL_WAYS,
        (4, 1, {"width": 8}),
        (2, 6, {"name": "regression"}),
        (1, 2, {"angles": (1,)}),
        (2, 3, {"angles": (0, 1, 2)}),
    ],
)
def test_machine_code_says_what_torch_does(history, chunk, network, observe):
    model = make(history=history, chunk=chunk, **network)
    fast, plain = both_ways(model, central=True, observe=observe)
    for shape in ({}, {"N": 300}, {"B": 3}, {"N": 1}, {"B": 2, "N": 33, "H": 12}):
        assert_alike(predict(fast, **shape), predict(plain, **shape))
    if not observe:
        return
    frames, acted = torch.randn(40, history + 2, 3), torch.randn(40, history - 1 + chunk, 2)
    # Of several chunks in a row, the newest frames are a view of all: so proposals ask for them.
    ahead = fast.look_ahead(frames[:, -history:], acted)
    torch.testing.assert_close(ahead, plain.look_ahead(frames[:, -history:], acted), rtol=1e-4, atol=1e-4)


@needs_a_compiler
@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize(
    ("history", "chunk", "network"),
    [*SHAPES, *SEVERAL_PASSES, *GAUSSIAN, *SEVERAL_WAYS, (2, 6, {"noise_size": 1})],
)
def test_machine_code_draws_what_torch_does(history, chunk, network, observe):
    model = make(history=history, chunk=chunk, **network)
    fast, plain = both_ways(model, central=False, observe=observe)
    for shape in (
        {},
        {"N": 1, "P": 70},
        {"B": 3, "N": 40},
        {"B": 3, "P": 5, "independent": True},
        {"B": 2, "N": 1, "P": 1, "H": 12, "independent": True},
    ):
        found, expected = predict(fast, **shape), predict(plain, **shape)
        assert_alike(found, expected)
        if found.reward.shape[2] > 1:
            assert expected.final.std(dim=2).mean() > 0.1, "draws that differ"


@needs_a_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="code of other processors")
@pytest.mark.parametrize(("processor", "needs"), [("x86-64-v3", {"AVX2", "AVX512"}), ("x86-64-v2", None)])
def test_processors_with_narrower_vectors(monkeypatch, processor, needs):
    if needs and torch.backends.cpu.get_cpu_capability() not in needs:
        pytest.skip(f"this is no {processor}")
    options = [f"-march={processor}" if option == "-march=native" else option for option in compilation._OPTIONS]
    assert options != list(compilation._OPTIONS)
    monkeypatch.setattr(compilation, "_OPTIONS", options)
    model = make(history=2, width=40)
    machine_code.cache_clear()
    try:
        fast = PreparedModel(model, central=True)
    finally:
        machine_code.cache_clear()
    assert fast.is_compiled
    assert_alike(predict(fast, N=40), predict(PreparedModel(model, central=True, compile=False), N=40))


@needs_a_compiler
def test_two_models_keep_their_own_weights():
    models = [make(seed=seed) for seed in (0, 1)]
    fast = [PreparedModel(model, central=True) for model in models]
    for model, quick in zip(models, fast, strict=True):
        assert_alike(predict(quick), predict(PreparedModel(model, central=True, compile=False)))
    assert (predict(fast[0]).obs - predict(fast[1]).obs).abs().max() > 0.3


@needs_a_compiler
def test_threads_do_not_change_what_is_predicted():
    fast, threads = PreparedModel(make(), central=True), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = predict(fast, N=200)
        torch.set_num_threads(3)
        found = predict(fast, N=200)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found.obs, expected.obs)
    assert torch.equal(found.reward, expected.reward)


@needs_a_compiler
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e6])
def test_activations_of_every_size(scale):
    model = make(chunk=1)
    with torch.no_grad():
        model.members[0].backbone.from_condition.weight.mul_(scale)
    fast, plain = (predict(PreparedModel(model, central=True, compile=asked), H=1) for asked in (True, False))
    torch.testing.assert_close(fast.reward / scale, plain.reward / scale, rtol=1e-4, atol=1e-4)


@needs_a_compiler
@pytest.mark.parametrize("elsewhere", [{"dtype": torch.float64}, {"device": "meta"}])
def test_what_lies_in_memory_otherwise_is_refused(elsewhere):
    fast, frames, actions = PreparedModel(make(), central=True), torch.zeros(5, 1, 3), torch.zeros(5, 2, 2)
    for given in ((frames.to(**elsewhere), actions), (frames, actions.to(**elsewhere))):
        with pytest.raises(ValueError, match=r"of torch\.float32 on the CPU"):
            fast.look_ahead(*given)


@needs_a_compiler
@pytest.mark.parametrize(
    ("frames", "actions"),
    [
        ((4, 3, 3), (4, 2, 2)),  # actions before the newest frame forgotten
        ((4, 2, 3), (4, 4, 2)),  # a frame too few
        ((4, 3, 2), (4, 4, 2)),
        ((4, 3, 3), (4, 4, 1)),
        ((4, 3, 3), (4, 5, 2)),  # half a chunk
        ((4, 3, 3), (3, 4, 2)),
    ],
)
def test_what_has_another_shape_is_refused(frames, actions):
    fast = PreparedModel(make(history=3, chunk=2), central=True)
    with pytest.raises(ValueError, match=r"given \(.*; expected \("):
        fast.look_ahead(torch.zeros(frames), torch.zeros(actions))


@pytest.mark.parametrize("ready", [{"central": False}, {"central": True, "observe": False}])
def test_looking_ahead_needs_a_central_model_that_observes(ready):
    model = PreparedModel(make(), **ready)
    with pytest.raises(ValueError, match="central=True and observe=True"):
        model.look_ahead(torch.zeros(5, 1, 3), torch.zeros(5, 2, 2))


@needs_a_compiler
def test_another_default_type_changes_nothing():
    fast = [PreparedModel(make(**network)) for network in ({}, {"name": "diffusion", "steps": 2}, {"name": "gaussian"})]
    torch.set_default_dtype(torch.float64)
    try:
        past, actions = History(torch.zeros(1, 1, 3).float(), torch.zeros(1, 0, 2).float()), torch.zeros(1, 4, 2, 2)
        found = [model.rollout(past, actions.float(), particles=1, rng=torch.Generator()) for model in fast]
    finally:
        torch.set_default_dtype(torch.float32)
    expected = [model.rollout(past, actions.float(), particles=1, rng=torch.Generator()) for model in fast]
    for one, other in zip(found, expected, strict=True):
        assert one.reward.dtype == one.obs.dtype == torch.float32
        assert one.reward.shape == other.reward.shape
        assert_alike(one, other)


@needs_a_compiler
@pytest.mark.parametrize("base", [{"name": "drifting"}, {"name": "flow"}, {"name": "gaussian"}, {"ways": 2}], ids=str)
def test_generators_that_sample_in_a_way_of_their_own_are_left_to_torch(base):
    model = make(**base)
    assert PreparedModel(model).is_compiled

    class Own(type(model.generator)):
        def decode(self, known, z):
            return 2 * super().decode(known, z)

    model.generator.__class__ = Own
    prepared = PreparedModel(model)
    assert not prepared.is_compiled
    assert_alike(predict(prepared), predict(model))


@needs_a_compiler
def test_what_is_no_number_stays_none():
    fast = PreparedModel(make(), central=True)
    past = History(torch.full((1, 1, 3), torch.nan), torch.zeros(1, 0, 2))
    found = fast.rollout(past, torch.zeros(1, 4, 2, 2), particles=1, rng=torch.Generator())
    assert found.reward.isnan().all()
    assert found.obs.isnan().all()


@pytest.mark.parametrize(
    ("central", "model"),
    [
        (False, {"name": "consistency"}),
        (False, {"precision": "bfloat16"}),
        (True, {"name": "consistency"}),
        (True, {"precision": "bfloat16"}),
    ],
)
def test_other_futures_are_left_to_torch(central, model):
    assert not PreparedModel(make(**model), central=central).is_compiled


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("no-such-compiler", "No such file"),
        ("false", "returned non-zero exit status 1"),
        ('g++ "', "No closing quotation"),
    ],
)
def test_without_a_compiler_predicts_all_the_same_and_says_so_once(monkeypatch, caplog, compiler, reason):
    monkeypatch.setenv("CXX", compiler)
    machine_code.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, compilation.__name__):
            found = [PreparedModel(make(), central=True) for _ in range(2)]
    finally:
        machine_code.cache_clear()  # others find it again
    assert not any(model.is_compiled for model in found)
    assert_alike(predict(found[0]), predict(PreparedModel(make(), central=True, compile=False)))
    (record,) = caplog.records
    assert f"compile=true: {compiler}" in record.message
    assert reason in record.message
    assert "compile=false" in record.message
