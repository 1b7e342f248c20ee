#!/bin/bash
# A volume goes to another host, here to another pool of this one, through ssh: idle, in use, cut short at every place.
# What comes there is what was here, to the last file; and here nobody finds it by its name.
# machine: --disk 2G --disk 2G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

printf '[Encryption]\nArgon2Memory=1M\nArgon2Iterations=4\n' >/etc/quarry/quarry.conf.d/fast.conf
root=/run/quarry/mnt/default
mkdir -p /run/sshd
install -d -m 0700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
printf 'StrictHostKeyChecking no\nLogLevel ERROR\nKexAlgorithms curve25519-sha256\nGSSAPIAuthentication no\n' >/root/.ssh/config
try /usr/sbin/sshd -o UsePAM=no -o Port=22 -o Port=2222
try /usr/sbin/sshd -o UsePAM=no -o Port=2223 -o SetEnv=PATH=/nowhere -o PidFile=none
# An end where things happen that do not happen here.
mkdir /run/other
cat >/run/other/quarry <<'SH'
#!/bin/sh
[ ! -e /run/endless ] || exec yes
case "$*" in
"update "*) while [ -e /run/stays ]; do sleep 0.1; done; exec /usr/bin/quarry "$@" ;; # not before it is told
"key status --json") echo '{"version":1,"keys":[]}' ;; # another host key
"receive "*) /usr/bin/quarry "$@" >/dev/null; exit 255 ;; # the answer is lost
*) exec /usr/bin/quarry "$@" ;;
esac
SH
chmod +x /run/other/quarry
try /usr/sbin/sshd -o UsePAM=no -o Port=2225 -o SetEnv=PATH=/run/other:/usr/bin -o PidFile=none
try quarry pool create default /dev/vda
try quarry pool create second /dev/vdb

sums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
kept() { quarry ls --no-legend -o name | grep "^$1-migrated-"; }
sums_of() { # VOLUME [MOUNT OPTION...]
    quarry mount "$@" >/dev/null && sums "$root/$1" && quarry umount "$1" >/dev/null
}
snapshots() { quarry ls --type snapshot --no-legend -o name; }
megabytes=4
made() { # NAME [CREATE OPTION...]
    try quarry create "$1" --size 300M "${@:2}"
    try quarry mount "$1" ${key:+--key-file "$key"}
    mkdir "$root/$1/sub"
    dd if=/dev/urandom of="$root/$1/random" bs=1M count=$megabytes status=none
    echo first >"$root/$1/sub/file"
    chmod 0640 "$root/$1/sub/file"
}
gone() { # NAME...: with all that is kept of it
    # shellcheck disable=SC2046 # a list of names
    try quarry rm --yes --snapshots "$@" $(kept db)
}
# The receiver, stopped before all is there.
receiver() { pgrep -f '^quarry receive .* --json$'; }
stopped_receiver() {
    local end=$((SECONDS + 30))
    until pids=$(receiver) && [ "$(wc -w <<<"$pids")" = 2 ]; do
        [ $SECONDS -lt $end ] || return 1
    done
    # shellcheck disable=SC2086 # a list of numbers
    kill -STOP $pids
}
# shellcheck disable=SC2086 # a list of numbers
going_on() { kill -CONT $pids 2>/dev/null; } # whatever is left of it
no_receiver() { ! receiver; }

