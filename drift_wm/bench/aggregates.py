"""What the runs of a grid add up to over tasks: aggregates, and how often one model beats another.

Measures are those of Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice": runs are what
counts, so intervals come from drawing runs again within each task (section 4.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from drift_wm.bench.cells import GridResults
from drift_wm.bench.tasks import ANCHOR, suite_task
from drift_wm.results import SIMULATOR
from drift_wm.wording import counted

_RESAMPLES = 5_000
_LEVEL = 0.95
_SEED = 0  # of the draws
_MANY = 10
"""Runs a task from which a bootstrap covers what it says. Of simulated normal runs with the means and deviations of
docs/bench/dmc, intervals of 3, 5 and 10 runs held the true interquartile mean in 82, 90 and 92 % of cases, and those of
equal laws' probability of improvement, for one task, held 0.5 in 81, 91 and 96 %."""

Interval = tuple[float, float] | None
"""Of 95 %; None where a task has a single run, or its yardstick a single episode: one tells nothing of a spread; and
where it has an episode of 0."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Interquartile mean over all tasks and seeds of returns divided by a yardstick."""

    model: str
    planner: str
    yardstick: str
    iqm: float
    interval: Interval
    tasks: int
    fewest: int
    """Runs of a task."""
    left_out: tuple[str, ...] = ()
    """Tasks in which the yardstick returned nothing that one could divide by."""

    @property
    def sentence(self) -> str:
        """For readers."""
        without = f", without {', '.join(self.left_out)}, where that returned nothing" if self.left_out else ""
        exact = ", with published means taken for exact" if self.interval and self.yardstick == ANCHOR else ""
        return (
            f"{self.model}, {self.planner}: {self.iqm:.2f} times {self.yardstick} (interquartile mean over "
            f"{counted(self.tasks, 'task')} and all seeds{without}; {_said(self.interval, self.fewest)}{exact})"
        )


@dataclass(frozen=True, slots=True)
class Improvement:
    """Probability that a run of a model returns more than one of its rival, mean over the tasks that both ran."""

    model: str
    rival: str
    planner: str
    probability: float
    interval: Interval
    tasks: int
    runs: tuple[int, int]
    """Of the model and of the rival, over those tasks."""
    fewest: int
    """Runs of a task, of either."""

    @property
    def sentence(self) -> str:
        """For readers."""
        return (
            f"{self.model} over {self.rival}, {self.planner}: more return with probability {self.probability:.2f} "
            f"(mean over the {counted(self.tasks, 'task')} of both, {self.runs[0]} and {self.runs[1]} runs; "
            f"{_said(self.interval, self.fewest)})"
        )


def sentences(results: GridResults, *, suite: str) -> list[str]:
    """All of it, for readers."""
    # Where each task has a single run of either, no probability is worth a sentence.
    improved = [found for found in improvements(results) if min(found.runs) > found.tasks]
    compared: list[Aggregate | Improvement] = [*aggregates(results, suite=suite), *improved]
    return [found.sentence for found in compared]


def aggregates(results: GridResults, *, suite: str) -> list[Aggregate]:
    """Every model and planner, divided by the suite's published returns, and by the same planner in the simulator."""
    published = {cell.task: [task.published[0]] for cell in results.cells if (task := suite_task(suite, cell.task))}
    found = []
    for (model, planner), runs in _runs(results).items():
        simulated = {
            each.task: each.returns for each in results.references if (each.name, each.planner) == (SIMULATOR, planner)
        }
        for yardstick, values in ((ANCHOR, published), ("the planner in the true simulator", simulated)):
            shared = [task for task in runs if np.mean(values.get(task, 0.0)) > 0]
            if not shared:
                continue
            returns, yards = [runs[task] for task in shared], [values[task] for task in shared]
            scores = [
                [value / float(np.mean(yard)) for value in task] for task, yard in zip(returns, yards, strict=True)
            ]
            is_sure = yardstick == ANCHOR or min(map(len, yards)) > 1
            interval = stratified_interval(returns, yards) if is_sure else None
            iqm, fewest = interquartile_mean(scores), min(map(len, returns))
            left_out = tuple(task for task in runs if task in values and task not in shared)
            found.append(Aggregate(model, planner, yardstick, iqm, interval, len(shared), fewest, left_out))
    return found


