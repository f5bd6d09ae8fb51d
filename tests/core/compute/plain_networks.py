"""The catalogued networks a second time: plain functions of (tensors by their names, images), one for each kind of network.

Nothing of the product is used here, so that a test can hold its modules against these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

Tensors = Mapping[str, Tensor]


def normalised(t: Tensors, name: str, x: Tensor) -> Tensor:
    """Batch norm in evaluation."""
    view = (1, -1, *[1] * (x.dim() - 2))
    mean, var, scale, shift = (t[f"{name}.{p}"].view(view) for p in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift


def convolved(t: Tensors, name: str, x: Tensor, stride: int = 1) -> Tensor:
    """A convolution padded so that height and width stay, up to the stride."""
    kernel = t[f"{name}.weight"]
    return functional.conv2d(x, kernel, t.get(f"{name}.bias"), stride=stride, padding=kernel.shape[-1] // 2)


def pooled_classes(t: Tensors, name: str, x: Tensor) -> Tensor:
    """The mean over all places, and the last affine layer."""
    return x.mean(dim=(2, 3)) @ t[f"{name}.weight"].T + t[f"{name}.bias"]


def resnet(t: Tensors, x: Tensor, *, shortcut: str | None) -> Tensor:
    """Three or four stages, of blocks of two convolutions or of bottlenecks, as the names say; shortcut conv, A or None."""
    x = normalised(t, "bn1", convolved(t, "conv1", x)).relu()
    stage = 1
    while f"layer{stage}.0.conv1.weight" in t:
        index = 0
        while f"layer{stage}.{index}.conv1.weight" in t:
            stride = 2 if stage > 1 and index == 0 else 1
            x = resnet_block(t, f"layer{stage}.{index}", x, stride, shortcut)
            index += 1
        stage += 1
    return pooled_classes(t, "linear", x)


def resnet_block(t: Tensors, block: str, x: Tensor, stride: int, shortcut: str | None) -> Tensor:
    if f"{block}.conv3.weight" in t:
        out = normalised(t, f"{block}.bn1", convolved(t, f"{block}.conv1", x)).relu()
        out = normalised(t, f"{block}.bn2", convolved(t, f"{block}.conv2", out, stride)).relu()
        out = normalised(t, f"{block}.bn3", convolved(t, f"{block}.conv3", out))
        if shortcut is None:
            return out  # the original's bottleneck without shortcut ends without an activation
    else:
        out = normalised(t, f"{block}.bn1", convolved(t, f"{block}.conv1", x, stride)).relu()
        out = normalised(t, f"{block}.bn2", convolved(t, f"{block}.conv2", out))
    if shortcut is None:
        return out.relu()
    if f"{block}.shortcut.0.weight" in t:
        x = normalised(t, f"{block}.shortcut.1", convolved(t, f"{block}.shortcut.0", x, stride))
    elif out.shape != x.shape:
        wide = torch.zeros_like(out)
        quarter = (out.shape[1] - x.shape[1]) // 2
        wide[:, quarter : quarter + x.shape[1]] = x[:, :, ::2, ::2]
        x = wide
    return (out + x).relu()


def vgg9(t: Tensors, x: Tensor) -> Tensor:
    for stage in ((0, 3), (7, 10), (14, 17, 20)):
        for index in stage:
            x = normalised(t, f"features.{index + 1}", convolved(t, f"features.{index}", x)).relu()
        padded = functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=-torch.inf)
        x = torch.stack([padded[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(dim=0)
    x = x.reshape(len(x), -1) @ t["fc.0.weight"].T + t["fc.0.bias"]
    return normalised(t, "fc.1", x).relu() @ t["classifier.weight"].T + t["classifier.bias"]


def densenet(t: Tensors, x: Tensor) -> Tensor:
    x = convolved(t, "conv1", x)
    for stage in range(1, 5):
        index = 0
        while f"dense{stage}.{index}.conv1.weight" in t:
            name = f"dense{stage}.{index}"
            new = convolved(t, f"{name}.conv1", normalised(t, f"{name}.bn1", x).relu())
            x = torch.cat([convolved(t, f"{name}.conv2", normalised(t, f"{name}.bn2", new).relu()), x], dim=1)
            index += 1
        if stage < 4:
            x = convolved(t, f"trans{stage}.conv", normalised(t, f"trans{stage}.bn", x).relu())
            rows, columns = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
            x = torch.stack([x[:, :, i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)]).mean(dim=0)
    return pooled_classes(t, "linear", normalised(t, "bn", x).relu())


def uva_resnet(t: Tensors, x: Tensor, activation: Callable[[Tensor], Tensor] = torch.relu) -> Tensor:
    x, index = activation(normalised(t, "input_net.1", convolved(t, "input_net.0", x))), 0
    while (block := f"blocks.{index}") and f"{block}.net.0.weight" in t:
        halves = f"{block}.downsample.weight" in t
        out = activation(normalised(t, f"{block}.net.1", convolved(t, f"{block}.net.0", x, 2 if halves else 1)))
        out = normalised(t, f"{block}.net.4", convolved(t, f"{block}.net.3", out))
        x = activation(out + (convolved(t, f"{block}.downsample", x, 2) if halves else x))
        index += 1
    return pooled_classes(t, "output_net.2", x)


def uva_preact_resnet(t: Tensors, x: Tensor, activation: Callable[[Tensor], Tensor] = torch.relu) -> Tensor:
    x, index = convolved(t, "input_net.0", x), 0
    while (block := f"blocks.{index}") and f"{block}.net.0.weight" in t:
        halves = f"{block}.downsample.2.weight" in t
        out = convolved(t, f"{block}.net.2", activation(normalised(t, f"{block}.net.0", x)), 2 if halves else 1)
        out = convolved(t, f"{block}.net.5", activation(normalised(t, f"{block}.net.3", out)))
        if halves:
            x = convolved(t, f"{block}.downsample.2", activation(normalised(t, f"{block}.downsample.0", x)), 2)
        x, index = out + x, index + 1
    return pooled_classes(t, "output_net.2", x)
