#!/usr/bin/python3
"""What becomes of a call, and of the volume, when the worker fails in every way there is. TAP on stdout."""

import errno
import json
import os
import resource
import sys
import time

from tap import contains, eventually, same, test
from world import GIB, Failure, libc, main
from worker import CATALOGS, Gate, answer, die_after, die_before, fail, fail_by_name

world = None  # what the test that runs now uses

KINDS = ["Failed", "BadRequest", "NotSupported", "PermissionDenied", "NoSuchVolume", "NoSuchPool", "NoPool",
         "VolumeExists", "PoolExists", "VolumeBusy", "PoolBusy", "DeviceUnusable", "NoSpace", "KeyRequired", "WrongKey",
         "VolumeBroken", "PoolUnavailable", "WorkerDied", "Overloaded"]
WHOLE = {"message": "the sentence", "hint": "run this", "field": "volume", "step": "making it", "errorNumber": 28}
UNCLEAR = {  # what leaves it open whether the job was done
    "died before": die_before,
    "died after": die_after,
    "no JSON": answer(b"garbage\0"),
    "no object": answer(b"[1]\0"),
    "binary": answer(bytes(range(1, 256)) + b"\0"),
    "half a message": answer(b'{"parameters":', hangup=True),
    "no result": answer(b'{"parameters":{}}\0'),
    "a result of wrong type": answer(b'{"parameters":{"result":{"open":7}}}\0'),
    "a result with more in it": answer(b'{"parameters":{"result":{"surprise":7}}}\0'),
    "a path that is none": answer(b'{"parameters":{"result":{"path":"../etc"}}}\0'),
    "an error without a name": answer(b'{"error":""}\0'),
    "an unknown error": fail_by_name("io.quarry.Worker.Unheard", {"message": "?"}),
    "a number": fail_by_name("io.systemd.System", {"errno": 5}),
}


def fails_whole(kind, verb, method, **parameters):
    world.worker.rule(verb, fail(kind, **{"message": WHOLE["message"], **WHOLE}))
    failure = world.refused(kind, method, **parameters)
    return failure.parameters


# --- create

@test
def every_error_of_a_create_reaches_the_caller_and_leaves_nothing():
    world.worker.add_pool()
    world.start()
    for kind in KINDS:
        same(fails_whole(kind, "volume_create", "Volume.Create", volume="db", sizeBytes=GIB), WHOLE)
        same((world.names(), world.worker.left()), ([], {}), kind)
        # Only where the worker could not undo what it had done the broker cleans up.
        same(world.worker.count("volume_remove"), 1 if kind == "WorkerDied" else 0, kind)
        world.worker.jobs.clear()
        world.worker.rule("volume_create", fail(kind, **WHOLE, undoFailed=True))
        same(world.refused(kind, "Volume.Create", volume="db", sizeBytes=GIB).parameters, WHOLE)
        same((world.worker.count("volume_remove"), world.names()), (1, []), kind)
        world.create("db")
        world.call("Volume.Remove", volume="db")
        world.worker.jobs.clear()
    world.check_consistent()


@test
def a_create_whose_end_is_unclear_is_cleaned_up():
    world.worker.add_pool()
    world.configure("[Jobs]\nWorkers=1\n")  # the place of a worker that died must become free
    world.start()
    for what, rule in UNCLEAR.items():
        world.worker.rule("volume_create", rule)
        failure = world.refused("WorkerDied", "Volume.Create", volume="db", sizeBytes=GIB)
        contains(failure.parameters["hint"], "journalctl")
        same((world.names(), world.worker.left()), ([], {}), what)
        same(world.worker.verbs()[-2:], ["volume_create", "volume_remove"], what)
        world.create("db")
        world.call("Volume.Remove", volume="db")
    world.check_consistent()


@test
def a_refused_create_is_not_cleaned_up():
    world.worker.add_pool()
    world.start()
    world.worker.rule("volume_create", fail_by_name("org.varlink.service.PermissionDenied", {}))
    contains(world.refused("Failed", "Volume.Create", volume="db", sizeBytes=GIB).message, "PermissionDenied")
    same((world.names(), world.worker.count("volume_remove")), ([], 0))


