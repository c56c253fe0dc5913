"""Reader of LeRobot datasets, versions 2.1 (a parquet file an episode) and 3.0 (many episodes a file).

    meta/info.json               features with dtype and shape, fps, patterns of file names
    meta/episodes.jsonl          2.1: index and length of every episode
    meta/episodes/**.parquet     3.0: the same, and where each lies
    data/**.parquet              columns `observation.*`, `action`, perhaps `next.reward`
    videos/**.mp4                2.1: a file for each camera and episode; 3.0: many episodes a file

Rows are as the robot logged them: T observations and T actions, and nothing after the last action, so that an episode
has T - 1 transitions. Videos are not touched here (`lerobot_films` finds them). Patterns of file names come from
strangers: they are filled in by numbers and the name of a camera alone, and may not lead out of the folder. Needs the
extra `[lerobot]` (pyarrow).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from drift_wm.datasets.demonstrations import Demonstrations, Description, Reading, require_no_mask
from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.guard import reading
from drift_wm.datasets.keys import choose_keys, no_vectors, side_by_side
from drift_wm.datasets.lerobot_description import (
    as_ranges,
    feature_shape,
    rate,
    read_json,
    read_lines,
    whole_number,
)
from drift_wm.datasets.parquet_columns import FRAME, read_columns
from drift_wm.datasets.single_precision import as_matrix

INFO = Path("meta/info.json")
_FIELD = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")
_NUMBERS = re.compile(r"(float|int|uint|bool)\d*")
_OBSERVATION, _ACTION, _REWARD = "observation.", "action", "next.reward"
_ENDS = ("next.done", "next.terminated")
"""Columns that may say that an episode is over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An episode that the folder announces."""

    index: int
    length: int
    file: Path


class LeRobotFolder(Demonstrations):
    """A dataset by its folder.

    Args:
        path: holds `meta` and `data`.
        skip_missing: whether episodes whose file is absent, or does not hold them whole, are left out; otherwise they
            are an error.

    Raises:
        ValueError: the folder is no such dataset, of another version, or pyarrow is not installed.
    """

    def __init__(self, path: Path, *, skip_missing: bool = False) -> None:
        self.path, self._skip_missing = path, skip_missing
        self._info = read_json(path / INFO)
        self.version = str(self._info.get("codebase_version", ""))
        if self.version not in ("v2.0", "v2.1", "v3.0"):
            raise ValueError(
                f"{path / INFO}: codebase_version is {self.version!r}, expected v2.0, v2.1 or v3.0; convert the "
                "dataset with LeRobot"
            )
        features = self._info.get("features")
        if not isinstance(features, dict) or _ACTION not in features:
            raise ValueError(f"{path / INFO}: features has no {_ACTION!r}, expected the columns of the dataset")
        self._shapes = {str(name): feature_shape(feature, name, path / INFO) for name, feature in features.items()}
        # What was done, and what came of it, is not seen before it is done; any other column may be.
        self._observable = {name: shape for name, shape in self._shapes.items() if name not in (_ACTION, _REWARD)}
        self.types = {str(name): str(feature.get("dtype")) for name, feature in features.items()}
        """Of every column, as LeRobot names them."""
        self.fps = rate(self._info.get("fps") or 0, path / INFO)
        """Rows and pictures a second; 0: not recorded."""
        self._rows: dict[Path, dict[int, int]] = {}
        """Of each file that was looked into: how many there are of each episode."""

    def describe(self, *, mask: str | None = None) -> Description:
        """See `Demonstrations.describe`."""
        require_no_mask(mask, "LeRobot")
        with reading(self.path):
            return self._describe()

    def _describe(self) -> Description:
        entries = self._announced()
        absent = [entry for entry in entries if not entry.file.exists()]
        found = [entry for entry in entries if entry.file.exists()]
        short = [entry for entry in found if self._is_short(entry)]
        warnings = [
            f"{len(missing)} of {len(entries)} announced episodes {what}: "
            f"{as_ranges(sorted(entry.index for entry in missing))}"
            for missing, what in ((absent, "have no file"), (short, "have fewer or more rows than announced"))
            if missing
        ]
        if unlike := self._unlike_total(entries):
            warnings.append(unlike)
        if _REWARD not in self._shapes:
            warnings.append("no rewards are recorded")
        return Description(
            format=f"LeRobot {self.version}",
            episodes=len(found) - len(short),
            steps=sum(entry.length for entry in found) - sum(entry.length for entry in short),
            obs_shapes=self._observable,
            action_size=math.prod(self._shapes[_ACTION]),
            flat_keys=tuple(self._low_dimensional()),
            has_rewards=_REWARD in self._shapes,
            decision_seconds=1 / self.fps if self.fps else 0.0,
            warnings=tuple(warnings),
            ignored_ends=tuple(
                f"{name} is ignored: it is also set where a recording was merely stopped, so no episode is treated as "
                "terminated"
                for name in _ENDS
                if name in self._shapes
            ),
            unread_keys=tuple(no_vectors(*each) for each in self._measured().items() if len(each[1]) > 1),
            dropped_rewards=self._rewards_dropped({entry.file for entry in found}),
        )

    def _rewards_dropped(self, files: Collection[Path]) -> tuple[str, ...]:
        """Rewards of last rows; a file that cannot be read is refused when its episodes are read."""
        dropped = every = 0
        for file in files if _REWARD in self._shapes else ():
            try:
                columns = read_columns(file, ["episode_index", _REWARD, *({FRAME} & self._shapes.keys())])
            except ValueError:
                continue
            episodes, paid = columns["episode_index"][:, 0], columns[_REWARD][:, 0] != 0
            frames = columns.get(FRAME, np.arange(len(episodes))[:, None])[:, 0]  # or else as they are stored
            order = np.lexsort((frames, episodes))
            is_last = np.diff(episodes[order], append=-1) != 0
            every += int(paid.sum())
            dropped += int(np.sum(paid[order] & is_last))
        if not dropped:
            return ()
        return (
            f"{dropped:,} of {every:,} rewards that are not 0 are in the last rows of episodes, after which nothing is "
            "seen: they are dropped, and the rewards with them; record a row after the last action, or repeat the last",
        )

    def rewards_recorded(self, *, mask: str | None = None) -> list[bool]:
        """See `Demonstrations.rewards_recorded`: columns are those of all."""
        require_no_mask(mask, "LeRobot")
        return [_REWARD in self._shapes] * len(self._wanted())

    def readings(
        self, *, obs_keys: Sequence[str] | None, mask: str | None, allow_missing_rewards: bool
    ) -> Iterator[Reading]:
        """See `Demonstrations.readings`."""
        require_no_mask(mask, "LeRobot")
        keys = choose_keys(obs_keys, known=list(self._observable), flat=self._low_dimensional(), path=self.path)
        if _REWARD not in self._shapes and not allow_missing_rewards:
            raise ValueError(f"{self.path}: no rewards are recorded; set allow_missing_rewards=true to read zeros")
        for entry in self._wanted():
            yield f"episode {entry.index}", partial(self._read, entry, keys)

    def _wanted(self) -> list[Entry]:
        """The episodes to read: all that are announced, or those of them that are there."""
        with reading(self.path):
            entries = self._announced()
        if not self._skip_missing:
            if unlike := self._unlike_total(entries):
                raise ValueError(
                    f"{self.path}: {unlike}; download the rest of meta, or set skip_missing=true to take these for all"
                )
            return entries
        return [entry for entry in entries if entry.file.exists() and not self._is_short(entry)]

    def _announced(self) -> list[Entry]:
        entries = list(self.entries())
        numbers = Counter(entry.index for entry in entries)
        if twice := sorted(index for index, count in numbers.items() if count > 1):
            raise ValueError(
                f"{self.path}: meta announces episodes {as_ranges(twice)} more than once, expected each once; repair it"
            )
        return entries

    def _unlike_total(self, entries: Sequence[Entry]) -> str:
        """Where more or fewer episodes are announced than the dataset says it has; empty where it says nothing else."""
        total = self._info.get("total_episodes", len(entries))
        return "" if total == len(entries) else f"meta announces {len(entries)} of total_episodes = {total!r} episodes"

    def _missing(self, entry: Entry) -> str:
        """What there is too little of; empty where the episode is whole."""
        file = entry.file
        if not file.exists():
            return f"{file.relative_to(self.path)} is absent"
        if file not in self._rows:
            indices = read_columns(file, ["episode_index"])["episode_index"]
            self._rows[file] = dict(
                zip(*(found.tolist() for found in np.unique(indices, return_counts=True)), strict=True)
            )
        rows = self._rows[file].get(entry.index, 0)
        return "" if rows == entry.length else f"{file.relative_to(self.path)} holds {rows} of its {entry.length} rows"

    def _is_short(self, entry: Entry) -> bool:
        """Whether a file that is there lacks rows; one that cannot be read is refused when the episode is read."""
        try:
            return bool(self._missing(entry))
        except ValueError:
            return False

    def _low_dimensional(self) -> list[str]:
        return sorted(name for name, shape in self._measured().items() if len(shape) <= 1)

    def _measured(self) -> dict[str, tuple[int, ...]]:
        """Observations of numbers, which pictures are not, and the shapes of their rows."""
        return {
            name: shape
            for name, shape in self._observable.items()
            if name.startswith(_OBSERVATION) and _NUMBERS.fullmatch(self.types[name])
        }

    def _read(self, entry: Entry, keys: Sequence[str]) -> Episode:
        with reading(entry.file, f"episode {entry.index}"):
            if not (missing := self._missing(entry)):
                return self._content(entry, keys)
        raise ValueError(
            f"{self.path}: episode {entry.index} is announced, but {missing}; download it, or set skip_missing=true to "
            "leave such episodes out"
        )

    def _content(self, entry: Entry, keys: Sequence[str]) -> Episode:
        names = list(dict.fromkeys([*keys, _ACTION, *([_REWARD] if _REWARD in self._shapes else [])]))
        columns = read_columns(entry.file, names, episode=entry.index)
        matrices = {name: as_matrix(column, f"{self.path}: {name}") for name, column in columns.items()}
        where = f"{entry.file}: episode {entry.index}"
        obs, actions = side_by_side({key: matrices[key] for key in keys}, where=where), matrices[_ACTION]
        transitions = max(len(actions) - 1, 0)
        rewards = matrices.get(_REWARD, np.zeros((len(actions), 1), np.float32))
        if rewards.shape[1] != 1:
            raise ValueError(f"{where}: {_REWARD} has {rewards.shape[1]} columns, expected 1; sum them")
        try:
            return Episode(
                obs=obs,
                actions=actions[:transitions],
                rewards=rewards[:transitions, 0],
                terminated=False,  # an episode is over when its operator says so
                source=self.path.name,
            )
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def entries(self) -> Iterator[Entry]:
        """Every episode that is announced, whether its file is there or not."""
        if self.version == "v3.0":
            for file in sorted((self.path / "meta/episodes").rglob("*.parquet")):
                names = ["episode_index", "length", "data/chunk_index", "data/file_index"]
                columns = read_columns(file, names)
                for row in zip(*(columns[name][:, 0].tolist() for name in names), strict=True):
                    index, length, chunk, number = (
                        whole_number(value, name, file) for value, name in zip(row, names, strict=True)
                    )
                    yield Entry(index, length, self.file("data_path", chunk_index=chunk, file_index=number))
            return
        lines = self.path / "meta/episodes.jsonl"
        for line in read_lines(lines):
            index = whole_number(line.get("episode_index"), "episode_index", lines)
            length = whole_number(line.get("length"), "length", lines)
            yield Entry(index, length, self.file("data_path", **self.numbers(index)))

    def numbers(self, index: int) -> dict[str, int]:
        """2.1: by which files of an episode are named."""
        size = whole_number(self._info.get("chunks_size", 1000), "chunks_size", self.path / INFO, least=1)
        return {"episode_chunk": index // size, "episode_index": index}

    def file(self, key: str, **fields: int | str) -> Path:
        """The pattern `data_path` or `video_path` filled in.

        Raises:
            ValueError: there is none, it asks for something else, or it leads out of the folder.
        """
        pattern = str(self._info.get(key) or "")

        def text(found: re.Match[str]) -> str:
            if found[1] not in fields:
                raise ValueError(f"{self.path / INFO}: {key} is {pattern!r}, expected only {sorted(fields)} in it")
            return str(fields[found[1]]).zfill(int(found[2] or 0))

        file = self.path / _FIELD.sub(text, pattern)
        if not pattern or not file.resolve().is_relative_to(self.path.resolve()):
            where = "leads out of the dataset's folder" if pattern else "names no file"
            raise ValueError(f"{self.path / INFO}: {key} is {pattern!r}, which {where}")
        return file
