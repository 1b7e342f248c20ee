#!/usr/bin/python3
"""What driver quarry costs docker beside its own driver local, and with 2,000 volumes. It holds only what is far from
where a busy machine gets by itself; the figures are told."""
# machine: --disk 4G --timeout 420

import contextlib
import http.client
import json
import os
import random
import socket
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("../bench", "../scenario"):
    sys.path.insert(0, os.path.join(HERE, folder))

import measure  # noqa: E402
import ours  # noqa: E402
import tap  # noqa: E402

MANY, ROUNDS, GETS = 2000, 9, 2000
SOCKET = "/run/docker/plugins/quarry.sock"


class Plugin(http.client.HTTPConnection):
    """One connection that is kept, as dockerd's."""

    def __init__(self):
        super().__init__("plugin.moby.localhost", timeout=60)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)

    def post(self, path, **parameters):
        self.request("POST", path, json.dumps(parameters), {"Accept": "application/vnd.docker.plugins.v1.2+json"})
        answer = self.getresponse()
        body = json.loads(answer.read())
        tap.same(answer.status, 200, f"{path} {parameters}: {body}")
        return body


def tell(text):
    print(f"#   {text}", flush=True)


def docker_run(driver, i):
    name = f"{driver}{i}"
    measure.run("docker", "run", "--rm", "--network", "none", "--volume-driver", driver, "-v", f"{name}:/data", "busybox", "true")


def docker_ls(_):
    measure.run("docker", "volume", "ls", "-q")


def plugin_list(_):
    Plugin().post("/VolumeDriver.List")


@tap.test
def a_container_with_a_new_volume_starts_about_as_fast_as_with_drivers_local():
    rows = measure.in_turn(
        ROUNDS + 2,
        *((lambda i, driver=driver: docker_run(driver, i),
           lambda i, driver=driver: measure.run("docker", "volume", "rm", f"{driver}{i}")) for driver in ("quarry", "local")))
    mine, local = (row[2:] for row in rows)  # the first make the template
    extra = statistics.median(a - b for a, b in zip(mine, local))
    tell(f"docker run --rm -v NEW:/data busybox true: quarry {measure.spread(mine)}, local {measure.spread(local)}, "
         f"{extra:+.0f} ms by pairs, {ROUNDS} pairs")
    assert statistics.median(mine) < 3 * statistics.median(local)


@tap.test
def with_2000_volumes_docker_volume_ls_is_quick():
    one = measure.in_turn(ROUNDS, (docker_ls, None))[0]
    tell(f"{MANY} volumes after {measure.timed(lambda: fill(MANY)) / 1000:.0f} s")
    rows = measure.in_turn(ROUNDS, (docker_ls, None), (plugin_list, None))
    tell(f"docker volume ls: {MANY} volumes {measure.spread(rows[0])}, none {measure.spread(one)}; List alone {measure.spread(rows[1])}")
    listed = measure.output("docker", "volume", "ls", "-q").split()
    tap.same(sum(name.startswith("many") for name in listed), MANY)
    assert statistics.median(rows[0]) < 10000


@tap.test
def with_2000_volumes_get_is_answered_in_milliseconds():
    plugin, took = Plugin(), []
    random.seed(1)
    for _ in range(GETS):
        name = f"many{random.randrange(MANY)}"
        took.append(measure.timed(lambda name=name: tap.same(plugin.post("/VolumeDriver.Get", Name=name)["Volume"]["Name"], name)))
    took.sort()
    p50, p99 = took[GETS // 2], took[GETS * 99 // 100]
    tell(f"Get with {MANY} volumes, {GETS} times over one connection: p50 {p50:.2f} ms, p99 {p99:.2f} ms, most {took[-1]:.2f} ms")
    assert p99 < 100


@tap.test
def with_2000_volumes_dockerd_starts_about_as_fast_as_without():
    took = measure.timed(lambda: (measure.run("systemctl", "restart", "docker"), measure.run("docker", "version")))
    tell(f"dockerd starts with {MANY} volumes of the driver in {took / 1000:.1f} s")
    assert took < 60000


def fill(n):
    """In memory, since only their rows are asked for."""
    ours.by_many(lambda client, i: client.call("Create", volume=f"many{i}", kind="tmpfs", sizeBytes=1 << 20), range(n))


def main():
    del sys.argv[1:]  # the number of the boot
    ours.set_up()
    measure.run("bash", "-c", f". {HERE}/common && docker_begin")
    return tap.run(lambda title: contextlib.nullcontext())


sys.exit(main())
