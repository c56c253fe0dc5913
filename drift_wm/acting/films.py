"""Films of recorded episodes: the best one, and several side by side."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from drift_wm.acting.episodes import Environment
from drift_wm.acting.video import Frame, real_time, replay_frames, side_by_side, write_video
from drift_wm.datasets.episodes import Episode
from drift_wm.envs.rendering import RenderingUnavailableError

logger = logging.getLogger(__name__)

GRID_FPS = 25.0
"""Several films at once are several times the work of one."""
_SAME = 1e-3
"""How far an episode that is acted again may end from the recorded one, in units of its largest observation."""


def film_best(env: Environment, episodes: Sequence[Episode], path: Path) -> Path | None:
    """Film the episode of highest return; without a way to render, say so and go on."""
    best = max(episodes, key=lambda episode: episode.total_reward)
    every, fps = real_time(env.task_spec.decision_seconds)
    return _write(path, lambda: episode_frames(env, best, every=every), fps)


def film_several(make: Callable[[], Environment], episodes: Sequence[Episode], path: Path) -> Path | None:
    """Film episodes side by side, each until its end; without a way to render, say so and go on.

    Args:
        make: an environment of the episodes' task; each episode gets one of its own.
        episodes: one alone, or none, is not filmed.
        path: of the film.
    """
    if len(episodes) < 2:
        return None
    with ExitStack() as stack:
        envs = [stack.enter_context(closing(make())) for _ in episodes]
        every, fps = real_time(envs[0].task_spec.decision_seconds, max_fps=GRID_FPS)

        def frames() -> Iterator[Frame]:
            films = [episode_frames(env, episode, every=every) for env, episode in zip(envs, episodes, strict=True)]
            return side_by_side(films)

        return _write(path, frames, fps)


def episode_frames(env: Environment, episode: Episode, *, every: int) -> Iterator[Frame]:
    """Pictures of an episode: of its physics states, or, where it has none, of the same actions from the same reset.

    Args:
        env: of the episode's task, and free to be used.
        episode: with states, or the seed of its reset.
        every: render each such state, beginning with the first; see `real_time`.
    """
    if episode.seed is not None:
        env.reset(seed=episode.seed)  # states may leave out what a reset draws, such as where a door stands
    if episode.states is not None:
        yield from replay_frames(env, episode, every=every)
    elif episode.seed is not None:
        yield from _act_again(env, episode, every)
    else:
        raise RenderingUnavailableError(f"an episode of {env.task_name} has neither physics states nor a reset's seed")


def _act_again(env: Environment, episode: Episode, every: int) -> Iterator[Frame]:
    """Pictures on the way; says so if the world went another way than in the recorded episode."""
    yield env.render()
    for step, action in enumerate(episode.actions, start=1):
        obs, *_ = env.step(action)
        if step % every == 0:
            yield env.render()
    if not np.allclose(obs, episode.obs[-1], atol=_SAME * max(1.0, float(np.abs(episode.obs).max()))):
        logger.warning(
            "the film of %s does not show the recorded episode: the same actions from the same seed led elsewhere",
            env.task_name,
        )


def _write(path: Path, frames: Callable[[], Iterator[Frame]], fps: float) -> Path | None:
    """The film, which may be there already, or None and a warning."""
    if path.exists():
        return path
    try:
        write_video(path, frames(), fps=fps)
    except (RenderingUnavailableError, ValueError) as error:  # no driver, or pictures that are none
        logger.warning("no video: %s", error)
        return None
    return path
