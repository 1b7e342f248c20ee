#!/bin/bash
# Volumes that change while they are used: labels and owner, name, size.
# machine: --disk 4G
# build: FAILPOINTS=1
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
root=/run/quarry/mnt/default

# --- labels and owner ---
printf secret >/run/key
try quarry create plain --size 64M --label app=one --label old=1
try quarry create locked --size 64M --key-file /run/key
try quarry create raw --size 16M --fs none
labels() { json '.volumes[0].labels | tojson' quarry inspect "$1"; }
exits "update: labels" 0 quarry update plain --label app=two --label 'new=a b' --label old-
is "they are set and removed" "$(labels plain)" '{"app":"two","new":"a b"}'
exits "update: a label that is not there is removed" 0 quarry update plain --label old-
refused "a label both set and removed" 2 'given twice' quarry update plain --label a=1 --label a-
refused "a label without a value" 2 'KEY=VALUE' quarry update plain --label a
refused "nothing to change" 2 'what is to be changed' quarry update plain
refused "of a volume that is not there" 3 'there is no volume' quarry update nothing --label a=1
try quarry mount plain
exits "owner, group and mode of a mounted volume" 0 quarry update plain --uid 1000 --gid 1001 --mode 2750
is "its directory has them" "$(stat -c '%u %g %a' $root/plain)" "1000 1001 2750"
is "so has the row" "$(json '.volumes[0] | [.uid, .gid, .mode] | tojson' quarry inspect plain)" "[1000,1001,1512]"
chown 77 $root/plain
try quarry update plain --gid 5
is "what is not named stays as it is" "$(stat -c '%u %g %a' $root/plain)" "77 5 2750"
try quarry snapshot plain@s
exits "labels of a snapshot" 0 quarry update plain@s --label kept=yes
is "are its own" "$(labels plain@s) $(labels plain)" '{"app":"two","kept":"yes","new":"a b"} {"app":"two","new":"a b"}'
refused "but not its owner" 1 'can only be read' quarry update plain@s --uid 1
refused "what has no filesystem has no owner" 1 'has no filesystem' quarry update raw --mode 0700
refused "a closed volume with a passphrase needs it" 6 'passphrase' quarry update locked --mode 0700 </dev/null
is "and nothing was changed" "$(json '.volumes[0].mode' quarry inspect locked)" 493
exits "with it" 0 quarry update locked --mode 0700 --key-file /run/key
is "it is closed again" "$(json '.volumes[0].open' quarry inspect locked)" false
try quarry mount locked --key-file /run/key
is "its directory has the mode" "$(stat -c %a $root/locked)" 700
exits "while it is open it needs none" 0 quarry update locked --mode 0711
is "its directory has that mode" "$(stat -c %a $root/locked)" 711
systemctl kill -s KILL quarryd
is "labels outlive a restart" "$(labels plain)" '{"app":"two","new":"a b"}'
finish
