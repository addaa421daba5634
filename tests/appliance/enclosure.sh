# Each test of the appliance runs enclosed: whatever it starts, mounts or makes goes with it, however it ends. Sourced.
#
#   can_enclose              what any of this needs, or ends with 77; sweeps up what earlier runs have left, if they were killed
#   outside                  whether this is not yet inside: what needs the network of this machine has to be done now
#   enclose SECONDS WORD...  runs this script once more, with these words, enclosed, and ends as that ends, or at the deadline.
#                            Returns only inside, where WORK is the folder for everything
# shellcheck shell=bash
set -euo pipefail
APPLIANCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$APPLIANCE/../.." && pwd)
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-$ROOT/target}/appliance")
export PATH="$PATH:/usr/sbin:/sbin"
BOX='' WATCH=''

say() { printf '== %s\n' "$*" >&2; }
not_tested() { printf 'not tested: %s\n' "$*"; exit 77; }
give_up() { printf 'FAILED: %s\n' "$*"; exit 1; }

# within SECONDS COMMAND...: ends the command at its deadline. It runs in the background, because only then a signal reaches
# this shell while it waits; and without standard input, which the machine would otherwise read.
within() {
    timeout -k 5 "$1" "${@:2}" </dev/null &
    wait $!
}

# need COMMAND PACKAGE...: installs the packages unless there is such a program, or the words of the command do something.
need() {
    is_there "$1" && return 0
    command -v apt-get >/dev/null || not_tested "$1 is not installed"
    mkdir -p "$TARGET"
    { within 60 apt-get -o DPkg::Lock::Timeout=60 -o Acquire::http::Timeout=20 update || true
        DEBIAN_FRONTEND=noninteractive within 240 apt-get -o DPkg::Lock::Timeout=60 -o Acquire::http::Timeout=20 \
            install -y --no-install-recommends "${@:2}"; } >"$TARGET/apt.log" 2>&1 ||
        not_tested "apt cannot install ${*:2}: $(tail -n 1 "$TARGET/apt.log")"
}
is_there() {
    # shellcheck disable=SC2086 # a command's words
    case $1 in *' '*) within 20 $1 >/dev/null 2>&1 ;; *) command -v "$1" >/dev/null ;; esac
}

outside() { [ -z "${WORK:-}" ]; }

can_enclose() {
    local old
    trap 'exit 1' INT TERM HUP
    trap children_end EXIT
    [ "$(id -u)" = 0 ] || not_tested "this needs root"
    within 10 unshare --pid --fork --kill-child --mount --mount-proc --net true 2>/dev/null || not_tested "this machine allows no namespaces"
    need ip iproute2
    mkdir -p "$TARGET"
    for old in "$TARGET"/run.*; do
        if [ -d "$old" ] && flock -n "$old/alive" true; then tidy_up "$old"; fi
    done
    trap 'exit 1' INT TERM HUP
}

# Its namespaces are those of processes, mounts and network: the kernel ends all processes with the first one, which ends with this
# shell, also if that is killed. Nothing in there holds our output, so nothing can keep who reads it waiting.
enclose() {
    local limit=$1 code=0 work
    shift
    trap 'exit 1' INT TERM HUP
    outside || { trap children_end EXIT && ip link set lo up && return; }
    work=$(mktemp -d "$TARGET/run.XXXXXX")
    # shellcheck disable=SC2064 # the folder is the one of now
    trap "box_ends; tidy_up '$work'" EXIT
    exec 8>"$work/alive"
    flock -n 8
    : >"$work/output"
    WORK=$work setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --mount-proc --net bash "$0" "$@" \
        </dev/null >>"$work/output" 2>&1 8>&- &
    BOX=$!
    timeout -k 5 "$limit" tail -s 0.2 -n +1 --pid="$BOX" -f "$work/output" 8>&- &
    WATCH=$!
    wait "$WATCH" || give_up "not done within $limit s; it stood at: $(cat "$work/stands" 2>/dev/null || echo 'see above')"
    wait "$BOX" || code=$?
    BOX=
    case $code in
        0 | 1 | 77) exit "$code" ;;
        *) give_up "ended with $code; it stood at: $(cat "$work/stands" 2>/dev/null || echo 'see above')" ;;
    esac
}

# Its first process is asked to end in order, then all of them go.
box_ends() {
    local first
    trap '' INT TERM HUP
    [ -n "$BOX" ] || return 0
    first=$(pgrep -P "$BOX" || true)
    if [ -n "$first" ]; then
        kill -TERM "$first" 2>/dev/null || true
        for _ in {1..100}; do
            [ -d "/proc/$first" ] || break
            sleep 0.1
        done
        # A card's server goes while others still hold its mounts: were it the last, it would wait for itself for ever.
        for _ in {1..10}; do
            pkill -KILL --ns "$first" --nslist pid -x nbdfuse 2>/dev/null || break
            sleep 0.2
        done
    fi
    # The shell would say that they were killed.
    { kill -KILL "$BOX" "$WATCH" && wait; } 2>/dev/null || true
}

# A shell that was told to end ends its children, each of which has a deadline for that.
children_end() {
    local child
    for child in $(jobs -p); do kill -TERM "$child" 2>/dev/null || true; done
    wait
}

tidy_up() {
    trap '' INT TERM HUP
    children_end
    # Control groups outlast their processes, in version 1 and 2.
    mkdir -p "$1/cgroup"
    within 20 unshare --mount sh -c '
        mount -t cgroup2 cgroup2 "$1"
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            left=
            for group in "$1/$2" "/sys/fs/cgroup/$2" /sys/fs/cgroup/*/"$2"; do
                [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + || left=yes
            done
            [ "$left" ] || break
            sleep 0.1
        done' sh "$1/cgroup" "$(cgroup_of "$1")" >/dev/null 2>&1 || true
    [ -z "${KEEP_LOGS:-}" ] || cp -r "$1"/*.log "$1/said" "$1/output" "$KEEP_LOGS" || true
    if [ -n "${KEEP:-}" ]; then mv "$1" "${1/run./kept.}" && say "kept: ${1/run./kept.}"; else rm -rf --one-file-system "$1"; fi
}

cgroup_of() { echo "picloud-appliance-${1##*.}"; }
