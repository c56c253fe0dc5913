"""Training windows of many episodes, gathered by one index operation.

Every episode is stored behind K - 1 repetitions of its first observation with zero actions, which is how a
policy pads its history after a reset. A window is then a run of consecutive rows, wherever it starts:

    row       K - 1 repetitions | 0  1  2 ... L
    obs           o0 ... o0     | o0 o1 o2 ... oL
    actions        0 ...  0     | a0 a1 ... a(L-1)  0
    ended          0 ...  0     | 0  0  ... e       0     (e = 1 if the world ended with the last transition)

The window of decision t covers the rows from the one of frame t - K + 1 to that of frame t + k. Where windows go past
ends, k - 1 rows follow an ended world: oL, actions of the same episode, rewards of 0, and ended = 1. Without them a
model of k steps would meet an end as the last step of a window alone, and never what it pays, or that nothing comes
after it.

Episodes that were too large for memory lie on the disk in such rows (`drift_wm.datasets.store`): they stay there, and
the same operation gathers windows of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drift_wm.datasets.episodes import Episode, count_windows, windows_in
from drift_wm.datasets.store import Rows, StoredEpisode, rows_of
from drift_wm.interfaces import Batch


class Windows:
    """All windows of K history frames and k predicted steps; none crosses an episode boundary.

    An episode of L transitions has the decisions 0 ... L - k, so `max(0, L - k + 1)` windows; of a world that ended,
    where windows go past ends, 0 ... L - 1. They are numbered by episode, then by decision.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        *,
        history: int,
        chunk: int,
        device: torch.device | str = "cpu",
        past_end: bool = False,
    ) -> None:
        """Copy the episodes to the device, unless they lie on the disk.

        Args:
            episodes: at least one of `chunk` transitions or more; shorter ones give no window.
            history: K >= 1.
            chunk: k >= 1.
            device: where the data live and the batches are made.
            past_end: let windows go on behind a transition with which the world ended.

        Raises:
            ValueError: a size is not positive, episodes disagree about D or A, or there is no window at all.
        """
        if history < 1:
            raise ValueError(f"history is {history}, expected at least 1: a model reads the newest frame or more")
        count_windows(episodes, chunk, past_end=past_end)
        expected = episodes[0].sizes
        for episode in episodes:
            if episode.sizes != expected:
                raise ValueError(
                    f"an episode has (observation, action) sizes {episode.sizes}, expected {expected}: use one task"
                )
        self.history = history
        self.chunk = chunk
        self._device = torch.device(device)
        padding, tail = history - 1, chunk - 1 if past_end else 0
        counts = [windows_in(episode, chunk, past_end=past_end) for episode in episodes]
        self._ends = any(episode.terminated for episode, windows in zip(episodes, counts, strict=True) if windows)
        self._rows: _MemoryRows | _StoredRows
        if (stored := _common_rows(episodes, padding, tail)) is not None:
            self._rows = _StoredRows(stored, episodes, counts, padding)
        else:
            self._rows = _MemoryRows(episodes, counts, padding, tail, self._device)

    def __len__(self) -> int:
        """The number of windows."""
        return self._rows.windows

    def batch(self, indices: Tensor) -> Batch:
        """Gather windows by number.

        Args:
            indices: (B,) int64 in 0 ... len(self) - 1, on any device.

        Raises:
            ValueError: the indices have another type or shape or leave that range.
        """
        if indices.dtype != torch.int64 or indices.ndim != 1:
            raise ValueError(
                f"indices is {indices.dtype} of shape {tuple(indices.shape)}, expected int64 of shape (B,): convert it"
            )
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < len(self):
            raise ValueError(
                f"indices lie in {int(indices.min())}..{int(indices.max())}, expected 0..{len(self) - 1}: "
                f"draw them below len(windows)"
            )
        return self._gather(indices)

    def sample(self, size: int, rng: torch.Generator) -> Batch:
        """Draw windows uniformly, with replacement.

        Args:
            size: B >= 1.
            rng: source of the indices, on any device.

        Raises:
            ValueError: `size` is not positive.
        """
        if size < 1:
            raise ValueError(f"size is {size}, expected at least 1: draw one window or more")
        return self._gather(torch.randint(len(self), (size,), generator=rng, device=rng.device))

    def _gather(self, indices: Tensor) -> Batch:
        rows, padding = self._rows, self.history - 1
        starts = rows.starts(indices)
        first = starts + padding  # rows of the transitions to predict
        ended = _runs(rows.ended, first, self.chunk) if self._ends else None
        return Batch(
            obs=_runs(rows.obs, starts, self.history + self.chunk).to(self._device),
            actions=_runs(rows.actions, starts, padding + self.chunk).to(self._device),
            reward=_runs(rows.rewards, first, self.chunk).to(self._device),
            ended=None if ended is None else ended.to(self._device),
        )


