#include "describe.h"

#include "must.h"
#include "terminal.h"

#include <grp.h>
#include <pwd.h>
#include <quarry/json.h>
#include <quarry/pool.h>
#include <quarry/text.h>
#include <quarry/volume.h>
#include <stdarg.h>

/* "Name:        value"; the name is left out in the lines after the first of a list. */
_printf_(2, 3) static void print_field(const char *name, const char *format, ...) {
        _cleanup_free_ char *value = NULL;
        va_list ap;

        va_start(ap, format);
        int n = vasprintf(&value, format, ap);
        va_end(ap);
        must(n < 0 ? -ENOMEM : 0);

        text_clean(value);
        printf("%s%-13s%s %s\n", terminal_style(stdout, STYLE_BOLD), name, terminal_style(stdout, STYLE_END), value);
}

static void print_string(const char *name, sd_json_variant *object, const char *member) {
        const char *text = json_string(object, member);

        if (*text)
                print_field(name, "%s", text);
}

/* "1.5G (1610612736 bytes)", and the share of whole if that is not 0. */
static void print_size(const char *name, sd_json_variant *v, uint64_t whole) {
        char buf[SIZE_TEXT_MAX];

        if (!sd_json_variant_is_unsigned(v)) {
                print_field(name, "not known");
                return;
        }
        uint64_t bytes = sd_json_variant_unsigned(v);
        if (whole > 0)
                print_field(name, "%s, %.0f%% (%llu bytes)", size_format(bytes, buf),
                            100.0 * (double) bytes / (double) whole, (unsigned long long) bytes);
        else
                print_field(name, "%s (%llu bytes)", size_format(bytes, buf), (unsigned long long) bytes);
}

static void print_exclusive(sd_json_variant *volume) {
        sd_json_variant *exclusive = sd_json_variant_by_key(volume, "exclusiveBytes");
        char buf[SIZE_TEXT_MAX];

        if (exclusive)
                print_field("Exclusive:", "%s, %llu s ago", size_format(sd_json_variant_unsigned(exclusive), buf),
                            (unsigned long long) json_unsigned(volume, "exclusiveAgeSeconds"));
}

static void print_list(const char *name, sd_json_variant *list) {
        for (size_t i = 0; i < sd_json_variant_elements(list); i++)
                print_field(i == 0 ? name : "", "%s", sd_json_variant_string(sd_json_variant_by_index(list, i)));
}

bool describe_is_locked(sd_json_variant *volume) {
        return sd_json_variant_boolean(sd_json_variant_by_key(sd_json_variant_by_key(volume, "encryption"), "locked"));
}

static void print_encryption(sd_json_variant *encryption) {
        if (!sd_json_variant_is_object(encryption)) {
                print_field("Encryption:", "none");
                return;
        }
        print_field("Encryption:", "LUKS2, %s, %llu-bit key, %llu-byte sectors", json_string(encryption, "cipher"),
                    (unsigned long long) json_unsigned(encryption, "keyBits"),
                    (unsigned long long) json_unsigned(encryption, "sectorSize"));
        if (streq(json_string(encryption, "keySource"), "host"))
                print_field("Key:", "host: opens by itself on this host");
        else
                print_field("Key:", "%s: asked for whenever it is opened", json_string(encryption, "keySource"));
        if (sd_json_variant_boolean(sd_json_variant_by_key(encryption, "locked")))
                print_field("", "locked: nobody opens it before quarry key unlock");
}

static void print_labels(sd_json_variant *labels) {
        for (size_t i = 0; i + 1 < sd_json_variant_elements(labels); i += 2)
                print_field(i == 0 ? "Labels:" : "", "%s=%s",
                            sd_json_variant_string(sd_json_variant_by_index(labels, i)),
                            sd_json_variant_string(sd_json_variant_by_index(labels, i + 1)));
}

static void print_mounts(sd_json_variant *volume) {
        sd_json_variant *holds = sd_json_variant_by_key(volume, "holds");
        bool is_open = sd_json_variant_boolean(sd_json_variant_by_key(volume, "open"));

        if (is_open && streq(json_string(volume, "filesystem"), "none"))
                print_field("Device:", DEVICE_LINK_ROOT "/%s/%s", json_string(volume, "tenant"),
                            json_string(volume, "name"));
        else if (sd_json_variant_elements(holds) == 0)
                print_field("Mounted at:", "nowhere%s", is_open ? ", but its devices are open" : "");

        for (size_t i = 0; i < sd_json_variant_elements(holds); i++) {
                sd_json_variant *hold = sd_json_variant_by_index(holds, i);
                bool read_only = sd_json_variant_boolean(sd_json_variant_by_key(hold, "readOnly"));

                print_field(i == 0 ? "Mounted at:" : "", "%s%s", json_string(hold, "path"),
                            read_only ? " (read-only)" : "");
        }
}

