"""What `drift-wm data replay` shows at its end."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from drift_wm.recordings.divergence import Replayed, verdict

WHOLE, SINGLE = "in one go", "step by step"
"""The two ways of replaying: from the first state on, and every step from its recorded state."""


def show_replay(found: Replayed, console: Console) -> None:
    """A table of both ways, what is remarkable, and the verdict last."""
    console.print(
        f"{found.task}: deviation from the record, in standard deviations of each entry", markup=False, soft_wrap=True
    )
    table = Table()
    for column in ("replayed", "what", "largest", "rms", f"steps beyond {found.tolerance:g}"):
        table.add_column(column, justify="left" if column in ("replayed", "what") else "right", overflow="fold")
    for words, demos in ((WHOLE, [d.whole for d in found.demos]), (SINGLE, [d.single for d in found.demos])):
        for what, each in (("states", [d.states for d in demos]), ("observations", [d.obs for d in demos])):
            largest = np.concatenate([divergence.largest for divergence in each])
            rms = np.sqrt(np.square(np.concatenate([divergence.rms for divergence in each])).mean())
            beyond = np.count_nonzero(largest > found.tolerance)
            table.add_row(words, what, f"{largest.max():.3g}", f"{rms:.3g}", f"{beyond:,}")
    console.print(table)
    for remark in found.remarks:
        console.print(f"note: {remark}", highlight=False, markup=False, soft_wrap=True)
    console.print(verdict(found), highlight=False, markup=False, soft_wrap=True)
