"""Which models a run came from: its own checkpoints, and those of the runs it was started from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drift_wm.storage.checkpoint import load_checkpoint
from drift_wm.storage.run_files import checkpoints_at, run_of, settings_of


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a lineage, and the file that holds it."""

    path: Path
    id: str
    parent: str | None
    """Id of the model it was trained on from; None for a first one."""
    round: int
    """Of training, counted from 0, as in the names of the files."""
    steps: int
    """Training steps since the first model of the lineage was initialised."""

    @property
    def run(self) -> Path:
        """The run folder; of a file that lies in none, the folder it lies in."""
        return run_of(self.path.parent)


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Models, oldest first, as far back as there are files."""

    members: tuple[Member, ...]
    """At least one. Each is the child of the one before it, unless a file between them was deleted."""
    trail_ends: str | None
    """Why nothing older was found; None where the oldest member is a first model."""


def trace(run: Path) -> Ancestry:
    """Every checkpoint of a run folder, and what they came from, through the folders of other runs.

    A run's `config.json` says where its parent was; whether a file there is the parent is decided by the id alone,
    so a folder whose run has gone on since, or one that was moved together with the run, serves as well.

    Raises:
        ValueError: no checkpoints there, or a file that is not a readable checkpoint.
    """
    found = checkpoints_at(run) if run.is_dir() else []
    if not found:
        raise ValueError(
            f"no checkpoints at {run}: expected the run folder of a `drift-wm train` or `drift-wm online` "
            "that has finished at least one round"
        )
    members = [_read(path) for path in found]
    visited: set[Path] = set()
    while members[0].parent is not None:
        visited.add(members[0].run.resolve())
        older = _older(members[0], visited)
        if not older:
            return Ancestry(tuple(members), _why_it_ends(members[0]))
        members = older + members
    return Ancestry(tuple(members), None)


def _older(first: Member, visited: set[Path]) -> list[Member]:
    """The parent of a run's first member and all before it in the parent's folder; nothing if it is not found."""
    for place in places_of(settings_of(first.run).get("parent"), first.run):
        older: list[Member] = []
        for path in checkpoints_at(place):
            older.append(_read(path))
            if older[-1].run.resolve() in visited:  # settings that name their own run must not lead in a circle
                break
            if older[-1].id == first.parent:
                return older
    return []


def places_of(recorded: str | None, run: Path) -> list[Path]:
    """Where a path in a run's settings may point: as it stands, and, if relative, from its folder or one above."""
    if recorded is None:
        return []
    folder = run.resolve()
    places: dict[Path, Path] = {}
    for place in (Path(recorded), *(above / recorded for above in (folder, *folder.parents))):
        places.setdefault(place.resolve(), place)
    return list(places.values())


def _read(path: Path) -> Member:
    checkpoint = load_checkpoint(path)
    state = checkpoint.state
    if checkpoint.kind != "world_model":
        raise ValueError(
            f"{path} is of kind {checkpoint.kind!r}: expected a world model; only these have a lineage here"
        )
    in_progress = state["round_step"] > 0
    number = state["rounds"] if in_progress else state["rounds"] - 1
    return Member(path, checkpoint.id, checkpoint.parent, number, state["steps"])


def _why_it_ends(first: Member) -> str:
    parent = settings_of(first.run).get("parent")
    where = "no file is known to hold it" if parent is None else f"{parent} does not hold it (any more)"
    return f"the trail ends at {first.path}: its parent is {first.parent}, and {where}"
