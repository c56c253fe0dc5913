"""The kinds of learned models, and the way from a checkpoint back to one."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import torch

from drift_wm.generators import GeneratorConfig
from drift_wm.interfaces import Spec
from drift_wm.models.behaviour import LearnedPolicy, PolicyConfig, PolicySettings
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.world_model import LearnedWorldModel
from drift_wm.storage.checkpoint import Checkpoint

LearnedModel = LearnedWorldModel | LearnedPolicy
ModelConfig = WorldModelConfig | PolicyConfig

WORLD_MODEL, POLICY = "world_model", "policy"
KINDS = (WORLD_MODEL, POLICY)
"""What a checkpoint's `kind` may be."""

_CONFIGS: dict[str, type[ModelConfig]] = {WORLD_MODEL: WorldModelConfig, POLICY: PolicyConfig}
_ACTORS = {WORLD_MODEL: "actor=model plans in it", POLICY: "actor=policy acts by it"}
_FREE = {
    "precision": None,
    "execute": None,
    "noise": None,
    "generator.steps": ("diffusion", "flow"),  # trained without reference to the steps of a sample
}
"""Settings of how a model is used, not of what it is, which may change from parent to child; of which generators."""


def shape_of_kind(kind: str, model: WorldModelConfig, policy: PolicySettings) -> ModelConfig:
    """The one shape that settings for both kinds describe; a policy takes its generator from `model.generator`.

    Raises:
        ValueError: no such kind, or settings of the other kind were given, which would have no effect.
    """
    if kind == WORLD_MODEL:
        if policy != PolicySettings():
            found = _changed("policy", policy, PolicySettings())
            raise ValueError(f"{found}: expected the default, as only a policy is shaped by it; set kind=policy")
        return model
    if kind != POLICY:
        raise ValueError(f"kind={kind!r}: expected one of {', '.join(KINDS)}")
    if model != (default := WorldModelConfig(generator=model.generator)):
        raise ValueError(
            "kind=policy: expected the defaults of model besides model.generator, found "
            f"{_changed('model', model, default)}: leave that out, or take model=drifting if model= brought it; "
            "set policy.history and policy.chunk, or kind=world_model"
        )
    return PolicyConfig(**asdict(policy), generator=model.generator)


def _changed(group: str, settings: WorldModelConfig | PolicySettings, default: object) -> str:
    """Those of a group's settings that differ from their defaults, as they are typed."""
    values = ((each.name, getattr(settings, each.name)) for each in fields(settings))
    return ", ".join(f"{group}.{name}={value}" for name, value in values if value != getattr(default, name))


def make_model(spec: Spec, config: ModelConfig, *, rng: torch.Generator) -> LearnedModel:
    """The untrained model that a configuration describes; `rng` is the source of its weights."""
    if isinstance(config, PolicyConfig):
        return LearnedPolicy(spec, config, rng=rng)
    return LearnedWorldModel(spec, config, rng=rng)


def kind_of(config: ModelConfig) -> str:
    """What a checkpoint calls a model of this configuration: one of KINDS."""
    return POLICY if isinstance(config, PolicyConfig) else WORLD_MODEL


def load_world_model(checkpoint: Checkpoint, *, device: torch.device | str = "cpu") -> LearnedWorldModel:
    """The averaged world model of a checkpoint, ready to predict.

    Raises:
        ValueError: the checkpoint holds something else, or settings that are not those of this package.
    """
    model = _load(checkpoint, WORLD_MODEL, device)
    assert isinstance(model, LearnedWorldModel)
    return model


def load_policy(checkpoint: Checkpoint, *, device: torch.device | str = "cpu") -> LearnedPolicy:
    """The averaged policy of a checkpoint, ready to act.

    Raises:
        ValueError: the checkpoint holds something else, or settings that are not those of this package.
    """
    model = _load(checkpoint, POLICY, device)
    assert isinstance(model, LearnedPolicy)
    return model


def _load(checkpoint: Checkpoint, kind: str, device: torch.device | str) -> LearnedModel:
    require_kind(checkpoint, kind)
    spec, config = stored_shape(checkpoint)
    model = make_model(spec, config, rng=torch.Generator().manual_seed(0))
    model.load_state_dict(checkpoint.state["averaged"])
    return model.to(device).eval()


def require_kind(checkpoint: Checkpoint, kind: str) -> None:
    """Raise a ValueError if a checkpoint does not hold what is asked of it.

    Args:
        checkpoint: of any kind.
        kind: one of KINDS.
    """
    if checkpoint.kind != kind:
        usable = f"; {_ACTORS[checkpoint.kind]}" if checkpoint.kind in KINDS else ""
        raise ValueError(
            f"expected a checkpoint of a {kind.replace('_', ' ')}, found {checkpoint.id} of kind "
            f"{checkpoint.kind!r}{usable}"
        )


def require_same_shape(checkpoint: Checkpoint, spec: Spec, config: ModelConfig) -> None:
    """Raise a ValueError that names each setting in which a checkpoint differs from what is asked of it."""
    require_kind(checkpoint, kind_of(config))
    if differing := differing_shape(stored_shape(checkpoint), (spec, config)):
        named = ", ".join(f"{name} (checkpoint {found!r}, here {here!r})" for name, (found, here) in differing.items())
        raise ValueError(
            f"checkpoint {checkpoint.id} does not fit: {named}. "
            "Use the task and model settings it was trained with, or start a new run"
        )


def differing_shape(one: tuple[Spec, ModelConfig], other: tuple[Spec, ModelConfig]) -> dict[str, tuple[object, object]]:
    """Settings in which two models differ and which forbid to go on from one to the other: name -> both values.

    How a model is used is free; with it, in how many steps a sample of diffusion or flow is made. A pace that one of
    them does not know does not keep them apart.
    """
    ours, theirs, name_of_generator = _flat(*one), _flat(*other), other[1].generator.name
    if not (ours["decision_seconds"] and theirs["decision_seconds"]):
        ours["decision_seconds"] = theirs["decision_seconds"]
    free = [name for name, generators in _FREE.items() if generators is None or name_of_generator in generators]
    return {name: (ours[name], value) for name, value in theirs.items() if name not in free and ours[name] != value}


def _flat(spec: Spec, config: ModelConfig) -> dict[str, Any]:
    """All settings of a shape by name."""
    settings = {**asdict(spec), **asdict(config)}
    return settings | {f"generator.{name}": value for name, value in settings.pop("generator").items()}


def stored_shape(checkpoint: Checkpoint) -> tuple[Spec, ModelConfig]:
    """The task and model settings a checkpoint was trained with; those it does not name have their defaults.

    Raises:
        ValueError: the settings are not those of this package.
    """
    stored: dict[str, Any] = checkpoint.config
    try:
        spec = Spec(**stored["spec"])
        model = dict(stored["model"])
        return spec, _CONFIGS[checkpoint.kind](generator=GeneratorConfig(**model.pop("generator")), **model)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"checkpoint {checkpoint.id} carries settings this version does not know ({error}); "
            "load it with the version of drift_wm that wrote it"
        ) from error
