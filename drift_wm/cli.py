"""The command line: `drift-wm <command> [setting=value ...]`."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import yaml
from rich.console import Console

from drift_wm import __version__
from drift_wm.bench.settings import MAY_GROW
from drift_wm.configs.schema import COMMANDS, describe_settings, read_settings
from drift_wm.doctor import examine, render
from drift_wm.examples import EXAMPLES, SUMMARIES
from drift_wm.hints import command_hint, flag_hint
from drift_wm.storage.run_folder import RunFolder, default_path

logger = logging.getLogger(__name__)

_NOTHING = "nothing was written"
_WHOLE = ("data-inspect", "data-convert", "data-replay")
"""Commands that write when all is done: an interrupted one has nothing to go on from."""
_LOST_WORKER = (
    "a worker process died without an error message. Usually memory ran out (try fewer workers=), or your script "
    'calls main() outside `if __name__ == "__main__":`. Finished work is saved; repeat the command to continue'
)
_DEMONSTRATIONS = "suite=demonstrations"
_FLAGS = ("--help", "--show", "--version")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status is returned.

    0: done. 1: the work failed. 2: the request was wrong. 130: interrupted; what was done is saved.
    """
    given = join_words(sys.argv[1:] if arguments is None else list(arguments))
    parser = _parser(explain=given if {"-h", "--help"} & set(given) else ())
    if hint := command_hint(given, SUMMARIES):
        parser.error(hint)
    if given and given[0] in COMMANDS and (hint := flag_hint(given[1:], _FLAGS)):
        parser.error(hint)
    parsed = parser.parse_args(given)
    _start_logging()
    if parsed.command == "doctor":
        return _doctor()
    try:
        settings = read_settings(parsed.command, parsed.settings)
        if parsed.show:
            _write(sys.stdout, yaml.safe_dump(asdict(settings), sort_keys=False))
            return 0
        _tell_of_no_effect(settings)
        return _lineage(settings) if parsed.command == "lineage" else _run(parsed.command, settings)
    except ValueError as error:
        return _fail(error, status=2)
    except (OSError, FloatingPointError) as error:
        return _fail(error, status=1)
    except BrokenExecutor:
        return _fail(_LOST_WORKER, status=1)
    except KeyboardInterrupt:  # before the work began: it reports its own
        return _interrupted()


def _tell_of_no_effect(settings: Any) -> None:
    """Of settings that the generator or the planner in use does not read: the result would pass for an experiment."""
    groups = {"planner": getattr(settings, "planner", None)}
    if model := getattr(settings, "model", None):
        groups["model.generator"] = model.generator
    for group, chosen in groups.items():
        for name, reason in chosen.without_effect().items() if chosen else ():
            logger.warning("%s.%s=%s has no effect: %s", group, name, getattr(chosen, name), reason)


def join_words(words: list[str]) -> list[str]:
    """`data inspect ...` is the command `data-inspect`; `bench suite=demonstrations ...`, `bench-demonstrations`.

    That suite is no grid of online runs, and has settings of its own.
    """
    if words[:1] == ["data"] and words[1:2] in ([], ["-h"], ["--help"]):
        return ["--help"]  # which lists them
    if words[:1] == ["data"]:
        return [f"data-{words[1]}", *words[2:]]
    if words[:1] == ["bench"] and _DEMONSTRATIONS in words:
        return ["bench-demonstrations", *(word for word in words[1:] if word != _DEMONSTRATIONS)]
    return words


def _run(command: str, settings: Any) -> int:
    """Do the work in its run folder, and print the folder last."""
    path = Path(settings.run_dir) if settings.run_dir else default_path(command, settings)
    folder = RunFolder(path)
    with folder.locked() if _is_alone_there(command) else nullcontext():
        return _run_in(folder, command, settings)


def _is_alone_there(command: str) -> bool:
    """Whether no other process has business in the folder.

    Shares of a grid meet in its folder, and lock that of each part; of torchrun's processes the first one writes.
    """
    return command != "bench" and os.environ.get("RANK", "0") == "0"


