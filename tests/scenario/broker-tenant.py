#!/usr/bin/python3
"""Tenants: what they may have, who makes and removes them, and what a restart leaves. TAP on stdout."""

import contextlib
import glob
import json
import sqlite3
import sys
import threading

from tap import contains, eventually, same, test
from world import GIB, Call, Failure, as_user, connect_as, main
from wire import connect, sealed
from worker import CATALOGS, Gate, die_after, fail

world = None  # what the test that runs now uses

ALICE, BOB = 4001, 4002


def begin(**limits):
    world.worker.add_pool()
    world.start()
    return tenant("acme", users=[ALICE], **limits)


def tenant(name, **parameters):
    return world.call("Tenant.Create", name=name, **parameters)["tenant"]


def tenants():
    return [t["name"] for t in world.call("Tenant.List")["tenants"]]


def use(name="acme"):
    have = world.call("Tenant.Inspect", name=name)["tenant"]
    return (have["volumes"], have["snapshots"], have["sizeBytes"] // GIB)


def by(uid, method, **parameters):
    """What a user is answered: the reply, or the kind of the error and its text."""
    def call():
        try:
            return Call(world.socket, f"io.quarry.{method}", parameters).result()
        except Failure as failure:
            return f"{failure.kind}: {failure.message}"
    return as_user(uid, uid, [], call)


@test
def a_tenant_survives_a_restart_with_all_that_it_has():
    made = begin(groups=[77], maxVolumes=3, maxSizeBytes=10 * GIB, snapshotSchedule="hourly keep 3")
    same((made["users"], made["groups"], made["maxVolumes"], made["maxSizeBytes"], "maxSnapshots" in made),
         ([ALICE], [77], 3, 10 * GIB, False))
    world.create("acme/db", 2 * GIB)
    world.call("Volume.Snapshot", volumes=["acme/db@s"])
    before = world.call("Tenant.Inspect", name="acme")
    world.restart()
    same(world.call("Tenant.Inspect", name="acme"), before)
    same(use(), (1, 1, 2))


@test
def limits_are_told_with_use_and_request():
    begin(maxVolumes=2, maxSnapshots=1, maxSizeBytes=4 * GIB)
    world.create("acme/a", 2 * GIB)
    contains(world.refused("QuotaExceeded", "Volume.Create", volume="acme/b", sizeBytes=3 * GIB).message,
             "acme", "4G", "2G", "3G")
    world.create("acme/b", GIB)
    contains(world.refused("QuotaExceeded", "Volume.Create", volume="acme/c", sizeBytes=GIB).message, "2 volumes")
    world.refused("QuotaExceeded", "Volume.Resize", volume="acme/a", addBytes=2 * GIB)
    world.refused("QuotaExceeded", "Volume.Resize", volume="acme/a", addBytes=2 * GIB, dryRun=True)
    same(world.call("Volume.Resize", volume="acme/a", addBytes=GIB, dryRun=True)["volume"]["sizeBytes"], 2 * GIB)
    world.call("Volume.Resize", volume="acme/a", addBytes=GIB)
    world.call("Volume.Snapshot", volumes=["acme/a@one"])
    contains(world.refused("QuotaExceeded", "Volume.Snapshot", volumes=["acme/b@two"]).message,
             "may have 1 snapshot, has 1, and 1 more is asked for")
    contains(world.refused("QuotaExceeded", "Volume.Snapshot", volumes=["acme/a@two", "acme/b@two"]).message,
             "may have 1 snapshot, has 1, and 2 more are asked for")
    world.refused("QuotaExceeded", "Volume.Rollback", volume="acme/a@one")  # what is there now becomes one
    world.refused("QuotaExceeded", "Volume.Rollback", volume="acme/a@one", dryRun=True)
    world.call("Volume.Rollback", volume="acme/a@one", discardCurrent=True, dryRun=True)
    same(world.worker.count("volume_rollback"), 0, "which is only said")
    world.refused("QuotaExceeded", "Volume.Clone", volume="acme/a@one", name="acme/c")
    same(use(), (2, 1, 4))
    world.call("Volume.Remove", volume="acme/b")
    same(use(), (1, 1, 3))
    world.create("default/b")  # nobody else is limited by it
    world.check_consistent()


@test
def racing_clients_get_exactly_what_is_allowed():
    begin(maxSizeBytes=5 * GIB)
    gate = Gate()
    world.worker.rule("volume_create", gate)  # nothing is made before all have asked
    outcomes = []

    def create(n):
        try:
            world.call("Volume.Create", volume=f"acme/v{n}", sizeBytes=GIB)
            outcomes.append("made")
        except Failure as failure:
            outcomes.append(failure.name.rpartition(".")[2])
    threads = [threading.Thread(target=create, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    eventually(lambda: outcomes.count("QuotaExceeded") == 27, "those above the limit to be refused")
    gate.release()
    for thread in threads:
        thread.join()
    same((outcomes.count("made"), outcomes.count("QuotaExceeded")), (5, 27))
    same(use(), (5, 0, 5))
    world.check_consistent()


@test
def what_fails_gives_its_share_back():
    begin(maxVolumes=1, maxSnapshots=1, maxSizeBytes=4 * GIB)
    world.worker.rule("volume_create", fail("NoSpace", "full"))
    world.refused("NoSpace", "Volume.Create", volume="acme/a", sizeBytes=4 * GIB)
    same(use(), (0, 0, 0))
    world.create("acme/a", 2 * GIB)
    world.worker.rule("volume_snapshot", fail("NoSpace", "full"))
    world.refused("NoSpace", "Volume.Snapshot", volumes=["acme/a@s"])
    world.worker.rule("volume_grow", fail("NoSpace", "full"))
    world.refused("NoSpace", "Volume.Resize", volume="acme/a", addBytes=2 * GIB)
    same(use(), (1, 0, 2))


@test
def the_limit_of_a_tenant_is_not_below_what_it_has():
    begin()
    world.create("acme/a", 2 * GIB)
    refusal = world.refused("BadRequest", "Tenant.Update", name="acme", maxSizeBytes=GIB)
    same(refusal.parameters["field"], "maxSizeBytes")
    same(world.call("Tenant.Update", name="acme", maxSizeBytes=2 * GIB)["tenant"]["maxSizeBytes"], 2 * GIB)
    world.refused("QuotaExceeded", "Volume.Create", volume="acme/b", sizeBytes=GIB)
    same("maxSizeBytes" in world.call("Tenant.Update", name="acme", removeLimits=["maxSizeBytes"])["tenant"], False)
    world.refused("BadRequest", "Tenant.Update", name="acme", removeLimits=["maxNothing"])
    world.create("acme/b", 3 * GIB)


@test
def a_tenant_that_owns_something_stays():
    begin()
    world.create("acme/a")
    contains(world.refused("TenantBusy", "Tenant.Remove", name="acme").message, "1 volume ")
    world.call("Volume.Remove", volume="acme/a")
    world.call("Tenant.Remove", name="acme")
    same(tenants(), [])
    world.refused("NoSuchTenant", "Tenant.Remove", name="acme")
    world.refused("NoSuchTenant", "Volume.Create", volume="acme/a", sizeBytes=GIB)
    world.restart()
    same(tenants(), [])


@test
def names_and_members_are_judged():
    begin()
    for name in ("", ".", "..", "Acme", "a/b", "a" * 33, "1a"):
        same(world.refused("BadRequest", "Tenant.Create", name=name).parameters["field"], "name")
    world.refused("BadRequest", "Tenant.Create", name="default")
    world.refused("TenantExists", "Tenant.Create", name="acme")
    world.refused("NoSuchPool", "Tenant.Create", name="beta", pool="none")
    world.refused("BadRequest", "Tenant.Create", name="beta", users=[0xffffffff])
    world.refused("BadRequest", "Tenant.Create", name="beta", snapshotSchedule="sometimes")
    for users in (["1"], [-1], [1 << 32], list(range(257))):
        world.refused("org.varlink.service.InvalidParameter", "Tenant.Create", name="beta", users=users)
    same(tenants(), ["acme"])


@test
def members_work_with_their_tenants_volumes():
    begin()
    tenant("beta", users=[BOB])
    contains(by(ALICE, "Volume.Create", volume="db", sizeBytes=GIB), "'tenant': 'acme'", f"'uid': {ALICE}",
             f"'mode': {0o700}")
    contains(by(ALICE, "Volume.Snapshot", volumes=["db@s"]), "acme")
    contains(by(ALICE, "Volume.Mount", volume="acme/db"), "/run/quarry/mnt/acme/db")
    contains(by(ALICE, "Volume.Inspect", volume=world.inspect("acme/db")["uuid"]), "'name': 'db'")
    contains(by(BOB, "Volume.Inspect", volume=world.inspect("acme/db")["uuid"]), "NoSuchVolume")
    contains(by(BOB, "Volume.List"), "'volumes': []")
    contains(by(BOB, "Volume.Create", volume="db", sizeBytes=GIB), "'tenant': 'beta'")
    contains(by(ALICE, "Volume.Clone", volume="db@s", name="beta/stolen"), "PermissionDenied")
    contains(by(ALICE, "Volume.Clone", volume="db@s", name="copy"), "'tenant': 'acme'")
    world.call("Tenant.Update", name="beta", addUsers=[ALICE])
    contains(by(ALICE, "Volume.Inspect", volume="db"), "BadRequest", "acme, beta")
    world.call("Tenant.Update", name="acme", removeUsers=[ALICE])
    contains(by(ALICE, "Volume.Inspect", volume="acme/db"), "NoSuchVolume")
    contains(by(ALICE, "Volume.Inspect", volume="db"), "'tenant': 'beta'")


@test
def a_tenants_schedule_is_that_of_its_volumes():
    begin(snapshotSchedule="daily keep 2")
    world.call("Pool.Update", name="default", snapshotSchedule="hourly keep 1")

    def rules(name):
        return [r["expression"] for r in world.inspect(name).get("scheduleRules", [])]
    world.create("acme/a")
    world.create("b")
    same((rules("acme/a"), rules("b")), (["daily"], ["hourly"]))
    world.call("Volume.Update", volume="acme/a", snapshotSchedule="weekly keep 1")
    same(rules("acme/a"), ["weekly"])
    world.call("Volume.Update", volume="acme/a", snapshotSchedule="default")
    same(rules("acme/a"), ["daily"])
    world.call("Tenant.Update", name="acme", snapshotSchedule="none")
    same((rules("acme/a"), rules("b")), ([], ["hourly"]))
    world.restart()
    same(rules("acme/a"), [])
    world.call("Tenant.Update", name="acme", snapshotSchedule="default")
    same(rules("acme/a"), ["hourly"])


@test
def a_schedule_goes_on_at_the_limit():
    def every_second(job):
        base = job["calendar"]["baseUsec"]
        return {"elapses": [(base // 1000000 + 1) * 1000000 for _ in job["calendar"]["expressions"]]}
    world.worker.host_calendar = every_second
    begin(maxSnapshots=2, snapshotSchedule="*:*:* keep 2")
    world.create("acme/a")

    def names():
        return world.names(type="snapshot")
    eventually(lambda: len(names()) == 2, "two snapshots", 20)
    before = names()
    eventually(lambda: not set(before) & set(names()), "two others", 20)
    same(use()[1] <= 3, True)


@test
def a_tenant_in_two_pools_is_one_name_space():
    world.worker.add_pool("default")
    world.worker.add_pool("fast")
    world.start()
    tenant("acme", users=[ALICE], maxVolumes=1)
    tenant("acme", pool="fast", users=[BOB], maxVolumes=5)
    world.create("acme/a")
    world.refused("QuotaExceeded", "Volume.Create", volume="acme/b", sizeBytes=GIB)
    same(world.create("fast:acme/b")["pool"], "fast")
    world.refused("VolumeExists", "Volume.Create", volume="fast:acme/a", sizeBytes=GIB)
    contains(by(BOB, "Volume.Inspect", volume="acme/a"), "NoSuchVolume")
    contains(by(BOB, "Volume.Create", volume="c", sizeBytes=GIB), "'pool': 'fast'")
    contains(by(BOB, "Volume.Create", volume="a", sizeBytes=GIB), "VolumeExists: volume a exists already")
    contains(by(BOB, "Volume.Create", volume="default:x", sizeBytes=GIB), "PermissionDenied", "in pool default")
    for method in ("Inspect", "Update", "Remove"):
        same(world.refused("BadRequest", f"Tenant.{method}", name="acme").parameters["field"], "pool")
    contains(world.refused("TenantBusy", "Tenant.Remove", name="acme", pool="fast").message, "2 volumes")


@test
def volumes_from_before_there_were_tenants_have_one():
    begin()
    world.create("acme/a")
    world.stop()
    with sqlite3.connect(glob.glob(f"{CATALOGS}/*/catalog.db")[0]) as catalog:
        catalog.execute("DELETE FROM tenant")
    catalog.close()
    world.start()
    same(use(), (1, 0, 1))
    contains(by(ALICE, "Volume.Inspect", volume="acme/a"), "NoSuchVolume")
    world.call("Tenant.Update", name="acme", addUsers=[ALICE])
    world.restart()
    contains(by(ALICE, "Volume.Inspect", volume="acme/a"), "'name': 'a'")


@test
def who_asks_for_much_does_not_keep_others_waiting():
    world.configure("[Jobs]\nWorkers=1\n")
    begin()
    tenant("beta", users=[BOB])
    gate = Gate()
    world.worker.rule("volume_create", gate)

    def hammer():
        calls = [Call(world.socket, "io.quarry.Volume.Create", {"volume": f"a{n}", "sizeBytes": GIB}) for n in range(12)]
        return [call.result()["volume"]["name"] for call in calls]
    thread = threading.Thread(target=lambda: as_user(ALICE, ALICE, [], hammer))
    thread.start()
    eventually(lambda: len(world.names(tenant="acme")) == 12, "all that is asked for")
    other = threading.Thread(target=lambda: by(BOB, "Volume.Create", volume="b", sizeBytes=GIB))
    other.start()
    eventually(lambda: world.names(tenant="beta") == ["b"], "the other's")
    world.call("Tenant.Update", name="beta", maxVolumes=1)  # durable behind the row of b, which then waits for a worker
    gate.release()
    thread.join()
    other.join()
    with world.worker.lock:
        order = [job["volume"]["name"] for verb, job, _ in world.worker.jobs if verb == "volume_create"
                 and job["volume"].get("role") != "template"]
    same((len(order), order.index("b") <= 3), (13, True), f"{order}")  # looks of root take turns as well


@test
def a_tenant_of_many_users_does_not_keep_others_waiting():
    world.configure("[Jobs]\nWorkers=1\n")
    world.worker.add_pool()
    world.start()
    tenant("acme", groups=[ALICE])
    tenant("beta", users=[BOB])
    gate = Gate()
    world.worker.rule("volume_create", gate)

    def ask(name, uid, groups):
        return Call(world.socket, "io.quarry.Volume.Create", {"volume": name, "sizeBytes": GIB},
                    connection=connect_as(world.socket, uid, groups))
    calls = [ask(f"a{n}", 60100 + n, [ALICE]) for n in range(12)]
    eventually(lambda: len(world.names(tenant="acme")) == 12, "all that is asked for")
    calls.append(ask("b", BOB, []))
    eventually(lambda: world.names(tenant="beta") == ["b"], "the other's")
    world.call("Tenant.Update", name="beta", maxVolumes=1)  # durable behind the row of b, which then waits for a worker
    gate.release()
    for call in calls:
        call.result()
    with world.worker.lock:
        order = [job["volume"]["name"] for verb, job, _ in world.worker.jobs if verb == "volume_create"
                 and job["volume"].get("role") != "template"]
    same((len(order), order.index("b") <= 3), (13, True), f"{order}")  # looks of root take turns as well


@test
def a_worker_that_dies_changes_nothing_of_what_is_owned():
    begin(maxVolumes=1)
    world.worker.rule("volume_create", die_after)
    world.refused("WorkerDied", "Volume.Create", volume="acme/a", sizeBytes=GIB)
    same(use(), (0, 0, 0))
    world.create("acme/a")
    same(use(), (1, 0, 1))


@test
def what_is_being_freed_brings_its_tenant_not_back():
    begin()
    world.create("acme/a", 20 * GIB)
    world.restart()  # what it uses is not known, and may be much
    world.worker.rule("volume_free", fail("Failed", "not now"), times=1000)
    world.call("Volume.Remove", volume="acme/a")
    world.call("Tenant.Remove", name="acme")
    world.kill()
    world.start()
    same(tenants(), [])
    world.worker.forget_rules()
    tenant("acme", users=[BOB])


@test
def what_a_rollback_comes_to_have_counts_while_it_runs():
    begin(maxSnapshots=2, maxSizeBytes=5 * GIB)
    world.create("acme/a", 4 * GIB)
    world.create("acme/b")
    world.call("Volume.Snapshot", volumes=["acme/a@s"])
    world.call("Volume.Resize", volume="acme/a", sizeBytes=GIB)
    for rule, left in ((fail("NoSpace", "full"), (2, 1, 2)), (lambda job, work: work(), (2, 2, 5))):
        gate = Gate()

        def held(job, work, gate=gate, rule=rule):
            return gate(job, lambda: rule(job, work))
        world.worker.rule("volume_rollback", held)
        rollback = world.begin("Volume.Rollback", volume="acme/a@s")
        gate.wait()
        same(use(), (2, 2, 5))
        world.refused("QuotaExceeded", "Volume.Snapshot", volumes=["acme/b@s"])
        world.refused("QuotaExceeded", "Volume.Create", volume="acme/c", sizeBytes=GIB)
        gate.release()
        with contextlib.suppress(Failure):
            rollback.result()
        same(use(), left)
    world.call("Volume.Rollback", volume="acme/a@s", discardCurrent=True)
    same(use(), (2, 2, 5))


@test
def a_limit_that_is_being_lowered_holds_already():
    begin()
    gate = Gate()
    world.worker.rule("host_calendar", gate)
    update = world.begin("Tenant.Update", name="acme", maxVolumes=0, snapshotSchedule="weekly keep 1")
    gate.wait()
    world.refused("QuotaExceeded", "Volume.Create", volume="acme/a", sizeBytes=GIB)
    gate.release()
    same(update.result()["tenant"]["maxVolumes"], 0)
    gate = Gate()
    world.worker.rule("host_calendar", gate)
    update = world.begin("Tenant.Update", name="acme", maxVolumes=1, snapshotSchedule="daily keep 1")
    gate.wait()
    world.refused("QuotaExceeded", "Volume.Create", volume="acme/a", sizeBytes=GIB)  # one that is raised not yet
    gate.release()
    update.result()
    world.create("acme/a")


@test
def members_in_one_pool_learn_nothing_of_the_volumes_in_another():
    world.worker.add_pool("default")
    world.worker.add_pool("fast")
    world.start()
    tenant("acme", users=[ALICE])
    tenant("acme", pool="fast", users=[BOB])
    same_as = {"sizeBytes": GIB, "ifAbsent": True}
    gate = Gate()
    world.worker.rule("volume_create", gate)
    running = world.begin("Volume.Create", volume="fast:acme/a", sizeBytes=GIB, uid=ALICE, gid=ALICE, mode=0o700)
    gate.wait()
    for moment in ("while it is made", "once it is"):
        for volume in ("a", "fast:acme/a", "default:acme/a"):
            answer = by(ALICE, "Volume.Create", volume=volume, **same_as)
            same(answer in ("VolumeExists: volume a exists already",
                            f"PermissionDenied: user {ALICE} may not create volumes of tenant acme in pool fast"), True,
                 f"{volume} {moment}: {answer}")
        gate.release()
        if moment == "while it is made":
            running.result()


@test
def a_member_of_several_tenants_may_name_a_uuid():
    begin()
    tenant("beta", users=[ALICE, BOB])
    world.create("acme/a")
    uuid = world.inspect("acme/a")["uuid"]
    contains(by(ALICE, "Volume.Inspect", volume=uuid), "'name': 'a'")
    world.call("Tenant.Update", name="acme", removeUsers=[ALICE])
    tenant("gamma", users=[ALICE])
    contains(by(ALICE, "Volume.Inspect", volume=uuid), "NoSuchVolume")


@test
def a_member_leaves_no_more_calls_behind_than_there_can_be_connections():
    begin()
    world.create("acme/a")
    gate = Gate()
    world.worker.rule("volume_trim", gate)
    trim = json.dumps({"method": "io.quarry.Volume.Trim", "parameters": {"volume": "a"}, "oneway": True})

    def flood():
        connection = connect(world.socket)
        for _ in range(300):
            connection.send_bytes((trim.encode() + b"\0") * 10)
        return "sent"
    same(as_user(ALICE, ALICE, [], flood), "sent")
    eventually(lambda: "Overloaded" in by(ALICE, "Volume.Inspect", volume="a"), "no more is taken")
    contains(by(BOB, "Volume.List"), "'volumes': []")
    world.create("acme/b")
    gate.release()
    eventually(lambda: "'name': 'a'" in by(ALICE, "Volume.Inspect", volume="a"), "what was begun is done")
    same(world.worker.count("volume_trim") <= 1024, True)


@test
def a_member_gives_a_passphrase_while_the_pools_are_looked_for():
    begin()
    world.stop()
    gate = Gate()
    world.worker.rule("pool_open", gate)
    world.start()
    secret = sealed(b"sesame")
    threading.Timer(0.5, gate.release).start()

    def create():
        return Call(world.socket, "io.quarry.Volume.Create", {
            "volume": "vault", "sizeBytes": GIB, "keySource": "passphrase", "keyFileDescriptor": 0},
            fds=[secret]).result()
    contains(as_user(ALICE, ALICE, [], create), "'name': 'vault'")


@test
def a_name_that_is_there_twice_is_the_members_own():
    world.worker.add_pool("default")
    world.worker.add_pool("fast")
    world.start()
    tenant("acme", users=[BOB])
    tenant("acme", pool="fast", users=[ALICE])
    world.create("fast:acme/a")
    world.call("Pool.Export", name="fast")
    world.create("acme/a")
    world.call("Pool.Import")
    contains(by(ALICE, "Volume.Inspect", volume="a"), "'pool': 'fast'")
    contains(by(BOB, "Volume.Inspect", volume="a"), "'pool': 'default'")


@test
def what_is_asked_for_if_absent_must_be_just_so():
    begin(maxVolumes=3, snapshotSchedule="hourly keep 3")
    same_again = {"name": "acme", "users": [ALICE], "maxVolumes": 3, "snapshotSchedule": "hourly keep 3"}
    before = world.call("Tenant.Inspect", name="acme")
    same(world.call("Tenant.Create", ifAbsent=True, **same_again), before)
    world.refused("TenantExists", "Tenant.Create", **same_again)
    for difference, changes in (("users", {"users": [ALICE, BOB]}), ("groups", {"groups": [7]}),
                                ("maxVolumes", {"maxVolumes": 4}), ("maxSizeBytes", {"maxSizeBytes": GIB}),
                                ("snapshotSchedule", {"snapshotSchedule": "default"})):
        failure = world.refused("TenantExists", "Tenant.Create", ifAbsent=True, **{**same_again, **changes})
        contains(failure.message, f"with different {difference}")
    world.refused("BadRequest", "Tenant.Create", ifAbsent=True, **{**same_again, "snapshotSchedule": "never"})
    same(world.call("Tenant.Inspect", name="acme"), before)
    same(world.call("Tenant.Create", name="web", ifAbsent=True)["tenant"]["name"], "web")


@test
def a_member_is_not_added_and_removed_at_once():
    begin(groups=[7])
    for changes in ({"addUsers": [ALICE], "removeUsers": [BOB, ALICE]}, {"addGroups": [7], "removeGroups": [7]}):
        failure = world.refused("BadRequest", "Tenant.Update", name="acme", **changes)
        contains(failure.message, "is both to be added and to be removed")
    same(world.call("Tenant.Inspect", name="acme")["tenant"]["users"], [ALICE])


if __name__ == "__main__":
    sys.exit(main())
