#!/usr/bin/env bash
# cross.sh ARCHITECTURE COMMAND...: runs a command, `cargo build` for example, with what it takes to compile for amd64,
# arm64 or armhf on this machine. The command finds in $RUN what runs a program of that architecture here, and in
# $CROSS_COMPILE what the names of its binutils begin with. Missing Debian packages are installed, for root.
#
# Rust's own library for the target comes with rustup where rustup can have it. Elsewhere Debian's compiler for web
# browsers (rustc-web: newer than the release's) is taken, with the library out of the same package of the other
# architecture, or compiled where the mirror has none. That goes into a folder: dpkg knows of one architecture only, and
# stays so.
set -euo pipefail

architecture=$1
shift
case $architecture in
    amd64) target=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu qemu=qemu-x86_64-static ;;
    arm64) target=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu qemu=qemu-aarch64-static ;;
    # Every Pi but those with an ARMv6: the first ones, and the Zero without a 2.
    armhf) target=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf qemu=qemu-arm-static ;;
    *) echo "cross.sh: no architecture $architecture; there are amd64, arm64 and armhf" >&2; exit 2 ;;
esac

if [ "$architecture" = "$(dpkg --print-architecture)" ]; then
    RUN='' CROSS_COMPILE='' exec "$@"
fi

# need PACKAGE...: installs what is missing.
need() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" = 0 ] || { echo "cross.sh: install first: ${missing[*]}" >&2; exit 1; }
    local apt=(apt-get -o DPkg::Lock::Timeout=300 -qq)
    "${apt[@]}" update >&2
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
}

# The library of the target for Debian's compiler, in a folder that rustc takes for its own: with the libraries of this
# machine, which build scripts need.
debian_sysroot() {
    local folder=$1 version
    version=$(dpkg-query -W -f '${Version}' libstd-rust-web-dev)
    [ ! -e "$folder/$version" ] || return 0
    rm -rf "$folder"
    mkdir -p "$folder/lib/rustlib"
    ln -s "$(/usr/bin/rustc --print sysroot)"/lib/rustlib/* "$folder/lib/rustlib/"
    if packaged_library "$folder" "libstd-rust-web-dev:$architecture=$version"; then
        echo "cross.sh: Rust's library for $architecture is the one that Debian has compiled" >&2
    else
        echo "cross.sh: no libstd-rust-web-dev:$architecture=$version to be had now: Rust's library for $architecture is" \
            "compiled from rust-web-src" >&2
        compiled_library "$folder"
    fi
    rm -rf "$folder/package" "$folder/source"
    : >"$folder/$version"
}

# packaged_library FOLDER PACKAGE: out of Debian's package of exactly the compiler's version; fails where there is none.
packaged_library() {
    local work=$1/package apt
    mkdir -p "$work"/{state/lists/partial,cache/archives/partial,deb}
    : >"$work/state/status"
    # An apt of its own, so that this machine's knows nothing of it.
    apt=(apt-get -qq -o "APT::Architectures::=$architecture" -o "Dir::State=$work/state" -o "Dir::Cache=$work/cache"
        -o "Dir::State::status=$work/state/status" -o APT::Sandbox::User=root -o Debug::NoLocking=1)
    # An index that cannot be had may be one of those that are not needed.
    "${apt[@]}" update >&2 || true
    (cd "$work/deb" && "${apt[@]}" download "$2" >&2) || return 1
    dpkg-deb -x "$work"/deb/*.deb "$work/unpacked" &&
        cp -r "$work/unpacked/usr/lib/rustlib/$target" "$1/lib/rustlib/"
}

# compiled_library FOLDER: from the sources of the same compiler, in minutes. Their profile `dist` is for a library that others
# link, with link-time optimisation, too. Only here may the compiler do what is not stable yet.
compiled_library() {
    local work=$1/source
    need rust-web-src
    env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 "CARGO_TARGET_${upper}_RUSTFLAGS=-Zforce-unstable-if-unmarked" \
        /usr/bin/cargo build --locked --quiet --profile dist --target-dir "$work" \
        --manifest-path /usr/lib/rustlib/src/rust/library/sysroot/Cargo.toml >&2
    mkdir -p "$1/lib/rustlib/$target/lib"
    cp "$work/$target/dist"/deps/*.rlib "$1/lib/rustlib/$target/lib/"
}

need "gcc-$gnu" "libc6-dev-$architecture-cross" qemu-user-static

name=${target//-/_}
upper=${name^^}
export CARGO_BUILD_TARGET=$target PKG_CONFIG_ALLOW_CROSS=1
export "CC_$name=$gnu-gcc" "AR_$name=$gnu-ar" "CARGO_TARGET_${upper}_LINKER=$gnu-gcc"
export RUN="$qemu -L /usr/$gnu" CROSS_COMPILE=$gnu-
export "CARGO_TARGET_${upper}_RUNNER=$RUN"

# Only what is going to compile needs a compiler.
if [ "$1" = cargo ]; then
    if command -v rustup >/dev/null && rustup -q target add "$target" >&2; then
        :
    else
        need rustc-web cargo-web
        sysroot=$(cd "$(dirname "$0")/.." && pwd)/target/cross-$architecture
        debian_sysroot "$sysroot"
        export RUSTC=/usr/bin/rustc "CARGO_TARGET_${upper}_RUSTFLAGS=--sysroot=$sysroot"
        shift
        exec /usr/bin/cargo "$@"
    fi
fi
exec "$@"