# --- nobody uses it ---
for kind in "ext4" "xfs" "ext4 --encrypt"; do
    # shellcheck disable=SC2086 # words
    made db --fs $kind --uid 5 --mode 2750 --label app=db --label 'note=two words, and $HOME `x` "y"' --protect
    try quarry update db --snapshot-schedule 'daily keep 7, Mon..Fri *-*-* 08:00 keep 10'
    sums $root/db >/run/sums
    try quarry umount db
    exits "$kind: moved" 0 quarry migrate db --to ssh://localhost/second:db2
    is "$kind: prints what it is called there" "$out" second:db2
    like "$kind: and here" "$err" 'db is now db-migrated-[0-9a-f]{8}; .*quarry rm'
    is "$kind: it holds all of it" "$(sums_of db2)" "$(cat /run/sums)"
    is "$kind: in the other pool, with its labels and rules" \
        "$(json '.volumes[0] | [.pool, .uid, .mode, .labels, .protected, .snapshotSchedule]' quarry inspect db2 | jq -cS .)" \
        "$(json '.volumes[0] | ["second", .uid, .mode, .labels, .protected, .snapshotSchedule]' quarry inspect "$(kept db)" | jq -cS .)"
    refused "$kind: nobody finds it here by its name" 3 'no volume' quarry mount db
    [ "$kind" != ext4 ] || is "what is kept is what was sent" "$(sums_of "$(kept db)")" "$(cat /run/sums)"
    is "$kind: no snapshot stays, and no connection" "$(snapshots; pgrep -f '^ssh: /tmp'; ls -d /tmp/quarry-* 2>/dev/null)" ""
    try quarry update db2 --no-protect
    try quarry update "$(kept db)" --no-protect
    gone db2
done
printf pass >/run/pass
key=/run/pass
made vault --key passphrase --key-file /run/pass
key=
sums $root/vault >/run/sums
try quarry umount vault
try quarry backup target add disk file:///run/backups
try quarry backup run vault
exits "with a passphrase nothing is asked for, and nothing kept" 0 quarry migrate vault --remove --to ssh://root@localhost:2222/second:vault2
is "here nothing is left, not for backups either" "$(quarry ls --type all --no-legend -o name)" vault2
try quarry mount vault2 --key-file /run/pass
is "there the passphrase opens it" "$(sums $root/vault2)" "$(cat /run/sums)"
try quarry umount vault2
try quarry rm --yes vault2

# --- somebody does ---
made db
writer() { # a line that is said to be there is on the disk
    for ((i = 0;; i++)); do
        echo "$i" >>$root/db/lines && sync $root/db/lines && echo "$i" >/run/last
        dd if=/dev/urandom of=$root/db/again bs=64k count=8 conv=notrunc,fsync status=none
    done
}
writer 2>/dev/null &
writer=$!
refused "in use: all is sent that can be" 4 "volume db is in use: mounted at $root/db.*--stop" \
    quarry migrate db --to ssh://localhost/second:db2
ok "it is used as before" kill -0 $writer
is "there it waits for the rest" "$(snapshots | sort | sed 's/-[0-9a-f]*$//' | xargs)" "db2@migrate db@migrate"
is "with the same snapshot" "$(snapshots | sed 's/.*@//' | sort -u | wc -l)" 1
before=$(cat /run/last)
refused "a command that does not stop it" 1 'the command of --stop ended with 3' \
    quarry migrate db --to ssh://localhost/second:db2 --stop 'exit 3'
ok "changes nothing" wait_for 20 eval "[ \"\$(cat /run/last)\" -gt $before ]"
exits "killed while it stops" 137 bash -c "quarry migrate db --to ssh://localhost/second:db2 --stop 'kill -9 \$PPID'; exit"
ok "neither" wait_for 20 eval "[ \"\$(cat /run/last)\" -gt $((before + 1)) ]"
exits "stopped for a moment" 0 quarry migrate db --to ssh://localhost/second:db2 --stop "kill $writer; sleep 1; quarry umount db"
wait $writer 2>/dev/null
ok "it holds what was said to be there" grep -qx "$(cat /run/last)" "$(quarry mount db2)/lines"
is "and all else" "$(sums $root/db2)" "$(sums_of "$(kept db)")"
echo mine >$root/db2/mine
try quarry umount db2
not_ok "nobody writes to it here" quarry mount db
is "no snapshot stays" "$(snapshots)" ""
gone db2

# --- cut short ---
megabytes=30 # more than is on its way at any time
made db
megabytes=4
sums $root/db >/run/sums
for signal in TERM KILL; do
    quarry migrate db --to ssh://localhost/second:db2 2>/run/said &
    child=$!
    stopped_receiver
    kill -$signal $child
    wait $child 2>/dev/null
    going_on
    wait_for 30 no_receiver
    ok "ended by SIG$signal: nothing is there" wait_for 30 eval '! quarry exists db2'
    is "and the volume is in use as before" "$(sums $root/db)" "$(cat /run/sums)"
    [ $signal = KILL ] || is "no snapshot stays" "$(snapshots)" ""
