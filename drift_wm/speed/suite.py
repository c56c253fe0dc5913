"""`drift-wm speed`: the parts of the measurement, one after the other, each kept when it is finished."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from drift_wm.env_settings import EnvSettings
from drift_wm.envs.dm_control import DmControlEnv, benchmark_tasks, make_dm_control
from drift_wm.envs.simulator import SimulatorWorldModel
from drift_wm.interfaces import History, Spec, WorldModel
from drift_wm.planners.factory import make_planner
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.mppi import MPPIConfig
from drift_wm.planners.objectives import PredictedReturn
from drift_wm.planners.risk import Mean
from drift_wm.planners.scoring import make_score
from drift_wm.progress import Task, track
from drift_wm.results import SIMULATOR
from drift_wm.speed.breakdown import breakdown
from drift_wm.speed.contenders import CONTENDERS, OURS, UNCOMPILED, Decider, make_model, make_models, make_policy
from drift_wm.speed.limits import flops_of, multiplier, products_of
from drift_wm.speed.outside import PYTORCH_MPPI, is_there, outside_decider
from drift_wm.speed.ratios import RATIOS, compared, ratios_of, read_ratios
from drift_wm.speed.readers import BATCH, BATCHES, CHUNK, HISTORY, reader_calls, robomimic_is_there
from drift_wm.speed.settings import Budget, SpeedSettings
from drift_wm.speed.tables import markdown
from drift_wm.speed.timing import SpeedRow, Steps, interleave, machine_of
from drift_wm.speed.training_loops import STEPS, training_calls
from drift_wm.storage.run_folder import RunFolder, describe_environment, write_json
from drift_wm.storage.units import TABLES
from drift_wm.storage.writing import write_text

logger = logging.getLogger(__name__)

LIMIT, BFLOAT16_LIMIT = "matrix products alone", "matrix products alone, bfloat16"
ITERATION = Budget("", 512, 20, 1)
"""What the simulator is asked, in part `simulator`."""
CANDIDATES, HORIZONS = (64, 128, 256, 512, 1024), (10, 20, 40)
"""Of part `scaling`, on the last budget's task with 1 iteration."""
SCALED = (OURS, "regression", "diffusion, 5 steps", "diffusion, 20 steps")
MPPI_BUDGET = Budget("cartpole-swingup", 256, 50, 1)
SMALL = Budget("", 64, 20, 2)
"""A second budget of part `batch`: where a decision is small, planning several together pays."""


def speed(settings: SpeedSettings, folder: RunFolder, *, device: torch.device) -> list[SpeedRow]:
    """Measure every part that was asked for and that the folder does not hold yet.

    Args:
        settings: what to measure.
        folder: receives `results.json` with every repetition, `ratios.json` and `tables.md`, all after each part.
        device: of the learned models.

    Raises:
        ValueError: the ratios to compare with cannot be read, or the folder holds times of another machine.
    """
    before = None if settings.against is None else read_ratios(Path(settings.against))
    machine = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "environment": describe_environment(),
    }
    rows = _kept(folder, machine_of(machine))
    parts: dict[str, Callable[[SpeedSettings, torch.device, Task], list[SpeedRow]]] = {
        "decisions": _decisions,
        "simulator": _simulator,
        "mppi": _mppi,
        "batch": _batch,
        "training": _training,
        "readers": _readers,
        "scaling": _scaling,
        "suite": _suite,
    }
    for part in settings.parts:
        if any(row.part == part for row in rows):
            logger.info("speed: part %s has been measured; to measure it anew, set run_dir to another folder", part)
        else:
            with track(f"speed: {part}", _rounds(part, settings)) as task:
                found = parts[part](settings, device, task)
            if found or not rows:  # of a part that is left out there is nothing to add
                rows += found
                written = [row.as_dict() for row in rows]
                folder.write_results({"command": "speed", "settings": asdict(settings), **machine, "rows": written})
        ratios = ratios_of(rows)
        write_json(folder.path / RATIOS, ratios)
        write_text(folder.path / TABLES, markdown(rows) + ("\n" + compared(ratios, before) if before else ""))
    return rows


def _kept(folder: RunFolder, machine: str) -> list[SpeedRow]:
    """What an earlier run measured, on this machine."""
    if (results := folder.read_results()) is None:
        return []
    if (there := machine_of(results)) != machine:
        raise ValueError(f"{folder.path} holds times of {there}, and this is {machine}; choose another run_dir")
    return [SpeedRow.from_dict(row) for row in results["rows"]]


