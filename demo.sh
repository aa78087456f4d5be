#!/usr/bin/env bash
# The whole path in minutes on two cores, with nothing but package installs: distil a real teacher into a 3-layer student
# on the built-in corpus, export it, serve it, call it, load it. Everything it makes lies under build/demo.
set -euo pipefail
cd "$(dirname "$0")"
port=${PORT:-8080}
url=http://127.0.0.1:$port
out=build/demo
export DISCO_DATA=  # the same demo everywhere: no data set, even where there is one
rm -rf "$out"
mkdir -p "$out"

echo "── 1/4 train: all-MiniLM-L6-v2 → 3 layers, on docstrings of installed packages"
python -m train demo --out "$out/student"

echo "── 2/4 export: int8 ONNX behind parity and quality gates"
python -m export "$out/student" --out "$out/bundle"

echo "── 3/4 serve $out/bundle on $url"
python -m server --bundle "$out/bundle" --port "$port" 2>"$out/server.log" &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true' EXIT
python - "$url" <<'PYTHON'
import json, sys, time, urllib.error, urllib.request

url = sys.argv[1]


def call(path, body=None):
    request = urllib.request.Request(url + path, body and json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return reply.read()


for attempt in range(300):
    try:
        call("/ready")
        break
    except urllib.error.URLError:
        time.sleep(0.1)
vectors = json.loads(call("/embed", {"inputs": ["A child reads a book."]}))
print(f"POST /embed       → {len(vectors)} vector of {len(vectors[0])} numbers: {vectors[0][:3]}…")
question = {"source_sentence": "How do I open a file?",
            "sentences": ["Open a file and return a stream.", "Return the sine of x.", "Read the contents of a file."]}
print("POST /similarity  →", [round(s, 3) for s in json.loads(call("/similarity", {"inputs": question}))])
PYTHON

echo "── 4/4 load: 16 clients for 5 seconds (generator and server share the machine)"
python -m loadtest --url "$url" --clients 16 --duration 5 --warmup 1 --json "$out/load.json"
