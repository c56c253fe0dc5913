"""Which reader a path needs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from drift_wm.datasets.demonstrations import Demonstrations
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.guard import reading
from drift_wm.datasets.hdf5 import open_hdf5
from drift_wm.datasets.lerobot import INFO, LeRobotFolder
from drift_wm.datasets.minari import MAIN_FILE, MinariDataset
from drift_wm.datasets.robomimic import RobomimicFile


def open_demonstrations(path: str | Path, *, skip_missing: bool = False) -> Demonstrations:
    """The reader of a robomimic or Minari HDF5 file, or of the folder of a Minari or LeRobot dataset.

    Args:
        path: of the file or folder.
        skip_missing: whether episodes that a LeRobot dataset announces and does not hold, or not whole, are left out.

    Raises:
        ValueError: it is none of these.
    """
    path = Path(path)
    if path.is_dir():
        if (path / INFO).exists():
            return LeRobotFolder(path, skip_missing=skip_missing)
        if (path / MAIN_FILE).exists():
            return MinariDataset(path)
        raise ValueError(f"{path}: expected a dataset of LeRobot ({INFO} in it) or of Minari ({MAIN_FILE} in it)")
    with open_hdf5(path) as file, reading(path):
        episodes = [] if "data" in file else [name for name in file if name.startswith("episode_")]
        # Minari's episodes have observations; those that have obs instead are robomimic's demos of another name.
        is_minari = any(f"{name}/observations" in file or f"{name}/obs" not in file for name in episodes[:1])
    return MinariDataset(path) if is_minari else RobomimicFile(path)


def read_demonstrations(
    path: str | Path,
    *,
    obs_keys: Sequence[str] | None = None,
    mask: str | None = None,
    allow_missing_rewards: bool = False,
    skip_missing: bool = False,
) -> list[Episode]:
    """All demonstrations of a file or folder; see `open_demonstrations` and `Demonstrations.episodes`.

    Raises:
        ValueError: the data cannot be read, or there is no demonstration.
    """
    demonstrations = open_demonstrations(path, skip_missing=skip_missing)
    found = list(demonstrations.episodes(obs_keys=obs_keys, mask=mask, allow_missing_rewards=allow_missing_rewards))
    if not found:
        raise ValueError(f"{path}: holds no demonstration; see drift-wm data inspect {shlex.quote(str(path))}")
    return found
