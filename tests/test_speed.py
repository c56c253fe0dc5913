"""`drift-wm speed`: what is timed, how it is counted, and what the tables say."""

import copy
import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from drift_wm.cli import main
from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Batch, Spec
from drift_wm.planners.factory import make_planner
from drift_wm.speed import outside, readers, suite, timing, training_loops
from drift_wm.speed.breakdown import SHARES, breakdown
from drift_wm.speed.contenders import (
    CONTENDERS,
    OURS,
    UNCOMPILED,
    Contender,
    Decider,
    make_learned,
    make_model,
    make_policy,
)
from drift_wm.speed.limits import flops_of, multiplier, products_of
from drift_wm.speed.plots import speed_figure
from drift_wm.speed.ratios import compared, ratios_of, read_ratios
from drift_wm.speed.settings import PARTS, Budget, SpeedSettings
from drift_wm.speed.tables import markdown
from drift_wm.speed.timing import SpeedRow, interleave, machine_of
from drift_wm.speed.training_loops import OUR_TRAINING, PLAIN, PLAIN_GATHERED, STEPS, plain_loss, training_calls
from drift_wm.storage import run_folder
from drift_wm.storage.run_folder import RunFolder

CPU = torch.device("cpu")
SPEC = Spec(observation_size=5, action_size=1, decision_seconds=0.02)
TINY = Budget("cartpole-swingup", 32, 10, 2)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"parts": ["decision"]}, "parts=.*'decision'.*expected some of 'decisions'"),
        ({"parts": []}, "parts="),
        ({"budgets": []}, "expected at least one"),
        ({"budgets": ["walker-walk"]}, "budgets='walker-walk': expected task:candidates"),
        ({"budgets": ["walker-walk:512x25x6"]}, "multiples of 10"),
        ({"budgets": ["walker-walk:512x0x6"]}, "multiples of 10"),
        ({"budgets": ["walker-walk:10x20x6"]}, "planner.candidates=10: expected at least"),
        ({"repeats": 0}, "repeats=0: expected an integer of at least 1"),
        ({"environments": 1}, "environments=1"),
        ({"width": -1}, "width=-1"),
        ({"threads": -1}, "threads=-1"),
    ],
)
def test_what_cannot_be_measured_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        SpeedSettings(**asked)


def test_a_budget_is_read_and_spent_in_full():
    budget = Budget.read("walker-walk:512x20x6")
    assert budget == Budget("walker-walk", 512, 20, 6)
    assert str(budget) == "walker-walk, 512 x 20 x 6"
    assert make_planner(budget.planner(), 6).populations == (512,) * 6


def test_calls_alternate_and_the_first_round_is_not_counted():
    order, rounds = [], []
    times = interleave(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        repeats=3,
        device=CPU,
        on_done=lambda: rounds.append(1),
    )
    assert order == ["a", "b"] * 4
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert len(rounds) == 4


def test_a_call_that_settles_first_does_not_pay_for_the_one_before(monkeypatch):
    """A clock by which each of two costs a second by itself, and ten after the other."""
    clock, last = [0.0], [""]

    def call(name):
        clock[0] += 1.0 if last[0] == name else 10.0
        last[0] = name

    monkeypatch.setattr(timing, "now", lambda device: clock[0])
    calls = {name: partial(call, name) for name in ("simulator", "model")}
    assert interleave(calls, repeats=2, device=CPU) == dict.fromkeys(calls, (10000.0, 10000.0))
    assert interleave(calls, repeats=2, device=CPU, settle=True) == dict.fromkeys(calls, (1000.0, 1000.0))


def test_a_row_is_judged_by_its_median_and_quartiles():
    row = SpeedRow("decisions", "case", OURS, (1.0, 2.0, 3.0, 4.0, 100.0))
    assert (row.median, row.spread) == (3.0, 1.0)
    once = SpeedRow("suite", "a-b", OURS, (3.0,), {"decision_seconds": 0.02})
    assert once.as_dict()["spread_ms"] is None
    assert "| a-b | 3.00 | 20 | yes |" in markdown([once]), "a single repetition has no spread, not one of zero"
    several = replace(once, ms=(1.0, 2.0, 3.0, 4.0, 100.0))
    assert "| a-b | 3.00 ± 1.00 | 20 | yes |" in markdown([several])
    assert row.as_dict()["median_ms"] == 3.0


