# An app, its callers, its failures, and where they are seen. Sourced by boot.sh.
# shellcheck shell=bash
must "the example is deployed from where the package has put it" 'picloud deploy /usr/share/doc/picloud/examples/greenhouse && picloud apps list | grep greenhouse'
here "a route answers whoever calls from outside" "curl -sSf -m 10 $URL/readings/basil --json '{\"moisture\": 50}' | grep basil"
here "what was sent is there" "curl -sSf -m 10 $URL/readings/basil | grep '\"moisture\":50'"
here "what it sets off is done" "$EVENTUALLY; curl -sSf -m 10 $URL/readings/mint --json '{\"moisture\": 3}'; eventually 'curl -sSf -m 10 $URL/ | grep \"mint is dry\"'"
here "a request for later is accepted, and done later" "$EVENTUALLY; curl -sSf -m 10 -i -X POST $URL/reports | grep '202 Accepted'; eventually 'curl -sSf -m 10 $URL/reports/latest | grep basil'"
here "a route that is not there is 404" "curl -sS -m 10 -i $URL/nowhere | grep '^HTTP/1.1 404'"
check "the machine itself reaches the routes, too" 'curl -sSf -m 10 http://localhost:8080/greenhouse/ | grep basil'
here "a message is lost for good, and becomes a dead letter" "
    $EVENTUALLY
    # Every call tells the owner something, and one message in nine is lost.
    turn() { n=\$((\${n:-0} + 1)); curl -sSf -m 10 $URL/readings/fern-\$((n / 2)) --json '{\"moisture\": '\$((n % 2 ? 3 : 60))'}'; curl -sSf -m 10 $URL/ | grep -v '\"lost_messages\":0'; }
    eventually turn"
check "picloud shows it" 'picloud dead-letters list | grep "greenhouse/notify.*the messenger did not answer"'

check "the journal has the app's lines, by app" 'eventually "journalctl -u picloud PICLOUD_APP=greenhouse -o cat | grep \"soil is dry\""'
check "by script" 'journalctl PICLOUD_SCRIPT=watch-soil -o cat | grep "soil is dry"; refused "journalctl PICLOUD_SCRIPT=watch-soil -o cat | grep \"told the owner\""'
check "by execution" 'id=$(journalctl PICLOUD_APP=greenhouse -o json | grep -o "PICLOUD_EXECUTION_ID\":\"[0-9A-Z]*" | tail -n 1 | cut -d\" -f3); echo "$id"; [ -n "$id" ] && journalctl "PICLOUD_EXECUTION_ID=$id" -o cat | grep .'
check "and by the program's name, with levels" 'journalctl -t picloud -p warning -o cat | grep "soil is dry"'
DEAD_LETTER=638d4d851f86490aa5688cf8cdeb5a4b READY=56b0e65557094a87bd6ada5efa3d078c
check "what an owner may have to act upon can be found by its MESSAGE_ID" "journalctl MESSAGE_ID=$DEAD_LETTER PICLOUD_APP=greenhouse -o cat | grep 'the messenger did not answer'"
check "and is explained by journalctl -x, with what to type" "journalctl -x --no-pager MESSAGE_ID=$DEAD_LETTER | grep -c '^░░ .*picloud dead-letters show 01'"
check "each line is in the journal once" '[ "$(journalctl -u picloud -o cat | grep -c "soil is dry.*mint")" = 1 ]'
check "the journal says when it was ready, and where" "journalctl -u picloud MESSAGE_ID=$READY -o json | grep -c PICLOUD_LISTEN.*8080"

# The console, in a terminal of a hundred by thirty.
SCREEN='screen() { tmux capture-pane -p -t picloud; }; keys() { tmux send-keys -t picloud "$@"; }; shows() { eventually "screen | grep -E \"$1\""; }'
check "the console opens in a terminal and is live" "$SCREEN"'; tmux new-session -d -s picloud -x 100 -y 30 "picloud-tui; echo ended with \$?; sleep 60" </dev/null >/dev/null 2>&1; shows "● live"; screen | grep greenhouse'
check "it shows the dead letter" "$SCREEN"'; keys 3; shows "the messenger did not"; screen'
check "it resolves it by a few keys" "$SCREEN"'; open() { picloud dead-letters list --json | wc -l; }; before=$(open); keys Enter; shows "d discard"; keys d; shows "y"; screen; keys y; eventually "picloud dead-letters list --filter is:discarded | grep notify"'
check "it is quit by a key, and well" "$SCREEN"'; keys Escape; keys Escape; sleep 0.3; keys q; shows "ended with 0"; tmux kill-session -t picloud'
check "who may only read is told so there" "$SCREEN"'; tmux new-session -d -s picloud -x 100 -y 30 "runuser -u ben -- picloud console" </dev/null >/dev/null 2>&1; shows "read only"; tmux kill-session -t picloud'

check "picloud doctor finds nothing bad" 'code=0; picloud doctor || code=$?; [ $code = 0 ] || [ $code = 8 ]'
check "nor does picloudd doctor" 'code=0; picloudd doctor || code=$?; [ $code = 0 ] || [ $code = 8 ]'
check "a backup is taken, whole and for the service's eyes only" 'file=$(picloud backups start) && [ "$(stat -c "%U %a" "$file")" = "picloud 600" ] && [ "$(sqlite3 "$file" "pragma integrity_check")" = ok ]'
check "a secret is kept, with a key that only the service can read" 'echo -n s3cret | picloud secrets set greenhouse/messenger - && [ "$(stat -c "%U %a" /var/lib/picloud/secrets.key)" = "picloud 600" ]'
