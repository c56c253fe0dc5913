"""Looking at logged demonstrations: `drift-wm data inspect`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from drift_wm.datasets.demonstrations import Demonstrations, Description, Readable, without_damaged
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import RunningMoments
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.progress import track
from drift_wm.recordings.action_units import remarks_on_units
from drift_wm.recordings.angles import StepSizes
from drift_wm.recordings.film_strips import Strip, film_strips
from drift_wm.recordings.recorded_task import recorded_task
from drift_wm.recordings.remarks import Range, first_of, range_of, remarks, remarks_on_copies, remarks_on_turns
from drift_wm.recordings.settings import DataSettings, InspectSettings
from drift_wm.storage.run_folder import RunFolder
from drift_wm.terminal import add_columns, say
from drift_wm.wording import counted

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is in a file of demonstrations."""

    path: Path
    description: Description
    """Of the whole file, with the observation keys of the subset."""
    mask: str | None
    """The subset that all below is of; None: all of it."""
    lengths: tuple[int, ...]
    """Transitions of each demonstration that can be learned from."""
    keys: tuple[str, ...]
    """Of the observations that were read, in the order in which they are joined."""
    entries: tuple[str, ...]
    """What each entry of an observation is called, see `_entries`."""
    ranges: tuple[Range, ...]
    """Of observations, actions and rewards."""
    terminated: int
    """Demonstrations in which the world ended."""
    rewarded: int
    """Demonstrations in which some reward is above 0, as of a success."""
    damaged: tuple[str, ...]
    """What is wrong with each demonstration that cannot be read."""
    warnings: tuple[str, ...]
    plotted: tuple[Episode, ...]
    strips: tuple[Strip, ...]
    """Of cameras."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; without the plotted episodes and pictures."""
        return {
            "command": "data-inspect",
            "data": str(self.path),
            **asdict(self.description),
            "mask": self.mask,
            "lengths": list(self.lengths),
            "terminated": self.terminated,
            "rewarded": self.rewarded,
            "damaged": list(self.damaged),
            "entries": list(self.entries),
            "ranges": [asdict(each) for each in self.ranges],
            "warnings": list(self.warnings),
        }


