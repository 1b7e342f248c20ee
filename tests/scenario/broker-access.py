#!/usr/bin/python3
"""Every method by everybody on everything: who may do what lies in the tables here, and what is not in them fails.
TAP on stdout."""

import glob
import os
import re
import sys

from tap import contains, eventually, same, test
from world import ADMIN_GROUP, GIB, MIB, NOBODY, Call, Failure, as_user, main, sealed
from wire import connect

world = None  # what the test that runs now uses

ALICE, BOB, TEAM = 4001, 4002, 4077
CALLERS = {
    "root": (0, 0, []),
    "an administrator": (NOBODY, NOBODY, [100, ADMIN_GROUP]),
    "a member": (ALICE, 100, []),
    "a member of the group": (NOBODY, TEAM, []),
    "another tenant's member": (BOB, 100, [200]),
    "nobody": (NOBODY, NOBODY, [100]),
}
MAY_SEE = {"root": {"acme", "beta", "default"}, "an administrator": {"acme", "beta", "default"},
           "a member": {"acme"}, "a member of the group": {"acme"}, "another tenant's member": {"beta"}, "nobody": set()}
TENANTS = ("acme", "beta", "default")

# Of one volume or snapshot: done by who may see it, else it does not exist.
ON_A_VOLUME = {
    "Inspect": lambda ref: {"volume": ref},
    "Remove": lambda ref: {"volume": ref, "snapshots": True},
    "Mount": lambda ref: {"volume": ref},
    "Unmount": lambda ref: {"volume": ref},
    "Check": lambda ref: {"volume": ref},
    "Trim": lambda ref: {"volume": ref},
    "Snapshot": lambda ref: {"volumes": [ref]},
    "Hold": lambda ref: {"volume": f"{ref}@s"},
    "Release": lambda ref: {"volume": f"{ref}@s"},
    "Update": lambda ref: {"volume": ref, "labels": ["a=b"]},
    "Diff": lambda ref: {"from": f"{ref}@s", "to": ref},
    "Clone": lambda ref: {"volume": f"{ref}@s", "name": f"{ref}-copy"},
    "Rollback": lambda ref: {"volume": f"{ref}@s"},
    "Rename": lambda ref: {"volume": ref, "name": ref.rpartition("/")[2] + "-new"},
    "Resize": lambda ref: {"volume": ref, "addBytes": 64 * MIB},
}
# The same, about its keys; with two descriptors.
ON_KEYS = {
    "Inspect": lambda ref: {"volume": ref},
    "Lock": lambda ref: {"volume": ref},
    "Unlock": lambda ref: {"volume": ref},
    "Add": lambda ref: {"volume": ref, "newKeyFileDescriptor": 0},
    "Remove": lambda ref: {"volume": ref, "slot": 1},
    "Change": lambda ref: {"volume": ref, "keyFileDescriptor": 0, "newKeyFileDescriptor": 1},
    "Backup": lambda ref: {"volume": ref},
    "Restore": lambda ref: {"volume": ref, "headerFileDescriptor": 0},
}
# For administrators, whatever it is about.
FOR_ADMINISTRATORS = {
    "Pool.Create": lambda name: {"name": f"p-{name}", "devices": ["/dev/fake"]},
    "Pool.Inspect": lambda name: {"name": "default"},
    "Pool.Extend": lambda name: {"name": "default", "devices": ["/dev/fake2"]},
    "Pool.Check": lambda name: {"name": "default"},
    "Pool.Remove": lambda name: {"name": f"p-{name}"},
    "Pool.Import": lambda name: {},
    "Pool.Export": lambda name: {"name": f"p-{name}"},
    "Pool.Update": lambda name: {"name": "default", "snapshotSchedule": "none"},
    "Tenant.Create": lambda name: {"name": f"t-{name}"},
    "Doctor.Examine": lambda name: {},
    "Key.Status": lambda name: {},
    "Key.Derive": lambda name: {},
    "Key.Rotate": lambda name: {},
}
# io.systemd.StorageProvider, about one volume: done by who may see it, else it does not exist, or may not be made.
STORAGE = {
    "directory": lambda name: {"name": name},
    "device": lambda name: {"name": f"{name}-disk"},
    "image": lambda name: {"name": f"{name}@s", "readOnly": True},
    "what is there": lambda name: {"name": name, "createMode": "open"},
    "another one": lambda name: {"name": f"{name}-new", "createMode": "new", "createSizeBytes": GIB},
}
# The others have a test of their own.
ELSEWHERE = {"Volume.Create", "Volume.List", "Pool.List", "Tenant.List", "Tenant.Inspect", "Tenant.Update",
             "Tenant.Remove", "Event.List", "Event.Subscribe", "Driver.Listen", "Stream.Send", "Stream.Receive"}


