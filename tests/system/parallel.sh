#!/bin/bash
# Fifty volumes of all kinds by eight clients at once; the same create four times at once; all removed at once.
# machine: --disk 6G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
count=50
root=/run/quarry/mnt/default

create() { # NUMBER: every fifth XFS, every fourth encrypted
    local options=(--size 32M)
    [ $(($1 % 5)) != 0 ] || options=(--size 300M --fs xfs)
    [ $(($1 % 4)) != 0 ] || options+=(--encrypt)
    quarry create "v$1" "${options[@]}" --label "number=$1"
}
use() { # NUMBER
    quarry mount "v$1" && echo "content of $1" >"$root/v$1/file"
}
export -f create use
export root
at_once() { seq "$count" | xargs -P 8 -I{} bash -c "$1"; }

ok "8 clients at once make $count volumes" at_once 'create {}'
# On a slow host the command says that it waits: that is no failure.
is "none failed" "$(grep -v 'no answer from quarryd yet' <<<"$err")" ""
is "all are listed and ready" "$(quarry ls --no-legend -o state | sort | uniq -c | xargs)" "$count ready"
is "each with the label it was made with" "$(json '[.volumes[] | select(.name == "v" + .labels.number)] | length' quarry ls)" $count
is "their UUIDs differ" "$(json '.volumes[].uuid' quarry ls | sort -u | wc -l)" $count
ids=$(thin_ids | sort -u | wc -l) # of three kinds, two of which make a template, and all one more ahead
ok "so do their thin devices, and nobody sees at most five more" [ "$ids" -ge $count -a "$ids" -le $((count + 5)) ]
ok "no device is left open" wait_for 60 eval '[ -z "$(volume_devices)" ]'
ok "8 clients at once mount and write them all" at_once 'use {}'
is "all are mounted" "$(volume_mounts)" $count
is "each holds its own content" "$(for i in $(seq $count); do grep -lx "content of $i" "$root/v$i/file"; done | wc -l)" $count
is "a quarter is encrypted in the kernel" "$(dmsetup ls --target crypt | wc -l)" $((count / 4))
is "a fifth is XFS" "$(findmnt -rn -t xfs -o TARGET | grep -c "^$root")" $((count / 5))
ok "8 clients at once unmount them all" at_once 'quarry umount v{}'
is "no device is open" "$(volume_devices)" ""

# --- the same create by four at once ---
for i in 1 2 3 4; do
    (quarry create same --size 64M --if-absent >/tmp/same.$i 2>&1; echo $? >>/tmp/same.$i) &
done
wait
is "the same create with --if-absent by 4 at once: 4 successes" "$(cat /tmp/same.* | sort | uniq -c | xargs)" "4 0 4 same"
is "and one volume" "$(quarry ls --no-legend -o name | wc -l)" $((count + 1))
ok "that works" eval 'quarry mount same && quarry umount same'
for i in 1 2 3 4; do
    (quarry create "mixed" --size $((i * 32))M >/dev/null 2>&1; echo $? >/tmp/same.$i) &
done
wait
is "different creates of one name at once: one wins, the others are told" "$(cat /tmp/same.* | sort | xargs)" "0 7 7 7"

# --- all removed at once ---
ok "8 clients at once remove them all" at_once 'quarry rm v{}'
for i in 1 2; do
    (quarry rm same >/dev/null 2>&1; echo $? >/tmp/same.$i) &
done
wait
is "the same rm by 2 at once: one of them has it" "$(cat /tmp/same.[12] | sort | xargs)" "0 3"
try quarry rm mixed
is "none is listed" "$(quarry ls --no-legend)" ""
ok "none is in the pool" no_thin_device_is_left
is "none is in the kernel" "$(volume_devices)" ""
is "the pool is empty again" "$(json '.pools[0] | [.dataUsedBytes, .volumes, .provisionedBytes] | map(tostring) | join(" ")' quarry pool inspect default)" "0 0 0"

finish
