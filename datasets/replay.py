"""Replay: an HDF5 file of robomimic's schema that grows by whole episodes and survives being killed.

Each write builds the new file in memory, writes it to a temporary beside the old one, syncs it and renames
it over the old one. Whenever the process dies, the file is the one before or the one after the write, and
no reader ever sees a part of it. The price is a copy of the file for each write, which is small beside
the time in which its episodes were made. One process writes a file at a time; any number may read.

A demo holds what robomimic's own tools expect, and a little more, so that reading it back is exact:

    obs/state, next_obs/state    (L, D) float32; `write_episodes` writes an array for each sensor where it is told
    actions, rewards             (L, A), (L,) float32
    dones                        (L,) int64: 1 at the last transition if the world ended there, else 0. A time
                                 limit is no end of the world: robomimic's `done_mode` 0, with termination in
                                 the place of success
    states, final_state          (L, S), (S,) float64: before each action, and after the last
    attributes                   num_samples, terminated, source; seed and success only where they are known
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from drift_wm.datasets.action_bounds import ActionBounds
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.hdf5 import attribute, data_group, demo_names, demo_number, number_attribute, open_hdf5
from drift_wm.datasets.rewriting import rewrite
from drift_wm.datasets.robomimic import ACTION_BOUNDS, OBS_KEYS, read_episodes
from drift_wm.interfaces import Spec
from drift_wm.storage.writing import appearing, temporary_of

OBS_KEY = "state"
"""The one observation key of a `Replay`: observations are flat."""

_ROBOMIMIC_GYM = 2
"""robomimic's EnvType.GYM_TYPE."""


class Replay:
    """Episodes in memory, and the file that keeps them. Made by `Replay.open`."""

    def __init__(self, path: Path, spec: Spec | None, episodes: Sequence[Episode]) -> None:
        self._path = path
        self._spec = spec
        self._episodes = list(episodes)

    @classmethod
    def open(cls, path: str | Path, *, env_args: Mapping[str, object], spec: Spec | None = None) -> Replay:
        """Open the file at `path`, or create it, in a folder that exists.

        Leftovers of a writer that was killed are removed.

        Args:
            path: the HDF5 file.
            env_args: describes the environment, as JSON values: `env_name` is required; robomimic also reads
                `type` (2, gym, if absent) and `env_kwargs` (none if absent).
            spec: what the task looks like; stored in a new file, compared with the one in an old file.

        Raises:
            ValueError: `env_args` has no name, or the file belongs to another task or is no replay.
            OSError: the file cannot be created.
        """
        if not env_args.get("env_name"):
            raise ValueError(f"env_args is {dict(env_args)}, expected a key env_name: name the environment")
        # A rename would replace a symbolic link, not the file that it points to.
        path = Path(path).resolve()
        temporary_of(path).unlink(missing_ok=True)
        if not path.exists():
            rewrite(path, lambda file: _write_header(file, env_args, spec))
            return cls(path, spec, ())
        stored, is_empty = _read_header(path, str(env_args["env_name"]))
        if None not in (spec, stored) and spec != stored:
            raise ValueError(f"{path} was made for {stored}, expected {spec}: choose another path for this task")
        replay = cls(path, spec or stored, () if is_empty else read_episodes(path, obs_keys=[OBS_KEY]))
        replay._check_sizes(replay.episodes)
        return replay

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    @property
    def episodes(self) -> Sequence[Episode]:
        """All episodes, oldest first."""
        return tuple(self._episodes)

    def __len__(self) -> int:
        """The number of episodes."""
        return len(self._episodes)

    @property
    def steps(self) -> int:
        """The number of transitions of all episodes."""
        return sum(len(episode) for episode in self._episodes)

    def append(self, episode: Episode, **attributes: str) -> None:
        """Add an episode; when this returns, it is on the disk.

        `attributes` become the demo's, besides our own, such as robosuite's `model_file`.

        Raises:
            ValueError: its observation or action size is not that of the others or of the spec.
            OSError: the file cannot be written; it is as it was, and so is this object.
        """
        self.extend([episode], **attributes)

    def extend(self, episodes: Sequence[Episode], **attributes: str) -> None:
        """Add several episodes by one copy of the file, all or, where one is refused or the disk is full, none."""
        self._check_sizes(episodes)

        def write(file: h5py.File) -> None:
            for episode in episodes:
                _write_demo(file["data"], episode, attributes=attributes)

        rewrite(self._path, write)
        self._episodes += episodes

    def _check_sizes(self, episodes: Sequence[Episode]) -> None:
        for episode in episodes:
            expected = self._spec.sizes if self._spec is not None else (*self._episodes, *episodes)[0].sizes
            if episode.sizes != expected:
                raise ValueError(
                    f"{self._path}: an episode has (observation, action) sizes {episode.sizes}, "
                    f"expected {expected}: choose another path for this task"
                )


