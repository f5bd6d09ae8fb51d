"""Every kind of checkpoint that people have, read bit for bit; and through the canonical form and back."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors

from landscape_core.errors import CheckpointRejected
from landscape_core.reading import checkpoint_report, read_canonical, read_checkpoint, write_canonical

from .torch_files import legitimate, network, saved

KINDS = legitimate()
SHORT = {torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}


def expected(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype in SHORT else tensor).contiguous().numpy()


def assert_same(found: dict[str, np.ndarray], tensors: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        wanted = expected(tensor)
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        if tensor.dtype in SHORT:  # of a NaN, the bits beyond those that were stored are anybody's
            hidden = np.isnan(wanted)
            assert np.array_equal(np.isnan(found[name]), hidden)
            assert found[name][~hidden].tobytes() == wanted[~hidden].tobytes()
        else:
            assert found[name].tobytes() == wanted.tobytes(), name


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_bit_for_bit(kind, tmp_path):
    data, tensors, container, prefix = KINDS[kind]
    path = tmp_path / "file.pt"
    path.write_bytes(data)
    contents = read_checkpoint(path)
    assert_same(contents.tensors, tensors)
    assert contents.dtypes == {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    assert (contents.container, contents.prefix) == (container, prefix)


@pytest.mark.parametrize("kind", KINDS)
def test_the_canonical_form_keeps_numbers_and_order(kind, tmp_path):
    (tmp_path / "file.pt").write_bytes(KINDS[kind][0])
    contents = read_checkpoint(tmp_path / "file.pt")
    write_canonical(contents, tmp_path / "canonical")
    assert (tmp_path / "canonical").stat().st_mode & 0o777 == 0o600
    back = read_canonical(tmp_path / "canonical")
    assert list(back) == list(contents.tensors)
    assert all(back[n].tobytes() == a.tobytes() and back[n].dtype == a.dtype for n, a in contents.tensors.items())
    assert torch.from_numpy(back[next(iter(back))]) is not None


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in {"parameters", "tied"} and "uint" not in k])
def test_safetensors_is_read_bit_for_bit(kind, tmp_path):
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in KINDS[kind][1].items()}
    (tmp_path / "file.safetensors").write_bytes(save_safetensors(tensors, {"format": "pt"}))
    contents = read_checkpoint(tmp_path / "file.safetensors")
    assert (contents.format, contents.metadata) == ("safetensors", {"format": "pt"})
    assert_same(
        dict(sorted(contents.tensors.items())), dict(sorted((n.removeprefix(contents.prefix), t) for n, t in tensors.items()))
    )


def test_the_tar_of_our_making_is_one_that_torch_reads(tmp_path):
    """So that what the tar reader is tested with is not just what it expects."""
    data, tensors, *_ = KINDS["tar of 0.1"]
    (tmp_path / "file.tar").write_bytes(data)
    loaded = torch.load(tmp_path / "file.tar", weights_only=False)
    assert_same({name: value.numpy() for name, value in loaded.items()}, tensors)


def test_what_is_beside_the_network_is_counted_and_small_scalars_are_kept(tmp_path):
    state = network().state_dict()
    thing = {
        "state_dict": state,
        "acc": 93.66,
        "epoch": 300,
        "best_prec1": torch.tensor(91.5),
        "np": np.float32(0.5),
        "done": True,
        "arch": "resnet\x1b[31m",
        "nan": float("nan"),
        "huge": 10**30,
        "ema": {"shadow": [torch.ones(3), torch.ones(2)]},
    }
    (tmp_path / "f").write_bytes(saved(thing))
    contents = read_checkpoint(tmp_path / "f")
    assert contents.other == 3
    assert contents.metadata == {
        "acc": 93.66,
        "epoch": 300,
        "np": 0.5,
        "done": True,
        "arch": "resnet\\x1b[31m",
        "best_prec1": 91.5,
    }
    assert contents.parameters == sum(p.numel() for p in network().parameters())


def test_names_show_every_character(tmp_path):
    names = ["<script>alert(1)</script>", "a\u202eb", "n\x00l", "../../etc/passwd", "lone\ud800"]
    (tmp_path / "f").write_bytes(saved({name: torch.ones(1) for name in names[:4]}))
    assert list(read_checkpoint(tmp_path / "f").tensors) == [names[0], "a\\u202eb", "n\\x00l", names[3]]


def test_numbers_that_are_not_finite_are_counted(tmp_path):
    tensors = {"a": torch.tensor([1.0, float("nan"), float("inf")]), "b": torch.full((2,), float("nan"))}
    (tmp_path / "f").write_bytes(saved(tensors))
    (warning,) = read_checkpoint(tmp_path / "f").warnings
    assert "4 numbers are not finite" in warning
    assert "a (2), b (2)" in warning


def test_big_endian_files_are_read(tmp_path):
    from .assembler import legacy, run_of, storage, table, tensor, zipped

    numbers = np.array([1, 2, 3, 4], ">f4").tobytes()
    (tmp_path / "zip").write_bytes(zipped(table(w=tensor(storage("0", 4))), {"data/0": numbers, "byteorder": b"big"}))
    whole = legacy(table(w=tensor(storage("0", 4, view=b"N"))), ["0"], run_of(numbers))
    little, big = b"little_endian\x88", b"little_endian\x89"
    (tmp_path / "legacy").write_bytes(whole.replace(little, big))
    for name in ("zip", "legacy"):
        assert read_checkpoint(tmp_path / name).tensors["w"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("kind", "filename", "says"),
    [("plain", "a.pt", False), ("plain", "a.pth.tar", False), ("plain", "a.safetensors", True), ("plain", "a", False)],
)
def test_content_decides_and_a_wrong_name_is_said(kind, filename, says, tmp_path):
    (tmp_path / "f").write_bytes(KINDS[kind][0])
    report = checkpoint_report(read_checkpoint(tmp_path / "f"), filename)
    assert any("the content is of the form 'torch zip'" in warning for warning in report.warnings) == says
    assert {candidate.architecture.name for candidate in report.candidates} == {"convnet"}
    assert list(json.loads(report.model_dump_json())["shapes"]) == list(KINDS[kind][1])


def test_a_damaged_canonical_form_is_said(tmp_path):
    (tmp_path / "f").write_bytes(KINDS["plain"][0])
    write_canonical(read_checkpoint(tmp_path / "f"), tmp_path / "c")
    (tmp_path / "c").write_bytes((tmp_path / "c").read_bytes()[:-4])
    with pytest.raises(CheckpointRejected, match="stored checkpoint is damaged"):
        read_canonical(tmp_path / "c")
    (tmp_path / "c").write_bytes(save_safetensors({"a": torch.ones(1)}))
    with pytest.raises(CheckpointRejected, match="order is lost"):
        read_canonical(tmp_path / "c")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(CheckpointRejected, match="No such file"):
        read_checkpoint(tmp_path / "nowhere.pt")


def test_whole_scripted_modules_stay_programs(tmp_path):
    buffer = io.BytesIO()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    (tmp_path / "f").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointRejected, match="TorchScript is a program"):
        read_checkpoint(tmp_path / "f")
