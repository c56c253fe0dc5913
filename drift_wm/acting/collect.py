"""Recording episodes to a file: `drift-wm collect`."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import torch

from drift_wm.acting.actors import make_actor
from drift_wm.acting.episodes import run_episodes
from drift_wm.acting.evaluate import training_seed
from drift_wm.build import make_env
from drift_wm.datasets.replay import Replay
from drift_wm.env_settings import env_args, env_record
from drift_wm.envs.robosuite_env import RobosuiteEnv
from drift_wm.settings import CollectSettings
from drift_wm.storage.run_folder import RunFolder

FILE = "episodes.hdf5"


def collect(settings: CollectSettings, folder: RunFolder, *, device: torch.device) -> dict[str, Any]:
    """Record episodes, those already in the file included; each is on disk before the next begins.

    Returns:
        What `results.json` holds.
    """
    with closing(make_actor(settings, device=device, exploration_std=settings.exploration_std)) as actor:
        folder.require_model(actor.model_id)
        with closing(make_env(actor.task, actor.env)) as env:
            file = Replay.open(folder.path / FILE, env_args=env_args(env.task_name, actor.env), spec=env.task_spec)
            for number in range(len(file), settings.episodes):
                seed = training_seed(settings.seed, number)
                rollouts = run_episodes(
                    actor.policy,
                    [env],
                    seeds=[seed],
                    policy_seed=seed,
                    source=actor.name,
                    device=device,
                    title=f"episode {number + 1} of {settings.episodes}, {actor.name}",
                )
                # robomimic builds the simulator of robosuite's demos from their own model.
                attributes = {"model_file": env.model_xml()} if isinstance(env, RobosuiteEnv) else {}
                file.append(rollouts.episodes[0], **attributes)
    returns = [episode.total_reward for episode in file.episodes]
    results = {
        "command": "collect",
        "task": actor.task,
        **env_record(actor.env),
        "actor": actor.name,
        "model_id": actor.model_id,
        "file": str(file.path),
        "episodes": len(file),
        "frames": file.steps * actor.env.action_repeat,
        "returns": returns,
        "mean_return": float(np.mean(returns)),
    }
    folder.write_results(results)
    return results