@test
def a_create_that_cannot_be_cleaned_up_is_broken_until_removed():
    world.worker.add_pool()
    world.start()
    world.worker.rule("volume_create", fail("Failed", "mkfs failed; and then the undo failed: EIO", undoFailed=True))
    world.worker.rule("volume_remove", fail("Failed", "the pool does not answer", step="deleting the thin device"))
    failure = world.refused("Failed", "Volume.Create", volume="db", sizeBytes=GIB)
    contains(failure.message, "mkfs failed")
    same(failure.parameters["undoFailed"], True)
    contains(failure.parameters["hint"], "quarry rm db")
    for _ in range(2):
        shown = world.inspect("db")
        same((shown["state"], shown["failure"]), ("broken", "the pool does not answer"))
        for method, parameters in (("Mount", {}), ("Create", {"sizeBytes": GIB, "ifAbsent": True})):
            failure = world.refused("VolumeBroken", f"Volume.{method}", volume="db", **parameters)
            contains(failure.message, "broken: the pool does not answer")
            same(failure.parameters["hint"], "quarry rm db")
        world.restart()
    world.call("Volume.Remove", volume="db")
    world.create("db")
    world.check_consistent()


# --- remove

@test
def a_volume_that_is_in_use_stays_as_it_is():
    world.worker.add_pool()
    world.start()
    world.create("db")
    for kind in KINDS:
        same(fails_whole(kind, "volume_claim", "Volume.Remove", volume="db"), WHOLE)
        same(world.inspect("db")["state"], "ready")
    for what, rule in UNCLEAR.items():
        world.worker.rule("volume_claim", rule)
        world.refused("WorkerDied", "Volume.Remove", volume="db")
        same(world.inspect("db")["state"], "ready", what)
    same(world.worker.count("volume_remove"), 0)
    world.call("Volume.Mount", volume="db")
    failure = world.refused("VolumeBusy", "Volume.Remove", volume="db")
    same(failure.parameters["hint"], "quarry umount x")
    same(world.inspect("db")["state"], "ready")
    world.call("Volume.Unmount", volume="db")
    world.call("Volume.Remove", volume="db")
    world.check_consistent()


@test
def a_removal_that_failed_half_way_can_only_be_repeated():
    world.worker.add_pool()
    world.start()
    for what, rule in [*[(kind, fail(kind, **WHOLE)) for kind in KINDS], *UNCLEAR.items()]:
        world.create("db")
        unclear = what in UNCLEAR or what == "WorkerDied"
        world.worker.rule("volume_remove", rule, times=3 if unclear else 1)
        failure = world.refused("WorkerDied" if unclear else what, "Volume.Remove", volume="db")
        if what not in UNCLEAR:
            same(failure.parameters, WHOLE)
        shown = world.inspect("db")
        same((shown["state"], shown["failure"]), ("removing", failure.message), what)
        world.refused("VolumeBroken", "Volume.Mount", volume="db")
        world.refused("VolumeBroken", "Volume.Create", volume="db", sizeBytes=GIB)
        world.call("Volume.Remove", volume="db")
        same((world.names(), world.worker.left()), ([], {}), what)
    world.create("db")
    world.worker.rule("volume_remove", fail("Failed", "not now"))
    contains(world.refused("Failed", "Volume.Remove", volume="db").parameters["hint"], "quarry rm db")
    world.restart()
    eventually(lambda: not world.names(), "the removal is finished after a restart")
    world.check_consistent()


@test
def a_removal_and_a_clean_up_outlive_a_worker_that_dies():
    world.worker.add_pool()
    world.start()
    for times in (1, 2):
        for rule in (die_before, die_after):
            world.create("db")
            world.worker.rule("volume_remove", rule, times=times)
            world.call("Volume.Remove", volume="db")
            same((world.names(), world.worker.left()), ([], {}))
            world.worker.rule("volume_create", die_after)
            world.worker.rule("volume_remove", rule, times=times)
            world.refused("WorkerDied", "Volume.Create", volume="db", sizeBytes=GIB)
            same((world.names(), world.worker.left()), ([], {}))
    world.check_consistent()


@test
def a_pool_is_opened_though_workers_die():
    world.worker.add_pool()
    world.start()
    world.create("db")
    for times in (1, 2):
        world.worker.rule("pool_open", die_before, times=times)
        world.restart()
        same(world.names(), ["db"])
    world.check_consistent()


# --- mount, unmount, inspect

