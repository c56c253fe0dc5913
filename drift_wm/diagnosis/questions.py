"""The questions in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from drift_wm.diagnosis.answers import Answers, DistributionAt, Example, Unmeasured
from drift_wm.diagnosis.distribution import distribution_of
from drift_wm.diagnosis.evidence import Evidence, gather, stream
from drift_wm.diagnosis.groups import Group
from drift_wm.diagnosis.material import Material
from drift_wm.diagnosis.open_loop import LinearModel, measure_action_sensitivity, measure_open_loop
from drift_wm.diagnosis.settings import DiagnoseSettings
from drift_wm.diagnosis.situations import true_samples
from drift_wm.diagnosis.uncertainty import measure_uncertainty
from drift_wm.diagnosis.value import (
    candidates_around,
    compare_returns,
    measure_exploitation,
    measure_value,
    small_planner,
)
from drift_wm.diagnosis.world import Truth, physics_of, replay_error
from drift_wm.interfaces import WorldModel
from drift_wm.progress import track

QUESTIONS = 5
"""Steps of the progress bar."""


def ask(
    model: WorldModel,
    material: Material,
    groups: Sequence[Group],
    truth: Truth | None,
    settings: DiagnoseSettings,
    *,
    members: int,
    device: torch.device,
) -> Answers:
    """Ask a model everything that the material and the true world allow.

    Args:
        model: learned, or any other that reads situations.
        material: recorded episodes of its sizes.
        groups: of the entries of an observation.
        truth: the world behind the episodes; None where it is not known.
        settings: how much of everything.
        members: of an ensemble; 1 for a single model.
        device: where to predict.

    Raises:
        ValueError: the episodes are too short for the model, nothing changes in them, or no prediction is finite.
    """
    with track("diagnose", QUESTIONS) as task:
        evidence = gather(model, material, settings, device)
        absent = _why_no_truth(truth, evidence)
        known = None if absent else truth
        task.update(1, f"{len(evidence.situations)} situations")
        answers = _from_data(evidence, material, groups, known, settings)
        task.update(2)
        answers = _with_uncertainty(answers, evidence, material, members, settings.seed)
        task.update(3, "candidates")
        if known is not None:
            answers = _with_value(answers, evidence, known, settings)
            task.update(4, "plans")
            answers = _with_exploitation(answers, evidence, known, settings)
        elif absent is not None:
            answers = _without(answers, absent, "distance to the true distribution", "value", "exploitation")
        task.update(QUESTIONS)
    return answers


def _why_no_truth(truth: Truth | None, evidence: Evidence) -> str | None:
    if truth is None:
        return "no task is known that can be asked: file, checkpoint and task= name none of the dm_control suite"
    if evidence.situations.history.physics is None:
        return "the file does not hold the simulator's states (data/demo_<i>/states) of all episodes"
    return None


def _from_data(
    evidence: Evidence, material: Material, groups: Sequence[Group], truth: Truth | None, settings: DiagnoseSettings
) -> Answers:
    """What the recorded situations tell, with the truth behind them where it is known."""
    situations, samples, scale = evidence.situations, evidence.samples, evidence.scale
    steps = min(settings.distribution_steps, situations.horizon)
    distributions, error, lost = _distributions(evidence, sorted({1, steps}), truth, settings)
    answers = Answers(
        situations=len(situations),
        diverged=evidence.diverged,
        entries=evidence.entries,
        open_loop=measure_open_loop(
            samples, situations, LinearModel.fit(material.fitted), groups, scale, entries=evidence.entries
        ),
        actions=measure_action_sensitivity(
            evidence.model, samples, situations, steps, scale, entries=evidence.entries, rng=stream(settings.seed, 2)
        ),
        distributions=distributions,
        example=_example(evidence, truth, settings),
        replay_error=error,
        truth_diverged=lost,
    )
    if lost == len(situations):
        return _without(answers, "the simulation of every situation diverged", "distance to the true distribution")
    return answers


def _distributions(
    evidence: Evidence, at: Sequence[int], truth: Truth | None, settings: DiagnoseSettings
) -> tuple[tuple[DistributionAt, ...], float | None, int]:
    """The measures after each number of steps, the simulator's error against the recording, and situations left out.

    Left out is where a simulation diverged; if it did everywhere, nothing is, and the truth is not asked.
    """
    situations, samples, measured = evidence.situations, evidence.samples, evidence.measured
    scale, rng = measured(evidence.scale), stream(settings.seed, 3)
    possible, ways, error, lost = None, None, None, 0
    if truth is not None:
        actions, states = situations.actions[:, : max(at)].clamp(-1, 1), physics_of(situations.history)
        possible = measured(true_samples(truth.observer, states, actions, samples=settings.true_samples, rng=rng))
        both = truth.ways(states, actions[:, :1])
        ways = None if both is None else measured(both)
        sound = possible.isfinite().flatten(1).all(dim=1)
        lost = int((~sound).sum())
        if lost == len(situations):
            possible, ways = None, None
        else:
            situations, samples, possible = situations.select(sound), samples[sound], possible[sound]
            ways = None if ways is None else ways[sound]
            error = replay_error(possible[:, :, 0], measured(situations.future[:, 0]), scale)
    found = []
    for steps in at:
        measures = distribution_of(
            measured(samples[:, :, steps - 1]),
            measured(situations.future[:, steps - 1]),
            scale=scale,
            rng=rng,
            true_samples=None if possible is None else possible[:, :, steps - 1],
            before=measured(situations.history.obs[:, -1]),
            anchors=ways if steps == 1 else None,
        )
        found.append(DistributionAt(steps, measures))
    return tuple(found), error, lost


def _example(evidence: Evidence, truth: Truth | None, settings: DiagnoseSettings) -> Example:
    one, measured = evidence.situations.select(slice(0, 1)), evidence.measured
    possible = None
    if truth is not None:
        states, actions = physics_of(one.history), one.actions.clamp(-1, 1)
        rng = stream(settings.seed, 4)
        every = true_samples(truth.observer, states, actions, samples=settings.true_samples, rng=rng)
        possible = measured(every[0]).cpu()
    return Example(
        recorded=measured(one.future[0]).cpu(),
        samples=measured(evidence.samples[0]).cpu(),
        truth=possible,
        scale=measured(evidence.scale).cpu(),
    )


def _with_uncertainty(answers: Answers, evidence: Evidence, material: Material, members: int, seed: int) -> Answers:
    if members < 2:
        return _without(answers, "the model has a single member, which cannot disagree", "uncertainty")
    if evidence.samples.shape[1] < 2 * members:
        reason = f"each of {members} members needs two samples; set particles={2 * members}"
        return _without(answers, reason, "uncertainty")
    measured = measure_uncertainty(
        evidence.model,
        members,
        evidence.situations,
        evidence.scale,
        material.data_range,
        entries=evidence.entries,
        particles=evidence.samples.shape[1],
        rng=stream(seed, 5),
    )
    return replace(answers, uncertainty=measured)


def _with_value(answers: Answers, evidence: Evidence, truth: Truth, settings: DiagnoseSettings) -> Answers:
    horizon = _value_horizon(evidence, settings)
    part = evidence.situations.select(slice(0, settings.states))
    rng = stream(settings.seed, 6)
    returns = compare_returns(
        evidence.model,
        truth.judge,
        part.history,
        candidates_around(part.actions[:, :horizon], settings.candidates, rng=rng),
        particles=settings.particles,
        samples=settings.true_samples,
        rng=rng,
    )
    value = measure_value(returns, horizon=horizon)
    if value is None:
        return _without(answers, "the simulation of a candidate diverged in every state", "value")
    return replace(answers, returns=returns, value=value)


def _with_exploitation(answers: Answers, evidence: Evidence, truth: Truth, settings: DiagnoseSettings) -> Answers:
    model = evidence.model
    part = evidence.situations.select(slice(0, settings.states))
    measured = measure_exploitation(
        model,
        truth.judge,
        small_planner(_value_horizon(evidence, settings), model.spec.action_size, device=part.actions.device),
        part,
        particles=settings.particles,
        samples=settings.true_samples,
        rng=stream(settings.seed, 7),
    )
    if measured is None:
        return _without(answers, "the model or the simulation diverges whatever is done", "exploitation")
    return replace(answers, exploitation=measured)


def _value_horizon(evidence: Evidence, settings: DiagnoseSettings) -> int:
    k = evidence.model.chunk
    return max(min(settings.value_horizon, evidence.situations.horizon), k) // k * k


def _without(answers: Answers, reason: str, *questions: str) -> Answers:
    more = tuple(Unmeasured(question, reason) for question in questions)
    return replace(answers, unmeasured=(*answers.unmeasured, *more))
