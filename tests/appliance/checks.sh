# What the tests of the appliance share: sentences that hold or do not, and deadlines. Sourced.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/enclosure.sh"
passed=0 failed=0 skipped=0

# Seconds that a machine may take for what takes one here. An emulated processor is many times slower.
scaled() { echo $(($1 * ${SLOWER:-1})); }

# tell STATE SENTENCE [WHY]: one line, counted. The sentence is also where the test stands, should it be stopped.
tell() { printf '%-10s %3d  %s%s\n' "$1" $((passed + failed + skipped)) "$2" "${3:+ ($3)}"; }
holds() { passed=$((passed + 1)) && tell ok "$1"; }
fails() {
    failed=$((failed + 1))
    tell FAILED "$1"
    tail -n 12 "$WORK/said" | sed 's/^/    | /'
    [ $failed -lt "${FAILURES_MAX:-8}" ] || give_up "too much fails, the rest is not looked at"
}
skip() { skipped=$((skipped + 1)) && tell "not tested" "$1" "$2"; }

# here SENTENCE COMMAND: holds if the command does, in this shell, outside of the machine. CHECK_S is the deadline.
here() {
    echo "$1" >"$WORK/stands"
    if within "$(scaled "${CHECK_S:-20}")" bash -c "set -euo pipefail; $2" >"$WORK/said" 2>&1; then holds "$1"; else fails "$1"; fi
}

# check SENTENCE COMMAND: the same for a command in the machine, as root.
check() {
    echo "$1" >"$WORK/stands"
    if machine "set -euo pipefail; $2" >"$WORK/said" 2>&1; then holds "$1"; else fails "$1"; fi
}

# must SENTENCE COMMAND: a check without which the others would say nothing.
must() {
    local before=$failed
    check "$@"
    [ $failed -gt "$before" ] || return 0
    machine 'journalctl --no-pager -n 20 -u picloud' 2>&1 | sed 's/^/    | /'
    give_up "the others need this"
}

# The last line, and the exit code: for `trap summary EXIT`.
summary() {
    local code=$?
    [ $((passed + failed)) -gt 0 ] || exit $code
    printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
    [ $failed -eq 0 ] || exit 1
    exit $code
}