def begin():
    world.worker.add_pool()
    world.start()
    world.call("Tenant.Create", name="acme", users=[ALICE], groups=[TEAM])
    world.call("Tenant.Create", name="beta", users=[BOB], groups=[200])


def ask(caller, method, fds=(), **parameters):
    """"done" with what was answered, or the kind of the error with its text."""
    def call():
        try:
            return f"done: {Call(world.socket, f'io.quarry.{method}', parameters, fds=fds).result()}"
        except Failure as failure:
            return f"{failure.kind}: {failure.message}"
    return as_user(*CALLERS[caller], call)


def pools():
    return [p["name"] for p in world.call("Pool.List")["pools"]]


def kind(answer):
    return answer.partition(":")[0]


def slug(caller):
    return re.sub("[^a-z]+", "-", caller)


@test
def every_method_has_its_row():
    methods = set()
    docs = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs")
    for path in glob.glob(f"{docs}/io.quarry.*.varlink"):
        noun = path.split(".")[-2]
        with open(path, encoding="utf-8") as f:
            methods |= {f"{noun}.{name}" for name in re.findall(r"^method (\w+)\(", f.read(), re.MULTILINE)}
    rows = {f"Volume.{name}" for name in ON_A_VOLUME} | {f"Key.{name}" for name in ON_KEYS} | set(FOR_ADMINISTRATORS) | ELSEWHERE
    same(methods - rows, set(), "methods without a row")
    same(rows - methods, set(), "rows without a method")


@test
def a_volume_is_there_for_its_tenants_members():
    begin()
    for method, parameters in ON_A_VOLUME.items():
        for caller, sees in MAY_SEE.items():
            for tenant in TENANTS:
                ref = f"{tenant}/{slug(caller)}-{method.lower()}"
                world.create(ref, GIB)
                world.call("Volume.Snapshot", volumes=[f"{ref}@s"])
                if method == "Unmount":
                    world.call("Volume.Mount", volume=ref)
                answer = ask(caller, f"Volume.{method}", **parameters(ref))
                same(kind(answer), "done" if tenant in sees else "NoSuchVolume", f"{method} of {tenant}'s by {caller}")
                if tenant not in sees:  # and nothing tells it from one that is not there
                    missing = f"{tenant}/{slug(caller)}-missing"
                    same(ask(caller, f"Volume.{method}", **parameters(missing)).replace(missing, ref), answer,
                         f"{method} of {tenant}'s by {caller}")
            missing = kind(ask(caller, f"Volume.{method}", **parameters("acme/missing")))
            same(missing, "NoSuchVolume", f"{method} of what is not there by {caller}")


@test
def its_keys_are_there_for_its_tenants_members():
    begin()
    fds = [sealed(b"sesame"), sealed(b"open")]
    for tenant in TENANTS:
        world.create(f"{tenant}/keys", GIB, keySource="host")
    for method, parameters in ON_KEYS.items():
        for caller, sees in MAY_SEE.items():
            for tenant in TENANTS:
                answer = ask(caller, f"Key.{method}", fds=fds, **parameters(f"{tenant}/keys"))
                same(kind(answer), "done" if tenant in sees else "NoSuchVolume", f"{method} of {tenant}'s by {caller}")
                if tenant not in sees:
                    missing = ask(caller, f"Key.{method}", fds=fds, **parameters(f"{tenant}/gone"))
                    same(missing.replace("gone", "keys"), answer, f"{method} of {tenant}'s by {caller}")
    for fd in fds:
        os.close(fd)


@test
def a_volume_is_made_for_the_own_tenant():
    begin()
    for caller, sees in MAY_SEE.items():
        for tenant in (*TENANTS, "gone"):
            answer = ask(caller, "Volume.Create", volume=f"{tenant}/{slug(caller)}", sizeBytes=GIB)
            denied = "NoSuchTenant" if "default" in sees else "PermissionDenied"
            same(kind(answer), "done" if tenant in sees else denied, f"create for {tenant} by {caller}")
            if tenant in sees:
                world.call("Volume.Snapshot", volumes=[f"{tenant}/{slug(caller)}@s"])
    for caller, sees in MAY_SEE.items():  # across the border
        for tenant in TENANTS:
            answer = ask(caller, "Volume.Clone", volume=f"{sorted(sees)[0] if sees else 'acme'}/{slug(caller)}@s",
                         name=f"{tenant}/{slug(caller)}-clone")
            same(kind(answer), "NoSuchVolume" if not sees else "done" if tenant in sees else "PermissionDenied",
                 f"clone for {tenant} by {caller}")


