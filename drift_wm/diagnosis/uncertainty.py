"""Whether an ensemble knows what it does not know: whether the disagreement of its members warns of errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from drift_wm.diagnosis.rankings import auroc
from drift_wm.diagnosis.situations import Situations, sample_model
from drift_wm.interfaces import WorldModel

_EXCHANGES = 8
"""Of samples among members, whose mean is what chance shows."""


@dataclass(frozen=True, slots=True)
class Warnings:
    """How well a number for each situation warns. AUROC: 1 warns perfectly."""

    auroc_of_errors: float
    """Does it single out the quarter of situations with the largest errors?"""
    rank_correlation: float
    """Spearman's, with the error."""
    auroc_of_strange: float
    """Does it single out situations beyond the range of the data? See `beyond_range`."""


@dataclass(frozen=True, slots=True)
class UncertaintyMeasures:
    """Of the first chunk of each situation."""

    members: int
    situations: int
    disagreement: Warnings
    """Of the members' disagreement."""
    chance: Warnings
    """The same with each situation's samples dealt out to the members at random. Not 0.5, 0 and 0.5: where a law is
    wide, the disagreement that is left by chance scatters more, too."""


def measure_uncertainty(
    model: WorldModel,
    members: int,
    situations: Situations,
    scale: Tensor,
    data_range: Tensor,
    *,
    entries: Sequence[int],
    particles: int,
    rng: torch.Generator,
) -> UncertaintyMeasures:
    """Compare the members' means.

    Args:
        model: an ensemble that shares its particles out among its members in contiguous groups.
        members: E >= 2.
        situations: W.
        scale: (D,) standard deviations over the data.
        data_range: (D,) largest less smallest value over the data.
        entries: of the observations, that count.
        particles: P >= 2 E.
        rng: of the predictions, and of the strange situations.
    """
    k, counted = model.chunk, list(entries)
    scale = scale[counted]
    samples = sample_model(model, situations, k, particles=particles, rng=rng, by_member=True)[..., counted]
    future = situations.future[:, :k, counted]
    error = ((samples.mean(dim=1) - future) / scale).square().mean(dim=(1, 2)).sqrt()
    finite = error.isfinite()  # these are other draws than those that were found finite before
    near, error = samples[finite], error[finite]
    strange = beyond_range(situations, data_range, rng=rng)
    far = sample_model(model, strange, k, particles=particles, rng=rng, by_member=True)[..., counted]

    def warnings(known: Tensor, unknown: Tensor) -> Warnings:
        doubts = [member_disagreement(each, members, scale) for each in (known, unknown)]
        return _warnings(doubts[0], doubts[1], error)

    by_chance = [warnings(_dealt_out(near, rng), _dealt_out(far, rng)) for _ in range(_EXCHANGES)]
    return UncertaintyMeasures(
        members=members,
        situations=len(near),
        disagreement=warnings(near, far),
        chance=Warnings(*(sum(values) / _EXCHANGES for values in zip(*map(astuple, by_chance), strict=True))),
    )


def _warnings(near: Tensor, far: Tensor, error: Tensor) -> Warnings:
    """Numbers (W,) of known situations and (V,) of strange ones, and the errors (W,) in the first."""
    is_strange = torch.arange(len(near) + len(far), device=near.device) >= len(near)
    return Warnings(
        auroc_of_errors=auroc(near, error > error.quantile(0.75)),
        rank_correlation=float(stats.spearmanr(near.cpu(), error.cpu()).statistic),
        auroc_of_strange=auroc(torch.cat([near, far]), is_strange),
    )


def _dealt_out(samples: Tensor, rng: torch.Generator) -> Tensor:
    """Samples (W, P, ...) in another order, by chance for each situation."""
    order = torch.rand(samples.shape[:2], generator=rng, device=rng.device).argsort(dim=1).to(samples.device)
    return samples[torch.arange(len(samples), device=samples.device)[:, None], order]


def member_disagreement(samples: Tensor, members: int, scale: Tensor) -> Tensor:
    """The variance between the members' means, less what chance in these means adds to it.

    Members that agree on a law differ in the means of their few samples, the more the wider the law is.

    Args:
        samples: (W, P, k, D), at least two of each member, in contiguous groups.
        members: E >= 2.
        scale: (D,) unit of each entry.

    Returns:
        (W,) mean over entries; about zero, and negative half of the time, where members agree. inf where a prediction
        is not finite.
    """
    groups = (samples / scale).tensor_split(members, dim=1)
    means = torch.stack([group.mean(dim=1).flatten(1) for group in groups]).double()
    by_chance = torch.stack(
        [(group - group[:, :1]).var(dim=1).flatten(1).mean(dim=1) / group.shape[1] for group in groups]
    )
    # Relative to the first member, equal ones differ by exactly zero.
    found = (means - means[0]).var(dim=0).mean(dim=1) - by_chance.mean(dim=0)
    return torch.where(found.isfinite(), found, torch.inf)


def beyond_range(situations: Situations, data_range: Tensor, *, rng: torch.Generator) -> Situations:
    """The same situations, one entry of each observation moved by the whole range of that entry, up or down.

    So it lies outside of what the data hold, or on the edge of it. The entry is drawn for each situation among those
    that vary, and is moved in all K frames alike. The recorded future does not belong to these situations.

    Raises:
        ValueError: no entry varies.
    """
    varying = (data_range > 0).nonzero().flatten().cpu()
    if not len(varying):
        raise ValueError("data_range is 0 in all entries; expected one that varies: use other data")
    W = len(situations)
    entry = varying[torch.randint(len(varying), (W,), generator=rng)]
    sign = torch.randint(2, (W,), generator=rng).float() * 2 - 1
    obs = situations.history.obs.clone()
    rows = torch.arange(W)
    moved = (sign * data_range.cpu()[entry]).to(obs)
    obs[rows, :, entry] += moved.unsqueeze(1)
    return replace(situations, history=replace(situations.history, obs=obs))
