"""A program for the backend `command`: times an ONNX file with ONNX Runtime, and prints milliseconds."""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ["FFNET_THREADS"])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
shape = [int(side) for side in os.environ["FFNET_SHAPE"].split("x")]
feed = {session.get_inputs()[0].name: np.zeros(shape, np.float32)}
times = []
for _ in range(30):
    start = time.process_time()
    session.run(None, feed)
    times.append(time.process_time() - start)
print("median of 30 runs, ms:", 1e3 * sorted(times)[15])
