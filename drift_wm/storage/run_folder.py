"""Run folders: what a command was asked, with what versions, and what came of it."""

from __future__ import annotations

import json
import math
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from drift_wm.cores import available_cores
from drift_wm.storage.run_lock import LOCK, locked
from drift_wm.storage.same_run import planner_record, require_same_run
from drift_wm.storage.writing import beside, write_text

Content = TypeVar("Content", dict[str, Any], list[Any])

CONFIG, ENVIRONMENT = WRITTEN = ("config.json", "environment.json")
"""What tells what was asked, and with what it was done."""
PACKAGES = ("drift-wm", "torch", "numpy", "gymnasium", "mujoco", "dm-control", "h5py", "hydra-core")
COPY_AGAIN = "copy the run folder again, or set run_dir=... to another one"
DONE_AGAIN = "remove the file, and what it tells is found again"
"""What to do about a damaged file: one that tells what was asked or done, and one that follows from the rest."""


class RunFolder:
    """A folder that one run writes to, and a later one may continue.

    Args:
        path: created if absent.

    Raises:
        OSError: the folder cannot be written; the message says what to do.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._was_there = path, path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = beside(path / "writable")
            try:
                probe.write_bytes(b"\0" * 4096)
            finally:
                probe.unlink(missing_ok=True)  # on a full disk it is there, too, and would pass for work that was done
        except OSError as error:
            raise type(error)(
                error.errno,
                f"cannot write to the run folder ({error.strerror}); set run_dir=... to a folder with "
                "write permission and free space",
                str(path),
            ) from error

    def locked(self) -> AbstractContextManager[None]:
        """Be the only process that works here, see `run_lock.locked`."""
        return locked(self.path)

    def asked_before(self, command: str, config: Any, *, may_change: Collection[str] = ()) -> dict[str, Any] | None:
        """What was asked of the run that is asked for now; None: nothing yet.

        Args:
            command: its name.
            config: its settings, a dataclass.
            may_change: names of settings that may be others from time to time.

        Raises:
            ValueError: the folder belongs to a run with another command or other settings, is damaged, or holds
                results that no run recorded its settings for.
        """
        path = self.path / CONFIG
        if not path.exists():
            _require_no_results(self.path)
            return None
        found = read_json(path, dict)
        require_same_run(self.path, found, _record(command, config), config, may_change=may_change)
        return found

    def write_config(self, command: str, config: Any, *, may_change: Collection[str] = ()) -> bool:
        """Keep what was asked; of what may change, the newest. Returns whether nothing was asked before.

        Arguments and errors are those of `asked_before`.
        """
        asked, found = _record(command, config), self.asked_before(command, config, may_change=may_change)
        if found is None:
            write_json(self.path / CONFIG, asked)
        elif may_change:
            write_json(self.path / CONFIG, found | {name: asked[name] for name in may_change})
        return found is None

    def write_environment(self) -> None:
        """Keep with what is done from now on; of what is finished it stays as it was."""
        write_json(self.path / ENVIRONMENT, describe_environment())

    def forget_config(self) -> bool:
        """Undo what the two above wrote, unless a file or a link besides is in the folder or in a folder of it.

        A folder that was made for the run goes with it; in one that was there before all else stays as it was.

        Returns:
            Whether that was done.
        """
        written = {self.path / name for name in WRITTEN}
        found = (path for path in self.path.rglob("*") if path.is_symlink() or not path.is_dir())
        is_empty = written.issuperset(path for path in found if path.name != LOCK)
        if is_empty and self._was_there:
            for path in written:
                path.unlink(missing_ok=True)
        elif is_empty:
            # What cannot be removed stays, empty: why the request was refused is what to report.
            shutil.rmtree(self.path, ignore_errors=True)
        return is_empty

    def require_model(self, model_id: str | None) -> None:
        """Keep which model acts here, so that no other one goes on; None where none does.

        Raises:
            ValueError: another one has acted here.
        """
        if model_id is None:
            return
        path = self.path / "model.json"
        if path.exists() and (kept := read_json(path, dict).get("id")) != model_id:
            raise ValueError(
                f"{self.path} holds episodes of model {kept}, and the checkpoint that is asked for now is model "
                f"{model_id}; set run_dir=... to another folder, or checkpoint=... to the file of that model"
            )
        write_json(path, {"id": model_id})

    def write_results(self, results: dict[str, Any]) -> None:
        """Write `results.json`, atomically."""
        write_json(self.path / "results.json", results)

    def read_results(self) -> dict[str, Any] | None:
        """The results of a finished run, or None.

        Raises:
            ValueError: the file is damaged.
        """
        path = self.path / "results.json"
        return read_json(path, dict, remedy=DONE_AGAIN) if path.exists() else None


def _record(command: str, config: Any) -> dict[str, Any]:
    """What `config.json` says."""
    return {"command": command, **_plain(asdict(config)), **planner_record(config)}


def _require_no_results(folder: Path) -> None:
    """Raise a ValueError if files are in the way that are someone else's, or whose run is no longer known."""
    if met := [name for name in (ENVIRONMENT, "results.json", "report.html") if (folder / name).exists()]:
        raise ValueError(
            f"{folder} holds {' and '.join(met)}, and no config.json of a run that made them: expected a new or empty "
            "folder, or that of a run; choose another run_dir"
        )


def default_path(command: str, settings: Any) -> Path:
    """runs/<command>/<task>-seed<seed>-<date>-<time>, below the working directory.

    Logged data stand for the task, and so does the run whose model is looked at.
    """
    data, checkpoint = (getattr(settings, name, None) for name in ("data", "checkpoint"))
    logs = Path(data).absolute().stem if data else ""
    run = Path(checkpoint).absolute().name.removesuffix(".pt") if checkpoint else ""
    parts = [run or logs or getattr(settings, "task", "") or command]
    if hasattr(settings, "seed"):
        parts.append(f"seed{settings.seed}")
    return Path("runs") / command / "-".join([*parts, datetime.now().strftime("%Y%m%d-%H%M%S")])


def read_json(path: Path, kind: type[Content], *, remedy: str = COPY_AGAIN) -> Content:
    """What a file holds that `write_json` wrote.

    Args:
        path: of the file, which is there.
        kind: dict or list, whichever was written.
        remedy: what to do where the file is damaged.

    Raises:
        ValueError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, or no text
        raise ValueError(f"{path}: not JSON ({error}); {remedy}") from error
    if not isinstance(content, kind):
        expected = "object" if kind is dict else "list"
        raise ValueError(f"{path}: {content!r:.200}, expected a JSON {expected}; {remedy}")
    return content


def write_json(path: Path, content: Any) -> None:
    """Write plain values, see `write_text`; NaN and infinities become null."""
    write_text(path, json.dumps(_plain(content), indent=2) + "\n")


def describe_environment() -> dict[str, Any]:
    """Versions, machine and source revision, for the record."""
    return {
        "command_line": _command_line(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": available_cores(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
    }


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _command_line() -> str:
    """What to type to have the same again."""
    program = Path(sys.argv[0])
    start = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return shlex.join([*start, *sys.argv[1:]])


def _processor() -> str:
    """The processor's name; Linux keeps it where `platform` does not look."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _git_commit() -> str | None:
    """The revision of the package's own checkout; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or a checkout it does not trust: the record says so by null
    return answer.stdout.strip()
