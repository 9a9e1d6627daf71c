#!/bin/sh
# Prometheus with the rules of this repository, beside `tastestream up`, on 127.0.0.1:9090 (PROMETHEUS_PORT) until Ctrl-C.
# TASTESTREAM_DATA_DIR is the data folder of that `up`, as for `up` itself.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=${TASTESTREAM_DATA_DIR:-$here/../../.tastestream}
port=${PROMETHEUS_PORT:-9090}
if ! command -v prometheus >/dev/null; then
    echo "Prometheus is not installed. Debian and Ubuntu: apt-get install prometheus. macOS: brew install prometheus." >&2
    echo "Elsewhere: the release of your platform from prometheus.io/download; put its folder on the PATH." >&2
    exit 1
fi
mkdir -p "$data/prometheus"
data=$(cd "$data" && pwd)
if [ ! -e "$data/prometheus-targets.json" ]; then
    echo "Nothing runs yet on $data: start \`make run\` in another terminal. It is found within seconds."
fi
# The same configuration with the paths of this machine.
sed -e "s|rules/\*\.yml|$here/rules/*.yml|" -e "s|\.\./\.\./\.tastestream|$data|" "$here/prometheus.yml" >"$data/prometheus.yml"
echo "alerts: http://127.0.0.1:$port/alerts  queries: http://127.0.0.1:$port/graph  runbooks: docs/runbooks. Ctrl-C stops."
exec prometheus --config.file="$data/prometheus.yml" --storage.tsdb.path="$data/prometheus" \
    --storage.tsdb.retention.time=31d --web.listen-address="127.0.0.1:$port" --log.level=warn
