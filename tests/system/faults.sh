#!/bin/bash
# Disks beneath a pool that fail, do not answer, or are there twice: the daemon stays, tells, and recovers by itself.
# machine: --disk 600M --disk 400M --disk 400M --timeout 600
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

sectors=$(blockdev --getsz /dev/vda)
lower() { # the table of the disk beneath the pool, from stdin
    dmsetup load lower && dmsetup suspend --noflush --nolockfs lower && dmsetup resume lower
}
well() { lower <<<"0 $sectors linear /dev/vda 0"; }
# The part of the disk that a logical volume of the pool takes has TARGET instead of the disk.
instead() { # ROLE TARGET [WORDS]
    local start length
    read -r _ length _ _ start < <(dmsetup table "$(basename "$(pool_part "$1")")")
    printf '%s\n' "0 $start linear /dev/vda 0" "$start $length $2 ${3:+/dev/vda $start $3}" \
        "$((start + length)) $((sectors - start - length)) linear /dev/vda $((start + length))" | lower
}
state_is() { [ "$(json '.pools[0].state' quarry pool inspect default)" = "$1" ]; }
daemon() { systemctl show --property MainPID --value quarryd; }
served() { # WHILE WHAT: what needs no disk is answered, and the other pool works
    is "$1 the volumes are listed" "$(quarry ls --pool default --no-legend -o name | grep -v lost | xargs)" "keep used"
    ok "$1 one is inspected" quarry inspect keep
    ok "$1 another pool makes volumes" quarry create "o$RANDOM" --pool other --size 16M --fs none
}

try dmsetup create lower --table "0 $sectors linear /dev/vda 0"
try quarry pool create default /dev/mapper/lower
try quarry pool create other /dev/vdb
try quarry create keep --size 32M
try quarry create used --size 32M
echo content >"$(quarry mount keep)/file"
try quarry umount keep
main=$(daemon)

# --- the catalog's disk fails ---
instead catalog flakey "0 1000 1 error_writes"
refused "a volume is not made when its row cannot be written" 1 'catalog' quarry create lost --size 16M
ok "the pool is shown as degraded" state_is degraded
like "with the reason" "$(quarry pool inspect default)" 'Failure: .*catalog'
served "while the catalog cannot be written"
refused "a volume is not removed meanwhile" 1 'takes no changes' quarry rm used
ok "one can be mounted" quarry mount keep
ok "and unmounted" quarry umount keep
well
ok "the pool recovers by itself" wait_for 60 state_is active
is "and has what was there" "$(quarry ls --pool default --no-legend -o name | xargs)" "keep used"
ok "a volume can be made" quarry create new --size 16M
ok "and removed" quarry rm new

# --- it does not answer ---
dmsetup suspend --noflush --nolockfs lower
quarry create late --size 16M >/tmp/late 2>&1 &
late=$!
ok "a disk that does not answer is noticed" wait_for 40 state_is degraded
like "and said" "$(quarry pool inspect default)" 'Failure: .*not answered'
not_ok "who waits is told" wait $late
like "why" "$(cat /tmp/late)" 'not answered'
refused "the next is not kept waiting" 1 'not answered' quarry create more --size 16M
is "the volumes are listed" "$(quarry ls --pool default --no-legend -o name | grep -v late | xargs)" "keep used"
ok "another pool makes volumes" quarry create meanwhile --pool other --size 16M
dmsetup resume lower
ok "when it answers the pool is active" wait_for 60 state_is active
ok "and what was asked for is done" wait_for 30 quarry mount late
try quarry umount late
try quarry rm late

# --- the thin metadata's disk fails ---
instead metadata flakey "0 1000 1 error_writes"
not_ok "a volume is not made when the metadata cannot be written" quarry create lost --size 16M
ok "the pool is shown as degraded" wait_for 10 state_is degraded
like "with what to do" "$(quarry pool inspect default)" 'Failure: .*metadata.*unmounted'
served "while the metadata cannot be written"
well
ok "checked and made anew the pool recovers by itself" wait_for 90 state_is active
ok "what the failed create may have left can be removed" eval '! quarry exists lost || quarry rm lost'
is "the content is there" "$(cat "$(quarry mount keep)/file")" content
try quarry umount keep

# --- all of it is gone ---
lower <<<"0 $sectors error"
not_ok "without its disk nothing is made" quarry create lost --size 16M
served "while the disk is gone"
is "the daemon was not restarted so far" "$(daemon)" "$main"
try systemctl restart quarryd
exits "a new daemon lists what it can, and says that it lacks a pool" 1 quarry ls
like "which one" "$err" 'default.*unavailable'
like "the other pool's volumes are listed" "$out" 'meanwhile'
is "in JSON too" "$(quarry ls --json | jq -r '.errors[].object')" default
is "numbers that nobody knows are not 0" "$(quarry pool ls --no-legend -o name,size,volumes | awk '$1 == "default" { print $2, $3 }')" "- -"
main=$(daemon)
well
ok "when the disk is back so is the pool" wait_for 60 state_is active
is "with the content" "$(cat "$(quarry mount keep)/file")" content
try quarry umount keep
ok "what is left of the failed create can be removed" eval '! quarry exists lost || quarry rm lost'
is "the daemon was not restarted" "$(daemon)" "$main"

# --- a copy of a disk ---
try quarry pool export other
try dd if=/dev/vdb of=/dev/vdc bs=4M conv=fsync
udevadm settle
refused "a pool of whose disk a copy is there is not imported" 1 'there twice: /dev/vd[bc] and /dev/vd[bc]' quarry pool import
wipefs -qa /dev/vdc
udevadm settle
ok "without the copy it is" quarry pool import

finish
