"""The commands behind the command line, and what each shows at its end.

Apart from `drift_wm.cli`, because what is imported here takes seconds to load and may fail on a machine that is not
set up for MuJoCo.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from drift_wm.acting.collect import collect
from drift_wm.acting.evaluate import evaluate
from drift_wm.bench.aggregates import sentences
from drift_wm.bench.cells import GridResults, read_grid
from drift_wm.bench.grid import unfinished
from drift_wm.bench.plots import curves_figure, decision_figure
from drift_wm.bench.report import TIMES_CAPTION, Plot, bench_tables, curves_caption, write_bench_page
from drift_wm.bench.results import as_table, table
from drift_wm.bench.settings import BenchSettings
from drift_wm.bench.suite import bench
from drift_wm.build import prepare_machine
from drift_wm.configs.schema import read_settings
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.demonstrations.suite import compare_on_demonstrations
from drift_wm.diagnosis.diagnose import diagnose
from drift_wm.diagnosis.plots import save_plots
from drift_wm.diagnosis.report import print_diagnosis, write_diagnosis_page
from drift_wm.diagnosis.settings import DiagnoseSettings
from drift_wm.learning.distributed import joined, ranks_of
from drift_wm.learning.online import online
from drift_wm.learning.train import train
from drift_wm.lineage.measure import lineage_table, measure_lineage
from drift_wm.lineage.plots import lineage_figure
from drift_wm.lineage.settings import LineageSettings
from drift_wm.models.learned import POLICY
from drift_wm.plots import save
from drift_wm.recordings.convert import convert
from drift_wm.recordings.inspection import inspect, show
from drift_wm.recordings.plots import divergence_figure, strip_figure, trajectories_figure
from drift_wm.recordings.remarks import first_of
from drift_wm.recordings.replay import replay
from drift_wm.recordings.report import show_replay
from drift_wm.recordings.settings import ConvertSettings, InspectSettings, ReplaySettings
from drift_wm.report import evaluation_table, training_table
from drift_wm.results import Evaluation, standard_error
from drift_wm.settings import CollectSettings, EvaluateSettings, OnlineSettings, TrainSettings
from drift_wm.speed.plots import speed_figure
from drift_wm.speed.settings import SpeedSettings
from drift_wm.speed.suite import speed
from drift_wm.speed.timing import machine_of
from drift_wm.storage.run_folder import RunFolder, describe_environment, read_json, write_json
from drift_wm.storage.units import TABLES
from drift_wm.storage.writing import write_text
from drift_wm.terminal import say
from drift_wm.truth.settings import TruthSettings
from drift_wm.truth.suite import truth
from drift_wm.wording import counted, with_error


def run(command: str, settings: Any, folder: RunFolder) -> None:
    """Do one command's work in its folder and show the results.

    Args:
        command: one of `drift_wm.configs.schema.COMMANDS` but `lineage`.
        settings: the command's settings object.
        folder: the run folder.
    """
    ranks = ranks_of(command, settings.run_dir)
    _COMMANDS[command](settings, folder, Console(quiet=not ranks.first))


def show_lineage(settings: LineageSettings) -> None:
    """Measure a run's lineage, show the table, and write `lineage.json` and `lineage.png` into the run folder."""
    console = Console()
    lineage = measure_lineage(settings, device=prepare_machine(settings))
    console.print(lineage_table(lineage))
    if lineage.trail_ends:
        say(console, lineage.trail_ends)
    try:
        write_json(Path(settings.run) / "lineage.json", lineage.as_dict())  # first, as a plot can be drawn again
        save(lineage_figure(lineage), Path(settings.run) / "lineage.png")
    except PermissionError:
        say(console, f"lineage.json and lineage.png are not kept: {settings.run} cannot be written to")


def _online(settings: OnlineSettings, folder: RunFolder, console: Console) -> None:
    _show_results(online(settings, folder, device=prepare_machine(settings)), folder, console)


def _evaluate(settings: EvaluateSettings, folder: RunFolder, console: Console) -> None:
    _show_results(evaluate(settings, folder, device=prepare_machine(settings)), folder, console)


def _collect(settings: CollectSettings, folder: RunFolder, console: Console) -> None:
    results = collect(settings, folder, device=prepare_machine(settings))
    mean, _ = with_error(results["mean_return"], standard_error(results["returns"]))
    say(console, f"{counted(results['episodes'], 'episode')}, mean return {mean}: {results['file']}")


def _train(settings: TrainSettings, folder: RunFolder, console: Console) -> None:
    ranks, device = ranks_of("train", settings.run_dir), prepare_machine(settings)
    with joined(ranks, device):
        results = train(settings, folder, device=device, ranks=ranks)
    units = "standardised actions" if settings.kind == POLICY else "standard deviations of changes and rewards"
    counts = {name: results[f"{name}_episodes"] for name in ("training", "held_out")}
    console.print(training_table(results["metrics"], units=units, **counts))


def _truth(settings: TruthSettings, folder: RunFolder, console: Console) -> None:
    truth(settings, folder)
    console.print(Markdown((folder.path / TABLES).read_text()))


