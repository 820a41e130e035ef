"""The formulas that the nets stand on, against NumPy in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from beholder.nets.build import build
from beholder.nets.features import Net, head
from beholder.nets.spec import NetSpec

F64 = np.float64


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def net_of(name: str, size: int = 6, channels: int = 2, classes: int = 3, width: float = 0.02) -> Net:
    net = build(NetSpec(name, channels, size, size, classes, width=width), seed=4).double()
    assert isinstance(net, Net)
    return net


def pictures(n: int = 4, channels: int = 2, size: int = 6) -> torch.Tensor:
    return torch.randn(n, channels, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def parts(layer: nn.Linear | nn.Conv2d) -> tuple[np.ndarray, np.ndarray]:
    assert layer.bias is not None
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def test_a_dense_layer_is_f_of_xw_plus_b() -> None:
    net, x = net_of("mlp"), pictures()
    y = x.numpy().reshape(4, -1)
    dense = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    assert len(dense) == 3
    for layer in dense:
        w, b = parts(layer)
        y = y @ w.T + b
        y = y if layer is net.head else relu(y)
    assert net(x).detach().numpy() == pytest.approx(y, abs=1e-12)


def test_logistic_is_xw_plus_b() -> None:
    net, x = net_of("logistic"), pictures()
    assert net.head is not None
    w, b = parts(net.head)
    assert net(x).detach().numpy() == pytest.approx(x.numpy().reshape(4, -1) @ w.T + b, abs=1e-12)


def test_a_convolution_is_its_sliding_windows_and_cnn_is_what_it_says() -> None:
    net, x = net_of("cnn", width=0.125), pictures().numpy()
    layer = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    w, b = parts(layer)
    assert w.shape == (4, 2, 3, 3)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))  # (N, C, 4, 4, 3, 3)
    seen = np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]
    assert layer(torch.from_numpy(x)).detach().numpy() == pytest.approx(seen, abs=1e-12)
    pooled = relu(seen).reshape(4, 4, 2, 2, 2, 2).max(axis=(3, 5))
    assert net.head is not None
    dense, bias = parts(net.head)
    assert net(torch.from_numpy(x)).detach().numpy() == pytest.approx(pooled.reshape(4, -1) @ dense.T + bias, abs=1e-12)


def test_one_sgd_step_is_minus_alpha_delta_x() -> None:
    """Δw = −α δ xᵀ, δ by the chain rule: at the logits p − y, at a hidden layer (Wᵀδ) ⊙ f'(xW + b)."""
    alpha, net, x = 0.1, net_of("mlp"), pictures(1)
    target = 2
    dense = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    before = [parts(layer) for layer in dense]
    before = [(w.copy(), b.copy()) for w, b in before]
    inputs, z = [x.numpy().reshape(-1)], []
    for w, b in before:
        z.append(w @ inputs[-1] + b)
        inputs.append(relu(z[-1]))
    p = np.exp(z[-1] - z[-1].max())
    delta = p / p.sum() - np.eye(3)[target]
    deltas = [delta]
    for i in (2, 1):
        delta = (before[i][0].T @ delta) * (z[i - 1] > 0)
        deltas.insert(0, delta)
    optimiser = torch.optim.SGD(net.parameters(), lr=alpha)
    nn.functional.cross_entropy(net(x), torch.tensor([target])).backward()
    optimiser.step()
    for layer, (w, b), d, into in zip(dense, before, deltas, inputs, strict=False):
        after_w, after_b = parts(layer)
        assert after_w - w == pytest.approx(-alpha * np.outer(d, into), abs=1e-12)
        assert after_b - b == pytest.approx(-alpha * d, abs=1e-12)
        assert np.abs(after_w - w).max() > 0


@pytest.mark.parametrize(("name", "width"), [("mlp", 0.02), ("cnn", 0.1)])
def test_finite_differences_agree_with_backpropagation(name: str, width: float) -> None:
    net, x = net_of(name, width=width), pictures()
    y = torch.tensor([0, 1, 2, 1])

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(net(x), y)

    loss().backward()
    assert head(net) is not None
    h = 1e-6
    for parameter in net.parameters():
        assert parameter.grad is not None
        flat, slope = parameter.data.view(-1), parameter.grad.view(-1)
        picks = torch.randperm(len(flat), generator=torch.Generator().manual_seed(0))[:25].tolist()
        for i in picks:
            old = float(flat[i])
            with torch.no_grad():
                flat[i] = old + h
                up = float(loss())
                flat[i] = old - h
                down = float(loss())
                flat[i] = old
            assert (up - down) / (2 * h) == pytest.approx(float(slope[i]), abs=1e-6)
