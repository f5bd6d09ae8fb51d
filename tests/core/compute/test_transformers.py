"""Language models and vision transformers: read off their files, held against a plain implementation and against transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from landscape_core.catalogue import explain_no_match, fit, macs_per_example, match
from landscape_core.compute import build, compute_surface, load
from landscape_core.compute.directions import directions_for
from landscape_core.errors import InvalidRequest
from landscape_core.reading import read_checkpoint
from landscape_core.requests import ArchitectureSpec

from . import plain_transformers as plain
from .requested import axis, surface_request
from .test_tokens import sequences
from .transformer_files import Arrays, gpt_file, vit_file


def shapes_of(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def wide(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array).double() for name, array in arrays.items()}


GPTS = {
    "nanoGPT": ({"head": "tied"}, "gpt:heads=3", False, plain.gelu),
    "without biases": ({"head": "tied", "biases": False, "inner": 20}, "gpt:heads=4", False, plain.gelu),
    "GPT-2": ({"swapped": True}, "gpt:heads=3", True, plain.gelu_tanh),
    "the bare GPT-2": ({"swapped": True, "prefix": ""}, "gpt:heads=2", True, plain.gelu_tanh),
    "GPT-2 with a head": ({"swapped": True, "head": "own", "inner": 12}, "gpt:heads=3,head=own", True, plain.gelu_tanh),
    "exact": ({"swapped": True}, "gpt:gelu=exact,heads=1", True, plain.gelu),
    "by tanh": ({"width": 64, "blocks": 1}, "gpt:gelu=tanh", False, plain.gelu_tanh),
}


@pytest.mark.parametrize("kind", GPTS)
def test_a_language_model_gives_the_logits_of_a_plain_implementation(kind, tmp_path):
    """Written to safetensors, read by our reader, recognised, loaded; float64 from there on."""
    how, text, swapped, activation = GPTS[kind]
    save_file(gpt_file(**how), tmp_path / "model.safetensors")
    read, spec = read_checkpoint(tmp_path / "model.safetensors").tensors, ArchitectureSpec.parse(text)
    found = match(shapes_of(read))
    assert {c.architecture.name for c in found} == {"gpt"}
    assert (found[0].input_shape, found[0].classes, found[0].takes_tokens) == ((9,), 23, True)
    module = load(spec, read)
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, 23, (2, 7)))
    heads = int(spec.options.get("heads", 1))
    expected = plain.gpt(wide(read), ids, heads, swapped=swapped, activation=activation)
    with torch.inference_mode():
        got = module.double()(ids)
    assert got.shape == (2, 7, 23)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("torchvision", [False, True], ids=["timm", "torchvision"])
@pytest.mark.parametrize("biases", [True, False])
def test_a_vision_transformer_gives_the_logits_of_a_plain_implementation(torchvision, biases, tmp_path):
    arrays = vit_file(torchvision=torchvision, biases=biases)
    torch.save({"state_dict": {name: torch.from_numpy(array) for name, array in arrays.items()}}, tmp_path / "net.pt")
    read = read_checkpoint(tmp_path / "net.pt").tensors
    found = match(shapes_of(read))
    assert {c.architecture.name for c in found} == {"vit"}
    assert (found[0].input_shape, found[0].classes, found[0].takes_tokens) == ((2, 12, 12), 7, False)
    assert "torchvision's ViT" in found[0].note or not torchvision
    module = load(ArchitectureSpec.parse("vit:heads=3"), read)
    own = [found[0].renames.get(name, name) for name, _ in module.named_parameters()]
    assert own == list(arrays)  # the order that direction files have
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 2, 12, 12)))
    expected = plain.vit(wide(read), x, 3, plain.TORCHVISION if torchvision else plain.TIMM)
    with torch.inference_mode():
        got = module.double()(x)
    assert got.shape == (3, 7)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_gives_the_logits_of_transformers(tied):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = transformers.GPT2Config(
        vocab_size=41, n_positions=16, n_embd=128, n_layer=2, tie_word_embeddings=tied, n_head=2, **ends
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    ids = torch.randint(0, 41, (3, 16))
    with torch.inference_mode():
        expected = model(ids).logits
        got = load(ArchitectureSpec.parse("gpt" if tied else "gpt:head=own"), arrays)(ids)
    assert expected.std() > 0.5
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    if not tied:
        with pytest.raises(
            InvalidRequest, match=r"lm_head.weight and transformer.wte.weight are one matrix in gpt, but differ"
        ):
            load(ArchitectureSpec(name="gpt"), arrays)


def test_a_filter_is_a_neuron_whichever_way_the_file_has_its_matrices():
    """The same network in both layouts has the same random directions, each row as long as the network's own, and one surface."""
    ours, theirs = gpt_file(head="tied"), gpt_file(swapped=True)
    text = "gpt:gelu=exact,heads=3"
    request = surface_request(text, axis(2, 0.5), axis(2, 0.5))
    modules = [load(request.architecture, arrays) for arrays in (ours, theirs)]
    (first, _), (second, _) = (directions_for(request, module) for module in modules)
    names = [name for name, _ in modules[0].named_parameters()]
    for name, a, b, w in zip(names, first, second, modules[0].parameters(), strict=True):
        assert torch.equal(a, b)
        expected = torch.linalg.vector_norm(w, dim=1) if w.dim() == 2 else torch.zeros(())
        torch.testing.assert_close(torch.linalg.vector_norm(a, dim=1) if w.dim() == 2 else a.norm(), expected, msg=name)
    assert len(modules[1].transformer["h"][0].mlp.c_fc.weight) == 48
    surfaces = [compute_surface(request, arrays, sequences()) for arrays in (ours, theirs)]
    np.testing.assert_array_equal(surfaces[0].loss, surfaces[1].loss)