def test_the_products_of_a_decision_are_counted_by_hand():
    model = make_model(CONTENDERS[OURS], SPEC, width=16, device=CPU)
    planner = make_planner(TINY.planner(), 1)
    products = products_of(model, planner)
    one_pass = [(32, 5 + 5, 16), (32, 16, 16), (32, 16, 16), (32, 16, 5 + 5)]
    assert products == one_pass * 4, "2 iterations of 2 chunks; of 5 rewards and the last of 5 observations"
    assert flops_of(products) == 2 * 32 * (10 * 16 + 2 * 16 * 16 + 16 * 10) * 4
    multiplier(products, dtype=torch.float32, device=CPU)()


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_decides_again_and_again(name):
    contender = CONTENDERS[name]
    model = make_model(contender, SPEC, width=8, device=CPU)
    decide = Decider(make_policy(model, TINY.planner(), particles=min(contender.particles, 5), device=CPU), device=CPU)
    before = decide._state
    decide()
    decide()
    assert decide._state.step == 2
    assert not torch.equal(decide._state.plan.mean, before.plan.mean)


def test_shares_of_a_decision_are_named_and_the_network_takes_its_own():
    model = make_model(CONTENDERS[OURS], SPEC, width=128, device=CPU)
    shares = breakdown(model, TINY.planner(), particles=1, decisions=3, device=CPU)
    assert tuple(shares) == SHARES
    assert shares["network"] > shares["objective"] > 0
    assert shares["sampling"] > 0


def rows() -> list[SpeedRow]:
    return [
        SpeedRow("decisions", "c", OURS, (10.0,), dict(zip(SHARES, (1.0, 8.0, 0.5, 0.5), strict=True))),
        SpeedRow("decisions", "c", "diffusion, 20 steps", (150.0,)),
        SpeedRow("decisions", "c", suite.LIMIT, (6.0,), {"flops": 1e9}),
        SpeedRow("decisions", "c", suite.BFLOAT16_LIMIT, (5.0,), {"flops": 1e9}),
        SpeedRow("simulator", "walker", OURS, (2.0,)),
        SpeedRow("simulator", "walker", suite.SIMULATOR, (90.0,)),
        SpeedRow("mppi", "c", OURS, (4.0,)),
        SpeedRow("mppi", "c", outside.PYTORCH_MPPI, (20.0,)),
        SpeedRow("batch", "c", "16 environments in one call", (20.0,)),
        SpeedRow("batch", "c", "16 calls", (50.0,)),
        SpeedRow("readers", "c", readers.OUR_READER, (2.0,), {"windows": 1000.0}),
        SpeedRow("readers", "c", readers.ROBOMIMIC, (25.0,), {"windows": 1000.0}),
        SpeedRow("scaling", "walker-walk, 64 x 10 x 1", OURS, (1.0,), {"candidates": 64.0, "horizon": 10.0}),
        SpeedRow("scaling", "walker-walk, 128 x 10 x 1", OURS, (2.0,), {"candidates": 128.0, "horizon": 10.0}),
        SpeedRow("suite", "cartpole-swingup", OURS, (19.0,), {"decision_seconds": 0.02}),
        SpeedRow("suite", "acrobot-swingup", OURS, (21.0,), {"decision_seconds": 0.02}),
    ]


def test_tables_say_ratios_shares_and_who_is_late():
    text = markdown(rows())
    assert "| diffusion, 20 steps | 150.0 | 15.00 |" in text
    assert "outside the network 20%" in text
    assert "1.00 GFLOP take 5.00 ms alone (200 GFLOP/s)." in text
    assert f"Where the time of {OURS} goes: sampling 1.00 ms" in text
    assert "A decision reaches 50% of the products' speed." in text
    assert "| walker | 2.00 | 90.0 | 45.0 |" in text
    assert f"| {outside.PYTORCH_MPPI} | 20.0 | 5.00 |" in text
    assert "| c | 20.0 | 50.0 | 2.5 |" in text
    assert f"| {readers.OUR_READER} | 2.00 | 500,000 | 1.0 |" in text
    assert f"| {readers.ROBOMIMIC} | 25.0 | 40,000 | 12.5 |" in text
    assert "| cartpole-swingup | 19.0 | 20 | yes |" in text
    assert "| acrobot-swingup | 21.0 | 20 | NO |" in text
    assert "### Several" not in markdown([row for row in rows() if row.part == "suite"])


def test_the_plot_has_a_panel_for_each_horizon_and_a_line_for_each_contender():
    other = SpeedRow("scaling", "o", "regression", (1.0,), {"candidates": 64.0, "horizon": 20.0})
    figure = speed_figure([*(row for row in rows() if row.part == "scaling"), other], machine="Xeon, 2 threads")
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "walker-walk, o, on Xeon, 2 threads"
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"horizon of {horizon} decisions" for horizon in (10, 20)
    ]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [1.0, 2.0]


def test_the_machine_is_what_computed():
    results = {"device": "cpu", "threads": 1, "environment": {"processor": "Xeon"}}
    assert machine_of(results) == "Xeon, 1 thread"
    assert machine_of({**results, "device": "NVIDIA H100"}) == "NVIDIA H100"


