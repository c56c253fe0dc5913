"""Rows of Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence


def table_line(cells: Sequence[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def table_head(heading: Sequence[str]) -> list[str]:
    """The heading, and the rule under it."""
    return [table_line(heading), table_line(["---"] * len(heading))]