@test
def a_mount_that_failed_changes_nothing():
    world.worker.add_pool()
    world.start()
    world.create("db")
    for kind in KINDS:
        same(fails_whole(kind, "volume_mount", "Volume.Mount", volume="db"), WHOLE)
    for what, rule in UNCLEAR.items():
        world.worker.rule("volume_mount", rule)
        contains(world.refused("WorkerDied", "Volume.Mount", volume="db").message, "worker")
        same(world.inspect("db")["state"], "ready", what)
    for result in ({}, {"open": True}):
        for detached in (False, True):
            world.worker.rule("volume_mount", answer(json.dumps({"parameters": {"result": result}}).encode() + b"\0"))
            world.refused("Failed", "Volume.Mount", volume="db", detached=detached)
    world.worker.rule("volume_mount", answer(b'{"parameters":{"result":{"path":"/x"},"mountFileDescriptor":3}}\0'))
    world.refused("Failed", "Volume.Mount", volume="db", detached=True)
    same(world.call("Volume.Mount", volume="db"), {"path": "/run/quarry/mnt/default/db"})
    for kind in KINDS:
        same(fails_whole(kind, "volume_umount", "Volume.Unmount", volume="db"), WHOLE)
    for rule in UNCLEAR.values():
        world.worker.rule("volume_umount", rule)
        world.refused("WorkerDied", "Volume.Unmount", volume="db")
        world.call("Volume.Mount", volume="db")
    world.call("Volume.Unmount", volume="db")


@test
def inspect_shows_what_was_seen_last_when_the_worker_fails():
    world.worker.add_pool()
    world.start()
    world.create("db")

    def seen():
        return {k: v for k, v in world.inspect("db").items() if not k.startswith("exclusive")}  # they come when they come

    before = seen()
    for rule in [*[fail(kind, **WHOLE) for kind in KINDS], *UNCLEAR.values()]:
        for verb in ("volume_usage", "pool_usage"):
            world.worker.rule(verb, rule)
        same(seen(), before)
        same(world.pool()["state"], "active")
        same(world.names(), ["db"])
        world.worker.forget_rules()


# --- pools

@test
def every_error_of_a_pool_verb_reaches_the_caller():
    world.worker.add_pool("there")
    world.worker.add_pool("moved", where=world.worker.elsewhere)
    world.start()
    for kind in KINDS:
        same(fails_whole(kind, "pool_create", "Pool.Create", name="new", devices=["/dev/fake"]), WHOLE)
        if kind != "WorkerDied":  # then it is gone on with
            same(fails_whole(kind, "pool_import", "Pool.Import"), WHOLE)
            same(fails_whole(kind, "pool_export", "Pool.Export", name="there"), WHOLE)
            same(fails_whole(kind, "pool_remove", "Pool.Remove", name="there"), WHOLE)
        same([(p["name"], p["state"]) for p in world.call("Pool.List")["pools"]], [("there", "active")], kind)
    world.worker.rule("pool_import", die_before, times=3)
    world.refused("WorkerDied", "Pool.Import")
    world.create("there:db")
    world.check_consistent()


@test
def a_pool_whose_creation_is_cut_short_is_taken_away():
    world.start()
    for kind, rule, again in (("WorkerDied", die_before, 1), ("WorkerDied", die_after, 1),
                              ("Failed", fail("Failed", "no", undoFailed=True), 1),
                              ("Failed", fail("Failed", "no"), 0)):
        world.worker.jobs.clear()
        world.worker.rule("pool_create", rule)
        world.refused(kind, "Pool.Create", name="new", devices=["/dev/fake"])
        same(world.worker.count("pool_remove"), again)
        same((world.worker.pools, world.call("Pool.List")["pools"]), ({}, []))
    world.call("Pool.Create", name="new", devices=["/dev/fake"])
    world.check_consistent()


@test
def a_pool_whose_new_catalog_does_not_open_is_taken_away():
    world.start()

    def spoil(job, work):
        result = work()
        with open(f"{CATALOGS}/{job['pool']}/catalog.db", "wb") as f:
            f.write(b"garbage" * 4096)
        return result
    gate = Gate()
    world.worker.rule("pool_create", spoil)
    world.worker.rule("pool_remove", gate)
    create = world.begin("Pool.Create", name="new", devices=["/dev/fake"])
    gate.wait()
    world.refused("PoolBusy", "Pool.Export", name="new")  # it is being cleaned up
    gate.release()
    contains(create.failure().message, "catalog")
    same((world.worker.pools, world.call("Pool.List")["pools"]), ({}, []))
    world.call("Pool.Create", name="new", devices=["/dev/fake"])
    world.check_consistent()


