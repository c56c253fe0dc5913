"""Training windows of many episodes, gathered by one index operation.

Every episode is stored behind K - 1 repetitions of its first observation with zero actions, which is how a
policy pads its history after a reset. A window is then a run of consecutive rows, wherever it starts:

    row       K - 1 repetitions | 0  1  2 ... L
    obs           o0 ... o0     | o0 o1 o2 ... oL
    actions        0 ...  0     | a0 a1 ... a(L-1)  0
    ended          0 ...  0     | 0  0  ... e       0     (e = 1 if the world ended with the last transition)

The window of decision t covers the rows from the one of frame t - K + 1 to that of frame t + k.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drift_wm.datasets.episodes import Episode, count_windows
from drift_wm.interfaces import Batch


class Windows:
    """All windows of K history frames and k predicted steps; none crosses an episode boundary.

    An episode of L transitions has the decisions 0 ... L - k, so `max(0, L - k + 1)` windows. They are numbered
    by episode, then by decision.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        *,
        history: int,
        chunk: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Copy the episodes to the device.

        Args:
            episodes: at least one of `chunk` transitions or more; shorter ones give no window.
            history: K >= 1.
            chunk: k >= 1.
            device: where the data live and the batches are made.

        Raises:
            ValueError: a size is not positive, episodes disagree about D or A, or there is no window at all.
        """
        if history < 1:
            raise ValueError(f"history is {history}, expected at least 1: a model reads the newest frame or more")
        count = count_windows(episodes, chunk)
        self.history = history
        self.chunk = chunk
        self.observation_size = episodes[0].obs.shape[1]
        self.action_size = episodes[0].actions.shape[1]
        rows = sum(history + len(episode) for episode in episodes if len(episode) >= chunk)
        self._obs = _GrowingTensor((self.observation_size,), torch.float32, device, capacity=rows)
        self._actions = _GrowingTensor((self.action_size,), torch.float32, device, capacity=rows)
        self._rewards = _GrowingTensor((), torch.float32, device, capacity=rows)
        self._ended = _GrowingTensor((), torch.float32, device, capacity=rows)
        self._starts = _GrowingTensor((), torch.int64, device, capacity=count)
        self.ends = False
        """Whether an episode ends by itself."""
        for episode in episodes:
            self.extend(episode)

    def __len__(self) -> int:
        """The number of windows."""
        return self._starts.size

    def extend(self, episode: Episode) -> None:
        """Add the windows of one more episode, in time proportional to its length on average.

        Raises:
            ValueError: D or A is not that of the other episodes.
        """
        sizes = (episode.obs.shape[1], episode.actions.shape[1])
        expected = (self.observation_size, self.action_size)
        if sizes != expected:
            raise ValueError(f"the episode has (observation, action) sizes {sizes}, expected {expected}: use one task")
        count = len(episode) - self.chunk + 1
        if count < 1:
            return
        padding = self.history - 1
        obs = torch.from_numpy(episode.obs.copy())
        actions = torch.from_numpy(episode.actions.copy())
        rewards = torch.from_numpy(episode.rewards.copy())
        # Actions and rewards get a last row that no window reads, so that all arrays share their row numbers.
        self._starts.append(self._obs.size + torch.arange(count))
        self._obs.append(torch.cat([obs[:1].expand(padding, -1), obs]))
        self._actions.append(
            torch.cat([actions.new_zeros(padding, self.action_size), actions, actions.new_zeros(1, self.action_size)])
        )
        self._rewards.append(torch.cat([rewards.new_zeros(padding), rewards, rewards.new_zeros(1)]))
        ended = rewards.new_zeros(padding + len(episode) + 1)
        ended[-2] = float(episode.terminated)
        self._ended.append(ended)
        self.ends = self.ends or episode.terminated

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
        starts = self._starts.storage.index_select(0, indices.to(self._starts.storage.device))
        first = starts + (self.history - 1)  # rows of the transitions to predict
        return Batch(
            obs=_runs(self._obs.storage, starts, self.history + self.chunk),
            actions=_runs(self._actions.storage, starts, self.history - 1 + self.chunk),
            reward=_runs(self._rewards.storage, first, self.chunk),
            ended=_runs(self._ended.storage, first, self.chunk) if self.ends else None,
        )


def _runs(storage: Tensor, starts: Tensor, length: int) -> Tensor:
    """(R, ...) rows and (B,) first rows -> (B, length, ...) runs of consecutive rows, copied.

    Selecting from a view of all runs copies each as one block: a fifth of the time of indexing row by row.
    """
    return storage.unfold(0, length, 1).movedim(-1, 1).index_select(0, starts)


class _GrowingTensor:
    """Rows in a buffer that doubles when it is full: appending costs a constant time per row on average."""

    def __init__(
        self, row_shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str, *, capacity: int
    ) -> None:
        self.storage = torch.zeros((capacity, *row_shape), dtype=dtype, device=device)
        self.size = 0
        """Rows in use; the rest of the storage is spare."""

    def append(self, rows: Tensor) -> None:
        needed = self.size + len(rows)
        if needed > len(self.storage):
            grown = self.storage.new_zeros((max(needed, 2 * len(self.storage)), *self.storage.shape[1:]))
            grown[: self.size] = self.storage[: self.size]
            self.storage = grown
        self.storage[self.size : needed] = rows
        self.size = needed
