"""How training moved a run's models, from each parent to its child: `drift-wm lineage`.

Training is a sequence of models. What is measured here is measured on demand, from the checkpoints alone, on one
fixed probe set: see `drift_wm.lineage.probe` for the windows and units. Each model samples as its own checkpoint says,
one of diffusion in as many steps: what is free from parent to child moves the predictions, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from drift_wm.interfaces import Spec
from drift_wm.lineage.ancestry import Member, trace
from drift_wm.lineage.probe import (
    PARTICLES,
    Drift,
    Probe,
    Quality,
    drift_between,
    episodes_of_file,
    episodes_of_run,
    make_probe,
    predict,
    quality_of,
)
from drift_wm.lineage.settings import LineageSettings
from drift_wm.models.learned import ModelConfig, differing_shape, load_world_model, stored_shape
from drift_wm.progress import track
from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import settings_of
from drift_wm.wording import counted


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One model of the lineage on the probe set; distances in standard deviations of the probe's observations."""

    member: Member
    drift: Drift | None
    """From its parent; None where the parent has no file."""
    quality: Quality

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self.member),
            "path": str(self.member.path),
            "drift_chunk": self.drift.chunk if self.drift else None,
            "drift_open_loop": self.drift.open_loop if self.drift else None,
            **asdict(self.quality),
        }


@dataclass(frozen=True, slots=True)
class ProbeSummary:
    """What the models were measured on."""

    file: Path
    note: str
    episodes: int
    windows: int
    chunk: int
    """k: steps of `drift.chunk` and of the energy score."""
    horizon: int
    """H: steps of `drift.open_loop` and of the open-loop error."""
    particles: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "file": str(self.file)}


@dataclass(frozen=True, slots=True)
class Lineage:
    """The models that a run is made of and came from, oldest first."""

    run: Path
    models: tuple[MeasuredModel, ...]
    trail_ends: str | None
    """Why the first model's parent is missing; None if it has none."""
    probe: ProbeSummary

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "command": "lineage",
            "run": str(self.run),
            "probe": self.probe.as_dict(),
            "trail_ends": self.trail_ends,
            "models": [model.as_dict() for model in self.models],
        }


def measure_lineage(settings: LineageSettings, *, device: torch.device) -> Lineage:
    """Find the models of a run and of those it came from, and measure all of them on one probe set.

    Args:
        settings: which run, and on what.
        device: where to predict.

    Raises:
        ValueError: no checkpoints, no probe episodes, or a checkpoint of another shape than the newest.
    """
    run = Path(settings.run)
    ancestry = trace(run)
    asked = settings_of(run)
    newest = load_checkpoint(ancestry.members[-1].path)
    asked |= {"obs_keys": settings.obs_keys or newest.obs_keys}
    if settings.skip_missing:
        asked |= {"skip_missing": True}
    source = (
        episodes_of_file(Path(settings.probe), asked, learned_from=newest.learned_from)
        if settings.probe
        else episodes_of_run(run, asked, learned_from=newest.learned_from)
    )
    probe = make_probe(
        source,
        load_world_model(newest),
        horizon=settings.horizon,
        windows=settings.windows,
        seed=settings.seed,
        device=device,
    )
    summary = ProbeSummary(
        file=source.file,
        note=source.note,
        episodes=len(source.episodes),
        windows=len(probe.actions),
        chunk=probe.chunk,
        horizon=probe.actions.shape[1],
        particles=PARTICLES,
        seed=settings.seed,
    )
    models = tuple(_measure(ancestry.members, stored_shape(newest), probe, device))
    return Lineage(run, models, ancestry.trail_ends, summary)


def lineage_table(lineage: Lineage) -> Table:
    """The lineage for a terminal; where it leads through several folders, these are numbered and named below."""
    runs = list(dict.fromkeys(model.member.run for model in lineage.models))
    several = len(runs) > 1
    k, H = f"k = {lineage.probe.chunk}", f"H = {lineage.probe.horizon}"
    names = ("id", "parent", "steps", f"drift\n{k}", f"drift\n{H}", f"score\n{k}", f"error\n{H}")
    table = Table(
        title=f"Lineage of {escape(str(lineage.run))}",
        caption=escape(_caption(lineage.probe, runs if several else [])),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for name in (*(["run"] if several else []), "round", *names):
        table.add_column(name, justify="left" if name in ("id", "parent") else "right", no_wrap=True)
    for model in lineage.models:
        table.add_row(*([str(1 + runs.index(model.member.run))] if several else []), *_cells(model))
    return table


def _measure(
    members: Sequence[Member], newest: tuple[Spec, ModelConfig], probe: Probe, device: torch.device
) -> Iterator[MeasuredModel]:
    """Model by model, all of the newest one's shape; only the predictions of the one before are kept."""
    before: tuple[str, Tensor] | None = None
    with track("lineage", len(members)) as task:
        for done, member in enumerate(members, start=1):
            checkpoint = load_checkpoint(member.path)
            _require_shape(member.path, stored_shape(checkpoint), newest)
            predicted = predict(load_world_model(checkpoint, device=device), probe)
            drift = None
            if before is not None and before[0] == member.parent:
                drift = drift_between(before[1], predicted, chunk=probe.chunk)
            yield MeasuredModel(member, drift, quality_of(predicted, probe))
            before = (member.id, predicted)
            task.update(done)


def _require_shape(path: Path, found: tuple[Spec, ModelConfig], newest: tuple[Spec, ModelConfig]) -> None:
    if differing := differing_shape(found, newest):
        named = "; ".join(f"{name} {there!r}, expected {value!r}" for name, (there, value) in differing.items())
        raise ValueError(
            f"{path} is of another shape than the newest model of the lineage: {named}. "
            "Models of one lineage have one shape: move the file out of the folder"
        )


def _cells(model: MeasuredModel) -> list[str]:
    member, drift, quality = model.member, model.drift, model.quality
    drifts = (drift.chunk, drift.open_loop) if drift else (None, None)
    values = (*drifts, quality.energy_score, quality.open_loop_error)
    return [
        str(member.round),
        member.id,
        member.parent or "-",
        f"{member.steps:,}",
        *("-" if value is None else f"{value:.4f}" for value in values),
    ]


def _caption(probe: ProbeSummary, runs: Sequence[Path]) -> str:
    lines = [
        "drift: from parent to child, over the first chunk (k) and open loop (H); score: energy score; error: of the "
        f"samples' mean, open loop. In standard deviations of the observations of {probe.windows} windows of "
        f"{counted(probe.episodes, 'episode')} of {probe.file} ({probe.note}).",
        *(f"run {number}: {run}" for number, run in enumerate(runs, start=1)),
    ]
    return "\n".join(lines)
