"""What each command of the command line does, in a line, and examples of it."""

from __future__ import annotations

SUMMARIES = {
    "demo": "Learn cartpole-swingup from nothing, beside a random policy and the simulator; in 5 to 10 minutes.",
    "collect": "Record episodes to an HDF5 file in the robomimic schema.",
    "train": "Train a world model or a policy on a file of episodes.",
    "online": "Learn a task: collect, train further, plan with the model, repeat; then evaluate and report.",
    "evaluate": "Roll out a trained model's planner, a trained policy, the simulator's planner or a random policy.",
    "lineage": "How far predictions moved from each checkpoint of a run to the next, on the same data.",
    "diagnose": "How well a world model predicts: its errors, distributions, values and plans against the real ones.",
    "truth": "Compare all generators with known distributions and the simulator, in about an hour: docs/truth.",
    "speed": "Time a decision with each kind of model here, and compare with the machine's limit; 3 minutes.",
    "bench": "A grid of online runs on all cores: tasks x models x planners x seeds. Finished cells are skipped.",
    "bench-demonstrations": "Compare generators on demonstrations: policies that act, world models of a robot, times.",
    "data-inspect": "What is in a file of demonstrations, and what is missing; also `drift-wm data inspect`.",
    "data-convert": "Any readable dataset as a robomimic HDF5 file; also `drift-wm data convert`.",
    "data-replay": "Act recorded actions again: do they lead to the recorded states? Also `drift-wm data replay`.",
    "doctor": "Say what this machine has, what is missing, and how to get it.",
}
EXAMPLES = {
    "demo": ("drift-wm demo", "drift-wm demo seed=2 run_dir=runs/my-demo"),
    "collect": (
        "drift-wm collect task=walker-walk episodes=20",
        "drift-wm collect task=robosuite:Lift actor=scripted episodes=20",
        "drift-wm collect task=cartpole-swingup actor=simulator planner=mppi planner.horizon=40 episodes=5",
    ),
    "train": (
        "drift-wm train data=demos.hdf5 steps=20000",
        "drift-wm train data=demos.hdf5 obs_keys=[robot0_eef_pos,object] mask=train model.chunk=8 model.history=2",
        "drift-wm train data=more.hdf5 from=runs/train/first steps=2000",
        "drift-wm train data=demos.hdf5 kind=policy policy.history=2 policy.chunk=8   # imitates instead of predicting",
        "torchrun --nproc-per-node 2 -m drift_wm train data=demos.hdf5 run_dir=runs/two   # two processes together",
    ),
    "online": (
        "drift-wm online task=cheetah-run planner.horizon=20 episodes=30",
        "drift-wm online task=cartpole-swingup planner=cem model=regression seed=1",
        "drift-wm online task=reacher-easy run_dir=runs/mine   # the same again after a stop: goes on where it was",
    ),
    "evaluate": (
        "drift-wm evaluate checkpoint=runs/mine episodes=10",
        "drift-wm evaluate actor=simulator task=cheetah-run planner.horizon=20 episodes=2",
        "drift-wm evaluate actor=policy checkpoint=runs/imitator task=cartpole-swingup",
        "drift-wm evaluate actor=policy checkpoint=runs/door task=gymnasium_robotics:AdroitHandDoor-v1 episodes=50",
    ),
    "lineage": (
        "drift-wm lineage runs/mine",
        "drift-wm lineage runs/mine probe=runs/mine/evaluation.hdf5 horizon=50",
    ),
    "diagnose": (
        "drift-wm diagnose checkpoint=runs/mine data=runs/data/episodes.hdf5",
        "drift-wm diagnose checkpoint=runs/train/first data=demos.hdf5 mask=valid particles=128",
    ),
    "truth": (
        "drift-wm truth run_dir=runs/truth   # the same again after a stop: goes on where it was",
        "drift-wm truth parts=[laws,cost] rivals=[drifting,diffusion] run_dir=runs/laws",
        "drift-wm truth parts=[stochastic] rivals=[drifting,regression] seeds=[1] steps=2000   # a quick look",
    ),
    "speed": (
        "drift-wm speed run_dir=runs/speed",
        "drift-wm speed parts=[decisions] budgets=[cheetah-run:512x20x6] repeats=15",
        "drift-wm speed parts=[suite] threads=1",
        "drift-wm speed against=docs/speed/ratios.json",
    ),
    "bench": (
        "drift-wm bench suite=dmc models=[drifting] run_dir=runs/dmc   # the same again after a stop: goes on",
        "drift-wm bench tasks=[cartpole-swingup,reacher-easy] models=[drifting,regression] seeds=[1,2,3,4,5]",
        """drift-wm bench 'overrides=["episodes=20","planner.horizon=20"]'""",
    ),
    "bench-demonstrations": (
        "drift-wm bench suite=demonstrations door=door.hdf5 robot=lerobot_folder run_dir=runs/demonstrations",
        "drift-wm bench suite=demonstrations parts=[policies] door=door.hdf5 policies=[drifting,diffusion] seeds=[1]",
        "drift-wm bench suite=demonstrations parts=[robot] robot=lerobot_folder",
        "drift-wm bench suite=demonstrations parts=[latency]",
    ),
    "data-inspect": (
        "drift-wm data inspect demos.hdf5",
        "drift-wm data inspect lerobot_folder obs_keys=[observation.state]",
    ),
    "data-convert": ("drift-wm data convert lerobot_folder out=demos.hdf5 skip_missing=true",),
    "data-replay": (
        "drift-wm data replay runs/data/episodes.hdf5",
        "drift-wm data replay runs/mine/replay.hdf5 demos=3 tolerance=1e-3",
    ),
    "doctor": ("drift-wm doctor",),
}
