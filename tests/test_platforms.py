"""What Canvas and Gradescope give, and what Canvas takes back."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_assignments import ROOT

from roofline_kit.grading import archive, handed_in, platforms, sandbox
from roofline_kit.grading.handed_in import Entry

NOTEBOOK = b'{"cells": []}'


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    """A zip file with some files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def read(path: Path) -> dict[str, Entry]:
    """The entries of a zip file or a folder, with what their files hold, by student."""
    with handed_in.submissions(path) as entries:
        return {entry.student: entry for entry in entries}


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "student", "number", "late"),
    [
        ("doejane_4711_81_hw1.ipynb", "doejane_4711", "4711", False),
        ("doejane_LATE_4711_81_hw1-1.ipynb", "doejane_4711", "4711", True),
        ("doejane_4711_81_my_hw_1_2.ipynb", "doejane_4711", "4711", False),
        ("çelikögür_4711_81_ödev.ipynb", "çelikögür_4711", "4711", False),
        ("o_neil_12_34_a.ipynb", "o_neil_12", "12", False),
        ("doejane_4711_text.html", "doejane_4711", "4711", False),
        ("anon_Ab3xY_81_2_hw1.ipynb", "anon_Ab3xY", "", False),
        ("LATE_anon_12345_81_hw1.ipynb", "anon_12345", "", True),
    ],
)
def test_a_name_that_canvas_makes_says_who_and_whether_late(name: str, student: str, number: str, late: bool) -> None:
    found = platforms.of_canvas(name)
    assert found is not None
    assert (found[0], found[1].canvas, found[1].late, found[1].file) == (student, number, late, name)


@pytest.mark.parametrize("name", ["anna_3", "submission_222", "anna_3.ipynb", "4711_81_hw1.ipynb", "a_b_c_d.ipynb", ""])
def test_a_number_in_another_name_is_no_id(name: str) -> None:
    assert platforms.of_canvas(name) is None


def test_a_folder_with_a_number_gives_no_id(tmp_path: Path) -> None:
    for name in ("anna_3", "submission_222"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hw.ipynb").write_bytes(NOTEBOOK)
    assert {student: entry.person.canvas for student, entry in read(tmp_path).items()} == {
        "anna_3": "", "submission_222": "",
    }  # fmt: skip


# --- Gradescope -------------------------------------------------------------------------------------------

EXPORT = """---
submission_101:
  :submitters:
  - :name: Doe, Jane
    :sid: '0123'
    :email: jane@x.edu
  :created_at: 2027-02-01 10:00:00.000000000 Z
  :score: 7.0
  :results:
    output: |-
      submission_999:
        :submitters:
        - :name: Mallory
          :email: mallory@x.edu
  :history:
  - :id: 90
    :submitters:
    - :name: Somebody Else
      :email: else@x.edu
submission_102:
  :submitters:
  - :name: O'Neil "Max"
    :sid:
    :email: max@x.edu
  - :name: "Çelik: Ö."
    :sid: ''
    :email: o@x.edu
  :status: processed
submission_103:
  :submitters:
  - :name: Gone
    :sid: null
    :email: gone@x.edu
"""


def test_the_export_of_gradescope_says_who_handed_in_together_or_nothing(tmp_path: Path) -> None:
    top = "assignment_5_export"
    path = zipped(tmp_path / "e.zip", {
        f"{top}/submission_metadata.yml": EXPORT.encode(), f"{top}/submission_101/hw.ipynb": NOTEBOOK,
        f"{top}/submission_102/hw.ipynb": NOTEBOOK, f"{top}/submission_104/hw.ipynb": NOTEBOOK,
    })  # fmt: skip
    found = read(path)
    assert {student: (entry.person.name, entry.person.sid, entry.path.name) for student, entry in found.items()} == {
        "jane@x.edu": ("Doe, Jane", "0123", "hw.ipynb"), "max@x.edu": ('O\'Neil "Max"', "", "hw.ipynb"),
        "o@x.edu": ("Çelik: Ö.", "", "hw.ipynb"), "gone@x.edu": ("Gone", "", "submission_103"),
        "submission_104": ("", "", "hw.ipynb"),
    }  # fmt: skip
    assert found["max@x.edu"].path == found["o@x.edu"].path
    assert "submission_metadata.yml names submission_103, and there is no such folder" in found["gone@x.edu"].refused


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=40)
MEMBERS = st.lists(st.fixed_dictionaries({":name": TEXTS, ":sid": TEXTS, ":email": TEXTS}), min_size=1, max_size=3)


