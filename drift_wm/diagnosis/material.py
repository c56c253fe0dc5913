"""Which recorded episodes a model is questioned on, and which a reference is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drift_wm.ancestry import places_of
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.robomimic import read_episodes
from drift_wm.datasets.statistics import compute_statistics
from drift_wm.run_folder import run_of, settings_of
from drift_wm.train import split


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Episodes of one file, in two parts."""

    file: Path
    obs_keys: list[str] | None
    fitted: tuple[Episode, ...]
    """For the linear model, and for the scales of all errors."""
    measured: tuple[Episode, ...]
    """For the questions."""
    note: str
    """What a reader of the answers must know about these episodes."""

    @property
    def scale(self) -> Tensor:
        """(D,) standard deviation of every entry over both parts; 1 where it never changes."""
        return compute_statistics([*self.fitted, *self.measured], chunk=1).obs.std

    @property
    def data_range(self) -> Tensor:
        """(D,) largest less smallest value of every entry over both parts."""
        obs = np.concatenate([episode.obs for episode in (*self.fitted, *self.measured)])
        return torch.from_numpy(np.ptp(obs, axis=0))


def choose_material(
    file: Path, checkpoint: Path, *, obs_keys: list[str] | None, mask: str | None, seed: int
) -> Material:
    """Read the episodes, and keep those apart that the model was trained on, where its run tells.

    Args:
        file: an HDF5 file of episodes.
        checkpoint: what the user named: a file or a run folder.
        obs_keys: observation keys; None: those of the model's run.
        mask: a subset of the file; None: that of the run if this is its file, else all episodes.
        seed: of the division where the run tells none.

    Raises:
        ValueError: a file is missing or damaged, or has no such mask or key.
    """
    if not file.is_file():
        raise ValueError(
            f"data={str(file)!r}: no such file; expected an HDF5 file of episodes (relative to {Path.cwd()})"
        )
    run = run_of(checkpoint)
    asked = settings_of(run)
    keys = obs_keys or asked.get("obs_keys")
    data = places_of(asked["data"], run) if asked.get("command") == "train" else []
    own = file.resolve() in (place.resolve() for place in data)
    subset = asked["mask"] if own and mask is None else mask
    episodes = read_episodes(file, obs_keys=keys, mask=subset, allow_missing_rewards=True)
    if own and subset == asked["mask"]:
        return _of_own_file(file, keys, episodes, asked)
    fitted, measured = _halves(episodes, seed)
    note = "the model's run does not say that it was trained on these episodes"
    if own:
        note = "another subset of the file that the model was trained on; the two may overlap"
    elif (run / "replay.hdf5").resolve() == file.resolve():
        note = "the replay of the model's own run: IT WAS TRAINED ON THESE EPISODES, so expect worse on others"
    return Material(file, keys, tuple(fitted), tuple(measured), note)


def _of_own_file(file: Path, keys: list[str] | None, episodes: list[Episode], asked: dict[str, Any]) -> Material:
    """The division that training made."""
    training, held_out = split(episodes, asked["held_out_fraction"], seed=asked["seed"])
    if held_out:
        return Material(file, keys, tuple(training), tuple(held_out), "held out from the model's own training file")
    note = "the model's own training file, nothing held out: IT WAS TRAINED ON ALL OF THESE, so expect worse on others"
    return Material(file, keys, tuple(episodes), tuple(episodes), note)


def _halves(episodes: Sequence[Episode], seed: int) -> tuple[list[Episode], list[Episode]]:
    """Half of the episodes, or of the only one."""
    if len(episodes) > 1:
        return split(episodes, 0.5, seed=seed)
    (only,) = episodes
    if len(only) < 2:
        return [only], [only]
    middle = len(only) // 2
    return [_part(only, 0, middle)], [_part(only, middle, len(only))]


def _part(episode: Episode, start: int, stop: int) -> Episode:
    """The transitions from `start` to before `stop`."""
    states = None if episode.states is None else episode.states[start : stop + 1]
    return replace(
        episode,
        obs=episode.obs[start : stop + 1],
        actions=episode.actions[start:stop],
        rewards=episode.rewards[start:stop],
        states=states,
    )
