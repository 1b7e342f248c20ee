#!/usr/bin/python3
"""The life of volumes and pools through quarryd's public socket. TAP on stdout."""

import errno
import os
import subprocess
import sys
import threading
import time

from tap import contains, eventually, same, test
from world import ADMIN_GROUP, GIB, MIB, NOBODY, Call, Failure, as_user, main, sealed
from worker import CATALOGS, Gate, fail, last

world = None  # what the test that runs now uses


# --- volumes

@test
def a_volume_is_made_shown_mounted_and_removed():
    world.worker.add_pool()
    world.start()
    made = world.create("db", 10 * GIB, labels=["app=db"], uid=5, mode=0o750)
    same((made["name"], made["tenant"], made["pool"], made["state"]), ("db", "default", "default", "ready"))
    same((made["sizeBytes"], made["labels"], made["uid"], made["mode"]), (10 * GIB, {"app": "db"}, 5, 0o750))
    same(world.names(), ["db"])
    same(world.inspect("db")["uuid"], made["uuid"])
    same(world.inspect(made["uuid"])["name"], "db")
    same(world.call("Volume.Mount", volume="db"), {"path": "/run/quarry/mnt/default/db"})
    same(world.inspect("db")["open"], True)
    same(world.inspect("db")["usedBytes"], 3 * MIB)
    world.call("Volume.Unmount", volume="db")
    same(world.inspect("db")["open"], False)
    same(world.call("Volume.Remove", volume="db"), {})
    same(world.names(), [])
    same(world.worker.left(), {})
    world.refused("NoSuchVolume", "Volume.Inspect", volume="db")


@test
def everything_about_a_volume_survives_a_restart():
    world.worker.add_pool()
    world.start()
    world.create("plain", 20 * MIB + 1)
    world.call("Tenant.Create", name="acme")
    world.create("acme/db", GIB, filesystem="xfs", keySource="host", labels=["b=2", "a=1=ü", "empty="], uid=1000,
                 gid=2000, mode=0o1770, mkfsOptions=["-m crc=1"])
    world.create("raw", GIB, filesystem="none")
    def lasting():
        return {v["name"]: {k: v[k] for k in v if k not in ("usedBytes", "exclusiveBytes", "exclusiveAgeSeconds")}
                for v in world.volumes()}
    before = lasting()
    same(before["plain"]["sizeBytes"], 21 * MIB)
    same(before["db"]["labels"], {"a": "1=ü", "b": "2", "empty": ""})
    world.restart()
    same(lasting(), before)
    world.create("another")  # the pool's size is known without a look at it
    world.kill()
    world.start()
    same(sorted(world.names()), ["another", "db", "plain", "raw"])
    world.check_consistent()


@test
def a_detached_mount_is_passed_as_descriptor():
    world.worker.add_pool()
    world.start()
    world.create("db")
    call = world.begin("Volume.Mount", volume="db", detached=True)
    same(call.result(), {"mountFileDescriptor": 0})
    same(os.readlink(f"/proc/self/fd/{call.fds[0]}"), "/")
    os.close(call.fds[0])
    world.create("raw", filesystem="none")
    world.refused("NotSupported", "Volume.Mount", volume="raw", detached=True)
    world.refused("NotSupported", "Volume.Mount", volume="raw", readOnly=True)
    world.refused("NotSupported", "Volume.Mount", volume="raw", options=["noexec"])
    world.refused("NotSupported", "Volume.Mount", volume="raw", context="a:b:c")
    same(world.call("Volume.Mount", volume="raw"), {"path": "/dev/quarry/default/raw"})


