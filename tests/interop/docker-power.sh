#!/bin/bash
# The power goes while containers write to volumes of driver quarry: with it back they go on, with every line that was
# synced, and nothing stays mounted behind them.
# host: yes
# takes: long
# shellcheck source=common disable=SC2016
here=$(cd "$(dirname "$0")" && pwd)

if [ ! -e /dev/virtio-ports/quarry.status ]; then # on the host: two boots on the same disk
    dir=$(mktemp -d "$here/../../build/power-XXXXXX")
    trap 'rm -rf "$dir"' EXIT
    truncate -s 3G "$dir/disk"
    machine() { "$here/../vm/run" --keep-disk "$dir/disk" --timeout 300 "$0" "$@"; }
    machine cut 2>"$dir/errors" | tee "$dir/said"
    synced=$(sed -n 's/^# synced: //p' "$dir/said")
    if [ -z "$synced" ]; then
        cat "$dir/errors"
        exit 1
    fi
    # shellcheck disable=SC2086 # two numbers
    machine back $synced
    exit
fi

. "$here/common"
lines() { wc -l <"$root/$1/log"; }

cut() {
    local name
    try quarry pool create default /dev/vda
    docker_begin
    try docker volume create -d quarry -o size=64M --label keep=me one
    try docker volume create -d quarry -o size=64M -o encrypt=true two
    for name in one two; do try drun -d --restart always --name $name -v $name:/data busybox sh -c "$writer"; done
    for name in one two; do ok "$name writes" wait_for 60 eval "[ \"\$(lines $name)\" -gt 20 ]"; done
    sync -f $clients # dockerd does not wait for what it notes of a container
    # the last line may be on its way to the disk
    echo "# synced: $(($(lines one) - 1)) $(($(lines two) - 1))"
    sleep 1
    echo b >/proc/sysrq-trigger
}

back() {
    local name synced=("$@")
    docker_begin
    ok "both containers run again" wait_for 60 eval 'container_runs one && container_runs two'
    for name in one two; do
        ok "$name has its volume" on_quarry "$(container_pid $name)" /data
        ok "$name writes into it" grows "$root/$name/log"
        ok "no line of it is missing" log_is_whole "$root/$name/log"
        ok "all that was synced is there" test "$(lines $name)" -gt "${synced[0]}"
        synced=("${synced[@]:1}")
    done
    is "the volume has its label" "$(docker volume inspect --format '{{.Labels.keep}}' one)" me
    exits "the containers are removed" 0 docker rm -f one two
    exits "and their volumes at once" 0 docker volume rm one two
    ok "nothing is open" wait_for 30 eval '[ -z "$(volume_devices)" ]'
    is "no file lies beside a volume" "$(bare_files)" ""
    finish
}
"$@"
