#!/usr/bin/env bash
# Loads a bundle (default: the shipped student) at several levels and writes one report a level to benchmarks/serving/.
# Generator and server share the machine: on few cores the figures are what is left after the generator's share.
set -euo pipefail
cd "$(dirname "$0")/.."
bundle=${1:-students/disco-minilm-l3}
out=benchmarks/serving
port=${PORT:-8080}
url=http://127.0.0.1:$port
short=build/short-queries.txt
mkdir -p "$out" build

# Texts recur within a run: without a cache every one of them is embedded.
python -m server --bundle "$bundle" --port "$port" --cache-bytes 0 --log-level warning &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true' EXIT
for _ in $(seq 100); do curl --silent --fail "$url/ready" && break; sleep 0.1; done

# Which engine it has chosen, and more.
curl --silent --fail "$url/info" >benchmarks/served.json

# Short queries for the one-client latency, so that it is comparable between servers.
for number in $(seq 2000); do echo "how do i reset the password of account $number"; done >"$short"

load() { # NAME ARGUMENTS…
    echo "── $1"
    python -m loadtest --url "$url" --duration 8 --warmup 2 --json "$out/$1.json" "${@:2}"
}
load short-1-client --clients 1 --corpus "$short"
load mixed-1-client --clients 1
load mixed-8-clients --clients 8
load mixed-32-clients --clients 32
load mixed-64-clients --clients 64
load mixed-4-clients-32-texts --clients 4 --texts-per-request 32
load mixed-poisson-200 --rate 200
