/* References to volumes, and the names that the kernel gives back. */

#include "fuzz.h"

#include <quarry/pool.h>
#include <quarry/volume.h>

static void check_reference(const char *s) {
        char path[MOUNT_PATH_MAX], back[512], name[FULL_NAME_MAX + 1];
        Reference ref = {};
        Error err = {};

        if (reference_parse(s, "volume", &ref, &err) < 0) {
                assert_sentence(&err);
                assert(!*ref.name);
                return;
        }
        full_name_format(ref.name, ref.snapshot, name);
        (void) buffer_format(back, sizeof(back), "%s%s%s%s%s", ref.pool, *ref.pool ? ":" : "", ref.tenant,
                             *ref.tenant ? "/" : "", name);
        assert(streq(back, s));
        assert(*ref.snapshot ? full_name_is_valid(name) : volume_name_is_valid(name));
        assert(!*ref.tenant || tenant_name_is_valid(ref.tenant));
        assert(!*ref.pool || pool_name_is_valid(ref.pool));

        /* Nobody gets out of the folder of mounts by a name. */
        volume_mount_path(*ref.tenant ? ref.tenant : DEFAULT_TENANT, name, path);
        assert(path_is_plain(path) && startswith(path, MOUNT_ROOT "/"));
}

static void check_kernel_names(const char *s) {
        char name[KERNEL_NAME_MAX], uuid[KERNEL_UUID_MAX], kind[8];
        sd_id128_t pool, id;

        if (volume_uuid_from_kernel_name(s, &id) >= 0) {
                volume_thin_name(id, name);
                if (!streq(name, s))
                        volume_crypt_name(id, name);
                assert(streq(name, s));
        }
        if (kernel_uuid_parse(s, &pool, kind, &id) >= 0) {
                kernel_uuid_format(pool, kind, id, uuid);
                assert(streq(uuid, s));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *s = input_string(data, size);

        check_reference(s);
        check_kernel_names(s);
        return 0;
}
