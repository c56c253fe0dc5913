"""The grid through Hydra's multirun: as on a cluster, on this machine."""

import json
import subprocess
import sys

QUICK = (
    "episodes=2",
    "random_episodes=1",
    "episode_decisions=20",
    "round_steps=5",
    "final_round_steps=5",
    "evaluation_episodes=1",
    "planner.candidates=32",
    "planner.iterations=1",
    "planner.horizon=5",
    "video=false",
)


def multirun(folder, *overrides):
    """Run the shares of a small grid in jobs of submitit's local launcher."""
    quick = ",".join(f'"{each}"' for each in QUICK)
    asked = ["tasks=[Reacher-v5]", "models=[drifting,regression]", "seeds=[1]", f"overrides=[{quick}]"]
    asked += ["reference_random_episodes=2", f"run_dir={folder / 'grid'}", "hydra/launcher=submitit_local"]
    command = [sys.executable, "-m", "drift_wm.configs.multirun", "--multirun", *asked, *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_jobs_of_a_launcher_share_the_grid(tmp_path):
    done = multirun(tmp_path, "shards=2", "shard=range(2)")
    assert done.returncode == 0, done.stderr
    found = [json.loads(file.read_text()) for file in (tmp_path / "grid").glob("*/*/seed1/results.json")]
    assert sorted(each["evaluations"][0]["name"] for each in found) == [
        "drifting world model",
        "regression world model",
    ]
    by_chance = json.loads((tmp_path / "grid" / "Reacher-v5" / "random" / "results.json").read_text())
    assert len(by_chance["evaluations"][0]["returns"]) == 2
    assert (tmp_path / "grid" / "report.html").exists()


def test_a_share_that_fails_fails_the_sweep(tmp_path):
    done = multirun(tmp_path, "shards=2", "shard=5")
    assert done.returncode != 0
    assert "this share of the grid failed" in done.stderr