def inspect(settings: InspectSettings, folder: RunFolder) -> Inspection:
    """Read every demonstration once, one at a time, and write `results.json`.

    Those that are damaged are told of together, so that they need not be found one run after the other.

    Raises:
        ValueError: the data cannot be read, or none of the demonstrations.
    """
    demonstrations = open_demonstrations(settings.data, skip_missing=settings.skip_missing)
    description = demonstrations.describe(mask=settings.mask)
    moments = {name: RunningMoments() for name in ("observations", "actions", "rewards")}
    steps = StepSizes()
    lengths: list[int] = []
    fingerprints: list[frozenset[str]] = []
    plotted: list[Episode] = []
    terminated = rewarded = 0
    every = max(1, _count(settings, description) // settings.plotted)
    recorded = demonstrations.rewards_recorded(mask=settings.mask)
    readings = demonstrations.readings(obs_keys=settings.obs_keys, mask=settings.mask, allow_missing_rewards=True)
    readings = tracked(readings, demonstrations, settings, description)
    readable = Readable(readings, demonstrations.path, skip_damaged=True)
    for episode in readable:
        if len(lengths) % every == 0 and len(plotted) < settings.plotted:
            plotted.append(episode)
        lengths.append(len(episode))
        fingerprints.append(episode.fingerprints)
        terminated += episode.terminated
        rewarded += bool((episode.rewards > 0).any())
        moments["observations"].add(episode.obs)
        moments["actions"].add(episode.actions)
        if recorded[readable.places[-1]]:
            moments["rewards"].add(episode.rewards[:, None])
        steps.add(episode.obs)
    if not moments["rewards"].count:  # those that were recorded may all be of damaged demonstrations
        del moments["rewards"]
    ranges = tuple(range_of(name, seen) for name, seen in moments.items())
    keys = tuple(description.keys(settings.obs_keys, demonstrations.path))
    entries = _entries({key: math.prod(description.obs_shapes[key]) for key in keys}, ranges[0].size)
    strips, absent = film_strips(demonstrations, settings.pictures) if settings.pictures else ([], [])
    of_world, on_task = _task_of(settings.data, description.action_size)
    inspection = Inspection(
        path=demonstrations.path,
        description=description,
        mask=settings.mask,
        lengths=tuple(lengths),
        keys=keys,
        entries=entries,
        ranges=ranges,
        terminated=terminated,
        rewarded=rewarded,
        damaged=tuple(readable.damaged),
        warnings=(
            *description.warnings,
            *description.ignored_ends,
            *description.dropped_rewards,
            *description.unread_keys,
            *absent,
            *on_task,
            *remarks(ranges, entries, of_world=of_world),
            *remarks_on_copies(fingerprints),
            *remarks_on_turns(steps, ranges[0], entries),
        ),
        plotted=tuple(plotted),
        strips=tuple(strips),
    )
    folder.write_results(inspection.as_dict())
    return inspection


def show(found: Inspection, console: Console) -> None:
    """For a terminal."""
    what, lengths = found.description, np.asarray(found.lengths)
    has_rewards = any(each.name == "rewards" for each in found.ranges)
    whole = f"{what.format}: {counted(what.episodes, 'demonstration')}, {counted(what.steps, 'step')}"
    # Lengths, and all that follows, are of what can be learned from.
    read = f"{counted(len(lengths), 'demonstration')}, {counted(int(lengths.sum()), 'transition')}"
    subset = "readable" if found.mask is None else f"in subset {found.mask}"
    is_part = found.mask is not None or (len(lengths), lengths.sum()) != (what.episodes, what.steps)
    say(
        console,
        whole
        + (f", one every {what.decision_seconds * 1e3:.1f} ms" if what.decision_seconds else "")
        + (f"; of these {subset}: {read}" if is_part else "")
        + f"; lengths {lengths.min()} to {lengths.max()}, median {np.median(lengths):.0f}; "
        f"{found.terminated} of {len(lengths)} ended by themselves"
        + (f", and {found.rewarded} have a reward above 0" if has_rewards else ""),
    )
    keys = Table(title="Observation keys", title_justify="left")
    for column in ("key", "shape", "read"):
        keys.add_column(column)
    for key, shape in what.obs_shapes.items():
        keys.add_row(escape(key), str(tuple(shape)), "yes" if key in found.keys else "")
    console.print(keys)
    ranges = Table(title="Values over all entries", title_justify="left")
    names = ("what", "size", "lowest", "highest", "least std", "most std", "constant")
    add_columns(ranges, names, left=("what",))
    for each in found.ranges:
        ranges.add_row(
            each.name,
            str(each.size),
            f"{min(each.low):.4g}",
            f"{max(each.high):.4g}",
            f"{min(each.std):.4g}",
            f"{max(each.std):.4g}",
            str(each.constant),
        )
    console.print(ranges)
    if what.masks:
        shown = ", ".join(f"{name} ({count})" for name, count in what.masks.items())
        say(console, f"subsets: {shown}")
    for warning in (*found.warnings, *_damage(found)):
        say(console, f"note: {warning}")


def tracked(
    found: Iterable[Read], demonstrations: Demonstrations, settings: DataSettings, description: Description
) -> Iterator[Read]:
    """With progress.

    Raises:
        ValueError: there is none.
    """
    if description.episodes == 0:
        raise ValueError(f"{demonstrations.path}: holds no demonstration; {'; '.join(description.warnings)}")
    with track("read", _count(settings, description)) as task:
        for number, each in enumerate(found):
            task.update(number + 1)
            yield each


def _damage(found: Inspection) -> list[str]:
    """What to say of demonstrations that cannot be read: how many, and the first of them."""
    count = len(found.damaged)
    if not count:
        return []
    whole = f"{count} of {count + len(found.lengths)} demonstrations cannot be read; training stops at the first"
    return [f"{whole}; {without_damaged(found.path)} writes a file without them", *first_of(found.damaged)]


def _count(settings: DataSettings, description: Description) -> int:
    """Demonstrations of the subset that is asked for, or of all."""
    return description.masks.get(settings.mask or "", description.episodes)


def _task_of(data: str, action_size: int) -> tuple[bool, list[str]]:
    """Whether the data name their environment; and what is to say of its units, or why training refuses the data."""
    try:
        return recorded_task(data) is not None, remarks_on_units(data, action_size=action_size)
    except ValueError as error:
        return False, [f"{error}; training stops there"]


def _entries(sizes: Mapping[str, int], size: int) -> tuple[str, ...]:
    """What each entry of an observation is called, such as `pose[2]`.

    Only by its place where keys of the first demonstration are not as wide as those that were read.

    Args:
        sizes: of the keys of the first demonstration.
        size: of the observations that were read.
    """
    if sum(sizes.values()) != size:
        sizes = {"obs": size}
    return tuple(f"{key}[{i}]" for key, width in sizes.items() for i in range(width))
