"""The benchmark's grid on a cluster: Hydra's multirun over the shares of `drift-wm bench`.

    python -m drift_wm.configs.multirun --multirun hydra/launcher=submitit_slurm \
        suite=dmc models=[drifting] run_dir=/shared/dmc shards=30 'shard=range(30)'

Each job runs its share of the cells into the shared folder. `drift-wm bench` with the same settings, without shards,
then makes the table and the page of all, and runs what a lost job left. Launchers are plugins of Hydra: the extra
`sweeps` brings submitit's and joblib's. `hydra/launcher=submitit_local` tries the same on one machine.
"""

from __future__ import annotations

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from drift_wm.configs.schema import register


@hydra.main(config_path="pkg://drift_wm.configs", config_name="bench", version_base="1.3")
def run_share(config: DictConfig) -> None:
    """One job: `drift-wm bench` with the overrides that Hydra dealt to it."""
    from drift_wm.cli import main

    overrides = HydraConfig.get().overrides.task
    if main(["bench", *overrides]):
        raise RuntimeError(f"this share of the grid failed; its message is above. It was asked for {config}")


if __name__ == "__main__":
    register()
    run_share()
