"""Scalars over time, as TensorBoard event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter


class MetricsLog:
    """Writes scalars to `<folder>/tensorboard`, without a folder nowhere; a context manager that flushes at the end."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = None if folder is None else SummaryWriter(str(folder / "tensorboard"), flush_secs=10)

    def record(self, group: str, step: int, values: Mapping[str, float]) -> None:
        """Record each value as `group/name` at `step`."""
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()
