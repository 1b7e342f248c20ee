#!/bin/bash
# Disks beneath a pool that fail, do not answer, or are gone: the daemon stays, tells, and recovers by itself.
# machine: --disk 600M --disk 400M --timeout 900
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

offset=2048 # so that what lies on it is not seen on the disk itself
sectors=$(($(blockdev --getsz /dev/vda) - offset))
lower() { # the table of the disk beneath the pool, from stdin
    dmsetup load lower && dmsetup suspend --noflush --nolockfs lower && dmsetup resume lower
}
well() { lower <<<"0 $sectors linear /dev/vda $offset"; }
# The part of the disk that a logical volume of the pool takes has TARGET instead of the disk.
instead() { # ROLE TARGET [WORDS]
    local start length
    read -r _ length _ _ start < <(dmsetup table "$(basename "$(pool_part "$1")")")
    printf '%s\n' "0 $start linear /dev/vda $offset" "$start $length $2 ${3:+/dev/vda $((offset + start)) $3}" \
        "$((start + length)) $((sectors - start - length)) linear /dev/vda $((offset + start + length))" | lower
}
shown() { json ".pools[] | select(.name == \"default\") | .$1" timeout 20 quarry pool ls; }
state_is() { [[ $(shown state) =~ ^($1)$ ]]; }
daemon() { systemctl show --property MainPID --property NRestarts quarryd; }
served() { # WHILE: what needs no disk is answered, and the other pool works
    run timeout 20 quarry ls -o name,pool --no-legend
    is "$1 the volumes are listed" "$(awk '$2 == "default" && $1 !~ /lost/ { print $1 }' <<<"$out" | xargs)" "keep used"
    ok "$1 one is inspected" timeout 20 quarry inspect keep
    ok "$1 another pool makes volumes" timeout 60 quarry create "o$((others += 1))" --pool other --size 16M --fs none
    is "$1 the daemon is the same" "$(daemon)" "$main"
}
others=0

try dmsetup create lower --table "0 $sectors linear /dev/vda $offset"
try quarry pool create default /dev/mapper/lower
try quarry pool create other /dev/vdb
# Of different sizes: two of a kind make a template, in the background.
try quarry create keep --size 32M
try quarry create used --size 33M
echo content >"$(quarry mount keep)/file"
sync "/run/quarry/mnt/default/keep/file"
try quarry umount keep
main=$(daemon)

# --- the catalog's disk fails ---
# A flush goes to the whole of the disk and fails, so that what still writes would end the pool's metadata, too.
try wait_for 30 nothing_waits_to_be_closed
sleep 2 # the kernel commits once a second what was changed
instead catalog flakey "0 1000 1 error_writes"
refused "a volume is not made when its row cannot be written" 1 'catalog' timeout 120 quarry create lost --size 16M
ok "the pool is shown as failing" wait_for 40 state_is 'unavailable|activating'
like "with the reason" "$(shown failure)" 'catalog|disk|mount'
served "while the catalog cannot be written"
exits "a list says that what it shows may be old" 1 timeout 20 quarry ls --pool default
like "and what to run" "$err" 'quarry pool inspect default'
refused "a volume is not removed meanwhile" 1 'pool default' timeout 120 quarry rm used
well
ok "the pool recovers by itself" wait_for 90 state_is active
is "and has what was there" "$(quarry ls --pool default --no-legend -o name | xargs)" "keep used"
ok "a volume can be made" quarry create new --size 16M
ok "and removed" quarry rm new

# --- the thin metadata's disk fails ---
try quarry mount used
instead metadata flakey "0 1000 1 error_writes"
# The kernel says that it made one, and could not commit it.
not_ok "a volume is not made when the metadata cannot be written" timeout 120 quarry create lost --size 16M --fs none
ok "the pool is shown as degraded" wait_for 20 state_is degraded
like "with what to do" "$(shown failure)" 'metadata.*unmount'
refused "the next is not even tried" 1 'takes no changes' timeout 20 quarry create lost2 --size 16M
served "while the metadata cannot be written"
well
ok "what is mounted can be unmounted" timeout 60 quarry umount used
ok "checked and made anew the pool recovers by itself" wait_for 120 state_is active
quarry rm lost 2>/dev/null
try quarry snapshot keep@s
try wait_for 30 nothing_waits_to_be_closed
instead metadata flakey "0 1000 1 error_writes"
not_ok "a volume does not go back when that cannot be written" timeout 120 quarry rollback --yes --discard-current keep@s
well
ok "the pool recovers from that, too" wait_for 120 state_is active
try quarry rm keep@s
is "the content is there" "$(cat "$(quarry mount keep)/file")" content
ok "a volume can be made again" quarry create new --size 16M
try quarry rm new

