"""Where the files of a run lie: its checkpoints, and from any of these the run and what it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drift_wm.storage.run_folder import CONFIG, read_json

_CHECKPOINTS = "checkpoints"  # a folder of the run, one file a training round: the lineage of the run
_ROUND = "round_"


def checkpoint_of_round(run: Path, number: int) -> Path:
    """Where round `number` of a run, counted from 0, is saved."""
    return run / _CHECKPOINTS / f"{_ROUND}{number:04d}.pt"


def round_of(checkpoint: Path) -> int:
    """The round, counted from 0, that a file of `checkpoint_of_round` holds."""
    return int(checkpoint.stem.removeprefix(_ROUND))


def checkpoints_of(run: Path) -> list[Path]:
    """All checkpoints that a run has saved, oldest first."""
    return _rounds_in(run / _CHECKPOINTS)


def checkpoints_at(place: Path) -> list[Path]:
    """The checkpoints that a path leads to, oldest first.

    Those of a run folder, or of the folder of checkpoints itself; of a file, those beside it, or only itself if it is
    named freely.
    """
    if place.is_file():
        beside = _rounds_in(place.parent)
        return beside if place in beside else [place]
    return checkpoints_of(place) or _rounds_in(place)


def newest_checkpoint(path: Path) -> Path:
    """The checkpoint that a path means: itself, or the newest of a run folder.

    Raises:
        ValueError: there is none.
    """
    if path.is_file():
        return path
    found = checkpoints_at(path)
    if not found:
        raise ValueError(
            f"no checkpoint at {path}: expected a .pt file, or a run folder of `drift-wm train` or `drift-wm online` "
            "that has finished at least one round"
        )
    return found[-1]


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to, a file or a folder: `config.json` is in it, if anywhere."""
    folder = checkpoint.parent if checkpoint.is_file() else checkpoint
    return folder.parent if folder.name == _CHECKPOINTS else folder


def settings_of(run: Path) -> dict[str, Any]:
    """What a run was asked, from its `config.json`; empty where there is none.

    Raises:
        ValueError: the file is damaged.
    """
    path = run / CONFIG
    return read_json(path, dict) if path.exists() else {}


def _rounds_in(folder: Path) -> list[Path]:
    found = (file for file in folder.glob(f"{_ROUND}*.pt") if file.stem.removeprefix(_ROUND).isdecimal())
    return sorted(found, key=round_of)  # by number: a name of five digits comes before one of four
