/* The metadata of a pool: whether it is sound, and another in its place if it is not. The damaged one is only read
 * and is kept; what comes into its place does so in one commit of LVM, so that a death on the way leaves the pool as
 * it was, or repaired. */

#include "step/step.h"

#include "kernel/dm.h"
#include "kernel/lvm.h"
#include "kernel/spawn.h"

#include <quarry/log.h>
#include <quarry/text.h>

#include <inttypes.h>
#include <string.h>

#define TOOL_TIMEOUT 3600u /* seconds: grows with what is mapped, minutes have been reported for large pools */
#define SECTOR 512u

/* The last line; the others say how far it came. */
static const char *last_line(const char *text) {
        const char *line = strrchr(text, '\n');

        return line ? line + 1 : isempty(text) ? "it does not say why" : text;
}

int metadata_damage(dev_t metadata, const char *option, char **ret, Error *err) {
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        char device[DEVICE_PATH_MAX];
        int r;

        dm_device_path(metadata, device);
        char *argv[] = { (char *) "thin_check", (char *) option, device, NULL };
        r = spawn_run(argv, TOOL_TIMEOUT, &output);
        if (r < 0)
                return error_errno(err, r, "cannot run thin_check");
        if (r == 0)
                return 0;
        if (strstr(output.err, "nput/output error")) /* what is there may be well: the disk is not */
                return error_set(err, ERROR_POOL_UNAVAILABLE, EIO, "the metadata cannot be read: %s", strerror(EIO));
        *ret = strdup(last_line(output.err));
        return *ret ? 0 : error_oom(err);
}

/* --- looking ----------------------------------------------------------------------------------------------- */

static int look_at_snapshot(StepContext *c, Error *err) {
        return metadata_damage(c->metadata_lv, "--metadata-snap", &c->result->damage, err);
}

static int look_at_active(StepContext *c, Error *err) {
        DmPoolStatus status;
        const char *trouble;
        int r;

        r = dm_pool_status(c->pool.uuid, &status);
        if (r < 0)
                return error_errno(err, r, "cannot read the status of pool %s", c->pool.name);
        trouble = pool_trouble(&status);
        if (!trouble)
                return pool_with_snapshot(c, look_at_snapshot, err);
        c->result->damage = strdup(trouble);
        return c->result->damage ? 0 : error_oom(err);
}

/* Chunks that nobody has are no damage: the pool mends that when it is opened. */
static int metadata_check_run(StepContext *c, Error *err) {
        return c->pool_is_open ? look_at_active(c, err)
                               : metadata_damage(c->metadata_lv, "--ignore-non-fatal-errors", &c->result->damage, err);
}

/* --- repairing --------------------------------------------------------------------------------------------- */

/* Without damage only a mark is taken off it. */
static int metadata_mend_run(StepContext *c, Error *err) {
        return metadata_damage(c->metadata_lv, "--auto-repair", &c->result->damage, err);
}

static int repair_probe(StepContext *c, Error *err) {
        return c->result->damage ? 0 : 1;
}

static int metadata_spare_run(StepContext *c, Error *err) {
        return lvm_make_spare(c->lvm_pool, c->host, &c->spare_lv, err);
}

static int metadata_spare_undo(StepContext *c, Error *err) {
        return lvm_remove_spare(c->lvm_pool, err);
}

static int unrepairable(StepContext *c, const char *tool, const char *what, Error *err) {
        int r;

        r = error_set(err, ERROR_POOL_UNAVAILABLE, EUCLEAN,
                      "the metadata of pool %s cannot be repaired, and nothing was changed: %s says: %s", c->pool.name,
                      tool, what);
        error_hint(err, "restore its volumes from backups, or ask who knows thin_dump(8): it lies in %s/%s",
                   c->lvm_pool->info.vg, c->lvm_pool->metadata);
        return r;
}

static int metadata_repair_run(StepContext *c, Error *err) {
        const LvmPool *lvm = c->lvm_pool;
        _cleanup_(spawn_output_done) SpawnOutput output = {};
        _cleanup_free_ char *damage = NULL;
        char from[DEVICE_PATH_MAX], to[DEVICE_PATH_MAX], chunk[32], chunks[32];
        int r;

        /* What only the superblock says, should that be lost. With more chunks in use it finds the number itself. */
        buffer_format(chunk, sizeof(chunk), "%" PRIu64, lvm->chunk_size / SECTOR);
        buffer_format(chunks, sizeof(chunks), "%" PRIu64,
                      (lvm->data_size - pool_reserve_size(lvm->data_size)) / lvm->chunk_size);
        dm_device_path(c->metadata_lv, from);
        dm_device_path(c->spare_lv, to);
        char *argv[] = { (char *) "thin_repair",
                         (char *) "--data-block-size",
                         chunk,
                         (char *) "--nr-data-blocks",
                         chunks,
                         (char *) "--transaction-id",
                         (char *) "0",
                         (char *) "--input",
                         from,
                         (char *) "--output",
                         to,
                         NULL };
        r = spawn_run(argv, TOOL_TIMEOUT, &output);
        if (r < 0)
                return error_errno(err, r, "cannot run thin_repair");
        if (r > 0)
                return unrepairable(c, "thin_repair", last_line(output.err), err);
        if (!isempty(output.err))
                log_warning(c->pool.name, "thin_repair says: %s", output.err);
        r = metadata_damage(c->spare_lv, "--ignore-non-fatal-errors", &damage, err);
        return r >= 0 && damage ? unrepairable(c, "thin_check", damage, err) : r;
}

static int metadata_switch_run(StepContext *c, Error *err) {
        c->result->kept = format_new("%s/%s", c->lvm_pool->info.vg, c->lvm_pool->metadata);
        return c->result->kept ? lvm_take_spare(c->lvm_pool, err) : error_oom(err);
}

const Step step_metadata_check = { "checking the metadata", NULL, metadata_check_run, NULL };
const Step step_metadata_mend = { "checking the metadata", NULL, metadata_mend_run, NULL };
const Step step_metadata_spare = { "making room for the repaired metadata", repair_probe, metadata_spare_run,
                                   metadata_spare_undo };
const Step step_metadata_repair = { "repairing the metadata", repair_probe, metadata_repair_run, NULL };
const Step step_metadata_switch = { "taking the repaired metadata", repair_probe, metadata_switch_run, NULL };
