#!/bin/bash
# A worker or the broker that dies in the middle of a job fails that job clearly and leaves nothing behind.
# machine: --disk 2G --disk 1G
# takes: long
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda

# Both look without starting a process, which takes too long.
runs() { # COMM
    local file name
    for file in /proc/[0-9]*/comm; do
        read -r name 2>/dev/null <"$file" && [ "$name" = "$1" ] && return
    done 2>/dev/null
    return 1
}
device_is_there() { # PATTERN of its name
    local file name
    for file in /sys/block/dm-*/dm/name; do
        # shellcheck disable=SC2053 # a pattern is meant
        read -r name 2>/dev/null <"$file" && [[ $name == $1 ]] && return
    done 2>/dev/null
    return 1
}

# Creates NAME and kills at the moment when CONDITION holds; tries again when it came too late.
# $status, $err: how the create ended.
create_and_kill() { # VICTIM CONDITION NAME OPTION...
    local victim=$1 condition=$2 name=$3 i
    shift 3
    for i in 1 2 3 4 5; do
        quarry create "$name" "$@" 2>/tmp/create.err &
        until eval "$condition" || [ ! -e /proc/$!/exe ]; do :; done
        pkill -9 -x "$victim"
        status=0
        wait $! || status=$?
        err=$(</tmp/create.err)
        [ $status = 0 ] || return
        try quarry rm "$name"
    done
    echo "# never in time to kill $victim"
}
clean() { # WHEN
    ok "$1: nothing of it is listed" wait_for 30 eval '[ -z "$(quarry ls --no-legend)" ]'
    is "$1: no device is left" "$(volume_devices)" ""
    ok "$1: no thin device is left" no_thin_device_is_left
    is "$1: no mkfs is left" "$(pgrep -x 'mke2fs|mkfs.xfs')" ""
}
again() { # NAME OPTION...
    exits "and the same create works now" 0 quarry create "$@"
    ok "and its volume" eval "quarry mount $1 && quarry umount $1 && quarry rm $1"
}

create_and_kill quarry-worker 'runs mkfs.xfs' x --size 1G --fs xfs
is "worker killed during mkfs.xfs: the create fails" "$status" 1
like "and says that the worker ended" "$err" 'cannot create x: the worker ended in the middle of the job'
clean "worker killed during mkfs.xfs"
again x --size 1G --fs xfs

uuid="[0-9a-f]*-[0-9a-f]*-[0-9a-f]*-[0-9a-f]*-[0-9a-f]*"
create_and_kill quarry-worker "device_is_there 'quarry-$uuid-crypt'" s --size 256M --encrypt
is "worker killed with the encryption open: the create fails" "$status" 1
clean "worker killed with the encryption open"
again s --size 256M --encrypt
try quarry create other --size 64M --encrypt
wait_for 30 eval "! device_is_there 'quarry-$uuid-crypt'"
create_and_kill quarry-worker "device_is_there 'quarry-$uuid-crypt'" s --size 256M --encrypt
is "beside another encrypted volume: the create fails" "$status" 1
ok "and only the other is listed" wait_for 30 eval '[ "$(quarry ls --no-legend -o name)" = other ]'
is "and in the pool" "$(thin_ids | wc -l)" 1
try quarry rm other

pool=$(pool_uuid)
others() { device_is_there "quarry-[!${pool:0:1}]*" || device_is_there "quarry-${pool:0:1}[!${pool:1:1}]*"; }
create_and_kill quarry-worker others p --size 256M
is "worker killed with the thin device just made: the create fails" "$status" 1
clean "worker killed with the thin device just made"

create_and_kill quarryd 'runs mkfs.xfs' x --size 1G --fs xfs
is "broker killed during mkfs.xfs: the client is told" "$status" 8
like "that the connection ended" "$err" 'ended the connection before it answered'
clean "broker killed during mkfs.xfs"
again x --size 1G --fs xfs

