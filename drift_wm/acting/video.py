"""Videos: replaying a recorded episode, writing frames that every browser plays, and reading some of a file."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import imageio
import numpy as np
from numpy.typing import NDArray

from drift_wm.acting.episodes import Environment
from drift_wm.datasets.episodes import Episode
from drift_wm.storage.writing import replacing

Frame = NDArray[np.uint8]
"""(height, width, 3) RGB."""

MAX_FPS = 50.0
"""More is work for whoever renders and plays it, and nothing to see."""
MAX_GRID_WIDTH = 1280
"""Pixels of several films side by side."""


def real_time(decision_seconds: float, *, max_fps: float = MAX_FPS) -> tuple[int, float]:
    """How to show an episode as fast as it happened: every how many states, at how many frames a second.

    Args:
        decision_seconds: seconds between two states, as in `Spec`.
        max_fps: the frame rate not to exceed.

    Raises:
        ValueError: an argument is not positive.
    """
    for name, value in (("decision_seconds", decision_seconds), ("max_fps", max_fps)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}, expected a positive number: take decision_seconds from the Spec")
    # 1 / 0.02 is 50 but for rounding, which must not cost every second frame
    every = max(1, math.ceil(1 / (decision_seconds * max_fps) - 1e-6))
    return every, 1 / (decision_seconds * every)


def replay_frames(env: Environment, episode: Episode, *, every: int = 1) -> Iterator[Frame]:
    """Render a recorded episode, so that deciding and learning never wait for pictures.

    Every frame is rendered when it is asked for, and leaves the environment in that frame's state.

    Args:
        env: an environment of the episode's task that renders.
        episode: with its physics states.
        every: render each such state, beginning with the first; see `real_time`.

    Raises:
        ValueError: the episode holds no states, or `every` is not positive.
    """
    if episode.states is None:
        raise ValueError(
            "the episode holds no physics states, expected one for each observation: record it in a simulated "
            "environment"
        )
    if every < 1:
        raise ValueError(f"every is {every}, expected at least 1: 1 renders each state")
    return _render_each(env, episode.states[::every])


def side_by_side(films: Sequence[Iterator[Frame]]) -> Iterator[Frame]:
    """Several films as one: a grid, about as wide as high, in which a film that is over keeps its last frame.

    Frames are thinned to every n-th row and column where the grid would be wider than `MAX_GRID_WIDTH`.

    Args:
        films: at least one, all of one frame size, each with at least one frame.

    Raises:
        ValueError: there is none.
    """
    if not films:
        raise ValueError("there are no films, expected at least 1 to put side by side")
    columns = math.ceil(len(films) ** 0.5)
    last: list[Frame] = []
    for frames in itertools.zip_longest(*films):
        last = [old if new is None else new for new, old in itertools.zip_longest(frames, last)]
        every = math.ceil(columns * last[0].shape[1] / MAX_GRID_WIDTH)
        cells = [frame[::every, ::every] for frame in last]
        cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
        rows = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
        yield np.concatenate(rows)


def write_video(path: Path, frames: Iterable[Frame], *, fps: float) -> None:
    """Write H.264 in an MP4, holding one frame in memory at a time.

    The file appears under its name when it is complete. Odd sizes, which the format lacks, are padded by a
    repeated row or column.

    Args:
        path: ends in .mp4.
        frames: (height, width, 3) uint8 each, all of one shape.
        fps: frames a second.

    Raises:
        ValueError: the name, `fps` or a frame is wrong, or there is no frame.
    """
    if path.suffix != ".mp4":
        raise ValueError(f"video path is {path}, expected a name that ends in .mp4: rename it")
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps}, expected a positive number of frames a second")
    checked = _checked(frames)
    first = next(checked, None)
    if first is None:
        raise ValueError(f"no frames for {path}, expected at least one: record an episode before writing its video")
    ending = path.with_name(f".{path.stem}.tmp.mp4")  # by which the writer chooses the container
    with replacing(path, temporary=ending) as temporary:
        _encode(temporary, itertools.chain([first], checked), fps=fps)


def read_frames(path: Path, numbers: Sequence[int]) -> list[Frame]:
    """Decode some frames of a video, by imageio's own ffmpeg, which also knows AV1.

    Args:
        path: of the video.
        numbers: of the frames, counted from 0, in ascending order.

    Raises:
        ValueError: the file cannot be decoded, or is shorter.
    """
    try:
        with contextlib.closing(imageio.get_reader(path, format="FFMPEG")) as reader:
            return [np.asarray(reader.get_data(number)) for number in numbers]
    except (OSError, RuntimeError, IndexError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path}: cannot be decoded up to frame {max(numbers)} ({reason}); copy it again") from error


def _render_each(env: Environment, states: np.ndarray) -> Iterator[Frame]:
    for state in states:
        env.set_physics_state(state)
        yield env.render()


def _encode(path: Path, frames: Iterable[Frame], *, fps: float) -> None:
    writer = imageio.get_writer(
        path,
        format="FFMPEG",
        mode="I",
        fps=fps,
        codec="libx264",
        pixelformat="yuv420p",  # all that Safari and Firefox decode
        macro_block_size=1,  # the sizes are even already; imageio would rescale
        quality=None,
        output_params=["-crf", "20", "-movflags", "+faststart"],
    )
    with contextlib.closing(writer):  # its own context manager leaves the file open after an error
        for frame in frames:
            writer.append_data(_even(frame))


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    shape: tuple[int, ...] | None = None
    for number, frame in enumerate(frames):
        if not isinstance(frame, np.ndarray):
            raise ValueError(
                f"frame {number} is {type(frame).__name__}, expected an array: make the environment with "
                'render_mode="rgb_array"'
            )
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(
                f"frame {number} is {frame.dtype} of shape {frame.shape}, expected uint8 (height, width, 3): "
                "convert it to RGB with values 0..255"
            )
        if shape is not None and frame.shape != shape:
            raise ValueError(
                f"frame {number} has shape {frame.shape}, expected {shape} as the first: render all at one size"
            )
        shape = frame.shape
        yield frame


def _even(frame: Frame) -> Frame:
    height, width, _ = frame.shape
    if height % 2 == 0 and width % 2 == 0:
        return frame
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