@test
def systemds_clients_get_what_their_user_may():
    begin()
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/io.systemd.StorageProvider.varlink"),
              encoding="utf-8") as f:
        same({*re.findall(r"^method (\w+)\(", f.read(), re.MULTILINE)}, {"Acquire", "ListVolumes", "ListTemplates"})
    for tenant in TENANTS:
        world.create(f"{tenant}/of-{tenant}")
        world.create(f"{tenant}/of-{tenant}-disk", filesystem="none")
        world.call("Volume.Snapshot", volumes=[f"{tenant}/of-{tenant}@s"])

    def storage(caller, method, **parameters):
        def run():
            call = Call(world.storage, f"io.systemd.StorageProvider.{method}", parameters, more=method != "Acquire")
            try:
                return f"done: {[call.result(), call.progress]}"
            except Failure as failure:
                return failure.kind
        return as_user(*CALLERS[caller], run)
    for caller, sees in MAY_SEE.items():
        for tenant in TENANTS:
            for what, parameters in STORAGE.items():
                asked = parameters(f"{tenant}/of-{tenant}")
                answer = storage(caller, "Acquire", **asked)
                made = "PermissionDenied" if what == "another one" else "CreateSizeRequired"
                same(kind(answer), "done" if tenant in sees else "NoSuchVolume" if what in ("image", "what is there")
                     else made, f"{what} of {tenant}'s by {caller}")
                if tenant not in sees:  # and nothing tells it from one that is not there
                    missing = {**asked, "name": asked["name"].replace(f"of-{tenant}", "missing")}
                    same(storage(caller, "Acquire", **missing), answer, f"{what} of {tenant}'s by {caller}")
                elif what == "another one":
                    world.call("Volume.Remove", volume=asked["name"])
            device = storage(caller, "Acquire", name=f"{tenant}/of-{tenant}", requestAs="blk", createMode="open")
            same(kind(device), "done" if "default" in sees else "PermissionDenied" if tenant in sees else "NoSuchVolume",
                 f"the device of a filesystem of {tenant}'s by {caller}")
        shown = storage(caller, "ListVolumes")
        same(({tenant for tenant in TENANTS if f"of-{tenant}" in shown}, kind(shown)),
             (sees, "done" if sees else "NoSuchVolume"), f"volumes by {caller}")
        same(kind(storage(caller, "ListTemplates")), "done", f"templates by {caller}")
    world.check_consistent()


@test
def contents_go_and_come_by_administrators():
    begin()
    for tenant in TENANTS:
        world.create(f"{tenant}/files")
        world.create(f"{tenant}/raw", filesystem="none")
        world.call("Volume.Snapshot", volumes=[f"{tenant}/files@s", f"{tenant}/raw@s"])
    for caller, sees in MAY_SEE.items():
        for tenant in TENANTS:
            for name in ("files", "raw"):
                answer = ask(caller, "Stream.Send", volume=f"{tenant}/{name}@s")
                may = "default" in sees or (tenant in sees and name == "raw")
                same(kind(answer), "done" if may else "PermissionDenied" if tenant in sees else "NoSuchVolume",
                     f"{name} of {tenant}'s by {caller}")
                if tenant not in sees:
                    missing = ask(caller, "Stream.Send", volume=f"{tenant}/gone@s")
                    same(missing.replace("gone", name), answer, f"{name} of {tenant}'s by {caller}")
            answer = ask(caller, "Stream.Receive", volume=f"{tenant}/new", sizeBytes=GIB, filesystem="none",
                         socketFileDescriptor=0)
            same(kind(answer), "BadRequest" if "default" in sees else "PermissionDenied", f"for {tenant} by {caller}")


@test
def lists_have_what_may_be_seen():
    begin()
    for tenant in TENANTS:
        world.create(f"{tenant}/of-{tenant}")
    for caller, sees in MAY_SEE.items():
        for parameters in ({}, {"fields": ["name"]}, {"type": "all"}):
            answer = ask(caller, "Volume.List", **parameters)
            same({tenant for tenant in TENANTS if f"of-{tenant}" in answer}, sees, f"{parameters} by {caller}")
        for tenant in TENANTS:
            answer = ask(caller, "Volume.List", tenant=tenant)
            same(f"of-{tenant}" in answer, tenant in sees, f"list of {tenant} by {caller}")
            missing = ask(caller, "Volume.List", tenant="gone").replace("gone", tenant)
            same(kind(missing), "NoSuchTenant", f"list of no tenant by {caller}")
            same(answer == missing, tenant not in sees, f"list of {tenant} by {caller}")
            same(tenant == "default" or (f"'name': '{tenant}'" in ask(caller, "Tenant.List")) == (tenant in sees), True,
                 f"tenant {tenant} by {caller}")
        same("'default'" in ask(caller, "Pool.List"), "default" in sees, f"pools by {caller}")


