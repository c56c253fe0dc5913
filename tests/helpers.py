"""What many tests need, imported by name: `tests` is on pytest's path."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

STATES = 4000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=rng(seed), dtype=torch.float64)


def forecasts(P: int, *, spread: float = 1.0, bias: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples and outcomes of STATES states whose means differ; perfect unless told otherwise."""
    mean = 3 * normal(STATES, 2, seed=1)
    samples = mean[:, None] + bias + spread * normal(STATES, P, 2, seed=2)
    return samples, mean + normal(STATES, 2, seed=3)


def read_results(run: Path) -> Any:
    """What a run folder's `results.json` holds."""
    return json.loads((run / "results.json").read_text())


def write_lerobot(root: Path, episodes, *, lacking=()) -> Path:
    """A LeRobot folder of version 2.1 with all of the episodes but the files of those whose numbers are lacking."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    width = {"observation.state": episodes[0].sizes[0], "action": episodes[0].sizes[1], "next.reward": 1}
    features = {name: {"dtype": "float32", "shape": [size]} for name, size in width.items()}
    data_path = "data/{episode_index}.parquet"
    info = {"codebase_version": "v2.1", "fps": 10, "features": features, "data_path": data_path}
    for folder in ("meta", "data"):
        (root / folder).mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = [json.dumps({"episode_index": i, "length": len(episode)}) for i, episode in enumerate(episodes)]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines))
    for i, episode in enumerate(episodes):
        if i not in lacking:
            columns = {
                "observation.state": episode.obs[:-1].tolist(),
                "action": episode.actions.tolist(),
                "next.reward": episode.rewards.tolist(),
                "episode_index": [i] * len(episode),
            }
            parquet.write_table(pyarrow.table(columns), root / data_path.format(episode_index=i))
    return root