@test
def a_pool_whose_removal_is_cut_short_is_taken_away():
    world.start()
    for rule in (die_before, die_after):
        for times in (1, 2):
            world.call("Pool.Create", name="there", devices=["/dev/fake"])
            world.worker.rule("pool_remove", rule, times=times)
            world.call("Pool.Remove", name="there")
            same((world.worker.pools, world.call("Pool.List")["pools"]), ({}, []))
    world.call("Pool.Create", name="there", devices=["/dev/fake"])
    world.worker.rule("pool_remove", die_before, times=3)
    world.refused("WorkerDied", "Pool.Remove", name="there")
    world.create("there:db")
    world.check_consistent()


@test
def a_pool_whose_removal_fails_half_way_can_be_removed_again():
    world.start()
    world.call("Pool.Create", name="there", devices=["/dev/fake"])

    def half(job, work):
        world.worker.unopened = {uuid: "it was cut short" for uuid in world.worker.pools}
        fail("Failed", "no")(job, work)
    world.worker.rule("pool_remove", half)
    world.refused("Failed", "Pool.Remove", name="there")
    same(world.pool("there")["state"], "unavailable")
    world.refused("PoolUnavailable", "Volume.Create", volume="there:db", sizeBytes=GIB)
    world.call("Pool.Remove", name="there")
    same((world.worker.pools, world.call("Pool.List")["pools"]), ({}, []))
    world.check_consistent()


@test
def a_pool_that_does_not_open_can_be_exported():
    pool = world.worker.add_pool("there")
    world.worker.unopened[pool] = "it was exported"
    world.start()
    same(world.pool("there")["state"], "unavailable")
    world.worker.rule("pool_export", fail("Failed", "no"))
    world.refused("Failed", "Pool.Export", name="there")
    world.call("Pool.Export", name="there")
    same(world.call("Pool.List")["pools"], [])


@test
def a_pool_that_went_and_whose_removal_then_failed_is_not_listed():
    world.start()
    world.call("Pool.Create", name="there", devices=["/dev/fake"])

    def late(job, work):
        work()
        fail("Failed", "no")(job, work)
    world.worker.rule("pool_remove", late)
    world.refused("Failed", "Pool.Remove", name="there")
    same((world.worker.pools, world.call("Pool.List")["pools"]), ({}, []))
    world.check_consistent()


@test
def what_an_earlier_broker_left_of_a_pool_is_taken_away():
    world.worker.add_pool("half", unfinished=True)
    world.worker.unopened = {uuid: "it was cut short" for uuid in world.worker.pools}
    world.worker.add_pool("whole")
    world.start()
    same([(p["name"], p["state"]) for p in world.call("Pool.List")["pools"]], [("whole", "active")])
    same([p["name"] for p in world.worker.pools.values()], ["whole"])
    world.check_consistent()


@test
def a_pool_that_cannot_be_taken_away_is_there_again_with_its_volumes():
    world.worker.add_pool()
    world.start()
    world.create("db")
    world.worker.rule("pool_export", fail("PoolBusy", "a device is held open"))
    world.refused("PoolBusy", "Pool.Export", name="default")
    same(world.names(), ["db"])
    world.create("db2")
    world.worker.rule("pool_export", fail("Failed", "lvm failed"))
    world.worker.rule("pool_open", fail("Failed", "a disk is missing"))
    same(world.refused("Failed", "Pool.Export", name="default").message, "lvm failed")
    pool = world.pool()
    same((pool["state"], pool["failure"]), ("unavailable", "a disk is missing"))
    world.worker.rule("pool_import", fail("NoSuchPool", "found no pool to import"), times=2)
    same([p["state"] for p in world.call("Pool.Import")["pools"]], ["active"])
    same(world.names(), ["db", "db2"])
    world.refused("NoSuchPool", "Pool.Import")