@given(st.dictionaries(st.from_regex(r"submission_[0-9]{1,9}", fullmatch=True), MEMBERS, max_size=4))
def test_the_metadata_of_gradescope_is_read_as_a_reader_of_yaml_reads_it(folders: dict[str, Any]) -> None:
    text = yaml.safe_dump(
        {name: {":submitters": members, ":score": 1.0} for name, members in folders.items()},
        allow_unicode=True, width=10_000,
    )  # fmt: skip
    found = {
        name: [{":name": one.name, ":sid": one.sid, ":email": one.email} for one in people]
        for name, people in platforms.of_gradescope(text).items()
    }
    assert found == folders


def test_metadata_that_cannot_be_read_loses_nobody(tmp_path: Path) -> None:
    for number, data in enumerate((b"\xff\xfe", b"not: [yaml", b"")):
        top = tmp_path / str(number)
        for name in ("submission_1", "submission_2"):
            (top / name).mkdir(parents=True)
            (top / name / "hw.ipynb").write_bytes(NOTEBOOK)
        (top / "submission_metadata.yml").write_bytes(data)
        found = read(top)
        assert list(found) == ["submission_1", "submission_2"]
        assert all("this has the name of its folder" in entry.notes[0] for entry in found.values())


# --- other names ------------------------------------------------------------------------------------------

WHOLE = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
RENAMED = ("hw1.ipynb.txt", "hw1.ipynb.json", "hw1.json", "hw1 (1).ipynb.download", "hw1")