def test_without_pytorch_mppi_its_part_is_left_out_and_said_so(monkeypatch, caplog):
    monkeypatch.setattr(suite, "is_there", lambda: False)
    assert suite._mppi(SpeedSettings(), CPU, None) == []
    assert "pip install 'drift-wm[mppi]'" in caplog.text


def test_without_robomimic_its_part_is_left_out_and_said_so(monkeypatch, caplog):
    monkeypatch.setattr(suite, "robomimic_is_there", lambda: False)
    assert suite._readers(SpeedSettings(), CPU, None) == []
    assert "robomimic is not installed" in caplog.text


def test_our_reader_draws_every_batch_from_the_file(tmp_path, monkeypatch):
    drawn, sample = [], readers.Windows.sample
    monkeypatch.setattr(readers.Windows, "sample", lambda *given: drawn.append(sample(*given)) or drawn[-1])
    monkeypatch.setattr(readers, "_robomimic_loader", lambda file: None)
    readers.reader_calls(tmp_path / "demos.hdf5")[readers.OUR_READER]()
    length = readers.HISTORY + readers.CHUNK
    assert [batch.obs.shape for batch in drawn] == [(readers.BATCH, length, 39)] * readers.BATCHES
    assert [batch.actions.shape for batch in drawn] == [(readers.BATCH, length - 1, 28)] * readers.BATCHES


@pytest.mark.skipif(not readers.robomimic_is_there(), reason="robomimic is not installed: drift-wm[robomimic]")
def test_robomimics_reader_draws_as_many_windows(tmp_path, monkeypatch):
    drawn, repeated = [], readers._repeated
    monkeypatch.setattr(readers, "_repeated", lambda loader: (drawn.append(each) or each for each in repeated(loader)))
    readers.reader_calls(tmp_path / "demos.hdf5")[readers.ROBOMIMIC]()
    assert [len(batch["actions"]) for batch in drawn] == [readers.BATCH] * readers.BATCHES
    assert {tuple(batch["obs"][readers.OBS_KEY].shape[2:]) for batch in drawn} == {(39,)}


