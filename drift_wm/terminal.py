"""Lines and tables for a terminal, of which nothing is read as markup and nothing is cut short."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

_ANY_WIDTH = 10_000  # letters, more than any table takes


def say(console: Console, line: str) -> None:
    """Print a line as it stands: a path in it may hold brackets, and is copied whole."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def add_columns(table: Table, names: Iterable[str], *, left: Collection[str]) -> None:
    """Columns of numbers, and on the left those of words; what is too wide is folded: half a number is another one."""
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")


def show_whole(console: Console, table: Table) -> None:
    """Print a table of many columns that breaks between words alone, and so never within a number.

    Columns of several words give way to those of numbers; where that is not enough, lines are longer than the terminal.
    """
    for column in table.columns:
        cells = [Text.from_markup(str(cell)).plain.split() for cell in (column.header, *column.cells)]
        column.no_wrap = all(len(words) <= 1 for words in cells)
        column.min_width = max(len(word) for words in cells for word in words or [""])
    least = console.measure(table, options=console.options.update(width=_ANY_WIDTH)).minimum
    if least > console.width:
        table.width = least
    console.print(table, crop=False)
