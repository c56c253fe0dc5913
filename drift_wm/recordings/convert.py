"""Writing logged demonstrations in robomimic's schema: `drift-wm data convert`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from drift_wm.datasets.action_bounds import ActionBounds, count_beyond
from drift_wm.datasets.demonstrations import Demonstrations, Readable
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.minari import MinariDataset
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.replay import OBS_KEY, read_env_args, write_episodes
from drift_wm.datasets.robomimic import RobomimicFile
from drift_wm.datasets.robomimic_layout import keep_beside, parts_not_copied
from drift_wm.env_settings import WORLD
from drift_wm.interfaces import Spec
from drift_wm.recordings.action_units import named_world, same_bounds
from drift_wm.recordings.inspection import tracked
from drift_wm.recordings.recorded_task import own_world
from drift_wm.recordings.settings import ConvertSettings
from drift_wm.storage.run_folder import RunFolder

_UNKNOWN = "unknown"  # what no environment of gymnasium is called, as a file's name may happen to be


def convert(settings: ConvertSettings, folder: RunFolder) -> dict[str, Any]:
    """Write the demonstrations as a robomimic HDF5 file, one at a time.

    Of a file of robomimic's schema, its subsets, the simulator's states and what it says of its environment are kept.
    No rewards are written where there are none. Observations keep their keys, and the order in which they are read.
    What -1 and 1 of the actions stand for in the robot's units is written where it is asked for or the source tells it.

    Returns:
        What `results.json` holds; `actions_beyond_bounds` is the share of the actions' entries beyond the bounds that
        were asked for, None where none were; `left_out` says what is wrong with each demonstration that was left out;
        `notes` say what of the source is missing, dropped or not believed.

    Raises:
        ValueError: the data cannot be read, or the new file is there already, or its folder is not, or the bounds of
            actions are none.
    """
    out = _new_file(settings.out)
    demonstrations = open_demonstrations(settings.data, skip_missing=settings.skip_missing)
    description = demonstrations.describe(mask=settings.mask)
    keys = description.keys(settings.obs_keys, demonstrations.path)
    found = demonstrations.readings(obs_keys=settings.obs_keys, mask=settings.mask, allow_missing_rewards=True)
    found = tracked(found, demonstrations, settings, description)
    readable = Readable(found, demonstrations.path, skip_damaged=settings.skip_damaged)
    episodes = iter(readable)
    first = next(episodes)
    obs_sizes = description.sizes(keys, total=first.sizes[0])
    bounds = _bounds(settings, size=first.actions.shape[1])
    units = _units(demonstrations.action_bounds(size=first.actions.shape[1]), bounds)
    if bounds is not None and units is not None and not settings.task:
        _require_units_of_world(settings.data, units)
    known = isinstance(demonstrations, RobomimicFile)
    mask, places = settings.mask, readable.places  # the places grow while episodes are read
    recorded = demonstrations.rewards_recorded(mask=mask)
    tally = _Tally()
    every = chain([first], episodes)
    count = write_episodes(
        out,
        every if bounds is None else (tally.of(_scaled(episode, bounds)) for episode in every),
        env_args=_env_args(demonstrations, settings.task),
        spec=Spec(*first.sizes, description.decision_seconds),
        rewards=(recorded[place] for place in places),
        bounds=units,
        obs_sizes=obs_sizes,
        finish=partial(keep_beside, demonstrations.path, mask=mask, places=places) if known else None,
    )
    if known:
        absent = parts_not_copied(demonstrations.path, out, obs_keys=settings.obs_keys, mask=mask, places=places)
    else:
        absent = sorted({*description.obs_shapes, *description.unread_parts} - {*keys})
    notes = [*description.warnings, *description.ignored_ends, *description.dropped_rewards]
    if obs_sizes is None:
        notes.append(f"the sizes of {', '.join(keys)} are not those that were told: joined into obs/{OBS_KEY}")
    results = {
        "command": "data-convert",
        "data": settings.data,
        "file": str(out),
        "converted": count,
        "obs_keys": [OBS_KEY] if obs_sizes is None else keys,
        "not_written": absent,
        "actions_beyond_bounds": tally.share,
        "left_out": readable.damaged,
        "notes": notes,
    }
    folder.write_results(results)
    return results


def _new_file(name: str) -> Path:
    """The path of a file that is not there yet, in a folder that is."""
    out = Path(name)
    if out.exists():
        raise ValueError(f"out={name!r} is there already; expected a new name, or remove the file")
    if not out.parent.is_dir():
        raise ValueError(f"out={name!r}: {out.parent} is no folder that is there; create it, or choose another")
    return out


def _env_args(demonstrations: Demonstrations, task: str) -> dict[str, Any]:
    """What the source says of its environment; `task`, where it is not empty, is its name."""
    env_args = read_env_args(demonstrations.path) if isinstance(demonstrations, RobomimicFile) else {}
    told = demonstrations.environment if isinstance(demonstrations, MinariDataset) else env_args.get("env_name")
    if task and own_world(env_args) is not None:  # another task is not of that world
        env_args = {name: value for name, value in env_args.items() if name not in (WORLD, "env_kwargs")}
    return {**env_args, "env_name": task or told or _UNKNOWN}


@dataclass(slots=True)
class _Tally:
    """Of actions that went by: how many of their entries are beyond [-1, 1], see `count_beyond`."""

    entries: int = 0
    beyond: int = 0

    def of(self, episode: Episode) -> Episode:
        """Count an episode's; it is returned as it is."""
        self.entries += episode.actions.size
        self.beyond += count_beyond(episode.actions)
        return episode

    @property
    def share(self) -> float | None:
        """Of entries, or None where nothing was counted."""
        return self.beyond / self.entries if self.entries else None


def _scaled(episode: Episode, bounds: ActionBounds) -> Episode:
    return replace(episode, actions=bounds.to_unit(episode.actions))


def _bounds(settings: ConvertSettings, *, size: int) -> ActionBounds | None:
    """Those that are asked for."""
    if settings.action_low is None or settings.action_high is None:
        return None
    try:
        return ActionBounds.of(settings.action_low, settings.action_high, size=size)
    except ValueError as error:
        raise ValueError(f"action_low, action_high: {error}") from error


def _require_units_of_world(data: str, units: ActionBounds) -> None:
    """Raise a ValueError for bounds that are not those of the environment which the file would go on to name."""
    if (world := named_world(data)) is not None and not same_bounds(units, world[1]):
        name, bounds = world
        raise ValueError(
            f"action_low, action_high: {data} names {name}, whose actions are within {bounds}; a policy that learns "
            f"actions scaled by {units} would act otherwise there than was demonstrated: leave the bounds out, or, if "
            "another world is meant, name it by task=NAME"
        )


def _units(told: ActionBounds | None, asked: ActionBounds | None) -> ActionBounds | None:
    """What -1 and 1 of the actions that are written stand for in the robot's units, where it is known.

    Args:
        told: that of the actions that are read.
        asked: the bounds of these that are written as -1 and 1; None: they are written as they are read.
    """
    if told is None or asked is None:
        return asked if told is None else told
    return ActionBounds(told.from_unit(asked.low), told.from_unit(asked.high))
