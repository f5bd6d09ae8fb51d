"""A language model and its tokens through the server: uploads, what suits what, the surface, its perplexity, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from app.pages.new_surface import choices
from landscape_core.requests import SurfaceRequest
from landscape_core.results import TOKENS
from tests.app.test_flow import data_file
from tests.core.compute.transformer_files import gpt_file

WIDTH, VOCABULARY, CONTEXT = 8, 11, 6


def gpt_bytes() -> bytes:
    """One block of nanoGPT's form with random weights, and a head that shares the embedding."""
    return save(gpt_file(WIDTH, blocks=1, vocabulary=VOCABULARY, context=CONTEXT, inner=16, biases=False, head="tied"))


def rows(count: int = 70, tokens: int = CONTEXT, most: int = VOCABULARY) -> np.ndarray:
    return np.random.default_rng(1).integers(0, most, (count, tokens)).astype(np.uint16)


@pytest.mark.slow
def test_a_language_model_from_uploads_to_its_perplexity(working_site, request_for):
    site = working_site
    checkpoint = site.upload(gpt_bytes(), name="mini.safetensors")
    text = site.upload(data_file(x=rows()), "datasets", "text.npz")
    info = site.http.get(f"/datasets/{text}").json()
    assert (info["holds_tokens"], info["shape"], info["splits"], info["classes"]) == (True, [5], {"train": 70}, VOCABULARY)
    found = site.http.get(f"/checkpoints/{checkpoint}").json()["candidates"]
    assert [candidate["text"] for candidate in found][:2] == ["gpt:heads=1", "gpt:heads=2"]
    assert (found[0]["takes_tokens"], found[0]["input_shape"], found[0]["classes"]) == (True, [CONTEXT], VOCABULARY)
    suited = choices.suggested_dataset(site.services.checkpoint(checkpoint).candidates, site.services.datasets())
    assert suited == text
    body = request_for(
        checkpoint, 5, None, architecture={"name": "gpt", "options": {"heads": 2}},
        data={"dataset": text, "examples": None, "preprocessing": "none"},
    )  # fmt: skip
    cost = site.http.post("/surfaces/estimate", json=body).json()
    macs = 5 * (4 * WIDTH**2 + 2 * WIDTH * 16) + 2 * 5**2 * WIDTH + 5 * WIDTH * VOCABULARY
    assert cost["macs"] == 25 * 70 * macs
    surface = site.compute(body)
    from landscape_core.compute import Examples, compute_surface

    whole = site.services.surface_result(surface)
    request, ids = (
        SurfaceRequest.model_validate(site.http.get(f"/surfaces/{surface}").json()["request"]),
        rows().astype(np.int32),
    )
    right = compute_surface(request, load(gpt_bytes()), Examples.from_arrays(ids[:, :-1], ids[:, 1:]), threads=1)
    for name in ("loss", "stderr", "accuracy", "examples"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(right, name), name)
    assert whole.provenance[TOKENS] == 5
    assert whole.has_perplexity
    assert (whole.accuracy <= 100).all()
    events = [data for kind, _, data in site.events(f"/surfaces/{surface}/events") if kind == "surface"]
    assert events[-1]["perplexity"] is True


@pytest.mark.slow
def test_what_does_not_go_together_is_refused_with_a_field(working_site, request_for, mlp_bytes):
    site = working_site
    checkpoint = site.upload(gpt_bytes(), name="mini.safetensors")
    architecture = {"name": "gpt", "options": {"heads": 2}}

    def refusal(data: bytes, **other: object) -> tuple[str, str]:
        dataset = site.upload(data, "datasets", "text.npz")
        body = request_for(checkpoint, 3, None, architecture=architecture, data={"dataset": dataset, "examples": None}) | other
        answer = site.http.post("/surfaces", json=body)
        assert answer.status_code == 422, answer.text
        return answer.json()["error"]["message"], answer.json()["error"]["field"]

    large = rows()
    large[3, 2] = 4711
    said = refusal(data_file(x=large))
    assert said[0].startswith("text has tokens up to the id 4,711, but this gpt has a vocabulary of 11, with ids up to 10;")
    said = refusal(data_file(x=rows(tokens=9)))
    assert said[0].startswith("text has sequences of 8 tokens, but this gpt has a context of 6;")
    assert said[1] == "data.dataset"
    other = site.upload(mlp_bytes(0, (5, 3)))
    message, _ = refusal(data_file(x=rows()), checkpoint=other, architecture={"name": "mlp"})
    assert message.startswith("text holds sequences of token ids, which mlp does not take;")


@pytest.mark.slow
def test_a_data_set_of_negative_ids_is_rejected(working_site, wait_until):
    data = data_file(x=rows().astype(np.int32) - 3)
    sha = working_site.http.put("/datasets", params={"name": "bad.npz"}, content=data).json()["id"]
    info = wait_until(
        lambda: (i := working_site.http.get(f"/datasets/{sha}").json())["state"] != "inspecting" and i, 30, "the inspection"
    )
    assert info["state"] == "rejected"
    assert info["problem"].startswith("x should hold token ids from 0 to 9,999,999, but holds -3;")


@pytest.mark.slow
def test_a_language_model_is_looked_at_without_uploading_data(working_site, request_for):
    """The shipped text suits it at once; what it does not suit is refused with the two numbers."""
    site = working_site
    sizes = {"blocks": 1, "inner": 16, "biases": False, "head": "tied"}
    checkpoint = site.upload(save(gpt_file(WIDTH, vocabulary=128, context=64, **sizes)), name="bytes.safetensors")
    known = site.services.datasets()
    suited = choices.suggested_dataset(site.services.checkpoint(checkpoint).candidates, known)
    assert suited == "devils-dictionary"
    data = {"dataset": suited, "examples": 16, "preprocessing": "none"}
    architecture = {"name": "gpt", "options": {"heads": 2}}
    surface = site.compute(request_for(checkpoint, 3, None, architecture=architecture, data=data))
    whole = site.services.surface_result(surface)
    assert whole.has_perplexity
    assert whole.provenance[TOKENS] == 64
    assert np.isfinite(whole.loss).all()
    for vocabulary, context, said in (
        (65, 64, "has tokens up to the id 122, but this gpt has a vocabulary of 65, with ids up to 64"),
        (128, 32, "has sequences of 64 tokens, but this gpt has a context of 32"),
    ):
        other = site.upload(save(gpt_file(WIDTH, vocabulary=vocabulary, context=context, **sizes)), name="other.safetensors")
        shipped = [one for one in known if not one.uploaded]
        assert choices.suggested_dataset(site.services.checkpoint(other).candidates, shipped) is None
        answer = site.http.post("/surfaces", json=request_for(other, 3, None, architecture=architecture, data=data))
        assert answer.status_code == 422
        assert said in answer.json()["error"]["message"]
