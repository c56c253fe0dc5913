"""The page and the terminal's tables of a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from drift_wm.diagnosis.diagnose import Diagnosis
from drift_wm.diagnosis.settings import DiagnoseSettings
from drift_wm.diagnosis.summary import cautions, tables, verdict
from drift_wm.report import data_uri, write_page
from drift_wm.terminal import add_columns, show_whole
from drift_wm.wording import counted


def write_diagnosis_page(
    folder: Path,
    diagnosis: Diagnosis,
    plots: Sequence[tuple[Path, str]],
    *,
    settings: DiagnoseSettings,
    environment: dict[str, Any],
) -> Path:
    """Write `report.html`, one file that opens anywhere.

    Args:
        folder: receives the page.
        diagnosis: what to show.
        plots: PNG files and what each shows; embedded.
        settings: what was asked; the page shows the task and the world that came of it.
        environment: machine and versions.

    Returns:
        The page.
    """
    return write_page(
        folder,
        "diagnose.html.jinja",
        title=f"Does the {diagnosis.name} tell the truth?",
        verdict=verdict(diagnosis.answers),
        lines=context(diagnosis),
        tables=tables(diagnosis.answers),
        images=[{"title": title, "source": data_uri(path, "image/png")} for path, title in plots],
        settings=asdict(_resolved(settings, diagnosis)),
        environment=environment,
    )


def _resolved(settings: DiagnoseSettings, diagnosis: Diagnosis) -> DiagnoseSettings:
    """The settings with the task and the world that the truth was asked of, where there was one."""
    world = diagnosis.world
    return settings if world is None else replace(settings, task=world.task, env=world.env)


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """The tables, and what must be known to read them."""
    for table in tables(diagnosis.answers):
        shown = Table(
            title=table.title,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,  # as errors after many steps are many columns
        )
        add_columns(shown, table.header, left=table.header[:1])
        for cells in table.rows:
            shown.add_row(*map(escape, cells))
        show_whole(console, shown)
    for line in context(diagnosis):
        console.print(line, highlight=False, markup=False)
    console.print(verdict(diagnosis.answers), highlight=False, markup=False, style="bold")


def context(diagnosis: Diagnosis) -> list[str]:
    """What was asked of what, and what a reader must know before the numbers are believed."""
    answers, world = diagnosis.answers, diagnosis.world
    lines = [
        f"Model {diagnosis.model_id} ({diagnosis.checkpoint}), {diagnosis.particles} samples for each prediction.",
        f"{counted(answers.situations, 'situation')} of {counted(diagnosis.episodes, 'episode')} of {diagnosis.file}: "
        f"{diagnosis.note}.",
        "Errors and distances are in standard deviations of the observations over the data.",
    ]
    if diagnosis.constant:
        left_out = ", ".join(diagnosis.constant)
        lines.append(f"Left out of all measures, as they never change in the data: {left_out}.")
    if world is not None:
        disturbance = world.env.disturbance
        around = f", disturbed by {disturbance.name}" if disturbance.disturbs else ""
        lines.append(f"Truth: the simulator of {world.task}{around}, from the recorded states.")
        if world.hidden is not None:
            lines.append(
                f"The simulator knows {world.hidden}, which the model cannot see: it must look worse than true."
            )
    return [*lines, *cautions(answers)]
