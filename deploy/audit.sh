#!/bin/sh
# Looks up known vulnerabilities of the packages of some locks: audit.sh FOLDER-OF-PIP-AUDIT LOCK...
# Only names and versions leave this machine. Exit status: 0 none, 1 some, 3 the database can't be reached.
set -eu
bin=$1; shift
database=https://api.osv.dev
"$bin/python" - "$database" <<'PYTHON' || { echo "$database can't be reached: nothing was audited" >&2; exit 3; }
import sys

import requests

try:
    requests.get(sys.argv[1], timeout=10)
except requests.RequestException:
    sys.exit(1)
PYTHON
status=0
for lock in "$@"; do
    echo "== $lock"
    "$bin/pip-audit" --vulnerability-service osv --disable-pip --require-hashes --requirement "deploy/locks/$lock.txt" || status=1
done
exit $status