@pytest.mark.parametrize("name", RENAMED)
def test_a_notebook_of_another_name_is_found_by_what_is_in_it(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "ada"
    folder.mkdir(parents=True)
    (folder / "data.json").write_bytes(b'{"cells": [1]}')
    (folder / "a.pdf").write_bytes(b"%PDF-1.7")
    (folder / name).write_bytes(WHOLE)
    (entry,) = read(tmp_path / "in").values()
    assert (entry.path.name, entry.refused) == (name, "")
    assert [path.name for path in entry.files] == ["a.pdf", "data.json"]
    (folder / "hw1.ipynb").write_bytes(NOTEBOOK)
    (entry,) = read(tmp_path / "in").values()
    assert entry.path.name == "hw1.ipynb", "who has one of the right name is not searched"


def test_a_flat_file_of_another_name_is_its_students_and_what_is_nobodys_is_said(tmp_path: Path) -> None:
    for name in ("jane.ipynb", "max.ipynb.txt", "eve (1).ipynb.download", "zoe.json", "doejane_12_34_hw.ipynb.txt"):
        (tmp_path / name).write_bytes(WHOLE)
    (tmp_path / "torn.ipynb.txt").write_bytes(WHOLE[:9])
    for name in ("essay.pdf", "data.json", "notes.txt"):
        (tmp_path / name).write_bytes(b"%PDF-1.7")
    left: list[str] = []
    with handed_in.submissions(tmp_path, left) as entries:
        told = {entry.student: (entry.path.name, entry.refused) for entry in entries}
    assert told == {
        "jane": ("jane.ipynb", ""), "max": ("max.ipynb.txt", ""), "eve (1)": ("eve (1).ipynb.download", ""),
        "zoe": ("zoe.json", ""), "doejane_12": ("doejane_12_34_hw.ipynb.txt", ""),
        "torn": ("torn.ipynb.txt", "there is no notebook, only torn.ipynb.txt"),
    }  # fmt: skip
    assert left == ["data.json", "essay.pdf", "notes.txt"]


# --- zip files --------------------------------------------------------------------------------------------


def test_of_names_that_only_look_like_those_of_canvas_nobody_is_lost(tmp_path: Path) -> None:
    mine = [f"cs_101_2026_{name}.ipynb" for name in ("ann", "anna", "bob")]
    theirs = ["doejane_4711_81_hw1.ipynb", "doejane_4711_81_hw1 (1).ipynb", "doejane_4711_90_hw1-1.ipynb"]
    for name in (*mine, *theirs):
        (tmp_path / name).write_bytes(NOTEBOOK)
    found = {entry.student: entry for entry in handed_in.entries(tmp_path)}
    assert sorted(found) == [*[Path(name).stem for name in mine], "doejane_4711"]
    assert not any(entry.others or entry.person.canvas for name, entry in found.items() if name != "doejane_4711")
    assert found["doejane_4711"].path.name == theirs[2] and found["doejane_4711"].person.canvas == "4711"


def test_a_zip_of_canvas_is_taken_as_it_is_flat_or_in_a_folder(tmp_path: Path) -> None:
    files = {"doejane_12_34_hw.ipynb": NOTEBOOK, "roeremy_LATE_13_35_hw.ipynb": NOTEBOOK, "cox_14_36_hw.pdf": b"%PDF"}
    for inside in ("", "submissions/", "Downloads/hw1 submissions/"):
        found = read(zipped(tmp_path / "c.zip", {inside + name: data for name, data in files.items()}))
        told = {who: (entry.person.canvas, entry.person.late, entry.refused) for who, entry in found.items()}
        assert told == {
            "doejane_12": ("12", False, ""), "roeremy_13": ("13", True, ""),
            "cox_14": ("14", False, "there is no notebook, only cox_14_36_hw.pdf"),
        }  # fmt: skip


def test_a_zip_with_a_folder_for_each_student_is_taken_with_its_outer_folder_or_without(tmp_path: Path) -> None:
    files = {"ada/hw.ipynb": NOTEBOOK, "bob/deep/hw.ipynb": NOTEBOOK}
    for inside in ("", "class/", "a/b/"):
        assert list(read(zipped(tmp_path / "c.zip", {inside + name: data for name, data in files.items()}))) == [
            "ada", "bob",
        ]  # fmt: skip
    assert list(read(zipped(tmp_path / "one.zip", {"ada/hw.ipynb": NOTEBOOK}))) == ["ada"]


def _raw(name: str, **how: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = name
    for key, value in how.items():
        setattr(info, key, value)
    return info


def _hostile(path: Path) -> None:
    """A zip file with what a student or a broken program could have put into it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, pytest.warns(UserWarning, match="Duplicate name"):
        for name in ("../up.ipynb", "/root.ipynb", "ada/../../two.ipynb", "C:\\drive.ipynb", "back\\slash.ipynb"):
            made.writestr(_raw(name), NOTEBOOK)
        made.writestr(_raw("link.ipynb", external_attr=(stat.S_IFLNK | 0o777) << 16, create_system=3), "/etc/passwd")
        made.writestr("bomb.ipynb", b"0" * 30_000_000)
        made.writestr("twice.ipynb", b"first")
        made.writestr("twice.ipynb", NOTEBOOK)
        made.writestr("file.ipynb", NOTEBOOK)
        made.writestr("file.ipynb/inner.ipynb", NOTEBOOK)
        made.writestr("deep/" + "d/" * 50 + "hw.ipynb", NOTEBOOK)
        made.writestr("n" * 300 + ".ipynb", NOTEBOOK)
        made.writestr("b\nz: 0 of 20.ipynb", NOTEBOOK)
        made.writestr("honest/hw.ipynb", NOTEBOOK)
        made.mkdir("nothing")
    data = path.read_bytes()
    damaged = zipped(path.with_name("d.zip"), {"torn.ipynb": b"torn" * 100, "locked.ipynb": b"locked"}).read_bytes()
    with zipfile.ZipFile(path, "a") as made:
        made.writestr("torn.ipynb", b"torn" * 100)
        made.writestr("locked.ipynb", b"locked")
    data = path.read_bytes().replace(b"torntorn", b"TORNtorn", 1)
    where = data.rindex(b"PK\x01\x02", 0, data.rindex(b"locked.ipynb"))
    assert damaged
    path.write_bytes(data[: where + 8] + b"\x01\x00" + data[where + 10 :])  # the bit that says: encrypted


def test_nothing_in_a_zip_file_leads_out_of_it_fills_the_disk_or_hides_anybody(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    _hostile(tmp_path / "in" / "h.zip")
    folder = tmp_path / "out" / "deep"
    folder.mkdir(parents=True)
    archive.unpacked(tmp_path / "in" / "h.zip", folder)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["deep"]
    assert sum(path.stat().st_blocks * 512 for path in folder.rglob("*")) < 1_000_000
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    told = {
        student: f"{entry.refused} {' '.join(entry.notes)}".strip()
        for student, entry in read(tmp_path / "in" / "h.zip").items()
    }
    long = next(student for student in told if student.startswith("nnn"))
    assert told.pop(long) == ""
    for student, words in {
        "up": "leads out of it", "root": "leads out of it", "ada": "leads out of it", "C:": "leads out of it",
        "link": "it is a link", "twice": "more than once", "file.ipynb": "a folder and a file have the same name",
        "deep": "more than 12 folders", "torn": "damaged in the zip file", "locked": "encrypted in the zip file",
        "nothing": "there is no notebook",
    }.items():  # fmt: skip
        assert words in told.pop(student), student
    assert told == {"bomb": "", "back": "", "file": "", "b⏎z: 0 of 20": "", "honest": ""}


def test_what_was_unpacked_is_gone_after_the_run_that_comes_after_one_that_was_killed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "c.zip", {"ada/hw.ipynb": NOTEBOOK})
    (tmp_path / "tmp").mkdir()
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom roofline_kit.grading import handed_in\n"
        "with handed_in.submissions(Path(sys.argv[1])): os.kill(os.getpid(), int(sys.argv[2]))"
    )
    for number, left in ((signal.SIGKILL, 1), (0, 0)):
        words = [sys.executable, "-c", program, path, f"{number}"]
        subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")})
        assert len([*(tmp_path / "tmp").iterdir()]) == left


def test_a_grader_on_another_node_that_shares_the_temporary_folder_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    node = os.uname()
    with ExitStack() as busy:
        with monkeypatch.context() as there:
            there.setattr(os, "uname", lambda: SimpleNamespace(nodename=f"not-{node.nodename}"))
            there.setattr(os, "getpid", lambda: 2**22 + 1)  # larger than any process here
            folder = busy.enter_context(sandbox.workplace())
        tempfile.tempdir = str(tmp_path)
        with sandbox.workplace():
            assert folder.is_dir()


def locked(path: Path, but: int = 0) -> Path:
    """Sets the bit that says "encrypted" in a zip file, of all files but a few at the end."""
    head, *files = path.read_bytes().split(b"PK\x01\x02")
    last = len(files) - but
    path.write_bytes(
        b"PK\x01\x02".join([head, *(file[:4] + b"\x01\x00" + file[6:] for file in files[:last]), *files[last:]])
    )
    return path


def test_an_encrypted_zip_is_refused_and_one_encrypted_file_is_its_students_trouble(tmp_path: Path) -> None:
    names = ["class/ada/hw.ipynb", "class/__MACOSX/x", "class/.DS_Store", "class/readme.txt", "class/bob/hw.ipynb"]
    path = zipped(tmp_path / "z.zip", dict.fromkeys([*names, "class/cyd/hw.ipynb"], NOTEBOOK))
    found = read(locked(path, but=2))
    assert {student: (entry.refused, entry.notes) for student, entry in found.items()} == {
        "ada": ("there is no notebook that can be read: hw.ipynb: it is encrypted in the zip file", ()),
        "bob": ("", ()), "cyd": ("", ()),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"z\.zip is encrypted: unpack it with its password"):
        read(locked(path))


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_a_damaged_file_is_its_students_trouble_however_it_was_packed(kind: int, tmp_path: Path) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("class/ada/hw.ipynb", b"torn" * 100, zipfile.ZIP_STORED)
        made.writestr("class/bob/hw.ipynb", NOTEBOOK)
        made.writestr("class/cyd/hw.ipynb", NOTEBOOK)
    data = bytearray(path.read_bytes())
    for place in (
        8,
        data.index(b"PK\x01\x02") + 10,
    ):  # how the first file is packed, as it says itself, and as the list says
        data[place : place + 2] = kind.to_bytes(2, "little")
    path.write_bytes(data)
    found = read(path)
    assert "damaged in the zip file" in found["ada"].refused and not found["bob"].refused


def test_of_two_notebooks_in_a_zip_file_the_newer_is_the_one_that_was_written_later(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as made:
        for name, year in {"new": 2027, "old": 2026, "never": 1980}.items():
            made.writestr(zipfile.ZipInfo(f"ada/{name}.ipynb", (year, 2, 1, 12, 0, 0)), NOTEBOOK)
        broken = zipfile.ZipInfo("bob/hw.ipynb")
        broken.date_time = (1980, 0, 0, 0, 0, 0)
        made.writestr(broken, NOTEBOOK)
    found = read(tmp_path / "z.zip")
    assert [path.name for path in (found["ada"].path, *found["ada"].others)] == [
        "new.ipynb",
        "old.ipynb",
        "never.ipynb",
    ]
    assert found["bob"].path.name == "hw.ipynb"


def test_names_that_a_zip_file_does_not_say_to_be_utf_8_are_read_as_that(tmp_path: Path) -> None:
    path = zipped(tmp_path / "z.zip", {"cafe-000/hw.ipynb": NOTEBOOK, "bad-000/hw.ipynb": NOTEBOOK})
    data = path.read_bytes().replace(b"cafe-000", "caf\u00e9-00".encode()).replace(b"bad-000", b"bad-\xff00")
    path.write_bytes(data)
    assert list(read(path)) == ["bad-\u00a000", "caf\u00e9-00"]


def test_a_zip_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK" + b"x" * 100)
    with pytest.raises(ValueError, match=r"no\.zip is not a zip file that can be read"):
        read(tmp_path / "no.zip")
    with pytest.raises(FileNotFoundError, match=r"gone\.zip is not there"):
        read(tmp_path / "gone.zip")
    with pytest.raises(FileNotFoundError, match=r"e\.zip has no notebook: expected a folder for each student"):
        read(zipped(tmp_path / "e.zip", {"readme.txt": b"x"}))
    with pytest.raises(FileNotFoundError, match=r"has no notebook: .*; to grade e\.zip, give that file"):
        read(tmp_path)


# --- Canvas's gradebook -----------------------------------------------------------------------------------

HEADER = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Homework 1 (12345)", "Final Score"]
STUDENTS = [["Doe, Jane", "4711", "s1", "jane", "A", "", ""], ["Roe, Remy", "4712", "s2", "remy@x.edu", "A", "", ""]]


def gradebook(
    path: Path, rows: Iterable[list[str]] = STUDENTS, delimiter: str = ",", header: list[str] = HEADER
) -> Path:
    """A file as Canvas's gradebook exports it."""
    text = io.StringIO(newline="")
    posting = ["", "", "", "", "", "Manual Posting", ""]
    worth = ["    Points Possible", "", "", "", "", "10.00", "(read only)"]
    test = ["Student, Test", "9", "", "0a1b", "A", "", ""]
    csv.writer(text, delimiter=delimiter).writerows([header, posting, worth, *rows, test])
    path.write_text(f"\ufeff{text.getvalue()}", "utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_the_gradebook_says_who_is_in_the_course_and_what_a_column_is_worth(delimiter: str, tmp_path: Path) -> None:
    found = platforms.roster(gradebook(tmp_path / "g.csv", delimiter=delimiter))
    assert [(person.name, person.canvas, person.login) for person in found.people] == [
        ("Doe, Jane", "4711", "jane"), ("Roe, Remy", "4712", "remy@x.edu"),
    ]  # fmt: skip
    assert found.columns == {"Homework 1 (12345)": "10.00", "Final Score": "(read only)"}


def test_a_gradebook_with_first_and_last_names_is_read_too(tmp_path: Path) -> None:
    header = ["LastName", "FirstName", *HEADER[1:]]
    path = gradebook(tmp_path / "g.csv", [["Doe", "Jane", "4711", "", "jane", "A", "", ""]], header=header)
    assert [person.name for person in platforms.roster(path).people] == ["Doe, Jane"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected Canvas's column 'ID'"),
        (b"Student,Id,Section\n", "expected Canvas's column 'ID'.*did you mean 'Id'"),
        (b"name,points\nJane,3\n", "expected Canvas's column 'ID'"),
        (b"\xff\xfeS\x00t\x00", "it is not UTF-8"),
    ],
)
def test_what_is_no_gradebook_is_refused_with_what_was_expected(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        platforms.roster(tmp_path / "g.csv")


def test_a_student_is_found_by_the_number_of_canvas_or_else_by_an_id_of_the_university(tmp_path: Path) -> None:
    course = platforms.roster(gradebook(tmp_path / "g.csv"))
    for student, person, name in (
        ("doejane_4711", platforms.Person(canvas="4711"), "Doe, Jane"),
        ("jane", platforms.Person(), "Doe, Jane"),
        ("s2", platforms.Person(), "Roe, Remy"),
        ("remy@x.edu", platforms.Person(email="remy@x.edu"), "Roe, Remy"),
        ("jane@x.edu", platforms.Person(email="jane@x.edu"), "Doe, Jane"),
        ("anything", platforms.Person(sid="s1"), "Doe, Jane"),
        ("Jane Doe", platforms.Person(), "Doe, Jane"),
        ("roe_remy", platforms.Person(), None),
        ("x", platforms.Person(name="Remy Roe", email="other@y.edu"), "Roe, Remy"),
        ("jane", platforms.Person(canvas="9999"), None),
        ("eve", platforms.Person(), None),
    ):
        found = course.find(student, person)
        assert (found.name if found else None) == name, student


def test_a_name_that_two_have_is_nobodys(tmp_path: Path) -> None:
    twice = [["Doe, Jane", number, "", f"login{number}", "A", "", ""] for number in ("1", "2")]
    assert platforms.roster(gradebook(tmp_path / "g.csv", twice)).find("Jane Doe", platforms.Person()) is None


def test_what_is_known_of_a_submission_can_be_kept() -> None:
    from dataclasses import asdict

    person = platforms.Person("Doe, Jane", "4711", late=True)
    assert platforms.Person(**json.loads(json.dumps(asdict(person)))) == person
