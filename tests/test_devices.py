"""Whether the work can be done on a device that is not the CPU; see `other_device.py`."""

import subprocess
import sys
from pathlib import Path

OTHER_DEVICE = Path(__file__).with_name("other_device.py")
TASK = "task=cartpole-swingup env.action_repeat=50"
TINY = "model.generator.width=16 training.batch_size=8"
PLAN = "planner.candidates=24 planner.iterations=2"


def on_other_device(*commands):
    return subprocess.run(
        [sys.executable, OTHER_DEVICE], input="\n".join(commands), capture_output=True, text=True, timeout=600
    )


def test_all_work_can_be_done_on_another_device(tmp_path):
    value = "model=drifting_value model.chunk=1 model.value_imagined=1 proposals=4 planner.horizon=2"
    rounds = "episodes=3 random_episodes=2 round_steps=3 final_round_steps=3 video=false"
    data = f"data={tmp_path}/run/replay.hdf5"
    train = f"train {data} {TINY} steps=4 training.checkpoint_every=2"
    done = on_other_device(
        f"online {TASK} {rounds} {value} {TINY} {PLAN} evaluation_episodes=1 reference_simulator_episodes=1 "
        f"run_dir={tmp_path}/run",
        f"{train} model=gaussian model.history=2 run_dir={tmp_path}/gaussian",
        f"{train} kind=policy policy.chunk=4 run_dir={tmp_path}/policy",
        f"evaluate checkpoint={tmp_path}/gaussian {PLAN} planner.horizon=5 particles=5 risk.name=cvar episodes=1 "
        f"video=false run_dir={tmp_path}/evaluated",
        f"evaluate actor=policy checkpoint={tmp_path}/policy noise=0 episodes=1 video=false run_dir={tmp_path}/acted",
        f"lineage {tmp_path}/run",
        f"diagnose checkpoint={tmp_path}/gaussian {data} windows=8 run_dir={tmp_path}/diagnosed",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (tmp_path / "gaussian" / "results.json").unlink()
    *_, last = sorted((tmp_path / "gaussian" / "checkpoints").iterdir())
    last.unlink()
    resumed = on_other_device(f"{train} model=gaussian model.history=2 run_dir={tmp_path}/gaussian")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert last.exists()


REFUSED = {
    "there + torch.ones(2)": "tensors on the device and on the CPU",
    "torch.rand(2, generator=torch.Generator(), device=there.device)": "a generator of cpu",
    "there.numpy()": "not supported",
    "torch.ones(2)[there > 0]": "tensors on the device and on the CPU",
    "torch.Generator(there.device).set_state(there)": "must be a tensor of the CPU",
}


def test_the_other_device_refuses_what_a_gpu_refuses():
    code = f"""
import other_device, torch
other_device.install()
there = torch.ones(2, device=other_device.NAME + ":0")
for mistake in {list(REFUSED)}:
    try:
        eval(mistake)
    except (RuntimeError, TypeError) as error:
        print(str(error).splitlines()[0])
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=OTHER_DEVICE.parent, capture_output=True, text=True)
    for told, refusal in zip(run.stdout.splitlines(), REFUSED.values(), strict=True):
        assert refusal in told
