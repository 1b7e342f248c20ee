#!/bin/bash
# What was written survives umount, restarts, kill -9 of broker and workers, and a reboot; nobody is disturbed.
# boots: 2
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

root=/run/quarry/mnt/default
names=(plain secret xfs)
intact() { (cd "$root" && sha256sum --quiet -c /var/lib/survive.sums); }
mounts() { grep " $root/" /proc/self/mountinfo | cut -d' ' -f1-5 | sort; }
all_listed() { [ "$(quarry ls --no-legend -o name,mounted | awk -v root="$root" '$2 == root "/" $1' | wc -l)" = 3 ]; }
fill() { # NAME: 4M that do not compress, and many small files
    head -c 4M /dev/urandom >"$root/$1/large"
    mkdir "$root/$1/many"
    (cd "$root/$1/many" && split -b 512 -a 3 <(head -c 64K /dev/urandom))
}
# A user of a mounted volume, who keeps a file open and counts in it.
counter_start() {
    (while echo tick; do sleep 0.1; done) >>$root/plain/counter &
    counter=$!
}
undisturbed() { # WHAT HAPPENED
    local ticks
    is "after $1 the mounts are the same" "$(mounts)" "$before"
    ok "after $1 all are listed, and as mounted" wait_for 30 all_listed
    ok "after $1 every byte is there" intact
    ticks=$(wc -l <$root/plain/counter)
    ok "after $1 who writes goes on" wait_for 5 eval "[ \$(wc -l <$root/plain/counter) -gt $((ticks + 2)) ]"
}

first_boot() {
    local before

    try quarry pool create default /dev/vda
    try quarry pool create file --file /var/lib/quarry/file.img --size 400M
    try quarry create plain --size 128M --label app=db --label tier=1
    try quarry create secret --size 128M --encrypt --label app=vault
    try quarry create xfs --size 300M --fs xfs
    try quarry create filed --pool file --size 16M
    for name in "${names[@]}" filed; do
        try quarry mount "$name"
        [ "$name" = filed ] || fill "$name"
    done
    echo in a file >$root/filed/file
    try quarry umount filed
    sync
    (cd "$root" && find "${names[@]}" -type f -exec sha256sum {} +) >/var/lib/survive.sums
    try quarry umount "${names[@]}"
    try quarry mount plain
    try quarry mount secret
    try quarry mount xfs
    ok "after umount and mount every byte is there" intact

    before=$(mounts)
    counter_start
    try systemctl restart quarryd
    undisturbed "a restart of quarryd"

    try systemctl kill -s KILL --kill-whom=main quarryd
    undisturbed "kill -9 of quarryd"

    try pkill -9 -x quarry-worker
    undisturbed "kill -9 of all workers"
    exits "and the next job works" 0 quarry create later --size 16M --fs none

    try systemctl stop quarryd
    try systemctl restart quarry-worker.socket quarryd.socket
    undisturbed "a restart of the sockets"

    pkill -9 -x quarryd
    pkill -9 -x quarry-worker
    undisturbed "kill -9 of everything"
    exits "a volume can be unmounted by the new daemon" 0 quarry umount secret
    exits "and mounted" 0 quarry mount secret
    ok "with every byte" intact
    try quarry rm later

    end $counter
    # At boot it starts before the disks have turned up.
    try systemctl --quiet enable quarryd.service
    sync
}

second_boot() {
    exits "after a reboot the pools are active by themselves" 0 quarry pool ls --no-legend -o name,state
    is "both" "$(awk '{ print $1, $2 }' <<<"$out" | sort | xargs)" "default active file active"
    is "the volumes are listed" "$(quarry ls --no-legend -o name | sort | xargs)" "filed plain secret xfs"
    is "nothing is mounted" "$(volume_mounts)" 0
    is "labels are kept" "$(json '.volumes[] | select(.name == "plain") | .labels | [.app, .tier] | join(" ")' quarry ls)" "db 1"
    exits "an encrypted volume mounts unattended" 0 quarry mount secret
    ok "so do the others" eval 'quarry mount plain && quarry mount xfs'
    ok "every byte is there" intact
    ok "what was counted too" test "$(wc -l <$root/plain/counter)" -gt 10
    is "the pool in a file has its volume" "$(cat "$(quarry mount filed)/file")" "in a file"
    try quarry create new --size 16M --fs none
    is "a new volume gets a thin id of its own" "$(thin_ids | sort -u | wc -l)" 4

    ok "all can be removed" eval "quarry umount ${names[*]} filed && quarry rm ${names[*]} filed new"
    ok "and the pools" quarry pool rm default file
    is "nothing is left" "$(dmsetup ls; losetup -l --noheadings)" "No devices found"
}

case $1 in
    1) first_boot ;;
    2) second_boot ;;
esac
finish
