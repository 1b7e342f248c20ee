#pragma once

/* What a look at the whole host found wrong. A worker notes what it sees in the kernel and on the disks; where only a
 * catalog can tell whether it belongs to somebody, the broker strikes out what does. */

#include <quarry/base.h>

#include <systemd/sd-id128.h>
#include <systemd/sd-json.h>

/* THE table: kind, its word, whether `quarry doctor --fix` repairs it. */
#define FINDING_KINDS(X)                                   \
        X(STRAY_DEVICE, "strayDevice", true)               \
        X(STRAY_MAPPING, "strayMapping", true)             \
        X(STRAY_MOUNT, "strayMount", false)                \
        X(STRAY_MOUNT_POINT, "strayMountPoint", true)      \
        X(STRAY_DESCRIPTION, "strayDescription", true)     \
        X(STRAY_LOCK, "strayLock", true)                   \
        X(STRAY_LOOP, "strayLoop", false)                  \
        X(FOREIGN_DEVICE, "foreignDevice", false)          \
        X(THIN_WITHOUT_VOLUME, "thinWithoutVolume", false) \
        X(VOLUME_WITHOUT_THIN, "volumeWithoutThin", false) \
        X(VOLUME_BROKEN, "volumeBroken", false)            \
        X(REMOVAL_UNFINISHED, "removalUnfinished", true)   \
        X(NAME_TWICE, "nameTwice", false)                  \
        X(POOL_ENTRY, "poolEntry", false)                  \
        X(POOL_UNAVAILABLE, "poolUnavailable", false)      \
        X(POOL_SILENT, "poolSilent", false)                \
        X(POOL_NEEDS_CHECK, "poolNeedsCheck", false)       \
        X(POOL_FULL, "poolFull", false)                    \
        X(POOL_SHRUNK, "poolShrunk", false)                \
        X(CATALOG_DAMAGED, "catalogDamaged", false)        \
        X(HOST_KEY, "hostKey", false)                      \
        X(UDEV_RULES, "udevRules", false)                  \
        X(UNIT_DISABLED, "unitDisabled", false)

typedef enum FindingKind {
#define FINDING_ENUM(kind, word, fixable) FINDING_##kind,
        FINDING_KINDS(FINDING_ENUM)
#undef FINDING_ENUM
                _FINDING_KIND_MAX,
} FindingKind;

const char *finding_kind_to_string(FindingKind kind);
int finding_kind_from_string(const char *s); /* -EINVAL */
bool finding_kind_is_fixable(FindingKind kind);

typedef struct Finding {
        FindingKind kind;
        sd_id128_t uuid; /* of the volume, or of the pool if it is about one; null if it is about neither */
        sd_id128_t pool; /* in which a volume's device lies, where that can be seen */
        char *object;    /* name, path */
        char *text;      /* one sentence for people */
        char *hint;      /* what to run, or NULL */
        bool fixed;
} Finding;

typedef struct FindingList {
        Finding *items;
        size_t n;
} FindingList;

void finding_list_done(FindingList *list);

/* Adds one; NULL: out of memory. The caller may fill in uuid, pool and hint. */
Finding *finding_add(FindingList *list, FindingKind kind, const char *object, const char *format, ...) _printf_(4, 5);
void finding_hint(Finding *finding, const char *format, ...) _printf_(2, 3); /* finding may be NULL */

/* Takes out those of which keep() says no. */
void finding_filter(FindingList *list, bool (*keep)(const Finding *finding, void *userdata), void *userdata);
/* Moves all of `from` to the end of list; 0 or -ENOMEM. */
int finding_join(FindingList *list, FindingList *from);

/* An array; NULL if the list is empty. Returns >= 0 or -errno. */
int finding_list_to_json(const FindingList *list, sd_json_variant **ret);
int finding_list_from_json(sd_json_variant *v, FindingList *ret); /* -EINVAL, -ENOMEM */
