#!/usr/bin/env bash
# pi-zero.sh [CASE...]
# The benchmark as on a Pi Zero 2 W: the daemon and the base lines beside it in 512 MiB, with the share of this machine's
# processor that four Cortex-A53 at 1 GHz are, on a slow card (15 ms a flush, 10 MB/s). The load comes from outside of these
# limits. The cases are those of `cargo bench -p picloud-tests`; without any, those that make sense there (slow-card.sh counts
# the bytes of requests at the card itself). Prints its page.
#   CPU=125          percent of one processor, instead of what a loop here and its time on such a Pi make of it
#   SECONDS_EACH=3   length of a round and of a base line
# PICLOUD_PROGRAMS=DIR has `picloudd` and the benchmark as `performance`, optimised; otherwise cargo builds them.
# Exit status: 0 all was measured, 1 otherwise, 77 not tested here.
. "$(dirname "$0")/lib.sh"

cases=("$@")
[ $# -gt 0 ] || cases=(sync-read sync-write async drain start-latency fsyncs memory idle reads start)
seconds=${SECONDS_EACH:-3}

# The benchmark and the daemon as they ship, in PICLOUD_PROGRAMS.
need_benchmark() {
    if [ -z "${PICLOUD_PROGRAMS:-}" ]; then
        (cd "$ROOT" && cargo build --release -p picloud-daemon -p picloud-tui --bins && cargo bench -p picloud-tests --bench performance --no-run) >&2
        PICLOUD_PROGRAMS=${CARGO_TARGET_DIR:-$ROOT/target}/release
        # shellcheck disable=SC2012 # names without surprises
        ln -sf "$(ls -t "$PICLOUD_PROGRAMS"/deps/performance-*[0-9a-f] | head -n 1)" "$PICLOUD_PROGRAMS/performance"
    fi
    need_programs performance
}

# Percent of one processor of this machine that four of a Pi Zero 2 W are. The Pi's time for the loop is an estimate.
pi_share() {
    python3 -c 'import os, sys, time
times = []
for _ in range(3):
    begin, x = time.process_time(), 0
    for i in range(3_000_000):
        x = (x * 31 + i) & 0xffffffff
    times.append(time.process_time() - begin)
# Something has to be left for the load.
print(round(min(4 * 100 * min(times) / float(sys.argv[1]), 100 * os.cpu_count() - 50)))' "${A53_SECONDS:-2.1}"
}

if outside; then
    can_enclose
    need_card
    need_benchmark
    export CPU=${CPU:-$(pi_share)}
fi
# Some cases send thousands of requests one after the other.
enclose $((600 + ${#cases[@]} * (150 + 50 * ${seconds%.*}))) "$@"
set_the_stage
limit 512M "$CPU"
[ ${#LIMITED[@]} -gt 0 ] || not_tested "there are no control groups"
card make 1024
card plug
card slow 15 10000000
drive "$PICLOUD_PROGRAMS/performance" --dir "$CARD/mnt" --picloudd "$PICLOUD_PROGRAMS/picloudd" --seconds "$seconds" \
    "${LIMITED[@]}" "${cases[@]}"
echo "taken with CPU=$CPU: $CPU % of one processor, 512 MiB, 15 ms a flush, 10 MB/s"
