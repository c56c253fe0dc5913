"""What may have been meant by words of a command line that mean nothing here."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

_ELSEWHERE = {
    **dict.fromkeys(("rollout", "eval", "test", "play"), ("evaluate", "rolls a policy out")),
    **dict.fromkeys(("learn", "run"), ("online", "learns a task by acting in it")),
    **dict.fromkeys(("fit", "pretrain"), ("train", "learns from a file of episodes")),
    **dict.fromkeys(("record", "generate"), ("collect", "records episodes")),
    **dict.fromkeys(("sweep", "grid"), ("bench", "runs a grid of tasks, models, planners and seeds")),
}
"""Names that other programs have for what is done here: the command that does it, and what that is."""


def command_hint(words: Sequence[str], commands: Collection[str]) -> str | None:
    """What to say of a first word that is no command; None where it is one, or where nothing is near.

    Args:
        words: of the command line, `data inspect` being the one word `data-inspect`.
        commands: the names that there are.
    """
    if not words or words[0] in commands:
        return None
    if words[0] in _ELSEWHERE:
        command, does = _ELSEWHERE[words[0]]
        meant = f"`drift-wm {command}` {does}."
    elif near := _nearest(words[0], commands):
        meant = f"Did you mean {' or '.join(map(_typed, near))}?"
    else:
        return None
    return f"{_typed(words[0])!r} is no command. {meant} --help lists all of them"


def _nearest(word: str, commands: Collection[str]) -> list[str]:
    """Commands that a word may stand for; of those of `data`, all where none is near."""
    if word.startswith("data-"):
        several = [name for name in commands if name.startswith("data-")]
        return difflib.get_close_matches(word, several, cutoff=0.8) or several
    return difflib.get_close_matches(word, [*commands, "data"], n=3)


def flag_hint(words: Sequence[str], flags: Collection[str]) -> str | None:
    """What to say of `--seed=3` or `--seed 3`, which is `seed=3` here; None without such a word.

    Args:
        words: of the command line.
        flags: those that there are; their beginnings stand for them.
    """
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not name.startswith("--") or any(flag.startswith(name) for flag in flags):
            continue
        after = "".join(words[place + 1 : place + 2])
        if not equals and not after.startswith("--") and "=" not in after:
            value = after
        setting = f"{name.lstrip('-').replace('-', '_')}={value}"
        rule = f": {setting}" if value else ", as name=value, such as seed=3; see --help"
        return f"{word}: settings are written without dashes{rule}"
    return None


def _typed(command: str) -> str:
    """As people type it: `data-inspect` is `data inspect`."""
    return command.replace("data-", "data ", 1) if command.startswith("data-") else command