@test
def how_it_is_mounted_is_judged_and_passed_on():
    world.worker.add_pool()
    world.start()
    world.create("db")
    for parameters, kind in (({"options": ["fast"]}, "BadRequest"), ({"options": ["ro", "rw"]}, "BadRequest"),
                             ({"readOnly": True, "options": ["rw"]}, "BadRequest"),
                             ({"options": ["suid"]}, "NotSupported"), ({"options": ["dev"]}, "NotSupported"),
                             ({"context": "web"}, "BadRequest"), ({"context": "a:b:c:"}, "BadRequest"),
                             ({"idmap": [{"uid": 5, "gid": 5, "count": 1}]}, "NotSupported"),
                             ({"detached": True, "idmap": [{"uid": 0, "gid": 5, "count": 1}]}, "BadRequest"),
                             ({"detached": True, "idmap": [{"uid": 5, "gid": 5, "count": 1 << 32}]}, "BadRequest"),
                             ({"detached": True, "idmap": [{"uid": 5, "gid": 5, "count": 2},
                                                           {"uid": 6, "gid": 9, "count": 1}]}, "BadRequest"),
                             ({"detached": True, "idmap": [{"uid": 10 * i + 1, "gid": 10 * i + 1, "count": 1}
                                                           for i in range(17)]}, "BadRequest"),
                             ({"detached": True, "userNamespaceFileDescriptor": 0}, "BadRequest")):
        world.refused(kind, "Volume.Mount", volume="db", **parameters)
    world.call("Volume.Mount", volume="db", readOnly=True, options=["ro", "noexec", "noexec"], context="a:b:c:s0-s1:c1,c2")
    same(world.worker.jobs[-1][1]["mount"], {"options": ["ro", "noexec"], "context": "a:b:c:s0-s1:c1,c2"})
    world.call("Volume.Mount", volume="db", options=[], idmap=[], context=None, readOnly=False)
    same(world.worker.jobs[-1][1]["mount"], {"options": []})
    world.call("Volume.Mount", volume="db", detached=True, options=["suid", "nodev", "noatime"],
               idmap=[{"uid": 5, "gid": 6, "count": 1}, {"uid": 100, "gid": 100, "count": 50}])
    same(world.worker.jobs[-1][1]["mount"], {"options": ["noatime"], "idmap": [
        {"uid": 5, "gid": 6, "count": 1}, {"uid": 100, "gid": 100, "count": 50}]})


@test
def a_passphrase_reaches_the_worker_and_only_the_worker():
    world.worker.add_pool()
    world.start()
    memfd = sealed(b"open sesame")
    failure = world.refused("KeyRequired", "Volume.Create", volume="vault", sizeBytes=GIB, keySource="passphrase")
    contains(failure.parameters["hint"], "--key-file")
    world.create("vault", keySource="passphrase", keyFileDescriptor=0, fds=[memfd])
    same(world.call("Volume.Mount", volume="vault", keyFileDescriptor=1, fds=[0, memfd]),
         {"path": "/run/quarry/mnt/default/vault"})
    os.close(memfd)
    same([key for verb, _, key in world.worker.jobs if verb in ("volume_create", "volume_mount")], [b"open sesame"] * 2)
    same("sesame" in world.log_text(), False)
    failure = world.refused("BadRequest", "Volume.Create", volume="db", sizeBytes=GIB, keyFileDescriptor=0, fds=[0])
    same(failure.parameters["field"], "keyFileDescriptor")


@test
def a_create_repeated_says_what_is_different():
    world.worker.add_pool()
    world.start()
    made = world.create("db", GIB, labels=["a=1"])
    contains(world.refused("VolumeExists", "Volume.Create", volume="db", sizeBytes=GIB, labels=["a=1"])
             .parameters["hint"], "--if-absent")
    same(world.call("Volume.Create", volume="db", sizeBytes=GIB, labels=["a=1"], ifAbsent=True)["existed"], True)
    same(world.create("db", GIB, labels=["a=1"], ifAbsent=True)["uuid"], made["uuid"])
    for field, change in (("size: 1G, asked for 2G", {"sizeBytes": 2 * GIB}), ("xfs", {"filesystem": "xfs"}),
                          ("key source", {"keySource": "host"}), ("uid", {"uid": 7}), ("mode", {"mode": 0o700}),
                          ("mkfs options", {"mkfsOptions": ["-m 1"]}), ("labels", {"labels": []})):
        failure = world.refused("VolumeExists", "Volume.Create", **{
            "volume": "db", "sizeBytes": GIB, "labels": ["a=1"], "ifAbsent": True, **change})
        contains(failure.message, field)


