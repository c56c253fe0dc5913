"""Lines and tables for a terminal, of which nothing is read as markup and nothing is cut short."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rich.console import Console
from rich.table import Table


def say(console: Console, line: str) -> None:
    """Print a line as it stands: a path in it may hold brackets, and is copied whole."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def add_columns(table: Table, names: Iterable[str], *, left: Collection[str]) -> None:
    """Columns of numbers, and on the left those of words; what is too wide is folded: half a number is another one."""
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