# --- the data's disk fails ---
instead data error
not_ok "what is not in memory cannot be read" timeout 60 dd if=/run/quarry/mnt/default/keep/file iflag=direct of=/dev/null
not_ok "a volume is not made when its filesystem cannot be written" timeout 120 quarry create lost --size 16M
not_ok "nor mounted" timeout 120 quarry mount used
served "while the data cannot be read"
well
ok "what was mounted can be unmounted" timeout 60 quarry umount keep
ok "the pool is active" wait_for 120 state_is active
is "the content is there again" "$(cat "$(quarry mount keep)/file")" content
try quarry umount keep
quarry rm lost 2>/dev/null
ok "a volume can be made then" quarry create new --size 16M
try quarry rm new

# --- it does not answer ---
dmsetup suspend --noflush --nolockfs lower
timeout 120 quarry create late --size 16M >/tmp/late 2>&1 &
timeout 120 quarry mount used >/tmp/late-mount 2>&1 &
ok "a disk that does not answer is noticed" wait_for 60 state_is 'unavailable|activating'
like "and said" "$(shown failure)" 'not answer'
ok "who waits is told why" wait_for 20 grep -q 'not answer' /tmp/late
ok "also who waits for a mount" wait_for 20 grep -q 'not answer' /tmp/late-mount
like "and that it may still be done" "$(cat /tmp/late)" 'may still be done'
wait
refused "the next is not kept waiting" 1 'not answer' timeout 20 quarry create more --size 16M
refused "nor is a mount" 1 'not answer' timeout 20 quarry mount keep
is "the volumes are listed" "$(timeout 20 quarry ls --pool default --no-legend -o name | grep -v late | xargs)" "keep used"
ok "another pool makes volumes" timeout 60 quarry create meanwhile --pool other --size 16M
is "the daemon is the same" "$(daemon)" "$main"
dmsetup resume lower
ok "when it answers the pool is active" wait_for 120 state_is active
quarry rm late 2>/dev/null
quarry umount used 2>/dev/null
is "the content is still there" "$(cat "$(quarry mount keep)/file")" content
try quarry umount keep

# --- all of it is gone ---
lower <<<"0 $sectors error"
not_ok "without its disk nothing is made" timeout 120 quarry create lost --size 16M
served "while the disk is gone"
ok "the pool is shown as failing" wait_for 60 state_is 'unavailable|activating'
try systemctl restart quarryd
main=$(daemon)
ok "also by a new daemon" wait_for 60 state_is 'unavailable|activating'
like "the other pool's volumes are listed" "$(quarry ls --no-legend -o name --pool other)" 'meanwhile'
well
ok "when the disk is back so is the pool" wait_for 120 state_is active
is "with the content" "$(cat "$(quarry mount keep)/file")" content
try quarry umount keep
is "the daemon was not restarted" "$(daemon)" "$main"

# --- it does not come at the start ---
try systemctl stop quarryd.socket quarryd
try /usr/lib/quarry/quarry-worker --close-pools
try dmsetup remove lower
try systemctl start quarryd.socket quarryd
main=$(daemon)
exits "a daemon without the disk lists what it can, and says that it lacks a pool" 1 timeout 120 quarry ls
like "which one" "$err" 'default: it is (unavailable|activating).*not in the list'
like "the other pool's volumes are listed" "$out" 'meanwhile'
is "in JSON too" "$(quarry ls --json | jq -r '.errors[].object')" default
is "numbers that nobody knows are not 0" \
    "$(quarry pool ls --no-legend -o name,use%,volumes | awk '$1 == "default" { print $2, $3 }')" "- -"
try dmsetup create lower --table "0 $sectors linear /dev/vda $offset"
ok "when the disk comes so does the pool" wait_for 120 state_is active
is "with its content" "$(cat "$(quarry mount keep)/file")" content
try quarry umount keep

# --- it is gone for good ---
refused "an active pool is not forgotten" 4 'is active' quarry pool rm default --forget
lower <<<"0 $sectors error"
timeout 120 quarry create lost --size 16M >/dev/null 2>&1
ok "the pool is shown as failing" wait_for 60 state_is 'unavailable|activating'
gone=$(pool_uuid)
ok "it can be forgotten" timeout 200 quarry pool rm default --forget
is "no device of it stays" "$(dmsetup ls | grep -c "${gone//-/--}")" 0
is "the other one is listed" "$(quarry pool ls --no-legend -o name)" other
ok "and a list is whole again" quarry ls
is "the daemon is the same to the end" "$(daemon)" "$main"

finish
