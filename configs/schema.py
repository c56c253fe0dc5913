"""The door between Hydra and the package: YAML groups and overrides in, plain dataclasses out.

Nothing is imported by a name found in a configuration: a planner's class follows from which file of the
`planner` group was chosen, and that list is below.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from drift_wm.help import describe
from drift_wm.planners.cem import CEMConfig
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.mppi import MPPIConfig
from drift_wm.planners.predictive_sampling import PredictiveSamplingConfig
from drift_wm.planners.random_shooting import RandomShootingConfig
from drift_wm.settings import BenchSettings, CollectSettings, EvaluateSettings, OnlineSettings, TrainSettings

COMMANDS: dict[str, type] = {
    "demo": OnlineSettings,
    "collect": CollectSettings,
    "train": TrainSettings,
    "online": OnlineSettings,
    "evaluate": EvaluateSettings,
    "bench": BenchSettings,
}
PLANNERS: dict[str, type] = {
    "cem": CEMConfig,
    "icem": ICEMConfig,
    "mppi": MPPIConfig,
    "random_shooting": RandomShootingConfig,
    "predictive_sampling": PredictiveSamplingConfig,
}
_REQUIRED = {"train": ("data=FILE",), "evaluate": ("checkpoint=RUN",)}
"""Settings without which a command has no settings object; `--help` shows these stand-ins."""


def read_settings(command: str, overrides: Sequence[str]) -> Any:
    """Compose `<command>.yaml` with overrides such as `planner.horizon=20`.

    Returns:
        An instance of the command's settings class.

    Raises:
        ValueError: an override is malformed, unknown or of the wrong type, or a value is refused.
    """
    for override in overrides:
        if not override[:1].isalpha() or "=" not in override:
            raise ValueError(f"{override!r} is not a setting: expected name=value, such as seed=3; see --help")
    _register()
    try:
        with initialize_config_module("drift_wm.configs", version_base="1.3"):
            return OmegaConf.to_object(compose(command, overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_explain(error, command, overrides)) from error


def describe_settings(command: str) -> list[tuple[str, str]]:
    """Every setting of a command as (`name=default`, meaning); the defaults are those of its YAML."""
    return describe(read_settings(command, _REQUIRED.get(command, ())))


def _register() -> None:
    """Tell Hydra the types; storing them again changes nothing."""
    store = ConfigStore.instance()
    for command, settings in COMMANDS.items():
        node = OmegaConf.structured(settings)
        if "planner" in node:
            node.planner = MISSING  # the chosen file of the group brings its own class
        store.store(name=f"{command}_schema", node=node)
    for planner, config in PLANNERS.items():
        store.store(group="planner", name=f"{planner}_schema", node=config)


def _explain(error: Exception, command: str, overrides: Sequence[str]) -> str:
    """Hydra's message with its cause, and the nearest names to one that does not exist."""
    cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
    text = str(error).splitlines()[0] + cause
    known = [setting.partition("=")[0] for setting, _ in describe_settings(command)]
    for override in overrides:
        name = override.partition("=")[0].lstrip("+~")
        near = difflib.get_close_matches(name, known, n=3)
        if name in text and name not in known and near:
            return f"{text}. Did you mean {' or '.join(near)}?"
    return f"{text}. See --help for all settings"
