"""What lies beside the code says what is true: documents, pins, package data, containers."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from worker.settings import KNOWN_VARIABLES

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("landscape_core", "worker", "app", "benchmarks", "cli")


def tracked(pattern: str) -> list[str]:
    found = subprocess.run(["git", "ls-files", "-z", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in found.stdout.split("\0") if name]


# -- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "docs/curvature.md"])
def test_documents_show_the_help_of_the_command_as_it_is(lossatlas, name):
    shown = re.findall(r"```text\n\$ (lossatlas[^\n]*--help)\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    assert shown
    for command, text in shown:
        arguments = command.split()[1:]
        environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1"}
        result = subprocess.run([lossatlas, *arguments], env=environment, capture_output=True, text=True, check=True)
        assert text.strip() == result.stdout.strip(), f"{name} shows another help of {command}"


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
        *(f"docs/{name}.md" for name in ("api", "barriers", "curvature", "normalisation", "paper", "performance", "python")),
    ],
)
def test_links_between_documents_lead_somewhere(name):
    path = ROOT / name
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_changelog_knows_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_every_file_inside_a_package_is_installed_with_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["*"]
    files = [name for package in PACKAGES for name in tracked(package) if not name.endswith(".py")]
    left_out = [name for name in files if not any(fnmatch.fnmatch(Path(name).name, pattern) for pattern in patterns)]
    assert left_out == []


def test_every_requirement_is_pinned_to_one_version():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    names = {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower() for line in wanted}
    assert names - pinned == set()


# -- containers: parsed, not run -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_compose_has_every_part_and_gives_ours_no_rights(services):
    assert set(services) == {"redis", "postgres", "web", "worker", "worker-gpu"}
    for name in ("web", "worker", "worker-gpu"):
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    (device,) = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_compose_opens_only_the_web_and_only_to_this_host(services):
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "web": ["127.0.0.1:8050:8050"]
    }
    for name in ("redis", "postgres", "worker", "worker-gpu"):
        assert services[name]["networks"] == ["inner"]


def test_compose_sets_only_variables_that_exist(services):
    for service in services.values():
        given = {name for name in service.get("environment", {}) if name.startswith("LOSSATLAS_")}
        assert given <= KNOWN_VARIABLES


def test_the_image_holds_every_package():
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_through = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sorted(copied) == sorted(PACKAGES)
    assert set(PACKAGES) <= let_through


def test_the_image_runs_as_a_user_without_rights_and_knows_its_health():
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert "/api/v1/health" in text
