#!/usr/bin/python3
"""Snapshots: what can be asked, groups that are made whole or not, and what is removed under them. TAP on stdout."""

import contextlib
import os
import random
import re
import resource
import sys
import threading
import time

from tap import contains, eventually, same, test
from world import GIB, MIB, Failure, Gone, libc, main
from worker import CATALOGS, Gate, die_after, die_before, fail, first, last

world = None  # what the test that runs now uses

TAKEN = {"message": "pool default has a thin device 7 that its catalog does not know", "errorNumber": 17}


def begin(*volumes, workers=4):
    world.configure(f"[Jobs]\nWorkers={workers}\n")
    world.worker.add_pool()
    world.start()
    for name in volumes:
        world.create(name)


def snapshot(*volumes, **parameters):
    """The names of those that were made."""
    return [s["name"] for s in world.call("Volume.Snapshot", volumes=volumes, **parameters)["snapshots"]]


def begin_snapshot(*volumes, **parameters):
    return world.begin("Volume.Snapshot", volumes=volumes, **parameters)


def snapshots():
    return world.names(type="snapshot")


def remove(name, **parameters):
    world.call("Volume.Remove", volume=name, **parameters)


def arrived(*calls):
    """quarryd has read these calls, and had its turn with them."""
    for call in calls:
        call.wait_until_read()
    for _ in range(3):
        world.call("Pool.List")


def outcome(call):
    try:
        call.result()
        return "done"
    except Failure as failure:
        return failure.kind


# --- what can be asked

@test
def a_snapshot_has_labels_from_the_first_on():
    begin("plain")
    world.create("labelled", labels=["a=1"])
    volumes = ["plain@s", "labelled@s"]
    for bad in (["b"], ["b=2", "b=3"], ["a=2"]):
        world.refused("BadRequest", "Volume.Snapshot", volumes=volumes, labels=bad)
    same(snapshots(), [], "nothing was made")
    snapshot(*volumes, labels=["b=2"])
    same(world.inspect("plain@s")["labels"], {"b": "2"}, "those asked for")
    same(world.inspect("labelled@s")["labels"], {"a": "1", "b": "2"}, "beside the volume's")
    same(world.inspect("labelled")["labels"], {"a": "1"}, "which has its own only")


@test
def a_snapshot_is_like_its_volume_and_shown_with_it():
    begin()
    world.create("db", labels=["a=1"], uid=7, filesystem="xfs", keySource="host")
    made, = world.call("Volume.Snapshot", volumes=["db@monday"])["snapshots"]
    volume = world.inspect("db")
    same((made["name"], made["type"], made["state"], made["held"]), ("db@monday", "snapshot", "ready", False))
    same((volume["type"], volume["snapshots"]), ("volume", 1))
    for field in ("tenant", "pool", "sizeBytes", "filesystem", "uid", "labels", "encryption"):
        same(made[field], volume[field], field)
    same(made["usedBytes"], 5 * MIB)
    same(world.inspect("default:default/db@monday")["uuid"], made["uuid"])
    same((world.names(), world.names(type="volume"), snapshots(), world.names(type="all")),
         (["db"], ["db"], ["db@monday"], ["db", "db@monday"]))
    same(world.pool()["volumes"], 1)
    job, = [job for verb, job, _ in world.worker.jobs if verb == "volume_snapshot"]
    same([(i["origin"]["uuid"], i["uuid"]) for i in job["images"]], [(volume["uuid"], made["uuid"])])
    world.restart()
    same(world.inspect("db@monday")["labels"], {"a": "1"})
    world.check_consistent()


@test
def names_are_given_or_made_of_the_time():
    begin("db", "web")
    same(snapshot("db@a", "web@b"), ["db@a", "web@b"])
    same(snapshot("web", "db", name="nightly"), ["web@nightly", "db@nightly"])  # in the order that was asked for
    names = [snapshot("db")[0] for _ in range(3)]
    same(len(set(names)), 3)
    for name in names:
        contains(name, "db@20", "Z")
    common = {name.partition("@")[2] for name in snapshot("db", "web")}
    same(len(common), 1)
    same(snapshot("db@20", "web")[0], "db@20")  # one of two is named
    world.check_consistent()


