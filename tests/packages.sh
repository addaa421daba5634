#!/usr/bin/env bash
# What can be said of the packages without installing them.
#
#   tests/packages.sh [FOLDER [ARCHITECTURE]]
#
# FOLDER holds picloud_*.deb and picloud-tui_*.deb; without it packaging/build.sh makes them. None of their programs is run, so
# those of another architecture are looked at as well.
#
# Needs dpkg and systemd-analyze, else it ends with 77. lintian and shellcheck are asked where they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in dpkg-deb systemd-analyze; do
    command -v "$tool" >/dev/null || { echo "not tested: there is no $tool"; exit 77; }
done
passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check SENTENCE COMMAND...: holds if the command does.
check() {
    local sentence=$1
    shift
    if timeout 120 "$@" </dev/null >"$work/said" 2>&1; then
        passed=$((passed + 1)) && echo "ok          $sentence"
    else
        failed=$((failed + 1)) && echo "FAILED      $sentence"
        sed 's/^/    | /' "$work/said"
    fi
}
# check_with TOOL SENTENCE COMMAND...
check_with() {
    if command -v "$1" >/dev/null; then check "${@:2}"; else skipped=$((skipped + 1)) && echo "not tested  $2 (there is no $1)"; fi
}

folder=${1:-target/debian}
[ -n "${1:-}" ] || timeout 2700 packaging/build.sh >/dev/null
architecture=${2:-$(dpkg --print-architecture)}
for name in picloud picloud-tui; do
    # shellcheck disable=SC2012 # names without surprises
    cp "$(ls -t "$folder/${name}"_*_"$architecture".deb | head -n 1)" "$work/$name.deb"
    dpkg-deb -R "$work/$name.deb" "$work/$name"
done
files=(systemd/picloud.{service,socket,catalog} systemd/picloud-port80.socket packaging/picloud.toml)

no_complaints() { said=$(lintian --allow-root "$work"/*.deb 2>&1) || true; echo "$said"; [ -z "$said" ]; }
export -f no_complaints
export work
check_with lintian "lintian has nothing to say" bash -c no_complaints
check_with shellcheck "nor has shellcheck of the scripts" shellcheck packaging/*.sh packaging/debian/picloud.p* tests/packages.sh
check "the service's exposure is 1.5 or less" systemd-analyze security --offline=yes --threshold=15 systemd/picloud.service
for file in "${files[@]}"; do
    check "$file is in it as it is here" cmp "$file" "$(find "$work/picloud" -name "${file##*/}" ! -path '*/examples/*')"
done
check "each file has the sum that the package says" bash -c "cd '$work/picloud' && md5sum --quiet -c DEBIAN/md5sums"

# refused NEEDS: the preinst of an upgrade, where the installed picloudd says that the store has that schema.
schema=$(sed -n 's/^knows=//p' "$work/picloud/DEBIAN/preinst")
cat >"$work/picloudd" <<'SH'
#!/bin/sh
[ "$1 $2" = "schema --store" ] && [ -n "$SAYS" ] && echo "$SAYS"
SH
chmod 755 "$work/picloudd"
upgrade() { SAYS=$1 PATH="$work:$PATH" sh "$work/picloud/DEBIAN/preinst" "${2:-upgrade}" 0.0.1; }
refused() { ! upgrade "$@" && upgrade "$@" 2>&1 | grep "schema $schema, the store has $1"; }
export -f upgrade refused
export schema
check "the program has told the number of its schema" grep -Eqx 'knows=[1-9][0-9]*' "$work/picloud/DEBIAN/preinst"
check "a package older than the store is refused" bash -c "refused $((schema + 1))"
check "one that knows the store's schema is not" bash -c "upgrade $schema"
check "nor one that is newer" bash -c "upgrade $((schema - 1))"
check "nor any where there is no store" bash -c "upgrade ''"
check "nor where picloudd is too old to know the question" bash -c "upgrade 'error: unrecognized subcommand'"

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