# --- pools ---
more_devices_than() { # COUNT
    set -- "$1" /sys/block/dm-*
    [ $(($# - 1)) -gt "$1" ]
}
devices=$(dmsetup ls | wc -l)
for more in 1 2 3; do # the second is looked for when there is one, two, three of its logical volumes
    quarry pool create second /dev/vdb 2>/tmp/create.err >/dev/null &
    until more_devices_than $((devices + more - 1)) || [ ! -e /proc/$!/exe ]; do :; done
    pkill -9 -x quarry-worker
    status=0
    wait $! || status=$?
    err=$(</tmp/create.err)
    is "worker killed at logical volume $more of a pool: the create fails" "$status" 1
    like "and says that the worker ended" "$err" 'the worker ended in the middle of the job'
    is "no pool is listed" "$(quarry pool ls --no-legend -o name)" default
    is "no device is left" "$(dmsetup ls | wc -l)" "$devices"
    is "and nothing on the disk" "$(wipefs -n /dev/vdb)" ""
done
exits "the same pool create works now" 0 quarry pool create second /dev/vdb
quarry pool rm second 2>/tmp/create.err >/dev/null &
while more_devices_than $((devices + 2)) && [ -e /proc/$!/exe ]; do :; done
pkill -9 -x quarry-worker
status=0
wait $! || status=$?
[ $status = 0 ] || exits "worker killed in a pool rm: it can be repeated" 0 quarry pool rm second
is "no pool is listed" "$(quarry pool ls --no-legend -o name)" default
is "no device is left" "$(dmsetup ls | wc -l)" "$devices"
is "and nothing on the disk" "$(wipefs -n /dev/vdb)" ""

# --- killed at any moment ---
(
    for _ in {1..25}; do
        sleep 0.$((RANDOM % 5 + 2))
        pkill -9 -x quarry-worker
        [ $((RANDOM % 4)) != 0 ] || pkill -9 -x quarryd
    done
) &
killer=$!
systemctl reset-failed quarryd
for i in 1 2 3; do
    (
        while [ -e /proc/$killer/exe ]; do
            quarry create "v$i" --size 32M && quarry mount "v$i"
            quarry umount "v$i"
            [ $((RANDOM % 3)) = 0 ] || quarry rm "v$i"
        done >/dev/null 2>&1
    ) &
done
wait
systemctl reset-failed quarryd quarryd.socket quarry-worker.socket 2>/dev/null
ok "after killing both at any moment quarryd answers" wait_for 30 quarry ls
ok "and the pool comes back" wait_for 60 eval '[ "$(json ".pools[0].state" quarry pool inspect default)" = active ]'
ok "what was cut short comes to an end" wait_for 60 eval '! quarry ls --no-legend -o state | grep -q "creating\|removing"'
left=$(quarry ls --no-legend -o name | xargs)
listed=$(quarry ls --no-legend -o state | grep -c ready)
broken=$(quarry ls --no-legend -o state | grep -c broken)
as_listed() { # and at most the template of their kind, and the one that is made ahead
    there=$(thin_ids | wc -l)
    [ "$there" -ge "$listed" ] && [ "$there" -le $((listed + broken + 2)) ]
}
ok "every volume that is ready is in the pool, and nothing that is not listed" wait_for 30 as_listed
echo "# $listed volumes ready, $broken broken"
for name in $left; do
    state=$(json '.volumes[0].state' quarry inspect "$name")
    case $state in
        ready) ok "a volume that is ready can be mounted" eval "quarry mount $name && quarry umount $name" ;;
        broken) ok "one whose undo was killed too says so" eval "quarry inspect $name | grep 'Failure: .*worker ended'" ;;
        *) is "a volume is ready or broken" "$state" "" ;;
    esac
    exits "and can be removed" 0 quarry rm "$name"
done
clean "after all that"

# --- a pool ---
try quarry pool rm default
kill_while_lvm() { # VICTIM LVM-VERB COMMAND...
    local victim=$1 verb=$2
    shift 2
    "$@" 2>/tmp/pool.err >/dev/null &
    until pgrep -f "^lvm $verb" >/dev/null || [ ! -e /proc/$!/exe ]; do :; done
    pkill -9 -x "$victim"
    status=0
    wait $! || status=$?
    err=$(</tmp/pool.err)
}
no_pool() { # WHEN
    is "$1: no device is left" "$(dmsetup ls)" "No devices found"
    is "$1: no volume group is left" "$(vgs --noheadings -o vg_name)" ""
    is "$1: no entry is left" "$(ls /var/lib/quarry/pools)" ""
}
kill_while_lvm quarry-worker lvcreate quarry pool create p /dev/vda
is "worker killed while it makes a pool: the create fails" "$status" 1
no_pool "worker killed while it makes a pool"
exits "and the same create works now" 0 quarry pool create p /dev/vda
kill_while_lvm quarry-worker lvremove quarry pool rm p
is "worker killed while it removes a pool: another goes on with it" "$status $err" "0 "
no_pool "worker killed while it removes a pool"
try quarry pool create p /dev/vda
try systemctl stop quarryd quarryd.socket
entry=$(echo /var/lib/quarry/pools/*)
jq '.unfinished = true' "$entry" >/tmp/entry && cp /tmp/entry "$entry"
try systemctl start quarryd.socket
is "a pool that an earlier start left unfinished" "$(quarry pool ls --no-legend)" ""
no_pool "is taken away when quarryd starts"

finish
