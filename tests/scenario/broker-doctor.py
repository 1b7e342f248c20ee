#!/usr/bin/python3
"""quarryd compares what workers see with its catalogs, and lets go lazily what is in use. TAP on stdout."""

import sys
import uuid as uuids

from tap import eventually, same, test
from world import NOBODY, Failure, as_user, main
from worker import Gate, Hangup, die_before, fail, first

world = None  # what the test that runs now uses


def seen(kind, name, uuid=None, **members):
    return {"kind": kind, "object": name, "message": "it is there", "fixable": True, "fixed": False,
            **({"uuid": uuid} if uuid else {}), **members}


def found(**parameters):
    return [(f["kind"], f["object"], f["fixed"]) for f in world.call("Doctor.Examine", **parameters)["findings"]]


@test
def nothing_is_found_on_a_host_where_all_is_well():
    world.worker.add_pool()
    world.start()
    world.create("db")
    same(world.call("Doctor.Examine"), {"findings": [], "pools": 1, "volumes": 1})


@test
def what_belongs_to_a_volume_is_no_finding():
    pool = world.worker.add_pool()
    world.start()
    uuid, stranger = world.create("db")["uuid"], str(uuids.uuid4())
    world.call("Volume.Mount", volume="db")
    for owner in (uuid, stranger):
        name = "db" if owner == uuid else "gone"
        world.worker.findings += [
            seen("strayDevice", f"quarry-{owner}", owner, poolUuid=pool),
            seen("strayMapping", f"quarry-{owner}-crypt", owner),
            seen("strayMount", f"/run/quarry/mnt/default/{name}", owner),
            seen("strayMountPoint", f"/run/quarry/mnt/default/{name}"),
            seen("strayDevice", f"quarry-{owner}-pool", pool if owner == uuid else stranger,
                 poolUuid=pool if owner == uuid else stranger)]
    same(found(), [("strayDevice", f"quarry-{stranger}", False), ("strayMapping", f"quarry-{stranger}-crypt", False),
                   ("strayMount", "/run/quarry/mnt/default/gone", False),
                   ("strayMountPoint", "/run/quarry/mnt/default/gone", False),
                   ("strayDevice", f"quarry-{stranger}-pool", False)])
    world.worker.findings = [seen("strayMount", "/run/quarry/mnt/default/other", uuid)]
    same(found(), [("strayMount", "/run/quarry/mnt/default/other", False)])


@test
def a_host_key_matters_only_to_volumes_that_need_it():
    world.worker.add_pool()
    world.start()
    world.worker.findings = [seen("hostKey", "host key")]
    world.create("plain")
    same(found(), [])
    world.create("vault", keySource="host")
    same(found(), [("hostKey", "host key", False)])


@test
def as_long_as_a_catalog_is_missing_nothing_of_unknown_owner_is_stray():
    pool = world.worker.add_pool()
    world.worker.unopened[pool] = "the disks stall"
    world.start()
    uuid = str(uuids.uuid4())
    world.worker.findings = [seen("strayDevice", "quarry-x", uuid, poolUuid=pool), seen("strayMapping", "quarry-y", uuid),
                             seen("strayMountPoint", "/run/quarry/mnt/default/x"), seen("strayDescription", "z", uuid)]
    same(found(fix=True), [("poolUnavailable", "default", False)])
    same(world.worker.count("volume_sweep"), 0)


@test
def a_pool_that_is_not_active_is_found_while_it_is_tried_again():
    pool = world.worker.add_pool()
    world.worker.unopened[pool] = "its disk is gone"
    world.start()
    same(world.pool()["state"], "unavailable")
    gate = Gate()
    world.worker.rule("pool_open", gate)
    again = world.begin("Pool.Import")
    gate.wait()
    same(found(), [("poolUnavailable", "default", False)])
    gate.release()
    same(again.failure().message, "its disk is gone")


