/* What is wrong with one pool: as device-mapper and its metadata tell. Changes nothing. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/spawn.h"
#include "kernel/sysfs.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <stdio.h>

#define DUMP_TIMEOUT 300u /* seconds; without the mappings it is short */
#define SECTOR 512u
#define FULL_PERCENT 90u

static Finding *add(StepContext *c, FindingKind kind, const char *text) {
        Finding *f = finding_add(&c->result->findings, kind, c->pool.name, "%s", text);

        if (f)
                f->uuid = c->pool.uuid;
        return f;
}

static void audit_space(StepContext *c, const DmPoolStatus *s) {
        char used[SIZE_TEXT_MAX], size[SIZE_TEXT_MAX], text[256];

        if (s->metadata_size > 0 && s->metadata_used >= s->metadata_size / 100 * FULL_PERCENT) {
                buffer_format(text, sizeof(text),
                              "the space for maps is nearly full, %s of %s: a pool that runs out of "
                              "it must be repaired",
                              size_format(s->metadata_used, used), size_format(s->metadata_size, size));
                finding_hint(add(c, FINDING_POOL_FULL, text), "remove volumes");
        }
}

const char *pool_trouble(const DmPoolStatus *s) {
        return s->failed        ? "the kernel has given the pool up: its metadata cannot be read or written"
               : s->needs_check ? "the pool's metadata must be checked before it takes changes again"
               : s->read_only   ? "the pool is read-only: its metadata could not be written"
                                : NULL;
}

static void audit_state(StepContext *c, const DmPoolStatus *s) {
        const char *what = pool_trouble(s);

        if (what)
                finding_hint(add(c, FINDING_POOL_NEEDS_CHECK, what),
                             "unmount its volumes, then: quarry pool check %s --repair", c->pool.name);
}

/* LVM makes a logical volume smaller under a table that goes on using it, and says nothing. */
static void audit_size(StepContext *c, dev_t device, const char *part, uint64_t needed) {
        char value[SYSFS_VALUE_MAX], have[SIZE_TEXT_MAX], want[SIZE_TEXT_MAX], text[256];
        uint64_t sectors;

        if (sysfs_read(device, "size", value) < 0 || number_parse(value, &sectors) < 0 || sectors * SECTOR >= needed)
                return;
        buffer_format(text, sizeof(text),
                      "the logical volume for the pool's %s was made smaller, to %s, and the pool uses %s of it", part,
                      size_format(sectors * SECTOR, have), size_format(needed, want));
        finding_hint(add(c, FINDING_POOL_SHRUNK, text),
                     "write nothing; give it its size back at once: lvextend, then: systemctl restart quarryd");
}

static int audit_pool_run(StepContext *c, Error *err) {
        dev_t metadata, data;
        DmPoolStatus status;
        uint64_t data_size;
        int r;

        r = dm_pool_status(c->pool.uuid, &status);
        if (r >= 0)
                r = dm_pool_table(c->pool.uuid, &metadata, &data, &data_size);
        if (r < 0)
                return error_errno(err, r, "cannot look at pool %s", c->pool.name);
        c->metadata_lv = metadata;
        audit_state(c, &status);
        audit_space(c, &status);
        audit_size(c, data, "data", data_size);
        audit_size(c, metadata, "metadata", status.metadata_size);
        return 0;
}

/* --- the thin devices in the metadata ------------------------------------------------------------------- */

/* Of lines such as: <device dev_id="7" mapped_blocks="16" ...> */
static int ids_parse(const char *xml, JobResult *result) {
        static const char key[] = " dev_id=\"";
        uint32_t id, *more;

        for (const char *p = xml; (p = strstr(p, key));) {
                p += sizeof(key) - 1;
                if (sscanf(p, "%" SCNu32, &id) != 1 || id > THIN_ID_MAX)
                        return -EBADMSG;
                more = reallocarray(result->thin_ids, result->n_thin_ids + 1, sizeof(*more));
                if (!more)
                        return -ENOMEM;
                result->thin_ids = more;
                more[result->n_thin_ids++] = id;
        }
        result->thin_ids_are_known = true;
        return 0;
}

static int ids_read(StepContext *c, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        char device[DEVICE_PATH_MAX];
        int r;

        dm_device_path(c->metadata_lv, device);
        char *argv[] = { (char *) "thin_dump", (char *) "--metadata-snap", (char *) "--skip-mappings", device, NULL };
        r = spawn_run(argv, DUMP_TIMEOUT, &output);
        if (r < 0)
                return error_errno(err, r, "cannot run thin_dump");
        if (r > 0)
                return error_set(err, ERROR_FAILED, EIO, "thin_dump says: %s", output.err);
        r = ids_parse(output.out, c->result);
        return r < 0 ? error_errno(err, r, "cannot understand what thin_dump says") : 0;
}

/* A pool that takes no changes gives no snapshot; why that is was found already. */
static int audit_thin_ids_probe(StepContext *c, Error *err) {
        DmPoolStatus s;

        return dm_pool_status(c->pool.uuid, &s) < 0 || s.failed || s.needs_check || s.read_only ? 1 : 0;
}

void pool_drop_snapshot(sd_id128_t pool, const char *name) {
        DmPoolStatus s;
        int r;

        if (dm_pool_status(pool, &s) < 0 || !s.has_snapshot)
                return;
        r = dm_pool_release_snapshot(pool);
        if (r < 0)
                log_warning(name, "the snapshot of its metadata that a worker left cannot be given back: %s",
                            strerror(-r));
        else
                log_info(name, "the snapshot of its metadata that a worker left is given back");
}

int pool_with_snapshot(StepContext *c, int (*look)(StepContext *c, Error *err), Error *err) {
        int r;

        pool_drop_snapshot(c->pool.uuid, c->pool.name);
        r = dm_pool_reserve_snapshot(c->pool.uuid);
        if (r < 0)
                return error_errno(err, r, "cannot take a snapshot of the metadata of pool %s", c->pool.name);
        r = look(c, err);
        if (dm_pool_release_snapshot(c->pool.uuid) < 0)
                log_warning(c->pool.name, "the snapshot of its metadata cannot be given back");
        return r;
}

static int audit_thin_ids_run(StepContext *c, Error *err) {
        return pool_with_snapshot(c, ids_read, err);
}

const Step step_audit_pool = { "looking at the pool", NULL, audit_pool_run, NULL };
const Step step_audit_thin_ids = { "looking at the metadata", audit_thin_ids_probe, audit_thin_ids_run, NULL };
