import copy
import json
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models.cost import count_params
from slimstream.models.surgery import rebuild
from slimstream.models.two_stream.mobilevit import two_stream_mobilevit
from slimstream.stages.prune.heads import check_heads, keep_heads
from slimstream.stages.prune.pruning import prune_channels

CLIP = torch.randint(0, 256, (1, 2, 5, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def network() -> Any:
    torch.manual_seed(0)
    return two_stream_mobilevit(3, shared=True).eval()


def attentions(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "qkv")]


def test_what_is_left_is_the_network_with_the_weakest_heads_silent() -> None:
    model = network()
    for number, attention in enumerate(attentions(model)):
        width = attention.head_dim
        weak = slice(number % 4 * width, (number % 4 + 1) * width)
        with torch.no_grad():  # weak in what it makes, though not in what is taken from it
            attention.qkv.weight.view(3, -1, attention.qkv.in_features)[:, weak] *= 0.1
    original = copy.deepcopy(model)
    names = keep_heads(model, CLIP, 3, left=[])
    assert len(names) == len(attentions(model)) and all(name.endswith("attn.qkv") for name in names)
    for number, (attention, before) in enumerate(zip(attentions(model), attentions(original), strict=True)):
        width = before.head_dim
        assert (attention.num_heads, attention.head_dim, attention.attn_dim) == (3, width, 3 * width)
        with torch.no_grad():
            before.proj.weight[:, number % 4 * width : (number % 4 + 1) * width] = 0
    with torch.no_grad():
        expected = original(CLIP)
        torch.testing.assert_close(model(CLIP), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0


class Tokens(nn.Module):
    """One attention over the 16 pieces of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = nn.Conv2d(5, 32, 16, stride=16)
        self.attention = Attention(32, num_heads=4, qkv_bias=True)
        self.hidden = nn.Linear(32, 64)
        self.head = nn.Linear(64, 2)

    def forward(self, clip: Tensor) -> Tensor:
        tokens = self.pieces(clip.flatten(0, 1).float()).flatten(2).transpose(1, 2)
        return self.head(self.hidden(tokens + self.attention(tokens)).relu().mean(1))


def test_heads_then_channels_to_a_share_of_all_parameters_and_rebuilt_from_json() -> None:
    torch.manual_seed(0)
    model = Tokens()
    report = prune_channels(model, CLIP, target_params=0.5, heads=2)
    assert count_params(model) == pytest.approx(0.5 * report.params_before, rel=0.03)
    attention = model.attention
    assert (attention.num_heads, attention.head_dim, attention.attn_dim) == (2, 8, 16)  # of full width
    again = rebuild(Tokens(), json.loads(json.dumps(report.history)))
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(CLIP), model.eval()(CLIP))


def test_a_network_whose_attentions_are_all_left_alone_is_refused() -> None:
    model = network()
    check_heads(model, left=[])
    with pytest.raises(UserError, match=r"prune\.heads: .*no attention that can lose heads"):
        check_heads(model, left=list(model.modules()))