@test
def what_breaks_a_rule_is_refused_and_changes_nothing():
    begin("db", "web")
    world.worker.add_pool("other")
    world.restart()
    world.create("other:far")
    snapshot("db@one")
    before = world.names(type="all")
    jobs = world.worker.count("volume_snapshot")
    for kind, field, volumes, parameters in (
            ("BadRequest", "volumes", [], {}),
            ("BadRequest", "volumes", ["db"] * 65, {}),
            ("BadRequest", "volumes", ["db", "web", "db"], {}),
            ("BadRequest", "volumes", ["db@a", "db@b"], {}),
            ("BadRequest", "volumes", ["db", "default/db"], {}),
            ("BadRequest", "volumes", ["db@a b"], {}),
            ("BadRequest", "volumes", ["db@"], {}),
            ("BadRequest", "volumes", ["db@" + 65 * "a"], {}),
            ("BadRequest", "name", ["db"], {"name": "a@b"}),
            ("BadRequest", "name", ["db"], {"name": ""}),
            ("BadRequest", "name", ["db@x"], {"name": "y"}),
            ("NoSuchVolume", None, ["db", "nothing"], {}),
            ("NoSuchPool", None, ["nowhere:db"], {}),
            ("VolumeExists", None, ["db@one"], {}),
            ("VolumeExists", None, ["web", "db"], {"name": "one"}),
            ("NotSupported", None, ["web", "far"], {}),
            ("NotSupported", None, [world.inspect("db@one")["uuid"]], {})):
        failure = world.refused(kind, "Volume.Snapshot", volumes=volumes, **parameters)
        if field:
            same(failure.parameters.get("field"), field, str(volumes))
    contains(world.refused("NotSupported", "Volume.Snapshot", volumes=["web", "far"]).message, "web", "far", "pools")
    same((world.names(type="all"), world.worker.count("volume_snapshot")), (before, jobs))
    for name in (world.inspect("db")["uuid"], world.inspect("db@one")["uuid"]):
        contains(world.refused("NotSupported", "Volume.Hold" if name == world.inspect("db")["uuid"] else
                               "Volume.Mount", volume=name).message, "db")
    same(snapshot("web@one"), ["web@one"])  # of another volume
    world.check_consistent()


@test
def one_that_is_held_is_not_removed():
    begin("db")
    snapshot("db@one")
    snapshot("db@two")
    for _ in range(2):  # again is no failure
        world.call("Volume.Hold", volume="db@one")
    same(world.inspect("db@one")["held"], True)
    world.restart()
    same(world.inspect("db@one")["held"], True)
    failure = world.refused("VolumeBusy", "Volume.Remove", volume="db@one")
    contains(failure.message, "is held")
    same(failure.parameters["hint"], "quarry release db@one")
    contains(world.refused("VolumeBusy", "Volume.Remove", volume="db", snapshots=True).message, "db@one", "held")
    contains(world.refused("VolumeBusy", "Volume.Remove", volume="db").message, "has 2 snapshots", "db@two")
    same(world.names(type="all"), ["db", "db@one", "db@two"])
    for _ in range(2):
        world.call("Volume.Release", volume="db@one")
    remove("db", snapshots=True)
    same(world.names(type="all"), [])
    same(world.worker.left(), {})
    world.check_consistent()


@test
def a_volume_goes_with_its_snapshots_or_stays_with_those_that_are_used():
    begin("db")
    snapshot("db@one")
    snapshot("db@two")
    world.call("Volume.Mount", volume="db@one", readOnly=True)
    world.refused("VolumeBusy", "Volume.Remove", volume="db", snapshots=True)
    world.call("Volume.Unmount", volume="db@one")
    world.call("Volume.Mount", volume="db")
    world.refused("VolumeBusy", "Volume.Remove", volume="db", snapshots=True)
    world.call("Volume.Unmount", volume="db")
    same(world.names(type="all"), ["db", "db@one", "db@two"])  # what is refused has done nothing
    gate = Gate()  # somebody else removes it at the same time
    world.worker.rule("volume_remove", gate, name="db@one")
    alone = world.begin("Volume.Remove", volume="db@one")
    gate.wait()
    whole = world.begin("Volume.Remove", volume="db", snapshots=True)
    arrived(whole)
    gate.release()
    same((outcome(alone), outcome(whole)), ("done", "done"))
    same(world.names(type="all"), [])
    world.check_consistent()


