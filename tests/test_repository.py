"""What a visitor of the repository meets besides code: workflows, forms, a citation and the list of changes."""

from __future__ import annotations

import re
import subprocess
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner, Result

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/*.yml",
    "vendor.citation-file-format": "CITATION.cff",
}


def checked(schema: str, *paths: Path) -> Result:
    """Compares files with a schema that check-jsonschema brings along: no network is needed."""
    return CliRunner().invoke(
        check_jsonschema, ["--force-filetype", "yaml", "--builtin-schema", schema, *map(str, paths)]
    )


def read(name: str) -> Any:
    return yaml.load((ROOT / name).read_text("utf-8"), yaml.BaseLoader)  # plain YAML takes the key `on` for true


def steps(workflow: Any) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_it_is_what_its_published_schema_asks_for(schema: str, tmp_path: Path) -> None:
    paths = sorted(ROOT.glob(SCHEMAS[schema]))
    assert paths
    done = checked(schema, *paths)
    assert done.exit_code == 0, done.output
    for path in paths:
        misspelt = tmp_path / path.name
        misspelt.write_text(re.sub("^(jobs|body|authors):", "bodies:", path.read_text("utf-8"), flags=re.MULTILINE))
        assert checked(schema, misspelt).exit_code == 1, "the schema looks at this file, too"


@pytest.mark.parametrize(
    "made",
    [
        "work/02.ipynb",
        "measured/a.json",
        "graded/hw1/grades.csv",
        "release/hw1.ipynb",
        "submissions/ada.ipynb",
        "build/site/index.html",
    ],
)
def test_what_a_person_or_a_class_wrote_cannot_be_committed_by_chance(made: str) -> None:
    assert subprocess.run(["git", "check-ignore", "--quiet", made], cwd=ROOT).returncode == 0


def test_the_oldest_and_the_newest_python_run_everything() -> None:
    job = read(".github/workflows/tests.yml")["jobs"]["everything"]
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == ".ci/run"
    assert f">={job['strategy']['matrix']['python'][0]}" == PROJECT["requires-python"]
    assert job["strategy"]["matrix"]["python"][-1] == "3.14"


def test_the_site_is_published_by_a_job_that_has_no_other_right() -> None:
    workflow = read(".github/workflows/pages.yml")
    assert "make site" in [step.get("run") for step in steps(workflow)]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["publish"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert workflow["concurrency"]["cancel-in-progress"] == "false"


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_ends_and_uses_github_s_own_actions_by_their_major_version(path: Path) -> None:
    workflow = read(str(path.relative_to(ROOT)))
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used), used


@pytest.mark.parametrize(
    ("form", "asked"),
    [("wrong-number", {"source", "derivation"}), ("does-not-run", {"started", "python", "printed"})],
)
def test_a_form_asks_for_what_is_needed_to_help(form: str, asked: set[str]) -> None:
    body = read(f".github/ISSUE_TEMPLATE/{form}.yml")["body"]
    required = {part["id"] for part in body if part.get("validations", {}).get("required") == "true"}
    assert asked <= required


def test_the_citation_says_what_the_package_says() -> None:
    citation = read("CITATION.cff")
    assert citation["title"] in (ROOT / "README.md").read_text("utf-8").splitlines()[0]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert citation["keywords"] == PROJECT["keywords"]


def test_changes_are_listed_from_the_newest_on_for_students_and_for_instructors() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first, *days = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert first == "Unreleased"
    assert days and days == sorted(days, reverse=True)
    assert all(date.fromisoformat(day) for day in days)
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) == {"Students", "Instructors", "Contributors"}
