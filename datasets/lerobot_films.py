"""Where the videos of LeRobot datasets lie. They are named here and never opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from drift_wm.datasets.lerobot import LeRobotFolder
from drift_wm.datasets.lerobot_description import whole_number
from drift_wm.datasets.parquet_columns import read_columns


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


def cameras(folder: LeRobotFolder) -> list[str]:
    """Those whose pictures are kept as videos."""
    return sorted(name for name, kind in folder.types.items() if kind == "video")


def films(folder: LeRobotFolder, camera: str) -> list[Film]:
    """The videos of all episodes whose rows are there, whether the videos are or not.

    Raises:
        ValueError: the dataset does not say where they are.
    """
    there = {entry.index: entry.length for entry in folder.entries() if entry.file.exists()}
    if folder.version == "v3.0":
        return [film for film in _films_of_many(folder, camera, there) if film.episode in there]
    return [
        Film(camera, index, folder.file("video_path", video_key=camera, **folder.numbers(index)), 0.0, length)
        for index, length in there.items()
    ]


def _films_of_many(folder: LeRobotFolder, camera: str, lengths: Mapping[int, int]) -> Iterator[Film]:
    """3.0: several episodes lie one behind the other in each file."""
    *names, start = (
        "episode_index",
        *(f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")),
    )
    for file in sorted((folder.path / "meta/episodes").rglob("*.parquet")):
        columns = read_columns(file, [*names, start])
        for row in range(len(columns[start])):
            index, chunk, number = (whole_number(columns[name][row, 0].item(), name, file) for name in names)
            video = folder.file("video_path", video_key=camera, chunk_index=chunk, file_index=number)
            yield Film(camera, index, video, float(columns[start][row, 0]), lengths.get(index, 0))
