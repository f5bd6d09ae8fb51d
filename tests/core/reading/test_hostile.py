"""Hostile and unusable files, each through the child process: refused in one sentence, cheaply, and nothing in them runs."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from landscape_core.reading import read_canonical

from . import hostile
from .assembler import pickled, table
from .torch_files import unsupported

pytestmark = pytest.mark.timeout(900)  # the first test waits until all files have been inspected
MOST_MEMORY = 300_000_000

EXPECTED = {
    "01-empty": "The file is empty",
    "02-gzip": "gzip",
    "02-html": "web page",
    "02-lfs": "git lfs pull",
    "02-random": "not a checkpoint",
    "02-text": "but text",
    "03-empty-zip": "holds no data.pkl",
    "03-no-data.pkl": "no data.pkl",
    "03-only-inside": "unpack it and upload weights/model.pt",
    "08-bytearray": "no tensors",
    "09-FloatTensor": "no tensors",
    "09-FloatTensor-huge": "no tensors",
    "10-legacy-no-keys": "list of storages",
    "11-legacy-numel": "declared size",
    "11-legacy-other-length": "declared size",
    "11-legacy-view-outside": "outside its storage",
    "12-no-record": "declared size",
    "12-numel-lie": "declared size",
    "12-tensor-too-big": "4 stored numbers as 5",
    "13-expand": "expanded view",
    "14-empty-but-huge": "too large",
    "14-negative-offset": "offset",
    "14-negative-stride": "stride",
    "14-overflow": "too large",
    "14-ranks-differ": "2 dimensions but 1 strides",
    "14-stride-outside": "outside its storage",
    "15-sparse": "sparse tensors are not supported; save its .to_dense()",
    "15-sparse-csr": "sparse tensors are not supported",
    "15-sparse-outside": "sparse tensors are not supported",
    "16-complex": "complex tensors are not supported",
    "16-meta": "without data (device meta)",
    "16-negated": "negated",
    "16-nested": "nested tensors are not supported",
    "16-quantized": "quantized tensors are not supported",
    "16-sparse-legacy": "sparse tensors are not supported",
    "16-unknown-storage": "unknown type ('Strange')",
    "17-deflate-bomb": "would unpack",
    "17-deflate-lie": "CRC",
    "17-deflate-short": "shorter than declared",
    "18-overlap": "overlap",
    "19-climbing": "points out of its folder",
    "19-duplicate": "is there twice",
    "19-encrypted": "is encrypted, and no password is asked for here: pack it again without a password",
    "19-many-entries": "at most 60,000 are read",
    "19-many-entries-denied": "100,000 entries",
    "21-cycle": "no tensors",
    "21-dag": "no tensors",
    "21-dag-of-tensors": "33,554,432 tensors",
    "21-nested": "too large",
    "21-nested-dicts": "nested more than",
    "21-shared-hidden-buffers": "steps to look through",
    "21-shared-state": "steps to look through",
    "22-colliding-keys": "no tensors",
    "22-colliding-memos": "remembers an object under a number",
    "22-colliding-tuples": "no tensors",
    "22-negative-memo": "remembers an object under a number",
    "23-BINBYTES8": "cut short, or its pickle is too long",
    "23-BYTEARRAY8": "not a checkpoint of PyTorch",
    "23-BYTEARRAY8-legacy": "operation (0x96) that PyTorch never writes",
    "23-BYTEARRAY8-zip": "operation (0x96) that PyTorch never writes",
    "23-LONG4": "an integer of 2,147,483,647 bytes",
    "23-LONG_BINPUT": "remembers an object under a number",
    "24-copies-of-dict": "again and again",
    "24-copies-of-names": "again and again",
    "24-copies-of-set": "again and again",
    "24-copies-of-size": "again and again",
    "24-copies-of-tensor": "again and again",
    "24-copies-of-text": "again and again",
    "24-integer-text": "a line longer",
    "24-many-dicts": "takes too much memory",
    "24-many-holders": "over 50,000 tensors",
    "24-many-integers": "no tensors",
    "24-many-marks": "too many marks",
    "24-many-memos": "remembers too many objects",
    "24-many-numbers-named": "no tensors",
    "24-many-sets": "over 500,000 lists, dicts and objects",
    "24-many-strings": "takes too much memory",
    "24-many-strings-astral": "takes too much memory",
    "24-persistent-id": "refers to data in an unknown way",
    "24-tar-extended-header": "header that is far too long",
    "24-tar-global-header": "header that is far too long",
    "24-tar-long-name": "header that is far too long",
    "24-views-of-one": "look at the same numbers",
    "26-10MB-of-keys": "far more than the places of its tensors",
    "26-10MB-of-lists": "far more than the places of its tensors",
    "26-10MB-of-metadata": "far more than the places of its tensors",
    "26-10MB-of-numbers": "not dtype, shape and data_offsets",
    "26-10MB-of-tables": "3,490,002 tables",
    "26-10MB-of-texts": "far more than the places of its tensors",
    "26-60MB-header": "are read",
    "26-bad-utf8": "no proper JSON",
    "26-deep-json": "no proper JSON",
    "26-duplicate-keys": "no proper JSON",
    "26-empty-1e18": "too large",
    "26-empty-2^62": "too large",
    "26-extra-field": "not dtype, shape and data_offsets",
    "26-float": "no proper shape or offsets",
    "26-hole": "overlap or leave holes",
    "26-length-2^63": "not a checkpoint of PyTorch",
    "26-length-beyond-file": "cut short",
    "26-length-over-limit": "header has 11,534,338 bytes",
    "26-list": "not dtype, shape and data_offsets",
    "26-many-tensors": "120,001 tables; at most 50,000 tensors are read",
    "26-metadata-1001": "1,001 texts of metadata; at most 1,000 are read",
    "26-name-10KB": "empty or too long",
    "26-negative": "no proper shape or offsets",
    "26-nested-metadata": "metadata are no texts",
    "26-no-json": "no proper JSON",
    "26-no-tensors": "no tensors",
    "26-offsets-reversed": "not that of its data",
    "26-offsets-three": "no proper shape or offsets",
    "26-overflow": "too large",
    "26-overlap": "overlap",
    "26-partial-overlap": "overlap or leave holes",
    "26-past-end": "cut short",
    "26-shape-mismatch": "not that of its data",
    "26-trailing": "bytes follow its last tensor",
    "26-unknown-dtype": "element type 'F13'",
    "27-long-name": "too long",
    "27-long-path": "empty or too long",
    "27-one-name-twice": "have the name 'a.b'",
    "27-reserved-name": "'__metadata__', which is reserved",
    "27-reserved-name-below": "'__metadata__', which is reserved",
    "29-pt2": "This exported program (.pt2) holds no weights that can be read without running it: on your own machine, and only if",
    "30-package": "torch.package",
    "30-torchscript": "on your own machine, and only if you trust whoever made it (loading it runs it), export the state_dict",
    "30-torchscript-real": "(loading it runs it), export the state_dict with `torch.save(torch.jit.load",
} | dict.fromkeys(["06-os.system-legacy", *hostile.code_runs(Path("canary"))], "no tensors")
"""A part of the sentence that each is refused with."""


NAMES = sorted({**hostile.makers(Path("canary")), **unsupported()})


@pytest.mark.parametrize("name", NAMES)
def test_it_is_refused_with_one_sentence(name, outcomes, canary):
    outcome = outcomes[name]
    assert outcome.error == ("SeveralFiles" if name == "03-only-inside" else "CheckpointRejected"), outcome.report
    assert "Traceback" not in outcome.text
    assert "\n" not in outcome.text
    assert outcome.text.endswith(".")
    assert 20 < len(outcome.text) < 400, outcome.text
    assert EXPECTED[name] in outcome.text
    assert not outcome.canonical.exists()
    assert not canary.exists()


@pytest.mark.parametrize("name", NAMES)
def test_it_costs_little(name, outcomes):
    assert outcomes[name].peak < MOST_MEMORY


def test_no_refusal_is_a_way_out_for_faults_of_the_reader(outcomes):
    """Each is refused by a rule, not because the child fell over."""
    fell_over = re.compile(r"not foreseen|makes the reader fail|contradicts itself|far longer|gave no result")
    assert {name: o.text for name, o in outcomes.items() if fell_over.search(o.text)} == {}


def test_temporary_files_are_gone(outcomes):
    folder = next(iter(outcomes.values())).canonical.parent
    assert [path.name for path in folder.iterdir() if path.name.startswith(".inspect-")] == []


def test_the_payload_is_a_real_one(tmp_path):
    """What is refused above does touch the canary in a program that trusts it."""
    canary = tmp_path / "touched"
    pickle.loads(pickled(table(w=hostile.code_runs(canary)["06-os.system"])))
    assert canary.exists()


@pytest.mark.parametrize("name", sorted(hostile.honest_files()))
def test_what_only_looks_odd_is_read(name, outcomes):
    outcome = outcomes[name]
    assert outcome.report is not None, outcome.text
    tensors = read_canonical(outcome.canonical)
    assert next(iter(tensors)) == "w"
    assert np.array_equal(tensors["w"], np.array([1, 2, 3, 4], np.float32))
    assert outcome.canonical.stat().st_mode & 0o777 == 0o600
    assert outcome.peak < MOST_MEMORY
