#!/usr/bin/env bash
# Throws what docs/openapi.json allows, and what it forbids, at a daemon's admin API: no answer may be a failure of the
# daemon, and none may be other than described. Needs python3 with venv; downloads schemathesis from PyPI, and ends with 77
# where it cannot be had.
#   tests/fuzz-api.sh [EXAMPLES [SEED]]
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
examples="${1:-20}" seed="${2:-1}"

target="${CARGO_TARGET_DIR:-$root/target}"
python="$target/fuzz-api"
if [ ! -x "$python/bin/schemathesis" ]; then
    { python3 -m venv "$python" && "$python/bin/pip" install --quiet --disable-pip-version-check -r tests/fuzz-api.txt; } || {
        echo "not tested: schemathesis cannot be installed"
        exit 77
    }
fi

# The programs of the tests, which whoever runs all checks has built.
cargo test --quiet --workspace --no-run
built="$target/debug"
site="$(mktemp -d)"
stop() {
    if [ -n "${daemon:-}" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" || true
    fi
    rm -rf "$site"
}
trap stop EXIT

port() { "$python/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
admin="127.0.0.1:$(port)"
cat > "$site/picloud.toml" <<TOML
[http]
listen = "127.0.0.1:0"
[admin]
socket = "$site/admin.sock"
listen = "$admin"
[store]
url = "sqlite://$site/picloud.db"
[runtime]
directory = "$site"
[log]
level = "error"
TOML
"$built/picloudd-under-test" run --config "$site/picloud.toml" &
daemon=$!
picloud() { "$built/picloud-under-test" --socket "$site/admin.sock" "$@"; }
within_10_s() {
    for _ in $(seq 100); do
        "$@" && return
        sleep 0.1
    done
    echo "in vain: $*" >&2
    return 1
}
answers() { picloud apps list >/dev/null 2>&1; }
within_10_s answers

# Something of everything that has an id, so that not every answer is a 404.
picloud deploy daemon/demo
picloud deploy tests/fuzz-api
picloud kv set greenhouse/limits dry 20
picloud docs set greenhouse/readings a3 '{"moisture": 17}'
printf 'hunter2' | picloud secrets set greenhouse/KEY -
picloud principals create somebody
field() { "$python/bin/python" -c "import json, sys; print(json.loads(sys.stdin.readline())$1)"; }
token="$(picloud tokens create the-fuzzer --grant InstanceAdmin --json | field '["secret"]')"
picloud scripts run broken/around --async
has_abandoned() { [ -n "$(picloud abandoned list --json)" ]; }
within_10_s has_abandoned
picloud pause broken
picloud scripts run broken/fail --async
picloud outbox cancel "$(picloud outbox list --json | field '["id"]')" --reason 'to have a dead letter'
picloud scripts run broken/fail --async
LETTER="$(picloud dead-letters list --json | field '["id"]')"
ABANDONED="$(picloud abandoned list --json | field '["id"]')"
EXECUTION="$(picloud executions list --json | field '["id"]')"
ROW="$(picloud outbox list --json | field '["id"]')"
export LETTER ABANDONED EXECUTION ROW

# In a folder of its own, since it leaves a cache behind.
round() (
    cd "$site"
    "$python/bin/schemathesis" --config-file "$1" run "$root/docs/openapi.json" --url "http://$admin/api/v1/admin" \
        --header "Authorization: Bearer $token" --phases examples,coverage,fuzzing --warnings off \
        --seed "$seed" --max-examples "$examples" --checks "$checks" "${@:2}" ${FUZZ_REPORT:+--report har --report-har-path "$FUZZ_REPORT"}
)
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance
# What takes away the ground that the rest stands on comes last.
last='^(DeleteApp|DeletePrincipal|Revoke|RevokeToken)$'
# And what has no end does not come at all.
rest="$last|^StreamEvents\$"
round "$root/tests/fuzz-api.toml" --exclude-operation-id-regex "$rest"
round /dev/null --exclude-operation-id-regex "$rest"
round /dev/null --include-operation-id-regex "$last"
kill -0 "$daemon"
answers
