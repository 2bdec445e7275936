"""Base of all networks for grey pictures."""

from torch import Tensor, nn

from slimstream.models.base import Classifier


class StandardisePicture(nn.Module):
    """Standardise each picture (N, 1, H, W) in 0..255 to zero mean and unit variance (P3, section 2.1).

    This removes brightness and contrast of the lighting. A standard deviation below one grey level is noise
    and is not amplified; a uniform picture becomes 0.
    """

    def forward(self, pictures: Tensor) -> Tensor:
        centred = pictures.float()
        centred = centred - centred.mean((2, 3), keepdim=True)
        return centred / centred.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1)


class PictureNet(Classifier):
    """One grey picture, or several of one object, through a 2-D backbone (P3, section 2.1).

    ::

        clip (B, T, 1, H, W) ── normalise ── stages ── (B·T, C, h, w) ── mean over h, w ── neck ── (B·T, F)
                                                                                                  │
                           logits (B, classes) ── head ── dropout ── features (B, F) ── mean over T

    Args:
        stages: (N, 1, H, W) to the last map (N, C, h, w); `maps` returns the result of each stage.
        neck: fully connected layers below the head, (N, C) to (N, F).
        head: the last layer, (B, F) to (B, classes).
        dropout: probability that a feature is dropped in training.
        normalise: (N, 1, H, W) in 0..255 to the input of `stages`; None: `StandardisePicture`.
    """

    channels = frozenset({1})

    def __init__(
        self,
        *,
        stages: nn.Sequential,
        neck: nn.Module,
        head: nn.Linear,
        dropout: float = 0.0,
        normalise: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.normalise = normalise or StandardisePicture()
        self.stages = stages
        self.neck = neck
        self.standardise = nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = head

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, 1, H, W) to the features for the head (B, F), float32."""
        # Averaged in float32, because half precision is too coarse for sums over space.
        pictures = self.neck(self.maps(clip)[-1].float().mean((2, 3)))
        return pictures.float().unflatten(0, (clip.shape[0], clip.shape[1])).mean(1)

    def maps(self, clip: Tensor) -> tuple[Tensor, ...]:
        """Return the map (B·T, C, h, w) of each stage, first to last, for attention transfer."""
        x = self.normalise(clip.flatten(0, 1))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
