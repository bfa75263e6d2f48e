#!/usr/bin/env bash
# Checks the files of this folder that no compiler reads. It needs no network, no container and no running service.
#
# Two tools are used where they are: promtool and check-jsonschema; tools.sh fetches them. A check whose tool is missing
# is skipped with a line that says so, or fails when CI=true. `observability/tests/telemetry/files.rs` checks the rest:
# that names are those of the runtime, that every alert has a test and a page, that ports are local and images pinned.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
tools=${CARGO_TARGET_DIR:-$here/../target}/observability-tools
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A tool of the path comes first; then the fetched one. Prints nothing if there is none.
tool() {
    command -v "$1" || { [ ! -x "$2" ] || echo "$2"; }
}

# Says that checks were left out; with CI=true that is a failure.
skipped() {
    echo "skipped: $1 is missing; observability/tools.sh fetches it"
    [ "${CI:-}" != true ] || exit 1
}

scripts() {
    local script
    for script in ./*.sh; do
        bash -n "$script"
    done
    echo "scripts: no syntax errors"
}

# promtool reads no dashboards, but rules: every expression of a panel becomes a rule, named after its place.
panels_as_rules() {
    python3 - grafana/dashboards/*.json <<'PYTHON'
import json, sys

rules = []
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        board = json.load(file)
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h")
            place = board["uid"].replace("-", "_") + f":panel_{panel['id']}:{target['refId']}"
            rules.append({"record": place, "expr": expression})
if not rules:
    sys.exit("no panel has an expression")
print(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
PYTHON
}

prometheus() {
    local promtool=$1
    "$promtool" check config prometheus/prometheus.yml
    "$promtool" test rules prometheus/rules_test.yml
    "$promtool" check metrics <metrics.sample.txt
    panels_as_rules >"$scratch/panels.yml"
    "$promtool" check rules "$scratch/panels.yml"
}

scripts
promtool=$(tool promtool "$tools/promtool")
if [ -n "$promtool" ]; then
    prometheus "$promtool"
else
    skipped promtool
fi
schema=$(tool check-jsonschema "$tools/python/bin/check-jsonschema")
if [ -n "$schema" ]; then
    "$schema" --builtin-schema vendor.compose-spec compose.yaml
else
    skipped check-jsonschema
fi
echo "observability: linted"
