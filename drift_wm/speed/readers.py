"""Training windows of a file of demonstrations, by our reader and by robomimic's (extra `[robomimic]`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from drift_wm.datasets.replay import OBS_KEY, write_episodes
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.datasets.windows import Windows
from drift_wm.interfaces import Spec
from drift_wm.speed.made_up import made_up_episodes

OUR_READER, ROBOMIMIC = "our windows", "robomimic's SequenceDataset in a DataLoader"
BATCH, BATCHES = 256, 4
"""Windows of a batch, and batches of one call."""
HISTORY, CHUNK = 2, 8
_SPEC = Spec(observation_size=39, action_size=28, decision_seconds=0.0)
_EPISODES, _LENGTH = 25, 270
"""About the size of the human demonstrations of Adroit's door."""


def robomimic_is_there() -> bool:
    """Whether robomimic is installed."""
    return find_spec("robomimic") is not None


def reader_calls(file: Path) -> dict[str, Callable[[], object]]:
    """Write a file of noise, and draw `BATCHES` batches of windows from it at each call, from memory in both cases."""
    episodes = made_up_episodes(_SPEC, count=_EPISODES, length=_LENGTH)
    write_episodes(file, episodes, env_args={"env_name": "noise"}, spec=_SPEC)
    windows = Windows(read_episodes(file), history=HISTORY, chunk=CHUNK)
    order, batches = torch.Generator().manual_seed(0), _repeated(_robomimic_loader(file))

    def ours() -> None:
        for _ in range(BATCHES):
            windows.sample(BATCH, order)

    def theirs() -> None:
        for _ in range(BATCHES):
            next(batches)

    return {OUR_READER: ours, ROBOMIMIC: theirs}


def _robomimic_loader(file: Path) -> DataLoader[dict[str, Any]]:
    """Shuffled windows, cached in memory; without the observation after the last action, which ours have."""
    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": [OBS_KEY]}})
        dataset = SequenceDataset(
            hdf5_path=str(file),
            obs_keys=[OBS_KEY],
            dataset_keys=["actions", "rewards"],
            frame_stack=HISTORY,
            seq_length=CHUNK,
            pad_seq_length=False,
            hdf5_cache_mode="low_dim",
            load_next_obs=False,
        )
    return DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True)


def _repeated(loader: DataLoader[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Epoch after epoch."""
    while True:
        yield from loader
