"""What a network makes on its way to an answer, heard while it answers.

So one forward pass serves every term of an objective, and a term that adds to another need not know how that
one asks the network. Each `…_of` yields a list that grows by one with every pass within the block.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def logits_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """The logits, (B, n)."""
    heard: list[Tensor] = []
    with model.register_forward_hook(lambda module, inputs, output: heard.append(output)):
        yield heard


@contextmanager
def features_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """What the head judges by, (B, F): standardised where the network does so, before any is dropped."""
    layer: Any = getattr(model, "dropout", None) or model.head
    heard: list[Tensor] = []
    with layer.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0])):
        yield heard


@contextmanager
def maps_of(model: nn.Module) -> Iterator[list[tuple[Tensor, ...]]]:
    """What the network's own `maps` gives: (B·T, C, h, w) or (B, C, T, h, w) each."""
    maps: Any = model.maps
    heard: list[tuple[Tensor, ...]] = []

    def listen(clip: Tensor) -> tuple[Tensor, ...]:
        heard.append(maps(clip))
        return heard[-1]

    model.maps = listen  # type: ignore[assignment]  # hides the class's own until it is deleted
    try:
        yield heard
    finally:
        del model.maps


@contextmanager
def heard_by(listeners: Mapping[nn.Module, Callable[[Tensor, Tensor], object]]) -> Iterator[None]:
    """Each layer's listener is told `(input, output)` whenever the layer is called within the block."""

    def hook(listener: Callable[[Tensor, Tensor], object]) -> Callable[..., None]:
        def called(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            listener(inputs[0], output)  # whose own answer would take the output's place

        return called

    with ExitStack() as stack:
        for layer, listener in listeners.items():
            stack.enter_context(layer.register_forward_hook(hook(listener)))
        yield
