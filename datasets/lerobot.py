"""Reader of LeRobot datasets, versions 2.1 (a parquet file an episode) and 3.0 (many episodes a file).

    meta/info.json               features with dtype and shape, fps, patterns of file names
    meta/episodes.jsonl          2.1: index and length of every episode
    meta/episodes/**.parquet     3.0: the same, and where each lies
    data/**.parquet              columns `observation.*`, `action`, perhaps `next.reward`
    videos/**.mp4                2.1: a file for each camera and episode; 3.0: many episodes a file

Rows are as the robot logged them: T observations and T actions, and nothing after the last action, so that an episode
has T - 1 transitions. Videos are named (`films`) and never opened here. Patterns of file names come from strangers:
they are filled in by numbers and the name of a camera alone, and may not lead out of the folder. Needs the extra
`[lerobot]` (pyarrow).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drift_wm.datasets.demonstrations import Description, require_no_mask
from drift_wm.datasets.episodes import Episode, Float32Array

INFO = Path("meta/info.json")
_FIELD = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")
_NUMBERS = re.compile(r"(float|int|uint|bool)\d*")
_OBSERVATION, _ACTION, _REWARD = "observation.", "action", "next.reward"


@dataclass(frozen=True, slots=True)
class _Entry:
    """An episode that the folder announces."""

    index: int
    length: int
    file: Path


@dataclass(frozen=True, slots=True)
class Film:
    """Where one camera's pictures of one episode are to be found."""

    camera: str
    episode: int
    file: Path
    start: float
    """Seconds into the file."""
    length: int
    """Pictures, one for each row of the episode."""


