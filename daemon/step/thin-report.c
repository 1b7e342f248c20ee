/* What thin devices take of their pool, each or together, and where two differ: as the tools read it in a snapshot of
 * the metadata. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/spawn.h"

#include <quarry/text.h>

#include <inttypes.h>

#define LIST_TIMEOUT 120u /* seconds: reads every mapping of the pool; nobody waits for it that long */
#define DELTA_TIMEOUT 600u
#define METADATA_KEPT_PART 10u
#define UNION_AT_ONCE 1000u /* thin devices on a command line */

/* While a snapshot is held each change of the metadata takes room there, which a pool must never run out of. */
static int report_probe(StepContext *c, Error *err) {
        char advice[SPACE_ADVICE_MAX];
        DmPoolStatus s;
        const char *trouble;
        int r;

        pool_drop_snapshot(c->pool.uuid, c->pool.name); /* it may be what fills the pool */
        r = dm_pool_status(c->pool.uuid, &s);
        if (r >= 0)
                r = dm_pool_table(c->pool.uuid, &c->metadata_lv, &(dev_t) { 0 }, &(uint64_t) { 0 });
        if (r < 0)
                return error_errno(err, r, "cannot look at pool %s", c->pool.name);
        trouble = pool_trouble(&s);
        if (trouble) {
                r = error_set(err, ERROR_POOL_UNAVAILABLE, EROFS, "the maps of pool %s cannot be read: %s",
                              c->pool.name, trouble);
                error_hint(err, "quarry doctor");
                return r;
        }
        if (s.out_of_data_space)
                r = error_set(err, ERROR_NO_SPACE, ENOSPC, "pool %s is full: its maps are read when it is not",
                              c->pool.name);
        else if (s.metadata_size - s.metadata_used < s.metadata_size / METADATA_KEPT_PART)
                r = error_set(err, ERROR_NO_SPACE, ENOSPC, "the metadata of pool %s is nearly full", c->pool.name);
        else
                return 0;
        error_hint(err, "make space: %s", pool_space_advice(c->pool.name, c->pool.origin, advice));
        return r;
}

static int tool_run(char *const argv[], unsigned timeout, int (*on_line)(const char *line, void *userdata),
                    void *userdata, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        int r;

        r = spawn_lines(argv, timeout, on_line, userdata, &output);
        if (r == -EBADMSG)
                return error_set(err, ERROR_FAILED, EBADMSG, "cannot understand what %s says", argv[0]);
        if (r < 0)
                return error_errno(err, r, "cannot run %s", argv[0]);
        if (r > 0)
                return error_set(err, ERROR_FAILED, EIO, "%s says: %s", argv[0], output.err);
        return 0;
}

/* --- what they take --------------------------------------------------------------------------------------- */

static int on_usage(const char *line, void *userdata) {
        JobResult *result = userdata;
        size_t n = result->n_thins;

        if ((n & (n - 1)) == 0) { /* as many as there is room for: a power of 2 */
                ThinUsage *more = reallocarray(result->thins, n ? n * 2 : 1, sizeof(*more));

                if (!more)
                        return -ENOMEM;
                result->thins = more;
        }
        if (thin_usage_parse(line, &result->thins[n]) < 0)
                return -EBADMSG;
        result->n_thins++;
        return 0;
}

static int usage_read(StepContext *c, Error *err) {
        char device[DEVICE_PATH_MAX];

        dm_device_path(c->metadata_lv, device);
        char *argv[] = { (char *) "thin_ls",
                         (char *) "--metadata-snap",
                         (char *) "--format",
                         (char *) "DEV,MAPPED_BYTES,EXCLUSIVE_BYTES",
                         (char *) "--no-headers",
                         device,
                         NULL };
        return tool_run(argv, LIST_TIMEOUT, on_usage, c->result, err);
}

static int thin_usage_run(StepContext *c, Error *err) {
        return pool_with_snapshot(c, usage_read, err);
}

/* --- what some of them take together ---------------------------------------------------------------------- */

static int on_mapping(const char *line, void *userdata) {
        return thin_union_parse(userdata, line);
}

