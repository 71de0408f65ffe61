# SPDX-License-Identifier: Apache-2.0
"""The two runtimes that graphs run on, behind one call that several threads may make at once.

The first calls into a runtime's Python binding initialise C++ statics under their own locks, some of them while they
import NumPy. Two threads that make such a call at once may each hold the lock that the other waits for, for ever:
the interpreter's and the static's. So the thread that loads a graph also makes every kind of call once
(:class:`anomalib_fsad.deploy.network.Network`), and ``FIRST_CALLS`` lets one thread at a time do so.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.deploy.bundle import SUFFIXES, Backend, Bundle, BundleError

Arrays = Mapping[str, NDArray[Any]]

FIRST_CALLS = Lock()

MODULES: dict[Backend, str] = {"openvino": "openvino", "onnx": "onnxruntime"}


class Graph(Protocol):
    """A compiled graph; ``inputs`` and ``outputs`` are the names it was exported with."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Named inputs to named outputs."""


class OpenVINOGraph:
    """A graph on OpenVINO, in single precision whatever the processor prefers.

    Args:
        xml: the graph.
        weights: its weights.
        device: ``CPU``, ``GPU``, ``AUTO``, ...
        config: OpenVINO properties beside ours.
    """

    def __init__(self, xml: bytes, weights: bytes, device: str, config: Mapping[str, Any]) -> None:
        import openvino as ov

        core = ov.Core()
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", **config}
        self._compiled = core.compile_model(core.read_model(model=xml, weights=weights), device, options)
        self.inputs = tuple(port.any_name for port in self._compiled.inputs)
        self.outputs = tuple(port.any_name for port in self._compiled.outputs)
        # An infer request serves one call at a time: as many are made as threads call at once.
        self._idle: LifoQueue[Any] = LifoQueue()

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Named inputs to named outputs."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            values = request.infer(dict(arrays), share_inputs=True).to_tuple()
            return {name: np.array(value) for name, value in zip(self.outputs, values, strict=True)}
        finally:
            self._idle.put(request)


class OnnxGraph:
    """A graph on onnxruntime, whose sessions are thread-safe by themselves.

    Args:
        content: the graph with its weights.
        device: ``CPU``, or the name of an execution provider.
        config: session configuration entries; ``intra_op_num_threads`` sets that option.
    """

    def __init__(self, content: bytes, device: str, config: Mapping[str, Any]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        for name, value in config.items():
            if name == "intra_op_num_threads":
                options.intra_op_num_threads = int(value)
            else:
                options.add_session_config_entry(name, str(value))
        provider = "CPUExecutionProvider" if device == "CPU" else device
        self._session = onnxruntime.InferenceSession(content, options, providers=[provider])
        self.inputs = tuple(node.name for node in self._session.get_inputs())
        self.outputs = tuple(node.name for node in self._session.get_outputs())

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Named inputs to named outputs."""
        return dict(zip(self.outputs, self._session.run(None, dict(arrays)), strict=True))


def choose_backend(bundle: Bundle, wanted: str = "auto") -> Backend:
    """The runtime to use: ``auto`` is OpenVINO if it and its files are there, else onnxruntime.

    Raises:
        BundleError: if the bundle has no files for it.
        ImportError: if it is not installed.
    """
    if wanted not in {"auto", *MODULES}:
        msg = f"backend={wanted!r} is none of 'auto', {', '.join(map(repr, MODULES))}."
        raise ValueError(msg)
    if wanted != "auto" and wanted not in bundle.backends:
        msg = f"The bundle {str(bundle.folder)!r} has no files for backend={wanted!r}; it has {list(bundle.backends)}."
        raise BundleError(msg)
    candidates = [b for b in bundle.backends if wanted in {"auto", b}]
    if not candidates:
        msg = f"The bundle {str(bundle.folder)!r} has no complete pair of graphs: copy or export it again."
        raise BundleError(msg)
    for backend in candidates:
        if find_spec(MODULES[backend]) is not None:
            return backend
    names = " or ".join(MODULES[b] for b in candidates)
    msg = f"The bundle {str(bundle.folder)!r} needs {names}: pip install {MODULES[candidates[0]]}"
    raise ImportError(msg)


def load_graph(bundle: Bundle, graph: str, backend: Backend, device: str, config: Mapping[str, Any]) -> Graph:
    """Read, check and compile one graph of a bundle."""
    # Outside the try: what is wrong with a file is said by the bundle.
    parts = [bundle.read(graph + suffix) for suffix in SUFFIXES[backend]]
    compile_graph: Callable[..., Graph] = OpenVINOGraph if backend == "openvino" else OnnxGraph
    try:
        return compile_graph(*parts, device, config)
    except Exception as error:
        msg = f"{MODULES[backend]} cannot load the {graph} of {str(bundle.folder)!r} on {device}: {error}"
        raise BundleError(msg) from error
