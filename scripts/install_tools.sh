#!/usr/bin/env bash
# Installs what some tests need from Debian: Chromium and the font of our pictures, and bubblewrap, the walls around
# what students hand in; Slurm with its database, which the tests start for themselves. Does nothing where all are there.
set -euo pipefail
missing=()
slurm=(slurm-wlm slurm-wlm-basic-plugins munge slurmdbd slurm-wlm-mysql-plugin mariadb-server-core mariadb-client-core)
for package in chromium fonts-dejavu-core bubblewrap "${slurm[@]}"; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
if command -v chromium chromium-browser google-chrome >/dev/null && [[ " ${missing[*]-} " == *" chromium "* ]]; then
  missing=(${missing[@]/#chromium}) # another build of it will do
fi
((${#missing[@]})) || exit 0
if ! command -v apt-get >/dev/null; then
  echo "install_tools.sh knows Debian and Ubuntu only: install Chromium, bubblewrap and Slurm, so that \`chromium\`, \`bwrap\` and \`slurmctld\` run." >&2
  exit 1
fi
as_root=()
((EUID == 0)) || as_root=(sudo)
echo "Installing ${missing[*]}: a minute or two, only once."
"${as_root[@]}" apt-get update --quiet=2
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}" >/dev/null
