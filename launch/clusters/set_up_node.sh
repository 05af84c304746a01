#!/usr/bin/env bash
# Makes ~/venv on a node, with the versions of constraints.txt. `ray up` runs it on every node; where all is there, it
# takes seconds.
#
#   set_up_node.sh [EXTRA[,EXTRA…]]     extras of setup.py: cuda (then the GPU's driver is awaited), gcp, aws
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
extras=${1:-}

# First: as it came it may be readable by all, since Ray writes it so.
if [[ -e ~/.ray/auth_token ]]; then chmod 600 ~/.ray/auth_token; fi

# At its first boot an image installs things of its own, and holds locks, not all of which apt knows how to wait for.
patiently() {
  for _ in {1..30}; do
    "$@" && return
    sleep 10
  done
  "$@"
}

if ! python3.11 -c 'import ensurepip, venv' 2>/dev/null; then
  if command -v cloud-init >/dev/null; then sudo cloud-init status --wait >/dev/null || true; fi
  # Ubuntu 22.04 has only a release candidate of Python 3.11.
  if command -v add-apt-repository >/dev/null; then patiently sudo add-apt-repository -y ppa:deadsnakes/ppa; fi
  patiently sudo apt-get -qq update
  patiently sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3.11-venv
fi
test -x ~/venv/bin/pip || python3.11 -m venv --clear ~/venv
pip=(~/venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check -c constraints.txt)
"${pip[@]}" setuptools wheel
"${pip[@]}" --no-build-isolation -e ".${extras:+[$extras]}"

# For those who log in; the commands that start Ray say it themselves. The last: a machine that comes weeks after the
# head has a later 3.11, and Ray would not let it in.
grep -q RAY_AUTH_MODE ~/.bashrc 2>/dev/null ||
  echo 'export PATH=$HOME/venv/bin:$PATH RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL=minor' >>~/.bashrc

if [[ ,$extras, == *,cuda,* ]]; then
  # The image brings the driver; its modules may be loaded later than sshd answers.
  for _ in {1..60}; do
    nvidia-smi >/dev/null 2>&1 && break
    sleep 5
  done
  nvidia-smi --query-gpu=name,driver_version --format=csv
fi