static void print_schedule(sd_json_variant *volume) {
        sd_json_variant *rules = sd_json_variant_by_key(volume, "scheduleRules");
        bool own = *json_string(volume, "snapshotSchedule");
        bool default_tenant = streq(json_string(volume, "tenant"), DEFAULT_TENANT);

        if (sd_json_variant_elements(rules) == 0) {
                print_string("Schedule:", volume, "snapshotSchedule");
                return;
        }
        for (size_t i = 0; i < sd_json_variant_elements(rules); i++) {
                sd_json_variant *rule = sd_json_variant_by_index(rules, i);
                const char *last = json_string(rule, "lastRunAt"), *next = json_string(rule, "nextRunAt");

                print_field(i == 0 ? "Schedule:" : "", "%s keep %llu%s", json_string(rule, "expression"),
                            (unsigned long long) json_unsigned(rule, "keep"),
                            own              ? ""
                            : default_tenant ? " (of the pool)"
                                             : " (of its tenant, or the pool)");
                print_field("", "  last %s, next %s", *last ? last : "never", *next ? next : "not known");
                if (*json_string(rule, "failure"))
                        print_field("", "  failed: %s", json_string(rule, "failure"));
        }
}

/* With the names that this host has for the numbers. */
static void print_root(sd_json_variant *volume) {
        uint32_t uid = (uint32_t) json_unsigned(volume, "uid"), gid = (uint32_t) json_unsigned(volume, "gid");
        const struct passwd *user = getpwuid(uid);
        const struct group *group = getgrgid(gid);

        print_field("Root made as:", "uid %u%s%s%s, gid %u%s%s%s, mode %04llo", uid, user ? " (" : "",
                    user ? user->pw_name : "", user ? ")" : "", gid, group ? " (" : "", group ? group->gr_name : "",
                    group ? ")" : "", (unsigned long long) json_unsigned(volume, "mode"));
}

void describe_volume(sd_json_variant *volume) {
        uint64_t size = json_unsigned(volume, "sizeBytes");
        bool is_block = streq(json_string(volume, "kind"), "block");

        print_string("Name:", volume, "name");
        print_string("Tenant:", volume, "tenant");
        print_string("Pool:", volume, "pool");
        print_string("Kind:", volume, "kind");
        print_string("Source:", volume, "source");
        if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "readOnly")))
                print_field("Read-only:", "yes, wherever it is mounted");
        print_string("State:", volume, "state");
        print_string(sd_json_variant_boolean(sd_json_variant_by_key(volume, "waitsForUsers")) ? "Removal:" : "Failure:",
                     volume, "failure");
        if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "protected")))
                print_field("Protected:", "yes: it cannot be removed");
        if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "stopped")))
                print_field("Stopped:", streq(json_string(volume, "stoppedBy"), "tenant")
                                                ? "it gets no new space until its tenant uses less of the pool"
                                                : "it gets no new space until its pool has some");
        if (is_block || sd_json_variant_by_key(volume, "sizeBytes"))
                print_size("Size:", sd_json_variant_by_key(volume, "sizeBytes"), 0);
        else
                print_field("Size:", "no limit of its own");
        if (is_block || sd_json_variant_by_key(volume, "usedBytes"))
                print_size("Used:", sd_json_variant_by_key(volume, "usedBytes"), size);
        print_exclusive(volume);
        if (sd_json_variant_by_key(volume, "inodes"))
                print_field("Inodes:", "%llu", (unsigned long long) json_unsigned(volume, "inodes"));
        if (sd_json_variant_boolean(sd_json_variant_by_key(volume, "noswap")))
                print_field("Swap:", "none: it stays in memory");
        print_string("Filesystem:", volume, "filesystem");
        print_list("Mkfs options:", sd_json_variant_by_key(volume, "mkfsOptions"));
        if (is_block)
                print_encryption(sd_json_variant_by_key(volume, "encryption"));
        print_mounts(volume);
        if (sd_json_variant_by_key(volume, "mode") && !streq(json_string(volume, "filesystem"), "none"))
                print_root(volume);
        print_schedule(volume);
        print_string("Made by:", volume, "rule");
        print_labels(sd_json_variant_by_key(volume, "labels"));
        print_string("Created:", volume, "createdAt");
        print_string("UUID:", volume, "uuid");
}

