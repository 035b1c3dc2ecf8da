"""Run the sweep in the head's copy of the cluster file: `ray submit sweeps/cifar.yaml sweeps/run.py`.

`ray submit` does not update that copy: after an edit, run `ray up -y --no-restart sweeps/cifar.yaml`.
"""

from pathlib import Path

from ffnet_search.cli.app import on_head

if __name__ == "__main__":
    on_head(Path("~/ray_bootstrap_config.yaml").expanduser())
