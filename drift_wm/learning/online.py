"""The commands `online` and `demo`: learn a task from nothing, measure the result, show it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from drift_wm.acting.films import film_best
from drift_wm.datasets.episodes import Episode
from drift_wm.env_settings import env_record
from drift_wm.learning.online_loop import OnlineRun
from drift_wm.plots import learning_curve, save
from drift_wm.report import Report, write_report
from drift_wm.results import Evaluation
from drift_wm.settings import OnlineSettings
from drift_wm.storage.run_files import checkpoint_of_round
from drift_wm.storage.run_folder import RunFolder, describe_environment
from drift_wm.wording import counted, time_and_parts, value_and_error


def online(settings: OnlineSettings, folder: RunFolder, *, device: torch.device) -> dict[str, Any]:
    """Learn, evaluate beside the references, and write results, plot, film and report.

    Returns:
        What `results.json` holds.
    """
    with closing(OnlineRun(settings, folder, device=device)) as run:
        run.learn()
        model_row, episodes = run.evaluate()
        rows = [model_row, *run.references()]
        p50, p95 = np.percentile(run.decision_ms(), [50, 95])
        curve, seconds = run.curve, run.seconds
        results = {
            "command": "online",
            "task": run.env.task_name,
            "seed": settings.seed,
            **env_record(settings.env),
            "frames": curve[-1].frames,
            "evaluations": [row.as_dict() for row in rows],
            "decision_ms": {"environments": 1, "p50": float(p50), "p95": float(p95)},
            "curve": [asdict(point) for point in curve],
            "progress": run.progress,
            "learning_seconds": None if seconds is None else sum(seconds.values()),
            "seconds": seconds,
            "model_id": run.trainer.id(),
            "checkpoint": str(checkpoint_of_round(folder.path, run.trainer.rounds - 1)),
            "environment": describe_environment(),
        }
        folder.write_results(results)
        _show(run, rows, episodes, results)
    return results


def _show(run: OnlineRun, rows: Sequence[Evaluation], episodes: Sequence[Episode], results: dict[str, Any]) -> None:
    """Plot, film and page of a finished run."""
    settings, path = run.settings, run.folder.path
    model_row, references = rows[0], rows[1:]
    plot = path / "learning_curve.png"
    figure = learning_curve(
        run.curve,
        references=references,
        task=run.env.task_name,
        final=model_row,
        decisions=(run.decisions_per_episode, run.env.decisions_per_episode),
    )
    save(figure, plot)
    film = film_best(run.env, episodes, path / "best_episode.mp4") if settings.video else None
    decision = results["decision_ms"]
    write_report(
        path,
        Report(
            title=f"{run.env.task_name}: {model_row.name} under {_planner_name(settings)}",
            summary=(
                f"After {results['frames']:,} environment frames the {model_row.name} reaches a mean return of "
                f"{value_and_error(model_row.mean, model_row.standard_error)} over "
                f"{counted(len(model_row.returns), 'evaluation episode')}."
            ),
            evaluations=tuple(rows),
            images=(plot,),
            videos=(film,) if film else (),
            settings=asdict(settings),
            environment=results["environment"],
            notes=(
                f"Deciding for one environment takes {decision['p50']:.1f} ms (median) and {decision['p95']:.1f} ms "
                f"(95th percentile).",
                *_time_notes(results["seconds"]),
                "Evaluation episodes start from reset seeds that training never used.",
                *_cut_notes(run),
            ),
        ),
    )


def _time_notes(seconds: dict[str, float] | None) -> list[str]:
    """Where the time of learning went, where all of it is known."""
    return [f"Learning took {time_and_parts(seconds)}."] if seconds else []


def _cut_notes(run: OnlineRun) -> list[str]:
    """What the plot does to episodes that were cut short, where any was."""
    if not any(point.cut for point in run.curve):
        return []
    return [
        f"Episodes of training are cut off after {run.decisions_per_episode} of {run.env.decisions_per_episode} "
        "decisions; the plot scales their returns to full length. Where rewards come late, as after a swing-up, whole "
        "episodes return more than that."
    ]


def _planner_name(settings: OnlineSettings) -> str:
    return type(settings.planner).__name__.removesuffix("Config")
