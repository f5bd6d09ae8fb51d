"""A training run that comes as one archive: its members are checkpoints, a trajectory at once; what is deleted with it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from types import SimpleNamespace
from typing import Any

import pytest

from app.finishing import Finishing
from worker.blobs import quarantine_key, report_key
from worker.intake import inspect_upload
from worker.job import Announcement


def zipped(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def settled(site: Any, wait_until: Any, run: str) -> dict[str, Any]:
    def done() -> Any:
        info = site.http.get(f"/checkpoints/{run}").json()
        return info["state"] != "inspecting" and info

    return wait_until(done, 60, "the members are inspected")


@pytest.mark.slow
def test_an_archive_becomes_a_run_that_is_a_trajectory_at_once(working_site, mlp_bytes, request_for, wait_until):
    site = working_site
    files = {f"run/epoch_{n}.safetensors": mlp_bytes(20 + n) for n in (10, 9, 2)}
    alone = site.upload(files["run/epoch_2.safetensors"], name="alone.safetensors")
    content = zipped(files | {"run/optimizer.pt": b"no checkpoint", "__MACOSX/._x.pt": b"", "README.md": b"how"})
    answer = site.http.put("/checkpoints", params={"filename": "run.zip"}, content=content)
    assert answer.status_code == 201
    assert answer.json() == {"id": sha256(content), "state": "inspecting"}
    run = settled(site, wait_until, answer.json()["id"])
    assert (run["state"], run["format"], run["filename"]) == ("ready", "zip", "run.zip")
    assert run["warnings"] == ["Not used: README.md."]
    names = [f"run/epoch_{n}.safetensors" for n in (2, 9, 10)]
    assert [member["filename"] for member in run["members"]] == [*names, "run/optimizer.pt"]
    ids = [member["id"] for member in run["members"][:3]]
    assert ids == [sha256(files[name]) for name in names]
    assert ids[0] == alone
    assert {member["network"] for member in run["members"][:3]} == {"mlp"}
    refused = run["members"][3]
    assert refused["state"] == "rejected"
    assert "not a checkpoint" in refused["problem"]
    assert site.http.get(f"/checkpoints/{ids[0]}").json()["filename"] == "alone.safetensors"
    assert site.http.get(f"/checkpoints/{ids[2]}").json()["filename"] == "epoch_10.safetensors"
    plane = {axis: {"kind": "principal", "index": n, "checkpoints": ids} for n, axis in enumerate("xy", 1)}
    surface = site.compute(request_for(ids[-1], 3, 100, plane=plane))
    about = wait_until(lambda: site.http.get(f"/surfaces/{surface}").json()["provenance"].get("trajectory"), 20, "the way")
    assert about["checkpoints"] == ids
    error = site.http.post("/surfaces", json=request_for(run["id"], 3)).json()["error"]
    assert error["message"] == "run.zip is a run of several checkpoints; name one of its members."
    assert error["field"] == "checkpoint"
    assert site.services.blobs.list("quarantine/") == []

    listed = {one["id"]: one for one in site.http.get("/checkpoints").json()}
    assert listed[run["id"]] == run
    assert set(ids) <= listed.keys()
    assert site.http.delete(f"/checkpoints/{run['id']}").status_code == 204
    assert {one["id"] for one in site.http.get("/checkpoints").json()} & {run["id"], *ids} == {alone}
    assert site.http.get(f"/surfaces/{surface}").json()["state"] == "finished"


@pytest.mark.slow
def test_an_archive_without_a_checkpoint_is_refused_with_the_reason(working_site, wait_until):
    site = working_site
    for content, said in (
        (
            zipped({"a.pt": b"text", "b.pt": b"more text"}),
            "None of its files can be used as a checkpoint. a.pt: The file is not",
        ),
        (zipped({"a.pt": bytes(100 << 20)}), "far more than an honest file of its size"),
    ):
        answer = site.http.put("/checkpoints", params={"filename": "run.zip"}, content=content)
        info = settled(site, wait_until, answer.json()["id"])
        assert info["state"] == "rejected"
        assert said in info["problem"]


def report_on(site: Any, members: list[dict[str, Any]]) -> bytes:
    """What a worker leaves of an archive: its report, and the members in quarantine."""
    for member in members:
        site.services.blobs.put(f"quarantine/checkpoint-{member['sha256']}", member["sha256"].encode())
    return json.dumps({"kind": "run", "format": "zip", "members": members, "warnings": [], "problem": None}).encode()


def member(name: str) -> dict[str, Any]:
    return {"filename": name, "size_bytes": 64, "sha256": sha256(name.encode()), "problem": None}


def taken_in(site: Any, name: str, members: list[dict[str, Any]], tmp_path: Any) -> str:
    path = tmp_path / name
    path.write_text(name)
    run = site.services.add_checkpoint(path, name).id
    site.services.blobs.put(f"checkpoints/{run}.json", report_on(site, members))
    site.services.settle("checkpoint", run)
    return run


def test_what_two_runs_share_stays_with_the_other(site, tmp_path):
    first, both, second = (member(f"{name}.pt") for name in ("first", "both", "second"))
    one = taken_in(site, "one.zip", [first, both], tmp_path)
    other = taken_in(site, "other.zip", [both, second], tmp_path)
    every = {one, other, *(each["sha256"] for each in (first, both, second))}
    site.services.delete_checkpoint(one)
    left = {info.id for info in site.services.checkpoints()} & every
    assert left == {other, both["sha256"], second["sha256"]}
    waiting = {key.rpartition("-")[2] for key in site.services.blobs.list("quarantine/")}
    assert waiting & every == left
    site.services.delete_checkpoint(second["sha256"])
    assert [found.filename for found in site.services.checkpoint(other).members] == ["both.pt"]


@pytest.mark.parametrize("ready", [True, False])
def test_a_checkpoint_that_is_brought_alone_after_its_run_survives_it(services, tmp_path, mlp_bytes, ready):
    contents = {"epoch_1.safetensors": mlp_bytes(41), "epoch_2.safetensors": mlp_bytes(42)}
    (tmp_path / "run.zip").write_bytes(zipped(contents))
    run = services.add_checkpoint(tmp_path / "run.zip", "run.zip").id

    def inspect(sha: str) -> None:
        report = inspect_upload("checkpoint", sha, "file", services.blobs, tmp_path)
        services.blobs.put(report_key("checkpoint", sha), json.dumps(report).encode())
        assert services.settle("checkpoint", sha)

    inspect(run)
    first, second = map(sha256, contents.values())
    for member in (first, second)[: 2 if ready else 0]:
        inspect(member)
    (tmp_path / "alone").write_bytes(contents["epoch_1.safetensors"])
    services.add_checkpoint(tmp_path / "alone", "alone.safetensors")
    services.delete_checkpoint(run)
    assert [info.id for info in services.checkpoints()] == [first]
    if not ready:
        inspect(first)
    assert services.checkpoint(first).state == "ready"


def test_a_run_that_was_deleted_while_it_was_taken_apart_leaves_nothing(site, tmp_path):
    path = tmp_path / "gone.zip"
    path.write_text("gone")
    run = site.services.add_checkpoint(path, "gone.zip").id
    site.services.delete_checkpoint(run)
    gone = member("gone.pt")
    site.services.blobs.put(f"checkpoints/{run}.json", report_on(site, [gone]))
    assert not site.services.settle("checkpoint", run)
    assert not site.services.blobs.exists(f"quarantine/checkpoint-{gone['sha256']}")
    assert not site.services.blobs.exists(f"checkpoints/{run}.json")


def test_the_server_may_be_killed_between_a_run_and_its_members(site, tmp_path):
    """Members that wait are found by the sweep, which asks for their inspection: nothing hangs on one announcement."""
    waiting = member("waiting.pt")
    taken_in(site, "waiting.zip", [waiting], tmp_path)
    assert ("checkpoint", waiting["sha256"], "waiting.pt") in site.services.inspecting()


def test_a_checkpoint_that_was_brought_alone_and_inspected_meanwhile_is_not_lost(services, tmp_path, mlp_bytes):
    content, alone, archive = mlp_bytes(40), tmp_path / "alone", tmp_path / "run.zip"
    alone.write_bytes(content)
    archive.write_bytes(zipped({"epoch_1.safetensors": content}))
    run, one = services.add_checkpoint(archive, "run.zip").id, services.add_checkpoint(alone, "alone.safetensors").id
    for sha in (run, one):  # a worker does both before anybody hears of it: the web server is being restarted
        report = inspect_upload("checkpoint", sha, "file", services.blobs, tmp_path)
        services.blobs.put(report_key("checkpoint", sha), json.dumps(report).encode())
        services.blobs.delete(quarantine_key("checkpoint", sha))
    assert services.settle("checkpoint", run)
    assert services.settle("checkpoint", one)
    assert services.checkpoint(run).state == services.checkpoint(one).state == "ready"


def test_members_of_a_long_run_are_asked_for_one_at_a_time_so_that_surfaces_are_not_held_up(services, tmp_path):
    members = [member(f"{name}.pt") for name in "abcd"]
    taken_in(SimpleNamespace(services=services), "long.zip", members, tmp_path)
    finishing = Finishing(services)

    def asked() -> list[str]:
        return [one["filename"] for one in members if services.queue.intake_in_flight("checkpoint", one["sha256"])]

    finishing.sweep()
    assert asked() == ["a.pt"]
    for done, expected in enumerate((["a.pt", "b.pt"], ["a.pt", "b.pt", "c.pt"])):  # nobody takes them out of the queue here
        sha = members[done]["sha256"]
        services.blobs.put(report_key("checkpoint", sha), b'{"problem": "no"}')
        finishing.hear(Announcement(kind="intake", subject=sha, problem="no", retry=False))
        assert asked() == expected
