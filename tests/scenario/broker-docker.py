#!/usr/bin/python3
"""The Docker volume plugin: what engines are answered, what they send that is wrong, and for whom a volume is mounted.
TAP on stdout."""

import contextlib
import http.client
import os
import re
import socket
import sys
import time

from tap import contains, eventually, same, test
from world import ADMIN_GROUP, FOLDER, GIB, MIB, NOBODY, Call, as_user, connect_as, main, plugin, wire
from worker import Gate, die_after, fail

world = None  # what the test that runs now uses

ALICE, BOB = 4001, 4002
IDS = "/run/quarry/mount-ids"
ID, OTHER = "a" * 64, "b" * 64
EMPTY = "the request is empty: so Docker repeats one that quarryd had when it ended; try: the same command again"
PODMAN = "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2"


class Socket:
    """A socket of systemd's, and who hands it over."""

    def __init__(self, tenant="default", name="quarry.sock"):
        self.path, self.tenant = f"{FOLDER}/{name}", tenant
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self.socket.listen(4096)
        self.connection = None
        world.sockets = [*getattr(world, "sockets", []), self]  # systemd keeps them

    def hand_over(self):
        """As quarry driver does; quarryd serves it until the connection is closed."""
        self.connection = wire.connect(world.socket)
        self.connection.send({"method": "io.quarry.Driver.Listen", "more": True,
                              "parameters": {"tenant": self.tenant, "socketFileDescriptors": [0]}}, (self.socket.fileno(),))
        reply = self.connection.receive()
        same((reply.get("parameters"), reply.get("continues")), ({}, True), str(reply))
        return self


def begin(pools=True):
    if pools:
        world.worker.add_pool()
    world.start()
    return Socket().hand_over()


def ask(name, body=None, path=None, **options):
    return plugin.call(path or f"{FOLDER}/quarry.sock", name, body, **options)


def done(name, body=None, **options):
    """Answered with success; the answer."""
    status, answer = ask(name, body, **options)
    same(status, 200, str(answer))
    return answer


def refused(status, name, body=None, **options):
    """The text of the refusal."""
    have, answer = ask(name, body, **options)
    same(have, status, str(answer))
    same(list(answer), ["Err"])
    return answer["Err"]


def hung_up(name, body=None):
    try:
        have = ask(name, body)
    except http.client.RemoteDisconnected:
        return
    raise AssertionError(f"{name} was answered: {have}")


def create(name, **options):
    return done("VolumeDriver.Create", {"Name": name, "Opts": {k.replace("_", "-"): v for k, v in options.items()}})


def mount(name, mount_id=ID):
    return done("VolumeDriver.Mount", {"Name": name, "ID": mount_id})["Mountpoint"]


def unmount(name, mount_id=ID):
    same(done("VolumeDriver.Unmount", {"Name": name, "ID": mount_id}), {})


def get(name):
    return done("VolumeDriver.Get", {"Name": name})["Volume"]


def ids(name):
    try:
        return sorted(os.listdir(f"{IDS}/{world.inspect(name)['uuid']}"))
    except FileNotFoundError:  # it goes with the last of them
        return []


# --- endpoints

@test
def every_endpoint_answers():
    begin()
    same(done("Plugin.Activate"), {"Implements": ["VolumeDriver"]})
    same(done("Plugin.Activate", {}), {"Implements": ["VolumeDriver"]})
    same(done("VolumeDriver.Capabilities", {}), {"Capabilities": {"Scope": "local"}})
    same(done("VolumeDriver.Capabilities"), {"Capabilities": {"Scope": "local"}})
    same(done("VolumeDriver.List"), {"Volumes": []})
    same(create("db", size="2G", encrypt="true", fs="xfs", uid="999", gid="998", mode="0700", **{"label.app": "x"}), {})
    made = world.inspect("db")
    same([made[k] for k in ("sizeBytes", "filesystem", "uid", "gid", "mode", "labels")],
         [2 * GIB, "xfs", 999, 998, 0o700, {"app": "x"}])
    same(made["encryption"]["keySource"], "host")
    volume = get("db")
    same((volume["Name"], volume["Mountpoint"], volume["CreatedAt"]), ("db", "", made["createdAt"]))
    contains(re.sub(r"\d", "0", volume["CreatedAt"]), "0000-00-00T00:00:00Z")
    status = volume["Status"]
    same([status[k] for k in ("sizeBytes", "filesystem", "snapshots", "pool", "tenant", "state", "kind")],
         [2 * GIB, "xfs", 0, "default", "default", "ready", "block"])
    same(status["encryption"]["keySource"], "host")
    same(done("VolumeDriver.List", {}), {"Volumes": [{k: volume[k] for k in ("Name", "Mountpoint", "CreatedAt")}]})
    same(done("VolumeDriver.Path", {"Name": "db"}), {"Mountpoint": ""})
    same(mount("db"), "/run/quarry/mnt/default/db")
    same(get("db")["Mountpoint"], "/run/quarry/mnt/default/db")
    same(done("VolumeDriver.Path", {"Name": "db"}), {"Mountpoint": "/run/quarry/mnt/default/db"})
    unmount("db")
    same(get("db")["Mountpoint"], "")
    same(done("VolumeDriver.Remove", {"Name": "db"}), {})
    contains(refused(404, "VolumeDriver.Get", {"Name": "db"}), "there is no volume default/db")
    same(done("VolumeDriver.Remove", {"Name": "db"}), {}, "again")
    for name in ("VolumeDriver.Path", "VolumeDriver.Mount", "VolumeDriver.Unmount"):
        contains(refused(404, name, {"Name": "db", "ID": ID}), "there is no volume")
    same(refused(404, "VolumeDriver.Frobnicate", {}), "there is no such call")
    same(refused(404, "", {}), "there is no such call")
    world.check_consistent()


