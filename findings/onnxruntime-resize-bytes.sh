#!/usr/bin/env bash
# Preprocessing that is part of an ONNX graph scales the bytes of an image by Resize. One expects each result to be the
# nearest byte, and that of an image of one value throughout to be that value. onnxruntime's linear Resize of uint8 cuts
# the fraction off: the image becomes darker by half a level on average, and a plain image of 200 gets pixels of 199, where
# the float is 199.999985. ONNX's own reference evaluator rounds. With antialias=1, which of floats changes nothing when the
# result is larger, onnxruntime rounds too, but after each of the two directions, halves upwards: lighter by 1/4.
# onnx 1.23.2, onnxruntime 1.32.0 on a CPU. ganvas is not touched: its exported graphs take floats in [0, 1], and the
# example beside them scales by Pillow.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy
"$dir/env/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)


def resized(image: np.ndarray, side: int, antialias: int = 0) -> dict[str, np.ndarray]:
    """(1, 1, h, w) -> (1, 1, side, side), by either."""
    kind = helper.np_dtype_to_tensor_dtype(image.dtype)
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", antialias=antialias)
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, side, side])
    x, y = helper.make_tensor_value_info("x", kind, image.shape), helper.make_tensor_value_info("y", kind, [1, 1, side, side])
    graph = helper.make_graph([node], "resize", [x], [y], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return {
        "onnxruntime": session.run(None, {"x": image})[0].astype(float),
        "reference": ReferenceEvaluator(model).run(None, {"x": image})[0].astype(float),
    }


noise = np.random.default_rng(0).integers(0, 256, (1, 1, 64, 64), dtype=np.uint8)
exact = resized(noise.astype(np.float32), 128)["onnxruntime"]
shifts = {}
for antialias in (0, 1):
    for name, result in resized(noise, 128, antialias).items():
        shifts[name, antialias] = (result - exact).mean()
        print(f"64 -> 128, antialias={antialias}, {name}: bytes less floats on average {shifts[name, antialias]:+.3f}")
floats = resized(noise.astype(np.float32), 128, 1)["onnxruntime"]
print(f"antialias changes floats by at most {abs(floats - exact).max():.2g}")
level = np.full((1, 1, 9, 9), 200, np.uint8)
plain = {name: sorted(set(result.ravel())) for name, result in resized(level, 14).items()}
lowest = resized(level.astype(np.float32), 14)["onnxruntime"].min()
said = {name: [int(value) for value in values] for name, values in plain.items()}
print(f"9 -> 14, an image of 200 throughout: {said}; onnxruntime in floats: from {lowest:.6f}")
raise SystemExit(
    not (
        shifts["onnxruntime", 0] < -0.4
        and shifts["onnxruntime", 1] > 0.2
        and abs(shifts["reference", 0]) < 0.05
        and abs(floats - exact).max() < 1e-3
        and plain == {"onnxruntime": [199, 200], "reference": [200]}
    )
)
PYTHON
