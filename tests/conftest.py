"""For all tests: one thread, so that results repeat and a busy machine is not asked for more than it has."""

import torch

torch.set_num_threads(1)