@test
def a_connection_is_kept_alive():
    begin()
    client = plugin.Client(f"{FOLDER}/quarry.sock")
    for _ in range(5):
        same(client.call("Plugin.Activate")[0], 200)
        same(client.call("VolumeDriver.Create", {"Name": "db", "Opts": None})[0], 200)
        same(client.call("VolumeDriver.Get", {"Name": "nope"})[0], 404)
    client.send_call("VolumeDriver.List", method="GET")
    same(client.receive()[0], 405)
    client.close()
    same(world.inspect("db")["sizeBytes"], 10 * GIB, "what nobody said")


@test
def a_request_without_a_body_has_no_effect():
    begin()
    create("db")
    mount("db")
    before = world.worker.verbs("db")
    for name in ("Create", "Get", "Path", "Mount", "Unmount", "Remove"):
        if name == "Get":  # which Docker would take for that there is no such volume
            hung_up("VolumeDriver.Get")
        else:
            same(refused(400, f"VolumeDriver.{name}"), EMPTY)
        same(refused(400, f"VolumeDriver.{name}", b" \n"), EMPTY)
        contains(refused(400, f"VolumeDriver.{name}", {}), "names no volume")
    same((world.names(), ids("db"), world.worker.verbs("db")), (["db"], [".mounted", ID], before))


@test
def what_is_malformed_is_refused():
    begin()
    for body in (b"{", b"[]", b"\"x\"", b"null", b"{\"Name\":\"a\0\"}", b"\xff\xfe", b"{\"Name\":5}", b"{\"Name\":null}",
                 b"{\"Name\":\"x\",\"Opts\":[]}", b"{\"Name\":\"x\",\"Opts\":\"y\"}", b"{\"Name\":\"x\",\"Opts\":{\"a\":1}}",
                 b"{\"Name\":\"x\",\"Opts\":{\"size\":null}}", b"[" * 30000, b"{\"a\":" * 8000):
        refused(400, "VolumeDriver.Create", body)
    contains(refused(400, "VolumeDriver.Create", b"{\"Name\":\"x\",\"Opts\":{\"size\":\"1G\",\"size\":\"2G\"}}"),
             "given twice, \"size\"")
    for name in ("", "../x", "a b", "x" * 129, "a/b", "default/a", "a:b", "a@b", "-a", ".", "..", "a\n", "ä", "%2e"):
        for call in ("Create", "Get", "Path", "Mount", "Unmount", "Remove"):
            text = refused(400, f"VolumeDriver.{call}", {"Name": name, "ID": ID, "Opts": {}})
            contains(text, "not valid")
    create("db")
    for mount_id in ("", ".", "..", "a/b", "../../x", ".mounted", "x" * 129, "a b", "\n", "ü"):
        for call in ("Mount", "Unmount"):
            contains(refused(400, f"VolumeDriver.{call}", {"Name": "db", "ID": mount_id}), "no ID of a mount")
    contains(refused(400, "VolumeDriver.Mount", {"Name": "db"}), "no ID")
    same(done("VolumeDriver.Create", {"Name": "x", "Opts": None, "New": {"member": 1}}), {})
    same((world.names(), world.worker.count("volume_mount")), (["db", "x"], 0))


