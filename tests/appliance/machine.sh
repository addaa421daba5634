# A Debian with systemd as its first process, and what can be done to it: a container in systemd-nspawn, or with MACHINE=qemu
# a machine in QEMU. Both have the address $ADDRESS, seen from this shell's own network. Sourced after checks.sh.
#
#   machine_image SUITE           makes the image, unless it is there; needs the mirror of Debian
#   machine_start SUITE           boots a new machine; machine_stop ends it in good order
#   machine COMMAND               runs it there as root, for at most CHECK_S seconds
#   machine_put FILE... FOLDER    copies files into it
#   machine_reboot                waits until it is back
#   machine_cut                   QEMU alone: the power is gone, at once
# shellcheck shell=bash
MACHINE=${MACHINE:-container}
ADDRESS=10.77.0.2
IMAGES=$TARGET/image
# What the checks use, and what the packages depend on: the machine has no way out to a mirror.
INCLUDE=systemd-sysv,libpam-systemd,dbus,udev,tzdata,procps,iproute2,init-system-helpers,ca-certificates,curl,sqlite3,tmux,less,bash-completion

# The processor's own virtualisation where it has any; that /dev/kvm can be opened proves nothing.
qemu_accel() {
    if [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then echo "-accel kvm -cpu host"; else echo "-accel tcg,thread=multi,tb-size=256 -cpu max"; fi
}

case $MACHINE in
    container) image_name() { echo "$IMAGES/$1"; } ;;
    qemu)
        SLOWER=${SLOWER:-$(qemu_accel | grep -q kvm && echo 2 || echo 6)}
        INCLUDE+=,kmod,linux-image-cloud-amd64,initramfs-tools,zstd,openssh-server,e2fsprogs
        image_name() { echo "$IMAGES/$1-qemu"; }
        ;;
    *) give_up "MACHINE is container or qemu, not $MACHINE" ;;
esac
export SLOWER=${SLOWER:-1}

# --- the image

machine_image() {
    local image
    image=$(image_name "$1")
    mkdir -p "$IMAGES"
    exec 9>"$image.lock"
    flock -w 600 9 || give_up "somebody else has been making $image for ten minutes"
    if [ ! -e "$image/made" ] || ! grep -qxF "$INCLUDE" "$image/made"; then make_image "$1" "$image"; fi
    exec 9>&-
}

make_image() {
    local suite=$1 image=$2 began=$SECONDS line options=()
    need mmdebstrap mmdebstrap
    rm -rf --one-file-system "$image" "$image.new"
    mkdir -p "$image.new"
    # The proxy and certificates of this machine's apt are those of the image's, while it is made.
    while read -r line; do options+=(--aptopt="$line"); done \
        < <(apt-config dump 2>/dev/null | grep -E '^Acquire::https?::(Proxy|CaInfo)' | sed 's/;$//')
    # In namespaces of its own, so that nothing stays mounted in the image when it ends before its time.
    within 420 unshare --pid --fork --kill-child --mount --mount-proc \
        mmdebstrap --quiet --mode=root --variant=minbase --format=directory "${options[@]}" --include="$INCLUDE" \
        --aptopt='Acquire::http::Timeout "20"' --aptopt='Acquire::Retries "2"' \
        "$suite" "$image.new/root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$image.log" 2>&1 ||
        not_tested "no image of Debian $suite could be made: $(tail -n 1 "$image.log")"
    furnish "$image.new/root"
    [ "$MACHINE" != qemu ] || to_disk "$image.new"
    echo "$INCLUDE" >"$image.new/made"
    mv "$image.new" "$image"
    say "$image was made in $((SECONDS - began)) s"
}

furnish() {
    local root=$1
    echo appliance >"$root/etc/hostname"
    printf '127.0.0.1 localhost appliance\n' >"$root/etc/hosts"
    : >"$root/etc/machine-id"
    printf '[Match]\nName=host0 e*\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' $ADDRESS >"$root/etc/systemd/network/10-lan.network"
    printf 'APT::Get::Assume-Yes "true";\nDPkg::Options { "--force-confdef"; "--force-confold"; };\n' >"$root/etc/apt/apt.conf.d/90appliance"
    systemctl -q --root="$root" enable systemd-networkd.service
    # Nobody waits for a network that nobody has plugged in, and no timer wakes up in the middle of a check.
    systemctl -q --root="$root" disable systemd-networkd-wait-online.service
    systemctl -q --root="$root" mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    mkdir -p "$root/var/log/journal"
}

