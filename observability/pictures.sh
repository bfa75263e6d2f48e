#!/usr/bin/env bash
# Takes the pictures of docs/pictures: runs `examples/triage` and the example `14_traces` against the viewer, and photographs
# Jaeger's pages with a headless browser. Nothing of the gate calls it.
#
# It needs protoc, chromium, python3 and, to make the files small, pngquant; of Debian: protobuf-compiler, chromium,
# fonts-dejavu-core, pngquant. The ports are free ones of the loopback. The browser runs without its sandbox, which
# wants rights that a container does not have; it opens pages of the viewer only.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
pictures=$root/docs/pictures
scratch=$(mktemp -d)
viewer=''

stop() {
    [ -z "$viewer" ] || kill "$viewer" 2>/dev/null || true
    rm -rf "$scratch"
}
trap stop EXIT

need() {
    command -v "$1" >/dev/null || {
        echo "$1 is missing; $2" >&2
        exit 1
    }
}

# The address of a name that the viewer has printed.
address() {
    awk -v name="$1" '$1 == name { print $2 }' "$scratch/addresses"
}

# Waits for the end of the viewer's list, which comes when all ports are open.
start_viewer() {
    mkfifo "$scratch/printed"
    "$CARGO_TARGET_DIR/debug/volery-viewer" --ui 0 --grpc 0 --http 0 --config "$here/jaeger/ui.json" \
        >"$scratch/printed" &
    viewer=$!
    head -n 3 "$scratch/printed" >"$scratch/addresses"
    [ -n "$(address http)" ] || {
        echo "the viewer did not start" >&2
        exit 1
    }
}

# One incident of the sample, the change before it, and a line that nothing can parse: a trace that fits on a screen.
triage() {
    grep 'Connection closed by remote host' "$root/examples/data/auth.log" >"$scratch/auth.log"
    echo 'not a line of a log' >>"$scratch/auth.log"
    grep ' install openssh-server' "$root/examples/data/dpkg.log" >"$scratch/dpkg.log"
    "$CARGO_TARGET_DIR/debug/triage" "$scratch/auth.log" --changes "$scratch/dpkg.log" \
        --otlp "$(address http)"
}

need protoc 'Debian: protobuf-compiler'
need chromium 'Debian: chromium, fonts-dejavu-core'
need python3 'Debian: python3'
cargo build --locked --manifest-path "$here/viewer/Cargo.toml"
cargo build --locked --manifest-path "$root/Cargo.toml" -p volery-triage --features otlp
cargo build --locked --manifest-path "$root/Cargo.toml" --features otlp --example 14_traces

start_viewer
triage
"$CARGO_TARGET_DIR/debug/examples/14_traces" "$(address http)"
python3 "$here/pictures.py" chromium "$(address ui)" "$scratch"
mkdir -p "$pictures"
if command -v pngquant >/dev/null; then
    pngquant --force --ext .png 32 "$scratch"/*.png
fi
mv "$scratch"/*.png "$pictures/"
ls -l "$pictures"
