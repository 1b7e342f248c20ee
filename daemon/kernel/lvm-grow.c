/* Making the parts of a pool larger. */

#include "kernel/dm.h"
#include "kernel/lvm-command.h"
#include "kernel/probe.h"

#include <quarry/text.h>

#include <inttypes.h>

#define LV_PATH_MAX 300

/* LVM VERB WORDS... of these devices. */
static int run(const char *verb, char *const *devices, const char *const *words, char *const *more, Error *err) {
        _cleanup_strv_ char **argv = NULL;
        int r;

        r = lvm_command_new(verb, devices, &argv, err);
        if (r >= 0)
                r = lvm_command_extend(&argv, err, words);
        if (r >= 0 && more)
                r = lvm_command_extend(&argv, err, (const char *const *) more);
        return r < 0 ? r : lvm_command_run(argv, NULL, err);
}

/* Those of the devices that the group does not have yet: a repeated call finds them in it. */
static int devices_missing(const LvmPool *pool, char *const *devices, char ***ret, Error *err) {
        _cleanup_strv_ char **missing = NULL;

        for (char *const *d = devices; *d; d++) {
                bool there = false;
                dev_t one, other;

                if (probe_device_number(*d, &one) >= 0)
                        for (char **have = pool->info.devices; have && *have && !there; have++)
                                there = probe_device_number(*have, &other) >= 0 && one == other;
                if (!there && strv_append(&missing, *d) < 0)
                        return error_oom(err);
        }
        *ret = TAKE_PTR(missing);
        return 0;
}

int lvm_add_devices(const LvmPool *pool, char *const *devices, Error *err) {
        _cleanup_strv_ char **missing = NULL, **all = NULL;
        int r;

        r = devices_missing(pool, devices, &missing, err);
        if (r < 0 || !missing)
                return r;
        r = lvm_check_devices(missing, err);
        if (r < 0)
                return r;
        if (strv_copy(pool->info.devices, &all) < 0)
                return error_oom(err);
        for (char **d = missing; *d; d++)
                if (strv_append(&all, *d) < 0)
                        return error_oom(err);
        /* Without --yes: vgextend refuses to overwrite a signature too. */
        return run("vgextend", all, WORDS(pool->info.vg), missing, err);
}

int lvm_resize_devices(const LvmPool *pool, Error *err) {
        return run("pvresize", pool->info.devices, WORDS(NULL), pool->info.devices, err);
}

static int lv_grow(const LvmPool *pool, const char *lv, uint64_t size, Error *err) {
        char path[LV_PATH_MAX], text[32];

        buffer_format(path, sizeof(path), "%s/%s", pool->info.vg, lv);
        buffer_format(text, sizeof(text), "%" PRIu64 "b", size);
        return run("lvextend", pool->info.devices, WORDS("--size", text, path), NULL, err);
}

int lvm_grow_volumes(const LvmPool *pool, const PoolLayout *layout, Error *err) {
        int r = 0;

        /* The maps first: data that cannot be mapped would be worse than none. */
        if (layout->metadata > pool->metadata_size)
                r = lv_grow(pool, pool->metadata, layout->metadata, err);
        if (r >= 0 && layout->data > pool->data_size)
                r = lv_grow(pool, pool->data, layout->data, err);
        return r;
}
