#!/usr/bin/env bash
# Fetches what lint.sh needs into `target/observability-tools`: promtool and check-jsonschema; and prometheus, for
# `smoke.sh --local`. It installs nothing else.
#
# promtool and prometheus come out of Debian's package `prometheus`. The package is unpacked and not installed:
# installing it would start a Prometheus on port 9090. check-jsonschema comes from PyPI, into an environment of its own.
# What is there already stays.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${CARGO_TARGET_DIR:-$here/../target}/observability-tools
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

# Runs a command as root, if that is possible without a question.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

fetch_prometheus() {
    local scratch
    scratch=$(mktemp -d "$tools/deb.XXXXXX")
    # A fresh image has no package lists; only then root is needed.
    (cd "$scratch" && apt-get download -qq prometheus 2>/dev/null) || {
        as_root apt-get update -qq
        (cd "$scratch" && apt-get download -qq prometheus)
    }
    dpkg -x "$scratch"/prometheus_*.deb "$scratch/unpacked"
    mv "$scratch"/unpacked/usr/bin/{promtool,prometheus} "$tools/"
    rm -rf "$scratch"
}

fetch_check_jsonschema() {
    rm -rf "$tools/python"
    # Debian's python3 comes without what makes an environment.
    python3 -c 'import ensurepip' 2>/dev/null || {
        as_root apt-get update -qq
        as_root apt-get install --yes --quiet --no-install-recommends python3-venv
    }
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        --requirement "$here/lint-requirements.txt"
}

for tool in promtool prometheus; do
    if ! command -v "$tool" >/dev/null && [ ! -x "$tools/$tool" ]; then
        fetch_prometheus
    fi
done
if ! "$tools/python/bin/check-jsonschema" --version >/dev/null 2>&1; then
    fetch_check_jsonschema
fi
echo "$tools"
