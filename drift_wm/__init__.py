"""Drift-trained one-step world models and planning for robots.

For programs, `drift_wm.api` in short: `drift_wm.load_agent("runs/mine").act(obs)`. The package's own words live in
`drift_wm.interfaces`; `drift_wm.cli` is the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drift_wm.api import Agent, load_agent, load_model, make_env, plan_in

__version__ = "0.1.0"
__all__ = ["Agent", "load_agent", "load_model", "make_env", "plan_in"]


def __getattr__(name: str) -> object:
    """Torch and the simulators are imported when something is used, so that `drift-wm --help` need not wait."""
    if name in __all__:
        return getattr(import_module("drift_wm.api"), name)
    raise AttributeError(f"module 'drift_wm' has no attribute {name!r}")


def __dir__() -> list[str]:
    """With the names that are imported late, which notebooks complete."""
    return sorted({*globals(), *__all__})
