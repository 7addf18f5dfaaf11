"""What is in a zip file that strangers filled? Its files, none of which can reach out of a folder or fill a disk.

Whatever cannot be unpacked is left out with a reason, and all else is unpacked. A file that is too large to be read is
there with its size and without its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from datetime import datetime
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from .submission import LARGEST

FILES, BYTES = 100_000, 5_000_000_000  # of one zip file
LOCKED = "it is encrypted in the zip file"
NAME, DEEPEST = 200, 12  # bytes of a file's name, and folders in one another


def unpacked(path: Path, folder: Path) -> dict[Path, str]:
    """Unpacks a zip file into an empty folder. What could not be: by its path in the folder, with the reason.

    Raises ValueError where it is no zip file, FileNotFoundError where there is none, and OSError on a full disk.
    """
    troubles: dict[Path, str] = {}
    left = BYTES
    try:
        with ZipFile(path) as archive:
            for number, info in enumerate(archive.infolist()):
                where, trouble = _place(info)
                if not trouble and (number >= FILES or left <= 0):
                    trouble = f"not unpacked, as this zip file has more than {FILES:,} files or {BYTES // 10**9} GB"
                if not trouble:
                    trouble, size = _written(archive, info, folder / where)
                    left -= size
                if trouble:
                    troubles[where] = trouble
    except BadZipFile as error:
        raise ValueError(f"{path} is not a zip file that can be read: {error}") from None
    if troubles and set(troubles.values()) == {LOCKED} and not any(folder.iterdir()):
        raise ValueError(f"{path} is encrypted: unpack it with its password, and give the folder")
    return troubles


def _place(info: ZipInfo) -> tuple[Path, str]:
    """Where a file is put, and why it is not, if so."""
    name = _name(info)
    parts = re.split(r"[/\\]", name.rstrip("/"))
    where = Path(*([_short(part) for part in parts if part not in ("", ".", "..")] or ["no name"]))
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", name):
        return where, f"its name in the zip file, {name!r}, leads out of it"
    if stat.S_ISLNK(info.external_attr >> 16):
        return where, "it is a link, and links are not followed"
    if info.flag_bits & 1:
        return where, LOCKED
    if len(where.parts) > DEEPEST:
        return Path(*where.parts[:DEEPEST]), f"it lies in more than {DEEPEST} folders in one another"
    return where, ""


def _name(info: ZipInfo) -> str:
    """A file's name. Many programs write UTF-8 and do not say so; then Python has read it as IBM's letters of 1981."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _short(part: str) -> str:
    """A part of a path that any file system takes."""
    part = part.encode("utf-8", "replace").decode()
    if len(part.encode()) <= NAME:
        return part
    ending = Path(part).suffix[:10]
    return f"{part[: NAME // 5]}~{hashlib.sha256(part.encode()).hexdigest()[:8]}{ending}"


def _written(archive: ZipFile, info: ZipInfo, to: Path) -> tuple[str, int]:
    """Writes one file, as old as the zip file says: what went wrong, or "", and the bytes that were written."""
    try:
        (to if info.is_dir() else to.parent).mkdir(parents=True, exist_ok=True)
        if info.is_dir():
            return "", 0
        again = "it is in the zip file more than once, and the last one was taken" if to.exists() else ""
        data, trouble = _content(archive, info)
        if trouble:
            return trouble, 0
        to.write_bytes(data)
        if info.file_size > LARGEST:
            os.truncate(to, info.file_size)  # whoever looks at it sees how large it is, and reads no further
        with contextlib.suppress(ValueError, OverflowError):  # a date that there is not
            written = datetime(*info.date_time).timestamp()
            os.utime(to, (written, written))
        return again, len(data)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        return "a folder and a file have the same name", 0


def _content(archive: ZipFile, info: ZipInfo) -> tuple[bytes, str]:
    """What is in one file, nothing of one that is too large to be read; and what went wrong, or ""."""
    if info.file_size > LARGEST:
        return b"", ""
    try:
        with archive.open(info) as source:
            return source.read(), ""  # no more than it says
    except Exception as error:  # each way to pack has errors of its own
        return b"", f"it is damaged in the zip file ({error})"
