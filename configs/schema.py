"""The door between Hydra and the package: YAML groups and overrides in, plain dataclasses out.

Nothing is imported by a name found in a configuration: a planner's class follows from which file of the
`planner` group was chosen, and that list is `planners.factory.PLANNERS`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from drift_wm.bench.settings import BenchSettings
from drift_wm.configs.quoting import is_quoted, quoted
from drift_wm.configs.recorded import planning_of_run, shape_of_parent
from drift_wm.demonstrations.settings import DemonstrationsSettings
from drift_wm.diagnosis.settings import DiagnoseSettings
from drift_wm.help import describe
from drift_wm.lineage.settings import LineageSettings
from drift_wm.planners.factory import PLANNERS
from drift_wm.recordings.settings import ConvertSettings, InspectSettings, ReplaySettings
from drift_wm.settings import CollectSettings, EvaluateSettings, OnlineSettings, TrainSettings
from drift_wm.speed.settings import SpeedSettings
from drift_wm.truth.settings import TruthSettings

COMMANDS: dict[str, type] = {
    "demo": OnlineSettings,
    "collect": CollectSettings,
    "train": TrainSettings,
    "online": OnlineSettings,
    "evaluate": EvaluateSettings,
    "bench": BenchSettings,
    "bench-demonstrations": DemonstrationsSettings,
    "lineage": LineageSettings,
    "diagnose": DiagnoseSettings,
    "truth": TruthSettings,
    "speed": SpeedSettings,
    "data-inspect": InspectSettings,
    "data-convert": ConvertSettings,
    "data-replay": ReplaySettings,
}
_REQUIRED = {
    "train": ("data=FILE",),
    "evaluate": ("checkpoint=RUN",),
    "lineage": ("run=RUN",),
    "diagnose": ("checkpoint=RUN", "data=FILE"),
    "data-inspect": ("data=FILE",),
    "data-convert": ("data=FILE", "out=NEW"),
    "data-replay": ("data=FILE",),
}
"""Settings without which a command has no settings object; `--help` shows these stand-ins where none is given."""
_GROUPS = {"model": "drifting_value", "planner": "mppi"}
"""Those of which one file is chosen, each with one of its files as an example."""
_ALIASES = {"train": {"from": "parent"}}
"""Names that Python keeps for itself, and the fields they stand for."""
_POSITIONAL = {"lineage": "run", "data-inspect": "data", "data-convert": "data", "data-replay": "data"}
"""Settings that the first word without `=`, or that is a path and no setting, stands for."""
_TEXTS = ("str", "str | None")
"""Types of fields whose value is the text that was typed, whatever Hydra would make of it."""


def read_settings(command: str, overrides: Sequence[str]) -> Any:
    """Compose `<command>.yaml` with overrides such as `planner.horizon=20`.

    `train` takes `from=` for `parent=`; `lineage` takes its run, and `data-...` their data, as a word alone. `evaluate`
    and `collect` plan as the run of their checkpoint did.

    Returns:
        An instance of the command's settings class.

    Raises:
        ValueError: an override is malformed, unknown or of the wrong type, or a value is refused.
    """
    return _compose(command, _complete(command, overrides))


def describe_settings(command: str, overrides: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Every setting of a command as (`name=value`, meaning), with the defaults of its YAML where nothing is asked.

    Groups come first: their choice brings settings of its own.

    Args:
        command: which.
        overrides: as those of `read_settings`; the command's required settings need not be among them.

    Raises:
        ValueError: as `read_settings`.
    """
    asked = [*_REQUIRED.get(command, ()), *_complete(command, overrides)]
    settings = _compose(command, asked)  # before groups, as it explains mistakes
    return [*_describe_groups(command, asked), *describe(settings)]


def _describe_groups(command: str, overrides: Sequence[str]) -> list[tuple[str, str]]:
    """`planner=` and `model=` of a command that has them, with what there is to choose from."""
    with _our_configs():
        composed = compose(command, overrides=_of_groups(overrides), return_hydra_config=True)
    chosen, folder = composed.hydra.runtime.choices, resources.files("drift_wm.configs")
    return [
        (
            f"{group}={chosen[group]}",
            f"One of {', '.join(_files_of(folder / group))}; each with settings of its own below: "
            f"`drift-wm {command} {group}={example} --help` lists those of {example}.",
        )
        for group, example in _GROUPS.items()
        if group in chosen
    ]


