"""Whether what is asked for now is the run that a folder holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

_WHERE = ("run_dir", "threads", "workers", "device", "shard", "shards", "memory_gb")
"""Settings that say where and on what to run, not what."""


def require_same_run(
    folder: Path, found: Mapping[str, Any], asked: Mapping[str, Any], *, may_change: Collection[str] = ()
) -> None:
    """Refuse to go on in the folder of another run.

    Args:
        folder: of the run.
        found: what its `config.json` holds.
        asked: what it would hold of the run that is asked for.
        may_change: names of settings that may be others.

    Raises:
        ValueError: another command or other settings were recorded.
    """
    if found.get("command") != asked["command"]:
        raise ValueError(
            f"{folder} holds a run of {found.get('command')!r}, not of {asked['command']!r}; choose another run_dir"
        )
    ignored = {*_WHERE, *may_change}
    there, now = (
        dict(_leaves({name: value for name, value in each.items() if name not in ignored})) for each in (found, asked)
    )
    differing = [
        f"{name} (there {there.get(name)!r}, asked {now.get(name)!r})"
        for name in sorted(there.keys() | now.keys())
        if there.get(name) != now.get(name)
    ]
    if differing:
        raise ValueError(
            f"{folder} holds a run with other settings: {'; '.join(differing)}. "
            "Repeat that run's settings to continue it, or choose another run_dir"
        )


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings with dotted names."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
