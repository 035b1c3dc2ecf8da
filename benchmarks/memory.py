"""How `peak_memory_mb`, a formula over the parts of a network, compares with what runtimes allocate.

    python benchmarks/memory.py --networks 30

ONNX Runtime: the growth of this process's resident memory while it runs a large batch, divided by the batch (Linux).
Memory goes back to the system at once, so nothing is hidden in an allocator. PyTorch: its allocator's own record.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch.profiler import ProfilerActivity, profile

from ffnet_search.latency.table import kendall_tau
from ffnet_search.models.deployed import deployed, write_onnx
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

SPACES = Path(__file__).parents[1] / "search_spaces"
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "16384"}  # of the C library, read at its start
LARGE = 100e6  # bytes that a batch should take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=SPACES / "ffnet_cifar.yaml")
    parser.add_argument("--networks", type=int, default=30)
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | MALLOC)
    torch.set_num_threads(1)
    space, rng = SearchSpace.from_yaml(options.space), random.Random(0)
    archs = [space.sample(rng) for _ in range(options.networks)]
    formula = [1e6 * arch.peak_memory_mb for arch in archs]
    print(
        f"{options.space.stem}, {len(archs)} random networks, {min(formula) / 1e6:.2f} to {max(formula) / 1e6:.2f} MB\n"
    )
    print(f"{'runtime':14}{'formula / allocated: median':>28}{'least':>8}{'most':>8}{'Kendall':>9}")
    for name, allocated in (("ONNX Runtime", onnx_runtime), ("PyTorch eager", eager)):
        found = [allocated(arch) for arch in archs]
        ratios = np.array(formula) / np.array(found)
        least, most, tau = ratios.min(), ratios.max(), kendall_tau(formula, found)
        print(f"{name:14}{np.median(ratios):28.2f}{least:8.2f}{most:8.2f}{tau:9.3f}")


def onnx_runtime(arch: Architecture) -> float:
    """Bytes for one image."""
    image = arch.input
    batch = max(1, round(LARGE / (1e6 * arch.peak_memory_mb)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        shape = (1, image.channels, image.resolution, image.resolution)
        write_onnx(deployed(arch), shape, path, opset=17, dynamic=[0])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.enable_cpu_mem_arena, options.enable_mem_pattern = 1, False, False
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {"images": np.zeros((batch, *shape[1:]), np.float32)}
    session.run(None, feed)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = resident("VmRSS")
    session.run(None, feed)
    return (resident("VmHWM") - before) / batch


def resident(field: str) -> int:
    """Bytes, by the kernel."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


@torch.inference_mode()
def eager(arch: Architecture, batch: int = 16) -> float:
    """Bytes for one image, of a batch in which what does not grow with it weighs little."""
    net, image = deployed(arch), arch.input
    x_BCHW = torch.zeros(batch, image.channels, image.resolution, image.resolution)
    net(x_BCHW)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        net(x_BCHW)
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak / batch


if __name__ == "__main__":
    main()
