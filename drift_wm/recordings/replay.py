"""Recorded actions acted again from recorded states, and how far that leads from the record: `drift-wm data replay`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
from gymnasium.error import ResetNeeded

from drift_wm.acting.episodes import Environment
from drift_wm.build import make_env
from drift_wm.datasets.moments import RunningMoments
from drift_wm.datasets.readers import open_demonstrations
from drift_wm.datasets.replay import read_env_args
from drift_wm.datasets.robomimic import RobomimicFile
from drift_wm.datasets.simulator_states import Recording, read_recordings
from drift_wm.env_settings import EnvSettings, env_record, package_versions, recorded_env
from drift_wm.envs.gymnasium_env import is_gymnasium_id
from drift_wm.progress import track
from drift_wm.recordings.action_units import remarks_on_units
from drift_wm.recordings.divergence import Array, Comparison, Divergence, Replayed, ReplayedDemo
from drift_wm.recordings.recorded_task import recorded_task
from drift_wm.recordings.settings import ReplaySettings
from drift_wm.storage.run_folder import RunFolder

_VARIES = 1e-9
"""Entries that deviate less than this count in their own units: their deviation is rounding."""


def replay(settings: ReplaySettings, folder: RunFolder) -> Replayed:
    """Act the recorded actions of every demo again, and write `results.json`.

    Raises:
        ValueError: the file has no simulator states, or names no task of this package.
    """
    path = Path(settings.data)
    task, env_settings = _recorded_world(path)
    recordings = list(islice(read_recordings(path, mask=settings.mask), settings.demos or None))
    with closing(make_env(task, env_settings)) as env:
        _require_sizes(env, recordings[0], path)
        scales = tuple(_scale(values) for values in zip(*((r.states, r.episode.obs) for r in recordings), strict=True))
        demos = []
        with track("replay", len(recordings)) as progress:
            for number, recording in enumerate(recordings):
                demos.append(replay_demo(env, recording, *scales))
                progress.update(number + 1)
        found = Replayed(
            path=path,
            task=task,
            env=env_record(env_settings),
            seconds=env.task_spec.decision_seconds,
            tolerance=settings.tolerance,
            demos=tuple(demos),
            remarks=(*_version_remarks(path), *_world_remarks(env, env_settings, recordings)),
        )
    folder.write_results(found.as_dict())
    return found


def replay_demo(env: Environment, recording: Recording, state_scale: Array, obs_scale: Array) -> ReplayedDemo:
    """Act a demo again, in one go and step by step.

    Args:
        env: of the task.
        recording: with L actions.
        state_scale: (S,) what a deviation of 1 is.
        obs_scale: (D,)
    """
    seed, states, actions = recording.episode.seed or 0, recording.states, recording.episode.actions
    wanted = (states[1:], recording.episode.obs[1:].astype(np.float64))

    def compare(found: list[tuple[Array, Array]]) -> Comparison:
        parts = zip(zip(*found, strict=True), wanted, (state_scale, obs_scale), strict=True)
        return Comparison(*(_divergence(np.stack(reached), there, scale) for reached, there, scale in parts))

    # A reset with the recorded seed brings the stream of chance of a disturbance to where it was.
    env.reset(seed=seed)
    env.set_physics_state(states[0])
    whole, going_on = [], True
    for action in actions:
        after, going_on = _step(env, action) if going_on else (_ended(env), False)
        whole.append(after)
    env.reset(seed=seed)
    single = []
    for state, action in zip(states, actions, strict=False):
        env.set_physics_state(state)
        single.append(_step(env, action)[0])
    return ReplayedDemo(recording.name, compare(whole), compare(single))


def _recorded_world(path: Path) -> tuple[str, EnvSettings]:
    """The task that a file names, and the settings around it."""
    demonstrations = open_demonstrations(path)
    if not isinstance(demonstrations, RobomimicFile):
        raise ValueError(
            f"{path}: {demonstrations.describe().format} datasets hold no simulator states; expected a robomimic HDF5 "
            "file with states, as drift-wm collect writes it"
        )
    record = recorded_task(str(path))
    if record is None:
        name = read_env_args(path).get("env_name")
        raise ValueError(
            f"{path}: env_args names {'no task' if name is None else repr(name)} without the settings of this package "
            "(env_kwargs with action_repeat), so the world to act in is not known; expected a file of drift-wm collect "
            "or drift-wm online"
        )
    if wrong := remarks_on_units(str(path), action_size=demonstrations.describe().action_size):
        raise ValueError(f"{path}: {wrong[0]}")
    return record["name"], recorded_env(record, EnvSettings())


def _require_sizes(env: Environment, recording: Recording, path: Path) -> None:
    obs, _ = env.reset(seed=0)
    found = (recording.states.shape[1], *recording.episode.sizes)
    wanted = (env.physics_state().size, obs.size, env.task_spec.action_size)
    if not wanted[0]:
        raise ValueError(f"{path}: {env.task_name} has no physics states here, so nothing can be restored")
    if found != wanted:
        raise ValueError(
            f"{path}: {recording.name} has states, observations and actions of sizes {found}, expected {wanted}, those "
            f"of {env.task_name} with the settings in env_args: they are of another task, disturbance or version"
        )


def _step(env: Environment, action: np.ndarray) -> tuple[tuple[Array, Array], bool]:
    """State and observation after an action, and whether the episode goes on."""
    try:
        obs, _, terminated, truncated, _ = env.step(action)
    except (ResetNeeded, FloatingPointError):  # the world is over, or its simulation has diverged
        return _ended(env), False
    return (env.physics_state(), obs.astype(np.float64)), not (terminated or truncated)


def _ended(env: Environment) -> tuple[Array, Array]:
    """What stands for a step that could not be taken: as far from any record as can be."""
    return np.full(env.physics_state().shape, np.inf), np.full(env.task_spec.observation_size, np.inf)


def _divergence(found: Array, wanted: Array, scale: Array) -> Divergence:
    """(T, n) each, and (n,)."""
    away = np.abs(found - wanted) / scale
    away[np.isnan(away)] = np.inf  # what is no number is as far from any record as can be, and not equal to it
    return Divergence(away.max(axis=1), np.sqrt(np.square(away).mean(axis=1)))


def _scale(parts: Sequence[np.ndarray]) -> Array:
    """(n,) standard deviations over all rows; 1 for entries that do not vary."""
    moments = RunningMoments()
    for part in parts:
        moments.add(part)
    return np.where(moments.std > _VARIES, moments.std, 1.0)


def _version_remarks(path: Path) -> list[str]:
    """Packages that are not of the recorded versions."""
    recorded = read_env_args(path).get("versions")
    if not isinstance(recorded, dict):
        return ["the file does not record the versions that it was made with"]
    here = package_versions()
    return [
        f"{name} was {version} at the recording and is {here.get(name, 'absent')} here"
        for name, version in recorded.items()
        if here.get(name) != version
    ]


def _world_remarks(env: Environment, settings: EnvSettings, recordings: Sequence[Recording]) -> list[str]:
    """What the recordings say of the world that they are of."""
    remarks = []
    if is_gymnasium_id(env.task_name):
        remarks.append("states of gymnasium tasks are positions and velocities; the solver's warm start is not in them")
    else:
        ticks = np.concatenate([np.diff(recording.states[:, 0]) for recording in recordings])
        recorded, here = float(np.median(ticks)), env.task_spec.decision_seconds
        if not np.isclose(recorded, here):
            repeat = recorded / here * env.action_repeat
            remarks.append(
                f"the recorded clock moves {recorded:.4g} s a step, this world {here:.4g} s: actions were held for "
                f"{repeat:.4g} control steps, env_args says action_repeat {env.action_repeat}"
            )
    if settings.disturbance.disturbs and any(recording.episode.seed is None for recording in recordings):
        remarks.append(f"the chance of {settings.disturbance.name} cannot be repeated where no seed is recorded")
    return remarks
