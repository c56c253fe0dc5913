"""Compiled predictions: those of the model, in bfloat16; and a loud way back where nothing can be compiled."""

import logging
import shutil

import pytest
import torch

from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import History, Spec
from drift_wm.models import precision
from drift_wm.models.compiled import compiled
from drift_wm.models.precision import multiplies_bfloat16
from drift_wm.models.prepared import PreparedModel
from drift_wm.models.world_model import LearnedWorldModel, WorldModelConfig
from drift_wm.speed.contenders import COMPILED, OURS, make_models

CPU = torch.device("cpu")
SPEC = Spec(observation_size=3, action_size=2, decision_seconds=0.1)
can_compile = pytest.mark.skipif(
    not multiplies_bfloat16(CPU) or shutil.which("g++") is None,
    reason="needs a CPU that multiplies bfloat16, and a C++ compiler",
)


def make(seed: int = 0, *, history: int = 1, chunk: int = 2, precision: str = "auto", **generator) -> LearnedWorldModel:
    shape = WorldModelConfig(
        history=history, chunk=chunk, precision=precision, generator=GeneratorConfig(width=64, depth=2, **generator)
    )
    model = LearnedWorldModel(SPEC, shape, rng=torch.Generator().manual_seed(seed)).eval()
    with torch.no_grad():
        for layer in (model.members[0].central_layer or ())[:1]:
            layer.mul_(60)  # far from zero, so that wrong weights show
    return model


def predict(model: LearnedWorldModel | PreparedModel, *, B: int = 1, N: int = 7, H: int = 4):
    rng = torch.Generator().manual_seed(5)
    K = model.history
    past = History(torch.randn(B, K, 3, generator=rng), torch.randn(B, K - 1, 2, generator=rng))
    return model.rollout(past, torch.rand(B, N, H, 2, generator=rng), particles=1, rng=rng)


@can_compile
@pytest.mark.parametrize(("history", "chunk", "observe"), [(2, 1, False), (1, 2, True)])
def test_each_model_says_what_it_did_for_any_number_of_futures(history, chunk, observe):
    models = [make(seed=seed, history=history, chunk=chunk) for seed in (0, 1)]
    fast = [PreparedModel(model, central=True, observe=observe, compile=True) for model in models]
    assert all(quick.is_compiled for quick in fast)
    for shape in ({}, {"N": 300}, {"B": 3}, {"H": 2}, {"N": 1}):
        for model, quick in zip(models, fast, strict=True):
            found, expected = predict(quick, **shape), predict(PreparedModel(model, central=True), **shape)
            torch.testing.assert_close(found.reward, expected.reward, rtol=0.05, atol=0.1)
            torch.testing.assert_close(found.obs, expected.obs, rtol=0.05, atol=0.1)
        assert (predict(fast[0], **shape).obs - predict(fast[1], **shape).obs).abs().max() > 0.3


def test_compiled_code_is_given_rows_as_it_was_made_for(monkeypatch):
    def compile_strictly(program, example, *, options):
        def code(frames, acted):
            assert frames.is_contiguous(), "machine code does not look at strides"
            assert acted.is_contiguous(), "machine code does not look at strides"
            return program(frames, acted)

        return code

    monkeypatch.setattr(torch._inductor, "compile", compile_strictly)
    monkeypatch.setattr("drift_wm.models.prepared._no_compilation", lambda model, *, central: "")
    for model in (make(history=1), make(history=2)):
        fast, K = PreparedModel(model, central=True, compile=True), model.history
        assert fast.is_compiled
        frames, acted = torch.randn(5, K + 2, 3), torch.randn(5, K - 1 + 2, 2)
        # Of several chunks in a row, the newest frames are a view of all: so proposals ask for them.
        torch.testing.assert_close(
            fast.look_ahead(frames[:, -K:], acted), fast.look_ahead(frames[:, -K:].clone(), acted)
        )


def test_what_cannot_be_compiled_is_used_as_it_is_and_said_so(monkeypatch, caplog):
    def fails(*args, **options):
        raise RuntimeError("no C++ compiler\nat length")

    monkeypatch.setattr(torch._inductor, "compile", fails)
    assert compiled(torch.nn.Linear(3, 2), (3,)) is None
    assert "compile=true: RuntimeError: no C++ compiler; predicting without compilation" in caplog.text
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    prepared, plain = (PreparedModel(make(), central=True, compile=asked) for asked in (True, False))
    assert not prepared.is_compiled
    assert torch.equal(predict(prepared).obs, predict(plain).obs), (
        "bfloat16 without its compiler would only cost accuracy"
    )


@pytest.mark.parametrize(
    ("central", "there", "model", "match"),
    [
        (False, True, {}, "particles=0"),
        (True, True, {"name": "diffusion"}, "more than one pass of diffusion"),
        (True, False, {}, "multiplies bfloat16"),
        (True, True, {"precision": "float32"}, "model.precision auto or bfloat16"),
    ],
)
def test_where_compiling_has_no_effect_says_so(monkeypatch, caplog, central, there, model, match):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: there)
    with caplog.at_level(logging.WARNING):
        prepared = PreparedModel(make(**model), central=central, compile=True)
    assert not prepared.is_compiled
    assert "compile=true has no effect" in caplog.text
    assert match in caplog.text


def test_a_compiled_contender_that_was_not_compiled_is_not_timed(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: False)
    assert list(make_models((OURS, COMPILED), SPEC, width=8, device=CPU)) == [OURS]