@test
def a_pool_that_a_worker_had_imported_before_it_died_or_failed_is_there():
    world.worker.add_pool("there")
    world.start()
    def fail_after(job, work):
        work()
        fail("Failed", "the other pool is damaged")(job, work)

    for name, rule in ("one", die_after), ("another", answer(b"garbage\0")), ("third", fail_after):
        world.worker.add_pool(name, where=world.worker.elsewhere)
        world.worker.rule("pool_import", rule)
        if rule is fail_after:
            same(world.refused("Failed", "Pool.Import").message, "the other pool is damaged")
        else:
            world.call("Pool.Import")
        same([p["state"] for p in world.call("Pool.List")["pools"] if p["name"] == name], ["active"], name)
    world.worker.rule("pool_import", die_before)
    same(world.refused("NoSuchPool", "Pool.Import").message, "found no pool to import")
    world.check_consistent()


@test
def a_pool_that_comes_outlives_workers_that_die():
    world.worker.add_pool()
    world.start()
    world.create("db")
    for times in (1, 2):
        world.call("Pool.Export", name="default")
        world.worker.rule("pool_open", die_before, times=times)
        same([p["state"] for p in world.call("Pool.Import")["pools"]], ["active"])
        world.worker.rule("pool_export", fail("Failed", "lvm failed"))
        world.worker.rule("pool_open", die_before, times=times)
        world.refused("Failed", "Pool.Export", name="default")
        same((world.pool()["state"], world.names()), ("active", ["db"]))
    world.worker.rule("pool_export", die_before, times=3)
    world.refused("WorkerDied", "Pool.Export", name="default")
    same((world.pool()["state"], world.names()), ("active", ["db"]))
    for rule in (die_before, die_after):
        world.worker.rule("pool_export", rule, times=2)
        world.call("Pool.Export", name="default")
        same(world.call("Pool.List")["pools"], [])
        same([p["state"] for p in world.call("Pool.Import")["pools"]], ["active"])
    world.check_consistent()


# --- a thin device that nobody knows

@test
def a_thin_id_that_is_taken_in_the_pool_is_passed_over():
    world.worker.add_pool()
    world.start()
    # Of different sizes: two of a kind make a template, which takes a thin id.
    world.create("first")
    taken = {"message": "pool default has a thin device that its catalog does not know", "errorNumber": 17}
    world.worker.rule("volume_create", fail("Failed", **taken), times=2)
    world.create("db", 2 * GIB)
    ids = [job["volume"]["thinId"] for verb, job, _ in world.worker.jobs if verb == "volume_create"]
    same(ids, [0, 1, 2, 3])
    same((world.worker.count("volume_remove"), world.names()), (0, ["db", "first"]))
    contains(world.log_text(), "thin device 1 is in the pool", "thin device 2 is in the pool")
    # Passed over for good, also when what was made with the next id is gone.
    world.call("Volume.Remove", volume="db")
    world.create("later", 3 * GIB)
    same([job["volume"]["thinId"] for verb, job, _ in world.worker.jobs if verb == "volume_create"][-1], 3)
    world.restart()
    same((world.names(), world.inspect("later")["state"]), (["first", "later"], "ready"))
    # One that cannot be passed over ends, and leaves nothing.
    world.worker.rule("volume_create", fail("Failed", **taken), times=99)
    world.refused("Failed", "Volume.Create", volume="never", sizeBytes=4 * GIB)
    world.worker.forget_rules()
    same(world.names(), ["first", "later"])
    world.check_consistent()


# --- schedules

@test
def a_schedule_is_not_set_by_an_answer_that_does_not_fit():
    world.worker.add_pool()
    world.start()
    world.create("db")
    for elapses in (b"", b"5,0,5,5,5,5,5,5"):
        world.worker.rule("host_calendar", answer(b'{"parameters":{"result":{"elapses":[' + elapses + b"]}}}\0"))
        world.refused("Failed", "Volume.Update", volume="db", snapshotSchedule="weekly keep 2")
        same(world.inspect("db").get("snapshotSchedule"), None)
    world.call("Volume.Update", volume="db", snapshotSchedule="weekly keep 2")
    world.check_consistent()


# --- the catalog's disk fails

