"""Logged demonstrations in any of the formats that robots' logs come in, behind one interface."""

from __future__ import annotations

import math
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drift_wm.datasets.action_bounds import ActionBounds
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.guard import NotDamagedError
from drift_wm.datasets.keys import choose_keys


@dataclass(frozen=True, slots=True)
class Description:
    """What a file or folder holds, told without reading its observations."""

    format: str
    """robomimic, Minari or LeRobot, with a version where there is one."""
    episodes: int
    """Number of demonstrations."""
    steps: int
    """Stored actions of all; episodes have a transition fewer where no observation follows the last action."""
    obs_shapes: Mapping[str, tuple[int, ...]]
    """Keys that may be named as observations, and the shape of one row, of the first demonstration that is read; images
    are included."""
    action_size: int
    """A."""
    flat_keys: tuple[str, ...] = ()
    """Those of the observation keys that are read where none are named, in this order."""
    masks: Mapping[str, int] = field(default_factory=dict)
    """Names of subsets, and the number of demonstrations in each."""
    has_rewards: bool = True
    """Whether the first demonstration that is not empty has rewards."""
    decision_seconds: float = 0.0
    """Seconds between two rows; 0: not recorded."""
    warnings: tuple[str, ...] = ()
    """What a user should know: what is announced and absent, what does not fit together."""
    ignored_ends: tuple[str, ...] = ()
    """Ends of worlds, or of recordings, that are stored and that nothing is learned of."""
    dropped_rewards: tuple[str, ...] = ()
    """Rewards that are not 0 in rows that are dropped, as no observation follows their action."""
    unread_keys: tuple[str, ...] = ()
    """Observations that are left out where no keys are named, and those that some demonstrations lack."""
    unread_parts: tuple[str, ...] = ()
    """What no reader looks at: of a robomimic file see `parts_not_copied`."""

    def keys(self, asked: Sequence[str] | None, path: Path) -> list[str]:
        """The observation keys that are read where these are asked, see `choose_keys`.

        Raises:
            ValueError: one is not there, or none is left.
        """
        return choose_keys(asked, known=list(self.obs_shapes), flat=self.flat_keys, path=path)

    def sizes(self, keys: Sequence[str], *, total: int) -> dict[str, int] | None:
        """How many of an observation's `total` numbers are each key's, in the order of the keys.

        None where the shapes that are told do not add up to that, as those of a first demonstration that is damaged.
        """
        sizes = {key: math.prod(self.obs_shapes[key]) for key in keys}
        return sizes if sum(sizes.values()) == total else None


Reading = tuple[str, Callable[[], Episode]]
"""The name of a demonstration, and what reads it as long as its file is open; a ValueError where it is damaged."""


class Demonstrations(ABC):
    """A file or folder of demonstrations."""

    path: Path

    @abstractmethod
    def describe(self, *, mask: str | None = None) -> Description:
        """Say what is there.

        Args:
            mask: name of the subset that observation keys and dropped rewards are those of, as they are of what is
                read. None: of all.
        """

    def episodes(
        self,
        *,
        obs_keys: Sequence[str] | None = None,
        mask: str | None = None,
        allow_missing_rewards: bool = False,
    ) -> Iterator[Episode]:
        """The demonstrations in order, read one at a time.

        Args:
            obs_keys: observation keys to concatenate, in this order, or patterns, see `choose_keys`. None: all with
                at most one dimension a frame.
            mask: name of a subset. None: all.
            allow_missing_rewards: whether demonstrations without rewards get zeros instead of an error.

        Raises:
            ValueError: something is missing, damaged, or does not fit; the message names file and key.
        """
        found = self.readings(obs_keys=obs_keys, mask=mask, allow_missing_rewards=allow_missing_rewards)
        return iter(Readable(found, self.path))

    @abstractmethod
    def readings(
        self, *, obs_keys: Sequence[str] | None, mask: str | None, allow_missing_rewards: bool
    ) -> Iterator[Reading]:
        """What `episodes` reads, one by one: one that is damaged does not keep the others from being seen."""

    @abstractmethod
    def rewards_recorded(self, *, mask: str | None = None) -> list[bool]:
        """Of every demonstration, in the order in which they are read, whether its rewards were recorded.

        Those of an episode that was read with `allow_missing_rewards` do not tell: zeros may be rewards.
        """

    def action_bounds(self, *, size: int) -> ActionBounds | None:
        """What -1 and 1 of the actions that are read stand for, where the data tell; `size` is A.

        Raises:
            ValueError: what they tell is damaged.
        """
        return None