to_disk() {
    local root=$1/root
    need mke2fs e2fsprogs
    ssh-keygen -q -t ed25519 -N '' -f "$1/key" </dev/null
    install -d -m 700 "$root/root/.ssh"
    install -m 600 "$1/key.pub" "$root/root/.ssh/authorized_keys"
    echo '/dev/vda / ext4 defaults,noatime 0 1' >"$root/etc/fstab"
    cp "$root"/boot/vmlinuz-* "$1/vmlinuz"
    cp "$root"/boot/initrd.img-* "$1/initrd"
    within 120 mke2fs -q -F -t ext4 -d "$root" "$1/disk" "${DISK_SIZE:-3G}"
    rm -rf --one-file-system "$root"
}

# What this machine needs for it; before `enclose`, as it may have to be fetched.
machine_tools() {
    need ip iproute2
    need curl curl
    if [ "$MACHINE" = container ]; then need systemd-nspawn systemd-container; return; fi
    need qemu-system-x86_64 qemu-system-x86
    need ssh openssh-client
}

# --- verbs that both have

# What commands may use: `eventually` repeats one until it holds, until the deadline; `refused` holds if one fails. (A `!` does
# not end a shell that ends at its first failure.)
EVENTUALLY='eventually() { until eval "$1"; do sleep 0.1; done; }
refused() { if eval "$1"; then echo "this should have failed: $1"; return 1; fi; }'
# What systemd knows of the service.
PROPERTIES='property() { systemctl show -p "$1" --value picloud.service; }
has() { local value; value=$(property "$1"); echo "$1=$value"; grep -qE -- "$2" <<<"$value"; }
main() { property MainPID; }'

machine() {
    local seconds command
    seconds=$(scaled "${CHECK_S:-20}")
    # A deadline on either side: a command must end in the machine, too, when nobody waits for it any more.
    command="$EVENTUALLY; $PROPERTIES; $1"
    case $MACHINE in
        container) within $((seconds + 5)) nsenter -t "$(first_process)" --mount --uts --ipc --net --pid --cgroup --root \
            env -i --chdir=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=xterm-256color SLOWER="$SLOWER" \
            timeout -k 2 "$seconds" bash -c "$command" ;;
        qemu) within $((seconds + 10)) ssh "${SSH[@]}" root@$ADDRESS \
            "LANG=C.UTF-8 SLOWER=$SLOWER timeout -k 5 $seconds bash -c $(printf %q "$command")" ;;
    esac
}

machine_put() {
    local folder=${*: -1}
    case $MACHINE in
        container) within 60 cp -r "${@:1:$#-1}" "$WORK/root$folder" ;;
        qemu) within "$(scaled 60)" scp -q "${SSH[@]}" -r "${@:1:$#-1}" "root@$ADDRESS:$folder" ;;
    esac
}

machine_start() {
    case $MACHINE in container) container_start "$1" ;; qemu) qemu_start "$1" ;; esac
}

machine_reboot() {
    local before
    before=$(machine 'cat /proc/sys/kernel/random/boot_id')
    machine 'systemctl reboot' >"$WORK/reboot.log" 2>&1 || true
    [ "$MACHINE" = container ] || hang_up
    await_boot 40 "$before"
}

machine_stop() {
    machine 'systemctl poweroff' >"$WORK/stop.log" 2>&1 || true
    await 20 "the machine is off" off || machine_cut
}
off() { [ ! -d "/proc/$(cat "$WORK/pid")" ]; }
machine_cut() {
    kill -9 "$(cat "$WORK/pid")" 2>/dev/null || true
    await 5 "the power is off" off
}

