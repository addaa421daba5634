#!/usr/bin/env bash
# The packages of another architecture in a Debian of that architecture, each of whose programs this machine emulates: installed,
# the daemon as its user, an app deployed and called. There is no systemd in it; what boot.sh looks at is not looked at here.
#
#   emulated.sh arm64|armhf [FOLDER]     FOLDER holds picloud_*.deb and picloud-tui_*.deb of it; without it they are built first
#
# Ends with 77 where this machine runs no programs of that architecture.
. "$(dirname "$0")/checks.sh"
SLOWER=${SLOWER:-6}
. "$APPLIANCE/machine.sh"
ARCHITECTURE=${1:?which architecture?} PACKAGES=${2:-$ROOT/target/debian}
IMAGE=$IMAGES/bookworm-$ARCHITECTURE

emulated_image() {
    [ ! -e "$IMAGE/made" ] || return 0
    need mmdebstrap mmdebstrap
    rm -rf --one-file-system "$IMAGE"
    mkdir -p "$IMAGE"
    say "making $IMAGE"
    within 1800 unshare --pid --fork --kill-child --mount --mount-proc \
        mmdebstrap --quiet --mode=root --architectures="$ARCHITECTURE" --variant=minbase --format=directory \
        --include=systemd,tzdata,ca-certificates bookworm "$IMAGE/root" \
        "deb ${DEBIAN_MIRROR:-http://deb.debian.org/debian} bookworm main" >"$IMAGES/$ARCHITECTURE.log" 2>&1 ||
        not_tested "no image of Debian for $ARCHITECTURE could be made: $(tail -n 1 "$IMAGES/$ARCHITECTURE.log")"
    : >"$IMAGE/made"
}

# The same word as for a machine that has booted: a command in there, as root, within its deadline. What it has for a journal is
# a file.
machine() {
    within "$(scaled "${CHECK_S:-20}")" chroot "$WORK/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        bash -c "$EVENTUALLY; journalctl() { tail -n 20 /daemon.log; }; $1"
}

# starts, and ends by SIGTERM: the daemon, as its unit would.
daemon_starts() {
    chroot "$WORK/root" setpriv --reuid=picloud --regid=picloud --init-groups env -i PATH=/usr/bin:/bin LANG=C.UTF-8 \
        picloudd run </dev/null >>"$WORK/root/daemon.log" 2>&1 &
    daemon=$!
}
daemon_ends() {
    kill -TERM "$daemon"
    timeout "$(scaled 20)" tail -s 0.1 --pid="$daemon" -f /dev/null
    wait "$daemon"
}

if outside; then
    can_enclose
    need arch-test arch-test
    need qemu-arm-static qemu-user-static
    need curl curl
    need ip iproute2
    within 10 arch-test "$ARCHITECTURE" >/dev/null 2>&1 ||
        not_tested "this machine runs no programs of $ARCHITECTURE: binfmt_misc does not know of qemu"
    [ -n "${2:-}" ] || within 2700 "$ROOT/packaging/build.sh" "$ARCHITECTURE" >&2
    ls "$PACKAGES"/picloud{,-tui}_*_"$ARCHITECTURE".deb >/dev/null 2>&1 || not_tested "no packages for $ARCHITECTURE in $PACKAGES"
    emulated_image
fi
enclose 600 "$ARCHITECTURE" "$PACKAGES"
trap summary EXIT

ip link set lo up
cp -a "$IMAGE/root" "$WORK/root"
mount -t proc proc "$WORK/root/proc"
mkdir "$WORK/root/debs"
for name in picloud picloud-tui; do
    # shellcheck disable=SC2012 # names without surprises
    cp "$(ls -t "$PACKAGES/${name}"_*_"$ARCHITECTURE".deb | head -n 1)" "$WORK/root/debs/"
done
URL=http://127.0.0.1:8080/greenhouse

must "dpkg installs the packages" 'dpkg -i /debs/*.deb'
check "dpkg knows them for $ARCHITECTURE, and no file differs" "dpkg --print-architecture | grep -x $ARCHITECTURE; dpkg --verify picloud picloud-tui"
check "each program says its version" 'picloudd --version; picloud --version; picloud-tui --version'
check "its user has been made" 'getent passwd picloud | grep ":/var/lib/picloud:"; getent group picloud-admin'
machine 'install -d -o picloud -g picloud -m 750 /var/lib/picloud; install -d -o picloud -g picloud -m 755 /run/picloud'
daemon_starts
must "the daemon answers" 'eventually "picloud apps list >/dev/null 2>&1"'
must "the example is deployed from where the package has put it" 'picloud deploy /usr/share/doc/picloud/examples/greenhouse && picloud apps list | grep greenhouse'
here "a reading is stored, and what it sets off is done" "$EVENTUALLY; curl -sSf -m 60 $URL/readings/basil --json '{\"moisture\": 12}'; eventually 'curl -sSf -m 60 $URL/ | grep \"basil is dry\"'"
here "a request for later is accepted, and done later" "$EVENTUALLY; curl -sSf -m 60 -i -X POST $URL/reports | grep '202 Accepted'; eventually 'curl -sSf -m 60 $URL/reports/latest | grep basil'"
check "picloud shows the runs" 'picloud executions list | tee /dev/stderr | grep "greenhouse/watch-soil"'
check "a frame of the console has the app" 'picloud-tui --screenshot overview --size 100x30 | tee /dev/stderr | grep greenhouse'
check "a backup is taken" 'file=$(picloud backups start) && [ "$(stat -c "%U %a" "$file")" = "picloud 600" ]'
check "a secret is kept" 'echo -n s3cret | picloud secrets set greenhouse/messenger - && [ "$(stat -c "%U %a" /var/lib/picloud/secrets.key)" = "picloud 600" ]'
check "picloud doctor finds nothing bad" 'code=0; picloud doctor || code=$?; [ $code = 0 ] || [ $code = 8 ]'
check "nor does picloudd doctor, whose rehearsal of a restore is whole" 'code=0; picloudd doctor || code=$?; [ $code = 0 ] || [ $code = 8 ]'
if daemon_ends >"$WORK/said" 2>&1; then holds "it ends in good order"; else fails "it ends in good order"; fi
daemon_starts
must "and starts again" 'eventually "picloud apps list 2>/dev/null | grep greenhouse"'
here "what was stored is there" "curl -sSf -m 60 $URL/readings/basil | grep '\"moisture\":12'"
