"""The command line: `drift-wm <command> [setting=value ...]`."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from drift_wm import __version__
from drift_wm.bench import as_table, bench
from drift_wm.build import prepare_machine
from drift_wm.collect import collect
from drift_wm.configs.schema import COMMANDS, describe_settings, read_settings
from drift_wm.doctor import examine, render
from drift_wm.evaluate import evaluate
from drift_wm.online import online
from drift_wm.report import evaluation_table
from drift_wm.results import Evaluation
from drift_wm.run_folder import RunFolder, default_path
from drift_wm.train import train

SUMMARIES = {
    "demo": "Learn cartpole-swingup from nothing, beside chance and the true simulator; about 8 minutes on 2 cores.",
    "collect": "Record episodes to an HDF5 file in the robomimic schema.",
    "train": "Train a world model on a file of episodes.",
    "online": "Collect, train on from the last model, plan with it, repeat; then evaluate and report.",
    "evaluate": "Roll out a trained model's planner, the simulator's planner or a random policy.",
    "bench": "A grid of online runs: tasks x models x planners x seeds. Finished cells are skipped.",
    "doctor": "Say what this machine has, what is missing, and how to get it.",
}
EXAMPLES = {
    "demo": ("drift-wm demo", "drift-wm demo seed=2 run_dir=runs/my-demo"),
    "collect": (
        "drift-wm collect task=walker-walk episodes=20",
        "drift-wm collect task=cartpole-swingup actor=simulator planner=mppi planner.horizon=40 episodes=5",
    ),
    "train": (
        "drift-wm train data=demos.hdf5 steps=20000",
        "drift-wm train data=demos.hdf5 obs_keys=[robot0_eef_pos,object] mask=train model.chunk=8 model.history=2",
        "drift-wm train data=more.hdf5 parent=runs/train/first steps=2000",
    ),
    "online": (
        "drift-wm online task=cheetah-run planner.horizon=20 episodes=30",
        "drift-wm online task=cartpole-swingup planner=cem model=regression seed=1",
        "drift-wm online run_dir=runs/mine   # again after a stop: goes on where it was",
    ),
    "evaluate": (
        "drift-wm evaluate checkpoint=runs/mine episodes=10",
        "drift-wm evaluate actor=simulator task=cheetah-run planner.horizon=20 episodes=2",
    ),
    "bench": (
        "drift-wm bench run_dir=runs/bench",
        "drift-wm bench tasks=[cartpole-swingup,reacher-easy] models=[drifting,regression] seeds=[1,2,3,4,5]",
        """drift-wm bench 'overrides=["episodes=20","planner.horizon=20"]'""",
    ),
    "doctor": ("drift-wm doctor",),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status is returned.

    0: done. 1: the work failed. 2: the request was wrong. 130: interrupted; what was done is saved.
    """
    parsed = _parser().parse_args(arguments)
    _start_logging()
    if parsed.command == "doctor":
        return _doctor()
    try:
        settings = read_settings(parsed.command, parsed.settings)
        if parsed.show:
            sys.stdout.write(yaml.safe_dump(asdict(settings), sort_keys=False))
            return 0
        return _run(parsed.command, settings)
    except ValueError as error:
        return _fail(error, status=2)
    except (OSError, FloatingPointError) as error:
        return _fail(error, status=1)


def _run(command: str, settings: Any) -> int:
    """Do the work in its run folder, and print the folder last."""
    path = Path(settings.run_dir) if settings.run_dir else default_path(command, settings)
    folder = RunFolder(path)
    folder.write_config(command, settings)
    try:
        _work(command, settings, folder)
    except KeyboardInterrupt:
        sys.stderr.write(f"\ninterrupted; what was done is saved. To go on: same settings and run_dir={path}\n")
        return 130
    sys.stdout.write(f"{path}\n")
    return 0


def _work(command: str, settings: Any, folder: RunFolder) -> None:
    """One command, and what it shows on the terminal."""
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


def _doctor() -> int:
    findings = examine()
    Console().print(render(findings))
    return 1 if any(finding.ok is False for finding in findings) else 0


def _fail(error: Exception, *, status: int) -> int:
    sys.stderr.write(f"drift-wm: {error}\n")
    return status


def _start_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    package = logging.getLogger("drift_wm")
    package.handlers = [handler]
    package.setLevel(logging.INFO)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drift-wm",
        description="Drift-trained one-step world models and planning for robots.",
        epilog="`drift-wm COMMAND --help` lists a command's settings with examples.",
    )
    parser.add_argument("--version", action="version", version=f"drift-wm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in SUMMARIES.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=_epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in COMMANDS:
            command.add_argument(
                "settings",
                nargs="*",
                metavar="setting=value",
                help="Hydra overrides; all settings are listed below",
            )
            command.add_argument("--show", action="store_true", help="print the resolved settings and stop")
    return parser


def _epilog(command: str) -> str:
    """Examples, then every setting with its default and meaning."""
    lines = ["examples:", *(f"  {example}" for example in EXAMPLES[command])]
    if command in COMMANDS:
        lines += ["", "settings and defaults:"]
        for setting, meaning in describe_settings(command):
            lines += [
                f"  {setting}",
                *textwrap.wrap(meaning, 96, initial_indent=" " * 6, subsequent_indent=" " * 6),
            ]
    return "\n".join(lines)
