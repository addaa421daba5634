# Upgrades, a downgrade, and the end. Sourced by boot.sh.
# shellcheck shell=bash
machine 'sed -i "s/^# level = \"info\"/level = \"debug\"/" /etc/picloud/picloud.toml; systemctl restart picloud' >"$WORK/said" 2>&1 || fails "the configuration can be changed"
load 90 upgrade "$URL"
CHECK_S=60 check "a later version is installed over it" "apt-get install -y -q -o Dpkg::Use-Pty=0 $OWN/later/*.deb"'; dpkg-query -W -f "\${Version}\n" picloud picloud-tui; dpkg-query -W -f "\${Version}" picloud | grep later; systemctl is-active picloud'
calls_end upgrade
here "no caller was refused meanwhile, each had an answer" "python3 $APPLIANCE/callers.py count $WORK/upgrade"
kept upgrade "what they were told to be stored is stored"
check "it runs the new program" '[ "$(main)" != 0 ]; refused "ls -l /proc/$(main)/exe | grep deleted"'
check "the edited configuration is as it was, the new one beside it" 'grep -x "level = \"debug\"" /etc/picloud/picloud.toml && grep "a later version" /etc/picloud/picloud.toml.dpkg-dist; refused "grep \"a later version\" /etc/picloud/picloud.toml"'
here "data are as they were" "curl -sSf -m 10 $URL/readings/basil | grep '\"moisture\":50'"

# A store that an earlier PiCloud has left.
{
    echo 'PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;'
    cat "$ROOT"/migrations/sqlite/000[1-7]_*.sql "$APPLIANCE/schema-7.sql"
} >"$WORK/schema-7.sql"
machine_put "$WORK/schema-7.sql" /var/tmp/
STORE=/var/lib/picloud/picloud.db
machine "systemctl stop 'picloud*'; mkdir /var/tmp/aside; mv $STORE* /var/tmp/aside; sqlite3 -bail $STORE </var/tmp/schema-7.sql; chown picloud: $STORE*; chmod 640 $STORE*" >"$WORK/said" 2>&1 || fails "an old store can be made"
CHECK_S=60 check "an older store is brought up to date by the start" "systemctl start picloud && systemctl is-active picloud; picloudd schema; [ \"\$(picloudd schema --store)\" = \"\$(picloudd schema)\" ] && [ \"\$(picloudd schema)\" -gt 7 ]"
check "a copy of it was taken before, whole" 'file=$(ls /var/lib/picloud/backups/picloud-*-before-schema-*.db) && echo "$file" && [ "$(sqlite3 "$file" "select schema_version from meta")" = 7 ] && [ "$(sqlite3 "$file" "pragma integrity_check")" = ok ]'
check "its data, its dead letter and its pause are there" 'picloud apps list | grep porch; picloud docs list porch/rings | grep ada; picloud dead-letters list | grep "porch/tell.*to_upper"; picloud apps list | grep -i "as it was left\|paused"'
check "its app goes on" 'picloud resume porch; curl -sSf -m 10 http://localhost:8080/porch/rings --json "{\"by\":\"eve\"}"; eventually "picloud docs list porch/messages | grep EVE"'
check "the journal says what was done and where the copy is" 'journalctl -u picloud -o cat | grep -E "before-schema-[0-9]+\.db"'
check "a store of a later PiCloud is left alone, and the way back is named" "systemctl stop 'picloud*'; cp -a $STORE /var/tmp/; sqlite3 $STORE 'update meta set schema_version = 99, oldest_daemon = 99'
    refused 'timeout 10 systemctl start picloud'; eventually 'journalctl -u picloud -o cat -n 10 | grep 99'; journalctl -u picloud -o cat -n 10 | grep before-schema
    systemctl stop 'picloud*'; rm $STORE*; cp -a /var/tmp/picloud.db $STORE; systemctl reset-failed picloud; systemctl start picloud && systemctl is-active picloud"
CHECK_S=60 check "an older package is refused, in words, and nothing has changed" "refused 'apt-get install -y -q -o Dpkg::Use-Pty=0 --allow-downgrades $OWN/older/picloud_*.deb >/var/tmp/refused 2>&1'; cat /var/tmp/refused; grep -i 'is older than the store' /var/tmp/refused; systemctl is-active picloud && dpkg --verify picloud && dpkg -s picloud | grep '^Status: install ok installed' && picloud apps list | grep porch"
machine "systemctl stop 'picloud*'; rm $STORE*; mv /var/tmp/aside/* /var/lib/picloud/; systemctl start picloud" >"$WORK/said" 2>&1 || fails "the store can be put back"

CHECK_S=60 check "removed, it is gone, and what it kept is not" 'apt-get remove -y -q picloud picloud-tui; refused "command -v picloudd"; refused "systemctl is-active picloud"; refused "ss -ltn | grep :8080"; [ -s /var/lib/picloud/picloud.db ] && [ -s /var/lib/picloud/secrets.key ] && [ -s /etc/picloud/picloud.toml ]'
CHECK_S=60 check "installed again, it goes on with that" "apt-get install -y -q -o Dpkg::Use-Pty=0 $OWN/later/*.deb && picloud docs list greenhouse/sensors | grep basil"
CHECK_S=60 check "purged, nothing of it is left" 'apt-get purge -y picloud picloud-tui; left=$(find / -xdev -path /var/tmp -prune -o -path /proc -prune -o -path /var/log -prune -o -path /tmp -prune -o -iname "*picloud*" -print); echo "$left"; [ -z "$left" ] && [ ! -e /run/picloud ]'
check "nothing of it runs or has failed" 'systemctl --failed --no-legend; systemctl list-units --all --no-legend "picloud*"; refused "pgrep -l picloud"; [ -z "$(systemctl --failed --no-legend; systemctl list-units --all --no-legend "picloud*")" ]'
