"""An ONNX graph under construction: nodes in the order in which they compute."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import signjax

Value = str | np.ndarray | list[int] | float
# Those of ONNX 1.13 (2022), so that older runtimes read it too.
_OPSET, _IR_VERSION = 18, 8


class Graph:
    """Nodes and constants. A value is the name of what a node puts out.

    half: whether kernels are kept in float16, and computed with in float32.
    """

    def __init__(self, *, half: bool = False) -> None:
        self.half = half
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: Value, name: str = "", **options: Any) -> str:
        """Adds a node and returns its output's name, which `name` may choose.

        Inputs that are no names become constants: arrays as they are, lists of whole
        numbers int64, numbers float32. options: the operator's attributes.
        """
        output = name or f"{operator}_{len(self._nodes)}"
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        node = helper.make_node(operator, names, [output], name=output, **options)
        self._nodes.append(node)
        return output

    def kernel(self, values: np.ndarray) -> str:
        """The weights of a layer as a value, float32."""
        if not self.half:
            return self._constant(values.astype(np.float32))
        stored = self._constant(values.astype(np.float16))
        return self.add("Cast", stored, to=onnx.TensorProto.FLOAT)

    def model(
        self,
        inputs: list[onnx.ValueInfoProto],
        outputs: list[onnx.ValueInfoProto],
        metadata: dict[str, str],
    ) -> onnx.ModelProto:
        """All of it as a model. Raises onnx's errors where it is not well-formed."""
        graph = helper.make_graph(
            self._nodes, "signjax", inputs, outputs, self._constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="signjax",
            producer_version=signjax.__version__,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _constant(self, value: np.ndarray | list[int] | float) -> str:
        if not isinstance(value, np.ndarray):
            kind = np.int64 if isinstance(value, list) else np.float32
            value = np.array(value, kind)
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name
