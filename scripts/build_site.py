"""Make the self-study edition out of docs/ and the stored notebooks: pages that need no server, kernel or network.

python scripts/build_site.py FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sphinx.cmd.build import main

ROOT = Path(__file__).parent.parent


def build(folder: Path) -> int:
    """Build the site into `folder`, anew. Returns 0 if there was nothing to complain about."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Sphinx wants its sources in one place, and follows links to where they lead: so copies, for a moment.
    with TemporaryDirectory() as work:
        pages = Path(work, "pages")
        pages.mkdir()
        for source in [*ROOT.glob("docs/*.md"), ROOT / "README.md"]:
            shutil.copy(source, pages)
        copied = {"images": "docs/images/*", "notebooks": "notebooks/*.ipynb"}
        copied["measurements/published"] = "measurements/published/README.md"  # pages link to it
        for name, sources in copied.items():
            (pages / name).mkdir(parents=True)
            for source in ROOT.glob(sources):
                shutil.copy(source, pages / name)
        shutil.copy(ROOT / "notebooks" / "glossary.md", pages / "notebooks")
        options = ["--conf-dir", str(ROOT / "docs"), "--doctree-dir", str(Path(work, "doctrees"))]
        made = main([*options, "--quiet", "--fail-on-warning", str(pages), str(Path(work, "site"))])
        if made == 0:
            shutil.move(Path(work, "site"), folder)
        return made


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(build(Path(sys.argv[1])))