def test_masks_that_old_files_hold_are_left_out():
    arrays = gpt_file(swapped=True)
    masked = {
        **arrays,
        "transformer.h.0.attn.bias": np.ones((1, 1, 9, 9), bool),
        "transformer.h.1.attn.masked_bias": np.array(0),
    }
    assert match(shapes_of(masked))[0].architecture == match(shapes_of(arrays))[0].architecture
    ids = torch.arange(5)[None]
    spec = ArchitectureSpec.parse("gpt:heads=2")
    assert torch.equal(load(spec, masked)(ids), load(spec, arrays)(ids))


def test_the_number_of_heads_is_the_usual_one_or_offered():
    assert [str(c.architecture) for c in match(shapes_of(gpt_file(128)))] == [
        *("gpt", "gpt:heads=1", "gpt:heads=4", "gpt:heads=8", "gpt:heads=16", "gpt:heads=32"),
    ]
    found = match(shapes_of(gpt_file(48, head="tied")))
    assert [str(c.architecture) for c in found][:3] == ["gpt:heads=1", "gpt:heads=2", "gpt:heads=3"]
    assert str(found[-1].architecture) == "gpt:head=own,heads=1"
    assert "does not say the number of heads: 1 assumed. The right number shows the loss you know" in found[0].note
    with pytest.raises(
        InvalidRequest, match=r"because the width 48 is no multiple of 64; give the option heads: one of 1, 2, 3"
    ):
        fit(ArchitectureSpec(name="gpt"), shapes_of(gpt_file(48)))
    with pytest.raises(InvalidRequest, match=r"because 5 does not divide the width 12"):
        fit(ArchitectureSpec.parse("vit:heads=5"), shapes_of(vit_file()))


@pytest.mark.parametrize("arrays", [gpt_file(64), gpt_file(64, swapped=True, prefix=""), vit_file(64)])
def test_a_file_with_a_tensor_missing_or_more_or_empty_is_explained(arrays):
    shapes = shapes_of(arrays)
    (name,) = {c.architecture.name for c in match(shapes)}
    missing = [key for key in shapes if key.endswith("bias")][3]
    damaged = {key: shape for key, shape in shapes.items() if key != missing} | {"extra.weight": (2, 2)}
    assert match(damaged) == ()
    text = explain_no_match(damaged)
    assert f"the nearest is {name}, with {len(shapes) - 1} of {len(shapes)} tensors in common: the file lacks {missing}" in text
    assert "it has extra.weight" in text
    with pytest.raises(InvalidRequest, match=f"does not fit {name}: the file lacks {missing}"):
        fit(ArchitectureSpec(name=name), damaged)
    with pytest.raises(InvalidRequest, match=f"does not fit {name}: it has a.weight, but not the tensors that tell"):
        fit(ArchitectureSpec(name=name), {"a.weight": (2, 2)})
    first = next(iter(shapes))
    assert match({**shapes, first: (0, *shapes[first][1:])}) == ()


@pytest.mark.parametrize(("arrays", "text"), [(gpt_file(12), "gpt:heads=3"), (vit_file(12), "vit:heads=3")])
def test_multiply_accumulates_are_those_of_the_layers_and_of_attention(arrays, text):
    spec, shapes, counted = ArchitectureSpec.parse(text), shapes_of(arrays), []
    with torch.device("meta"):
        module = build(spec, shapes)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, _, out: counted.append(out.numel() * layer.weight[0].numel()))
    tokens = 7 if spec.name == "gpt" else 17
    example = (7,) if spec.name == "gpt" else (2, 12, 12)
    kind = torch.int64 if spec.name == "gpt" else torch.float32
    module(torch.zeros(1, *example, dtype=kind, device="meta"))
    products = 2 * 2 * tokens**2 * 12 + (tokens * 23 * 12 if spec.name == "gpt" else 0)  # two blocks; the tied head
    assert macs_per_example(spec, shapes, example) == sum(counted) + products
