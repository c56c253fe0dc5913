"""The command line: `drift-wm <command> [setting=value ...]`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.logging import RichHandler

from drift_wm.configs.schema import COMMANDS, read_settings
from drift_wm.help import describe_settings

logger = logging.getLogger(__name__)

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
        "drift-wm bench overrides=[episodes=20,planner.horizon=20]",
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
    again = f"drift-wm {command} ... run_dir={path}"
    try:
        _WORK[command](settings, folder)
    except KeyboardInterrupt:
        sys.stderr.write(f"\ninterrupted; what was done is saved. To go on: {again}\n")
        return 130
    sys.stdout.write(f"{path}\n")
    return 0


def _demo(settings: OnlineSettings, folder: RunFolder) -> None:
    results = online(settings, folder, device=prepare_machine(settings))
    _print_evaluations(results)
    sys.stdout.write(f"report: {folder.path / 'report.html'}\n")