class LeRobotFolder:
    """A dataset by its folder.

    Args:
        path: holds `meta` and `data`.
        skip_missing: whether episodes whose file is absent are left out; otherwise they are an error.

    Raises:
        ValueError: the folder is no such dataset, of another version, or pyarrow is not installed.
    """

    def __init__(self, path: Path, *, skip_missing: bool = False) -> None:
        self.path, self._skip_missing = path, skip_missing
        self._info = _read_json(path / INFO)
        self.version = str(self._info.get("codebase_version", ""))
        if self.version not in ("v2.0", "v2.1", "v3.0"):
            raise ValueError(
                f"{path / INFO}: codebase_version is {self.version!r}, expected v2.0, v2.1 or v3.0; convert the "
                "dataset with LeRobot"
            )
        features = self._info.get("features")
        if not isinstance(features, dict) or _ACTION not in features:
            raise ValueError(f"{path / INFO}: features has no {_ACTION!r}, expected the columns of the dataset")
        self._features: dict[str, dict[str, Any]] = features
        self.fps = float(self._info.get("fps") or 0)
        """Rows and pictures a second; 0: not recorded."""

    def describe(self) -> Description:
        """See `Demonstrations.describe`."""
        entries = list(self._entries())
        there = [entry for entry in entries if entry.file.exists()]
        warnings = []
        if len(there) < len(entries):
            missing = sorted({entry.index for entry in entries} - {entry.index for entry in there})
            warnings.append(f"{len(missing)} of {len(entries)} announced episodes have no file: {as_ranges(missing)}")
        if _REWARD not in self._features:
            warnings.append("no rewards are recorded")
        return Description(
            format=f"LeRobot {self.version}",
            episodes=len(there),
            steps=sum(entry.length for entry in there),
            obs_shapes={
                name: tuple(feature.get("shape", ()))
                for name, feature in self._features.items()
                if name.startswith(_OBSERVATION)
            },
            action_size=int(np.prod(self._features[_ACTION].get("shape", ()), dtype=int)),
            has_rewards=_REWARD in self._features,
            decision_seconds=1 / self.fps if self.fps else 0.0,
            warnings=tuple(warnings),
        )

    def episodes(
        self,
        *,
        obs_keys: Sequence[str] | None = None,
        mask: str | None = None,
        allow_missing_rewards: bool = False,
    ) -> Iterator[Episode]:
        """See `Demonstrations.episodes`."""
        require_no_mask(mask, "LeRobot")
        keys = self._low_dimensional() if obs_keys is None else list(obs_keys)
        if unknown := [key for key in keys if key not in self._features]:
            raise ValueError(
                f"{self.path}: no observation {unknown}, found {sorted(self._features)}; choose among them"
            )
        if not keys:
            raise ValueError(f"{self.path}: no low-dimensional observation among {sorted(self._features)}")
        if _REWARD not in self._features and not allow_missing_rewards:
            raise ValueError(f"{self.path}: no rewards are recorded; set allow_missing_rewards to read zeros")
        for entry in self._entries():
            if entry.file.exists():
                yield self._read(entry, keys)
            elif not self._skip_missing:
                file = entry.file.relative_to(self.path)
                raise ValueError(
                    f"{self.path}: episode {entry.index} is announced, but {file} is absent; download it, or set "
                    "skip_missing=true to leave such episodes out"
                )

    def cameras(self) -> list[str]:
        """Those whose pictures are kept as videos."""
        return sorted(name for name, feature in self._features.items() if feature.get("dtype") == "video")

    def films(self, camera: str) -> list[Film]:
        """The videos of all episodes whose rows are there, whether the videos are or not.

        Raises:
            ValueError: the dataset does not say where they are.
        """
        there = {entry.index: entry.length for entry in self._entries() if entry.file.exists()}
        if self.version == "v3.0":
            return [film for film in self._films_of_many(camera, there) if film.episode in there]
        return [
            Film(camera, index, self._file("video_path", video_key=camera, **self._numbers(index)), 0.0, length)
            for index, length in there.items()
        ]

    def _films_of_many(self, camera: str, lengths: Mapping[int, int]) -> Iterator[Film]:
        """3.0."""
        where = [f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
        for file in sorted((self.path / "meta/episodes").rglob("*.parquet")):
            columns = _read_columns(file, ["episode_index", *where])
            for row in zip(*(columns[name][:, 0].tolist() for name in ("episode_index", *where)), strict=True):
                index, chunk, number = (int(entry) for entry in row[:3])
                video = self._file("video_path", video_key=camera, chunk_index=chunk, file_index=number)
                yield Film(camera, index, video, row[3], lengths.get(index, 0))

    def _low_dimensional(self) -> list[str]:
        return sorted(
            name
            for name, feature in self._features.items()
            if name.startswith(_OBSERVATION)
            and _NUMBERS.fullmatch(str(feature.get("dtype")))
            and len(feature.get("shape", ())) <= 1
        )

    def _read(self, entry: _Entry, keys: Sequence[str]) -> Episode:
        names = [*keys, _ACTION, *([_REWARD] if _REWARD in self._features else [])]
        columns = _read_columns(entry.file, names, episode=entry.index)
        obs, actions = np.concatenate([columns[key] for key in keys], axis=1), columns[_ACTION]
        transitions = len(actions) - 1
        rewards = columns[_REWARD][:, 0] if _REWARD in columns else np.zeros(len(actions), np.float32)
        try:
            return Episode(
                obs=obs,
                actions=actions[:transitions],
                rewards=rewards[:transitions],
                terminated=False,  # an episode is over when its operator says so
                source=self.path.name,
            )
        except ValueError as error:
            raise ValueError(f"{entry.file}: episode {entry.index}: {error}") from error

    def _entries(self) -> Iterator[_Entry]:
        if self.version == "v3.0":
            for file in sorted((self.path / "meta/episodes").rglob("*.parquet")):
                names = ["episode_index", "length", "data/chunk_index", "data/file_index"]
                columns = _read_columns(file, names)
                for row in zip(*(columns[name][:, 0].astype(int).tolist() for name in names), strict=True):
                    index, length, chunk, number = row
                    yield _Entry(index, length, self._file("data_path", chunk_index=chunk, file_index=number))
            return
        for line in _read_lines(self.path / "meta/episodes.jsonl"):
            index = int(line["episode_index"])
            yield _Entry(index, int(line["length"]), self._file("data_path", **self._numbers(index)))

    def _numbers(self, index: int) -> dict[str, int]:
        """2.1: by which files of an episode are named."""
        return {"episode_chunk": index // int(self._info.get("chunks_size", 1000)), "episode_index": index}

    def _file(self, key: str, **fields: int | str) -> Path:
        """The pattern `data_path` or `video_path` filled in; it must stay inside the folder."""
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


def _read_columns(file: Path, names: Sequence[str], *, episode: int | None = None) -> dict[str, Float32Array]:
    """Columns (T, size) of a parquet file, of the rows of one episode if that is named.

    Raises:
        ValueError: pyarrow is not installed, the file is damaged, or a column is missing or holds no numbers.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            "LeRobot datasets are parquet files; install pyarrow: pip install 'drift-wm[lerobot]'"
        ) from error
    rows = None if episode is None else [("episode_index", "=", episode)]
    try:
        table = parquet.read_table(file, columns=list(names), filters=rows)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{file}: cannot be read ({reason}); copy it again") from error
    if absent := [name for name in names if name not in table.column_names]:
        raise ValueError(f"{file}: no column {absent}, found {table.column_names}; choose among them")
    found = {}
    for name in names:
        values = table[name].to_pylist()
        try:
            found[name] = np.asarray(values, dtype=np.float32).reshape(len(values), -1)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{file}: column {name} holds {table[name].type}, expected numbers of one length"
            ) from error
    return found


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: {error}; expected the description of a LeRobot dataset") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: holds {type(content).__name__}, expected an object that describes the dataset")
    return content


def _read_lines(file: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: {error}; expected a line of JSON for each episode") from error


def as_ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