# await SECONDS WHAT COMMAND...: until the command holds.
await() {
    local end=$((SECONDS + $(scaled "$1")))
    echo "waiting until $2" >"$WORK/stands"
    until "${@:3}"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# await_boot SECONDS [BOOT ID THAT IS OVER]
await_boot() {
    if ! await "$1" "the machine has booted" is_up "${2:-none}"; then
        tail -n 5 "$WORK/machine.log" "$WORK/up.log" >&2 || true
        return 1
    fi
}
is_up() {
    [ "$MACHINE" = container ] || dial || return 1
    # "degraded" is up, too: what fails then is not ours, or is found by a check.
    CHECK_S=5 machine "s=\$(systemctl is-system-running) || [ \"\$s\" = degraded ] && [ \$(cat /proc/sys/kernel/random/boot_id) != $1 ]" \
        >"$WORK/up.log" 2>&1
}

# --- the container

container_start() {
    local image cgroup
    image=$(image_name "$1")
    cgroup=$(cgroup_of "$WORK")
    {
        # Control groups of version two, of which nspawn needs only that it may make some; /run as a machine has it.
        umount -R /sys/fs/cgroup || umount -l /sys/fs/cgroup || true
        mount -t cgroup2 cgroup2 /sys/fs/cgroup && mkdir "/sys/fs/cgroup/$cgroup"
        mount -t tmpfs -o mode=755 tmpfs /run
        mkdir "$WORK/root" "$WORK/upper" "$WORK/overlay"
        mount -t overlay -o "lowerdir=$image/root,upperdir=$WORK/upper,workdir=$WORK/overlay" overlay "$WORK/root"
        ip link set lo up
        ip link add lan type bridge && ip addr add 10.77.0.1/24 dev lan && ip link set lan up
    } >"$WORK/machine.log" 2>&1 || not_tested "a container needs control groups, overlayfs and a bridge: $(tail -n 1 "$WORK/machine.log")"
    setsid bash -c '
        echo $$ >"/sys/fs/cgroup/$1/cgroup.procs"
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
        code=133
        while [ $code = 133 ]; do # so it ends when the machine wants to boot again
            code=0
            systemd-nspawn --quiet --boot --register=no --keep-unit --directory="$2/root" --machine=appliance \
                --console=read-only --link-journal=no --network-bridge=lan || code=$?
        done' bash "$cgroup" "$WORK" </dev/null >>"$WORK/machine.log" 2>&1 &
    echo $! >"$WORK/pid"
    disown
    await_boot 20 || not_tested "systemd does not boot in a container here: $(tail -n 1 "$WORK/machine.log")"
}

# The process that is the first one of a namespace within this one.
first_process() { awk '/^NSpid:/ && NF == 3 && $3 == 1 { print $2; exit }' /proc/[0-9]*/status 2>/dev/null; }

# --- the machine in QEMU

qemu_start() {
    DISK=${DISK:-file=$WORK/disk,format=raw,cache=writeback}
    IMAGE=$(image_name "$1")
    SSH=(-F none -i "$IMAGE/key" -o UserKnownHostsFile="$WORK/known" -o StrictHostKeyChecking=no -o LogLevel=ERROR
        -o BatchMode=yes -o ConnectTimeout=5 -o ServerAliveInterval=5 -o ControlPath="$WORK/line")
    [ "${DISK#file="$WORK"}" = "$DISK" ] || within 120 cp --sparse=always --reflink=auto "$IMAGE/disk" "$WORK/disk"
    {
        ip link set lo up
        ip tuntap add dev lan mode tap && ip addr add 10.77.0.1/24 dev lan && ip link set lan up
    } >"$WORK/machine.log" 2>&1 || not_tested "a machine needs a network, and there is no tap: $(tail -n 1 "$WORK/machine.log")"
    qemu_power_on
}

qemu_power_on() {
    # shellcheck disable=SC2046 # several words
    setsid qemu-system-x86_64 $(qemu_accel) -m "${MEMORY:-512}" -smp 2 -nodefaults -display none \
        -serial "file:$WORK/serial.log" -kernel "$IMAGE/vmlinuz" -initrd "$IMAGE/initrd" \
        -append "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 panic=5" \
        -drive "$DISK,if=none,id=root" -device virtio-blk-pci,drive=root \
        -netdev tap,id=lan,ifname=lan,script=no,downscript=no -device virtio-net-pci,netdev=lan,romfile= \
        -device virtio-rng-pci </dev/null >>"$WORK/machine.log" 2>&1 &
    echo $! >"$WORK/pid"
    disown # or this shell would say that it was killed
    await_boot 30 || give_up "the machine does not boot: $(tail -n 3 "$WORK/serial.log")"
}

# One connection that all commands share: to make one costs an emulated processor seconds.
dial() {
    within 5 ssh "${SSH[@]}" -O check root@$ADDRESS >/dev/null 2>&1 && return
    rm -f "$WORK/line"
    within 30 ssh "${SSH[@]}" -M -N -f root@$ADDRESS >"$WORK/line.log" 2>&1
}
hang_up() {
    within 5 ssh "${SSH[@]}" -O exit root@$ADDRESS >/dev/null 2>&1 || true
    rm -f "$WORK/line"
}
