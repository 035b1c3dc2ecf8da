"""Milliseconds of a user-supplied module, by the protocol of the networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.bench import LocalBench
from ffnet_search.latency.jobs import Job
from ffnet_search.latency.measure import Measurement, time_jobs, torch_aside
from ffnet_search.space.input import Input

MODULE_ANCHORS = Input(3, 32, 10)  # the input of the anchors of user-supplied modules, whatever theirs is


def measure_module(module: nn.Module, shape: Sequence[int], section: LatencySection) -> Measurement:
    """Measure a user-supplied module on random inputs of `shape`, batch included, in this process.

    A copy on CPU in evaluation mode is measured: the module keeps its device and its mode. Raises SweepError if the
    module cannot be copied, the shape holds no batch, or the backend is not available."""
    name = type(module).__name__
    if not shape or not shape[0]:
        raise SweepError(
            f"{name} must have an example_input_array with a batch of 1 input or more, (B, ...), for its latency to be "
            f"measured, but its shape is {tuple(shape)}"
        )
    try:
        net = copy.deepcopy(module).cpu().eval()
    except RuntimeError as error:  # an attribute is a tensor of the autograd graph
        raise SweepError(
            f"{name} must be a module that copy.deepcopy can copy, for its latency to be measured, but: {error}; keep "
            "tensors of the last step out of its attributes, or detach them"
        ) from None
    bench = LocalBench(section.model_copy(update={"batch_size": shape[0]}), MODULE_ANCHORS)
    params_m = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    job = Job(name, lambda: net, tuple(shape[1:]), count_macs_m(net, shape) / shape[0], params_m)
    [rounds], now = time_jobs(bench, [job], section.rounds)
    return Measurement(rounds.median * job.unit_ms(MODULE_ANCHORS, now), rounds.spread, now, bench.contention())


def count_macs_m(net: nn.Module, shape: Sequence[int]) -> float:
    """Million multiply-accumulates of one forward pass, by PyTorch's count of operators; at least one of them."""
    with torch_aside(), FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(*shape))
    return max(1.0, counter.get_total_flops() / 2) / 1e6
