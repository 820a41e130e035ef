"""The three nets of a first lesson: logistic regression, a feed-forward net, one convolution."""

from __future__ import annotations

from torch import Tensor, nn

from beholder.base.errors import UsageError
from beholder.nets.features import Net


class Stack(Net):
    """Layers in a row, then a linear head."""

    def __init__(self, layers: list[nn.Module], head: nn.Linear, *, scheme: str = "kaiming") -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = head
        self.scheme = scheme

    def body(self, images: Tensor) -> Tensor:
        """Return the output of the last layer before the head: (B, F)."""
        features: Tensor = self.layers(images)
        return features


def logistic(*, channels: int, size: tuple[int, int], classes: int, width: float = 1.0, dropout: float = 0.0) -> Stack:
    """Return logistic regression on the pixels: flatten, then y = xW + b. It has no channels for `width` to multiply."""
    del width
    inputs = channels * size[0] * size[1]
    return Stack([nn.Flatten(), nn.Dropout(dropout)], nn.Linear(inputs, classes), scheme="xavier")


def mlp(*, channels: int, size: tuple[int, int], classes: int, width: float = 1.0, dropout: float = 0.0) -> Stack:
    """Return a feed-forward net: two hidden layers y = max(0, xW + b) of 512·width units, then a linear one."""
    inputs, hidden = channels * size[0] * size[1], max(8, round(512 * width))
    layers: list[nn.Module] = [nn.Flatten()]
    for wide in (inputs, hidden):
        layers += [nn.Linear(wide, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return Stack(layers, nn.Linear(hidden, classes))


def cnn(*, channels: int, size: tuple[int, int], classes: int, width: float = 1.0, dropout: float = 0.0) -> Stack:
    """Return the classic first convolutional net: 32·width filters of 3×3 without padding, ReLU, max-pool 2, flatten, dense.

    Raises `UsageError` for pictures smaller than 4×4. Its scheme is Keras's: Glorot uniform, bias zero.
    """
    height, wide = (side - 2 for side in size)
    if min(height, wide) < 2:
        raise UsageError(f"net 'cnn' cannot take pictures of {size[0]}x{size[1]}", code="too-small", hint="use 4x4 or larger")
    filters = max(1, round(32 * width))
    # max(relu(x)) is relu(max(x)) to the bit, gradients too; after the pooling it costs a quarter, and the net half the time.
    layers = [nn.Conv2d(channels, filters, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout)]
    return Stack(layers, nn.Linear(filters * (height // 2) * (wide // 2), classes), scheme="xavier")
