# Restarts, deaths, hangs, mistakes and a reboot. Sourced by boot.sh.
# shellcheck shell=bash
STOPS=e4e6661c8f00437fb15dd2e5647eb191 CANNOT_START=d79f2f03226f43dab93677c7dbc6e9ec
check "systemd keeps its listening sockets" 'has NFileDescriptorStore "^[1-9]"'
load 60 restarts "$URL"
CHECK_S=40 check "it restarts five times in a row, with callers" 'for n in 1 2 3 4 5; do systemctl restart picloud; done; systemctl is-active picloud'
calls_end restarts
here "no caller was refused, each had an answer" "python3 $APPLIANCE/callers.py count $WORK/restarts"
kept restarts "what they were told to be stored is stored"
check "each stop was in good order" "[ \"\$(journalctl -u picloud MESSAGE_ID=$STOPS -o cat | wc -l)\" -ge 5 ]; refused 'journalctl -u picloud -o cat | grep -E \"killed|core-dump|Failed with|timed out\"'"

load 60 killed "$URL"
check "killed, it is started again by systemd" 'before=$(main); kill -9 "$before"; eventually "[ \$(main) != $before ] && systemctl is-active picloud"; has NRestarts "^[1-9]"'
calls_end killed
kept killed "and everything that it had acknowledged is there"
here "also what that sets off" "$EVENTUALLY; eventually 'python3 $APPLIANCE/callers.py consequences $URL'"
check "the journal says that it was killed" 'journalctl -u picloud -o cat | grep "status=9/KILL"'
check "and each time when it was ready again, after a kill without a stop in between" "[ \"\$(journalctl -u picloud MESSAGE_ID=$READY -o cat | wc -l)\" -gt \"\$(journalctl -u picloud MESSAGE_ID=$STOPS -o cat | wc -l)\" ]"