static void print_origin(sd_json_variant *pool) {
        const char *origin = json_string(pool, "origin");

        if (streq(origin, "file"))
                print_field("Lies in:", "file %s", json_string(pool, "file"));
        else if (streq(origin, "vg"))
                print_field("Lies in:", "a share of volume group %s", json_string(pool, "volumeGroup"));
        else
                print_field("Lies in:", "volume group %s, its own", json_string(pool, "volumeGroup"));
        print_list("Devices:", sd_json_variant_by_key(pool, "devices"));
}

static void print_space(sd_json_variant *pool) {
        const char *space = json_string(pool, "space"), *name = json_string(pool, "name");
        sd_json_variant *lasts = sd_json_variant_by_key(pool, "fullInSeconds");
        uint64_t hours = sd_json_variant_unsigned(lasts) / 3600;
        char advice[SPACE_ADVICE_MAX];

        if (lasts && hours < 1)
                print_field("  full in:", "less than an hour, if it fills as today");
        else if (lasts)
                print_field("  full in:", "about %llu %s, if it fills as today",
                            (unsigned long long) (hours < 48 ? hours : hours / 24), hours < 48 ? "hours" : "days");
        if (streq(space, "ok") || isempty(space))
                return;
        print_field("  space:", "%s: %s", space, pool_space_meaning(space));
        print_field("", "%s", pool_space_advice(name, pool_origin_from_string(json_string(pool, "origin")), advice));
}

void describe_pool(sd_json_variant *pool) {
        uint64_t data = json_unsigned(pool, "dataSizeBytes"), metadata = json_unsigned(pool, "metadataSizeBytes");
        char promised[SIZE_TEXT_MAX], most[SIZE_TEXT_MAX];

        print_string("Name:", pool, "name");
        print_string("State:", pool, "state");
        print_string("Failure:", pool, "failure");
        print_string("What to do:", pool, "advice");
        print_origin(pool);
        print_size("Data:", sd_json_variant_by_key(pool, "dataSizeBytes"), 0);
        print_size("  used:", sd_json_variant_by_key(pool, "dataUsedBytes"), data);
        if (sd_json_variant_by_key(pool, "freeingBytes"))
                print_size("  coming free:", sd_json_variant_by_key(pool, "freeingBytes"), data);
        print_space(pool);
        print_size("Metadata:", sd_json_variant_by_key(pool, "metadataSizeBytes"), 0);
        print_size("  used:", sd_json_variant_by_key(pool, "metadataUsedBytes"), metadata);
        print_size("Chunks:", sd_json_variant_by_key(pool, "chunkSizeBytes"), 0);
        if (sd_json_variant_by_key(pool, "provisionedMaxBytes"))
                print_field("Promised:", "%s to %llu volumes; at most %s may be promised",
                            size_format(json_unsigned(pool, "provisionedBytes"), promised),
                            (unsigned long long) json_unsigned(pool, "volumes"),
                            size_format(json_unsigned(pool, "provisionedMaxBytes"), most));
        print_string("Schedule:", pool, "snapshotSchedule");
        print_string("UUID:", pool, "uuid");
}

static void print_names(const char *title, char *const *names) {
        for (char *const *name = names; name && *name; name++)
                print_field(name == names ? title : "", "%s", *name);
}

static void print_limited(const char *name, sd_json_variant *tenant, const char *use, const char *limit, bool size) {
        uint64_t have = json_unsigned(tenant, use), most = json_unsigned(tenant, limit);
        char have_text[SIZE_TEXT_MAX], most_text[SIZE_TEXT_MAX];

        if (!size) {
                buffer_format(have_text, sizeof(have_text), "%llu", (unsigned long long) have);
                buffer_format(most_text, sizeof(most_text), "%llu", (unsigned long long) most);
        } else {
                size_format(have, have_text);
                size_format(most, most_text);
        }
        if (sd_json_variant_by_key(tenant, limit))
                print_field(name, "%s of %s", have_text, most_text);
        else
                print_field(name, "%s, no limit", have_text);
}

/* It is counted from time to time. */
static void print_use(sd_json_variant *tenant) {
        sd_json_variant *age = sd_json_variant_by_key(tenant, "usedAgeSeconds");

        if (!age) {
                print_field("Used:", "not counted yet");
                return;
        }
        print_limited("Used:", tenant, "usedBytes", "maxUsedBytes", true);
        print_field("", "as of %llu s ago", (unsigned long long) sd_json_variant_unsigned(age));
        if (sd_json_variant_boolean(sd_json_variant_by_key(tenant, "stopped")))
                print_field("Stopped:", "its filesystems get no new space until it uses less");
}

