"""Forward hooks that record logits, features and feature maps of a network.

All terms of an objective can then use the same forward pass. Each `capture_…` yields a list; every forward
pass within the block appends one entry.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def capture_logits(model: nn.Module) -> Iterator[list[Tensor]]:
    """Record the logits, (B, n) each."""
    captured: list[Tensor] = []
    with model.register_forward_hook(lambda module, inputs, output: captured.append(output)):
        yield captured


@contextmanager
def capture_features(model: nn.Module) -> Iterator[list[Tensor]]:
    """Record the inputs of the head before dropout, (B, F) each; standardised if the network does so."""
    layer: Any = getattr(model, "dropout", None) or model.head
    captured: list[Tensor] = []
    with layer.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0])):
        yield captured


@contextmanager
def capture_maps(model: nn.Module) -> Iterator[list[tuple[Tensor, ...]]]:
    """Record the results of the network's `maps`: (B·T, C, h, w) or (B, C, T, h, w) each."""
    maps: Any = model.maps
    captured: list[tuple[Tensor, ...]] = []

    def listen(clip: Tensor) -> tuple[Tensor, ...]:
        captured.append(maps(clip))
        return captured[-1]

    model.maps = listen  # type: ignore[assignment]  # replaces the method until it is deleted
    try:
        yield captured
    finally:
        del model.maps


@contextmanager
def forward_hooks(listeners: Mapping[nn.Module, Callable[[Tensor, Tensor], object]]) -> Iterator[None]:
    """Call `listener(input, output)` after each call of its layer within the block."""

    def hook(listener: Callable[[Tensor, Tensor], object]) -> Callable[..., None]:
        def called(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            listener(inputs[0], output)  # a hook's return value would replace the output

        return called

    with ExitStack() as stack:
        for layer, listener in listeners.items():
            stack.enter_context(layer.register_forward_hook(hook(listener)))
        yield