@test
def a_hint_names_the_tenant():
    world.worker.add_pool()
    world.start()
    world.call("Tenant.Create", name="acme")
    world.create("acme/db")
    snapshot("acme/db@one")
    contains(world.refused("VolumeBusy", "Volume.Remove", volume="acme/db").parameters["hint"], "--snapshots acme/db")
    world.call("Volume.Hold", volume="acme/db@one")
    contains(world.refused("VolumeBusy", "Volume.Remove", volume="acme/db@one").parameters["hint"], "release acme/db@one")


@test
def a_schedule_that_is_set_anew_while_its_run_waits_runs_once():
    def every_second(job):
        base = job["calendar"]["baseUsec"]
        return {"elapses": [(base // 1000000 + 1) * 1000000 for _ in job["calendar"]["expressions"]]}
    world.worker.host_calendar = every_second
    names = ["a", "b", "c"]
    begin(*names)
    gate = Gate()
    world.worker.rule("volume_snapshot", gate)
    for name in names:
        world.call("Volume.Update", volume=name, snapshotSchedule="hourly keep 50")
    gate.wait()
    time.sleep(1.5)  # all are due by now, one is being made
    for schedule in ("none", "hourly keep 50"):
        for name in names[1:]:  # the first is the one
            world.call("Volume.Update", volume=name, snapshotSchedule=schedule)
    gate.release()
    eventually(lambda: all(f"{name}@" in " ".join(snapshots()) for name in names), "one of each")
    time.sleep(1.5)
    stamps = [re.sub(r"-[0-9]+$", "", name) for name in snapshots()]
    same(max(stamps.count(stamp) for stamp in stamps) <= 2, True, str(stamps))  # two in a second at most
    for name in names:
        world.call("Volume.Update", volume=name, snapshotSchedule="none")
    world.check_consistent()


# --- all or none

@test
def a_group_that_fails_leaves_nothing():
    begin("a", "b", "c")
    for what, rule, kind in (("fails", fail("NoSpace", "full"), "NoSpace"),
                             ("could not undo", fail("Failed", "no", undoFailed=True), "Failed"),
                             ("dies before", die_before, "WorkerDied"),
                             ("dies after", die_after, "WorkerDied")):
        world.worker.rule("volume_snapshot", rule)
        world.refused(kind, "Volume.Snapshot", volumes=["a", "b", "c"], name="x")
        same(snapshots(), [], what)
        world.check_consistent()
        same(snapshot("a", "b", "c", name="x"), ["a@x", "b@x", "c@x"])
        for name in "abc":
            remove(f"{name}@x")
    same([world.inspect(name)["snapshots"] for name in "abc"], [0, 0, 0])
    world.restart()
    same(snapshots(), [])


@test
def what_cannot_be_undone_is_broken_and_goes_by_hand():
    begin("a", "b")
    world.worker.rule("volume_snapshot", fail("Failed", "no", undoFailed=True))
    world.worker.rule("volume_remove", fail("Failed", "not this one"), name="a@x")
    failure = world.refused("Failed", "Volume.Snapshot", volumes=["a", "b"], name="x")
    same((failure.parameters["undoFailed"], failure.parameters["hint"]),
         (True, "what is left of it goes with: quarry rm a@x"))
    same([(v["name"], v["state"]) for v in world.volumes(type="snapshot")], [("a@x", "broken")])
    world.refused("VolumeBroken", "Volume.Mount", volume="a@x", readOnly=True)
    world.refused("VolumeBroken", "Volume.Hold", volume="a@x")
    remove("a@x")
    world.check_consistent()


@test
def a_thin_id_that_is_taken_in_the_pool_is_passed_over():
    begin("a", "b")
    world.worker.rule("volume_snapshot", fail("Failed", **TAKEN), times=2)
    snapshot("a", "b", name="x")
    same((world.worker.count("volume_snapshot"), world.worker.count("volume_remove")), (3, 0))
    ids = [i["thinId"] for verb, job, _ in world.worker.jobs if verb == "volume_snapshot" for i in job["images"]]
    same(len(set(ids)), 6)
    world.restart()
    same(snapshots(), ["a@x", "b@x"])
    world.worker.rule("volume_snapshot", fail("Failed", **TAKEN), times=99)
    world.refused("Failed", "Volume.Snapshot", volumes=["a", "b"], name="y")
    world.worker.forget_rules()
    same((snapshots(), world.worker.count("volume_remove")), (["a@x", "b@x"], 0))
    world.check_consistent()


@test
def a_restart_in_the_middle_leaves_all_or_none():
    begin("a", "b")
    snapshot("a@old")
    for moment, rule in (("before", first), ("after", last)):
        world.worker.rule("volume_snapshot", rule(world.kill))
        with contextlib.suppress(Gone, OSError):
            snapshot("a", "b", name="x")
        eventually(lambda: world.process is None, "quarryd is killed")
        world.worker.forget_rules()
        world.start()
        world.check_consistent()
        same(snapshots(), ["a@old"], moment)
    world.worker.after_answer["volume_snapshot"] = world.kill
    with contextlib.suppress(Gone, OSError):
        snapshot("a", "b", name="x")
    eventually(lambda: world.process is None, "quarryd is killed")
    world.start()
    world.check_consistent()
    assert snapshots() in (["a@old"], ["a@old", "a@x", "b@x"]), snapshots()
    remove("a", snapshots=True)
    world.check_consistent()


# --- volumes that others work on

@test
def while_it_is_made_others_wait_for_it_and_its_volume():
    begin("db", "web")
    gate = Gate()
    world.worker.rule("volume_snapshot", gate)
    call = begin_snapshot("db@one")
    gate.wait()
    same(world.inspect("db@one")["state"], "creating")
    world.call("Volume.Mount", volume="web")
    calls = [world.begin("Volume.Mount", volume="db"), world.begin("Volume.Hold", volume="db@one"),
             world.begin("Volume.Remove", volume="db@one"), world.begin("Volume.Release", volume="db@one"),
             world.begin("Volume.Remove", volume="db@one"), begin_snapshot("db@two"),
             world.begin("Volume.Remove", volume="db")]
    arrived(*calls)
    same(world.worker.verbs("db")[-1], "volume_create")
    gate.release()
    same(outcome(call), "done")
    same([outcome(c) for c in calls],
         ["done", "done", "VolumeBusy", "done", "done", "done", "VolumeBusy"])
    same(snapshots(), ["db@two"])
    world.call("Volume.Unmount", volume="db")
    world.check_consistent()


@test
def one_that_fails_is_gone_for_those_who_wait_for_it():
    begin("db")
    for rule in (fail("NoSpace", "full"), die_after):
        gate = Gate()
        world.worker.rule("volume_snapshot", lambda job, work, rule=rule: gate(job, lambda: rule(job, work)))
        call = begin_snapshot("db@one")
        gate.wait()
        calls = [world.begin("Volume.Hold", volume="db@one"),
                 world.begin("Volume.Mount", volume="db@one", readOnly=True),
                 world.begin("Volume.Remove", volume="db@one")]
        arrived(*calls)
        gate.release()
        assert outcome(call) in ("NoSpace", "WorkerDied")
        same([outcome(c) for c in calls], ["NoSuchVolume"] * 3)
        world.check_consistent()
    remove("db")


@test
def a_group_waits_for_what_runs_on_any_of_its_volumes():
    begin("a", "b")
    gate = Gate()
    world.worker.rule("volume_mount", gate, name="b")
    mount = world.begin("Volume.Mount", volume="b")
    gate.wait()
    call = begin_snapshot("a", "b", name="x")
    arrived(call)
    same((world.worker.count("volume_snapshot"), snapshots()), (0, []))
    contains(world.refused("PoolBusy", "Pool.Export", name="default").message, "jobs are running")
    gate.release()
    mount.result()
    call.result()
    same(snapshots(), ["a@x", "b@x"])
    world.call("Volume.Unmount", volume="b")
    world.check_consistent()


@test
def a_volume_that_goes_while_a_group_waits_fails_the_group():
    begin("a", "b", "c")
    mounting, removing = Gate(), Gate()
    world.worker.rule("volume_mount", mounting, name="a")
    world.worker.rule("volume_remove", removing, name="b")
    mount = world.begin("Volume.Mount", volume="a")
    mounting.wait()
    remove_b = world.begin("Volume.Remove", volume="b")
    removing.wait()
    groups = [begin_snapshot(*names, name="x") for names in ("abc", "cb", "b")]
    later = begin_snapshot("c@later")
    arrived(*groups, later)
    removing.release()
    same(outcome(remove_b), "done")
    same([outcome(g) for g in groups[1:]], ["NoSuchVolume"] * 2)
    mounting.release()
    same((outcome(mount), outcome(groups[0]), outcome(later)), ("done", "NoSuchVolume", "done"))
    same(snapshots(), ["c@later"])
    world.call("Volume.Unmount", volume="a")
    same(snapshot("a", "c", name="x"), ["a@x", "c@x"])
    world.check_consistent()


@test
def a_volume_that_goes_with_its_snapshots_does_not_wait_for_those_behind_it():
    begin("a", "b")
    snapshot("a@old")
    gate = Gate()
    world.worker.rule("volume_mount", gate, name="a")
    mount = world.begin("Volume.Mount", volume="a", detached=True)
    gate.wait()
    whole = world.begin("Volume.Remove", volume="a", snapshots=True)
    arrived(whole)
    group = begin_snapshot("b", "a", name="x")
    arrived(group)
    gate.release()
    mount.result()
    for fd in mount.fds:
        os.close(fd)
    same((outcome(whole), outcome(group)), ("done", "NoSuchVolume"))
    same(world.names(type="all"), ["b"])
    world.check_consistent()


@test
def a_volume_that_is_being_made_is_waited_for():
    begin()
    gate = Gate()
    world.worker.rule("volume_create", gate)
    create = world.begin_create("db")
    gate.wait()
    call = begin_snapshot("db@one")
    arrived(call)
    gate.release()
    create.result()
    same(outcome(call), "done")
    gate = Gate()
    world.worker.rule("volume_create", lambda job, work: gate(job, lambda: fail("Failed", "no")(job, work)))
    create = world.begin_create("web")
    gate.wait()
    call = begin_snapshot("web", "db", name="two")
    arrived(call)
    gate.release()
    same((outcome(create), outcome(call)), ("Failed", "NoSuchVolume"))
    same(snapshots(), ["db@one"])
    world.check_consistent()


@test
def groups_over_the_same_volumes_do_not_wait_for_each_other_for_ever():
    names = [f"v{i}" for i in range(6)]
    begin(*names)
    world.worker.rule("volume_snapshot", lambda job, work: (time.sleep(0.002), work())[1], times=999)
    calls = []
    for turn in range(24):
        members = random.Random(turn).sample(names, 4)
        calls.append(begin_snapshot(*members, name=f"s{turn}"))
    for call in calls:
        same(len(call.result()["snapshots"]), 4)
    same(len(snapshots()), 96)
    world.check_consistent()


@test
def many_clients_make_and_remove_them():
    names = ["a", "b", "c"]
    begin(*names)
    wrong, over = [], time.monotonic() + 2

    def client(number):
        dice = random.Random(number)
        while time.monotonic() < over:
            name, other, label = dice.choice(names), dice.choice(names), f"s{dice.randrange(3)}"
            method, parameters = dice.choice((
                ("Snapshot", {"volumes": list({name, other}), "name": label}),
                ("Remove", {"volume": f"{name}@{label}"}), ("Hold", {"volume": f"{name}@{label}"}),
                ("Release", {"volume": f"{name}@{label}"}), ("Remove", {"volume": name, "snapshots": True}),
                ("Create", {"volume": name, "sizeBytes": GIB, "ifAbsent": True})))
            if dice.randrange(8) == 0:
                world.worker.rule(dice.choice(("volume_snapshot", "volume_remove")),
                                  dice.choice((fail("Failed", "no"), die_after, fail("Failed", "no", undoFailed=True))))
            try:
                world.call(f"Volume.{method}", **parameters)
            except Failure as failure:
                if failure.kind not in ("NoSuchVolume", "VolumeBusy", "VolumeExists", "VolumeBroken", "Failed",
                                        "WorkerDied", "BadRequest"):
                    wrong.append(f"{method}: {failure}")
            except Exception as e:  # noqa: BLE001 - whatever it is, it is wrong
                wrong.append(f"{method}: {e!r}")

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(wrong, [])
    world.worker.forget_rules()
    for v in world.volumes(type="all"):
        if v["state"] in ("broken", "removing"):  # a rule made it so
            with contextlib.suppress(Failure):  # it may have snapshots
                remove(v["name"])
    for v in world.volumes(type="snapshot"):
        world.call("Volume.Release", volume=v["name"]) if v["held"] else None
    for v in world.volumes():
        remove(v["name"], snapshots=True)
    same(world.names(type="all"), [])
    eventually(lambda: not world.worker.left(), "what was large is freed behind the answer")
    assert world.worker.count("volume_snapshot") > 20, world.worker.count("volume_snapshot")


# --- the catalog

def the_catalog_fails(prepare):
    """prepare(fail) has it fail, now or later."""
    begin("a", "b", *(f"old{i}" for i in range(30)))
    pool, pid = world.pool()["uuid"], world.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)

    def limit():  # writes beyond this end in an error, as on a disk that fails
        log = os.stat(f"{CATALOGS}/{pool}/catalog.db-wal").st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (log, before[1]))

    prepare(limit)
    contains(world.refused("Failed", "Volume.Snapshot", volumes=["a", "b"], name="x").message, "cannot write")
    same(world.pool()["state"], "unavailable")
    world.refused("PoolUnavailable", "Volume.Snapshot", volumes=["a"])
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    eventually(lambda: world.pool()["state"] == "active", "the pool comes back", 60)
    eventually(lambda: "creating" not in [v["state"] for v in world.volumes(type="all")], "it is undone")
    same(snapshots(), [])
    world.check_consistent()
    same(snapshot("a", "b", name="x"), ["a@x", "b@x"])


@test
def a_catalog_that_fails_before_they_are_made_is_told():
    the_catalog_fails(lambda limit: limit())


@test
def a_catalog_that_fails_when_they_were_made_is_told():
    the_catalog_fails(lambda limit: world.worker.rule("volume_snapshot", last(limit)))


@test
def a_full_catalog_is_told_and_leaves_nothing():
    world.configure("[Jobs]\nWorkers=4\n")
    pool = world.worker.add_pool()
    os.makedirs(f"{CATALOGS}/{pool}")
    if libc.mount(b"tmpfs", f"{CATALOGS}/{pool}".encode(), b"tmpfs", 0, b"size=1m") < 0:
        return "needs a mount"
    try:
        world.start()
        for name in "abcd":
            world.create(name, labels=[f"l={'x' * 1000}"])
        with contextlib.suppress(OSError), open(f"{CATALOGS}/{pool}/filler", "wb", buffering=0) as f:
            while f.write(b"x" * 4096):
                pass
        made = 0
        for made in range(99):
            try:
                snapshot(*"abcd", name=f"s{made}")
            except Failure as failure:
                same(failure.kind, "NoSpace")
                break
        os.unlink(f"{CATALOGS}/{pool}/filler")
        for v in world.volumes(type="snapshot"):
            if v["state"] == "broken":  # made, and then its row could not be written
                remove(v["name"])
        same(len(snapshots()), 4 * made)
        world.restart()
        same(len(snapshots()), 4 * made)
        world.check_consistent()
    finally:
        if world.process:
            world.stop()
        libc.umount2(f"{CATALOGS}/{pool}".encode(), 2)
    return None


if __name__ == "__main__":
    sys.exit(main())