void describe_tenant(sd_json_variant *tenant, char *const *users, char *const *groups) {
        print_string("Name:", tenant, "name");
        print_string("Pool:", tenant, "pool");
        print_names("Users:", users);
        print_names("Groups:", groups);
        print_limited("Volumes:", tenant, "volumes", "maxVolumes", false);
        print_limited("Snapshots:", tenant, "snapshots", "maxSnapshots", false);
        print_limited("Size:", tenant, "sizeBytes", "maxSizeBytes", true);
        if (sd_json_variant_by_key(tenant, "maxUsedBytes"))
                print_use(tenant);
        print_limited("In tmpfs:", tenant, "tmpfsBytes", "maxTmpfsBytes", true);
        print_string("Schedule:", tenant, "snapshotSchedule");
        print_string("Created:", tenant, "createdAt");
}

static const char *source_text(const char *source) {
        return streq(source, "credential")       ? "the systemd credential quarry.host-key"
               : streq(source, "command")        ? "KeyCommand="
               : streq(source, "file")           ? "/var/lib/quarry/host-key"
               : streq(source, "kept")           ? "kept until no volume needs it"
               : streq(source, "old_credential") ? "the systemd credential quarry.old-host-key"
                                                 : "not on this host";
}

void describe_host_keys(sd_json_variant *status) {
        sd_json_variant *keys = sd_json_variant_by_key(status, "keys"),
                        *missing = sd_json_variant_by_key(status, "missingPools");
        uint64_t unknown = json_unsigned(status, "unknown");

        if (sd_json_variant_elements(keys) == 0)
                puts("No host key yet: it is made with the first volume that is encrypted with it.");
        for (size_t i = 0; i < sd_json_variant_elements(keys); i++) {
                sd_json_variant *key = sd_json_variant_by_index(keys, i);

                print_field(sd_json_variant_boolean(sd_json_variant_by_key(key, "current")) ? "Host key:"
                                                                                            : "Older key:",
                            "%s", json_string(key, "id"));
                print_field("From:", "%s", source_text(json_string(key, "source")));
                print_field("Volumes:", "%llu", (unsigned long long) json_unsigned(key, "volumes"));
        }
        if (unknown > 0)
                print_field("Not known:", "%llu volumes, until the next rotation", (unsigned long long) unknown);
        if (sd_json_variant_boolean(sd_json_variant_by_key(status, "rotating")))
                print_field("Rotation:", "is under way");
        for (size_t i = 0; i < sd_json_variant_elements(missing); i++)
                print_field(i == 0 ? "Not active:" : "", "pool %s",
                            sd_json_variant_string(sd_json_variant_by_index(missing, i)));
}

void describe_volume_keys(const char *name, sd_json_variant *keys) {
        sd_json_variant *slots = sd_json_variant_by_key(keys, "keyslots");
        bool locked = sd_json_variant_boolean(sd_json_variant_by_key(keys, "locked")),
             suspended = sd_json_variant_boolean(sd_json_variant_by_key(keys, "suspended")),
             in_kernel = sd_json_variant_boolean(sd_json_variant_by_key(keys, "inKernel"));

        print_field("Name:", "%s", name);
        print_field("Key:", "%s%s",
                    suspended   ? "not in the kernel, and the volume is in use: who touches it waits"
                    : in_kernel ? "in the kernel: the volume is open"
                                : "not in the kernel",
                    locked ? "; locked" : "");
        for (size_t i = 0; i < sd_json_variant_elements(slots); i++) {
                sd_json_variant *slot = sd_json_variant_by_index(slots, i);
                const char *kind = json_string(slot, "kind");
                _cleanup_free_ char *what = NULL;

                if (streq(kind, "host"))
                        what = format_new("host key %s", json_string(keys, "hostKey"));
                else if (streq(kind, "foreign"))
                        what = format_new("%s", json_string(slot, "token"));
                else
                        what = strdup("passphrase");
                must_have(what);
                print_field(i == 0 ? "Keyslots:" : "", "%llu  %s, %s",
                            (unsigned long long) json_unsigned(slot, "number"), what, json_string(slot, "kdf"));
        }
        print_field("Room:", "%llu more", (unsigned long long) json_unsigned(keys, "room"));
}
