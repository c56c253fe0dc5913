"""Which recorded episodes a model is questioned on, and which a reference is fitted to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import Moments, compute_statistics
from drift_wm.datasets.readers import read_demonstrations
from drift_wm.datasets.split import split
from drift_wm.lineage.ancestry import places_of
from drift_wm.storage.run_files import settings_of
from drift_wm.wording import counted


@dataclass(frozen=True, eq=False)
class Material:
    """Episodes of one file or folder, in two parts."""

    file: Path
    obs_keys: list[str] | None
    fitted: tuple[Episode, ...]
    """For the linear model, and for the scales of all errors."""
    measured: tuple[Episode, ...]
    """For the questions."""
    note: str
    """What a reader of the answers must know about these episodes."""
    mask: str | None = None
    """The subset of the file that they are; None: all of it."""

    @property
    def scale(self) -> Tensor:
        """(D,) standard deviation of every entry over both parts; 1 where it never changes."""
        return self._moments.std

    @property
    def data_range(self) -> Tensor:
        """(D,) largest less smallest value of every entry over both parts; 0 where that never changes (`scale`)."""
        obs = np.concatenate([episode.obs for episode in (*self.fitted, *self.measured)])
        return torch.from_numpy(np.ptp(obs, axis=0)).masked_fill(self._moments.constant, 0)

    @property
    def varying(self) -> tuple[int, ...]:
        """The entries that change: others are predicted by saying what they are, and have no unit to err in."""
        return tuple(self.data_range.nonzero().flatten().tolist())

    @cached_property
    def _moments(self) -> Moments:
        return compute_statistics([*self.fitted, *self.measured], chunk=1).obs


def choose_material(
    file: Path,
    run: Path,
    *,
    learned_from: Collection[str],
    obs_keys: list[str] | None,
    mask: str | None,
    skip_missing: bool = False,
    seed: int,
) -> Material:
    """Read the episodes, and keep those apart that the model was trained on.

    Args:
        file: a file or folder of episodes, as training reads them.
        run: the model's own, whose `config.json` may tell of a mask.
        learned_from: fingerprints of the episodes that the model was trained on.
        obs_keys: observation keys; None: all that are low-dimensional.
        mask: a subset of the file; None: that of the run if this is its file, else all episodes.
        skip_missing: whether episodes that a LeRobot dataset lacks are left out, besides where the model's run did so.
        seed: of the division where the model knows none of the episodes, or all.

    Raises:
        ValueError: a file is missing or damaged, or has no such mask or key.
    """
    if not file.exists():
        raise ValueError(
            f"data={str(file)!r}: no such file; expected a file or folder of episodes (relative to {Path.cwd()})"
        )
    asked = settings_of(run)
    if mask is None and asked.get("command") == "train":
        own = file.resolve() in (place.resolve() for place in places_of(asked["data"], run))
        mask = asked["mask"] if own else None
    episodes = read_demonstrations(
        file,
        obs_keys=obs_keys,
        mask=mask,
        allow_missing_rewards=True,  # no question is about recorded ones
        skip_missing=skip_missing or asked.get("skip_missing", False),
    )
    known: list[Episode] = []
    unknown: list[Episode] = []
    for episode in episodes:
        (known if episode.is_among(learned_from) else unknown).append(episode)
    if known and unknown:
        note = f"held out: the model was trained on {counted(len(known), 'other episode')} of this file, not on these"
        return Material(file, obs_keys, tuple(known), tuple(unknown), note, mask)
    fitted, measured, linear = _halves(episodes, seed)
    note = "the model was not trained on any of these episodes"
    if known:
        note = "THE MODEL WAS TRAINED ON ALL OF THESE EPISODES, so expect worse on others"
    return Material(file, obs_keys, tuple(fitted), tuple(measured), f"{note}; {linear}", mask)


def _halves(episodes: Sequence[Episode], seed: int) -> tuple[list[Episode], list[Episode], str]:
    """Half of the episodes, or of the only one; copies of one are one. And what the linear model is fitted to."""
    fitted, measured = split(episodes, 0.5, seed=seed)
    if measured:
        return fitted, measured, f"the linear model was fitted to {counted(len(fitted), 'other')} of this file"
    only = episodes[0]
    if len(only) < 2:
        return [only], [only], "the linear model was fitted to the same step"
    middle = len(only) // 2
    halves = [_part(only, 0, middle)], [_part(only, middle, len(only))]
    return *halves, "all is of the second half of the episode, and the linear model was fitted to the first"


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
