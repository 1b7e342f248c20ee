"""What must be true whenever nothing is under way: findings() lists what is not."""

import glob
import os
import re

import kernel


class Findings(list):
    def say(self, claim, text):
        if not claim:
            self.append(text)


def look_at_pool(found, pool, volumes, strict):
    """One pool that is active: its thin devices, its catalog and quarryd agree. Returns {uuid: name}."""
    rows, known = kernel.catalog(pool["uuid"])
    ids = kernel.thin_ids(pool["uuid"])
    status = " ".join(kernel.pool_status(pool["uuid"]))
    mine = {v["uuid"]: v["name"] for v in volumes if v["pool"] == pool["name"]}
    # A removal that failed says so, and can be repeated; whether its row is still there is then not known.
    failed = {v["uuid"] for v in volumes if v["state"] == "removing" and v.get("failure") and not strict}

    found.say("needs_check" not in status and "Fail" not in status, f"pool {pool['name']} says {status}")
    whole = {row[0] for uuid, row in rows.items() if uuid not in failed and row[0] is not None}
    found.say(whole <= set(ids) <= known, f"thin devices {ids}, rows {rows}")
    found.say({u: row[1] for u, row in rows.items() if u not in failed} ==
              {u: name for u, name in mine.items() if u not in failed}, f"rows {rows}, listed {mine}")
    for uuid, (_, name, state, failure) in rows.items():
        found.say(state == "ready" or uuid in failed, f"volume {name} is {state} ({failure})")
    for volume in volumes:
        if volume["uuid"] in mine and volume["uuid"] not in failed:
            found.say(volume["state"] == rows.get(volume["uuid"], [0, 0, ""])[2],
                      f"volume {volume['name']} is {volume['state']}, its row {rows.get(volume['uuid'])}")
    return mine


def known_devices(pools, names):
    """Every device-mapper device that may be there."""
    known = set()
    for pool in pools:
        doubled = pool["uuid"].replace("-", "--")
        known.add(f"quarry-{pool['uuid']}")
        known |= {f"quarry--{doubled}-quarry--{doubled}--{part}" for part in ("catalog", "data")}
        known |= {os.path.basename(path) for path in kernel.metadata_nodes(pool["uuid"])}
    return known | {f"quarry-{uuid}{crypt}" for uuid in names for crypt in ("", "-crypt")}


def look_at_host(found, pools, volumes, names, devices, strict):
    """A removal that failed while it closed a device leaves it open, if not strict."""
    mounts = kernel.mounts()
    leaving = set() if strict else {v["uuid"] for v in volumes if v["state"] == "removing" and v.get("failure")}
    used = set(mounts.values())
    raw = {v["uuid"] for v in volumes if v.get("filesystem") == "none"}
    bound = {f"{kernel.MOUNTS}/{v['tenant']}/{v['name']}" for v in volumes if v["kind"] == "bind"}
    files = {pool["file"] for pool in pools if pool.get("file")}
    listed = kernel.listed_pools()

    for device in devices - known_devices(pools, names):
        found.append(f"device {device} has no owner")
    for uuid in names.keys() - raw - leaving:
        for device in {f"quarry-{uuid}", f"quarry-{uuid}-crypt"} & devices:
            found.say({f"quarry-{uuid}", f"quarry-{uuid}-crypt"} & used, f"{device} is open, and not mounted")
    for target, device in mounts.items():
        if target in bound: # it is called as the filesystem of its source
            continue
        if target.startswith(kernel.MOUNTS):
            found.say(re.sub("^quarry-|-crypt$", "", device) in names, f"{target} is a mount of {device}, no volume's")
        else:
            found.say(os.path.basename(target) in {p["uuid"] for p in pools}, f"{target} is a mount without a pool")
    for folder in glob.glob(f"{kernel.MOUNTS}/*/*"):
        found.say(os.path.basename(folder) in names.values(), f"mount point {folder} has no volume")
    for folder in glob.glob(f"{kernel.CATALOGS}/*"):
        found.say(os.path.basename(folder) in {p["uuid"] for p in pools}, f"{folder} has no pool")
    for path in glob.glob("/run/quarry/udev/*"):
        found.say(os.path.basename(path) in devices, f"{path} describes no device")
    for path in glob.glob("/dev/quarry/*/*") + glob.glob("/dev/mapper/quarry-*"):
        found.say(os.path.exists(path), f"{path} leads nowhere")
    found.say(kernel.loop_files() <= files, f"loop devices {kernel.loop_files()}, pools' files {files}")
    found.say(listed.keys() == {p["uuid"] for p in pools}, f"entries {listed}, pools {[p['name'] for p in pools]}")
    for entry in listed.values():
        found.say(not (strict and entry.get("unfinished")), f"pool {entry.get('name')} is unfinished")
    found.say(not kernel.tools(), f"{kernel.tools()} still runs")
    open_crypt = {uuid for uuid in names if f"quarry-{uuid}-crypt" in devices}
    found.say(kernel.crypt_keys() <= open_crypt, f"keys {kernel.crypt_keys()} in the kernel, open are {open_crypt}")


def findings(pools, volumes, strict=True):
    """pools, volumes: what quarryd lists. Not strict: what says why it failed may be as it is."""
    found = Findings()
    devices = kernel.dm_devices()
    names = {}

    for pool in pools:
        found.say(pool["state"] == "active" or pool.get("failure") and not strict, f"pool {pool['name']} is {pool['state']}: {pool.get('failure')}")
        if pool["state"] == "active":
            names.update(look_at_pool(found, pool, volumes, strict))
    look_at_host(found, pools, volumes, names, devices, strict)
    return found
