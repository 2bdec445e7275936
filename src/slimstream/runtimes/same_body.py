"""Comparison of networks: one 8-bit form for those that differ only in their heads, one timing for all with
the same layers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.runtimes.openvino import import_openvino

if TYPE_CHECKING:
    import numpy.typing as npt


def with_head_of(graph: Any, full: Path, int8: Path) -> Any:
    """The 8-bit network of the file `int8` with the head of `graph`; None when they differ in more than that.

    `full` is the file of the same network before quantisation. No quantised number may depend on the head, so
    quantising `graph` would give the same ranges as in `int8`.
    """
    if not (full.is_file() and int8.is_file()):
        return None
    read = import_openvino().Core().read_model
    changed = _changed_constants(read(full), graph)
    if changed is None:
        return None
    quantised = read(int8)
    ops = {op.get_friendly_name(): op for op in quantised.get_ordered_ops()}
    for name, after in changed.items():
        op = ops.get(name)
        # Its value may differ from that in `full`: a form may have a head of its own.
        if op is None or op.get_type_name() != "Constant" or op.data.shape != after.shape:
            return None
        if _is_quantised_later(op):
            return None
        _replace(op, after)
    return quantised


def have_same_layers(one: Path, other: Path) -> bool:
    """Whether the networks in two files, such as ONNX, differ only in their weights."""
    read = import_openvino().Core().read_model
    return _changed_constants(read(one), read(other)) is not None


def _changed_constants(graph: Any, other: Any) -> "dict[str, npt.NDArray[Any]] | None":
    """The value in `other` of each constant that differs in `graph`; None when they differ otherwise."""
    ops, others = graph.get_ordered_ops(), other.get_ordered_ops()
    if list(map(_kind, ops)) != list(map(_kind, others)) or _sources(ops) != _sources(others):
        return None
    import numpy as np

    changed = {}
    for one, two in zip(ops, others, strict=True):
        if one.get_type_name() == "Constant":
            if not np.array_equal(one.data, two.data):
                changed[one.get_friendly_name()] = two.data.copy()
        elif one.get_attributes() != two.get_attributes():
            return None
    return changed


def _kind(op: Any) -> tuple[str, list[str]]:
    """Type of an operation, and number types and shapes of its outputs."""
    outputs = [f"{out.get_element_type()} {out.get_partial_shape()}" for out in op.outputs()]
    return op.get_type_name(), outputs


def _sources(ops: Sequence[Any]) -> list[list[tuple[int, int]]]:
    """For each of `ops` and each input: position of the operation it comes from, and number of its output."""
    position = {op.get_friendly_name(): i for i, op in enumerate(ops)}
    outputs = [[each.get_source_output() for each in op.inputs()] for op in ops]
    return [[(position[o.get_node().get_friendly_name()], o.get_index()) for o in row] for row in outputs]


def _is_quantised_later(op: Any) -> bool:
    """Whether a quantised number depends on `op`."""
    waiting, seen = [op], set()
    while waiting:
        for output in waiting.pop().outputs():
            for after in (target.get_node() for target in output.get_target_inputs()):
                if after.get_type_name() == "FakeQuantize":
                    return True
                if (name := after.get_friendly_name()) not in seen:
                    seen.add(name)
                    waiting.append(after)
    return False


def _replace(constant: Any, value: "npt.NDArray[Any]") -> None:
    """Replace `constant` by `value` in all operations that read it."""
    new = import_openvino().op.Constant(value)
    new.set_friendly_name(constant.get_friendly_name())
    for target in constant.output(0).get_target_inputs():
        target.replace_source_output(new.output(0))
