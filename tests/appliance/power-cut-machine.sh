#!/usr/bin/env bash
# power-cut-machine.sh [CUTS] [SEED] [FOLDER]: cuts the power of a whole machine in QEMU under load, 3 times by default.
#
# The disk that it has booted from is a card which loses what was not flushed (card.py): of the writes that were under way, a
# random part gets there, sector by sector. Then it boots again from what is left, and what the callers were told to be
# stored has to be there. The disk is the same for all cuts, so damage would add up.
export MACHINE=qemu PATIENCE_S=10
. "$(dirname "$0")/checks.sh"
. "$APPLIANCE/machine.sh"
. "$APPLIANCE/packages.sh"
. "$APPLIANCE/calls.sh"
CUTS=${1:-3} SEED=${2:-1} PACKAGES=${3:-$ROOT/target/debian} SUITE=${SUITE:-bookworm} told=0

if outside; then
    [ -e "$APPLIANCE/card.py" ] || not_tested "there is no card.py"
    can_enclose
    machine_tools
    need nbdkit nbdkit nbdkit-plugin-python
    need "nbdkit python --version" nbdkit-plugin-python
    packages_built "${3:-}"
    machine_image "$SUITE"
fi
enclose $(($(scaled 60) + CUTS * $(scaled 60))) "$CUTS" "$SEED" "$PACKAGES"
trap summary EXIT
RANDOM=$SEED URL=http://$ADDRESS:8080/greenhouse
DISK="file=nbd+unix:///?socket=$WORK/card,format=raw,cache=writeback"

# Words of the card's control file, see card.py.
LATER=5 CUT=4 CUT_RANDOM=2 CARD_SEED=6 DEAD=7 PENDING=12 LOST=13
card_plug() {
    rm -f "$WORK/card" "$WORK/control"
    setsid nbdkit -f -U "$WORK/card" python "$APPLIANCE/card.py" image="$WORK/disk" control="$WORK/control" \
        </dev/null >>"$WORK/card.log" 2>&1 &
    echo $! >"$WORK/card.pid"
    disown
    await 5 "the card is plugged in" [ -S "$WORK/card" ] || give_up "nbdkit does not start: $(tail -n 1 "$WORK/card.log")"
}
card_unplug() {
    kill "$(cat "$WORK/card.pid")" 2>/dev/null || true
    await 5 "the card is out" [ ! -d "/proc/$(cat "$WORK/card.pid")" ] || kill -9 "$(cat "$WORK/card.pid")"
}
card_set() { python3 -c 'import struct, sys
with open(sys.argv[1], "r+b") as control:
    control.seek(8 * int(sys.argv[2]))
    control.write(struct.pack("=Q", int(sys.argv[3])))' "$WORK/control" "$1" "$2"; }
card_get() { od -A n -t u8 -j $((8 * $1)) -N 8 "$WORK/control" | tr -d ' '; }
card_is_dead() { [ "$(card_get $DEAD)" != 0 ]; }

within 120 cp --sparse=always "$(image_name "$SUITE")/disk" "$WORK/disk"
card_plug
machine_start "$SUITE"
packages_collected "$PACKAGES" "$WORK/debs"
machine_put "$WORK/debs" /var/tmp/
CHECK_S=60 must "apt installs the packages from their files" 'apt-get install -y -q -o Dpkg::Use-Pty=0 /var/tmp/debs/now/*.deb && sync'
must "the example is deployed" 'eventually "picloud deploy /usr/share/doc/picloud/examples/greenhouse"'

for ((n = 1; n <= CUTS; n++)); do
    seconds=$((RANDOM % 12 + 8)) later=$((RANDOM % 20))
    load 120 calls "$URL"
    sleep "$seconds"
    card_set $CARD_SEED $((SEED * 1000 + n))
    card_set $LATER $later
    card_set $CUT $CUT_RANDOM
    await 10 "the card has lost its power" card_is_dead || true
    machine_cut
    calls_end calls
    told=$(wc -l <"$WORK/calls/acknowledged")
    figures="seed $SEED, after $seconds s and $later requests, $(card_get $PENDING) writes not flushed, $(card_get $LOST) bytes lost, $told acknowledged so far"
    card_unplug
    rm -f "$WORK/line" "$WORK/calls/enough" "$WORK/calls/count"
    card_plug
    qemu_power_on
    check "cut $n: the machine boots from what is left, and the service is up" 'eventually "systemctl is-active picloud"'
    kept calls "cut $n: what its callers were told to be stored is stored ($figures)"
    here "cut $n: and what that sets off is done" "$EVENTUALLY; eventually 'python3 $APPLIANCE/callers.py consequences $URL'"
    check "cut $n: picloud doctor finds nothing bad" 'code=0; picloud doctor || code=$?; [ $code = 0 ] || [ $code = 8 ]'
done
machine_cut
# A line for docs/reliability.md.
printf '| `tests/appliance/%s %d %d` | %s, %s | cuts %d; acknowledged %d; checks that failed %d |\n' "${0##*/}" "$CUTS" "$SEED" \
    "$(basename "$WORK"/debs/now/picloud_*.deb)" "$SUITE" "$CUTS" "$told" "$failed"