@test
def members_that_may_be_null_may_be_null():
    world.worker.add_pool()
    world.start()
    null = dict.fromkeys(["filesystem", "keySource", "keyFileDescriptor", "labels", "uid", "gid", "mode",
                          "mkfsOptions", "ifAbsent"])
    made = world.create("db", **null)
    same((made["filesystem"], made["mode"], made["labels"], "encryption" in made), ("ext4", 0o755, {}, False))
    same(world.names(pool=None, tenant=None), ["db"])
    world.call("Volume.Mount", volume="db", readOnly=None, detached=None, keyFileDescriptor=None)
    world.worker.mounted.clear()
    null = dict.fromkeys(["devices", "volumeGroup", "file", "sizeBytes", "metadataSizeBytes", "chunkSizeBytes"])
    world.call("Pool.Create", **{**null, "name": "other", "devices": ["/dev/fake2"]})
    world.worker.add_pool("moved", where=world.worker.elsewhere)
    same([p["name"] for p in world.call("Pool.Import", devices=None)["pools"]], ["moved"])


@test
def more_than_the_pool_may_promise_is_refused():
    world.configure("[Pool]\nMaxOverprovision=2\n")
    world.worker.add_pool(size=10 * GIB)
    world.start()
    world.create("a", 15 * GIB)
    failure = world.refused("NoSpace", "Volume.Create", volume="b", sizeBytes=6 * GIB)
    contains(failure.message, "20G", "15G", "6G")
    world.create("b", 5 * GIB)
    same((world.pool()["provisionedBytes"], world.pool()["provisionedMaxBytes"]), (20 * GIB, 20 * GIB))
    world.call("Volume.Remove", volume="a")
    world.create("c", 15 * GIB)


@test
def a_long_list_comes_in_batches():
    world.worker.add_pool()
    world.start()
    for i in range(405):
        world.create(f"v{i}", 16 * MIB)
    same(world.names(), [f"v{i}" for i in range(405)])  # in the order that people expect
    call = world.begin("Volume.List", more=True)
    last = call.result()
    same([len(p["volumes"]) for p in [*call.progress, last]], [200, 200, 5])
    same([v["name"] for p in [*call.progress, last] for v in p["volumes"]], [f"v{i}" for i in range(405)])


@test
def a_list_tells_only_what_is_asked_for():
    world.worker.add_pool()
    world.start()
    whole = world.create("b")
    world.create("a", keySource="host")
    same(world.call("Volume.List", fields=["sizeBytes", "name"])["volumes"],
         [{"name": name, "sizeBytes": whole["sizeBytes"]} for name in "ab"])
    same([v.get("encryption", {}).get("keySource") for v in world.call("Volume.List", fields=["encryption"])["volumes"]],
         ["host", None])  # what a volume does not have is missing
    same([v["mode"] for v in world.call("Volume.List", fields=[])["volumes"]], [0o755] * 2)
    member, = [v for v in world.call("Volume.List")["volumes"] if v["name"] == "b"]
    each = {name: v for name in member for v in [world.call("Volume.List", fields=[name])["volumes"][1]]}
    same({name: list(v) for name, v in each.items()}, {name: [name] for name in member})
    failure = world.refused("BadRequest", "Volume.List", fields=["name", "colour"])
    same(failure.parameters["field"], "fields")
    contains(failure.message, '"colour"')
    jobs = len(world.worker.jobs)
    world.call("Volume.List", fields=["name"])
    same(len(world.worker.jobs), jobs)  # nobody is asked for what is known
    world.call("Volume.List", fields=["usedBytes"])
    same(len(world.worker.jobs) > jobs, True)


# --- pools

@test
def pools_come_and_go():
    world.start()
    same(world.call("Pool.List"), {"pools": []})
    contains(world.refused("NoPool", "Volume.Create", volume="db", sizeBytes=GIB).parameters["hint"], "pool create")
    world.refused("NoPool", "Pool.Inspect", name="default")
    made = world.call("Pool.Create", name="default", devices=["/dev/fake"])["pool"]
    same((made["name"], made["state"], made["origin"], made["volumes"]), ("default", "active", "devices", 0))
    world.refused("PoolExists", "Pool.Create", name="default", devices=["/dev/fake"])
    world.create("db")
    same(world.pool()["volumes"], 1)
    contains(world.refused("PoolBusy", "Pool.Remove", name="default").message, "1 volume")
    world.restart()
    same([p["name"] for p in world.call("Pool.List")["pools"]], ["default"])
    world.call("Pool.Export", name="default")
    same(world.call("Pool.List"), {"pools": []})
    world.refused("NoSuchVolume", "Volume.Inspect", volume="db")
    same([p["name"] for p in world.call("Pool.Import")["pools"]], ["default"])
    same(world.names(), ["db"])
    world.call("Volume.Remove", volume="db")
    world.call("Pool.Remove", name="default")
    same(world.call("Pool.List"), {"pools": []})
    world.refused("NoPool", "Pool.Inspect", name="default")


