"""What makes a world stochastic or partly hidden: gusts, slips, payloads and imperfect sensors.

One implementation of the chance serves both the environment, which meets it one decision at a time, and the true
simulator, which samples it for many decisions of many particles at once. Both take the draw as a value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drift_wm.requirements import require, require_one_of

Array = NDArray[np.float64]

DISTURBANCES = ("none", "gust", "slip", "payload", "sensor")

_DEFAULTS: dict[str, dict[str, float]] = {
    "none": {},
    "gust": {"strength": 0.5},
    "slip": {"probability": 0.2},
    "payload": {"strength": 0.5},
    "sensor": {"probability": 0.0, "strength": 0.05, "delay": 2},
}
"""The amounts that each disturbance has, and their values where none are given."""


@dataclass
class DisturbanceConfig:
    """What disturbs a world; nothing by default. The amounts left open take the defaults of the name.

    Not frozen, because OmegaConf refuses overrides of frozen classes; nothing changes it after construction.
    """

    name: str = ""
    """What disturbs the world: `none`; `gust`: an unseen force pushes left or right in every decision; `slip`: actions
    get lost; `payload`: an unseen change of mass in every episode; `sensor`: noisy, incomplete, late observations.
    Empty: as recorded with the data or the model, else `none`."""
    strength: float | None = None
    """`gust`: the force, as a multiple of the mechanism's whole weight (default 0.5). `payload`: the largest share by
    which the mass grows or shrinks (default 0.5). `sensor`: standard deviation of the noise (default 0.05)."""
    probability: float | None = None
    """`slip`: probability that the action of a decision is replaced by zero (default 0.2). `sensor`: probability that
    an entry of an observation reads zero (default 0)."""
    delay: int | None = None
    """`sensor`: decisions by which observations are late (default 2)."""
    body: str = ""
    """`gust`, `payload`: the body that is pushed or loaded; empty: the first that moves (cart, torso, first link)."""

    def __post_init__(self) -> None:
        if self.name:
            require_one_of(DISTURBANCES, "env.disturbance.name", self.name)
        known = self.name or "none"
        own = _DEFAULTS[known]
        for amount in ("strength", "probability", "delay"):
            given = getattr(self, amount)
            if given is None:
                setattr(self, amount, own.get(amount))
                continue
            users = ", ".join(name for name, amounts in _DEFAULTS.items() if amount in amounts)
            expected = f"none with env.disturbance.name={known}; names that have one: {users}"
            require(amount in own, f"env.disturbance.{amount}", given, expected)
        self._check_amounts()
        expected = f"none with env.disturbance.name={known}; names that concern a body: gust, payload"
        require(not self.body or known in ("gust", "payload"), "env.disturbance.body", self.body, expected)

    @property
    def disturbs(self) -> bool:
        """Whether anything is disturbed."""
        return self.name not in ("", "none")

    def _check_amounts(self) -> None:
        strength, probability, delay = self.strength or 0.0, self.probability or 0.0, self.delay or 0
        require(0 <= strength < math.inf, "env.disturbance.strength", strength, "a number of at least 0")
        expected = "less than 1 for payload: a mass that shrinks by its whole is no mass"
        require(self.name != "payload" or strength < 1, "env.disturbance.strength", strength, expected)
        require(0 <= probability <= 1, "env.disturbance.probability", probability, "a number from 0 to 1")
        require(delay >= 0, "env.disturbance.delay", delay, "an integer of at least 0")


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance does in some decisions (...); None where it does nothing."""

    force: Array | None = None
    """(...) newtons along the world's x axis, held for the whole decision."""
    lost: NDArray[np.bool_] | None = None
    """(...) whether the action is replaced by zero."""
    noise: Array | None = None
    """(..., D) added to the observation after the decision."""
    dropped: NDArray[np.bool_] | None = None
    """(..., D) whether the entry of the observation reads zero."""

    @property
    def moves(self) -> bool:
        """Whether the physics depends on the draw, and not only what is seen of it."""
        return self.force is not None or self.lost is not None

    def for_candidates(self) -> Draw:
        """A draw (B, P, H) -> the same one with an axis for candidates, (B, 1, P, H), by which they share it."""
        return Draw(
            force=None if self.force is None else self.force[:, None],
            lost=None if self.lost is None else self.lost[:, None],
            noise=None if self.noise is None else self.noise[:, None],
            dropped=None if self.dropped is None else self.dropped[:, None],
        )

    def executed(self, actions: Array) -> Array:
        """Actions (..., A) that were decided -> those that are carried out, (..., A)."""
        return actions if self.lost is None else np.where(self.lost[..., None], 0.0, actions)

    def seen(self, obs: Array) -> Array:
        """Observations (..., D), after the delay -> what the sensors report of them, (..., D)."""
        noisy = obs if self.noise is None else obs + self.noise
        return noisy if self.dropped is None else np.where(self.dropped, 0.0, noisy)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The disturbance of one mechanism in its own units; amounts of zero do nothing."""

    observation_size: int
    """D."""
    body: int = 0
    """Index in the model of the body that is pushed or loaded."""
    force: float = 0.0
    """Newtons, of a gust to either side."""
    loss: float = 0.0
    """Probability that the action of a decision is lost."""
    load: float = 0.0
    """Largest share by which the mass of the body grows or shrinks."""
    noise: float = 0.0
    """Standard deviation of what is added to each entry of an observation."""
    dropout: float = 0.0
    """Probability that an entry of an observation reads zero."""
    delay: int = 0
    """Decisions by which observations are late."""

    @property
    def pending_size(self) -> int:
        """How many numbers the observations still under way add to a physics state: delay x D."""
        return self.delay * self.observation_size

    @property
    def random(self) -> bool:
        """Whether anything is drawn in a decision; a payload is drawn at resets."""
        return any((self.force, self.loss, self.noise, self.dropout))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Draw:
        """What happens in decisions (...) = `shape`, all independent of each other."""
        seen = (*shape, self.observation_size)
        return Draw(
            force=np.where(rng.random(shape) < 0.5, self.force, -self.force) if self.force else None,
            lost=rng.random(shape) < self.loss if self.loss else None,
            noise=self.noise * rng.standard_normal(seen) if self.noise else None,
            dropped=rng.random(seen) < self.dropout if self.dropout else None,
        )

    def draw_load(self, rng: np.random.Generator) -> float:
        """The factor of the mass for one episode, uniform between 1 - load and 1 + load."""
        return 1.0 + self.load * rng.uniform(-1.0, 1.0)

    def split(self, states: Array) -> tuple[Array, Array]:
        """Physics states (..., S) -> those of the mechanism (..., S - delay x D), observations under way (..., d, D).

        Raises:
            ValueError: the states are too short to hold the observations under way.
        """
        size = states.shape[-1] - self.pending_size
        if size < 0:
            raise ValueError(
                f"the states have shape {states.shape}; expected more than {self.pending_size} entries, the "
                f"{self.delay} observations under way: restore states of the same disturbance"
            )
        return states[..., :size], states[..., size:].reshape(*states.shape[:-1], self.delay, self.observation_size)