@test
def pools_and_the_host_are_for_administrators():
    begin()
    for method, parameters in FOR_ADMINISTRATORS.items():
        for caller, sees in MAY_SEE.items():
            if method in ("Pool.Remove", "Pool.Export") and f"p-{slug(caller)}x" not in pools():
                world.call("Pool.Create", name=f"p-{slug(caller)}x", devices=["/dev/fake"])
            answer = ask(caller, method, **parameters(f"{slug(caller)}x"))
            done = "NoSuchPool" if method == "Pool.Import" else "done"  # no disk has one that is new
            same(kind(answer), done if "default" in sees else "PermissionDenied", f"{method} by {caller}")
            if method.startswith("Pool.") and method not in ("Pool.Import", "Pool.Create"):
                answer = kind(ask(caller, method, **{**parameters("none"), "name": "none"}))
                same(answer, "NoSuchPool" if "default" in sees else "PermissionDenied", f"{method} of none by {caller}")


@test
def tenants_are_seen_by_members_and_changed_by_administrators():
    begin()
    for caller, sees in MAY_SEE.items():
        admin = "default" in sees
        for tenant in ("acme", "beta", "gone"):
            there = tenant in sees
            same(kind(ask(caller, "Tenant.Inspect", name=tenant)), "done" if there else "NoSuchTenant", caller)
            changed = kind(ask(caller, "Tenant.Update", name=tenant, maxVolumes=100))
            same(changed, "NoSuchTenant" if not there else "done" if admin else "PermissionDenied", caller)
            if not admin:
                same(kind(ask(caller, "Tenant.Remove", name=tenant)),
                     "PermissionDenied" if there else "NoSuchTenant", caller)
    same("maxVolumes" in world.call("Tenant.Inspect", name="acme")["tenant"], True)
    same(kind(ask("root", "Tenant.Remove", name="beta")), "done")
    same(kind(ask("an administrator", "Tenant.Remove", name="acme")), "done")


@test
def events_are_seen_by_members_and_administrators():
    begin()
    for tenant in TENANTS:
        world.create(f"{tenant}/of-{tenant}")
    for caller, sees in MAY_SEE.items():
        answer = ask(caller, "Event.List")
        same({tenant for tenant in TENANTS if f"of-{tenant}" in answer}, sees, caller)
        same(kind(answer), "done" if sees else "PermissionDenied", caller)
        for tenant in (*TENANTS, "gone"):
            for parameters in ({"tenant": tenant}, {"volumes": [f"{tenant}/of-{tenant}"]}):
                same(f"of-{tenant}" in ask(caller, "Event.List", **parameters), tenant in sees, f"{parameters} by {caller}")

        def follow():  # what comes first: that it begins, or an error
            connection = connect(world.socket)
            connection.send({"method": "io.quarry.Event.Subscribe", "more": True})
            return connection.receive().get("error", "begins")
        same(as_user(*CALLERS[caller], follow), "begins" if sees else "io.quarry.Event.PermissionDenied", caller)


