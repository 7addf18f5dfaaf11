#!/usr/bin/env bash
# Installs what some tests need from Debian: Chromium and the font of our pictures, and bubblewrap, the walls around
# what students hand in. Does nothing where all are there.
set -euo pipefail
missing=()
for package in chromium fonts-dejavu-core bubblewrap; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
if command -v chromium chromium-browser google-chrome >/dev/null && [[ " ${missing[*]-} " == *" chromium "* ]]; then
  missing=(${missing[@]/#chromium}) # another build of it will do
fi
((${#missing[@]})) || exit 0
if ! command -v apt-get >/dev/null; then
  echo "install_tools.sh knows Debian and Ubuntu only: install Chromium and bubblewrap, so that \`chromium\` and \`bwrap\` run." >&2
  exit 1
fi
as_root=()
((EUID == 0)) || as_root=(sudo)
echo "Installing ${missing[*]}: a minute or two, only once."
"${as_root[@]}" apt-get update --quiet=2
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}" >/dev/null
