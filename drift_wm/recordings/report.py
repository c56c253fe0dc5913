"""What `drift-wm data replay` shows at its end."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from drift_wm.recordings.divergence import Replayed, verdict
from drift_wm.terminal import add_columns, say

WHOLE, SINGLE = "in one go", "step by step"
"""The two ways of replaying: from the first state on, and every step from its recorded state."""


def show_replay(found: Replayed, console: Console) -> None:
    """A table of both ways, what is remarkable, and the verdict last."""
    say(console, f"{found.task}: deviation from the record, in standard deviations of each entry")
    table = Table()
    columns = ("replayed", "what", "largest", "rms", f"steps beyond {found.tolerance:g}")
    add_columns(table, columns, left=("replayed", "what"))
    for words, demos in ((WHOLE, [d.whole for d in found.demos]), (SINGLE, [d.single for d in found.demos])):
        for what, each in (("states", [d.states for d in demos]), ("observations", [d.obs for d in demos])):
            largest = np.concatenate([divergence.largest for divergence in each])
            rms = np.sqrt(np.square(np.concatenate([divergence.rms for divergence in each])).mean())
            beyond = np.count_nonzero(largest > found.tolerance)
            table.add_row(words, what, f"{largest.max():.3g}", f"{rms:.3g}", f"{beyond:,}")
    console.print(table)
    for remark in found.remarks:
        say(console, f"note: {remark}")
    say(console, verdict(found))