@test
def a_volume_goes_where_it_is_told():
    world.worker.add_pool("fast")
    world.start()
    same(world.create("a")["pool"], "fast")  # the only one
    world.worker.add_pool("slow")
    world.restart()
    contains(world.refused("NoSuchPool", "Volume.Create", volume="b", sizeBytes=GIB).message, "default")
    same(world.create("slow:b")["pool"], "slow")
    world.refused("NoSuchPool", "Volume.Create", volume="none:c", sizeBytes=GIB)
    world.configure("[Pool]\nDefault=slow\n")
    world.restart()
    same(world.create("c")["pool"], "slow")
    same(world.names(pool="fast"), ["a"])
    same(world.names(pool="slow"), ["b", "c"])
    world.refused("NoSuchPool", "Volume.List", pool="none")
    world.refused("NoSuchVolume", "Volume.Inspect", volume="fast:b")
    same(world.inspect("slow:b")["name"], "b")
    failure = world.refused("VolumeExists", "Volume.Create", volume="fast:b", sizeBytes=GIB, ifAbsent=True)
    contains(failure.message, "slow")


@test
def an_import_goes_on_behind_a_pool_that_cannot_be_opened():
    world.worker.add_pool("a", where=world.worker.elsewhere)
    world.worker.add_pool("b", where=world.worker.elsewhere)
    world.worker.unopened[min(world.worker.elsewhere, key=lambda u: world.worker.elsewhere[u]["name"])] = "disk is gone"
    world.start()
    contains(world.refused("PoolUnavailable", "Pool.Import").message, "disk is gone")
    same([(p["name"], p["state"]) for p in world.call("Pool.List")["pools"]], [("a", "unavailable"), ("b", "active")])
    world.create("b:db")


# --- who may do what

@test
def others_see_nothing_and_may_do_nothing():
    world.worker.add_pool()
    world.start()
    uuid = world.create("db")["uuid"]

    def nobody(method, **parameters):
        def call():
            try:
                return Call(world.socket, f"io.quarry.{method}", parameters).result()
            except Failure as failure:
                return f"{failure.kind}: {failure.message}"
        return as_user(NOBODY, NOBODY, [], call)

    contains(nobody("Volume.Create", volume="mine", sizeBytes=GIB), "PermissionDenied: user 65534 may not")
    for method in ("Inspect", "Remove", "Mount", "Unmount"):
        missing = nobody(f"Volume.{method}", volume="none")
        contains(missing, "NoSuchVolume: ")
        same(nobody(f"Volume.{method}", volume="db"), missing.replace("none", "db"))
        missing = nobody(f"Volume.{method}", volume=uuid.replace(uuid[0], "0" if uuid[0] != "0" else "1"))
        same(nobody(f"Volume.{method}", volume=uuid).partition(":")[0], missing.partition(":")[0])
        same(nobody(f"Volume.{method}", volume="none:db").replace("none", "default"),
             nobody(f"Volume.{method}", volume="default:db"))
    same(nobody("Volume.List"), str({"volumes": []}))
    same(nobody("Volume.List", pool="default"), nobody("Volume.List", pool="none"))
    same(nobody("Pool.List"), str({"pools": []}))
    for method, parameters in (("Inspect", {}), ("Remove", {}), ("Export", {}), ("Create", {"devices": ["/dev/fake"]})):
        denied = nobody(f"Pool.{method}", name="none", **parameters)
        contains(denied, "PermissionDenied: ")
        same(nobody(f"Pool.{method}", name="default", **parameters), denied)
    contains(nobody("Pool.Import"), "PermissionDenied: ")
    same(world.worker.verbs(), ["pool_scan", "pool_open", "volume_create"])


@test
def members_of_the_admin_group_may_do_everything():
    world.worker.add_pool()
    world.start()

    def create(name):
        return Call(world.socket, "io.quarry.Volume.Create", {"volume": name, "sizeBytes": GIB}).result()

    as_user(NOBODY, NOBODY, list(range(100, 200)) + [ADMIN_GROUP], lambda: create("a"))
    as_user(NOBODY, ADMIN_GROUP, [], lambda: create("b"))
    same(world.names(), ["a", "b"])


