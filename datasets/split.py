"""Which episodes are learned from, and which are held out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from drift_wm.datasets.episodes import Episode


def split(
    episodes: Sequence[Episode], held_out_fraction: float, *, seed: int, avoid: Collection[str] = ()
) -> tuple[list[Episode], list[Episode]]:
    """Whole episodes, at random: training and held out. A fraction above 0 holds out at least one of several.

    Args:
        episodes: all there are.
        held_out_fraction: share of them.
        seed: of the choice.
        avoid: fingerprints of episodes that are held out only where too few others are left.
    """
    first = first_copies([episode.fingerprints for episode in episodes])
    distinct = len(set(first))
    least = 1 if held_out_fraction > 0 else 0
    count = min(max(round(held_out_fraction * distinct), least), max(0, distinct - 1))  # one is left to learn from
    order: list[int] = np.random.default_rng(seed).permutation(len(episodes)).tolist()
    order = [i for i in order if first[i] == i]  # copies of an episode are on one side together
    order.sort(key=lambda i: episodes[i].is_among(avoid))
    chosen = set(order[:count])
    training = [episode for episode, i in zip(episodes, first, strict=True) if i not in chosen]
    return training, [episodes[i] for i in sorted(chosen)]


def first_copies(fingerprints: Iterable[Collection[str]]) -> list[int]:
    """Of each episode the index of the first that is a copy of it; its own where there is none before it.

    Args:
        fingerprints: of each, see `Episode.fingerprints`.
    """
    known: dict[str, int] = {}
    first = []
    for i, names in enumerate(fingerprints):
        copy = min((known[name] for name in names if name in known), default=i)
        known.update(dict.fromkeys(names, copy))
        first.append(copy)
    return first
