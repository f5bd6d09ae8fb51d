"""Seconds from *Compute* to the first whole surface, and to each stage after it, on a running Loss Atlas.

    python benchmarks/first_surface.py http://127.0.0.1:8050 CHECKPOINT DATA.npz [--examples 1000] [--points 51] [--repeats 5]

Uploads both files (the same bytes are stored once), asks for a new surface per repeat (new seeds, so nothing is answered
from what is stored), and follows its event stream as a browser does. Prints the median, least and most. The time the page
takes to paint comes on top; `--browser` measures that too, in Chromium, from the click on *Compute* (the form's own
suggestions, new directions) to the first painted surface.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import httpx

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PAINTED = """() => { const gd = document.querySelector('.js-plotly-plot');
    return Boolean(gd && gd.data && gd.data.some(t => t.visible !== false && t.z && t.z.length > 1)); }"""


def upload(client: httpx.Client, kind: str, path: Path) -> dict[str, Any]:
    """Uploads a file and waits until it has been inspected."""
    name = "filename" if kind == "checkpoints" else "name"
    answer = client.put(f"/api/v1/{kind}", params={name: path.name}, content=path.read_bytes())
    answer.raise_for_status()
    while True:
        info = client.get(f"/api/v1/{kind}/{answer.json()['id']}").raise_for_status().json()
        if info["state"] != "inspecting":
            return info
        time.sleep(0.2)


def request_for(checkpoint: dict[str, Any], dataset: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """A request that nobody has made before."""
    candidate, seed = checkpoint["candidates"][0], time.time_ns() % 2**40
    axis = {"start": -1, "stop": 1, "points": arguments.points}
    return {
        "checkpoint": checkpoint["id"],
        "architecture": {"name": candidate["name"], "options": candidate["options"]},
        "data": {"dataset": dataset["id"], "examples": arguments.examples, "preprocessing": arguments.preprocessing},
        "plane": {"x": {"kind": "random", "seed": seed}, "y": {"kind": "random", "seed": seed + 1}},
        "grid": {"x": axis, "y": axis},
    }


def first_stages(client: httpx.Client, body: dict[str, Any], stages: int) -> list[float]:
    """Seconds from the request to each of the first `stages` whole surfaces; the surface is cancelled then."""
    began, seen = time.perf_counter(), []
    surface = client.post("/api/v1/surfaces", json=body).raise_for_status().json()["id"]
    event = ""
    with client.stream("GET", f"/api/v1/surfaces/{surface}/events", timeout=600) as stream:
        for line in stream.iter_lines():
            if line.startswith("event:"):
                event = line.removeprefix("event:").strip()
            elif line.startswith("data:") and event == "surface":
                stage = json.loads(line.removeprefix("data:"))["stage"]
                seen += [time.perf_counter() - began] * (stage - len(seen))
                if len(seen) >= stages:
                    break
    client.post(f"/api/v1/surfaces/{surface}/cancel")
    return seen[:stages]


def painted(base: str, checkpoint: str, repeats: int) -> list[float]:
    """Seconds from the click on *Compute*, with new directions, to the first painted surface, in Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only with --browser

    seconds = []
    with sync_playwright() as playwright, httpx.Client(base_url=base) as client:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        for _ in range(repeats):
            page.goto(f"{base}/new?checkpoint={checkpoint}")
            page.click("#new-draw")
            page.wait_for_timeout(3000)
            began = time.perf_counter()
            page.click("#new-compute")
            page.wait_for_function(PAINTED, timeout=120_000, polling=50)
            seconds.append(time.perf_counter() - began)
            client.post(f"/api/v1/surfaces/{page.url.rsplit('/', 1)[-1]}/cancel").raise_for_status()
        browser.close()
    return seconds


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--points", type=int, default=51)
    parser.add_argument("--preprocessing", default="imagenet")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--browser", action="store_true")
    arguments = parser.parse_args()
    with httpx.Client(base_url=arguments.base, timeout=120) as client:
        checkpoint, dataset = upload(client, "checkpoints", arguments.checkpoint), upload(client, "datasets", arguments.data)
        runs = []
        for _ in range(arguments.repeats):
            runs.append(first_stages(client, request_for(checkpoint, dataset, arguments), arguments.stages))
            time.sleep(1.5)
        for stage, times in enumerate(zip(*runs, strict=True), start=1):
            print(f"stage {stage}: median {statistics.median(times):.2f} s, {min(times):.2f} to {max(times):.2f} s")
        if arguments.browser:
            times = painted(arguments.base, checkpoint["id"], arguments.repeats)
            print(f"painted in Chromium: median {statistics.median(times):.2f} s, {min(times):.2f} to {max(times):.2f} s")


if __name__ == "__main__":
    main()
