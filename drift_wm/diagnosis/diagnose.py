"""Does this world model tell the truth? `drift-wm diagnose` asks a model about recorded episodes and the simulator."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from drift_wm.acting.actors import name_of, require_spec
from drift_wm.build import make_env
from drift_wm.diagnosis.answers import Answers
from drift_wm.diagnosis.groups import Group, entry_names, groups_of_env, groups_of_file
from drift_wm.diagnosis.material import Material, choose_material
from drift_wm.diagnosis.questions import ask
from drift_wm.diagnosis.settings import DiagnoseSettings
from drift_wm.diagnosis.world import World, open_truth, world_of
from drift_wm.env_settings import env_record
from drift_wm.envs.dm_control import DmControlEnv
from drift_wm.models.learned import load_world_model
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import newest_checkpoint, run_of
from drift_wm.storage.run_folder import RunFolder


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """A model, what it was asked about, and what came of it."""

    name: str
    """What a table calls the model."""
    checkpoint: Path
    model_id: str
    chunk: int
    """k."""
    world: World | None
    file: Path
    episodes: int
    note: str
    """What a reader must know about the episodes."""
    groups: tuple[Group, ...]
    """Of the entries of an observation."""
    particles: int
    answers: Answers

    @property
    def names(self) -> list[str]:
        """Of the entries that all measures are of, in their order."""
        every = entry_names(self.groups)
        return [every[entry] for entry in self.answers.entries]

    @property
    def constant(self) -> list[str]:
        """Names of the entries that never change, which are left out."""
        return [name for i, name in enumerate(entry_names(self.groups)) if i not in self.answers.entries]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; without the returns and samples behind the plots."""
        answers = self.answers
        return {
            "command": "diagnose",
            "model": self.name,
            "checkpoint": str(self.checkpoint),
            "model_id": self.model_id,
            "chunk": self.chunk,
            "task": self.world.task if self.world else None,
            "disturbance": self.world.env.disturbance.name or "none" if self.world else None,
            "env": env_record(self.world.env) if self.world else None,
            "data": str(self.file),
            "episodes": self.episodes,
            "note": self.note,
            "particles": self.particles,
            "situations": answers.situations,
            "diverged": answers.diverged,
            "truth_diverged": answers.truth_diverged,
            "entries": self.names,
            "constant_entries": self.constant,
            "replay_error": answers.replay_error,
            "open_loop": asdict(answers.open_loop),
            "actions": {**asdict(answers.actions), "ratio": answers.actions.ratio},
            "distributions": [asdict(each) for each in answers.distributions],
            "value": asdict(answers.value) if answers.value else None,
            "exploitation": asdict(answers.exploitation) if answers.exploitation else None,
            "uncertainty": asdict(answers.uncertainty) if answers.uncertainty else None,
            "unmeasured": [asdict(each) for each in answers.unmeasured],
        }


def diagnose(settings: DiagnoseSettings, folder: RunFolder, *, device: torch.device) -> Diagnosis:
    """Ask a checkpoint everything that the data allow, and write `results.json`.

    Args:
        settings: which model, which episodes, and how much of everything.
        folder: receives the results.
        device: where to predict.

    Raises:
        ValueError: the checkpoint is not one of a world model, a file is missing or of another task, or the settings
            do not fit the model.
    """
    path = newest_checkpoint(Path(settings.checkpoint))
    checkpoint = load_checkpoint(path, device=device)
    model = load_world_model(checkpoint, device=device)
    model.generator.set_sampling_steps(settings.sampling_steps)
    material = choose_material(
        Path(settings.data),
        run_of(path),
        learned_from=checkpoint.learned_from,
        obs_keys=settings.obs_keys or checkpoint.obs_keys,
        mask=settings.mask,
        skip_missing=settings.skip_missing,
        seed=settings.seed,
    )
    world = world_of(settings.task, settings.env, material.file, checkpoint)
    groups = _groups(model, material, world)
    with open_truth(world, threads=settings.threads) if world else nullcontext() as truth:
        answers = ask(model, material, groups, truth, settings, members=len(model.members), device=device)
    diagnosis = Diagnosis(
        name=name_of(model.config),
        checkpoint=path,
        model_id=checkpoint.id,
        chunk=model.chunk,
        world=world,
        file=material.file,
        episodes=len(material.measured),
        note=material.note,
        groups=groups,
        particles=settings.particles,
        answers=answers,
    )
    folder.write_results(diagnosis.as_dict())
    return diagnosis


def _groups(model: LearnedWorldModel, material: Material, world: World | None) -> tuple[Group, ...]:
    """The task's own names where it is known, else the keys of the file."""
    if world is None:
        return groups_of_file(material.file, material.obs_keys, model.spec.observation_size, mask=material.mask)
    with closing(make_env(world.task, world.env)) as env:
        require_spec(model.spec, env.task_spec, world.task)
        assert isinstance(env, DmControlEnv), "a world is one of the suite"
        return groups_of_env(env)
