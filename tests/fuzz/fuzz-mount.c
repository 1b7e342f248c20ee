/* How a volume is to be mounted, as typed: the first byte chooses what it is. And subuid(5). */

#include "fuzz.h"

#include <quarry/mount.h>
#include <quarry/mountinfo.h>

/* What one program accepted the next one takes for the same. */
static void check_spec(const MountSpec *spec) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
        bool trusted = spec->options & (MOUNT_SUID | MOUNT_DEV);
        MountSpec again;
        Error err = {};
        uint64_t n = 0;

        assert((spec->options & ~spec->said) == 0);
        assert(mount_spec_to_json(spec, &v) >= 0);
        if (mount_spec_validate(spec, true, &err) < 0) {
                assert_sentence(&err);
                assert(mount_spec_from_json(v, true, &again, NULL) < 0);
                return;
        }
        for (size_t i = 0; i < spec->n_idmap; i++) {
                const IdRange *r = &spec->idmap[i];

                assert(r->uid > 0 && r->gid > 0 && r->count > 0);
                assert((uint64_t) r->uid + r->count <= UINT32_MAX && (uint64_t) r->gid + r->count <= UINT32_MAX);
                n += r->count;
        }
        assert(n < UINT32_MAX);
        assert((mount_spec_from_json(v, true, &again, NULL) >= 0) == !trusted);
        assert(trusted || memcmp(spec, &again, sizeof(again)) == 0);
        assert(mount_spec_validate(spec, false, NULL) < 0 || (!trusted && !mount_spec_has_map(spec)));
}

static void check_subid(const char *text) {
        bool both = subid_has(text, "a", 1, 100, 20);

        assert(!both || (subid_has(text, "a", 1, 100, 10) && subid_has(text, "a", 1, 110, 10)));
        assert(!subid_has(text, "a", 1, 100, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = size > 0 ? input_string(data + 1, size - 1) : NULL;
        char context[MOUNT_CONTEXT_MAX + 1];
        MountSpec spec = {};
        Error err = {};
        int r = 0;

        if (!text)
                return 0;
        switch (data[0] % 4) {
        case 0:
                r = mount_spec_add_options(&spec, text, &err);
                break;
        case 1:
                for (char *rest = text, *line; r >= 0 && (line = strsep(&rest, "\n"));)
                        r = mount_spec_add_range(&spec, line, &err);
                break;
        case 2:
                r = mount_spec_set_context(&spec, text, &err);
                break;
        case 3:
                check_subid(text);
                (void) mount_context(text, context, sizeof(context));
                return 0;
        }
        if (r < 0)
                assert_sentence(&err);
        else
                check_spec(&spec);
        return 0;
}
