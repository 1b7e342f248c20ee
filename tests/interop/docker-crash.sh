#!/bin/bash
# dockerd and quarryd die, hang and are replaced while containers write: nobody loses a volume, nothing stays behind.
# machine: --disk 3G --timeout 900
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

try quarry pool create default /dev/vda
docker_begin
try docker volume create -d quarry -o size=64M --label keep=me one
try docker volume create -d quarry -o size=64M -o encrypt=true two
volumes=(one two)

live_restore() { # true|false
    jq ". + {\"live-restore\": $1}" /etc/docker/daemon.json >/tmp/daemon.json
    cat /tmp/daemon.json >/etc/docker/daemon.json
    try systemctl restart docker
}
containers_begin() {
    local name
    for name in "${volumes[@]}"; do try drun -d --restart always --name "$name" -v "$name:/data" busybox sh -c "$writer"; done
    for name in "${volumes[@]}"; do ok "$name writes" grows "$root/$name/log"; done
}
all_run() { container_runs one && container_runs two; }
# Of a dockerd that was killed systemd starts another 2 s later.
docker_kill() { kill -9 "$(docker_pid)"; }
quarryd_kill() { systemctl kill -s KILL --kill-whom=main quarryd; }
docker_is_back() { ok "after $1 docker is back" wait_for 90 docker_answers; }

undisturbed() { # WHAT HAPPENED, and to whom nothing must have: the containers' processes in $pids
    local name
    ok "after $1 both containers run" wait_for 60 all_run
    for name in "${volumes[@]}"; do
        ok "after $1 $name has its volume" on_quarry "$(container_pid "$name")" /data
        ok "after $1 $name writes into it" grows "$root/$name/log"
        ok "after $1 no line of $name is missing" log_is_whole "$root/$name/log"
    done
}
processes() { container_pid one; container_pid two; }

gone() { # WHAT HAPPENED: the containers are removed, and nothing of all the mounts is left
    local name
    exits "after $1 both containers are removed" 0 docker rm -f "${volumes[@]}"
    for name in "${volumes[@]}"; do
        ok "after $1 $name is not mounted for ever" wait_for 30 eval "! mountpoint -q $root/$name"
    done
    ok "after $1 nothing is open" wait_for 30 eval '[ -z "$(volume_devices)" ]'
    is "after $1 no file lies beside a volume" "$(bare_files)" ""
}

for live in false true; do
    live_restore $live
    what="(live-restore $live)"
    containers_begin
    before=$(processes)
    docker_kill
    docker_is_back "kill -9 of dockerd $what"
    undisturbed "kill -9 of dockerd $what"
    quarryd_kill
    undisturbed "kill -9 of quarryd $what"
    quarryd_kill
    docker_kill
    docker_is_back "kill -9 of both $what"
    undisturbed "kill -9 of both $what"
    pkill -9 -x quarry-worker
    systemctl restart docker
    docker_is_back "a restart of dockerd without workers $what"
    undisturbed "a restart of dockerd without workers $what"
    [ $live = false ] || is "they are the same processes all the time $what" "$(processes)" "$before"
    is "labels are kept $what" "$(docker volume inspect --format '{{.Labels.keep}}' one)" me
    gone "all of that $what"
done

# --- the container goes while somebody is not there ---
containers_begin
mapfile -t before < <(processes)
systemctl stop docker.socket docker.service
ok "with live-restore they go on without dockerd" grows $root/one/log
kill -9 "${before[@]}"
quarryd_kill
try systemctl start docker
docker_is_back "the containers' end"
ok "they are started again" wait_for 60 all_run
undisturbed "the containers' end"
quarryd_kill & docker rm -f one two >/dev/null 2>&1
wait
gone "a removal while quarryd was killed"

# What was asked of a quarryd that died is asked again, without what it was.
docker volume inspect one >/dev/null
kill -STOP "$(systemctl show --property=MainPID --value quarryd)"
docker volume inspect one >/tmp/inspected 2>&1 &
asked=$!
sleep 3
quarryd_kill
wait $asked
is "a request that was lost loses nothing else" "$(docker volume inspect --format '{{.Driver}} {{.Labels.keep}}' one)" "quarry me"

# --- dockerd starts while quarryd is not what it should be ---
started_in() { # SECONDS WHAT
    local began=$SECONDS
    try systemctl restart docker
    ok "dockerd starts $2" wait_for 90 docker_answers
    ok "soon $2" test $((SECONDS - began)) -le "$1"
}
kept() { # WHAT
    is "$1 both volumes are there" "$(docker volume ls -q --filter driver=quarry | sort | xargs)" "one two"
    is "$1 with their labels" "$(docker volume inspect --format '{{.Labels.keep}}' one)" me
    exits "$1 a container uses them" 0 drun --rm -v one:/data -v two:/other busybox test -s /data/log
}
systemctl stop quarryd.service 2>/dev/null # which says that its socket is still there
started_in 60 "with quarryd stopped"
kept "with quarryd started by its socket"

sockets=(quarry-docker.socket quarryd.socket)
systemctl stop quarryd.service "${sockets[@]}"
started_in 60 "without quarry"
systemctl start "${sockets[@]}" quarryd.service
kept "when quarry comes later"

# As long as systemd lets it hang; WatchdogSec= of the unit is a minute.
mkdir -p /run/systemd/system/quarryd.service.d
printf '[Service]\nWatchdogSec=20\n' >/run/systemd/system/quarryd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart quarryd
kill -STOP "$(systemctl show --property=MainPID --value quarryd)"
started_in 75 "while quarryd hangs"
kept "after quarryd hung"
systemctl restart quarryd &
started_in 60 "while quarryd is upgraded"
wait
kept "after the upgrade"

try docker volume rm one two
is "nothing is left" "$(quarry ls --no-legend; bare_files)" ""
finish