@contextmanager
def _our_configs() -> Iterator[None]:
    """Hydra reads this package's YAML for a while; a program around us that Hydra started has its own again after."""
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("drift_wm.configs", version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = theirs


def _of_groups(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if override.partition("=")[0] in _GROUPS]


def _files_of(group: Traversable) -> list[str]:
    return sorted(file.name.removesuffix(".yaml") for file in group.iterdir() if file.name.endswith(".yaml"))


def _complete(command: str, overrides: Sequence[str]) -> list[str]:
    """What a person types -> what Hydra reads, how the run of a checkpoint planned included.

    Raises:
        ValueError: one is no setting.
    """
    asked = _translate(command, overrides)
    complete = [*planning_of_run(command, asked), *shape_of_parent(command, asked), *asked]
    for override in complete:
        if not override[:1].isalpha() or "=" not in override:
            example = _example(command, override, asked)
            raise ValueError(f"{override!r} is not a setting: expected name=value, such as {example}; see --help")
    return complete


def _example(command: str, word: str, asked: Sequence[str]) -> str:
    """How a word may have been meant: as the first required setting, if that was not given."""
    given = {override.partition("=")[0] for override in asked if "=" in override}
    required = [name for name in (each.partition("=")[0] for each in _REQUIRED.get(command, ())) if name not in given]
    return f"{required[0]}={word}" if required and "=" not in word else "seed=3"


def _compose(command: str, overrides: Sequence[str]) -> Any:
    """The settings object of overrides as Hydra reads them; ValueErrors explain what Hydra refuses."""
    try:
        return _compose_plainly(command, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_explain(error, command, overrides)) from error


def _compose_plainly(command: str, overrides: Sequence[str]) -> Any:
    register()
    with _our_configs():
        return OmegaConf.to_object(compose(command, overrides=list(overrides)))


def _translate(command: str, overrides: Sequence[str]) -> list[str]:
    """What a person types -> what Hydra reads.

    Hydra has a grammar for values, in which a path with an umlaut or a bracket is a mistake, and 2024_01 a number.
    """
    aliases, positional = _ALIASES.get(command, {}), _POSITIONAL.get(command)
    known = {field.name: field.type in _TEXTS for field in fields(COMMANDS[command])}
    if any(override.partition("=")[0] == positional for override in overrides):
        positional = None
    translated = []
    for override in overrides:
        name, equals, value = override.partition("=")
        name = aliases.get(name, name)
        # The first such word, as `data convert FILE NEW` means FILE by it; a file's name may hold an `=`.
        if positional and (not equals or (name.partition(".")[0] not in known and Path(override).exists())):
            name, equals, value, positional = positional, "=", quoted(override), None
        elif known.get(name) and equals and value.lower() != "null" and not is_quoted(value):
            # Shells leave a ~ after = alone, unlike one at the start of a word.
            value = quoted(Path(value).expanduser() if value.startswith("~/") else value)
        translated.append(f"{name}{equals}{value}")
    return translated


@cache
def register() -> None:
    """Tell Hydra the types of settings, once: it takes as long as composing them, which grids do dozens of times."""
    store = ConfigStore.instance()
    for command, settings in COMMANDS.items():
        node = OmegaConf.structured(settings)
        if "planner" in node:
            node.planner = MISSING  # the chosen file of the group brings its own class
        store.store(name=f"{command}_schema", node=node)
    for planner, config in PLANNERS.items():
        store.store(group="planner", name=f"{planner}_schema", node=config)


def _explain(error: Exception, command: str, overrides: Sequence[str]) -> str:
    """Hydra's message with its cause; how to write what it misread, or the nearest names to one that does not exist."""
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read {error.override}: {_without_jargon(error)}. Quotes keep together what holds = or spaces, or "
            'letters beyond a to z, as in \'overrides=["round_steps=500","video=false"]\', and each [ needs its ]'
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, chosen = error.missing_cfg_file.rpartition("/")
        files = sorted(name for name in error.options or () if not name.endswith("_schema"))
        return f"{group}={chosen}: expected one of {', '.join(files)}"
    cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
    text = str(error).splitlines()[0] + cause
    for override in overrides:
        name, _, value = override.partition("=")
        if "is not a ListConfig" in text and override in text:
            return f"{override}: expected a list, such as {name}=[{value}]"
        if text.startswith("Ambiguous value") and override in text:
            return f"{override}: expected one value; a list needs brackets, {name}=[{value}]"
    known = _names(command, overrides)
    for override in overrides:
        name = override.partition("=")[0].lstrip("+~")
        near = difflib.get_close_matches(name, known, n=3)
        if name in text and name not in known and near:
            return f"{text}. Did you mean {' or '.join(near)}?"
    return f"{text}. See --help for all settings"


def _without_jargon(error: Exception) -> str:
    """The first line of what the parser says; where it cannot tell words apart, it says no more than its own name."""
    text = str(error).splitlines()[0]
    return "it holds a character that has no meaning there" if text.startswith("LexerNoViable") else text


def _names(command: str, overrides: Sequence[str]) -> list[str]:
    """Of all settings that there are under the chosen groups, or, where these cannot be chosen, under the default."""
    required, groups = _REQUIRED.get(command, ()), _of_groups(overrides)
    try:
        settings = _compose_plainly(command, [*required, *groups])
    except (HydraException, OmegaConfBaseException):
        settings = _compose_plainly(command, required)
    listed = [setting.partition("=")[0] for setting, _ in describe(settings)]
    return [*(group for group in _GROUPS if hasattr(settings, group)), *listed]
