#!/usr/bin/env bash
# A file system on a card that can fail: ext4 on a loop device, on FUSE, on nbdkit with card.py.
#   card.sh make DIR MIB   a new card in DIR, with an empty ext4; one that is plugged in there is pulled out
#   card.sh plug DIR       mounts it on DIR/mnt
#   card.sh slow DIR MILLISECONDS BYTES   from now on a flush takes so long, and it writes so many bytes a second
#   card.sh unplug DIR     unmounts it whatever has become of it; DIR/image stays
# Every step has a deadline, and nothing that is left running holds the caller's output.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${2:?name a folder}
export PATH="$PATH:/usr/sbin:/sbin"

make() {
    unplug
    mkdir -p "$dir"/{fuse,mnt}
    rm -f "$dir/image"
    truncate -s "$1M" "$dir/image"
    # All for the daemon, and nothing that the kernel would write later by itself.
    timeout -k 5 60 mke2fs -q -F -t ext4 -b 4096 -m 0 -E lazy_itable_init=0,lazy_journal_init=0 "$dir/image"
}

plug() {
    rm -f "$dir/socket" "$dir/control"
    # It goes to the background once it answers.
    timeout -k 5 20 nbdkit -U "$dir/socket" -P "$dir/nbdkit.pid" python "$here/card.py" \
        image="$dir/image" control="$dir/control" </dev/null >>"$dir/card.log" 2>&1
    setsid nbdfuse -P "$dir/nbdfuse.pid" "$dir/fuse" "nbd+unix:///?socket=$dir/socket" \
        </dev/null >>"$dir/card.log" 2>&1 &
    for _ in $(seq 200); do
        [ -e "$dir/fuse/nbd" ] && break
        sleep 0.05
    done
    # The loop device goes with the mount.
    timeout -k 5 60 mount -t ext4 -o loop,noatime "$dir/fuse/nbd" "$dir/mnt"
}

# The file system goes first and its device last: one whose device is gone could never be unmounted.
unplug() {
    if mountpoint -q "$dir/mnt"; then
        timeout -k 2 20 umount "$dir/mnt" || {
            dead
            timeout -k 2 20 umount "$dir/mnt" || timeout -k 2 20 umount -l "$dir/mnt" || true
        }
    fi
    # Whoever still waits for the card is told that it is dead.
    dead
    timeout -k 2 10 umount "$dir/fuse" || timeout -k 2 10 umount -l "$dir/fuse" || true
    stop nbdfuse
    stop nbdkit
} 2>>"$dir/card.log"

slow() {
    python3 -c 'import struct, sys
with open(sys.argv[1], "r+b") as control:
    control.seek(8)
    control.write(struct.pack("=QQ", int(sys.argv[2]), int(sys.argv[3])))' "$dir/control" "$1" "$2"
}

dead() {
    [ ! -e "$dir/control" ] || printf '\1' | dd of="$dir/control" bs=1 seek=56 conv=notrunc status=none
}

stop() {
    local pid=
    [ ! -s "$dir/$1.pid" ] || pid=$(cat "$dir/$1.pid")
    rm -f "$dir/$1.pid"
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 250); do
        grep -qs '^State:.[^Z]' "/proc/$pid/status" || return 0
        sleep 0.02
    done
    kill -KILL "$pid" || true
}

case ${1:-} in
    make) make "${3:?how many MiB}" ;;
    plug) plug ;;
    slow) slow "${3:?how many milliseconds}" "${4:?how many bytes}" ;;
    unplug) unplug ;;
    *) sed -n '2,7s/^# //p' "$0"; exit 2 ;;
esac
