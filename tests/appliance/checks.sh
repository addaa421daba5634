# What the tests of the appliance share: sentences that hold or do not, deadlines, and an end that leaves nothing behind.
# shellcheck shell=bash
set -euo pipefail
APPLIANCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$APPLIANCE/../.." && pwd)
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-$ROOT/target}/appliance")
export PATH="$PATH:/usr/sbin:/sbin"
passed=0 failed=0 skipped=0

say() { printf '== %s\n' "$*" >&2; }
not_tested() { printf 'not tested: %s\n' "$*"; exit 77; }
give_up() { printf 'FAILED: %s\n' "$*"; exit 1; }

# within SECONDS COMMAND...: ends the command at its deadline. It runs in the background, because only then a signal reaches
# this shell while it waits; and without standard input, which the machine would otherwise read.
within() {
    timeout -k 5 "$1" "${@:2}" </dev/null &
    wait $!
}

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

# What any of this needs; ends with 77 without. What earlier runs have left, if they were killed, goes first.
can_enclose() {
    local old
    trap 'exit 1' INT TERM HUP
    trap children_end EXIT
    [ "$(id -u)" = 0 ] || not_tested "this needs root"
    within 10 unshare --pid --fork --kill-child --mount --mount-proc --net true 2>/dev/null || not_tested "this machine allows no namespaces"
    mkdir -p "$TARGET"
    for old in "$TARGET"/run.*; do
        if [ -d "$old" ] && flock -n "$old/alive" true; then tidy_up "$old"; fi
    done
}

# enclose SECONDS ARGUMENT...: runs this script once more, as the first process of its own namespaces of processes, mounts and
# network, and ends with its exit code. However that ends, the kernel then ends whatever it has started and takes away
# whatever it has mounted. Returns only inside.
enclose() {
    local limit=$1 began=$SECONDS code=0 work
    shift
    trap 'exit 1' INT TERM HUP
    outside || return 0
    work=$(mktemp -d "$TARGET/run.XXXXXX")
    exec 8>"$work/alive"
    flock -n 8
    # shellcheck disable=SC2064 # the folder is the one of now
    trap "tidy_up '$work'" EXIT
    # If this shell is killed, so is the rest: each process dies with its parent.
    WORK=$work setpriv --pdeathsig TERM timeout -k 10 "$limit" setpriv --pdeathsig KILL \
        unshare --pid --fork --kill-child --mount --mount-proc --net bash "$0" "$@" </dev/null 8>&- &
    wait $! || code=$?
    case $code in
        0 | 1 | 77) exit "$code" ;;
        *) give_up "ended after $((SECONDS - began)) of $limit s with $code; it stood at: $(cat "$work/stands" || true)" ;;
    esac
}

# A shell that was told to end ends its children, each of which has a deadline for that.
children_end() {
    local child
    for child in $(jobs -p); do kill -TERM "$child" 2>/dev/null || true; done
    wait
}

tidy_up() {
    trap '' INT TERM HUP
    local cgroup=$1/cgroup
    children_end
    # Control groups outlast their processes.
    mkdir -p "$cgroup"
    within 20 unshare --mount sh -c 'mount -t cgroup2 cgroup2 "$1" && cd "$1" && [ -d "$2" ] && find "$2" -depth -type d -exec rmdir {} +' \
        sh "$cgroup" "$(cgroup_of "$1")" >/dev/null 2>&1 || true
    [ -z "${KEEP_LOGS:-}" ] || cp -r "$1"/*.log "$1/said" "$KEEP_LOGS" || true
    rm -rf --one-file-system "$1"
}

cgroup_of() { echo "picloud-appliance-${1##*.}"; }

# Whether this is not yet inside of `enclose`: what needs the network of this machine has to be done now.
outside() { [ -z "${WORK:-}" ]; }