done
quarry migrate db --to ssh://localhost/second:db2 2>/run/said &
child=$!
stopped_receiver
kill -KILL "$(pgrep -f '^ssh .*quarry receive')"
wait $child
is "ssh is killed: so it fails" $? 1
like "which is told" "$(cat /run/said)" 'ssh to localhost failed'
going_on
refused "again: it goes on" 4 'is in use' quarry migrate db --to ssh://localhost/second:db2
is "with one snapshot" "$(snapshots | wc -l)" 2
dd if=/dev/urandom of=$root/db/more bs=1M count=25 conv=fsync status=none
sums $root/db >/run/sums
quarry migrate db --to ssh://localhost/second:db2 2>/run/said &
child=$!
stopped_receiver
kill -KILL "$(pgrep -f '^ssh .*quarry receive')"
wait $child
is "killed with what is new: so it fails" $? 1
going_on
wait_for 30 no_receiver
try quarry umount db
number=$(snapshots | sed -n 's/^db2@migrate-//p')
try quarry rename db "db-migrated-$number"
exits "killed at its very end, and not all was there: it goes on" 0 quarry migrate db --to ssh://localhost/second:db2
is "all of it is there" "$(sums_of db2)" "$(cat /run/sums)"
is "no snapshot stays" "$(snapshots)" ""
gone db2

# --- cut short when all was there ---
made db
sums $root/db >/run/sums
try quarry umount db
refused "not taken out of use, though the answer was lost" 1 'the command of --stop ended with 1' quarry migrate db --to ssh://localhost:2225/second:db2 --stop false
try quarry rename db "db-migrated-$(snapshots | sed -n 's/^db@migrate-//p')"
try quarry mount db2
echo mine >$root/db2/mine
try quarry umount db2
exits "killed at its very end: it goes on" 0 quarry migrate db --to ssh://localhost/second:db2
is "and sends nothing to who uses it there already" "$(quarry mount db2 >/dev/null; cat $root/db2/mine)" mine
try quarry umount db2
is "no snapshot stays" "$(snapshots)" ""
gone db2
made db
try quarry snapshot db@a
echo second >$root/db/sub/file
sums $root/db >/run/sums
try quarry umount db
try quarry snapshot db@b
try bash -o pipefail -c 'quarry send db@a | quarry receive second:db2; quarry send db@b --since db@a | quarry receive second:db2'
try quarry rollback db2@a --yes --discard-current
exits "a receiver that was killed before its end" 0 quarry migrate db --to ssh://localhost/second:db2
is "has all of it" "$(sums_of db2)" "$(cat /run/sums)"
is "the snapshots of others stay where they are" "$(snapshots | sed 's/-migrated-.*@/-migrated@/' | xargs)" "db-migrated@a db-migrated@b db2@a db2@b"
refused "once it is away" 3 'no volume' quarry migrate db --to ssh://localhost/second:db2
gone db2

# --- somebody else moves it, or gives it another name ---
made db --label app=db
try quarry umount db
slow() { # begins; is at its end when it goes on
    touch /run/stays
    quarry migrate db --to ssh://localhost:2225/second:db3 2>/run/said &
    child=$!
    wait_for 60 pgrep -f '/quarry update second:db3' || echo "# it did not come there"
}
slow
refused "two at once" 4 'another quarry migrate of it is under way' quarry migrate db --to ssh://localhost/second:db2
rm /run/stays
wait $child
is "the first goes on" $? 0
gone db3
made db --label app=db
try quarry umount db
exits "another one" 0 quarry migrate db --to ssh://localhost/second:db2 --stop 'quarry update db --label late=yes'
is "with what the volume was said to be meanwhile" "$(json '.volumes[0].labels | tostring' quarry inspect db2)" '{"app":"db","late":"yes"}'
refused "is in one place only" 3 'no volume' quarry mount db
gone db2
made db --label app=db
try quarry umount db
slow
try quarry rename db mine
try quarry create db --size 16M
rm /run/stays
wait $child
is "with another name it is not moved" $? 4
like "which is told" "$(cat /run/said)" 'db was given the name mine meanwhile'
is "nor is what has its name now" "$(quarry ls --no-legend --pool default -o name | xargs)" "db mine"
try quarry rm --yes --snapshots db db3 mine

