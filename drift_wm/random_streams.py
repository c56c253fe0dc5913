"""Random streams that are named by where they are used, so that no generator has to be carried along."""

from __future__ import annotations

import hashlib

import torch


def seed_of(seed: int, name: str) -> int:
    """A seed for what has both a seed and a name: neither near seeds nor near names are near each other."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big")


def decision_rng(seed: int, step: int) -> torch.Generator:
    """The stream of one decision of one episode: a policy's memory needs no generator, and resumes anywhere."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)  # a time in nanoseconds is a seed, too


def each_decision_rng(seed: int, step: int, count: int) -> list[torch.Generator]:
    """The streams of a decision of so many episodes, of seeds in a row.

    Each has its own, so that an episode does not depend on which others share its batch.
    """
    return [decision_rng(seed + i, step) for i in range(count)]
