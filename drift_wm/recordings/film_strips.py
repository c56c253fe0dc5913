"""What cameras saw in demonstrations: a few pictures of one episode, for `drift-wm data inspect`.

Only these are read or decoded; nothing else in the package looks at pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drift_wm.acting.video import Frame, read_frames
from drift_wm.datasets import lerobot_films, robomimic_pictures
from drift_wm.datasets.demonstrations import Demonstrations
from drift_wm.datasets.lerobot import LeRobotFolder
from drift_wm.datasets.lerobot_description import as_ranges
from drift_wm.datasets.lerobot_films import Film
from drift_wm.datasets.robomimic import RobomimicFile


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Pictures of one camera in one episode, evenly spaced from its first to its last."""

    camera: str
    episode: str
    """As people call it."""
    rows: tuple[int, ...]
    """Of the episode, at which they were taken."""
    frames: tuple[Frame, ...]


def film_strips(demonstrations: Demonstrations, count: int) -> tuple[list[Strip], list[str]]:
    """A strip of `count` pictures for each camera, of the first episode that has them, and warnings of what is absent.

    Minari's images are not shown.
    """
    strips: list[Strip] = []
    warnings: list[str] = []
    for camera in _cameras(demonstrations):
        try:
            if isinstance(demonstrations, LeRobotFolder):
                films = lerobot_films.films(demonstrations, camera)
                warnings += _absent(films, demonstrations.path)
                there = [film for film in films if film.file.exists()]
                strips += [_decoded(film, demonstrations.fps, count) for film in there[:1]]
            else:
                strips.append(_stored(demonstrations.path, camera, count))
        except ValueError as error:  # what is wrong with pictures is no reason to say nothing of the rest
            warnings.append(f"no pictures of {camera}: {error}")
    return strips, warnings


def _cameras(demonstrations: Demonstrations) -> list[str]:
    if isinstance(demonstrations, LeRobotFolder):
        return lerobot_films.cameras(demonstrations)
    return robomimic_pictures.cameras(demonstrations.path) if isinstance(demonstrations, RobomimicFile) else []


def _stored(path: Path, camera: str, count: int) -> Strip:
    demo, length = next(iter(robomimic_pictures.demos_with(path, camera).items()))
    rows = _evenly(length, count)
    return Strip(camera, demo, tuple(rows), tuple(robomimic_pictures.read_pictures(path, camera, demo, rows)))


def _decoded(film: Film, fps: float, count: int) -> Strip:
    rows = _evenly(film.length, count)
    first = round(film.start * fps)
    frames = read_frames(film.file, [first + row for row in rows])
    return Strip(film.camera, f"episode {film.episode}", tuple(rows), tuple(frames))


def _absent(films: Sequence[Film], folder: Path) -> list[str]:
    """Videos that are announced and not there."""
    absent = [film for film in films if not film.file.exists()]
    if not absent:
        return []
    episodes = as_ranges([film.episode for film in absent])
    return [
        f"{len(absent)} of {len(films)} episodes have no video of {absent[0].camera}: {episodes}, the first would be "
        f"{absent[0].file.relative_to(folder)}; training does not need them"
    ]


def _evenly(length: int, count: int) -> list[int]:
    """Rows from the first to the last of an episode, each once."""
    return sorted(set(np.linspace(0, length - 1, count).round().astype(int).tolist()))
