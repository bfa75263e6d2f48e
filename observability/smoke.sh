#!/usr/bin/env bash
# Starts the containers, sends them one trace and two metrics, and waits until each of them is where a person would look:
# the trace in Jaeger, the metrics and an alert in Prometheus, the dashboards in Grafana. Then it stops them.
#
# It needs docker with compose, curl and the ports of compose.yaml. Its containers and volumes have names of their own,
# so the data of containers that run for somebody else are not touched; while those run, the ports are taken and it fails.
# `smoke.sh --local` checks Prometheus alone, without containers: see smoke_local.sh.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ "${1:-}" = --local ]; then
    exec ./smoke_local.sh
fi

readonly DEADLINE_S=90
jaeger=http://127.0.0.1:16686
prometheus=http://127.0.0.1:9090
grafana=http://127.0.0.1:3000
otlp=http://127.0.0.1:4318

compose() {
    docker compose --project-name volery-smoke --file compose.yaml "$@"
}

stop() {
    compose down --volumes --timeout 5
}

# Asks until the answer matches the pattern, or the time is over.
wait_for() {
    local what=$1 pattern=$2 answer='' begun=$SECONDS
    shift 2
    until answer=$(curl --silent --max-time 5 "$@") && grep --quiet --extended-regexp "$pattern" <<<"$answer"; do
        if [ $((SECONDS - begun)) -ge "$DEADLINE_S" ]; then
            echo "no $what after $DEADLINE_S s; the last answer was: ${answer:0:2000}" >&2
            compose logs --tail 50 >&2
            exit 1
        fi
        sleep 1
    done
    echo "$what: there after $((SECONDS - begun)) s"
}

query() {
    wait_for "$1" '"value":\[' --get --data-urlencode "query=$2" "$prometheus/api/v1/query"
}

send() {
    curl --silent --show-error --fail --output /dev/null --header 'Content-Type: application/json' \
        --data-binary @- "$otlp/v1/$1"
}

resource='{"attributes": [
    {"key": "service.name", "value": {"stringValue": "volery-smoke"}},
    {"key": "service.instance.id", "value": {"stringValue": "smoke-1"}}]}'

# A run with a job and its attempt, in the shape that docs/observability.md describes.
trace() {
    local trace_id=$1 now_ns=$2
    local run='{"key": "volery.run.id", "value": {"stringValue": "smoke-run"}}'
    local agent='{"key": "volery.agent.name", "value": {"stringValue": "smoke"}}'
    cat <<JSON
{"resourceSpans": [{"resource": $resource, "scopeSpans": [{"scope": {"name": "volery"}, "spans": [
  {"traceId": "$trace_id", "spanId": "0000000000000001", "name": "run smoke", "kind": 1,
   "startTimeUnixNano": "$((now_ns - 3000000000))", "endTimeUnixNano": "$now_ns", "attributes": [$run]},
  {"traceId": "$trace_id", "spanId": "0000000000000002", "parentSpanId": "0000000000000001", "name": "job smoke",
   "kind": 1, "startTimeUnixNano": "$((now_ns - 2000000000))", "endTimeUnixNano": "$((now_ns - 1000000))",
   "attributes": [$run, $agent]},
  {"traceId": "$trace_id", "spanId": "0000000000000003", "parentSpanId": "0000000000000002", "name": "attempt smoke",
   "kind": 5, "startTimeUnixNano": "$((now_ns - 1000000000))", "endTimeUnixNano": "$((now_ns - 2000000))",
   "attributes": [$run, $agent], "status": {"code": 2, "message": "on purpose"}}
]}]}]}
JSON
}

metrics() {
    local now_ns=$1
    local agent='{"key": "volery.agent.name", "value": {"stringValue": "smoke"}}'
    local reason='{"key": "volery.reason", "value": {"stringValue": "on purpose"}}'
    cat <<JSON
{"resourceMetrics": [{"resource": $resource, "scopeMetrics": [{"scope": {"name": "volery"}, "metrics": [
  {"name": "volery.jobs.limit", "unit": "{job}", "gauge": {"dataPoints": [
    {"timeUnixNano": "$now_ns", "asInt": "8", "attributes": [$agent]}]}},
  {"name": "volery.dead_letters", "unit": "{job}", "sum": {"aggregationTemporality": 2, "isMonotonic": true,
    "dataPoints": [{"startTimeUnixNano": "$((now_ns - 3000000000))", "timeUnixNano": "$now_ns", "asInt": "1",
      "attributes": [$agent, $reason]}]}}
]}]}]}
JSON
}

trap stop EXIT
compose up --detach --wait

trace_id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
now_ns=$(date +%s%N)
trace "$trace_id" "$now_ns" | send traces
metrics "$now_ns" | send metrics

for span in 'run smoke' 'job smoke' 'attempt smoke'; do
    wait_for "span $span in Jaeger" "\"operationName\":\"$span\"" "$jaeger/api/traces/$trace_id"
done
wait_for "the trace by its run id" "$trace_id" --get --data-urlencode 'service=volery-smoke' \
    --data-urlencode 'tags={"volery.run.id":"smoke-run"}' "$jaeger/api/traces"
query "a metric of the service" 'volery_jobs_limit{job="volery-smoke", instance="smoke-1", volery_agent_name="smoke"} == 8'
query "a counter of the service" 'volery_dead_letters_total{job="volery-smoke", volery_agent_name="smoke"} == 1'
query "metrics made of spans" 'traces_span_metrics_calls_total{volery_agent_name="smoke", span_kind="SPAN_KIND_CONSUMER"}'
query "the page for a dead letter" \
    'ALERTS{alertname="VoleryDeadLetters", alertstate="firing", severity="page", job="volery-smoke"}'
for board in volery-runtime volery-runs; do
    wait_for "dashboard $board" "\"uid\":\"$board\"" "$grafana/api/dashboards/uid/$board"
done
for source in volery-prometheus volery-jaeger; do
    wait_for "data source $source" '"status":"OK"' "$grafana/api/datasources/uid/$source/health"
done
echo "smoke: passed"