@test
def a_huge_request_is_refused():
    begin()
    contains(refused(413, "VolumeDriver.Create", b"{\"Name\":\"" + b"x" * 100000 + b"\"}"), "more than 65536 bytes")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(f"{FOLDER}/quarry.sock")
    sock.settimeout(10)
    with contextlib.suppress(OSError):
        sock.sendall(b"POST /VolumeDriver.List HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            sock.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
    with contextlib.suppress(ConnectionResetError):
        same(sock.recv(100), b"", "of chunks without end")
    sock.close()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(f"{FOLDER}/quarry.sock")
    with contextlib.suppress(OSError):
        sock.sendall(b"POST /VolumeDriver.List HTTP/1.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n")
        sock.settimeout(10)
        contains(sock.recv(100).decode(), "HTTP/1.1 4")
    same(done("VolumeDriver.List"), {"Volumes": []})


@test
def a_slow_client_keeps_nobody():
    begin()
    slow = []
    for text in (b"", b"POST", b"POST /VolumeDriver.List HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"):
        for _ in range(50):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(f"{FOLDER}/quarry.sock")
            sock.sendall(text)
            slow.append(sock)
    began = time.monotonic()
    create("db")
    same(get("db")["Name"], "db")
    same(time.monotonic() - began < 5, True, "it was answered at once")
    before = world.descriptors()
    for sock in slow:
        sock.close()
    eventually(lambda: world.descriptors() <= before - 150, "their connections are closed")


# --- options

@test
def options_are_validated_by_name():
    begin()
    text = refused(400, "VolumeDriver.Create", {"Name": "x", "Opts": {"siez": "1G"}})
    contains(text, "there is no option \"siez\"", "size, fs, encrypt", "label.KEY")
    for options, words in (({"size": "many"}, "option size=many is not valid"), ({"size": "1"}, "too small"),
                           ({"fs": "btrfs"}, "ext4 or xfs"), ({"fs": "none"}, "ext4 or xfs"),
                           ({"encrypt": "perhaps"}, "true or false"), ({"key": "passphrase"}, "nobody to ask"),
                           ({"key": "hunter2"}, "host"), ({"encrypt": "false", "key": "host"}, "contradict"),
                           ({"uid": "www-data"}, "a number"), ({"uid": "4294967295"}, "a number"), ({"gid": "-1"}, "a number"),
                           ({"mode": "888"}, "octal"), ({"mkfs": "-d /etc"}, "mkfs option"), ({"mkfs": "x"}, "mkfs option"),
                           ({"pool": "No"}, "pool"), ({"kind": "nfs"}, "block, bind or tmpfs"), ({"kind": "tmpfs"}, "size"),
                           ({"kind": "bind"}, "source"), ({"source": "/srv"}, "source"), ({"inodes": "5"}, "tmpfs"),
                           ({"read-only": "true"}, "read-only"), ({"label.": "x"}, "label"), ({"label.a b": "x"}, "label"),
                           ({"label.a": "\n"}, "label"), ({"snapshot-schedule": "keep"}, "calendar"),
                           ({"from": "db"}, "NAME@SNAPSHOT"), ({"from": "a@b", "size": "1G"}, "option from"),
                           ({"o": "bind"}, "there is no option"), ({"": ""}, "there is no option")):
        contains(refused(400, "VolumeDriver.Create", {"Name": "x", "Opts": options}), words)
    contains(refused(404, "VolumeDriver.Create", {"Name": "x", "Opts": {"pool": "fast"}}), "no pool fast")
    contains(refused(404, "VolumeDriver.Create", {"Name": "x", "Opts": {"from": "no@snap"}}), "there is no snapshot")
    same(world.names(), [])
    create("x", encrypt="", size="1.5G", mkfs="-m 1 -I 512 -O ^has_journal", protect="yes")
    x = world.inspect("x")
    same((x["mkfsOptions"], x["protected"], x["encryption"]["keySource"]),
         (["-m 1", "-I 512", "-O ^has_journal"], True, "host"))
    create("t", kind="tmpfs", size="64M", noswap="", inodes="100")
    create("b", kind="bind", source="/srv/data", read_only="true")
    same([world.inspect(n)["kind"] for n in ("t", "b")], ["tmpfs", "bind"])
    with open(world.config, "a") as f:
        f.write("[Docker]\nDefaultSize=3G\n")
    world.restart()
    Socket().hand_over()
    create("y")
    same(world.inspect("y")["sizeBytes"], 3 * GIB)


@test
def a_schedule_and_a_clone():
    begin()
    create("db", snapshot_schedule="hourly keep 3")
    same(world.inspect("db")["snapshotSchedule"], "hourly keep 3")
    create("db", snapshot_schedule="hourly keep 3")
    contains(refused(409, "VolumeDriver.Create", {"Name": "db", "Opts": {"snapshot-schedule": "daily keep 1"}}),
             "different snapshot schedule: hourly keep 3, asked for daily keep 1")
    contains(refused(400, "VolumeDriver.Create", {"Name": "e", "Opts": {"snapshot-schedule": "sometimes keep 1"}}),
             "sometimes")
    world.call("Volume.Snapshot", volumes=["db@one"])
    create("copy", **{"from": "db@one", "label.a": "b"})
    same((world.inspect("copy")["labels"], world.worker.count("volume_clone", "copy")), ({"a": "b"}, 1))
    same(get("db")["Status"]["snapshots"], 1)
    contains(refused(409, "VolumeDriver.Remove", {"Name": "db"}), "has 1 snapshot", "; try: quarry")


@test
def a_create_that_repeats_is_fine_and_one_that_differs_says_in_what():
    begin()
    create("db", size="1G")
    create("db", size="1G")
    same(world.worker.count("volume_create", "db"), 1)
    for options, words in (({"size": "2G"}, "different size: 1G, asked for 2G"),
                           ({"size": "1G", "fs": "xfs"}, "different filesystem"),
                           ({"size": "1G", "uid": "5"}, "different uid"),
                           ({"size": "1G", "encrypt": "true"}, "different key source"),
                           ({"size": "1G", "label.a": "b"}, "different labels")):
        contains(refused(409, "VolumeDriver.Create", {"Name": "db", "Opts": options}), words)


@test
def a_create_that_takes_long_is_joined_also_by_who_hung_up():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    first = plugin.Client(f"{FOLDER}/quarry.sock")
    first.send_call("VolumeDriver.Create", {"Name": "db", "Opts": {"size": "1G"}})
    gate.wait()
    contains(refused(404, "VolumeDriver.Get", {"Name": "db"}), "no volume")
    same(done("VolumeDriver.List"), {"Volumes": []})
    first.close()
    second = plugin.Client(f"{FOLDER}/quarry.sock")
    second.send_call("VolumeDriver.Create", {"Name": "db", "Opts": {"size": "1G"}})
    contains(refused(409, "VolumeDriver.Create", {"Name": "db", "Opts": {"size": "2G"}}), "different size")
    gate.release()
    same(second.receive(), (200, {}))
    same((world.worker.count("volume_create", "db"), get("db")["Name"]), (1, "db"))


# --- for whom a volume is mounted

@test
def ids_are_a_set():
    begin()
    create("db")
    unmount("db", "never-mounted")
    for _ in range(3):
        mount("db")
    mount("db", OTHER)
    same(ids("db"), [".mounted", ID, OTHER])
    unmount("db")
    unmount("db")
    same((ids("db"), world.worker.count("volume_umount", "db")), ([".mounted", OTHER], 0))
    unmount("db", "c" * 64)
    same(ids("db"), [".mounted", OTHER])
    unmount("db", OTHER)
    same((ids("db"), world.worker.count("volume_umount", "db")), ([], 1))
    unmount("db", OTHER)
    same(world.worker.count("volume_umount", "db"), 1)
    same(done("VolumeDriver.Remove", {"Name": "db"}), {})


@test
def ids_outlive_quarryd():
    begin()
    create("db")
    mount("db")
    mount("db", OTHER)
    world.kill()
    world.start()
    Socket().hand_over()
    unmount("db", OTHER)
    same((ids("db"), world.worker.count("volume_umount", "db")), ([".mounted", ID], 0))
    unmount("db")
    same((ids("db"), world.worker.count("volume_umount", "db")), ([], 1))


@test
def a_mount_that_fails_leaves_no_id():
    begin()
    create("db")
    world.worker.rule("volume_mount", fail("NoSpace", "no room", hint="make some"))
    same(refused(507, "VolumeDriver.Mount", {"Name": "db", "ID": ID}), "no room; try: make some")
    same(ids("db"), [".mounted"])
    mount("db", OTHER)
    world.worker.rule("volume_mount", die_after)
    refused(500, "VolumeDriver.Mount", {"Name": "db", "ID": ID})
    same(ids("db"), [".mounted", OTHER])
    world.worker.rule("volume_mount", fail("Failed"))
    refused(500, "VolumeDriver.Mount", {"Name": "db", "ID": OTHER})
    same(ids("db"), [".mounted", OTHER], "one that it had before")


@test
def who_cannot_be_asked_for_a_passphrase_is_told_what_to_run():
    begin()
    world.create("safe", keySource="passphrase", keyFileDescriptor=0, fds=[wire.sealed(b"secret")])
    create("host", encrypt="true")
    for name, hint in (("safe", "quarry key unlock safe"), ("host", "look for it")):
        world.worker.rule("volume_mount", fail("KeyRequired", "no key", hint="look for it"))
        same(refused(403, "VolumeDriver.Mount", {"Name": name, "ID": ID}), f"no key; try: {hint}")


@test
def what_is_busy_is_unmounted_later():
    begin()
    create("db")
    mount("db")
    world.worker.rule("volume_umount", fail("VolumeBusy"))
    unmount("db")
    same(ids("db"), [".mounted"])
    eventually(lambda: ids("db") == [], "it is unmounted", 20)
    same(world.worker.count("volume_umount", "db"), 2)


@test
def what_an_engine_forgot_is_unmounted_when_nobody_uses_it():
    begin()
    for name, mount_id in (("forgotten", ID), ("renewed", ID), ("used", ID), ("of-podman", PODMAN)):
        create(name)
        mount(name, mount_id)
    world.worker.rule("volume_umount", fail("VolumeBusy", "by a container"), name="used", times=9)
    done("Plugin.Activate")
    mount("renewed")
    eventually(lambda: ids("forgotten") == [], "it is unmounted", 30)
    eventually(lambda: world.worker.count("volume_umount", "used") == 1, "it was looked at")
    same([ids(name) for name in ("renewed", "used", "of-podman")],
         [[".mounted", ID], [".mounted", ID], [".mounted", PODMAN]])
    same({(j["volume"]["name"], j["ifUnused"]) for v, j, _ in world.worker.jobs if v == "volume_umount"},
         {("forgotten", True), ("used", True)})
    contains(world.log_text(), "umount by quarryd done")


@test
def what_an_engine_has_while_it_waits_for_more_is_not_forgotten():
    begin()
    for name in ("forgotten", "first", "slow"):
        create(name)

    def mounted(name, seconds):
        """So long ago."""
        mount(name)
        then = time.clock_gettime(time.CLOCK_BOOTTIME) - seconds
        os.utime(f"{IDS}/{world.inspect(name)['uuid']}/{ID}", (then, then))
    mounted("forgotten", 60)
    done("Plugin.Activate")  # of another engine
    eventually(lambda: ids("forgotten") == [], "quarryd looks as it begins", 20)
    mounted("forgotten", 60)
    mounted("first", 15)
    done("Plugin.Activate")
    gate = Gate()
    world.worker.rule("volume_mount", gate, name="slow")
    client = plugin.Client(f"{FOLDER}/quarry.sock", timeout=60)
    client.send_call("VolumeDriver.Mount", {"Name": "slow", "ID": OTHER})
    gate.wait()
    eventually(lambda: ids("forgotten") == [], "it looks again", 40)
    gate.release()
    same(client.receive()[0], 200)
    mount("forgotten")  # behind whatever that look has begun
    same((ids("first"), world.worker.count("volume_umount", "first")), ([".mounted", ID], 0))


@test
def engines_that_begin_anew_all_the_time_put_no_look_off():
    begin()
    create("db")
    mount("db")
    world.worker.rule("volume_umount", fail("VolumeBusy"))
    unmount("db")
    same(ids("db"), [".mounted"])

    def is_unmounted():
        done("Plugin.Activate")
        return ids("db") == []
    eventually(is_unmounted, "it is unmounted", 20)


@test
def what_quarryd_was_at_when_it_ended_stays_mounted_for_nobody():
    begin()
    for name, mount_id in (("unheard", ID), ("used", ID), ("of-podman", PODMAN), ("of-another-clock", ID)):
        create(name)
        mount(name, mount_id)
    world.kill()
    world.worker.rule("volume_umount", fail("VolumeBusy", "by a container"), name="used", times=9)
    world.start()
    Socket().hand_over()
    later = time.time() + 3600  # as it was before somebody set it
    os.utime(f"{IDS}/{world.inspect('of-another-clock')['uuid']}/{ID}", (later, later))
    mount("unheard", OTHER)
    unmount("unheard", OTHER)
    eventually(lambda: ids("of-another-clock") == [], "it is unmounted", 20)
    eventually(lambda: ids("unheard") == [], "it is unmounted", 40)
    eventually(lambda: world.worker.count("volume_umount", "used") >= 1, "it was looked at")
    same([ids(name) for name in ("used", "of-podman")], [[".mounted", ID], [".mounted", PODMAN]])
    same({j["ifUnused"] for v, j, _ in world.worker.jobs if v == "volume_umount"}, {True})


@test
def a_mount_that_nobody_waited_for_is_taken_back():
    begin()
    for name in ("given-up", "asked-again"):
        create(name)
        gate = Gate()
        world.worker.rule("volume_mount", gate)
        client = plugin.Client(f"{FOLDER}/quarry.sock")
        client.send_call("VolumeDriver.Mount", {"Name": name, "ID": ID})
        gate.wait()
        client.close()
        gate.release()
        eventually(lambda n=name: ids(n) == [".mounted"], "nobody has it")
    mount("asked-again")
    eventually(lambda: ids("given-up") == [], "it is unmounted", 20)
    same((ids("asked-again"), world.worker.count("volume_umount")), ([".mounted", ID], 1))


@test
def one_with_a_new_name_is_unmounted_by_the_old_one():
    begin()
    for name in ("db", "other"):
        create(name)
        mount(name, PODMAN if name == "other" else ID)
        world.call("Volume.Rename", volume=name, name=f"new-{name}")
    create("db")
    mount("db", OTHER)
    contains(refused(404, "VolumeDriver.Unmount", {"Name": "other", "ID": PODMAN}), "no volume")
    unmount("db")  # there is another one of that name
    same((ids("new-db"), ids("db")), ([".mounted", ID], [".mounted", OTHER]))
    unmount("db", OTHER)
    done("VolumeDriver.Remove", {"Name": "db"})
    unmount("db")
    same((ids("new-db"), ids("new-other")), ([], [".mounted", PODMAN]))


@test
def a_member_mounts_for_no_more_than_so_many():
    begin()
    world.call("Tenant.Create", name="acme", users=[ALICE])
    path = Socket("acme", "quarry-acme.sock").hand_over().path
    same(ask("VolumeDriver.Create", {"Name": "db", "Opts": {"size": "1G"}}, path=path), (200, {}))

    def mounts():
        client = plugin.Client(path)
        return [client.call("VolumeDriver.Mount", {"Name": "db", "ID": f"c{i}"})[0] for i in (*range(130), 5)]
    same(as_user(ALICE, ALICE, [], mounts), str([200] * 128 + [503] * 2 + [200]))
    same(len(ids("acme/db")), 129)
    same(ask("VolumeDriver.Mount", {"Name": "db", "ID": ID}, path=path)[0], 200, "an administrator")


@test
def what_an_administrator_mounted_stays():
    begin()
    create("db")
    mount("db")
    world.call("Volume.Mount", volume="db")
    unmount("db")
    same((ids("db"), world.worker.count("volume_umount")), ([], 0))
    mount("db")
    world.worker.rule("volume_umount", fail("VolumeBusy", "volume db is in use: by a container"))
    contains(world.refused("VolumeBusy", "Volume.Unmount", volume="db").message, "by a container")
    same((ids("db"), [j["ifUnused"] for v, j, _ in world.worker.jobs if v == "volume_umount"]), ([".mounted", ID], [True]))
    world.call("Volume.Unmount", volume="db", lazy=True)
    same((ids("db"), [j["ifUnused"] for v, j, _ in world.worker.jobs if v == "volume_umount"]), ([], [True, False]))


@test
def remove_takes_what_only_a_forgotten_id_holds():
    begin()
    create("db")
    mount("db")
    world.worker.rule("volume_umount", fail("VolumeBusy", "volume db is in use: by a container"))
    contains(refused(409, "VolumeDriver.Remove", {"Name": "db"}), "by a container")
    same(ids("db"), [".mounted", ID])
    same(done("VolumeDriver.Remove", {"Name": "db"}), {})
    same((world.names(), os.listdir(IDS)), ([], []))


@test
def one_that_is_removed_under_its_users_is_mounted_for_nobody():
    begin()
    create("db")
    mount("db")
    world.worker.users[world.inspect("db")["uuid"]] = "used by sleep (pid 7)"
    world.call("Volume.Remove", volume="db", lazy=True)
    same(os.listdir(IDS), [])
    unmount("db")
    world.worker.users.clear()
    eventually(lambda: world.names() == [], "it goes", 30)


@test
def a_raw_volume_is_no_directory():
    begin()
    world.create("raw", filesystem="none")
    contains(refused(501, "VolumeDriver.Mount", {"Name": "raw", "ID": ID}), "no filesystem")
    same(get("raw")["Status"]["filesystem"], "none")


# --- pools that are not there

@test
def who_asks_too_early_waits():
    gate = Gate()
    world.worker.add_pool()
    world.start()
    Socket().hand_over()
    create("db")
    world.kill()
    world.worker.rule("pool_scan", gate)
    world.start()
    Socket().hand_over()
    same(done("Plugin.Activate"), {"Implements": ["VolumeDriver"]}, "which needs no pool")
    clients = []
    for name, body in (("Get", {"Name": "db"}), ("List", None), ("Mount", {"Name": "db", "ID": ID})):
        clients.append(plugin.Client(f"{FOLDER}/quarry.sock"))
        clients[-1].send_call(f"VolumeDriver.{name}", body)
    gone = plugin.Client(f"{FOLDER}/quarry.sock")
    gone.send_call("VolumeDriver.Get", {"Name": "db"})
    gone.close()
    gate.wait()
    time.sleep(0.2)
    gate.release()
    answers = [client.receive() for client in clients]
    same([status for status, _ in answers], [200, 200, 200])
    same(answers[0][1]["Volume"]["Name"], "db")
    same([v["Name"] for v in answers[1][1]["Volumes"]], ["db"])


@test
def nobody_hears_that_a_volume_is_gone_while_a_pool_is_missing():
    world.worker.add_pool()
    lost = world.worker.add_pool("second")
    world.start()
    Socket().hand_over()
    create("here")
    create("there", pool="second")
    world.kill()
    world.worker.unopened[lost] = "its disk is missing"
    world.start()
    Socket().hand_over()
    same(get("here")["Name"], "here")
    same([v["Name"] for v in done("VolumeDriver.List")["Volumes"]], ["here"])
    began = time.monotonic()
    client = plugin.Client(f"{FOLDER}/quarry.sock", timeout=60)
    client.send_call("VolumeDriver.Get", {"Name": "there"})
    try:
        answer = client.receive()
        raise AssertionError(f"answered {answer}")
    except (ConnectionError, plugin.http.client.HTTPException):
        same(29 < time.monotonic() - began < 40, True, "it was held as long as Docker would ask again")
    refused(503, "VolumeDriver.Mount", {"Name": "there", "ID": ID})
    hung_up("VolumeDriver.Get")
    time.sleep(max(0, began + 41 - time.monotonic()))  # nobody asks again any more what quarryd was asked before it ended
    same(refused(400, "VolumeDriver.Get"), EMPTY)


# --- who may

@test
def a_tenant_has_a_driver_of_its_own():
    begin()
    world.call("Tenant.Create", name="acme", users=[ALICE], groups=[77])
    path = Socket("acme", "quarry-acme.sock").hand_over().path
    create("db")
    same(ask("VolumeDriver.Create", {"Name": "db", "Opts": {"size": "1G"}}, path=path), (200, {}))
    same(world.inspect("acme/db")["uid"], 0)
    same([v["Name"] for v in done("VolumeDriver.List", path=path)["Volumes"]], ["db"])
    same(get("db")["Status"]["tenant"], "default")
    same(done("VolumeDriver.Get", {"Name": "db"}, path=path)["Volume"]["Status"]["tenant"], "acme")
    same(done("VolumeDriver.Mount", {"Name": "db", "ID": ID}, path=path)["Mountpoint"], "/run/quarry/mnt/acme/db")

    def as_who(uid, groups, name, body=None, where=path):
        return as_user(uid, uid, groups, lambda: plugin.call(where, name, body))
    contains(as_who(ALICE, [], "VolumeDriver.Create", {"Name": "hers", "Opts": {"size": "1G"}}), "(200, {})")
    same([world.inspect("acme/hers")[k] for k in ("uid", "gid", "mode")], [ALICE, ALICE, 0o700])
    contains(as_who(BOB, [77], "VolumeDriver.Get", {"Name": "hers"}), "(200, ", "'Name': 'hers'")
    same(world.worker.namespaces, [], "root's ids are the host's")
    contains(as_who(ALICE, [], "VolumeDriver.Mount", {"Name": "hers", "ID": ID}), "(200, ")
    contains(" ".join(world.worker.namespaces), "pidfd")  # whose containers have ids of their own
    contains(as_who(NOBODY, [ADMIN_GROUP], "VolumeDriver.List"), "(200, ")
    for name, body in (("Plugin.Activate", None), ("VolumeDriver.List", None), ("VolumeDriver.Capabilities", None),
                       ("VolumeDriver.Get", {"Name": "db"}), ("VolumeDriver.Remove", {"Name": "db"}),
                       ("VolumeDriver.Create", {"Name": "x"}), ("VolumeDriver.Mount", {"Name": "db", "ID": ID})):
        contains(as_who(BOB, [], name, body), "(403, {'Err': 'user 4002 is no member of tenant acme'})")
        contains(as_who(ALICE, [], name, body, f"{FOLDER}/quarry.sock"), "(403, ")
    same(sorted(v["name"] for v in world.volumes(tenant="acme")), ["db", "hers"])
    log = world.log_text()
    contains(log, "create for uid 4001 done", "refused: user 4002 is no member of tenant acme")


@test
def one_user_cannot_take_all_connections():
    begin()
    world.call("Tenant.Create", name="acme", users=[ALICE])
    path = Socket("acme", "quarry-acme.sock").hand_over().path

    def many():
        kept = [plugin.Client(path) for _ in range(60)]
        answered = 0
        for client in kept:
            with contextlib.suppress(OSError, plugin.http.client.HTTPException):
                answered += client.call("Plugin.Activate")[0] == 200
        return answered
    same(as_user(ALICE, ALICE, [], many), "32")
    same(done("Plugin.Activate", path=path), {"Implements": ["VolumeDriver"]})


@test
def who_is_no_member_takes_no_place_of_members_with_however_many_ids():
    begin()
    world.call("Tenant.Create", name="acme", users=[ALICE])
    path = Socket("acme", "quarry-acme.sock").hand_over().path
    kept = [connect_as(path, 60100 + n // 32, []) for n in range(513)]  # more than all who are no administrators have
    contains(as_user(ALICE, ALICE, [], lambda: plugin.call(path, "Plugin.Activate")), "(200, ")
    for connection in kept:
        connection.close()


@test
def one_user_cannot_ask_for_all_the_time():
    begin()
    world.call("Tenant.Create", name="acme", users=[ALICE])
    path = Socket("acme", "quarry-acme.sock").hand_over().path

    def hammer():
        client, end, n = plugin.Client(path), time.monotonic() + 4, 0
        while time.monotonic() < end:
            n += client.call("VolumeDriver.List")[0] == 200
        return n
    n = int(as_user(ALICE, ALICE, [], hammer))
    same(250 <= n <= 500, True, f"{n} in 4 s: 250 at once, and 50 in a second")
    client = plugin.Client(path)
    same([client.call("VolumeDriver.List")[0] for _ in range(1000)], [200] * 1000, "of an administrator")


@test
def a_socket_is_served_as_long_as_who_handed_it_over_stays():
    first = begin()
    client = plugin.Client(first.path)
    same(client.call("Plugin.Activate")[0], 200)
    gate = Gate()
    world.worker.rule("volume_create", gate)
    waiting = plugin.Client(first.path)
    waiting.send_call("VolumeDriver.Create", {"Name": "db"})
    gate.wait()
    before = world.descriptors()
    first.connection.close()
    eventually(lambda: world.descriptors() < before - 2, "it is closed")
    for other in (client, waiting):
        try:
            other.call("Plugin.Activate") if other is client else other.receive()
            raise AssertionError("the connection is still there")
        except (OSError, plugin.http.client.HTTPException):
            pass
    gate.release()
    eventually(lambda: world.names() == ["db"], "it was made all the same")
    queued = plugin.Client(first.path)
    queued.send_call("VolumeDriver.Get", {"Name": "db"})  # nobody accepts: it waits
    first.hand_over()
    same(queued.receive()[1]["Volume"]["Name"], "db")


@test
def handing_over_is_for_administrators():
    world.worker.add_pool()
    world.start()
    listening = Socket()
    reader, writer = os.pipe()
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def hand(fds, **parameters):
        return Call(world.socket, "io.quarry.Driver.Listen", parameters, more=True, fds=fds)
    for fd in (reader, plain.fileno(), datagram.fileno()):
        failure = hand((fd,), tenant="default", socketFileDescriptors=[0]).failure()
        same((failure.kind, failure.parameters["field"]), ("BadRequest", "socketFileDescriptors"))
    same(hand((), tenant="default", socketFileDescriptors=[0]).failure().kind, "BadRequest")
    fd = listening.socket.fileno()
    same(hand((fd,), tenant="../x", socketFileDescriptors=[0]).failure().parameters["field"], "tenant")
    for bad in ({}, {"tenant": "default"}, *({"tenant": "default", "socketFileDescriptors": n} for n in ([], [0] * 9, 0, [-1]))):
        same(hand((fd,), **bad).failure().name, "org.varlink.service.InvalidParameter", str(bad))
    world.call("Tenant.Create", name="acme", users=[ALICE])
    for tenant in ("default", "acme"):
        same(as_user(ALICE, ALICE, [], lambda t=tenant: hand((fd,), tenant=t, socketFileDescriptors=[0]).failure().kind),
             "PermissionDenied")

    def as_admin():
        return hand((fd,), tenant="acme", socketFileDescriptors=[0]).connection.receive().get("continues")
    same(as_user(NOBODY, NOBODY, [ADMIN_GROUP], as_admin), "True")
    os.close(reader)
    os.close(writer)


@test
def thousands_ask_at_once():
    begin()
    for i in range(20):
        create(f"v{i}")
    clients = [plugin.Client(f"{FOLDER}/quarry.sock", timeout=60) for _ in range(1500)]
    for i, client in enumerate(clients):
        client.send_call("VolumeDriver.Get", {"Name": f"v{i % 20}"})
    same({client.receive()[0] for client in clients}, {200})
    for client in clients:
        client.close()
    same(len(done("VolumeDriver.List")["Volumes"]), 20)


if __name__ == "__main__":
    sys.exit(main())
