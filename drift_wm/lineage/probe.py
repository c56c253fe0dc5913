"""A fixed set of recorded windows, on which models are compared with each other in fixed units.

A model's own scales change from round to round, and so do its standardised losses. Here all distances are root mean
squares over steps and observation dimensions, each dimension in units of its standard deviation in the probe
episodes, and all models meet the same windows with the same noise.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drift_wm.datasets.episodes import Episode
from drift_wm.datasets.moments import compute_statistics
from drift_wm.datasets.readers import read_demonstrations
from drift_wm.datasets.replay import OBS_KEY
from drift_wm.datasets.windows import Windows
from drift_wm.interfaces import History, Spec
from drift_wm.models.futures import draw_futures, error_of_mean
from drift_wm.models.world_model import LearnedWorldModel

PARTICLES = 8
"""P, sampled futures of each window."""


@dataclass(frozen=True, slots=True)
class ProbeEpisodes:
    """Recorded episodes, and how they relate to what the models were trained on."""

    file: Path
    episodes: tuple[Episode, ...]
    note: str
    """What a reader of scores on them must know."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """W windows of recorded steps."""

    history: History
    """B = W."""
    actions: Tensor
    """(W, H, A): what was done after the history."""
    future: Tensor
    """(W, 1, H, E): what was observed after it, as `scaled` gives it; P = 1."""
    entries: Tensor
    """(E,): which of the D entries vary in the probe episodes, all where none does. What never changes is predicted by
    saying what it is, and would pass for skill."""
    obs_std: Tensor
    """(D,): standard deviation of all observations of the probe episodes."""
    chunk: int
    """k, of the models to be compared."""
    seed: int
    """Of the noise."""

    def scaled(self, obs: Tensor) -> Tensor:
        """Observations (..., D) -> those of the entries (..., E), in standard deviations."""
        return (obs / self.obs_std)[..., self.entries]


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the predictions of a child lie from those of its parent, from the same noise."""

    chunk: float
    """Over the first chunk."""
    open_loop: float
    """Over all H steps of the probe."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a model predicts the probe; lower is better in both."""

    energy_score: float
    """Of the first chunk: E|x - y| - E|x - x'|/2, a strictly proper score (Gneiting and Raftery 2007)."""
    open_loop_error: float
    """Of the sampled futures' mean over all H steps, root mean square, as `train` reports it of held-out episodes."""


def episodes_of_run(run: Path, settings: dict[str, Any], *, learned_from: Collection[str]) -> ProbeEpisodes:
    """The run's own probe: the held-out part of its data, or its replay.

    Args:
        run: the run folder.
        settings: what the run was asked, as in its `config.json`.
        learned_from: fingerprints of the episodes that the run's newest model, and those before it, were trained on.

    Raises:
        ValueError: the data are gone or damaged, or the folder does not say what the run was trained on.
    """
    command = settings.get("command")
    if command == "train":
        file = Path(settings["data"])
        _require_there(file, "what the run was trained on")
        episodes = _read(file, settings, mask=settings["mask"])
        held_out = [episode for episode in episodes if not episode.is_among(learned_from)]
        if held_out:
            return ProbeEpisodes(file, tuple(held_out), "no model of the lineage was trained on these")
        return ProbeEpisodes(file, tuple(episodes), "nothing was held out: the models were trained on all of these")
    if command in ("online", "demo"):
        file = run / "replay.hdf5"
        _require_there(file, "the replay of the run")
        episodes = _read(file, {"obs_keys": [OBS_KEY]})
        return ProbeEpisodes(file, tuple(episodes), "later models were trained on more of these than earlier ones")
    raise ValueError(
        f"{run} does not say what its models were trained on (command {command!r} in config.json, expected train, "
        "online or demo); choose the episodes to compare on by probe=FILE"
    )


def episodes_of_file(file: Path, settings: dict[str, Any], *, learned_from: Collection[str]) -> ProbeEpisodes:
    """All episodes of a file or folder; read with the observation keys of the run, where its settings name some.

    Args:
        file: of the episodes.
        settings: what the run was asked.
        learned_from: fingerprints of the episodes that the run's newest model, and those before it, were trained on.

    Raises:
        ValueError: the file is missing or damaged.
    """
    episodes = _read(file, settings)
    known = sum(episode.is_among(learned_from) for episode in episodes)
    trained = f"models of the lineage WERE TRAINED ON {known} of these {len(episodes)} episodes"
    note = trained if known else "no model of the lineage was trained on these"
    return ProbeEpisodes(file, tuple(episodes), f"chosen by probe=; {note}")