def _run_in(folder: RunFolder, command: str, settings: Any) -> int:
    path = folder.path
    is_new = folder.write_config(command, settings, may_change=MAY_GROW if command == "bench" else ())
    folder.write_environment()
    try:
        # Imported this late because it takes seconds, which help and mistakes need not wait for, and because it may
        # fail where MuJoCo's rendering is misconfigured, which is then reported as any other error.
        from drift_wm import commands

        commands.run(command, settings, folder)
    except KeyboardInterrupt:
        # Nor must a request that nothing was done for; shares of a grid may have begun in its folder meanwhile.
        forgotten = is_new and _is_alone_there(command) and folder.forget_config()
        return _interrupted(_what_is_left(command, settings, path, nothing=forgotten))
    except Exception as error:
        if is_new:
            folder.forget_config()  # a request that was refused must not stand in the way of the corrected one
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            remedy = "free some space, and repeat the command: it goes on with what is there"
            raise OSError(error.errno, f"the disk is full ({error.strerror}); {remedy}", str(path)) from error
        raise
    _write(sys.stdout, f"{path}\n")
    return 0


def _lineage(settings: Any) -> int:
    """Look at a run that is there: no folder is made, the results go into the run's own, which is printed last."""
    from drift_wm import commands  # this late for the reasons given in `_run_in`

    try:
        commands.show_lineage(settings)
    except KeyboardInterrupt:
        return _interrupted()
    _write(sys.stdout, f"{settings.run}\n")
    return 0


def _what_is_left(command: str, settings: Any, path: Path, *, nothing: bool) -> str:
    """What an interruption left in a run's folder and beside it."""
    if command == "data-convert" and Path(settings.out).exists():  # else it would have been refused
        return f"{settings.out} is whole, but what it does not hold was not told"
    if nothing:
        return _NOTHING
    if command in _WHOLE:
        return f"what is in {path} may not be whole; repeat the command with another run_dir"
    return f"what was done is saved. To go on: same settings and run_dir={path}"


def _interrupted(left: str = _NOTHING) -> int:
    _write(sys.stderr, f"\ninterrupted; {left}\n")
    return 130


def _doctor() -> int:
    findings = examine()
    Console().print(render(findings))
    return 1 if any(finding.ok is False for finding in findings) else 0


def _fail(error: Exception | str, *, status: int) -> int:
    _write(sys.stderr, f"drift-wm: {error}\n")
    return status


def _write(stream: TextIO | None, text: str) -> None:
    """Write to a standard stream, if there is one: Python has None for one that a shell closed, as `>&-` does."""
    if stream is not None:
        stream.write(text)


def _start_logging() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("drift_wm").setLevel(logging.INFO)


def _parser(*, explain: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; what only help shows takes seconds to gather, and is there for the command of `explain` alone.

    Args:
        explain: words of a command line that asks for help, or none.
    """
    parser = argparse.ArgumentParser(
        prog="drift-wm",
        description="Drift-trained one-step world models and planning for robots.",
        epilog="`drift-wm COMMAND --help` lists a command's settings with examples.",
    )
    parser.add_argument("--version", action="version", version=f"drift-wm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in SUMMARIES.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=_epilog(name, explain[1:]) if explain[:1] == [name] else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in COMMANDS:
            command.add_argument(
                "settings",
                nargs="*",
                metavar="setting=value",
                help="Hydra overrides; all settings are listed below",
            )
            command.add_argument("--show", action="store_true", help="print the resolved settings and stop")
    return parser


def _epilog(command: str, words: Sequence[str]) -> str:
    """Examples, then every setting with its value and meaning, as the words given beside `--help` choose."""
    lines = ["examples:", *(f"  {example}" for example in EXAMPLES[command])]
    if command in COMMANDS:
        overrides = [word for word in words if not word.startswith("-")]
        title = "settings, with those given here:" if overrides else "settings and defaults:"
        try:
            listed = describe_settings(command, overrides)
        except ValueError as error:
            title, listed = f"settings and defaults, as what is given is refused: {error}", describe_settings(command)
        lines += ["", title]
        for setting, meaning in listed:
            lines += [
                f"  {setting}",
                *textwrap.wrap(meaning, 96, initial_indent=" " * 6, subsequent_indent=" " * 6),
            ]
    return "\n".join(lines)
