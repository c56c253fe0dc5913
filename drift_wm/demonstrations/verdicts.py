"""What the rows say of the claims about demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from drift_wm.claims import Verdict
from drift_wm.demonstrations.rivals import (
    ALONE,
    DIFFUSION,
    DRIFTING,
    DRIFTING_ENSEMBLE,
    GAUSSIAN_ENSEMBLE,
    LINEAR,
    PERSISTENCE,
    RANKINGS,
    REGRESSION,
    WORLD_MODELS,
    Sampling,
)
from drift_wm.demonstrations.rows import Row
from drift_wm.results import share_interval
from drift_wm.speed.readers import OUR_READER, ROBOMIMIC

_DIFFUSION_STEPS = 16
_FASTER = {16: 10.0, 100: 60.0}
"""Steps of diffusion, and how many times as long as drifting's a chunk of its actions must take."""
_OF_PERSISTENCE, _OF_LINEAR, _OF_REGRESSION, _OF_GAUSSIANS = 0.6, 1.0, 1.0, 0.9
_READER = 10.0
BySeed = Sequence[Sequence[bool]]
"""Which episodes of each training seed succeeded."""


class Table:
    """Rows by part, contender and network evaluations."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def of(self, part: str, contender: str | None = None, nfe: int | None = None) -> list[Row]:
        """The rows of a part, those of one contender, or those of one number of its network evaluations."""
        found = [row for row in self._rows if row.part == part and contender in (None, row.contender)]
        return sorted((row for row in found if nfe in (None, row.nfe)), key=lambda row: row.seed)

    def evaluations(self, part: str, contender: str) -> list[int]:
        """The numbers of network evaluations with which a contender was sampled."""
        return sorted({row.nfe for row in self.of(part, contender)})

    def values(self, part: str, contender: str, metric: str, nfe: int | None = None) -> list[float]:
        """Of each seed; empty where it was not measured."""
        return [row.metrics[metric] for row in self.of(part, contender, nfe) if row.metrics.get(metric) is not None]

    def mean(self, part: str, contender: str, metric: str) -> float:
        """Over seeds; nan where it was not measured."""
        values = self.values(part, contender, metric)
        return float(np.mean(values)) if values else float("nan")

    def successes(self, part: str, contender: str, nfe: int | None = None) -> list[list[bool]]:
        """Of each seed's episodes; empty where the world tells nothing of success."""
        rows = [row for row in self.of(part, contender, nfe) if "success" in row.each]
        return [[value == 1 for value in row.each["success"]] for row in rows]

    def median_ms(self, part: str, contender: str, nfe: int | None = None) -> float:
        """Milliseconds; nan where they were not measured."""
        times = [value for row in self.of(part, contender, nfe) for value in row.each["ms"]]
        return float(np.median(times)) if times else float("nan")


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The claims that the rows at hand can judge."""
    table = Table(rows)
    return [*_policies(table), *_ranking(table), *_robot(table), *_latency(table), *_readers(table)]


def _policies(table: Table) -> list[Verdict]:
    """Each way of acting by itself, then the best way of each."""
    found, shares = [], {}
    for noise in (1.0, 0.5, 0.0):
        own, rival = (
            table.successes("policies", Sampling(noise=noise).label(name), nfe)
            for name, nfe in ((DRIFTING, 1), (DIFFUSION, _DIFFUSION_STEPS))
        )
        if own and rival:
            shares[noise] = (_mean(own), _mean(rival))
            claim = f"drifting in one evaluation succeeds at least as often as diffusion in 16, noise {noise:g}"
            found.append(Verdict(claim, f"{_share(own)} against {_share(rival)}", _mean(own) >= _mean(rival)))
    if len(shares) > 1:
        best = [max(share[i] for share in shares.values()) for i in range(2)]
        claim = "the same, each with the noise that suits it best"
        found.append(Verdict(claim, f"{best[0]:.0%} against {best[1]:.0%}", best[0] >= best[1]))
    return found


def _ranking(table: Table) -> list[Verdict]:
    alone, found = table.successes("ranking", ALONE), []
    for name in RANKINGS:
        advised = table.successes("ranking", name)
        if alone and advised:
            claim = f"a world model's choice among chunks ({name}) succeeds more often than the policy alone"
            found.append(Verdict(claim, f"{_share(advised)} against {_share(alone)}", _mean(advised) > _mean(alone)))
    return found


def _robot(table: Table) -> list[Verdict]:
    """Regression in every way that it was trained."""
    found = []
    own = table.mean("robot", DRIFTING, "error")
    rivals = {PERSISTENCE: _OF_PERSISTENCE, LINEAR: _OF_LINEAR}
    rivals |= {name: _OF_REGRESSION for name in WORLD_MODELS if REGRESSION in name}
    for rival, most in rivals.items():
        ratio = own / table.mean("robot", rival, "error")
        if not np.isnan(ratio):
            claim = f"drifting's open-loop error of the robot is at most {most} times that of {rival}"
            found.append(Verdict(claim, f"{ratio:.2f} times", ratio <= most))
    for name in (DRIFTING, DRIFTING_ENSEMBLE):
        ratio = table.mean("robot", name, "energy_score") / table.mean("robot", GAUSSIAN_ENSEMBLE, "energy_score")
        if not np.isnan(ratio):
            claim = f"the energy score of {name} is at most {_OF_GAUSSIANS} times that of the {GAUSSIAN_ENSEMBLE}"
            found.append(Verdict(claim, f"{ratio:.2f} times", ratio <= _OF_GAUSSIANS))
    return found


def _latency(table: Table) -> list[Verdict]:
    """The mean of several samples takes one pass as well, and a little longer."""
    found = []
    for name in (DRIFTING, Sampling(noise=0.0).label(DRIFTING)):
        for steps, least in _FASTER.items():
            ratio = table.median_ms("latency", DIFFUSION, steps) / table.median_ms("latency", name)
            if not np.isnan(ratio):
                claim = f"diffusion in {steps} steps takes at least {least:.0f} times as long for a chunk as {name}"
                found.append(Verdict(claim, f"{ratio:.1f} times", ratio >= least))
    return found


def _readers(table: Table) -> list[Verdict]:
    ratio = table.median_ms("readers", ROBOMIMIC) / table.median_ms("readers", OUR_READER)
    if np.isnan(ratio):
        return []
    claim = f"our reader gives at least {_READER:.0f} times as many windows a second as {ROBOMIMIC}"
    return [Verdict(claim, f"{ratio:.1f} times", ratio >= _READER)]


def succeeded(by_seed: BySeed) -> str:
    """How many episodes of how many."""
    return f"{sum(map(sum, by_seed))}/{sum(map(len, by_seed))}"


def interval_over_seeds(by_seed: BySeed) -> str:
    """The 95 % interval of `share_interval`; empty where there is none."""
    interval = share_interval(by_seed)
    return f"{interval[0]:.0%} to {interval[1]:.0%}" if interval else ""


def _mean(by_seed: BySeed) -> float:
    return sum(map(sum, by_seed)) / sum(map(len, by_seed))


def _share(by_seed: BySeed) -> str:
    interval = interval_over_seeds(by_seed)
    return succeeded(by_seed) + (f" ({interval})" if interval else "")