@test
def catalog_and_pool_are_compared_in_both_directions():
    pool = world.worker.add_pool()
    world.start()
    for name in ("a", "b"):
        world.create(name)
    same(found(), [])
    place = next(p for p, v in world.worker.thin.items() if v == world.inspect("a")["uuid"])
    uuid = world.worker.thin.pop(place)
    world.worker.thin[(pool, 77)] = "whose"
    same(sorted(found(fix=True)), [("thinWithoutVolume", "default:77", False), ("volumeWithoutThin", "a", False)])
    world.worker.thin[place] = uuid
    del world.worker.thin[(pool, 77)]


@test
def a_volume_that_is_made_or_removed_meanwhile_is_no_finding():
    world.worker.add_pool()
    world.start()
    world.create("old")
    gate = Gate()
    world.worker.rule("volume_create", gate)
    making = world.begin_create("new")
    gate.wait()
    same(found(), [])
    world.worker.rule("pool_audit", first(lambda: gate.release() or making.result()))
    same(found(), [])
    world.worker.rule("pool_audit", lambda job, work: (work(), world.call("Volume.Remove", volume="old"))[0])
    same(found(), [])


@test
def fix_sweeps_what_nobody_owns():
    pool = world.worker.add_pool()
    world.start()
    uuid = str(uuids.uuid4())
    world.worker.findings = [seen("strayDevice", "quarry-x", uuid, poolUuid=pool), seen("strayMount", "/x", None)]
    same(found(fix=True), [("strayDevice", "quarry-x", True), ("strayMount", "/x", False)])
    same([job["volume"]["uuid"] for verb, job, _ in world.worker.jobs if verb == "volume_sweep"], [uuid])
    same(found(), [("strayMount", "/x", False)])


@test
def fix_leaves_a_volume_alone_that_was_opened_while_the_worker_looked():
    world.worker.add_pool()
    world.start()
    uuid, stranger = world.create("raw", filesystem="none")["uuid"], str(uuids.uuid4())

    def look():
        world.worker.findings = [seen("strayDescription", f"quarry-{u}", u) for u in (uuid, stranger)]
        world.call("Volume.Mount", volume="raw")
    world.worker.rule("host_audit", first(look))
    same(found(fix=True), [("strayDescription", f"quarry-{stranger}", True)])
    same([job["volume"]["uuid"] for verb, job, _ in world.worker.jobs if verb == "volume_sweep"], [stranger])
    same(uuid in world.worker.open, True)


@test
def what_cannot_be_repaired_says_why():
    pool = world.worker.add_pool()
    world.start()
    world.worker.findings = [seen("strayDevice", "quarry-x", str(uuids.uuid4()), poolUuid=pool)]
    world.worker.rule("volume_sweep", fail("Failed", "it sticks"))
    answer = world.call("Doctor.Examine", fix=True)["findings"][0]
    same((answer["fixed"], answer["hint"]), (False, "it sticks"))


@test
def fix_goes_on_with_a_removal_that_failed():
    world.worker.add_pool()
    world.start()
    world.create("db")
    world.worker.rule("volume_remove", fail("Failed", "the disk stalls"))
    world.refused("Failed", "Volume.Remove", volume="db")
    same(found(), [("removalUnfinished", "db", False)])
    same(found(fix=True), [("removalUnfinished", "db", True)])
    eventually(lambda: world.names() == [], "the removal ends")
    same(found(), [])


@test
def damage_of_a_catalog_is_found_while_it_is_in_use():
    pool = world.worker.add_pool()
    world.start()
    for i in range(60):
        world.create(f"v{i}")
    world.restart()
    same(len(world.names()), 60)  # it is open
    with open(f"/run/quarry/catalog/{pool}/catalog.db", "r+b") as f:
        f.seek(3 * 4096)
        f.write(b"x" * 4096)
    same([kind for kind, _, _ in found() if kind != "volumeWithoutThin"], ["catalogDamaged"])
    world.kill()


@test
def workers_that_die_are_a_finding():
    world.worker.add_pool()
    world.start()
    world.worker.rule("pool_audit", die_before)
    world.worker.rule("host_audit", die_before)
    same(sorted(kind for kind, _, _ in found()), ["poolSilent", "poolUnavailable"])
    same(found(), [])