/* Those that are gone by now are passed over. */
static int union_add(StepContext *c, const uint32_t *ids, size_t n, ThinUnion *u, Error *err) {
        char device[DEVICE_PATH_MAX], texts[UNION_AT_ONCE][16];
        char *argv[2 * UNION_AT_ONCE + 4] = { (char *) "thin_dump", (char *) "--metadata-snap" };
        size_t argc = 2;
        int r;

        dm_device_path(c->metadata_lv, device);
        for (size_t i = 0; i < n; i++) {
                buffer_format(texts[i], sizeof(texts[i]), "%u", ids[i]);
                argv[argc++] = (char *) "--dev-id";
                argv[argc++] = texts[i];
        }
        argv[argc] = device;
        r = tool_run(argv, LIST_TIMEOUT, on_mapping, u, err);
        if (r >= 0 && (!u->seen || u->is_open))
                r = error_set(err, ERROR_FAILED, EBADMSG, "cannot understand what thin_dump says: its end is missing");
        return r;
}

static int union_read(StepContext *c, Error *err) {
        _cleanup_(thin_union_done) ThinUnion u = {};
        DmPoolStatus s;
        int r;

        r = dm_pool_status(c->pool.uuid, &s);
        if (r < 0)
                return error_errno(err, r, "cannot look at pool %s", c->pool.name);
        u.data_size = s.data_size;
        for (size_t i = 0; i < c->job->n_thin_ids && r >= 0; i += UNION_AT_ONCE) {
                size_t left = c->job->n_thin_ids - i;

                r = union_add(c, c->job->thin_ids + i, left < UNION_AT_ONCE ? left : UNION_AT_ONCE, &u, err);
        }
        if (r >= 0)
                c->result->used = u.n_seen * u.chunk_size;
        return r;
}

static int thin_union_run(StepContext *c, Error *err) {
        return pool_with_snapshot(c, union_read, err);
}

/* --- where two differ ------------------------------------------------------------------------------------- */

static int on_delta(const char *line, void *userdata) {
        return thin_delta_parse(userdata, line);
}

static int too_many(const StepContext *c, Error *err) {
        const Volume *from = &c->job->source, *to = &c->job->volume;
        int r;

        r = error_set(err, ERROR_NOT_SUPPORTED, E2BIG,
                      "%s and %s differ in %" PRIu64 " ranges, and at most %u are listed", from->spec.name,
                      to->spec.name, c->result->delta.count, JOB_RANGES_MAX);
        error_hint(err, "ask for the total: quarry diff --total %s %s", VOLUME_REFERENCE(&from->spec),
                   VOLUME_REFERENCE(&to->spec));
        return r;
}

static int delta_read(StepContext *c, Error *err) {
        const Volume *from = &c->job->source, *to = &c->job->volume;
        _cleanup_(thin_delta_parser_done) ThinDeltaParser parser = {
                .keep = c->job->total_only ? 0 : JOB_RANGES_MAX,
                .join = c->job->join,
                .mapped = c->job->mapped,
                .sizes = { volume_spec_device_size(&from->spec), volume_spec_device_size(&to->spec) },
        };
        char one[16], other[16], device[DEVICE_PATH_MAX];
        int r;

        buffer_format(one, sizeof(one), "%u", from->thin_id);
        buffer_format(other, sizeof(other), "%u", to->thin_id);
        dm_device_path(c->metadata_lv, device);
        char *argv[] = { (char *) "thin_delta",
                         (char *) "--metadata-snap",
                         (char *) "--thin1",
                         one,
                         (char *) "--thin2",
                         other,
                         device,
                         NULL };
        r = tool_run(argv, DELTA_TIMEOUT, on_delta, &parser, err);
        if (r < 0)
                return r;
        r = thin_delta_finish(&parser, &c->result->delta);
        if (r < 0)
                return error_errno(err, r, "cannot understand what thin_delta says");
        return !c->job->total_only && c->result->delta.count > JOB_RANGES_MAX ? too_many(c, err) : 0;
}

static int thin_delta_run(StepContext *c, Error *err) {
        return pool_with_snapshot(c, delta_read, err);
}

const Step step_thin_usage = { "reading the pool's maps", report_probe, thin_usage_run, NULL };
const Step step_thin_union = { "counting what volumes take together", report_probe, thin_union_run, NULL };
const Step step_thin_delta = { "comparing the volumes' maps", report_probe, thin_delta_run, NULL };
