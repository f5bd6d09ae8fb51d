"""Max pooling of few channels gives PyTorch's values, of whatever numbers, sizes and layouts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from landscape_core.compute.architectures.pooling import FEW_CHANNELS, max_pool

ODD = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e38])


@given(
    st.integers(0, 2**31),
    st.sampled_from([torch.channels_last, torch.contiguous_format]),
    st.sampled_from([torch.float32, torch.float64]),
    st.tuples(
        *[st.integers(1, 3), st.sampled_from([1, 3, FEW_CHANNELS - 1, FEW_CHANNELS]), st.integers(5, 16), st.integers(5, 16)]
    ),
    st.integers(1, 5),
    st.sampled_from([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (1, 2), (3, 2)]),
)
def test_the_values_are_those_of_pytorch(seed, layout, dtype, shape, stride, size):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    odd = torch.rand(shape, generator=generator) < 0.05
    x[odd] = ODD.to(dtype)[torch.randint(len(ODD), (int(odd.sum()),), generator=generator)]
    x = x.contiguous(memory_format=layout)
    with torch.inference_mode():
        found, expected = max_pool(x, size, stride), functional.max_pool2d(x, size, stride)
    assert found.dtype == dtype
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(0.5), expected.nan_to_num(0.5))


def test_where_derivatives_are_asked_for_one_of_equal_numbers_has_all_of_it():
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    max_pool(x, (2, 2), 2).sum().backward()
    assert x.grad is not None
    assert sorted(x.grad.flatten().tolist()) == [0.0, 0.0, 0.0, 1.0]


def test_a_window_larger_than_the_image_is_refused_as_pytorch_does():
    with torch.inference_mode(), pytest.raises(RuntimeError, match="too small"):
        max_pool(torch.zeros(1, 1, 2, 2), (3, 3), 3)
