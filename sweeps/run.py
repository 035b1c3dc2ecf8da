"""What `ray submit sweeps/cifar.yaml sweeps/run.py` runs on the head: the sweep in the head's own copy of that file.

`ray submit` does not renew that copy: after an edit, `ray up -y --no-restart sweeps/cifar.yaml` does.
"""

from pathlib import Path

from ffnet_search.cli.app import on_head

if __name__ == "__main__":
    on_head(Path("~/ray_bootstrap_config.yaml").expanduser())
