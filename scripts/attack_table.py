"""Grades all attacks of tests/attacks in one run, and writes the table of docs/attacks.md from what came of it.

.venv/bin/python scripts/attack_table.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
HEAD = """# What was tried, and what came of it

Each row is a submission that tries to get points, secrets or the grader's machine. `tests/attacks/` has them all, and
the tests grade each, and an honest neighbour after every few of them. The fair score is what its right answers are
worth, of {full} points: a range where a clock decides whether the rest can still be graded. Written by
`scripts/attack_table.py`.
"""


def main() -> None:
    """Grades, and writes the table."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    import test_attacks as tests  # type: ignore[import-not-found]

    folder = Path(tempfile.mkdtemp())
    try:
        campaign = tests.run(tests.ATTACKS, folder)
    finally:
        tests.remove(folder)
    lines, kind = [HEAD.format(full=tests.FULL)], ""
    for attack in tests.ATTACKS:
        if attack.kind != kind:
            kind = attack.kind
            lines += [
                f"\n## {tests.title(kind)}\n",
                "| attack | what it tries | fair | got | because |",
                "| --- | --- | --- | --- | --- |",
            ]
        result = tests.result_of(campaign, attack)
        because = _because(result)
        lines.append(f"| `{attack.name}` | {attack.tries} | {attack.fair} | {result['points']:g} | {because} |")
    honest = [campaign.results[student]["points"] for student in {*campaign.neighbours.values()}]
    harmed = sum(points < tests.FULL for points in honest)
    lines.append(f"\n{len(tests.ATTACKS)} attacks and {len(honest)} honest neighbours, of whom {harmed} were harmed.\n")
    (REPOSITORY / "docs" / "attacks.md").write_text("\n".join(lines), encoding="utf-8")


def _because(result: dict[str, Any]) -> str:
    reasons = dict.fromkeys(check["reason"] for check in result["checks"] if check["reason"])
    return f"refused: {result['refused']}" if result["refused"] else ", ".join(reasons) or "all right"


if __name__ == "__main__":
    main()
