"""Drifting fields: where every generated sample should move, given data and its own siblings.

A generator x = f(z, c) is trained by moving each sample a little along a field V and regressing on
the stopped target, L = |x - sg(x + V(x))|^2 (Drifting Models, arXiv 2602.04770, Eq. 4-6); at
V = 0 it has arrived. A field attracts samples to data ("positives") and repels them from generated
samples ("negatives"). It is antisymmetric, V_{p,q} = -V_{q,p}, hence zero when both sets agree.

Every function here is pure and treats its B conditions independently, except for the pooled scale of
the published field, which is a deliberate average over the batch. Shapes:

    x          (B, G, Y)  generated samples of B conditions
    positives  (B, M, Y)  data of the same conditions; M = 1 in a world model
    negatives  (B, J, Y)  what repels; None means the G - 1 siblings of each sample
    returns    (B, G, Y)  V, in the units of x

Which one to use (measured in docs/truth): `energy` is linear in the data measure, so a single
positive per condition is unbiased and the conditional law is its only equilibrium. The published
kernel field normalises by the positives and is not consistent for M = 1: in worlds that go more
than one way it ends farther from the truth in all three cases there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]
"""(x, positives) -> V with the siblings as negatives."""

_TINY = 1e-12  # keeps 0 / 0 at coinciding points at 0: their difference vector is exactly zero
_NO_FORCE = 1e-8  # below this a force is rounding error, which normalisation must not blow up
_SELF_DISTANCE = 100.0  # in units of the distance scale: takes a sample out of its own repulsion
_AFFINITY_FLOOR = 1e-6  # under the square root, as in the authors' code: far targets keep a weak pull


def energy_field(
    x: Tensor,
    positives: Tensor,
    negatives: Tensor | None = None,
    *,
    exponent: float = 1.0,
    smoothing: float = 0.0,
    blocks: int = 1,
) -> Tensor:
    """Mean force to the data minus mean force to the siblings, unit vectors for an exponent of 1.

    V_i = mean_m f(y_m - x_i) - 1/(G - 1) sum_{j != i} f(x_j - x_i),   f(r) = r / (|r|^2 + d^2)^(1 - b/2)

    For b = 1 and d = 0 this is Eq. 41-45 of the paper with kernel -|x - y|: minus the gradient of the energy
    score, a strictly proper scoring rule, unbiased for every G >= 2. So it is for every exponent b in (0, 2), whose
    kernel is -|x - y|^b / b (Gneiting and Raftery 2007, section 4.3), and for the smoothed kernel, a multiquadric.
    Below 1 the force grows towards its target: fine structure and small spreads are learned faster.

    Args:
        x: (B, G, Y) generated samples.
        positives: (B, M, Y) data.
        negatives: (B, J, Y) repelling samples; None means the siblings of each sample.
        exponent: b, in (0, 2).
        smoothing: d, the distance below which the force fades.
        blocks: more than 1 adds the field of each of so many equal parts of the vector, as `blockwise` does, from
            the same differences.

    Raises:
        ValueError: fewer than two siblings and no negatives, or sets of other conditions or sizes.
    """
    _require_same_conditions(x, positives, negatives)
    G, M = x.shape[1], positives.shape[1]
    if negatives is not None:
        both = torch.cat([positives, negatives], dim=1)
        forces = _forces(both.unsqueeze(1) - x.unsqueeze(2), exponent, smoothing, blocks)
        return forces[:, :, :M].mean(dim=2).sub_(forces[:, :, M:].mean(dim=2))
    _require_siblings(x)
    if M == 1:  # nothing to average
        V = _forces(positives - x, exponent, smoothing, blocks)
    else:
        V = _forces(positives.unsqueeze(1) - x.unsqueeze(2), exponent, smoothing, blocks).mean(dim=2)
    to_others = [x[:, i + 1 :] - x[:, i : i + 1] for i in range(G - 1)]  # each pair once
    forces = _forces(torch.cat(to_others, dim=1), exponent, smoothing, blocks)  # of all in one go
    used = 0
    for i, apart in enumerate(to_others):  # what pushes one sample one way pushes the other the other way
        force = forces[:, used : used + apart.shape[1]]
        V[:, i + 1 :].add_(force, alpha=1 / (G - 1))
        V[:, i].sub_(force.sum(dim=1), alpha=1 / (G - 1))
        used += apart.shape[1]
    return V


def branching_energy(
    x: Tensor,
    y: Tensor,
    odds: Tensor,
    *,
    exponent: float = 1.0,
    smoothing: float = 0.0,
    blocks: int = 1,
) -> tuple[Tensor, Tensor]:
    """The energy field where each of G siblings may go M ways, and what each way adds to the energy score.

    Siblings are points with weights then, the odds p_gm, which stand in the place of shares of samples:

        V_gm = f(y - x_gm) - 1/(G - 1) sum_{h != g} sum_n p_hn f(x_hn - x_gm)
        U_gm = k(y - x_gm) - 1/(G - 1) sum_{h != g} sum_n p_hn k(x_hn - x_gm),   k(r) = (|r|^2 + d^2)^(b/2) / b

    With f of `energy_field`, the gradient of k. Of the energy score of the mixture, -p_gm V_gm / G is the gradient by
    x_gm, and U_gm / G that by p_gm.

    Args:
        x: (B, G, M, Y), each way of each sibling.
        y: (B, Y) data.
        odds: (B, G, M), which add up to 1 for each sibling.
        exponent: b, in (0, 2).
        smoothing: d, the distance below which the force fades.
        blocks: more than 1 adds field and score of each of so many equal parts of the vector.

    Returns:
        V (B, G, M, Y) and U (B, G, M).

    Raises:
        ValueError: fewer than two siblings.
    """
    _require_siblings(x)
    G = x.shape[1]
    V, U = _forces_and_kernels(y[:, None, None] - x, exponent, smoothing, blocks)
    of_others = odds / (G - 1)
    for g in range(G):
        for h in range(g + 1, G):  # what pushes one sample one way pushes the other the other way
            forces, kernels = _forces_and_kernels(x[:, h, None] - x[:, g, :, None], exponent, smoothing, blocks)
            V[:, g].sub_(torch.einsum("bmny,bn->bmy", forces, of_others[:, h]))
            V[:, h].add_(torch.einsum("bmny,bm->bny", forces, of_others[:, g]))
            U[:, g].sub_(torch.einsum("bmn,bn->bm", kernels, of_others[:, h]))
            U[:, h].sub_(torch.einsum("bmn,bm->bn", kernels, of_others[:, g]))
    return V, U


def kernel_field(
    x: Tensor,
    positives: Tensor,
    negatives: Tensor | None = None,
    *,
    temperatures: tuple[float, ...] = (0.02, 0.05, 0.2),
    pooled: bool = True,
) -> Tensor:
    """The published field: Laplace kernels normalised over targets and over samples (Algorithm 2).

    Per temperature t, with distances d in units of their mean and targets T = negatives + positives:

        A = sqrt(max(softmax_T(-d/t) * softmax_x(-d/t), 1e-6))
        V = (A_pos * sum A_neg) y_pos - (A_neg * sum A_pos) y_neg,   then V / rms(V), summed over t

    The floor of 1e-6, the self-mask of 100 mean distances and the scale pooled over the batch, to which the distances
    of samples to themselves count as zeros, follow the authors' released code rather than the paper's pseudo-code.

    Args:
        x: (B, G, Y) generated samples.
        positives: (B, M, Y) data.
        negatives: (B, J, Y) repelling samples; None means the siblings of each sample.
        temperatures: kernel widths in units of the mean distance.
        pooled: average distance scale and force over the batch (the authors' code); False takes both per
            condition, the variant of DriftWorld (arXiv 2607.15065).

    Raises:
        ValueError: fewer than two siblings and no negatives, or sets of other conditions or sizes.
    """
    _require_same_conditions(x, positives, negatives)
    if negatives is None:
        _require_siblings(x)
    repelling = x if negatives is None else negatives
    targets = torch.cat([repelling, positives], dim=1)
    difference = targets.unsqueeze(1) - x.unsqueeze(2)
    distance = difference.norm(dim=-1)
    own = torch.zeros_like(distance[:1], dtype=torch.bool)
    if negatives is None:
        own[:, :, : x.shape[1]] = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    scale = _mean_distance(distance, pooled)
    distance = distance / scale + _SELF_DISTANCE * own
    force = torch.zeros_like(x)
    for temperature in temperatures:
        weights = _signed_weights(-distance / temperature, count_negative=repelling.shape[1])
        # The weights of a row sum to zero, so differences to x give the same V as targets, without cancellation.
        pull = torch.einsum("bgt,bgty->bgy", weights, difference)
        force = force + pull / _rms(pull, pooled)
    # Coordinates in the authors' scaled space are x / (scale / sqrt(Y)), and the force has unit rms there.
    return force * scale / math.sqrt(x.shape[-1])


def attraction_field(x: Tensor, positives: Tensor) -> Tensor:
    """V_i = mean_m y_m - x_i: plain regression to the mean, the control that repulsion must beat."""
    _require_same_conditions(x, positives, None)
    return positives.mean(dim=1, keepdim=True) - x


def blockwise(field: Field, blocks: int) -> Field:
    """Score the whole vector and each of `blocks` equal parts of it: V = V_whole + sum of V_part.

    Every part of a chunk of future steps then follows its own marginal law as well as the joint one;
    with energy fields both terms are proper, so the equilibrium is the same.
    """
    if blocks == 1:
        return field

    def scored(x: Tensor, positives: Tensor) -> Tensor:
        whole = field(x, positives)
        parts = field(_split(x, blocks), _split(positives, blocks))
        B, G, Y = x.shape
        return whole + parts.view(B, blocks, G, Y // blocks).transpose(1, 2).reshape(B, G, Y)

    return scored


def _split(x: Tensor, blocks: int) -> Tensor:
    """(B, G, blocks * W) -> (B * blocks, G, W)."""
    B, G, Y = x.shape
    return x.reshape(B, G, blocks, Y // blocks).transpose(1, 2).flatten(0, 1)


def _forces(difference: Tensor, exponent: float, smoothing: float, blocks: int) -> Tensor:
    """Differences (..., Y) -> forces along them, to which those of each of `blocks` parts are added."""
    least, power = smoothing**2 + _TINY**2, exponent / 2 - 1
    parts = difference.reshape(*difference.shape[:-1], blocks, -1)
    squares = parts.square().sum(dim=-1, keepdim=True)
    weight = (squares + least).pow(power)
    if blocks > 1:
        weight = weight + (squares.sum(dim=-2, keepdim=True) + least).pow(power)
    return (parts * weight).flatten(-2)


def _forces_and_kernels(difference: Tensor, exponent: float, smoothing: float, blocks: int) -> tuple[Tensor, Tensor]:
    """The same forces, and the kernel (...) whose gradient they are."""
    least, power = smoothing**2 + _TINY**2, exponent / 2 - 1
    parts = difference.reshape(*difference.shape[:-1], blocks, -1)
    squares = parts.square().sum(dim=-1, keepdim=True)
    weight = (squares + least).pow(power)
    kernel = ((squares + least) * weight).sum(dim=(-1, -2))
    if blocks > 1:
        whole = squares.sum(dim=-2, keepdim=True) + least
        of_whole = whole.pow(power)
        weight = weight + of_whole
        kernel = kernel + (whole * of_whole)[..., 0, 0]
    return (parts * weight).flatten(-2), kernel / exponent


def _require_same_conditions(x: Tensor, positives: Tensor, negatives: Tensor | None) -> None:
    """Sets of points of the same conditions and size, none empty; others would be broadcast without a word."""
    for name, points in (("positives", positives), ("negatives", negatives)):
        if points is None:
            continue
        if (points.ndim, points.shape[0], points.shape[-1]) != (3, x.shape[0], x.shape[-1]) or points.shape[1] == 0:
            raise ValueError(
                f"{name} has shape {tuple(points.shape)}; expected ({x.shape[0]}, 1 or more, {x.shape[-1]}) as x has "
                f"{tuple(x.shape)}"
            )


def _require_siblings(x: Tensor) -> None:
    siblings = x.shape[1]
    if siblings < 2:
        raise ValueError(
            f"a field needs at least 2 generated siblings per condition to repel each other, got {siblings}; "
            "set model.generator.siblings to 2 or more"
        )


def _mean_distance(distance: Tensor, pooled: bool) -> Tensor:
    """Mean over all pairs, a sample with itself included: (1, 1, 1), or (B, 1, 1) when not pooled."""
    mean = distance.mean(dim=(1, 2), keepdim=True)
    return (mean.mean(dim=0, keepdim=True) if pooled else mean).clamp_min(_TINY)


def _signed_weights(logits: Tensor, count_negative: int) -> Tensor:
    """(B, G, T) -> (B, G, T): minus the repulsion weights, then the attraction weights."""
    affinity = (logits.softmax(dim=2) * logits.softmax(dim=1)).clamp_min(_AFFINITY_FLOOR).sqrt()
    negative, positive = affinity[..., :count_negative], affinity[..., count_negative:]
    attract = positive * negative.sum(dim=2, keepdim=True)
    repel = negative * positive.sum(dim=2, keepdim=True)
    return torch.cat([-repel, attract], dim=2)


def _rms(force: Tensor, pooled: bool) -> Tensor:
    dims = (0, 1, 2) if pooled else (1, 2)
    return force.square().mean(dim=dims, keepdim=True).sqrt().clamp_min(_NO_FORCE)