@test
def a_catalog_that_fails_is_opened_anew_when_its_disk_works():
    pool, other = world.worker.add_pool(), world.worker.add_pool("other")
    world.start()
    for i in range(20):
        world.create(f"old{i}")
    world.call("Volume.Mount", volume="old1")
    pid = world.process.pid
    # Writes beyond this end in an error, as on a disk that fails.
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    log = os.stat(f"{CATALOGS}/{pool}/catalog.db-wal").st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (log, before[1]))
    contains(world.refused("Failed", "Volume.Create", volume="new", sizeBytes=GIB).message, "cannot write the catalog")

    state = world.pool()
    same(state["state"], "unavailable")
    missing, = world.call("Volume.List")["missingPools"]
    same((missing["name"], missing["volumes"], missing["failure"]), ("default", 20, state["failure"]))
    same("missingPools" in world.call("Volume.List", pool="other"), False)
    world.call("Volume.Unmount", volume="old1")  # what is mounted can go
    contains(state["failure"], "the disk of pool default fails")
    same(len(world.names()), 20)
    same(world.inspect("old1")["state"], "ready")
    contains(world.refused("PoolUnavailable", "Volume.Remove", volume="old2").message, "the disk of pool default fails")
    world.create("other:elsewhere")
    world.worker.rule("pool_recover", fail("Failed", "lvm pvs failed", errorNumber=5))

    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    eventually(lambda: world.pool()["state"] == "active", "the pool comes back", 60)
    same(world.worker.count("pool_recover"), 2)
    same("missingPools" in world.call("Volume.List"), False)
    same((world.process.pid, len(world.names())), (pid, 21))
    world.create("new")
    world.restart()
    same(len(world.names()), 22)
    world.check_consistent()


@test
def a_pool_whose_disks_are_gone_can_be_forgotten():
    gone, stays = world.worker.add_pool("gone"), world.worker.add_pool("stays")
    world.start()
    world.create("gone:db")
    contains(world.refused("PoolBusy", "Pool.Remove", name="gone", forget=True).message, "is active")
    world.worker.unopened[gone] = "its disk is gone"
    world.restart()
    same({p["name"]: p["state"] for p in world.call("Pool.List")["pools"]}, {"gone": "unavailable", "stays": "active"})
    world.refused("PoolUnavailable", "Pool.Remove", name="gone")
    world.worker.rule("pool_forget", fail("PoolBusy", "a volume is in use"))
    contains(world.refused("PoolBusy", "Pool.Remove", name="gone", forget=True).message, "in use")
    same(len(world.call("Pool.List")["pools"]), 2)
    world.worker.rule("pool_forget", die_before)
    world.call("Pool.Remove", name="gone", forget=True)
    same([p["name"] for p in world.call("Pool.List")["pools"]], ["stays"])
    same("missingPools" in world.call("Volume.List"), False)
    world.restart()
    same(list(world.worker.pools), [stays])
    world.create("db")


@test
def a_pool_that_is_forgotten_twice_at_once_goes_once():
    pool = world.worker.add_pool()
    world.worker.unopened[pool] = "its disk is gone"
    world.start()
    gate = Gate()
    world.worker.rule("pool_forget", gate)
    one = world.begin("Pool.Remove", name="default", forget=True)
    gate.wait()
    other = world.begin("Pool.Remove", name="default", forget=True)
    world.call("Pool.List")  # so that the other was taken up
    gate.release()
    one.result()
    same(other.failure().kind, "NoSuchPool")
    same((world.worker.count("pool_forget"), world.call("Pool.List")["pools"]), (1, []))


@test
def a_pool_that_is_forgotten_while_its_disks_are_to_be_looked_for_is_not_taken_up():
    world.worker.add_pool()
    world.worker.rule("pool_open", fail("PoolUnavailable", "its disk is gone", errorNumber=errno.ENODEV), times=9)
    world.start()
    gate = Gate()
    world.worker.rule("pool_forget", gate)
    forget = world.begin("Pool.Remove", name="default", forget=True, timeout=40)
    gate.wait()
    time.sleep(16)  # the look, each 15 s, waits by then
    gate.release()
    forget.result()
    same(world.call("Pool.List")["pools"], [])
    world.call("Pool.Create", name="new", devices=["/dev/fake"])  # behind the look
    same(world.worker.count("pool_open"), 1)


