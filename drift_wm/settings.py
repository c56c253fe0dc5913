"""What each command can be asked: plain dataclasses, filled by the command line or by hand.

They are not frozen, because OmegaConf makes the nodes of frozen classes read-only and refuses overrides;
nothing changes them after construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from drift_wm.learning.optimisation import TrainingConfig
from drift_wm.models.behaviour import PolicySettings
from drift_wm.models.config import WorldModelConfig
from drift_wm.models.learned import WORLD_MODEL, shape_of_kind
from drift_wm.objective_settings import ObjectiveSettings, RiskSettings
from drift_wm.planners.icem import ICEMConfig
from drift_wm.planners.loop import EXECUTE, PlannerConfig
from drift_wm.requirements import require, require_at_least, require_one_of
from drift_wm.run_settings import RunSettings, TaskSettings, require_seed

EVALUATION_SEED = 4_000_000_000
"""First reset seed of evaluations; those of training, 1,000 times a run's seed and more, lie below it."""
RESET_SEEDS = 2**32
"""How many reset seeds dm_control knows, from 0 on."""
SCRIPTED_NOISE = 0.1  # standard deviation on the scripted demonstrator's actions, unless another is asked for
ACTORS = ("model", "policy", "simulator", "random", "noise", "scripted")


@dataclass
class PlanningSettings(RunSettings, TaskSettings):
    """Commands that plan."""

    planner: PlannerConfig = field(default_factory=ICEMConfig)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    risk: RiskSettings = field(default_factory=RiskSettings)
    particles: int = 0
    """P, sampled futures per candidate, split among ensemble members. 0: one noise-free future of the first member
    (disturbed at random in the simulator); `risk` then has no effect."""
    proposals: int = 16
    """M, candidates of each decision that the model's actor suggests, where it has one (`model=drifting_value`); with
    `foresight`, chunks that the policy suggests."""
    compile: bool = True
    """Plan by machine code compiled for this processor, in a third to two thirds of the time: all that search, and all
    generators but `consistency`; on a CPU, in float32. Takes a second once, and a C++ compiler, without which planning
    is slower (`drift-wm doctor` looks for one)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, self, "particles", "proposals")


@dataclass
class CollectSettings(PlanningSettings):
    """`drift-wm collect`: record episodes to an HDF5 file."""

    task: str = ""
    """A `domain-task` of the dm_control suite, or a name of gymnasium; empty: the checkpoint's own, else
    cartpole-swingup."""
    actor: str = "noise"
    """`noise` (pink, explores), `random` (uniform), `simulator` or `model` (plan in the simulator or `checkpoint`),
    `policy` (acts by `checkpoint`), or `scripted` (a controller by hand, for robosuite:Lift)."""
    checkpoint: str | None = None
    """For actors `model` and `policy`: a checkpoint, or the run folder that holds it. Other actors take only the task
    and its world from it."""
    episodes: int = 10
    """Episodes to record, those already in the file included."""
    seed: int = 1
    """Seed of resets and of all randomness while acting."""
    exploration_std: float | None = None
    """Standard deviation of Gaussian noise on the actions, for `simulator`, `model` and `scripted`; default: 0.1 for
    `scripted`, else 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.seed)
        _require_actor(self.actor, self.checkpoint)
        require_at_least(1, self, "episodes")
        if self.exploration_std is None:
            self.exploration_std = SCRIPTED_NOISE if self.actor == "scripted" else 0.0
        _require_std(self.exploration_std)
        fits = self.exploration_std == 0 or self.actor in ("simulator", "model", "scripted")
        expected = f"0 with actor={self.actor}, to whose actions no noise is added"
        require(fits, "exploration_std", self.exploration_std, expected)