# --- start

@test
def calls_that_come_before_the_pools_wait_for_them():
    gates = {"pool_scan": Gate(), "pool_open": Gate()}
    world.worker.add_pool()
    for verb, gate in gates.items():
        world.worker.rule(verb, gate)
    memfd = sealed(b"sesame")
    world.start()
    calls = [world.begin_create("db"), world.begin("Volume.List"), world.begin("Pool.List"),
             world.begin("Pool.Inspect", name="default"),
             world.begin("Volume.Inspect", volume="none"),
             world.begin_create("vault", keySource="passphrase", keyFileDescriptor=0, fds=[memfd])]
    streaming = [world.begin("Volume.List", more=True), world.begin_create("more", more=True)]
    impatient = world.begin_create("gone")
    gates["pool_scan"].wait()
    for call in (*calls, *streaming, impatient):
        call.wait_until_read()
    impatient.abandon()
    for gate in gates.values():
        gate.wait()
        gate.release()
    os.close(memfd)
    streaming[0].result()
    same((streaming[1].result()["volume"]["name"], len(streaming[1].progress)), ("more", 3))
    same(calls[0].result()["volume"]["name"], "db")
    calls[1].result()
    same([p["state"] for p in calls[2].result()["pools"]], ["active"])
    same(calls[3].result()["pool"]["name"], "default")
    try:
        calls[4].result()
    except Failure as failure:
        same(failure.kind, "NoSuchVolume")
    same(calls[5].result()["volume"]["name"], "vault")
    same([key for verb, _, key in world.worker.jobs if key], [b"sesame"])
    world.check_consistent()


@test
def without_workers_every_call_says_why_and_later_ones_work():
    world.worker.add_pool()
    world.worker.unlisten()
    world.start()
    for method, parameters in (("Volume.Create", {"volume": "db", "sizeBytes": GIB}), ("Volume.List", {}),
                               ("Volume.Inspect", {"volume": "db"}), ("Pool.List", {}),
                               ("Pool.Inspect", {"name": "default"}), ("Pool.Import", {})):
        failure = world.refused("Failed", method, **parameters)
        contains(failure.message, world.worker.path)
        same(failure.parameters["hint"], "systemctl status quarry-worker.socket")
    world.worker.listen()
    world.create("db")
    same(world.names(), ["db"])


@test
def a_scan_that_fails_reaches_the_caller_and_is_tried_again():
    world.worker.add_pool()
    world.worker.rule("pool_scan", fail("Failed", "pvs failed", step="looking for pools", errorNumber=5), times=99)
    world.start()
    failure = world.refused("Failed", "Volume.Create", volume="db", sizeBytes=GIB)
    same(failure.parameters, {"message": "pvs failed", "step": "looking for pools", "errorNumber": 5})
    same(world.refused("Failed", "Volume.List").message, "pvs failed")
    world.worker.forget_rules()
    world.create("db")


@test
def a_pool_that_cannot_be_opened_is_shown_with_the_reason():
    world.worker.unopened[world.worker.add_pool("bad")] = "a disk is missing"
    damaged = world.worker.add_pool("damaged")
    os.makedirs(f"{CATALOGS}/{damaged}")
    with open(f"{CATALOGS}/{damaged}/catalog.db", "wb") as f:
        f.write(b"garbage " * 1000)
    world.worker.add_pool("good")
    world.start()
    pools = {p["name"]: p for p in world.call("Pool.List")["pools"]}
    same({n: p["state"] for n, p in pools.items()}, {"bad": "unavailable", "damaged": "unavailable", "good": "active"})
    same(pools["bad"]["failure"], "a disk is missing")
    contains(pools["damaged"]["failure"], "not a database")
    world.create("good:db")
    failure = world.refused("PoolUnavailable", "Volume.Create", volume="bad:db2", sizeBytes=GIB)
    contains(failure.message, "a disk is missing")
    contains(world.refused("PoolUnavailable", "Pool.Remove", name="bad").message, "a disk is missing")
    same(world.names(), ["db"])


