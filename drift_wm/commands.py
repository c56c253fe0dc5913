"""The commands behind the command line, and what each shows at its end.

Apart from `drift_wm.cli`, because what is imported here takes seconds to load and may fail on a machine that is not
set up for MuJoCo.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console

from drift_wm.bench import as_table, bench
from drift_wm.build import prepare_machine
from drift_wm.collect import collect
from drift_wm.configs.schema import read_settings
from drift_wm.evaluate import evaluate
from drift_wm.online import online
from drift_wm.report import evaluation_table
from drift_wm.results import Evaluation
from drift_wm.run_folder import RunFolder
from drift_wm.train import train


def run(command: str, settings: Any, folder: RunFolder) -> None:
    """Do one command's work in its folder and show the results.

    Args:
        command: `demo`, `collect`, `train`, `online`, `evaluate` or `bench`.
        settings: the command's settings object.
        folder: the run folder.
    """
    console = Console()
    if command == "bench":
        console.print(as_table(bench(settings, folder, compose=lambda overrides: read_settings("online", overrides))))
        return
    device = prepare_machine(settings)
    match command:
        case "demo" | "online":
            results = online(settings, folder, device=device)
        case "evaluate":
            results = evaluate(settings, folder, device=device)
        case "collect":
            results = collect(settings, folder, device=device)
        case "train":
            results = train(settings, folder, device=device)
        case _:
            raise AssertionError(command)
    if "evaluations" in results:
        console.print(evaluation_table([Evaluation.from_dict(row) for row in results["evaluations"]]))
    for line in _closing_lines(results, folder):
        console.print(line, highlight=False, soft_wrap=True)


def _closing_lines(results: dict[str, Any], folder: RunFolder) -> list[str]:
    """What a person wants to know at the end, besides the table."""
    lines = []
    if "decision_ms" in results:
        ms = results["decision_ms"]
        lines.append(f"decision time, one environment: p50 {ms['p50']:.1f} ms, p95 {ms['p95']:.1f} ms")
    if "metrics" in results:
        lines += [f"{name}: {value:.4g}" for name, value in results["metrics"].items()]
    if "file" in results:
        lines.append(f"{results['episodes']} episodes, mean return {results['mean_return']:.1f}: {results['file']}")
    for name in ("report.html", "learning_curve.png", "best_episode.mp4"):
        if (folder.path / name).exists():
            lines.append(f"{folder.path / name}")
    return lines
