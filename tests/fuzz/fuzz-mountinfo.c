/* /proc/PID/mountinfo, in which a tenant chooses names of folders and devices. */

#include "fuzz.h"

#include <quarry/mountinfo.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = input_string(data, size);
        size_t length = strlen(text), lines = 0, seen = 0;
        char *rest = text;
        MountEntry e;
        int r;

        for (const char *p = text; *p; p++)
                lines += *p == '\n' || !p[1];

        while ((r = mountinfo_next(&rest, &e)) != 0) {
                seen++;
                if (r < 0)
                        continue;

                const char *const strings[] = { e.root, e.target, e.options, e.fstype, e.source };
                for (size_t i = 0; i < ELEMENTSOF(strings); i++)
                        assert(strings[i] >= text && strings[i] + strlen(strings[i]) <= text + length);
                assert(*e.target == '/' && *e.root && *e.fstype);
                (void) mount_options_contain(e.options, "ro");
        }
        assert(seen == lines);
        return 0;
}
