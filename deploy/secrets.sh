#!/bin/sh
# Makes deploy/secrets, which deploy/compose.yaml mounts: an API key and passwords, drawn at random. What exists stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets

random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

# make NAME reads the content from standard input. The folder is closed to other users; the files are open to the users
# that the containers run as, since compose mounts a file with the owner it has here.
make() {
    if [ -e "$1" ]; then echo "secrets/$1 exists"; cat >/dev/null; return; fi
    cat >"$1" && chmod 0644 "$1" && echo "made secrets/$1"
}

if [ ! -e redis.conf ] || [ ! -e settings.toml ]; then
    password=$(random)
    rm -f redis.conf settings.toml
    printf 'requirepass %s\n' "$password" | make redis.conf
    printf 'redis_url = "redis://:%s@redis:6379/0"\n' "$password" | make settings.toml
fi
# `make` opens its file while the other side of its pipe still runs, so what is written must be known before.
line=
if [ ! -e api-keys ]; then
    # What gateways read is a hash; the key itself stays here.
    key=$(random)
    (printf '%s\n' "$key" >api-key)
    hash=$(printf %s "$key" | sha256sum | cut -d' ' -f1)
    scopes=events,recommend,items,users,admin
    line="sha256:$hash name=first tenant=default scopes=$scopes created=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
fi
printf '%s\n' "$line" | make api-keys
random | make grafana-password
