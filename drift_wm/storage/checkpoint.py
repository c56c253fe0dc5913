"""Checkpoints: tensors and plain values in one file, written atomically, loaded without running code."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drift_wm.storage.writing import replacing, temporary_of

FORMAT = 13
"""Of what this version writes and reads; 13 since each unit learns its share of the first layer."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One member of a lineage of models."""

    id: str
    """Hash of the weights."""
    parent: str | None
    """Id of the model this one continues; None for a first one."""
    kind: str
    """What the weights are, e.g. `world_model`."""
    config: dict[str, Any]
    """Settings as plain values: what is needed to build the model, and how it was trained."""
    state: dict[str, Any]
    """Weights, averaged weights, optimiser, RNG and counters, as nested dicts of tensors and plain values;
    `learned_from`, the fingerprints of all episodes that the model and those before it were trained on; `inherited`,
    those of them that a run's parent brought; `data`, the digest of a run's data where they do not grow; and `metrics`
    of the last batch of a round that is finished."""

    @property
    def learned_from(self) -> frozenset[str]:
        """Fingerprints of all episodes that the model and those it continues were trained on."""
        return frozenset(self.state["learned_from"])

    @property
    def obs_keys(self) -> list[str] | None:
        """Of the data that the model was trained on, in the order that it reads them; None where it is not known."""
        return self.config.get("obs_keys")

    @property
    def obs_sizes(self) -> dict[str, int] | None:
        """How many numbers of an observation are each key's; None where it is not known."""
        return self.config.get("obs_sizes")


def weights_id(weights: dict[str, Tensor]) -> str:
    """Twelve hexadecimal digits that name a set of weights by their content."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a kill leaves the old file or the new one, never half of one.

    Raises:
        OSError: the file cannot be written; the old one is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": FORMAT, **{name: getattr(checkpoint, name) for name in Checkpoint.__slots__}}
    try:
        with replacing(path, temporary=temporary_of(path)) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        raise OSError(
            f"could not write checkpoint {path}: {error}; free some space or choose another run_dir "
            "(the previous checkpoint is intact)"
        ) from error


_DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError),
    *(zipfile.BadZipFile, LookupError, TypeError, AttributeError),
)
"""What torch and zipfile raise over files with wrong bytes."""


def load_checkpoint(path: Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        ValueError: no such file, not a checkpoint, truncated, or of another format version.
    """
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}: expected a file that `drift-wm train` or `online` wrote")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch writes sums of what it stores, and does not look at them
    except pickle.UnpicklingError as error:  # torch would advise to read it by running what is in it
        is_archive = zipfile.is_zipfile(path)
        cause = "it holds more than tensors and plain values" if is_archive else "it is no archive of tensors"
        raise ValueError(_unreadable(path, cause)) from error
    except _DAMAGED as error:
        cause = str(error).partition("\n")[0]
        raise ValueError(_unreadable(path, f"{type(error).__name__}: {cause}")) from error
    if damaged is not None:
        raise ValueError(_unreadable(path, f"{damaged} in it is not what was written"))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"{path}: expected a drift_wm checkpoint of format {FORMAT}, found {found!r}; "
            "load it with the version of drift_wm that wrote it, or train again"
        )
    missing = [name for name in Checkpoint.__slots__ if name not in content]
    if missing:
        raise ValueError(f"{path}: the checkpoint lacks {', '.join(missing)}; it was not written by this package")
    checkpoint = Checkpoint(**{name: content[name] for name in Checkpoint.__slots__})
    if _id_of_content(checkpoint) != checkpoint.id:
        raise ValueError(_unreadable(path, f"its weights are not those of model {checkpoint.id} that it names"))
    return checkpoint


def _id_of_content(checkpoint: Checkpoint) -> str | None:
    """Of the weights that predict; None where there are none."""
    weights = checkpoint.state.get("averaged") if isinstance(checkpoint.state, dict) else None
    sound = isinstance(weights, dict) and all(isinstance(tensor, Tensor) for tensor in weights.values())
    return weights_id(weights) if sound and weights is not None else None


def _unreadable(path: Path, cause: str) -> str:
    return (
        f"{path} is not a readable drift_wm checkpoint ({cause}); "
        "if it was copied, copy it again; otherwise use an earlier checkpoint of the run"
    )
