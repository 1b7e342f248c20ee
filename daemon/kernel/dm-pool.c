/* What is said to a thin pool. */

#include "kernel/dm.h"

#include <quarry/pool.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* The kernel commits behind such a message, and says that it succeeded also when that commit failed. Then what was done
 * is gone, and the pool has been made read-only, which shows at once. */
_printf_(2, 3) static int pool_message(sd_id128_t pool, const char *format, ...) {
        char name[KERNEL_NAME_MAX], message[64];
        DmPoolStatus status;
        va_list args;
        int r;

        va_start(args, format);
        (void) vsnprintf(message, sizeof(message), format, args);
        va_end(args);
        pool_kernel_name(pool, name);
        r = dm_message(name, message);
        if (r >= 0)
                r = dm_pool_status(pool, &status);
        return r < 0 ? r : dm_pool_has_failed(&status) ? -EIO : 0;
}

int dm_thin_create(sd_id128_t pool, uint32_t thin_id) {
        return pool_message(pool, "create_thin %" PRIu32, thin_id);
}

int dm_thin_delete(sd_id128_t pool, uint32_t thin_id) {
        return pool_message(pool, "delete %" PRIu32, thin_id);
}

int dm_thin_snapshot(sd_id128_t pool, uint32_t thin_id, uint32_t origin) {
        return pool_message(pool, "create_snap %" PRIu32 " %" PRIu32, thin_id, origin);
}

int dm_pool_reserve_snapshot(sd_id128_t pool) {
        return pool_message(pool, "reserve_metadata_snap");
}

int dm_pool_release_snapshot(sd_id128_t pool) {
        return pool_message(pool, "release_metadata_snap");
}