def _rounds(part: str, settings: SpeedSettings) -> int:
    """Rounds of contenders in a part."""
    cases = {
        "decisions": len(settings.budgets),
        "simulator": len(settings.simulator_tasks),
        "mppi": 1,
        "batch": 4 * len(settings.budgets),
        "training": len(settings.budgets),
        "readers": 1,
        "scaling": len(CANDIDATES) * len(HORIZONS),
        "suite": len(benchmark_tasks()),
    }
    return cases[part] * (settings.repeats + 1)


def _decisions(settings: SpeedSettings, device: torch.device, task: Task) -> list[SpeedRow]:
    """Every contender on every budget, beside the limit; and where our time goes."""
    rows, step = [], Steps(task)
    for budget in map(Budget.read, settings.budgets):
        step.note, case = str(budget), str(budget)
        spec, planner = _spec_of(budget.task), budget.planner()
        models = make_models(CONTENDERS, spec, width=settings.width, device=device)
        products = products_of(models[OURS], make_planner(planner, spec.action_size))
        calls: dict[str, Callable[[], object]] = {
            name: Decider(
                make_policy(model, planner, particles=CONTENDERS[name].particles, device=device), device=device
            )
            for name, model in models.items()
        }
        calls[LIMIT] = multiplier(products, dtype=torch.float32, device=device)
        calls[BFLOAT16_LIMIT] = multiplier(products, dtype=torch.bfloat16, device=device)
        times = interleave(calls, repeats=settings.repeats, device=device, on_done=step)
        flops = {"flops": flops_of(products)}
        facts = {LIMIT: flops, BFLOAT16_LIMIT: flops} | {
            name: breakdown(models[name], planner, particles=1, decisions=settings.repeats, device=device)
            for name in (OURS, UNCOMPILED)
        }
        rows += [SpeedRow("decisions", case, name, ms, facts.get(name, {})) for name, ms in times.items()]
    return rows


def _simulator(settings: SpeedSettings, device: torch.device, task: Task) -> list[SpeedRow]:
    """One planner iteration's candidates, scored by the simulator and by our model."""
    rows, step = [], Steps(task)
    for name in settings.simulator_tasks:
        step.note = name
        with _world(name) as env, SimulatorWorldModel(name, action_repeat=2, observe=False) as simulator:
            model = make_model(CONTENDERS[OURS], env.task_spec, width=settings.width, device=device)
            physics = torch.as_tensor(env.physics_state()).unsqueeze(0)
            shape = (1, ITERATION.candidates, ITERATION.horizon, env.task_spec.action_size)
            actions = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
            past = History(
                torch.zeros(1, 1, env.task_spec.observation_size), actions.new_zeros(1, 0, shape[3]), physics
            )
            calls = {
                OURS: _scorer(model, past, actions, device),
                SIMULATOR: _scorer(simulator, past, actions, torch.device("cpu")),
            }
            # After the simulator, whose threads are its own, a call of 2.3 ms took 21 to 29 in three of seven rounds.
            times = interleave(calls, repeats=settings.repeats, device=device, settle=True, on_done=step)
        case = f"{name}, {ITERATION.candidates} x {ITERATION.horizon}"
        rows += [SpeedRow("simulator", case, contender, ms) for contender, ms in times.items()]
    return rows


def _scorer(model: WorldModel, past: History, actions: torch.Tensor, device: torch.device) -> Callable[[], object]:
    here = History(past.obs.to(device), past.actions.to(device), past.physics)
    candidates, rng = actions.to(device), torch.Generator(device)
    score = make_score(model, PredictedReturn(), Mean(), here, particles=1, rng=rng)
    return lambda: score(candidates)


def _mppi(settings: SpeedSettings, device: torch.device, task: Task) -> list[SpeedRow]:
    """Our MPPI, a step at a time and in chunks, beside another package's with the same network."""
    if not is_there():
        logger.warning("speed: pytorch-mppi is not installed, so part mppi is left out; pip install 'drift-wm[mppi]'")
        return []
    spec, step = _spec_of(MPPI_BUDGET.task), Steps(task)
    planner = MPPIConfig(candidates=MPPI_BUDGET.candidates, horizon=MPPI_BUDGET.horizon, iterations=1)
    models = make_models((OURS, UNCOMPILED, "drifting, k = 1"), spec, width=settings.width, device=device)
    calls: dict[str, Callable[[], object]] = {
        name: Decider(make_policy(model, planner, particles=1, device=device), device=device)
        for name, model in models.items()
    }
    calls[PYTORCH_MPPI] = outside_decider(spec, MPPI_BUDGET, width=settings.width, device=device)
    times = interleave(calls, repeats=settings.repeats, device=device, on_done=step)
    return [SpeedRow("mppi", str(MPPI_BUDGET), name, ms) for name, ms in times.items()]