def require_no_mask(mask: str | None, format: str) -> None:
    """Raise a ValueError if a subset is asked of a format that has none."""
    if mask is not None:
        raise ValueError(f"mask={mask!r}: expected none, as {format} datasets have no named subsets; leave out mask=")


class Readable:
    """The episodes of a reader, one at a time, and what became of the demonstrations.

    Args:
        found: names and what reads them.
        path: for messages.
        skip_damaged: whether demonstrations are left out that cannot be read, or are not of the sizes of the first that
            can; otherwise they are an error.
    """

    def __init__(self, found: Iterable[Reading], path: Path, *, skip_damaged: bool = False) -> None:
        self._found, self._path, self._skip_damaged = found, path, skip_damaged
        self.places: list[int] = []
        """Positions among all demonstrations of those that were read so far."""
        self.damaged: list[str] = []
        """What is wrong with each of those that were left out so far."""

    def __iter__(self) -> Iterator[Episode]:
        """Read them.

        Raises:
            ValueError: one is damaged and not to be left out, or all are.
        """
        told = read_or_tell(self._found, self._path)
        for place, found in enumerate(told):
            if isinstance(found, Episode):
                self.places.append(place)
                yield found
            elif self._skip_damaged:
                self.damaged.append(str(found).removeprefix(f"{self._path}: "))
            # Where all fail, it is the request or the layout, and no file is left without them.
            elif isinstance(found, NotDamagedError) or not (self.places or _any_whole(told)):
                raise found
            else:
                raise ValueError(f"{found}; {without_damaged(self._path)} writes a file without it") from found
        if self.damaged and not self.places:
            raise ValueError(
                f"{self._path}: none of {len(self.damaged)} demonstrations can be read, the first as {self.damaged[0]}"
            )


def _any_whole(told: Iterable[Episode | ValueError]) -> bool:
    return any(isinstance(each, Episode) for each in told)


def without_damaged(path: Path) -> str:
    """The command that leaves damaged demonstrations out."""
    return f"drift-wm data convert {shlex.quote(str(path))} out=clean.hdf5 skip_damaged=true"


class SameWidths:
    """Whether the keys of all demonstrations are as wide as those of the first that could be read.

    Columns of another meaning may have the same number together.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: tuple[str, dict[str, int]] | None = None

    def require(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Look at the arrays (T, ...) of a demonstration by their keys.

        Raises:
            ValueError: one has another width.
        """
        widths = {key: math.prod(array.shape[1:]) for key, array in arrays.items()}
        first, wanted = self._first = self._first or (name, widths)
        if widths != wanted:
            other = [key for key in wanted | widths if widths.get(key) != wanted.get(key)]
            found, expected = ({key: each.get(key) for key in other} for each in (widths, wanted))
            raise ValueError(
                f"{self._path}: {name} has keys of sizes {found}, expected {expected} as {first} has; leave it out, or "
                "choose other keys"
            )


def read_or_tell(found: Iterable[Reading], path: Path) -> Iterator[Episode | ValueError]:
    """Every episode of a reader, or why it cannot be read, or is not of the sizes of the first that can.

    Args:
        found: names and what reads them.
        path: for messages.
    """
    first: tuple[str, Episode] | None = None
    for name, read in found:
        try:
            episode = read()
            first = first or (name, episode)
            _require_sizes(name, episode, *first, path)
        except ValueError as error:
            # Where many share a file, an error may name the file alone.
            yield error if name in str(error) else ValueError(f"{name}: {error}")
        else:
            yield episode


def _require_sizes(name: str, episode: Episode, first_name: str, first: Episode, path: Path) -> None:
    if episode.sizes != first.sizes:
        raise ValueError(
            f"{path}: {name} has observations and actions of sizes {episode.sizes}, expected {first.sizes} as "
            f"{first_name} has; leave it out, or choose other keys"
        )
