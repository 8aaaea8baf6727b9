"""A player's move, recorded once and then launched as a whole: a GPU that waits for the host to launch kernels is idle.

What is recorded (a CUDA graph) reads its inputs, its draws and the learning rate where they lay when it was recorded,
and leaves its results where it left them then. Nothing in it may depend on a number of the host that changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ganvas.ground.randomness import Draw, Held

# Calls before the recording, in which optimisers make their state and libraries choose their kernels.
WARM = 3
Results = dict[str, Tensor]
log = logging.getLogger("ganvas")


class Recorder(Protocol):
    """How a function without arguments is recorded."""

    def warm(self, function: Callable[[], Results]) -> Results:
        """Call it as it will be recorded."""

    def record(self, function: Callable[[], Results]) -> tuple[Results, Callable[[], object]]:
        """Call it; what it returned, and what does it all again.

        Raises:
            RuntimeError: it can't be recorded; nothing of it was done.
        """


class Recorded:
    """A function of tensors and draws that is recorded at its fourth call and replayed from then on.

    Args:
        what: it is, for a message.
        function: (*inputs, draw) -> tensors by name.
        recorder: how.
    """

    def __init__(self, what: str, function: Callable[..., Results], recorder: Recorder) -> None:
        self.what, self.function, self.recorder = what, function, recorder
        self.calls = 0
        self._results: Results = {}
        self._again: Callable[[], object] | None = None

    def __call__(self, *inputs: Tensor, draw: Draw) -> Results:
        """The results, which the next call overwrites."""
        if self.calls == 0:
            self._inputs, self._draw = [tensor.clone() for tensor in inputs], Held(draw)
        else:
            for own, tensor in zip(self._inputs, inputs, strict=True):
                own.copy_(tensor, non_blocking=True)
            self._draw.renew(draw)
        self.calls += 1
        if self._again:
            self._again()
        elif self.calls == WARM + 1:
            try:
                self._results, self._again = self.recorder.record(self._call)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0]
                log.warning("%s can't be recorded, and is launched kernel by kernel: %s", self.what, reason)
                return self._call()
        else:
            return self.recorder.warm(self._call)
        return self._results

    def _call(self) -> Results:
        return self.function(*self._inputs, draw=self._draw)


class CudaGraphs:
    """Records by capturing a CUDA graph.

    Args:
        device: of all tensors.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm(self, function: Callable[[], Results]) -> Results:
        """On the stream that captures, so that nothing of autograd belongs to another one."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = function()
        torch.cuda.current_stream().wait_stream(self.stream)
        return results

    def record(self, function: Callable[[], Results]) -> tuple[Results, Callable[[], object]]:
        """Capture, which does nothing yet, and replay."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            results = function()
        graph.replay()
        return results, graph.replay
