"""environment.yml says what conda can read and solve: strictly parsed, and solved against a channel of our own."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from needed import installed

PATH = Path(__file__).parent.parent / "environment.yml"


@pytest.fixture(scope="module")
def rattler() -> Any:
    """What pixi and others solve conda environments with."""
    return installed("rattler", "py-rattler")


def given() -> dict[str, Any]:
    return yaml.safe_load(PATH.read_text("utf-8"))


def channel(folder: Path, **versions: list[str]) -> Path:
    """A channel of packages without content: a solver reads nothing but the list."""
    for platform in ("noarch", "linux-64"):
        packages = {
            f"{name}-{version}-0.conda": {
                "name": name, "version": version, "build": "0", "build_number": 0, "subdir": platform, "size": 1,
                "depends": ["python >=3.9"] if name == "pip" else [], "sha256": "0" * 64,
                "timestamp": 1_700_000_000_000,
            }
            for name, found in versions.items() for version in found
        }  # fmt: skip
        (folder / platform).mkdir(parents=True)
        listing = {
            "info": {"subdir": platform},
            "packages": {},
            "packages.conda": packages if platform == "noarch" else {},
        }
        for package in listing["packages.conda"].values():
            package["noarch"] = "generic"
        (folder / platform / "repodata.json").write_text(json.dumps(listing))
    return folder


def solved(rattler: Any, folder: Path) -> dict[str, str]:
    specs = [spec for spec in given()["dependencies"] if isinstance(spec, str)]

    async def answer() -> Any:
        return await rattler.solve([folder.as_uri()], specs, platforms=["linux-64", "noarch"])

    # In a thread of its own: where browsers were tested before, this one has an event loop already.
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(lambda: asyncio.run(answer())).result()
    return {record.name.normalized: str(record.version) for record in made}


def test_it_has_what_conda_knows_and_nothing_else(rattler: Any) -> None:
    environment = given()
    assert set(environment) == {"name", "channels", "dependencies"}
    assert environment["channels"] == ["conda-forge"]
    conda = [spec for spec in environment["dependencies"] if isinstance(spec, str)]
    assert {rattler.MatchSpec(spec, strict=True).name.normalized for spec in conda} == {"python", "pip"}
    (pip,) = [spec for spec in environment["dependencies"] if not isinstance(spec, str)]
    assert set(pip) == {"pip"} and conda[-1] == "pip", "pip stands before what it installs"
    for line in pip["pip"]:
        option, file = line.split()
        assert option == "-r" and (PATH.parent / file).is_file(), line


def test_a_solver_finds_the_python_that_it_asks_for(rattler: Any, tmp_path: Path) -> None:
    folder = channel(tmp_path / "channel", python=["3.11.9", "3.12.7", "3.13.1", "3.14.0"], pip=["24.2"])
    found = solved(rattler, folder)
    assert found == {"python": "3.12.7", "pip": "24.2"}


def test_a_channel_without_that_python_is_refused(rattler: Any, tmp_path: Path) -> None:
    folder = channel(tmp_path / "channel", python=["3.10.1"], pip=["24.2"])
    with pytest.raises(Exception, match=r"python 3\.12"):
        solved(rattler, folder)