def _bench_demonstrations(settings: DemonstrationsSettings, folder: RunFolder, console: Console) -> None:
    compare_on_demonstrations(settings, folder)
    console.print(Markdown((folder.path / TABLES).read_text()))


def _convert(settings: ConvertSettings, folder: RunFolder, console: Console) -> None:
    results = convert(settings, folder)
    say(console, f"{counted(results['converted'], 'demonstration')}: {results['file']}")
    if absent := results["not_written"]:
        say(console, f"not written: {', '.join(absent)}")
    if share := results["actions_beyond_bounds"]:
        note = (
            f"{share:.1%} of the actions' entries lie beyond action_low and action_high, and beyond [-1, 1] in the file"
        )
        say(console, f"{note}: are these the robot's bounds?")
    left_out = [f"left out, as it cannot be read: {told}" for told in results["left_out"]]
    for note in (*results["notes"], *first_of(left_out)):
        say(console, f"note: {note}")


def _diagnose(settings: DiagnoseSettings, folder: RunFolder, console: Console) -> None:
    diagnosis = diagnose(settings, folder, device=prepare_machine(settings))
    plots = save_plots(diagnosis, folder.path)
    page = write_diagnosis_page(folder.path, diagnosis, plots, settings=settings, environment=describe_environment())
    print_diagnosis(console, diagnosis)
    say(console, str(page))


def _speed(settings: SpeedSettings, folder: RunFolder, console: Console) -> None:
    rows = speed(settings, folder, device=prepare_machine(settings))
    console.print(Markdown((folder.path / TABLES).read_text()))
    if scaling := [row for row in rows if row.part == "scaling"]:
        machine = machine_of(read_json(folder.path / "results.json", dict))
        save(speed_figure(scaling, machine=machine), folder.path / "speed.png")


def _bench(settings: BenchSettings, folder: RunFolder, console: Console) -> None:
    try:
        results = bench(settings, folder, compose=lambda overrides: read_settings("online", overrides))
    except FloatingPointError:  # of some cells, and the others are done
        _show_grid(read_grid(folder.path / "results.json"), settings, folder, console)
        raise
    _show_grid(results, settings, folder, console)


def _show_grid(results: GridResults, settings: BenchSettings, folder: RunFolder, console: Console) -> None:
    """The table of what is finished, learning curves and a page."""
    rows = table(results, suite=settings.suite)
    found = [*sentences(results, suite=settings.suite), *unfinished(settings, results)]
    if not results.cells:
        console.print(as_table(rows))
        console.print("No run of the grid is finished yet, so that there are no curves and no page.")
        return
    curves, times = folder.path / "learning_curves.png", folder.path / "decision_time.png"
    save(curves_figure(results, suite=settings.suite), curves)
    save(decision_figure(results.cells, suite=settings.suite), times)
    page = write_bench_page(
        folder.path,
        results,
        rows,
        found,
        [
            Plot(curves, "Learning", curves_caption(results.cells)),
            Plot(times, "Return and decision time", TIMES_CAPTION),
        ],
        settings=settings,
        environment=describe_environment(),
    )
    write_text(folder.path / TABLES, bench_tables(rows, found))
    console.print(as_table(rows))
    for line in found:
        say(console, line)
    say(console, str(page))


def _inspect(settings: InspectSettings, folder: RunFolder, console: Console) -> None:
    found = inspect(settings, folder)
    show(found, console)
    figures = {"trajectories": trajectories_figure(found)}
    for strip in found.strips:
        name = re.sub(r"[^\w.-]", "_", strip.camera)  # a file says what its cameras are called
        figures[f"camera_{name}"] = strip_figure(strip, found.description.decision_seconds)
    for name, figure in figures.items():
        plot = folder.path / f"{name}.png"
        save(figure, plot)
        say(console, str(plot))


def _replay(settings: ReplaySettings, folder: RunFolder, console: Console) -> None:
    found = replay(settings, folder)
    show_replay(found, console)
    plot = folder.path / "divergence.png"
    save(divergence_figure(found), plot)
    say(console, str(plot))


def _show_results(results: dict[str, Any], folder: RunFolder, console: Console) -> None:
    """The table of an evaluation, and what a person wants to know besides."""
    console.print(evaluation_table([Evaluation.from_dict(row) for row in results["evaluations"]]))
    if ms := results.get("decision_ms"):
        say(console, f"decision time, one environment: p50 {ms['p50']:.1f} ms, p95 {ms['p95']:.1f} ms")
    for name in ("report.html", "learning_curve.png", "best_episode.mp4", "episodes.mp4"):
        if (folder.path / name).exists():
            say(console, str(folder.path / name))


_COMMANDS: dict[str, Callable[[Any, RunFolder, Console], None]] = {
    "demo": _online,
    "online": _online,
    "evaluate": _evaluate,
    "collect": _collect,
    "train": _train,
    "diagnose": _diagnose,
    "truth": _truth,
    "speed": _speed,
    "bench": _bench,
    "bench-demonstrations": _bench_demonstrations,
    "data-inspect": _inspect,
    "data-convert": _convert,
    "data-replay": _replay,
}
