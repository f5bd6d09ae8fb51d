"""`lossatlas bench` as it is run: small parts of it, its tables, its refusals, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import parts
from benchmarks.table import begin, end


@pytest.fixture
def bench(lossatlas, clean_environment, tmp_path):
    """Runs the command in an empty folder."""

    def run(*arguments: str, seconds: float = 280) -> subprocess.CompletedProcess[str]:
        command = [lossatlas, "bench", *arguments]
        return subprocess.run(
            command, env=clean_environment, cwd=tmp_path, capture_output=True, text=True, timeout=seconds, check=False
        )

    return run


def test_every_part_is_explained_and_has_a_letter_of_its_own(bench):
    told = bench("--help").stdout
    assert re.findall(r"^  ([a-z])  ", told, re.MULTILINE) == list(parts.LETTERS) == sorted(set(parts.LETTERS))


@pytest.mark.slow
def test_what_is_measured_goes_to_the_screen_to_json_and_between_the_markers(bench, tmp_path):
    (tmp_path / "speed.md").write_text(
        f"By hand.\n\n{begin('machine')}\n{end('machine')}\n{begin('e')}\nold\n{end('e')}\n{begin('g')}\n{end('g')}\nBy hand too.\n"
    )
    result = bench("--quick", "--only", "g,e", "--json", "speed.json", "--write", "speed.md")
    assert result.returncode == 0, result.stderr
    assert "(e) starting one worker" in result.stderr
    found = json.loads((tmp_path / "speed.json").read_text())
    assert {"Processor", "Memory", "Versions", "Taken"} <= set(found["machine"])
    part, memory = found["parts"]
    assert (part["part"], part["skipped"], len(part["rows"])) == ("e", None, 10)
    if sys.platform == "linux":
        core, web, worker, valkey, whole = (row["largest resident memory, MB"] for row in memory["rows"])
        assert whole == pytest.approx(web + worker + valkey, abs=2)
        assert min(core, worker) > web > valkey > 0
    for row in part["rows"][:6]:
        first, second = row["to the first whole surface, s"]["median"], row["to the second, s"]["median"]
        assert 0 < first <= second
        if "resnet20" not in row.get("surface, left after the second stage", ""):
            assert second <= row["to the last, s"]["median"]
    assert [row["how many"] for row in part["rows"][4:6]] == [1, 1]
    assert all(0 < row["a unit, s"]["median"] < 5 for row in part["rows"][6:])
    text = (tmp_path / "speed.md").read_text()
    assert text.startswith("By hand.\n\n")
    assert text.endswith("By hand too.\n")
    assert "old" not in text
    assert text.count("| surface | stages |") == result.stdout.count("| surface | stages |") == 1


def test_a_network_of_ones_own_has_rows_beside_the_gallerys(bench):
    network = str(Path(parts.__file__).parents[1] / "app/gallery/fashion-mlp/checkpoint.pt")
    given = ("--network", network, "fashion-mnist-sample", "fashion-mnist", "--points", "7")
    result = bench("--quick", "--only", "c", *given, "--json", "speed.json")
    assert result.returncode == 0, result.stderr
    rows = re.findall(r"^\| checkpoint \| (\S+) x \S+ \| (\d+) \|", result.stdout, re.MULTILINE)
    assert rows == [("7", "256")] * 5


def test_a_document_that_has_lost_its_place_meanwhile_is_left_as_it_is(tmp_path, capsys):
    from cli.benching import _put

    path, document = tmp_path / "speed.md", f"{begin('g')}\n{end('g')}\n"
    path.write_text("Begun anew.\n")
    assert _put(path, document, {"g": "new"}) == document
    assert path.read_text() == "Begun anew.\n"
    assert f"{path} was changed meanwhile and not written: " in capsys.readouterr().err
    path.write_text(f"By hand.\n{document}")
    assert _put(path, document, {"g": "new"}) == path.read_text() == f"By hand.\n{begin('g')}\nnew\n{end('g')}\n"


def test_a_document_is_begun_with_a_place_for_every_part(tmp_path):
    from benchmarks.table import replaced
    from cli.benching import _document

    document = _document(tmp_path / "new.md", parts.LETTERS)
    assert not (tmp_path / "new.md").exists()
    assert replaced(document, dict.fromkeys(["machine", *parts.LETTERS], "")).count("begin -->") == len(parts.LETTERS) + 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--only", "a,q"), "expected letters of a to i with commas between, got 'a,q'"),
        (("--only", ","), "expected letters of a to i with commas between, got ','"),
        (("--json", "nowhere/a.json"), "There is no folder nowhere for a.json; make it, or name another file."),
        (("--write", "nowhere/a.md"), "There is no folder nowhere for a.md"),
        (
            ("--only", "g", "--write", "plain.md"),
            "plain.md has no place for what is measured: Expected one line <!-- lossatlas",
        ),
        (("--write", "."), "is a directory"),
        (("--points", "9"), "--points is that of --network's surfaces; give a network, or leave it out."),
        (("--only", "a", "--network", "n.pt", "d.npz", "none"), "--network is measured by part c; add c to --only"),
        (("--only", "c", "--network", "n.pt", "d.npz", "none"), "There is no file n.pt."),
        (("--only", "c", "--network", "plain.md", "fashion-mnist-sample", "none"), "not a checkpoint but text"),
        (("--only", "c", "--network", "plain.md", "fashion-mnist-sample", "mine"), "mine"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_measured(bench, tmp_path, arguments, sentence):
    (tmp_path / "plain.md").write_text("Mine.\n")
    result = bench(*arguments, seconds=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "plain.md").read_text() == "Mine.\n"


def test_without_a_browser_its_part_says_so(lossatlas, clean_environment, tmp_path):
    environment = clean_environment | {"PATH": str(tmp_path)}
    result = subprocess.run(
        [lossatlas, "bench", "--only", "h"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"Not measured: (there is no Chromium that starts|Playwright is not installed)", result.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_no_folder(lossatlas, clean_environment, tmp_path, number):
    environment = clean_environment | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [lossatlas, "bench", "--quick", "--only", "e"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    waited_until = time.monotonic() + 60
    while not (started := _mentioning(tmp_path)) and time.monotonic() < waited_until:
        time.sleep(0.1)
    assert started, "it started nothing"
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    waited_until = time.monotonic() + 30
    while _mentioning(tmp_path) and time.monotonic() < waited_until:
        time.sleep(0.1)
    assert _mentioning(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def _mentioning(folder: Path) -> list[int]:
    """Processes whose command names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and int(entry.name) != os.getpid() and str(folder).encode() in command:
            found.append(int(entry.name))
    return found
