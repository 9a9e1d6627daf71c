#!/bin/sh
# Prometheus with the rules of this repository, beside `tastestream up`, on 127.0.0.1:9090 (PROMETHEUS_PORT) until Ctrl-C.
set -eu
here=$(dirname "$0")
port=${PROMETHEUS_PORT:-9090}
if ! command -v prometheus >/dev/null; then
    echo "Prometheus is not installed. Debian and Ubuntu: apt-get install prometheus. macOS: brew install prometheus." >&2
    echo "Elsewhere: the release of your platform from prometheus.io/download; put its folder on the PATH." >&2
    exit 1
fi
if [ ! -e "$here/../../.tastestream/prometheus-targets.json" ]; then
    echo "Nothing runs yet: start \`make run\` in another terminal. It is found within seconds."
fi
echo "alerts: http://127.0.0.1:$port/alerts  queries: http://127.0.0.1:$port/graph  Ctrl-C stops."
mkdir -p "$here/../../.tastestream/prometheus"
exec prometheus --config.file="$here/prometheus.yml" --storage.tsdb.path="$here/../../.tastestream/prometheus" \
    --storage.tsdb.retention.time=31d --web.listen-address="127.0.0.1:$port" --log.level=warn