@test
def a_device_that_the_catalog_does_not_know_is_closed():
    pool = world.worker.add_pool()
    world.worker.thin[(pool, 5)] = "6f1c2f6e-0000-4000-8000-000000000001"
    world.worker.open.add("6f1c2f6e-0000-4000-8000-000000000001")
    world.start()
    eventually(lambda: not world.worker.open, "the stray device is closed")
    contains(world.log_text(), "6f1c2f6e-0000-4000-8000-000000000001")
    world.worker.thin.clear()


# --- configuration

@test
def a_mistake_in_the_configuration_is_named_with_its_place():
    os.mkdir(world.config + ".d")
    for text, drop_in, parts in (
            ("[Pool]\nDefault=Not Valid\n", "", (":2:", "Not Valid")),
            ("# fine\n[Jobs]\nWorkers=4\n\n[Pols]\n", "", (":5:", "Pols", "Pool")),
            ("[Jobs]\nWorker=4\n", "", (":2:", "Worker", "Workers=")),
            ("[Jobs]\nWorkers=many\n", "", (":2:", "many")),
            ("[Jobs]\nWorkers\n", "", (":2:",)),
            ("Workers=4\n", "", (":1:",)),
            ("", "[Encryption]\nArgon2Memory=9G\n", ("quarry.conf.d/local.conf:2:", "9G"))):
        world.configure(text)
        with open(world.config + ".d/local.conf", "w") as f:
            f.write(drop_in)
        os.truncate(world.log, 0)
        world.spawn()
        same(world.process.wait(10), 1, "exit status with " + text + drop_in)
        world.process = None
        contains(world.log_text(), "quarry.conf", *parts)
        same(len(world.log_text().splitlines()), 1, world.log_text())