def _batch(settings: SpeedSettings, device: torch.device, task: Task) -> list[SpeedRow]:
    """Several environments in one call, and one after the other."""
    rows, step, count = [], Steps(task), settings.environments
    for budget in map(Budget.read, settings.budgets):
        for spent in (budget, replace(SMALL, task=budget.task)):
            step.note = str(spent)
            models = make_models((OURS, UNCOMPILED), _spec_of(spent.task), width=settings.width, device=device)
            for name, model in models.items():
                policy = make_policy(model, spent.planner(), particles=1, device=device)
                together, alone = Decider(policy, environments=count, device=device), Decider(policy, device=device)
                calls: dict[str, Callable[[], object]] = {
                    f"{count} environments in one call": together,
                    f"{count} calls": _repeated(alone, count),
                }
                times = interleave(calls, repeats=settings.repeats, device=device, on_done=step)
                case = str(spent) if name == OURS else f"{spent}, not compiled"
                rows += [SpeedRow("batch", case, contender, ms) for contender, ms in times.items()]
    return rows


def _repeated(call: Callable[[], object], times: int) -> Callable[[], object]:
    def repeat() -> None:
        for _ in range(times):
            call()

    return repeat


def _training(settings: SpeedSettings, device: torch.device, task: Task) -> list[SpeedRow]:
    """Steps of our trainer beside those of plain loops, on shapes of the budgets' tasks."""
    rows, step = [], Steps(task)
    for name in dict.fromkeys(Budget.read(budget).task for budget in settings.budgets):
        step.note = name
        calls = training_calls(_spec_of(name), width=settings.width, device=device)
        times = interleave(calls, repeats=settings.repeats, device=device, on_done=step)
        rows += [
            SpeedRow("training", name, contender, tuple(value / STEPS for value in ms))
            for contender, ms in times.items()
        ]
    return rows


def _readers(settings: SpeedSettings, device: torch.device, task: Task) -> list[SpeedRow]:
    """Batches of training windows, by our reader and by robomimic's."""
    if not robomimic_is_there():
        logger.warning("speed: robomimic is not installed, so part readers is left out; see drift-wm[robomimic]")
        return []
    with TemporaryDirectory() as folder:
        calls = reader_calls(Path(folder) / "demos.hdf5")
    times = interleave(calls, repeats=settings.repeats, device=device, on_done=Steps(task))
    case, facts = f"{HISTORY} + {CHUNK} steps, {BATCH} a batch", {"windows": float(BATCH * BATCHES)}
    return [SpeedRow("readers", case, name, ms, facts) for name, ms in times.items()]


def _scaling(settings: SpeedSettings, device: torch.device, task: Task) -> list[SpeedRow]:
    """Decision time against candidates and horizon."""
    rows, step = [], Steps(task)
    name = Budget.read(settings.budgets[-1]).task
    models = {
        contender: make_model(CONTENDERS[contender], _spec_of(name), width=settings.width, device=device)
        for contender in SCALED
    }
    for horizon in HORIZONS:
        for candidates in CANDIDATES:
            budget = Budget(name, candidates, horizon, 1)
            step.note = str(budget)
            calls = {
                contender: Decider(make_policy(model, budget.planner(), particles=1, device=device), device=device)
                for contender, model in models.items()
            }
            times = interleave(calls, repeats=settings.repeats, device=device, on_done=step)
            facts = {"candidates": float(candidates), "horizon": float(horizon)}
            rows += [SpeedRow("scaling", str(budget), contender, ms, facts) for contender, ms in times.items()]
    return rows


def _suite(settings: SpeedSettings, device: torch.device, task: Task) -> list[SpeedRow]:
    """The default planner's decision on every benchmark task, beside the time between two decisions."""
    rows, step = [], Steps(task)
    for name in benchmark_tasks():
        step.note, spec = name, _spec_of(name)
        model = make_model(CONTENDERS[OURS], spec, width=settings.width, device=device)
        decide = Decider(make_policy(model, ICEMConfig(), particles=1, device=device), device=device)
        times = interleave({OURS: decide}, repeats=settings.repeats, device=device, on_done=step)
        rows.append(SpeedRow("suite", name, OURS, times[OURS], {"decision_seconds": spec.decision_seconds}))
    return rows


def _spec_of(task: str) -> Spec:
    with _world(task) as env:
        return env.task_spec


@contextmanager
def _world(task: str) -> Iterator[DmControlEnv]:
    """The environment at the start of an episode, at the default action repeat."""
    env = make_dm_control(task, action_repeat=EnvSettings().action_repeat)
    try:
        env.reset(seed=0)
        yield env
    finally:
        env.close()