@test
def who_waits_for_a_disk_that_fails_is_told():
    pool = world.worker.add_pool()
    world.start()
    world.create("db")
    gate = Gate()
    world.worker.rule("volume_mount", gate)
    mounts = [world.begin("Volume.Mount", volume="db", timeout=60)]
    gate.wait()
    mounts.append(world.begin("Volume.Mount", volume="db", timeout=60))  # waits behind it
    calendar = Gate()
    world.worker.rule("host_calendar", calendar)
    mounts.append(world.begin("Tenant.Create", name="acme", snapshotSchedule="hourly keep 1", timeout=40))
    calendar.wait()
    mounts.append(world.begin("Tenant.Create", name="beta", timeout=40))
    log = os.stat(f"{CATALOGS}/{pool}/catalog.db-wal").st_size
    before = resource.prlimit(world.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(world.process.pid, resource.RLIMIT_FSIZE, (log, before[1]))
    for mount in mounts:  # nothing was asked of the catalog: it is tried while jobs run
        try:
            mount.result()
        except Failure as failure:
            contains(failure.message, "the disk of pool default fails")
        else:
            raise AssertionError("it succeeded")
    same(world.pool()["state"], "unavailable")
    resource.prlimit(world.process.pid, resource.RLIMIT_FSIZE, before)
    gate.release()
    calendar.release()
    eventually(lambda: world.pool()["state"] == "active", "the pool comes back", 60)
    world.call("Volume.Mount", volume="db")
    world.check_consistent()


# --- the pool's metadata fails

@test
def a_pool_whose_metadata_failed_says_so_and_is_made_anew_once_nobody_uses_it():
    pool = world.worker.add_pool()
    world.start()
    world.create("db")
    world.call("Volume.Mount", volume="db")
    size = world.pool()["dataSizeBytes"]
    for how, words in (({"readOnly": True}, "could not be written"),
                       ({"failed": True, "dataSizeBytes": 0, "dataUsedBytes": 0}, "neither be read nor written")):
        world.worker.report(pool, GIB, **how)
        eventually(lambda w=words: w in world.pool().get("failure", ""), "it is told")
        same((world.pool()["state"], world.pool()["dataSizeBytes"]), ("degraded", size))
    contains(world.refused("PoolUnavailable", "Volume.Create", volume="new", sizeBytes=GIB).message, "takes no changes")
    contains(world.refused("PoolUnavailable", "Volume.Remove", volume="db").message, "takes no changes")
    same((world.names(), world.worker.count("pool_recover")), (["db"], 0))
    world.call("Volume.Unmount", volume="db")
    eventually(lambda: world.pool()["state"] == "active", "the pool comes back", 60)
    same(world.worker.count("pool_recover"), 1)
    world.create("new")
    world.check_consistent()


# --- the catalog's disk is full

@test
def when_the_catalog_cannot_be_written_nothing_is_promised():
    pool = world.worker.add_pool()
    os.makedirs(f"{CATALOGS}/{pool}")
    if libc.mount(b"tmpfs", f"{CATALOGS}/{pool}".encode(), b"tmpfs", 0, b"size=1m") < 0:
        return "needs a mount"
    try:
        world.start()
        for i in range(20):
            world.create(f"old{i}")
        filler = f"{CATALOGS}/{pool}/filler"

        def fill():
            with open(filler, "wb", buffering=0) as f:
                try:
                    while f.write(b"x" * 4096):
                        pass
                except OSError:
                    pass

        def until_full(method, names, **parameters):
            """Goes on with other volumes until the disk is full; returns the name of that volume."""
            for name in names:
                try:
                    world.call(method, volume=name, **parameters)
                except Failure as failure:
                    same(failure.kind, "NoSpace")
                    contains(failure.message, "full")
                    return name
            raise AssertionError("the disk never ran full")

        fill()
        until_full("Volume.Create", [f"new{i}" for i in range(99)], sizeBytes=GIB, labels=[f"l={'x' * 1000}"])
        name = until_full("Volume.Remove", [v["name"] for v in world.volumes() if v["state"] == "ready"])
        same(world.inspect(name)["state"], "ready")
        world.call("Volume.Mount", volume=name)  # writes nothing
        world.call("Volume.Unmount", volume=name)
        os.unlink(filler)
        world.create("again")
        world.call("Volume.Remove", volume=name)
        for v in world.volumes():
            if v["state"] == "broken":  # made, and then its row could not be written
                world.call("Volume.Remove", volume=v["name"])
        names = world.names()
        world.restart()
        same(world.names(), names)
        world.check_consistent()
    finally:
        if world.process:
            world.stop()
        libc.umount2(f"{CATALOGS}/{pool}".encode(), 2)


if __name__ == "__main__":
    sys.exit(main())
