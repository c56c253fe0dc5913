"""Suites of tasks, with the frames that a run may spend on each and what others reach."""

from __future__ import annotations

from dataclasses import dataclass

from drift_wm.settings import OnlineSettings


@dataclass(frozen=True, slots=True)
class SuiteTask:
    """A task, its budget, and published returns."""

    name: str
    frames: int
    """Environment frames, action repeat included, that a run may collect."""
    overrides: tuple[str, ...]
    """What a run is asked for besides, of every model alike."""
    simulator_horizon: int
    """How many decisions ahead the planner looks in the true simulator, which has no critics to judge where it ends."""
    published: tuple[float, ...]
    """Mean returns, in the order of `PUBLISHED`."""
    episode_decisions: int = OnlineSettings.episode_decisions
    """After which a collected episode is cut off."""


PUBLISHED = ("TD-MPC2, 100k frames", "TD-MPC2, 500k", "DreamerV3, 100k", "DreamerV3, 500k", "SAC, 100k", "SAC, 500k")
"""State observations, action repeat 2, means over 3 seeds of 10 evaluation episodes: the result files of
github.com/nicklashansen/tdmpc2 (results/{tdmpc2,dreamerv3,sac}, the last two run by its authors)."""
ANCHOR = PUBLISHED[0]
"""What returns of a suite are divided by."""


def _ahead(decisions: int) -> tuple[str, ...]:
    """Overrides for a task that must be solved within one plan, of so many decisions.

    A swing-up takes cartpole 1.3 seconds, a pendulum two.
    """
    return (f"planner.horizon={decisions}", "model.chunk=5")


_ARM = (*_ahead(20), "model.angles=[0,1]")
"""Of an arm whose observation holds the angles of its joints as they are."""
_CONTACTS = (
    "planner.horizon=3",
    "model.chunk=1",
    "model.value_imagined=1",
    "proposals=64",
    "planner.initial_std=0.3",
    "round_steps=500",
    "training.weight_decay=0.1",
)
"""Of tasks that contacts decide: what a single step leads to is learned best, and critics judge where three lead. The
model is held back from learning its few first episodes by heart."""
_UPRIGHT_STARTS = ("random_episodes=30", "round_episodes=5")
"""Of a task that pays nothing once the robot has fallen: short episodes meet what pays more often, at their start."""

SUITES: dict[str, tuple[SuiteTask, ...]] = {
    "dmc": (
        SuiteTask("cartpole-swingup", 10_000, _ahead(65), 65, (839.4, 876.1, 676.7, 788.8, 835.0, 834.6)),
        SuiteTask("cartpole-balance", 10_000, _ahead(50), 50, (997.8, 993.9, 912.6, 955.2, 998.7, 984.1)),
        SuiteTask("pendulum-swingup", 20_000, _ahead(50), 50, (724.0, 841.7, 699.3, 739.9, 96.0, 408.4)),
        SuiteTask("reacher-easy", 30_000, _ARM, 20, (936.9, 919.4, 872.1, 940.1, 540.4, 918.3)),
        SuiteTask("ball_in_cup-catch", 30_000, _ahead(20), 20, (981.2, 984.7, 870.5, 957.5, 958.1, 977.7)),
        SuiteTask("finger-spin", 30_000, _CONTACTS, 20, (947.5, 984.6, 328.3, 751.5, 762.4, 872.8)),
        SuiteTask("cheetah-run", 30_000, _CONTACTS, 20, (519.1, 757.6, 335.7, 493.8, 310.1, 594.5)),
        SuiteTask("walker-stand", 30_000, _CONTACTS, 20, (981.2, 957.2, 884.6, 864.3, 341.4, 939.4)),
        SuiteTask("walker-walk", 50_000, _CONTACTS, 20, (961.9, 978.7, 630.1, 878.4, 708.2, 952.9)),
        SuiteTask(
            "hopper-stand",
            50_000,
            (*_CONTACTS, *_UPRIGHT_STARTS),
            20,
            (28.2, 936.5, 150.3, 607.3, 1.9, 0.8),
            episode_decisions=50,
        ),
    ),
}

_RIVALS: dict[str, tuple[str, ...]] = {
    "gaussian": ("particles=5",),  # one future of each member, as PETS samples trajectories (Chua et al. 2018, TS-inf)
    "diffusion": ("model.generator.steps=5",),
}


def suite_model(name: str) -> tuple[str, ...]:
    """What a suite asks of a model besides what it asks of all: to plan as its method is meant to."""
    return _RIVALS.get(name, ())


def suite_task(suite: str, name: str) -> SuiteTask | None:
    """A task of a suite; None outside one."""
    return next((task for task in SUITES.get(suite, ()) if task.name == name), None)