@dataclass
class TrainSettings(RunSettings):
    """`drift-wm train`: a world model or a policy from a file of episodes."""

    data: str = ""
    """A robomimic or Minari HDF5 file, or the folder of a Minari or LeRobot dataset."""
    obs_keys: list[str] | None = None
    """Observation keys, concatenated, or patterns such as robot0_*; default: all that are low-dimensional."""
    mask: str | None = None
    """Name of a subset in the file's `mask/` group."""
    allow_missing_rewards: bool = False
    """Train a world model on zeros where the data have no rewards; policies never need any."""
    skip_missing: bool = False
    """Leave out episodes that a LeRobot dataset lists but does not contain."""
    memory_gb: float = 4.0
    """Gigabytes of episodes that may be kept in memory (windows take as much again). Larger data go to a temporary file
    in the run folder; what is learned is the same."""
    decision_seconds: float = 0.0
    """Seconds between two rows of the file; only recorded. 0: as the data tell."""
    parent: str | None = None
    """`from=` on the command line: a checkpoint, or the run folder that holds it, from which training continues."""
    steps: int = 5000
    """Training steps of this run, on top of those of `from`."""
    seed: int = 1
    """Seed of the first weights, of batches and noise, and of which episodes are held out."""
    held_out_fraction: float = 0.1
    """Share of the episodes kept for measuring."""
    kind: str = WORLD_MODEL
    """`world_model` (shaped by `model`), or `policy`: `policy` and `model.generator` shape it."""
    model: WorldModelConfig = field(default_factory=WorldModelConfig)
    policy: PolicySettings = field(default_factory=PolicySettings)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.seed)
        require(bool(self.data), "data", self.data, "an HDF5 file, for example data=demos.hdf5")
        require_at_least(1, self, "steps")
        require(self.memory_gb >= 0, "memory_gb", self.memory_gb, "a number of at least 0")
        pace = self.decision_seconds
        require(
            0 <= pace < math.inf, "decision_seconds", pace, "the seconds between two rows, or 0 for those of the data"
        )
        require(0 <= self.held_out_fraction < 1, "held_out_fraction", self.held_out_fraction, "a number in [0, 1)")
        shape_of_kind(self.kind, self.model, self.policy)


@dataclass
class OnlineSettings(PlanningSettings):
    """`drift-wm online` and `demo`: collect, train on, plan, repeat; then evaluate."""

    seed: int = 1
    """Seed of everything random in the run."""
    episodes: int = 20
    """Episodes collected in all."""
    random_episodes: int = 6
    """Collected episodes that act by pink noise, before there is a model."""
    episode_decisions: int = 250
    """Decisions after which a collected episode is cut off; 0 leaves it to the task. Short ones close the loop
    between acting and learning more often. Evaluation episodes are never cut."""
    exploration_execute: str = "best"
    """What is executed while collecting: the `best` sequence, which leads to where the model is wrong, or the `mean`.
    Evaluations use planner.execute."""
    exploration_std: float = 0.0
    """Standard deviation of Gaussian noise on the actions that collected episodes execute once they are planned."""
    seek_novelty: bool = True
    """While all rewards so far are equal, plan for states unlike those seen, instead of for the return, when
    collecting. Has no effect with a goal."""
    round_episodes: int = 1
    """Episodes collected between two rounds of training."""
    round_steps: int = 1000
    """Training steps of each round."""
    final_round_steps: int = 4000
    """Training steps of the last round: the model that is evaluated and kept."""
    progress_every: int = 0
    """Training rounds between two evaluations on the way, for learning curves; 0: none."""
    progress_episodes: int = 3
    """Episodes of each evaluation between training rounds, on the first evaluation seeds."""
    evaluation_episodes: int = 5
    """Evaluation episodes of the final model, by default on reset seeds that training never uses."""
    evaluation_seed: int = EVALUATION_SEED
    """Reset seed of the first evaluation episode."""
    reference_random_episodes: int = 0
    """Evaluation episodes of the random policy, as a reference row."""
    reference_simulator_episodes: int = 0
    """Evaluation episodes of the same planner in the true simulator, as the ceiling row."""
    video: bool = True
    """Film the best evaluation episode."""
    model: WorldModelConfig = field(default_factory=WorldModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, self, "random_episodes", "round_episodes", "round_steps", "final_round_steps")
        require_at_least(1, self, "progress_episodes", "evaluation_episodes")
        require_at_least(0, self, "episode_decisions", "progress_every")
        require_at_least(0, self, "reference_random_episodes", "reference_simulator_episodes")
        require_seed(self.seed)
        require_one_of(EXECUTE, "exploration_execute", self.exploration_execute)
        _require_std(self.exploration_std)
        most = max(self.evaluation_episodes, self.progress_episodes, self.reference_random_episodes)
        _require_reset_seeds(self.evaluation_seed, max(most, self.reference_simulator_episodes))
        expected = f"an integer of at least random_episodes={self.random_episodes}"
        require(self.episodes >= self.random_episodes, "episodes", self.episodes, expected)


