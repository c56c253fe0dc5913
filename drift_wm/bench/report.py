"""The page of `drift-wm bench`, and its table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from drift_wm.bench.cells import Cell, CellResult, GridResults
from drift_wm.bench.results import CAPTION, Row, cells, header
from drift_wm.bench.settings import BenchSettings
from drift_wm.bench.tasks import PUBLISHED, suite_task
from drift_wm.markdown import table_head, table_line
from drift_wm.report import data_uri, video_source, write_page
from drift_wm.wording import counted, two_digits

TIMES_CAPTION = (
    "Decisions were timed during the grid, beside other work: the times tell of its load, too. Use `drift-wm speed` to "
    "compare models."
)
_FILM = "best_episode.mp4"


class Plot(NamedTuple):
    """A picture of the page."""

    path: Path
    """Of a PNG file."""
    title: str
    caption: str
    """What must be known to read it."""


def write_bench_page(
    folder: Path,
    results: GridResults,
    rows: Sequence[Row],
    sentences: Sequence[str],
    plots: Sequence[Plot],
    *,
    settings: BenchSettings,
    environment: dict[str, Any],
) -> Path:
    """Write `report.html`, one file that opens anywhere.

    Args:
        folder: of the grid; receives the page.
        results: every finished cell, and what to compare with.
        rows: of the table.
        sentences: what it adds up to over tasks.
        plots: embedded.
        settings: what was asked.
        environment: machine and versions.

    Returns:
        The page.
    """
    return write_page(
        folder,
        "bench.html.jinja",
        title=f"Planning in learned world models: {settings.suite or 'a grid of runs'}",
        lines=sentences,
        header=header(rows),
        rows=cells(rows),
        caption=CAPTION,
        published_header=("task", *PUBLISHED),
        published=_published(settings),
        images=[
            {"title": plot.title, "source": data_uri(plot.path, "image/png"), "caption": plot.caption} for plot in plots
        ],
        films=_films(folder, results),
        settings=asdict(settings),
        environment=environment,
    )


def curves_caption(results: Sequence[CellResult]) -> str:
    """How many episodes the points of the learning curves average, in each run.

    Args:
        results: at least one cell.
    """
    last = _range([len(result.returns) for result in results])
    before = [
        len(returns) for result in results for frames, returns in result.progress if frames < result.frames
    ]  # as drawn
    if not before:
        return f"Each point averages {last} of each run, after its last episode of training."
    return f"The last point of a curve averages {last} of each run, the points before it {_range(before)}."


def _range(counts: Sequence[int]) -> str:
    """1 episode, 10 episodes, 3 to 10 episodes."""
    few, many = min(counts), max(counts)
    return counted(few, "episode") if few == many else f"{few} to {counted(many, 'episode')}"


def bench_tables(rows: Sequence[Row], sentences: Sequence[str]) -> str:
    """The table of the page in Markdown, with every run's return, and what it adds up to below it."""
    lines = table_head([*header(rows), "each run, or episode"])
    for row, shown in zip(rows, cells(rows), strict=True):
        lines.append(table_line([*shown, ", ".join(map(two_digits, row.returns))]))
    return "\n".join([*lines, "", CAPTION, "", *(f"* {sentence}" for sentence in sentences)]) + "\n"


def _published(settings: BenchSettings) -> list[tuple[str, ...]]:
    found = (suite_task(settings.suite, name) for name in settings.tasks)
    return [(task.name, *(f"{value:.0f}" for value in task.published)) for task in found if task is not None]


def _films(folder: Path, results: GridResults) -> list[dict[str, str]]:
    """The best episode of the first seed of every task and model that was filmed."""
    films: dict[str, dict[str, str]] = {}
    for result in results.cells:
        path = folder / Cell.of(result).folder / _FILM
        if path.exists():
            title = f"{result.task}, {result.model}-{result.planner}"
            films.setdefault(title, {"title": title, "source": video_source(path, folder)})
    return list(films.values())
