"""Checks of user-supplied mixers before anything is computed with them: shapes, the deployed form, the costs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ffnet_search.errors import SweepError, one_line
from ffnet_search.imports.modules import user_line
from ffnet_search.models.layers import PLAIN
from ffnet_search.models.mixers import TokenMixer, make_mixer
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.block import axes_of
from ffnet_search.space.mixers import Costs
from ffnet_search.space.parts import Part, TokenMixerPart
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.space.sides import height_and_width

BESIDE = axes_of(TokenMixerPart)[1:]  # the axes of a mixer, beside which one it is
SAME = 1e-3  # relative and absolute difference of the deployed form, at most


def check_mixer(name: str, space: SearchSpace) -> None:
    """Raise SweepError if a user-supplied mixer of the space raises, changes the shape of its input, is not elastic in
    width and kernel, or has a deployed form that computes or costs something else."""
    parts = {part: None for arch in _extremes(space, name) for part in arch.parts if part.mixer == name}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            width, kernel = max(part.in_width for part in parts), max(part.kernel for part in parts)
            largest = make_mixer(name, width, kernel, PLAIN).eval()
            problem = next(filter(None, (_problem(name, part, largest) for part in parts)), "")
    except Exception as error:  # of user code
        problem = f"it raises {type(error).__name__}: {one_line(error)}{user_line(error)}"
    if problem:
        raise SweepError(f"search_space: mixer {name}: {problem}; correct the class")


def _extremes(space: SearchSpace, name: str) -> Iterator[Architecture]:
    """The largest and the smallest network, with the mixer in each block that may have it."""
    of_mixer = {axis: values for axis, values in space.axes().items() if axis.rpartition(".")[2] in BESIDE}
    mixers = {axis: name for axis, values in space.axes().items() if name in values}
    for arch, pick in ((space.largest, max), (space.smallest, min)):
        kernels = {axis: pick(values) for axis, values in of_mixer.items()}
        yield space.build({**space.choices_of(arch), **kernels, **mixers})


def _problem(name: str, part: Part, largest: TokenMixer) -> str:
    """The fault of a mixer at the sizes of `part`, in words; empty if there is none. Raises what the mixer raises."""
    x_BCHW = torch.randn(2, part.in_width, *height_and_width(part.resolution))
    mixer = make_mixer(name, part.in_width, part.kernel, PLAIN).eval()
    for made in (mixer, largest):
        y_BCHW = made(x_BCHW, part.kernel)
        if _shape(y_BCHW) != _shape(x_BCHW):
            return f"forward must return the shape of its input, {_shape(x_BCHW)}, but returns {_shape(y_BCHW)}"
    return _deployed_problem(mixer, part, x_BCHW) or _costs_problem(mixer, part)


def _deployed_problem(mixer: TokenMixer, part: Part, x_BCHW: Tensor) -> str:
    scale_C11 = 0.5 + torch.rand(part.in_width, 1, 1)
    net: object = mixer.deploy(part.kernel, scale_C11)
    if not isinstance(net, nn.Module):
        return f"deploy must return a module, but returns {type(net).__name__}"
    wanted_BCHW, y_BCHW = mixer(x_BCHW, part.kernel) * scale_C11, net.eval()(x_BCHW)
    if _shape(y_BCHW) != _shape(x_BCHW):
        return f"deploy must keep the shape of the input, {_shape(x_BCHW)}, but makes {_shape(y_BCHW)}"
    if not torch.allclose(y_BCHW, wanted_BCHW, rtol=SAME, atol=SAME):
        far = (y_BCHW - wanted_BCHW).abs().max()
        return f"deploy must compute what forward does, times layer_scale, but the outputs differ by up to {far:.2g}"
    return ""


def _costs_problem(mixer: TokenMixer, part: Part) -> str:
    costs: object = mixer.costs(part.out_width, part.kernel, part.pixels)
    if not isinstance(costs, Costs):
        return f"costs must return Costs(params, macs, memory), but returns {type(costs).__name__}"
    params = sum(parameter.numel() for parameter in mixer.deploy(part.kernel, None).parameters())
    if costs.params != params:
        return f"costs must count the parameters of its deployed form, {params:,}, but says {costs.params:,}"
    return ""


def _shape(x: object) -> tuple[int, ...] | str:
    return tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