def test_measures_and_keeps_every_part(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite, "ITERATION", Budget("", 8, 5, 1))
    monkeypatch.setattr(suite, "SMALL", Budget("", 26, 10, 1))
    monkeypatch.setattr(suite, "MPPI_BUDGET", Budget("cartpole-swingup", 24, 10, 1))
    monkeypatch.setattr(suite, "CANDIDATES", (24, 48))
    monkeypatch.setattr(suite, "HORIZONS", (10,))
    monkeypatch.setattr(suite, "benchmark_tasks", lambda: ["cartpole-swingup"])
    monkeypatch.setattr(suite, "CONTENDERS", {name: CONTENDERS[name] for name in (OURS, UNCOMPILED, *EXTRA)})
    monkeypatch.setattr(suite, "SCALED", (OURS,))
    settings = ["repeats=1", "width=8", 'budgets=["cartpole-swingup:24x10x1"]', "simulator_tasks=[cartpole-swingup]"]
    assert main(["speed", *settings, "environments=2", f"run_dir={tmp_path}"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    found = {row["part"] for row in results["rows"]}
    left_out = {"mppi": not outside.is_there(), "readers": not readers.robomimic_is_there()}
    assert found == set(PARTS) - {part for part, absent in left_out.items() if absent}
    assert all(len(row["ms"]) == 1 for row in results["rows"])
    assert results["threads"] == torch.get_num_threads()
    assert (tmp_path / "speed.png").stat().st_size > 0
    assert "The default planner on every benchmark task" in capsys.readouterr().out
    assert RunFolder(tmp_path).read_results() == results


def test_goes_on_with_the_parts_that_are_left(tmp_path, monkeypatch, capsys):
    done = []

    def measure(name, settings, device, task):
        if name in stopped:
            raise KeyboardInterrupt
        done.append(name)
        contenders = ("16 calls", "16 environments in one call") if name == "batch" else (OURS, suite.SIMULATOR)
        return [SpeedRow(name, "c", contender, (1.0,)) for contender in contenders]

    for name in ("simulator", "batch"):
        monkeypatch.setattr(suite, f"_{name}", partial(measure, name))
    arguments = ["speed", "parts=[simulator,batch]", "repeats=1", f"run_dir={tmp_path}"]
    stopped = ["batch"]
    assert main(arguments) == 130
    first = json.loads((tmp_path / "results.json").read_text())
    stopped = ["simulator"]
    assert main(arguments) == 0
    assert done == ["simulator", "batch"]
    whole = (tmp_path / "results.json").read_text()
    assert json.loads(whole)["rows"][:2] == first["rows"]
    (tmp_path / "tables.md").unlink()
    assert main(arguments) == 0
    assert done == ["simulator", "batch"], "once each"
    assert (tmp_path / "results.json").read_text() == whole
    assert "Several environments, together and one by one" in (tmp_path / "tables.md").read_text()


def test_times_of_another_machine_are_not_put_beside_those_of_this_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        suite, "_suite", lambda *given: [SpeedRow("suite", "a-b", OURS, (3.0,), {"decision_seconds": 1})]
    )
    arguments = ["speed", "parts=[suite]", f"run_dir={tmp_path}"]
    assert main(arguments) == 0
    kept = (tmp_path / "results.json").read_text()
    monkeypatch.setattr(run_folder, "_processor", lambda: "Abacus")
    assert main(arguments) == 2
    assert "and this is Abacus, 1 thread; choose another run_dir" in capsys.readouterr().err
    assert (tmp_path / "results.json").read_text() == kept


EXTRA = ("drifting, k = 1", "diffusion, 5 steps")


def test_ratios_are_those_to_ours_or_to_the_first_of_a_case():
    rows = [
        SpeedRow("decisions", "a", "regression", (3.0,)),
        SpeedRow("decisions", "a", OURS, (2.0,)),
        SpeedRow("batch", "a", "together", (4.0,)),
        SpeedRow("batch", "a", "alone", (10.0,)),
        SpeedRow("suite", "cup", OURS, (1.0,)),
    ]
    assert ratios_of(rows) == {f"decisions: a: regression / {OURS}": 1.5, "batch: a: alone / together": 2.5}


def test_a_ratio_that_fell_is_marked():
    table = compared({"a": 1.0, "b": 1.9, "new": 3.0}, {"a": 1.4, "b": 2.0, "gone": 1.0})
    assert "| a | 1.40 | 1.00 | SLOWER |" in table
    assert "| b | 2.00 | 1.90 |  |" in table
    assert "new" not in table
    assert "gone" not in table


@pytest.mark.parametrize("way", [UNCOMPILED, "drifting, k = 1"])
@pytest.mark.parametrize(("before", "now", "mark"), [(0.5, 0.35, ""), (0.5, 1.0, "SLOWER"), (0.5, 0.6, "")])
def test_a_way_of_ours_that_takes_longer_beside_the_first_is_marked(way, before, now, mark):
    name = f"decisions: cartpole-swingup, 256 x 50 x 4: {way} / {OURS}"
    assert f"| {name} | {before:.2f} | {now:.2f} | {mark} |" in compared({name: now}, {name: before})


def test_a_rival_with_our_network_is_no_way_of_ours():
    name = f"mppi: cartpole-swingup, 256 x 50 x 1: {outside.PYTORCH_MPPI} / {OURS}"
    assert f"| {name} | 4.57 | 3.00 | SLOWER |" in compared({name: 3.0}, {name: 4.57})


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": "fast"}', '{"a": 0}'])
def test_ratios_that_are_none_are_refused(tmp_path, content):
    file = tmp_path / "ratios.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"against=.*ratios\.json.*expected"):
        read_ratios(file)


def test_a_missing_file_of_ratios_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"against=.*expected the ratios\.json"):
        read_ratios(tmp_path / "none.json")


@pytest.mark.parametrize("siblings", [2, 3])
def test_the_plain_loop_has_the_loss_and_gradient_of_our_training(siblings):
    contender = Contender(GeneratorConfig("drifting", siblings=siblings), chunk=3)
    model = make_learned(contender, SPEC, width=16, device=CPU)
    rng = torch.Generator().manual_seed(1)
    batch = Batch(
        torch.randn(7, 4, 5, generator=rng), torch.randn(7, 3, 1, generator=rng), torch.randn(7, 3, generator=rng)
    )
    found = []
    for loss_of in (lambda rng: model.loss(batch, rng=rng), lambda rng: plain_loss(model, batch, rng=rng)):
        model.zero_grad()
        loss = loss_of(torch.Generator().manual_seed(2))
        loss.backward()
        found.append([loss.detach(), *(parameter.grad for parameter in model.parameters())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_every_training_loop_trains(monkeypatch):
    trainers, trainer = [], training_loops.Trainer
    monkeypatch.setattr(
        training_loops, "Trainer", lambda *given, **named: trainers.append(trainer(*given, **named)) or trainers[-1]
    )
    calls = training_calls(SPEC, width=8, device=CPU)
    models = {name: calls[name]._model for name in (PLAIN, PLAIN_GATHERED)}
    for name, model in (models | {OUR_TRAINING: trainers[0].model}).items():
        before = copy.deepcopy(model.generator.state_dict())
        calls[name]()
        after = model.generator.state_dict()
        assert all(not torch.equal(after[key], before[key]) for key, _ in model.generator.named_parameters()), name
    assert all(len(calls[name].losses) == STEPS for name in models)
    assert trainers[0].steps == STEPS