@test
def without_a_socket_it_says_who_starts_it():
    done = subprocess.run([os.environ.get("QUARRYD", "build/gcc/quarryd")], stdin=subprocess.DEVNULL, timeout=10,
                          capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    same(done.returncode, 1)
    contains(done.stderr, "quarryd.socket")


@test
def a_template_stays_until_its_copies_are_made():
    world.worker.add_pool()
    world.configure("[Jobs]\nWorkers=4\n")
    world.start()
    for name in ("one", "two"):
        world.create(name)
    eventually(lambda: world.worker.templates, "there is a template")
    uuid, = world.worker.templates
    place, = [p for p, v in world.worker.thin.items() if v == uuid]
    eventually(lambda: world.create(f"try-{time.monotonic_ns()}") and "source" in world.worker.jobs[-1][1], "it is used")
    gate = Gate()
    world.worker.rule("volume_create", gate, name="slow")
    slow = world.begin_create("slow")
    gate.wait()
    world.worker.rule("volume_create", fail("Failed", "stale", errorNumber=errno.ESTALE), name="other")
    world.create("other")  # which finds that it cannot be used any more
    world.create("next")
    same(world.worker.thin.get(place), uuid, "whose thin device is copied")
    gate.release()
    slow.result()
    eventually(lambda: place not in world.worker.thin, "the template goes behind the last copy")
    world.check_consistent()


@test
def of_what_is_asked_for_again_and_again_one_is_made_ahead():
    world.worker.add_pool()
    world.start()
    for name in ("one", "two"):
        world.create(name)
    eventually(lambda: world.worker.templates, "there is a template")
    world.create("three")
    eventually(lambda: len(world.worker.thin) == 5, "one is made ahead")
    time.sleep(0.2)  # its row is settled
    jobs = len(world.worker.jobs)
    world.create("four", labels=["a=b"])
    same(len(world.worker.jobs), jobs, "no worker makes the next")
    same(world.inspect("four")["labels"], {"a": "b"})
    world.check_consistent()


@test
def quarryd_ends_while_something_is_made_ahead():
    world.worker.add_pool()
    world.start()
    for name in ("one", "two"):
        world.create(name)
    eventually(lambda: world.worker.templates, "there is a template")
    gate = Gate()
    world.create("three")
    world.worker.rule("volume_create", gate, role="template")
    gate.wait()
    world.stop(wait=False)  # with AddressSanitizer: nothing leaks of what did not end
    gate.release()
    world.start()
    world.check_consistent()


@test
def what_was_made_ahead_is_not_taken_without_its_host_key():
    world.worker.add_pool()
    world.start()
    for name in ("one", "two", "three"):
        world.create(name, keySource="host")
    eventually(lambda: len(world.worker.thin) == 4, "one is made ahead")
    time.sleep(0.2)  # its row is settled
    world.create("four", keySource="host")
    same(world.inspect("four")["state"], "ready", "it is taken")
    eventually(lambda: len(world.worker.thin) == 5, "another is made")
    time.sleep(0.2)
    lost, world.worker.host_keys = world.worker.host_keys, [{"id": "f" * 32, "source": "file"}]
    world.refused("KeyRequired", "Volume.Create", volume="five", sizeBytes=GIB, keySource="host")
    same(world.names(), ["four", "one", "three", "two"], "nothing is left of it")
    world.worker.host_keys = lost
    world.check_consistent()


def made_ahead(names, **parameters):
    """Makes volumes until one more of their kind is made ahead, and returns its UUID."""
    for name in names:
        world.create(name, **parameters)
    have = {v["uuid"] for v in world.volumes()}

    def ahead():
        return [job["volume"]["uuid"] for verb, job, _ in world.worker.jobs if verb == "volume_create" and
                job["volume"]["name"].startswith("ready-") and job["volume"]["uuid"] not in have]
    eventually(ahead, "one is made ahead")
    eventually(lambda: ahead()[0] in world.worker.thin.values(), "it is there")
    time.sleep(0.2)  # its row is settled
    return ahead()[0]


@test
def what_was_made_ahead_and_is_to_go_is_taken_by_nobody():
    world.worker.add_pool()
    world.start()
    names = ["one", "two", "three"]
    ahead = made_ahead(names)
    templates = {*world.worker.templates}
    world.worker.users = {uuid: "somebody looks at devices" for uuid in templates}
    for name in names:
        world.call("Volume.Remove", volume=name)

    def claimed():
        return {job["volume"]["uuid"] for verb, job, _ in world.worker.jobs if verb == "volume_claim"}
    eventually(lambda: templates <= claimed(), "the last volume is to take them with it, and cannot")
    time.sleep(0.2)
    have = world.create("four")["uuid"]
    same((have == ahead, "source" in [j for v, j, _ in world.worker.jobs if v == "volume_create"][-1]), (False, False),
         "it is not taken, nor is its template copied")
    world.worker.users = {}
    eventually(lambda: not templates & {*world.worker.thin.values()}, "they go when nobody looks any more", 15)
    same((world.names(), world.inspect("four")["uuid"]), (["four"], have))
    world.check_consistent()


@test
def what_is_not_taken_for_want_of_its_host_key_is_not_taken_later():
    world.worker.add_pool()
    world.start()
    ahead = made_ahead(["one", "two", "three"], keySource="host")
    kept, world.worker.host_keys = world.worker.host_keys, [{"id": "f" * 32, "source": "file"}]
    gone = threading.Event()

    def die():
        world.kill()
        gone.set()
    world.worker.rule("volume_remove", last(die), name="four")
    world.begin_create("four", keySource="host").abandon()
    assert gone.wait(10), "what was made ahead is removed, and then quarryd dies"
    same(ahead in world.worker.thin.values(), False)
    world.worker.host_keys = kept
    world.start()
    world.create("five", keySource="host")
    same(world.inspect("five")["uuid"] in world.worker.thin.values(), True, "what is there is taken, or made")
    world.check_consistent()


@test
def a_schedule_owes_nothing_to_what_was_made_ahead_of_it():
    made = []  # when, by CLOCK_REALTIME; what is from before is due two seconds later, and what comes behind it is not

    def elapses(job):
        base = job["calendar"]["baseUsec"]
        later = 2 if not made or base < made[0] + 2000000 else 3600
        return {"elapses": [base + later * 1000000 for _ in job["calendar"]["expressions"]]}
    world.worker.host_calendar = elapses
    world.worker.add_pool()
    world.start()
    world.call("Pool.Update", name="default", snapshotSchedule="hourly keep 50")
    ahead = made_ahead(["one", "two", "three"])
    made.append(time.time_ns() // 1000)
    time.sleep(4)
    same(world.create("four")["uuid"], ahead)
    time.sleep(1)
    same([name for name in world.names(type="snapshot") if name.startswith("four")], [], "nothing is due yet")
    world.call("Pool.Update", name="default", snapshotSchedule="none")


if __name__ == "__main__":
    sys.exit(main())