@test
def names_that_are_made_to_cross_reach_nothing():
    begin()
    world.create("beta/db")
    world.call("Volume.Snapshot", volumes=["beta/db@s"])
    uuid = world.inspect("beta/db")["uuid"]
    crafted = ("../beta/db", "acme/../beta/db", "beta//db", "acme/beta/db", "/beta/db", "beta/db/", "beta/db@", "@s",
               "acme/@s", ":beta/db", "default:", "default::beta/db", "default:beta/db", "default:acme/db", "beta/db",
               "beta:db", "./db", ".", "..", "", "beta/db@s@s", "beta/db\n", "beta/db ", "BETA/db", "beta%2fdb", uuid,
               uuid.upper(), f"acme/{uuid[1:]}", f"beta/{uuid}", "acme/db@s:beta")
    for name in crafted:
        for method, parameters in ON_A_VOLUME.items():
            if method in ("Snapshot", "Rename", "Clone"):
                continue
            for caller in ("a member", "nobody"):
                answer = ask(caller, f"Volume.{method}", **{**parameters("x"), **{
                    key: name for key, value in parameters("x").items() if value == "x"}, **{
                    key: f"{name}@s" for key, value in parameters("x").items() if value == "x@s"}})
                same(kind(answer) in ("BadRequest", "NoSuchVolume", "InvalidParameter"), True,
                     f"{method} {name!r}: {answer}")
    for name in crafted:
        answer = ask("a member", "Volume.Create", volume=name, sizeBytes=GIB)
        if kind(answer) == "done":  # a UUID is a name, too: of its own tenant
            contains(answer, "'tenant': 'acme'")
        else:
            same(kind(answer) in ("BadRequest", "PermissionDenied", "NotSupported", "VolumeExists"), True, f"create {name!r}: {answer}")
    for new in ("beta/db", "../beta/x", "x/y", "x@s", "default:x"):
        world.call("Volume.Create", volume="acme/own", sizeBytes=GIB, ifAbsent=True)
        same(kind(ask("a member", "Volume.Rename", volume="acme/own", name=new)), "BadRequest", new)
    same([v["name"] for v in world.volumes(tenant="beta", type="all")], ["db", "db@s"])
    world.check_consistent()


@test
def descriptors_are_taken_of_members():
    begin()
    for caller, result in (("root", "done"), ("a member", "done"), ("a member of the group", "done")):
        key = sealed(b"sesame")
        answer = ask(caller, "Volume.Create", fds=[key], volume=f"acme/{slug(caller)}", sizeBytes=GIB,
                     keySource="passphrase", keyFileDescriptor=0)
        same(kind(answer), result, answer)
        os.close(key)
    key = sealed(b"sesame")
    before = world.descriptors()
    for _ in range(50):
        answer = ask("nobody", "Volume.Create", fds=[key], volume="acme/stolen", sizeBytes=GIB,
                     keySource="passphrase", keyFileDescriptor=0)
        same(kind(answer) in ("PermissionDenied", "BadRequest"), True, answer)
    os.close(key)
    eventually(lambda: world.descriptors() <= before + 1, "descriptors that stay")


@test
def whose_ids_are_shown_reaches_the_worker():
    begin()
    world.create("acme/db")
    theirs = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    shown = os.readlink("/proc/self/ns/user")
    for caller, sees in MAY_SEE.items():
        world.worker.namespaces.clear()
        answer = ask(caller, "Volume.Mount", fds=[theirs], volume="acme/db", detached=True, userNamespaceFileDescriptor=0)
        same(kind(answer), "done" if "acme" in sees else "NoSuchVolume", caller)
        same(world.worker.namespaces, [shown] if "acme" in sees else [], caller)
        if "acme" not in sees:
            continue
        how = world.worker.jobs[-1][1]["mount"]
        uid, gid, _ = CALLERS[caller]
        admin = "default" in sees  # whose ids need not be the own
        same((how["userNamespace"], how.get("giverUid"), how.get("giverGid")), (True, *((None, None) if admin else (uid, gid))))
        ask(caller, "Volume.Mount", volume="acme/db", detached=True, idmap=[{"uid": 5, "gid": 6, "count": 7}])
        how = world.worker.jobs[-1][1]["mount"]
        same((how["idmap"], how.get("giverUid")), ([{"uid": 5, "gid": 6, "count": 7}], None if admin else uid))
        for option in ("suid", "dev"):
            answer = ask(caller, "Volume.Mount", volume="acme/db", detached=True, options=[option])
            same(kind(answer), "done" if admin else "PermissionDenied", f"{option} by {caller}")
            same(world.worker.jobs[-1][1]["mount"]["options"], [], "what a worker is told of it")
        answer = ask(caller, "Volume.Mount", volume="acme/db", detached=True, context="a:b:c")
        same(kind(answer), "done" if admin else "PermissionDenied", f"a context by {caller}")
    before = world.descriptors()
    for _ in range(50):
        for parameters in ({"volume": "acme/db", "detached": True, "userNamespaceFileDescriptor": 3},
                           {"volume": "acme/db", "userNamespaceFileDescriptor": 0},
                           {"volume": "acme/gone", "detached": True, "userNamespaceFileDescriptor": 0}):
            same(kind(ask("a member", "Volume.Mount", fds=[theirs], **parameters)) != "done", True, parameters)
    os.close(theirs)
    eventually(lambda: world.descriptors() <= before + 1, "descriptors that stay")


if __name__ == "__main__":
    sys.exit(main())