def make_probe(
    source: ProbeEpisodes, model: LearnedWorldModel, *, horizon: int, windows: int, seed: int, device: torch.device
) -> Probe:
    """Draw windows without replacement; the same arguments draw the same ones.

    Args:
        source: where from.
        model: one of those to be compared, for K, k and the sizes.
        horizon: H, rounded up to whole chunks.
        windows: W; fewer where the episodes have no more.
        seed: of the choice, and of the noise of predictions.
        device: where to predict.

    Raises:
        ValueError: the episodes are of other sizes than the model, or too short.
    """
    K, k = model.history, model.chunk
    steps = -(-horizon // k) * k
    _require_fit(source, model.spec, steps)
    available = Windows(source.episodes, history=K, chunk=steps)
    order = torch.randperm(len(available), generator=torch.Generator().manual_seed(seed))
    batch = available.batch(order[:windows])
    obs, actions = batch.obs.to(device), batch.actions.to(device)
    moments = compute_statistics(source.episodes, chunk=1).obs
    varies = torch.ones_like(moments.constant) if moments.constant.all() else ~moments.constant
    probe = Probe(
        history=History(obs[:, :K], actions[:, : K - 1]),
        actions=actions[:, K - 1 :],
        future=obs[:, None, K:],
        entries=varies.nonzero()[:, 0].to(device),
        obs_std=moments.std.to(device),
        chunk=k,
        seed=seed,
    )
    return replace(probe, future=probe.scaled(probe.future))


def predict(model: LearnedWorldModel, probe: Probe) -> Tensor:
    """(W, P, H, E): sampled futures of each window, in standard deviations.

    The model is set to float32, so that a small drift is not lost in the rounding of bfloat16.
    """
    model.config = replace(model.config, precision="float32")
    rng = torch.Generator(model.device).manual_seed(probe.seed)
    return probe.scaled(draw_futures(model, probe.history, probe.actions, particles=PARTICLES, rng=rng))


def drift_between(parent: Tensor, child: Tensor, *, chunk: int) -> Drift:
    """The distance of two predictions (W, P, H, E) of one probe."""
    difference = child - parent
    return Drift(_rms(difference[:, :, :chunk]), _rms(difference))


def quality_of(predicted: Tensor, probe: Probe) -> Quality:
    """How well futures (W, P, H, E) predict the probe."""
    k = probe.chunk
    x, y = predicted[:, :, :k].flatten(2), probe.future[:, :, :k].flatten(2)
    P, unit = x.shape[1], x.shape[2] ** 0.5
    to_data = (x - y).norm(dim=-1).mean() / unit
    between = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=(1, 2)).mean() / unit
    energy_score = to_data - between / (2 * P * (P - 1))
    return Quality(float(energy_score), error_of_mean(predicted, probe.future[:, 0]))


def _rms(difference: Tensor) -> float:
    return float(difference.square().mean().sqrt())


def _read(file: Path, settings: dict[str, Any], *, mask: str | None = None) -> list[Episode]:
    """As the run read its data. Nothing here asks for rewards."""
    return read_demonstrations(
        file,
        obs_keys=settings.get("obs_keys"),
        mask=mask,
        allow_missing_rewards=True,
        skip_missing=settings.get("skip_missing", False),
    )


def _require_there(file: Path, what: str) -> None:
    if not file.exists():
        raise ValueError(
            f"{what}, {file}, is not there (relative to {Path.cwd()}); "
            "put it back, or choose the episodes to compare on by probe=FILE"
        )


def _require_fit(source: ProbeEpisodes, spec: Spec, steps: int) -> None:
    if (sizes := source.episodes[0].sizes) != spec.sizes:
        raise ValueError(
            f"{source.file}: episodes have (observation, action) sizes {sizes}, the models expect {spec.sizes}; "
            "choose a file of their task by probe=FILE"
        )
    longest = max(len(episode) for episode in source.episodes)
    if longest < steps:
        raise ValueError(
            f"{source.file}: the longest of {len(source.episodes)} probe episodes has {longest} steps, expected at "
            f"least {steps} (the horizon in whole chunks); choose a smaller horizon= or longer episodes by probe=FILE"
        )
