"""A machine without shared memory for semaphores, as some containers and jails are: a training works all the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

CODE = """
import sys
from pathlib import Path
import numpy as np
from ffnet_search.config.schema import TrainSection
from ffnet_search.data.decoder import Decoder, OnDisk
from ffnet_search.training.loggers import make_loggers

files = tuple(map(str, sorted(Path(sys.argv[1]).glob("*.png"))))
images = OnDisk(Decoder(files, (8, 8), "L", workers=2), np.arange(4), np.zeros(4))
print([batch.shape for batch in images.stream([np.arange(2), np.arange(2, 4)])])
for logger in make_loggers(TrainSection(), Path(sys.argv[1])):
    print(type(logger).__name__, logger.experiment is not None)
"""


def test_without_semaphores_images_are_decoded_and_a_training_is_logged(tmp_path: Path) -> None:
    """TensorBoard's queue and the workers of a DataLoader ended the training: `a file: No such file or directory`."""
    hidden = ["unshare", "-m", "sh", "-c", 'mount --bind /proc/sys/kernel /dev/shm && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*hidden, "true"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    for number in range(4):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    done = subprocess.run([*hidden, sys.executable, "-c", CODE, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[(2, 8, 8, 1), (2, 8, 8, 1)]", "CSVLogger True"]
    assert done.stderr.count("no lock can be shared by processes") == 1
    assert "mount a tmpfs at /dev/shm" in done.stderr
