"""Which episodes are learned from, and which are held out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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
    names = [(episode.fingerprint, episode.obs[0].tobytes()) for episode in episodes]
    first = {name: i for i, name in reversed(list(enumerate(names)))}
    count = round(held_out_fraction * len(first))
    if held_out_fraction > 0 and len(first) > 1:
        count = min(max(count, 1), len(first) - 1)
    order: list[int] = np.random.default_rng(seed).permutation(len(episodes)).tolist()
    order = [i for i in order if first[names[i]] == i]  # copies of an episode are on one side together
    order.sort(key=lambda i: names[i][0] in avoid)
    chosen = {names[i] for i in order[:count]}
    training = [episode for episode, name in zip(episodes, names, strict=True) if name not in chosen]
    return training, [episodes[first[name]] for name in dict.fromkeys(names) if name in chosen]