# --- the other host is gone ---
made db --label app=db
sums $root/db >/run/sums
try quarry umount db
vanished() { # begins; is at its end when nothing comes from there any more
    try quarry update db --label "time=$1" # which is to be told there
    slow
    hosts=$(pgrep -f '^sshd-session: root')
    # shellcheck disable=SC2086 # a list of numbers
    kill -STOP $hosts
}
back() {
    rm /run/stays
    # shellcheck disable=SC2086 # a list of numbers
    kill -KILL $hosts
    wait_for 10 eval '! pgrep -f "/quarry update second:db3"'
}
vanished first
kill -TERM $child
ok "it can be ended" wait_for 10 eval '! kill -0 $child'
back
vanished second
ok "or ends by itself" wait_for 90 eval '! kill -0 $child'
wait $child
is "and has failed" $? 1
like "which is told" "$(cat /run/said)" 'ssh to localhost, port 2225 failed'
back
touch /run/endless
refused "one whose answer has no end" 1 'more than is taken for an answer' quarry migrate db --to ssh://localhost:2225/second:db3
rm /run/endless
exits "then it goes on" 0 quarry migrate db --to ssh://localhost/second:db3
is "with all of it" "$(sums_of db3)" "$(cat /run/sums)"
gone db3

# --- what is not begun ---
made db --encrypt
try quarry umount db
nothing_was_made() { [ -z "$(snapshots)" ] && quarry exists db; }
refused_all() { # WHAT STATUS PATTERN ARGUMENT...
    refused "$1" "$2" "$3" quarry migrate "${@:4}"
    ok "nothing was made" nothing_was_made
}
try quarry create second:taken --size 16M
refused_all "a name that is taken" 7 'taken is at localhost already, .*--to ssh://localhost/NAME' db --to ssh://localhost/taken
refused_all "the volume itself" 2 'this very volume' db --to ssh://localhost
refused_all "a pool that is not there" 3 'no pool third' db --to ssh://localhost/third:db2
refused_all "a tenant that is not there" 3 'at localhost: .*nix' db --to ssh://localhost/nix/db2
refused_all "a host without quarry" 1 'no quarry in the PATH' db --to ssh://localhost:2223/db2
refused_all "a host without the key" 6 'localhost has not got host key .*quarry key add db' db --to ssh://localhost:2225/db2
refused_all "nobody listens" 1 'ssh to localhost, port 2224 failed' db --to ssh://localhost:2224/db2
refused_all "an option for ssh" 2 'no host' db --to ssh://-oProxyCommand=touch+x/db2
refused_all "another one" 2 'no user' db --to ssh://-x@localhost/db2
refused_all "a command in a name" 2 'name' db --to 'ssh://localhost/db2;reboot'
refused_all "a command in a host" 2 'no host' db --to 'ssh://local$(reboot)/db2'
refused_all "another protocol" 2 'ssh://' db --to http://localhost/db2
refused_all "a volume that is not there" 3 'no volume' nix --to ssh://localhost/second:db2
try quarry snapshot db@mine
refused "to lose snapshots" 4 'has snapshots, which are not moved.*without --remove it is kept here' quarry migrate db --remove --to ssh://localhost/second:db2
try quarry rm --yes db@mine
try quarry pool create small --file /var/small --size 300M
try quarry create small:rest --size 200M --fs none
room=$(json '.pools[0] | .dataSizeBytes - .dataUsedBytes' quarry pool inspect small)
try quarry mount db
dd if=/dev/urandom of=$root/db/more bs=1M count=30 status=none
sync -f $root/db
try quarry umount db
try quarry mount rest
dd if=/dev/urandom of=/dev/quarry/default/rest bs=1M count=$(((room >> 20) - 40)) conv=fsync status=none
try quarry umount rest
refused_all "a pool without room" 5 'pool small at localhost has .* free, and db takes' db --to ssh://localhost/small:db2
finish
