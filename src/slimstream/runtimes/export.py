"""The deployed forms of a network, as files that `runtimes.base` runs."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimstream.core.params import Runtime
from slimstream.runtimes.base import import_openvino, network_files

OPSET = 20
FLOATS = 2
"""Convolutions at the beginning of every path that stay in floats: motion is faint beside what flow can be,
256 steps over all of it would drown it, and such errors grow through all that follows. They are cheap."""


def export(
    model: nn.Module,
    clips: Sequence[npt.NDArray[np.uint8]],
    folder: Path,
    runtimes: Sequence[Runtime],
    alike: Iterable[Path] = (),
) -> dict[Runtime, str]:
    """Write `model` into `folder` for ONNX Runtime and all `runtimes`; say why one could not be.

    The graphs take `clip` (batch, frames, C, H, W) uint8 to `logits` (batch, classes) float32, normalisation
    included. Batch and frames are free; C, H and W are those of `clips`, (1, T, C, H, W) each: what the
    network will meet, by which NNCF finds the ranges that 8 bits have to cover. `model` stays as it is.

    `alike` are folders that were exported to with the same `clips`. Where the network in one of them differs
    from `model` in its head alone, its 8-bit form takes the new head and is not computed again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (onnx,) = network_files(folder, "onnx")
    export_onnx(model, torch.from_numpy(clips[0]), onnx)
    openvino = import_openvino()
    failed: dict[Runtime, str] = {}
    written = {onnx}
    for runtime in runtimes:
        file = network_files(folder, runtime)[0]
        if file in written:  # one file, two arithmetics
            continue
        try:
            graph = openvino.Core().read_model(onnx)
            if runtime == "openvino-int8":
                known = filter(None, (_with_head_of(graph, other) for other in alike))
                graph = next(known, None) or _quantised(graph, clips, _attends(model))
            openvino.save_model(graph, file, compress_to_fp16=False)
            written.add(file)
        except Exception as error:  # NNCF runs the graph, and each of its layers has errors of its own
            failed[runtime] = why(error)
    return failed


def why(error: Exception) -> str:
    """What is behind an error of OpenVINO's, whose first lines name its own files."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def export_onnx(model: nn.Module, example_clip: Tensor, path: Path) -> None:
    """Write `model` to the ONNX file `path`, its weights inside; H and W are those of `example_clip`."""
    model = copy.deepcopy(model).cpu().eval()
    # Two of each, or a size of one could pass for a constant.
    clip = torch.zeros((2, 2, *example_clip.shape[2:]), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, on H and W, which are meant to be constants
        # The TorchScript exporter: 2 s of CPU where torch.export takes 70 on MobileViT, for the same numbers.
        torch.onnx.export(
            model,
            (clip,),
            path,
            input_names=["clip"],
            output_names=["logits"],
            dynamic_axes={"clip": {0: "batch", 1: "frames"}, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _quantised(graph: Any, clips: Sequence[npt.NDArray[np.uint8]], attends: bool) -> Any:
    """`graph` in 8-bit integers, asymmetric for activations, as swish and GELU want it."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # a bar for each of its passes
        return nncf.quantize(
            graph,
            nncf.Dataset(clips),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(clips),
            model_type=nncf.ModelType.TRANSFORMER if attends else None,
            ignored_scope=nncf.IgnoredScope(names=_left_in_floats(graph)),
        )


def _with_head_of(graph: Any, folder: Path) -> Any:
    """The 8-bit network in `folder` with the head of `graph`; None when they differ in more than that.

    A head is what no quantised number depends on. So `graph` would get the very ranges that were found.
    """
    (onnx,), (int8, _) = network_files(folder, "onnx"), network_files(folder, "openvino-int8")
    if not (onnx.is_file() and int8.is_file()):
        return None
    read = import_openvino().Core().read_model
    changed = _changed_constants(read(onnx), graph)
    if changed is None:
        return None
    quantised = read(int8)
    ops = {op.get_friendly_name(): op for op in quantised.get_ordered_ops()}
    for name, (before, after) in changed.items():
        op = ops.get(name)
        if op is None or op.get_type_name() != "Constant" or not np.array_equal(op.data, before):
            return None
        if _is_quantised_later(op):
            return None
        _replace(op, after)
    return quantised


def _changed_constants(graph: Any, other: Any) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] | None:
    """The values in both graphs of each constant that differs; None when anything else does."""
    ops, others = graph.get_ordered_ops(), other.get_ordered_ops()
    if list(map(_kind, ops)) != list(map(_kind, others)) or _sources(ops) != _sources(others):
        return None
    changed = {}
    for one, two in zip(ops, others, strict=True):
        if one.get_type_name() == "Constant":
            if not np.array_equal(one.data, two.data):
                changed[one.get_friendly_name()] = one.data.copy(), two.data.copy()
        elif one.get_attributes() != two.get_attributes():
            return None
    return changed


def _kind(op: Any) -> tuple[str, list[str]]:
    """What it does, and number type and shape of its outputs."""
    outputs = [f"{out.get_element_type()} {out.get_partial_shape()}" for out in op.outputs()]
    return op.get_type_name(), outputs


def _sources(ops: Sequence[Any]) -> list[list[tuple[int, int]]]:
    """For each of `ops`, which operation and which output of it every input comes from."""
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


def _replace(constant: Any, value: npt.NDArray[Any]) -> None:
    """Let all that read `constant` read `value` instead."""
    new = import_openvino().op.Constant(value)
    new.set_friendly_name(constant.get_friendly_name())
    for target in constant.output(0).get_target_inputs():
        target.replace_source_output(new.output(0))


def _left_in_floats(graph: Any) -> list[str]:
    """Names of the first convolutions of each path, and of the head, which weighs standardised features."""
    depth: dict[str, int] = {}
    first, products = [], []
    for op in graph.get_ordered_ops():
        name, kind = op.get_friendly_name(), op.get_type_name()
        before = (each.get_source_output().get_node().get_friendly_name() for each in op.inputs())
        depth[name] = max((depth[each] for each in before), default=0)
        if kind in ("Convolution", "GroupConvolution"):
            depth[name] += 1
            if depth[name] <= FLOATS:
                first.append(name)
        elif kind == "MatMul":
            products.append(name)
    return first + products[-1:]


def _attends(model: nn.Module) -> bool:
    """Whether there is attention in it, whose products lose too much in 8 bits."""
    return any(hasattr(module, "qkv") or hasattr(module, "num_heads") for module in model.modules())