machine 'mkdir -p /run/systemd/system/picloud.service.d; printf "[Service]\nWatchdogSec=%d\n" $((3 * SLOWER)) >/run/systemd/system/picloud.service.d/soon.conf; systemctl daemon-reload; systemctl restart picloud' >"$WORK/said" 2>&1 || fails "the watchdog can be hurried"
CHECK_S=30 check "hung, it is ended by systemd's watchdog and started again" 'before=$(main); kill -STOP "$before"; eventually "journalctl -u picloud -o cat | grep -i \"watchdog timeout\""; eventually "[ \$(main) != $before ] && [ \$(main) != 0 ] && systemctl is-active picloud"'
# Four times as long as the watchdog waits no flush of the store ends.
if command -v cc >/dev/null && within 30 cc -O2 -shared -fPIC -pthread -o "$WORK/failing_card.so" "$ROOT/tests/src/failing_card.c" >"$WORK/said" 2>&1; then
    machine_put "$WORK/failing_card.so" /usr/local/lib/
    CHECK_S=60 check "a card that stalls does not have the watchdog end it, and it goes on" 'card=/var/lib/picloud/card stall_ms=$((12000 * SLOWER)) moisture=30
        store() { moisture=$((moisture + 1)); curl -sS -m 10 -o /dev/null -w "%{http_code}\n" http://localhost:8080/greenhouse/readings/slow --json "{\"moisture\": $moisture}"; }
        tell() { printf "$(printf "\\%03o\\%03o\\%03o" $(($1 % 256)) $(($1 / 256 % 256)) $(($1 / 65536)))" | dd of=$card bs=1 seek=$2 conv=notrunc status=none; }
        truncate -s 32 $card && chown picloud: $card
        printf "[Service]\nEnvironment=LD_PRELOAD=/usr/local/lib/failing_card.so PICLOUD_CARD_CONTROL=%s PICLOUD_CARD_STORE=/var/lib/picloud/picloud.db\n" $card >/run/systemd/system/picloud.service.d/card.conf
        systemctl daemon-reload; systemctl restart picloud; before=$(main); [ "$(store)" = 201 ]
        tell $stall_ms 8; tell 4 0; end=$((SECONDS + stall_ms / 1000))
        while [ $SECONDS -lt $end ]; do store || true; done
        tell 0 0; eventually "[ \$(store) = 201 ]"
        echo "hits: $(od -A n -t u8 -j 16 -N 16 $card)"; od -A n -t u8 -j 24 -N 8 $card | grep "[1-9]"
        [ "$(main)" = "$before" ]; rm $card'
else
    skip "a card that stalls does not have the watchdog end it" "there is no compiler for the library that stalls"
fi
machine 'rm -r /run/systemd/system/picloud.service.d; systemctl daemon-reload; systemctl restart picloud' >"$WORK/said" 2>&1 || fails "the watchdog can be calmed"
here "routes answer again" "curl -sSf -m 10 $URL/ | grep basil"

check "nonsense at the admin socket takes nothing down" 'before=$(main); for n in 1 2 3; do head -c 2000 /dev/urandom | timeout 5 curl -sS -m 5 --unix-socket /run/picloud/admin.sock --data-binary @- http://localhost/ >/dev/null || true; done; [ "$(main)" = "$before" ]'
if [ "$MACHINE" = qemu ]; then
    check "what eats memory takes the service down alone, and it comes back" 'before=$(main)
        (echo $BASHPID >"/sys/fs/cgroup$(property ControlGroup)/cgroup.procs"; exec tail /dev/zero) || true
        eventually "journalctl -k -o cat | grep -i \"memory cgroup out of memory\""
        eventually "[ \$(main) != $before ] && has ActiveState ^active"; journalctl -u picloud -o cat | grep oom-kill'
else
    skip "what eats memory is ended, and the service comes back" "containers do not always have limits of memory"
fi

check "port 80 is switched on as its unit says" 'systemctl stop "picloud*" && systemctl enable --now picloud-port80.socket && systemctl start picloud'
here "routes answer there" "curl -sSf -m 10 http://$ADDRESS/greenhouse/ | grep basil"
here "and where they did before" "curl -sSf -m 10 $URL/ | grep basil"
load 60 port80 "http://$ADDRESS/greenhouse"
load 60 beside "$URL"
CHECK_S=40 check "it restarts with both" 'for n in 1 2 3; do systemctl restart picloud; done; systemctl is-active picloud'
calls_end port80
calls_end beside
here "no caller of port 8080 was refused, each had an answer" "python3 $APPLIANCE/callers.py count $WORK/beside"
here "nor was one of port 80" "python3 $APPLIANCE/callers.py count $WORK/port80"
check "port 80 is switched off again" 'systemctl disable --now picloud-port80.socket && systemctl restart picloud && systemctl is-active picloud; refused "ss -ltn | grep :80[^0-9]"'

check "stopped with its sockets, it stays so, and the command line says what to do" 'systemctl stop "picloud*"; eventually "refused \"systemctl is-active picloud.socket\""; code=0; picloud apps list || code=$?; [ $code = 6 ]; refused "systemctl is-active picloud"'
check "its admin socket alone starts it when somebody knocks" 'systemctl start picloud.socket && [ "$(systemctl is-active picloud)" = inactive ] && picloud apps list | grep greenhouse && systemctl is-active picloud'
check "a mistake in the configuration is named, with what to do" 'cp -p /etc/picloud/picloud.toml /var/tmp/; sed -i "s/^# listen = \"0.0.0.0:8080\"/listten = 1/" /etc/picloud/picloud.toml
    refused "timeout 10 systemctl restart picloud"; eventually "journalctl -x -u picloud --no-pager -n 40 | grep listten"; journalctl -x --no-pager MESSAGE_ID='$CANNOT_START' -n 1
    journalctl -x --no-pager MESSAGE_ID='$CANNOT_START' -n 1 | grep -c "^░░ .*check-config"'
check "put right, it starts" 'cp -p /var/tmp/picloud.toml /etc/picloud/picloud.toml; systemctl reset-failed picloud; systemctl restart picloud && systemctl is-active picloud'

seen=$(machine "curl -sSf -m 10 http://localhost:8080/greenhouse/ | grep -o '\"readings\":[0-9]*'" 2>"$WORK/said") || fails "readings can be counted"
if machine_reboot; then holds "the machine boots again"; else give_up "the machine does not come back"; fi
check "with it the service" 'eventually "systemctl is-active picloud"'
here "everything is there" "curl -sSf -m 10 $URL/ | grep -F '$seen'"
check "the journal of the boot before is there, too" 'journalctl -b -1 -u picloud PICLOUD_APP=greenhouse -o cat | grep "soil is dry"'
check "it was stopped in order for that, before anything that it needs" "journalctl -b -1 -u picloud MESSAGE_ID=$STOPS -o cat | grep .; refused 'journalctl -b -1 -u picloud -o cat -n 5 | grep -E \"killed|timed out|Failed\"'"
