"""The page that shows a run, and the table a terminal shows."""

from __future__ import annotations

import base64
import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from rich.markup import escape
from rich.table import Table

from drift_wm.results import Evaluation
from drift_wm.storage.writing import write_text
from drift_wm.terminal import add_columns
from drift_wm.wording import with_error

PAGE = "report.html"
LARGEST_EMBEDDED_VIDEO = 8 * 2**20  # bytes; a larger film is linked, so that the page can still be mailed
_TITLE = 11  # letters of a line of a column's title

_MEASURED = {
    "energy_score": "a proper score of the samples: lower is better, lowest for the true law",
    "error": "RMSE of the sample mean over entries that vary; 1 = always predicting the average",
    "spread": "of the samples",
    "open_loop_error": "RMSE over the first 20 steps (whole chunks) when fed its own predictions, in standard "
    "deviations of observations",
    "open_loop_persistence": "the same of saying that nothing moves, which a model has to beat",
}
"""What of `train`'s metrics a person looks at, and what it means."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a page tells."""

    title: str
    summary: str
    """The result in one sentence."""
    evaluations: tuple[Evaluation, ...]
    """Rows of the table, the result first, what it is compared with after it."""
    images: tuple[Path, ...]
    """PNG files; embedded."""
    videos: tuple[Path, ...]
    """MP4 files beside the page; embedded or linked, by size."""
    settings: dict[str, Any]
    environment: dict[str, Any]
    """Machine and versions, and what to type to repeat the run."""
    notes: tuple[str, ...] = ()


def write_report(folder: Path, report: Report) -> Path:
    """Write `report.html`: one file that opens anywhere, in light and dark, on a phone or a desk.

    Args:
        folder: receives the page; videos that are too large to embed are linked relative to it.
        report: what to show.

    Returns:
        The page.
    """
    return write_page(
        folder,
        "report.html.jinja",
        report=report,
        header=_header(report.evaluations),
        rows=_rows(report.evaluations),
        images=[data_uri(path, "image/png") for path in report.images],
        videos=[video_source(path, folder) for path in report.videos],
        settings=report.settings,
        environment=report.environment,
    )


def write_page(
    folder: Path, template: str, *, settings: dict[str, Any], environment: dict[str, Any], **content: Any
) -> Path:
    """Write `report.html` from one of the templates and all that it names; a reader never sees half of it.

    Args:
        folder: receives it.
        template: its name.
        settings: what was asked.
        environment: machine, versions and the command line, which every page ends with.
        content: what else the template names.
    """
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("drift_wm"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    html = templates.get_template(template).render(
        command=environment["command_line"],
        settings=json.dumps(settings, indent=2),
        environment=json.dumps(environment, indent=2),
        **content,
    )
    page = folder / PAGE
    write_text(page, html)
    return page


def evaluation_table(evaluations: Sequence[Evaluation]) -> Table:
    """The same table for a terminal, with the notes below it, where they have room."""
    rows = _rows(evaluations)
    notes = [escape(f"{row[0]}: {row[-1]}") for row in rows if row[-1]]
    table = Table(caption="\n".join(notes), caption_justify="left")
    # Titles of several lines leave names one of 80 columns.
    titles = ["\n".join(textwrap.wrap(name, _TITLE)) for name in _header(evaluations)[:-1]]
    add_columns(table, titles, left=titles[:1])
    for row in rows:
        table.add_row(*map(escape, row[:-1]))
    return table


def training_table(metrics: Mapping[str, float], *, units: str, training: int, held_out: int) -> Table:
    """What `train` measured, for a terminal: of the last batch, and of what was held out.

    Args:
        metrics: those of `train`'s results.
        units: that errors are in.
        training: episodes that it learned from.
        held_out: episodes that it did not.
    """
    table = Table(
        caption=f"Episodes: {training} to learn from, {held_out} held out. Errors are of one chunk, in {units}. "
        "A spread close to the error means that the model's own uncertainty is realistic.",
        caption_justify="left",
    )
    add_columns(table, ("", "last batch", "held out", "which is"), left=("", "which is"))
    for name, meaning in _MEASURED.items():
        found = [metrics.get(key) for key in (name, f"held_out_{name}")]
        if any(value is not None for value in found):
            table.add_row(
                name.replace("_", " "), *("-" if value is None else f"{value:.3g}" for value in found), meaning
            )
    return table


def _header(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    success = ("success, 95 % interval",) if _tells_success(evaluations) else ()
    returns = ("policy", "mean return", "± standard error", "episodes")
    return (*returns, *success, "ms per decision, p50 / p95", "note")


def _rows(evaluations: Sequence[Evaluation]) -> list[tuple[str, ...]]:
    return [_cells(evaluation, success=_tells_success(evaluations)) for evaluation in evaluations]


def _tells_success(evaluations: Sequence[Evaluation]) -> bool:
    return any(evaluation.successes is not None for evaluation in evaluations)


def _cells(evaluation: Evaluation, *, success: bool) -> tuple[str, ...]:
    mean, error = with_error(evaluation.mean, evaluation.standard_error)
    at_once = evaluation.environments_per_decision
    together = f"{at_once} environments a decision" if at_once > 1 else ""
    return (
        evaluation.name,
        mean,
        error or "-",
        str(len(evaluation.returns)),
        *((_success(evaluation),) if success else ()),
        f"{evaluation.decision_ms_p50:.1f} / {evaluation.decision_ms_p95:.1f}",
        "; ".join(filter(None, (evaluation.note, together))),
    )


def _success(evaluation: Evaluation) -> str:
    if evaluation.successes is None or evaluation.success_interval is None:
        return "-"
    low, high = evaluation.success_interval
    count = f"{sum(evaluation.successes)}/{len(evaluation.successes)}"
    return f"{count} = {evaluation.success_rate:.0%} ({low:.0%} to {high:.0%})"


def data_uri(path: Path, kind: str) -> str:
    """A file as part of a page."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def video_source(path: Path, folder: Path) -> str:
    """A film as part of a page in `folder`, or the way to it where it is large."""
    if path.stat().st_size <= LARGEST_EMBEDDED_VIDEO:
        return data_uri(path, "video/mp4")
    return quote(Path(os.path.relpath(path, folder)).as_posix())
