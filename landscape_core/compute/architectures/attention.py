"""Multi-head self-attention (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def attended(joint: Float[Tensor, "n tokens joint"], heads: int, *, causal: bool) -> Float[Tensor, "n tokens width"]:
    """softmax(Q Kᵀ / √d) V in each head, the heads side by side.

    Args:
        joint: Queries, keys and values side by side, each of the width of a token.
        heads: How many; d is the width divided by it.
        causal: Whether a token sees only itself and those before it.
    """
    n, tokens, width = joint.shape[0], joint.shape[1], joint.shape[2] // 3
    q, k, v = joint.view(n, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    seen = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return seen.transpose(1, 2).reshape(n, tokens, width)