@test
def only_an_administrator_examines():
    world.worker.add_pool()
    world.start()

    def ask():
        try:
            return world.call("Doctor.Examine")
        except Failure as failure:
            return failure.name
    same(as_user(NOBODY, NOBODY, [], ask), "io.quarry.Doctor.PermissionDenied")


# --- lazily

@test
def a_lazy_removal_waits_for_the_last_user_also_behind_a_restart():
    world.worker.add_pool()
    world.start()
    uuid = world.create("db")["uuid"]
    world.call("Volume.Mount", volume="db")
    world.worker.users[uuid] = "used by sleep (pid 7)"
    same(world.call("Volume.Remove", volume="db", lazy=True), {"users": "used by sleep (pid 7)"})
    same((world.inspect("db")["state"], uuid in world.worker.mounted), ("removing", False))
    same(world.inspect("db")["waitsForUsers"], True, "which is told from one that failed")
    same(found(), [])
    world.refused("VolumeBroken", "Volume.Mount", volume="db")
    world.refused("VolumeBusy", "Volume.Remove", volume="db")
    world.kill()
    world.start()
    same(world.inspect("db")["state"], "removing")
    eventually(lambda: world.worker.count("volume_claim") >= 2, "it is looked at again")
    eventually(lambda: world.inspect("db").get("waitsForUsers"), "and waits, as before")
    same(world.names(), ["db"])
    world.worker.users.clear()
    eventually(lambda: world.names() == [], "it goes", 30)
    same(world.worker.left(), {})


@test
def a_lazy_removal_of_what_nobody_uses_is_a_removal():
    world.worker.add_pool()
    world.start()
    world.create("db")
    world.call("Volume.Mount", volume="db")
    same(world.call("Volume.Remove", volume="db", lazy=True), {})
    same((world.names(), world.worker.left()), ([], {}))


@test
def a_lazy_removal_that_dies_before_its_row_leaves_the_volume():
    world.worker.add_pool()
    world.start()
    uuid = world.create("db")["uuid"]
    world.worker.users[uuid] = "used by sleep (pid 7)"

    def lost(job, work):
        world.kill()
        raise Hangup
    world.worker.rule("volume_umount", lost)
    try:
        world.call("Volume.Remove", volume="db", lazy=True)
    except (OSError, Exception):  # the daemon is gone
        pass
    world.start()
    same(world.inspect("db")["state"], "ready")


@test
def a_name_that_two_pools_have_is_found():
    world.worker.add_pool()
    world.worker.add_pool("second")
    world.start()
    world.call("Tenant.Create", name="acme", pool="second")
    for name in ("second:acme/db", "second:db"):
        world.create(name)
    world.call("Volume.Snapshot", volumes=["second:db@s"])
    world.call("Pool.Export", name="second")
    for name in ("db", "www"):
        world.create(name)
    world.call("Volume.Snapshot", volumes=["db@s"])
    world.call("Pool.Import")
    findings = world.call("Doctor.Examine")["findings"]
    same([(f["kind"], f["object"]) for f in findings], [("nameTwice", "db")])
    assert " in pool default" in findings[0]["message"] and " in pool second" in findings[0]["message"], findings
    pool = "second" if "second:" in findings[0]["hint"] else "default"
    world.call("Volume.Rename", volume=f"{pool}:db", name="db2")
    same(world.call("Doctor.Examine")["findings"], [])


@test
def unmount_says_who_keeps_it_open():
    world.worker.add_pool()
    world.start()
    uuid = world.create("db")["uuid"]
    world.call("Volume.Mount", volume="db")
    world.worker.users[uuid] = "used by sleep (pid 7)"
    same(world.call("Volume.Unmount", volume="db", lazy=True), {"users": "used by sleep (pid 7)"})
    same(world.inspect("db")["open"], True)
    world.worker.users.clear()
    same(world.call("Volume.Unmount", volume="db", lazy=True), {})
    same(world.inspect("db")["open"], False)


if __name__ == "__main__":
    sys.exit(main())
