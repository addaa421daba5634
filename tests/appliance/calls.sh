# Callers from outside of the machine, in the back, and what became of their calls. Sourced after machine.sh.
# shellcheck shell=bash
export PATIENCE_S=${PATIENCE_S:-$(scaled 20)}

# load SECONDS NAME URL...: callers in the back. Their count is read by `calls_end`.
load() {
    mkdir -p "$WORK/$2"
    setsid python3 "$APPLIANCE/callers.py" load "$(scaled "$1")" "$WORK/$2" "${@:3}" </dev/null >"$WORK/$2.log" 2>&1 &
    await 10 "callers call" [ -s "$WORK/$2/acknowledged" ] || true
}
# calls_end NAME: tells the callers that it is enough, and waits until the last has its answer.
calls_end() {
    : >"$WORK/$1/enough"
    await 30 "the last caller has its answer" [ -e "$WORK/$1/count" ] || true
}
# Every reading whose 201 came is in the store.
kept() {
    machine_put "$WORK/$1/acknowledged" /var/tmp/
    check "$2" 'wc -l </var/tmp/acknowledged; picloud docs list greenhouse/readings --all --json | grep -oE "\b01[0-9A-Z]{24}\b" | sort -u >/var/tmp/kept
        lost=$(sort -u /var/tmp/acknowledged | comm -23 - /var/tmp/kept | wc -l); echo "$lost lost"; [ "$lost" = 0 ] && [ -s /var/tmp/acknowledged ]'
}
