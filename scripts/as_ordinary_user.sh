#!/usr/bin/env bash
# Runs pytest as an ordinary user, for who is root: scripts/as_ordinary_user.sh tests/test_attacks.py -q
# What is committed is cloned into a folder of that user, whose environment is made there anew (minutes) of a Python that
# everybody can run: PYTHON=…, or the system's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
git clone --quiet . "$folder/course"
chmod 755 "$folder"
chown -R 65534:65534 "$folder"
cd "$folder/course"
as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$folder")
"${as_user[@]}" make PYTHON="${PYTHON:-/usr/bin/python3}" .venv/dev
"${as_user[@]}" .venv/bin/python -m pytest "$@"