class _MemoryRows:
    """Rows on the device, and the first one of each window. Arguments as `_StoredRows`."""

    def __init__(
        self, episodes: Sequence[Episode], counts: Sequence[int], padding: int, tail: int, device: torch.device
    ) -> None:
        used = [(episode, windows) for episode, windows in zip(episodes, counts, strict=True) if windows]
        size = sum(padding + len(episode) + 1 + (tail if episode.terminated else 0) for episode, _ in used)
        D, A = episodes[0].sizes
        self.obs, self.actions = torch.zeros(size, D, device=device), torch.zeros(size, A, device=device)
        self.rewards, self.ended = torch.zeros(size, device=device), torch.zeros(size, device=device)
        starts, first = [], 0
        for episode, windows in used:  # one by one: all tables at once would take as much memory again
            table = torch.from_numpy(rows_of(episode, padding, tail))
            rows = slice(first, first + len(table))
            self.obs[rows], self.actions[rows] = table[:, :D], table[:, D:-2]
            self.rewards[rows], self.ended[rows] = table[:, -2], table[:, -1]
            starts.append(torch.arange(first, first + windows))
            first = rows.stop
        self._starts = torch.cat(starts).to(device)
        self.windows = len(self._starts)

    def starts(self, indices: Tensor) -> Tensor:
        """(B,) numbers of windows -> (B,) their first rows."""
        return self._starts.index_select(0, indices.to(self._starts.device))


class _StoredRows:
    """Rows on the disk. First rows are worked out: a list of them could be as large as the episodes."""

    def __init__(self, stored: Rows, episodes: Sequence[Episode], counts: Sequence[int], padding: int) -> None:
        table, D = torch.from_numpy(stored.table), episodes[0].obs.shape[1]
        self.obs, self.actions, self.rewards, self.ended = table[:, :D], table[:, D:-2], table[:, -2], table[:, -1]
        first_rows = [each.first for each in episodes if isinstance(each, StoredEpisode)]
        used = torch.tensor(counts) > 0
        firsts = torch.tensor(first_rows)[used] + stored.padding - padding
        windows = torch.tensor(counts)[used]
        self._ends = windows.cumsum(0)
        self._shifts = firsts - (self._ends - windows)
        self.windows = int(self._ends[-1])

    def starts(self, indices: Tensor) -> Tensor:
        """(B,) numbers of windows -> (B,) their first rows."""
        numbers = indices.cpu()
        return numbers + self._shifts[torch.searchsorted(self._ends, numbers, right=True)]


def _common_rows(episodes: Sequence[Episode], padding: int, tail: int) -> Rows | None:
    """The stored rows that hold every episode between enough repetitions; None if there are none such."""
    first = episodes[0]
    rows = first.rows if isinstance(first, StoredEpisode) else None
    if rows is None or rows.padding < padding or rows.tail < tail:
        return None
    return rows if all(isinstance(each, StoredEpisode) and each.rows is rows for each in episodes) else None


def _runs(storage: Tensor, starts: Tensor, length: int) -> Tensor:
    """(R, ...) rows and (B,) first rows -> (B, length, ...) runs of consecutive rows, copied.

    Selecting from a view of all runs copies each as one block: a fifth of the time of indexing row by row.
    """
    return storage.unfold(0, length, 1).movedim(-1, 1).index_select(0, starts)
