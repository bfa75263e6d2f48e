#!/usr/bin/env bash
# The part of smoke.sh that needs no container: a real Prometheus with the rules of this folder scrapes a real service,
# the example `15_metrics`, and is asked everything that the dashboards ask. Called as `smoke.sh --local`.
#
# It needs curl, python3 and the Prometheus that tools.sh unpacks. All ports are free ones of the loopback. Jaeger's
# targets are down here, since there is no Jaeger; nothing is said about Grafana but its expressions.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
readonly DEADLINE_S=60
scratch=$(mktemp -d)
processes=()

stop() {
    local process
    for process in "${processes[@]}"; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap stop EXIT

prometheus=$(command -v prometheus || echo "$CARGO_TARGET_DIR/observability-tools/prometheus")
[ -x "$prometheus" ] || {
    echo "prometheus is missing; observability/tools.sh fetches it" >&2
    exit 1
}
cargo build --locked --quiet --manifest-path "$root/Cargo.toml" --features prometheus --example 15_metrics

mkfifo "$scratch/printed"
"$CARGO_TARGET_DIR/debug/examples/15_metrics" 127.0.0.1:0 >"$scratch/printed" &
processes+=($!)
# The first line says where it answers. The pipe stays open, so that the others have somewhere to go.
exec 3<"$scratch/printed"
read -r -u 3 _ service
[ -n "$service" ]

# The project's files, but for the list of targets, which a user fills, and the intervals, which would take minutes.
cp -r "$here/prometheus" "$scratch/prometheus"
authority=${service#http://}
echo "[{targets: [\"${authority%/metrics}\"]}]" >"$scratch/prometheus/targets.yml"
sed -i -E 's/^( +(scrape|evaluation)_interval:).*/\1 1s/' "$scratch/prometheus/prometheus.yml"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$prometheus" --config.file="$scratch/prometheus/prometheus.yml" --storage.tsdb.path="$scratch/data" \
    --web.listen-address="127.0.0.1:$port" --log.level=warn 2>"$scratch/log" &
processes+=($!)

# Everything from here on is questions.
python3 - "http://127.0.0.1:$port" "$DEADLINE_S" "$here" <<'PYTHON' || {
import json, pathlib, re, sys, time, urllib.error, urllib.parse, urllib.request

address, deadline_s, folder = sys.argv[1], float(sys.argv[2]), pathlib.Path(sys.argv[3])
end = time.monotonic() + deadline_s


def ask(path, **query):
    with urllib.request.urlopen(f"{address}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
        return json.load(answer)["data"]


def value(expression):
    return ask("query", query=expression)["result"]


def until(what, condition):
    """Asks until the condition holds, or the time is over."""
    begun, last = time.monotonic(), None
    while True:
        try:
            if condition():
                print(f"{what}: there after {time.monotonic() - begun:.0f} s")
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            last = error
        if time.monotonic() > end:
            sys.exit(f"no {what} after {deadline_s:.0f} s {last or ''}")
        time.sleep(0.5)


until("target that is up", lambda: value('up{job="volery"} == 1'))

text = (folder / "prometheus" / "rules.yml").read_text(encoding="utf-8")
wanted = len(re.findall(r"^ +- (?:alert|record):", text, re.MULTILINE))


def rules_are_well():
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    broken = [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] == "err"]
    if broken or len(rules) != wanted:
        sys.exit(f"{len(rules)} of {wanted} rules are loaded; with errors: {broken}")
    return all(rule["health"] == "ok" for rule in rules)


until(f"{wanted} rules without an error", rules_are_well)
until("page for a dead letter", lambda: value('ALERTS{alertname="VoleryDeadLetters", alertstate="firing"}'))
until("recorded rate", lambda: value("job_runtime_agent:volery_jobs:rate5m"))

# Every expression of the dashboards, their variables matching everything. That one has no answer is no failure, since
# the example has no joins, no store that spills and no models; that it cannot be evaluated is one.
failures = 0
for path in sorted((folder / "grafana" / "dashboards").glob("*.json")):
    board = json.loads(path.read_text(encoding="utf-8"))
    variables = sorted((variable["name"] for variable in board["templating"]["list"]), key=len, reverse=True)
    asked, empty = 0, []
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "30s").replace("$__range", "1h")
            for variable in variables:
                expression = expression.replace(f"${variable}", ".*")
            asked += 1
            try:
                if not value(expression):
                    empty.append(panel["title"])
            except urllib.error.HTTPError as error:
                failures += 1
                print(f"{path.name}: {panel['title']}: {error.read().decode()}\n  {expression}", file=sys.stderr)
    print(f"{board['uid']}: {asked} expressions evaluated; nothing to show yet: {', '.join(sorted(set(empty))) or '-'}")
sys.exit(failures > 0)
PYTHON
    cat "$scratch/log" >&2
    exit 1
}
echo "smoke: passed"
