# SPDX-License-Identifier: Apache-2.0
"""The selective scan in ONNX: one ``Scan`` node, which ONNX Runtime and OpenVINO run as a loop in compiled code.

Unrolled, VMamba-Tiny would be thousands of nodes and minutes of export. This module is imported for an export only.
"""

from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op
from onnxscript.values import Opset

STATE = FLOAT["B", "K", "N", "D"]
RATES = FLOAT["K", "N", "D"]
CHANNELS = FLOAT["B", "K", 1, "D"]
ROWS = FLOAT["B", "K", 1, "N"]
COLUMNS = FLOAT["B", "K", "N", 1]


@script(Opset("anomalib_fsad", 1), default_opset=op)
def onnx_selective_scan(u: FLOAT, delta: FLOAT, A: FLOAT, B: FLOAT, C: FLOAT) -> FLOAT:
    """What ``scan.scan_plain`` says, in its shapes: u, delta: B K D L; A: K D N; B, C: B K N L."""

    @graph()
    def step(h: STATE, rates: RATES, delta_t: CHANNELS, input_t: CHANNELS, B_t: COLUMNS, C_t: ROWS):  # noqa: ANN202
        state = op.Add(op.Mul(op.Exp(op.Mul(delta_t, rates)), h), op.Mul(B_t, input_t))
        # The rates stay as they are; OpenVINO does not let a loop's body see a value outside of it.
        return state, op.Identity(rates), op.MatMul(C_t, state)

    rates = op.Transpose(A, perm=[0, 2, 1])
    third = op.Constant(value_ints=[3])
    deltas = op.Unsqueeze(op.Transpose(delta, perm=[3, 0, 1, 2]), third)  # L B K 1 D
    inputs = op.Unsqueeze(op.Transpose(op.Mul(delta, u), perm=[3, 0, 1, 2]), third)
    B_steps = op.Unsqueeze(op.Transpose(B, perm=[3, 0, 1, 2]), op.Constant(value_ints=[4]))  # L B K N 1
    C_steps = op.Unsqueeze(op.Transpose(C, perm=[3, 0, 1, 2]), third)  # L B K 1 N
    start = op.ConstantOfShape(op.Concat(op.Shape(u, start=0, end=1), op.Shape(rates), axis=0))
    _, _, y = op.Scan(start, rates, deltas, inputs, B_steps, C_steps, body=step, num_scan_inputs=4)
    return op.Transpose(op.Squeeze(y, third), perm=[1, 2, 3, 0])