def write_episodes(
    path: Path,
    episodes: Iterable[Episode],
    *,
    env_args: Mapping[str, object],
    spec: Spec,
    rewards: Iterable[bool] | None = None,
    bounds: ActionBounds | None = None,
    obs_sizes: Mapping[str, int] | None = None,
    finish: Callable[[h5py.File], None] | None = None,
) -> int:
    """Write a file in one go, an episode in memory at a time; it appears under its name when it is complete.

    Args:
        path: the new file; one that is there, or appears meanwhile, is left as it is.
        episodes: at least one, of the spec's sizes.
        env_args: as `Replay.open`.
        spec: stored with them.
        rewards: of each episode, whether its rewards were recorded; if not, none are written, for zeros would be taken
            for rewards. None: all were.
        bounds: what -1 and 1 of the actions stand for in the robot's units; None: it is not known.
        obs_sizes: keys under which to write an observation's entries, in their order, and how many are of each; None:
            all are `OBS_KEY`.
        finish: adds what episodes do not hold, such as `write_masks`, before the file appears.

    Returns:
        How many there were.

    Raises:
        ValueError: an episode has other sizes, or the file is there already.
        OSError: the file cannot be written.
    """
    count = 0
    pairs = zip(episodes, repeat(True), strict=False) if rewards is None else zip(episodes, rewards, strict=True)
    with appearing(path) as temporary, h5py.File(temporary, "w") as file:
        _write_header(file, env_args, spec)
        if bounds is not None:
            for name, bound in zip(ACTION_BOUNDS, (bounds.low, bounds.high), strict=True):
                file["data"].attrs[name] = np.broadcast_to(bound, spec.action_size)
        if obs_sizes is not None:
            file["data"].attrs[OBS_KEYS] = list(obs_sizes)
        for episode, recorded in pairs:
            if episode.sizes != spec.sizes:
                raise ValueError(f"episode {count} has sizes {episode.sizes}, expected {spec.sizes} as the first")
            _write_demo(file["data"], episode, number=count, rewards=recorded, obs_sizes=obs_sizes)
            count += 1
        if finish is not None:
            finish(file)
    return count


def read_env_args(path: str | Path) -> dict[str, Any]:
    """How a file names its environment: robomimic's `env_args`, as `Replay` writes them; empty where it does not.

    Raises:
        ValueError: the file is missing or damaged, or its `env_args` are not JSON of an object.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        stored = attribute(data_group(file, path), "env_args", path)
    text = "{}" if stored is None else stored
    try:
        found = json.loads(text if isinstance(text, bytes) else str(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: env_args of data is {text!r:.200}, expected JSON: repair or remove it") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: env_args of data is {text!r:.200}, expected a JSON object: repair or remove it")
    return found


def _write_header(file: h5py.File, env_args: Mapping[str, object], spec: Spec | None) -> None:
    data = file.create_group("data")
    data.attrs["total"] = 0
    data.attrs["env_args"] = json.dumps({"type": _ROBOMIMIC_GYM, "env_kwargs": {}, **env_args})
    if spec is not None:
        data.attrs["observation_size"] = spec.observation_size
        data.attrs["action_size"] = spec.action_size
        data.attrs["decision_seconds"] = spec.decision_seconds


def _read_header(path: Path, env_name: str) -> tuple[Spec | None, bool]:
    """The stored spec, if there is one, and whether the file is still without episodes."""
    with open_hdf5(path) as file:
        data = data_group(file, path)
        attributes = data.attrs
        try:
            stored_name = json.loads(attributes["env_args"])["env_name"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: data has no attribute env_args with an env_name, expected {env_name!r}: "
                f"choose another path for the replay"
            ) from error
        if stored_name != env_name:
            raise ValueError(
                f"{path} holds episodes of {stored_name!r}, expected {env_name!r}: choose another path for this task"
            )
        spec = None
        if "decision_seconds" in attributes:
            observation_size, action_size, seconds = (
                _stored_number(data, name, path) for name in ("observation_size", "action_size", "decision_seconds")
            )
            spec = Spec(int(observation_size), int(action_size), seconds)
        return spec, not demo_names(data)


def _stored_number(data: h5py.Group, name: str, path: Path) -> float:
    value = number_attribute(data, name, path)
    if value is None:
        raise ValueError(
            f"{path}: data has no attribute {name}, expected the sizes of observations and actions beside "
            "decision_seconds: copy the file again, or choose another path for the replay"
        )
    return float(value)


def _write_demo(
    data: h5py.Group,
    episode: Episode,
    *,
    number: int | None = None,
    rewards: bool = True,
    obs_sizes: Mapping[str, int] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> None:
    if number is None:
        number = max((demo_number(name) for name in demo_names(data)), default=-1) + 1
    demo = data.create_group(f"demo_{number}")
    sizes = obs_sizes or {OBS_KEY: episode.obs.shape[1]}
    parts = np.split(episode.obs, np.cumsum([*sizes.values()])[:-1], axis=1)
    for key, part in zip(sizes, parts, strict=True):
        demo[f"obs/{key}"] = part[:-1]
        demo[f"next_obs/{key}"] = part[1:]
    demo["actions"] = episode.actions
    if rewards:
        demo["rewards"] = episode.rewards
    dones = np.zeros(len(episode), np.int64)
    dones[-1] = episode.terminated
    demo["dones"] = dones
    if episode.states is not None:
        demo["states"] = episode.states[:-1]
        demo["final_state"] = episode.states[-1]
    demo.attrs["num_samples"] = len(episode)
    demo.attrs["terminated"] = episode.terminated
    demo.attrs["source"] = episode.source
    for name, known in (("seed", episode.seed), ("success", episode.success)):
        if known is not None:
            demo.attrs[name] = known
    demo.attrs.update(attributes or {})
    data.attrs["total"] = int(data.attrs["total"]) + len(episode)


def write_masks(file: h5py.File, masks: Mapping[str, Sequence[int]]) -> None:
    """Write subsets by name, as positions among the demos of the file; each at least one."""
    names = demo_names(file["data"])
    for name, demos in masks.items():
        file.require_group("mask")[name] = np.array([names[demo] for demo in demos], dtype="S")
