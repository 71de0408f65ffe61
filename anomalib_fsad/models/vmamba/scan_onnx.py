# SPDX-License-Identifier: Apache-2.0
"""The selective scan in ONNX: one ``Scan`` node, which ONNX Runtime and OpenVINO run as a loop in compiled code.

Unrolled as a whole, VMamba-Tiny would be tens of thousands of nodes. But an iteration costs as such, most in OpenVINO.
So each does a tile of 8 steps, and no size in it is unknown: the images of a batch follow one another in one sequence,
and ``keep`` is 0 at the tile where one begins. This module is imported for an export only.
"""

from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op
from onnxscript.values import Opset

STATE = FLOAT[1, "K", "N", "D"]
CHANNELS = FLOAT[8, "K", 1, "D"]
ROWS = FLOAT[8, "K", 1, "N"]
COLUMNS = FLOAT[8, "K", "N", 1]


@script(Opset("anomalib_fsad", 1), default_opset=op)
def onnx_selective_scan(u: FLOAT, delta: FLOAT, A: FLOAT, B: FLOAT, C: FLOAT) -> FLOAT:
    """What ``scan.scan_plain`` says; u, delta, y: B L K D; A: K N D; B, C: B L K N; L a multiple of 8."""

    @graph()
    def tile(h: STATE, A: STATE, keep: FLOAT[1], delta: CHANNELS, u: CHANNELS, B: COLUMNS, C: ROWS):  # noqa: ANN202
        d1, d2, d3, d4, d5, d6, d7, d8 = op.Split(delta, axis=0, num_outputs=8)
        x1, x2, x3, x4, x5, x6, x7, x8 = op.Split(op.Mul(delta, u), axis=0, num_outputs=8)
        B1, B2, B3, B4, B5, B6, B7, B8 = op.Split(B, axis=0, num_outputs=8)
        h0 = op.Mul(h, keep)
        h1 = op.Add(op.Mul(op.Exp(op.Mul(d1, A)), h0), op.Mul(B1, x1))
        h2 = op.Add(op.Mul(op.Exp(op.Mul(d2, A)), h1), op.Mul(B2, x2))
        h3 = op.Add(op.Mul(op.Exp(op.Mul(d3, A)), h2), op.Mul(B3, x3))
        h4 = op.Add(op.Mul(op.Exp(op.Mul(d4, A)), h3), op.Mul(B4, x4))
        h5 = op.Add(op.Mul(op.Exp(op.Mul(d5, A)), h4), op.Mul(B5, x5))
        h6 = op.Add(op.Mul(op.Exp(op.Mul(d6, A)), h5), op.Mul(B6, x6))
        h7 = op.Add(op.Mul(op.Exp(op.Mul(d7, A)), h6), op.Mul(B7, x7))
        h8 = op.Add(op.Mul(op.Exp(op.Mul(d8, A)), h7), op.Mul(B8, x8))
        states = op.Concat(h1, h2, h3, h4, h5, h6, h7, h8, axis=0)
        # A stays as it is; OpenVINO does not let a loop's body see a value outside of it.
        return op.Identity(h8), op.Identity(A), op.MatMul(C, states)

    zero = op.Constant(value_int=0)
    one = op.Constant(value_ints=[1])
    tile_steps = op.Constant(value_ints=[-1, 8])
    K = op.Shape(A, start=0, end=1)
    N = op.Shape(A, start=1, end=2)
    D = op.Shape(A, start=2, end=3)
    channels = op.Concat(tile_steps, K, one, D, axis=0)
    tiles = op.Div(op.Shape(u, start=1, end=2), op.Constant(value_ints=[8]))
    first = op.Range(zero, op.Squeeze(tiles), op.Constant(value_int=1))
    images = op.Concat(op.Shape(u, start=0, end=1), one, axis=0)
    keep = op.Expand(op.Cast(op.Greater(first, zero), to=1), images)
    _, _, y = op.Scan(
        op.ConstantOfShape(op.Concat(one, K, N, D, axis=0)),
        op.Unsqueeze(A, op.Constant(value_ints=[0])),
        op.Reshape(keep, op.Constant(value_ints=[-1, 1])),
        op.Reshape(delta, channels),
        op.Reshape(u, channels),
        op.Reshape(B, op.Concat(tile_steps, K, N, one, axis=0)),
        op.Reshape(C, op.Concat(tile_steps, K, one, N, axis=0)),
        body=tile,
        num_scan_inputs=5,
    )
    return op.Reshape(y, op.Shape(u))