@dataclass
class EvaluateSettings(PlanningSettings):
    """`drift-wm evaluate`: roll a policy out; the task and its settings come from the checkpoint."""

    task: str = ""
    """A `domain-task` of the dm_control suite, or a name of gymnasium, such as Hopper-v5 or, with gymnasium-robotics,
    gymnasium_robotics:AdroitHandDoor-v1; empty: the checkpoint's own, else cartpole-swingup."""
    actor: str = "model"
    """`model` (plans in `checkpoint`), `policy` (acts by it), `simulator` (plans in the true simulator), `random`
    (uniform), `noise` (pink) or `scripted` (a controller by hand, for robosuite:Lift)."""
    checkpoint: str | None = None
    """For actors `model` and `policy`: a checkpoint, or the run folder that holds it. Other actors take only the task
    and its world from it."""
    episodes: int = 5
    """Episodes to evaluate."""
    evaluation_seed: int = EVALUATION_SEED
    """Reset seed of the first episode; each further episode has the next."""
    batch: int = 8
    """Environments acted in at once."""
    workers: int = 1
    """Processes that the environments step in: 1 is this process, 0 one for each core. More pay where a step takes a
    millisecond or longer, and change no result."""
    execute: int | None = None
    """For `policy`: actions of each chunk that are executed before the next is sampled; default: as trained."""
    noise: float | None = None
    """`policy` only: sampling noise, 0 (the centre of what the demonstrators did) to 1 (their full variation). Default:
    as trained; 1 with `foresight`, whose proposals must differ."""
    foresight: str | None = None
    """For `policy`: checkpoint of a world model that chooses among `proposals` chunks of the policy, by `objective`,
    `particles` and `risk`; none: the first chunk that is sampled is executed."""
    video: bool = True
    """Film the best episode, and the first few side by side."""
    video_grid: int = 4
    """Episodes in the side-by-side film; 0: no such film."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_actor(self.actor, self.checkpoint)
        for_policy = self.execute is None or self.actor == "policy"
        require(for_policy, "execute", self.execute, "none, as only actor=policy executes chunks")
        for_policy = self.noise is None or self.actor == "policy"
        require(for_policy, "noise", self.noise, "none, as only actor=policy samples chunks")
        apart = self.foresight is None or self.noise is None or self.noise > 0
        require(apart, "noise", self.noise, "above 0 with foresight: at 0 the proposed chunks hardly differ")
        for_policy = self.foresight is None or self.actor == "policy"
        require(for_policy, "foresight", self.foresight, "none, as only actor=policy is advised by a world model")
        several = self.foresight is None or self.proposals >= 2
        require(several, "proposals", self.proposals, "at least 2 chunks to choose among")
        require_at_least(1, self, "episodes", "batch")
        require_at_least(0, self, "workers", "video_grid")
        _require_reset_seeds(self.evaluation_seed, self.episodes)


def _require_std(std: float) -> None:
    require(0 <= std < math.inf, "exploration_std", std, "a finite number of at least 0")


def _require_reset_seeds(first: int, count: int) -> None:
    last = RESET_SEEDS - count
    require(0 <= first <= last, "evaluation_seed", first, f"an integer from 0 to {last}, the first of {count}")


def _require_actor(actor: str, checkpoint: str | None) -> None:
    require_one_of(ACTORS, "actor", actor)
    require(
        actor not in ("model", "policy") or checkpoint is not None,
        "checkpoint",
        checkpoint,
        "a checkpoint or run folder to plan in or act by; or set actor=simulator or actor=random",
    )
