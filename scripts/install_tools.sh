#!/usr/bin/env bash
# Installs what some tests need beside Python, from Debian: Chromium and the font of our pictures; bubblewrap, the walls
# around what students hand in; Slurm with its database, which the tests start for themselves. And from npm, into .node, the
# proxy that JupyterHub needs and the formatter of our JavaScript. Does nothing where all are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
missing=()
slurm=(slurm-wlm slurm-wlm-basic-plugins munge slurmdbd slurm-wlm-mysql-plugin mariadb-server-core mariadb-client-core)
for package in chromium fonts-dejavu-core bubblewrap libseccomp2 "${slurm[@]}"; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
if command -v chromium chromium-browser google-chrome >/dev/null && [[ " ${missing[*]-} " == *" chromium "* ]]; then
  missing=(${missing[@]/#chromium}) # another build of it will do
fi
node=(configurable-http-proxy@5.1.0 prettier@3.10.1) # the proxy: the last for the Node.js of Debian 12
if [[ -x .node/node_modules/.bin/configurable-http-proxy && -x .node/node_modules/.bin/prettier ]]; then
  node=()
elif ! command -v npm >/dev/null; then
  missing+=(nodejs npm)
fi
if ((${#missing[@]})); then
  if ! command -v apt-get >/dev/null; then
    echo "install_tools.sh knows Debian and Ubuntu only: install Chromium, bubblewrap, Slurm and npm, so that \`chromium\`, \`bwrap\`, \`slurmctld\` and \`npm\` run." >&2
    exit 1
  fi
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  echo "Installing ${missing[*]}: a minute or two, only once."
  "${as_root[@]}" apt-get update --quiet=2
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}" >/dev/null
fi
if ((${#node[@]})); then # all of them at a time: npm removes what it is not asked for
  echo "Installing ${node[*]} into .node."
  npm install --prefix .node --no-save --no-audit --no-fund --loglevel=error "${node[@]}" >/dev/null
fi