def improvements(results: GridResults) -> list[Improvement]:
    """Every pair of models with the same planner, over the tasks that both ran, the first named first."""
    found = []
    for ((model, planner), runs), ((rival, other), rival_runs) in combinations(_runs(results).items(), 2):
        shared = [task for task in runs if task in rival_runs]
        if planner != other or not shared:
            continue
        pairs = [(runs[task], rival_runs[task]) for task in shared]
        probability, interval = probability_of_improvement(pairs), _improvement_interval(pairs)
        counts = (sum(len(first) for first, _ in pairs), sum(len(second) for _, second in pairs))
        fewest = min(len(runs) for pair in pairs for runs in pair)
        found.append(
            Improvement(model, rival, planner, probability, interval, tasks=len(pairs), runs=counts, fewest=fewest)
        )
    return found


def interquartile_mean(scores: Collection[Sequence[float]] | NDArray[np.float64]) -> float:
    """Mean of the middle half of all runs of all tasks (the same paper, section 4.3), in which every task counts alike.

    Where some tasks have more runs than others, as in a grid that is not finished, each of these weighs less.
    """
    return float(_middle_half([np.asarray([task], dtype=float) for task in scores])[0])


def _middle_half(tasks: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(R, runs) of each task -> (R,): means of the middle half of the weight."""
    together = np.concatenate(tasks, axis=1)
    counts = [task.shape[1] for task in tasks]
    if len(set(counts)) == 1:  # as the paper's own library has it, which cuts whole runs off
        return np.asarray(stats.trim_mean(together, 0.25, axis=1))
    order = np.argsort(together, axis=1)
    weights = np.repeat([1 / count for count in counts], counts)[order] / len(tasks)
    upto = np.cumsum(weights, axis=1)
    inside = (np.minimum(upto, 0.75) - np.maximum(upto - weights, 0.25)).clip(min=0)
    return np.asarray((np.take_along_axis(together, order, axis=1) * inside).sum(axis=1) / inside.sum(axis=1))


def stratified_interval(runs: Sequence[Sequence[float]], yardsticks: Sequence[Sequence[float]]) -> Interval:
    """Percentile bootstrap of the interquartile mean of runs over yardsticks: both are drawn again within each task.

    Args:
        runs: of each task.
        yardsticks: of each task, episodes whose mean its runs are divided by, or a single number that is known.

    Returns:
        None where a task has a single run, or a yardstick an episode of 0 or less: of such episodes drawn again the
        mean may be nothing to divide by.
    """
    if min(map(len, runs)) < 2 or min(map(min, yardsticks)) <= 0:
        return None
    rng = np.random.default_rng(_SEED)
    drawn = [
        _drawn_again(rng, task) / (_drawn_again(rng, yard).mean(axis=1, keepdims=True) if len(yard) > 1 else yard[0])
        for task, yard in zip(runs, yardsticks, strict=True)
    ]
    return _percentiles(_middle_half(drawn))


def probability_of_improvement(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """Probability that a run of the first returns more than one of the second, mean over tasks.

    That of a task is the Mann-Whitney U statistic over the number of pairs of runs, equal runs half each
    (the same paper, section 4.3).

    Args:
        pairs: of each task, runs of the first and of the second.
    """
    return float(np.mean([_wins(np.asarray([first]), np.asarray([second]))[0] for first, second in pairs]))


def _improvement_interval(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Interval:
    if min(min(len(first), len(second)) for first, second in pairs) < 2:
        return None
    rng = np.random.default_rng(_SEED)
    wins = [_wins(_drawn_again(rng, first), _drawn_again(rng, second)) for first, second in pairs]
    return _percentiles(np.mean(wins, axis=0))


def _runs(results: GridResults) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Of every model and planner, by task, what each seed returned."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell in results.cells:
        found[cell.model, cell.planner][cell.task].append(cell.mean)
    return found


def _drawn_again(rng: np.random.Generator, runs: Sequence[float]) -> NDArray[np.float64]:
    """(resamples, runs), with replacement."""
    return rng.choice(np.asarray(runs, dtype=float), (_RESAMPLES, len(runs)))


def _wins(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, n) and (R, m) -> (R,): share of the n x m pairs in which the first is larger, equal ones half."""
    differences = first[:, :, None] - second[:, None, :]
    return np.asarray((np.sign(differences).mean(axis=(1, 2)) + 1) / 2)


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _said(interval: Interval, fewest: int) -> str:
    if interval is None:
        return "no interval, as a task has a single run, or its yardstick a single episode or one of 0"
    said = "{:.0f} % bootstrap interval {:.2f} to {:.2f}".format(100 * _LEVEL, *interval)
    return said if fewest >= _MANY else f"{said}, too narrow for {fewest} runs a task"
