#include "kernel/lvm-report.h"

#include "kernel/probe.h"
#include "kernel/sysfs.h"

#include <quarry/log.h>
#include <quarry/text.h>

void lvm_pool_done(LvmPool *pool) {
        pool_info_done(&pool->info);
        free(pool->host);
        free(pool->vg_uuid);
        strv_free(pool->old_metadata);
        *pool = (LvmPool) {};
}

void lvm_pools_free(LvmPool *pools, size_t count) {
        for (size_t i = 0; i < count; i++)
                lvm_pool_done(pools + i);
        free(pools);
}

bool lvm_pool_is_complete(const LvmPool *pool) {
        return pool->catalog[0] && pool->metadata[0] && pool->data[0];
}

/* --- rows ----------------------------------------------------------------------------------------------- */

void lvm_report_done(LvmReport *report) {
        free(report->rows);
        sd_json_variant_unref(report->json);
        *report = (LvmReport) {};
}

/* LVM writes byte counts as strings, and nothing where there is no volume group. */
static int dispatch_number(const char *name, sd_json_variant *v, sd_json_dispatch_flags_t flags, void *userdata) {
        uint64_t *number = userdata;

        if (sd_json_variant_is_unsigned(v))
                *number = sd_json_variant_unsigned(v);
        else if (!sd_json_variant_is_string(v))
                return -EINVAL;
        else if (isempty(sd_json_variant_string(v)))
                *number = 0;
        else
                return number_parse(sd_json_variant_string(v), number);
        return 0;
}

static int row_parse(sd_json_variant *v, LvmRow *ret) {
        static const sd_json_dispatch_field fields[] = {
                { "pv_name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(LvmRow, pv),
                  SD_JSON_MANDATORY },
                { "vg_name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(LvmRow, vg),
                  SD_JSON_MANDATORY },
                { "vg_uuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(LvmRow, vg_uuid),
                  SD_JSON_MANDATORY },
                { "vg_tags", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(LvmRow, vg_tags), 0 },
                { "vg_free", _SD_JSON_VARIANT_TYPE_INVALID, dispatch_number, offsetof(LvmRow, vg_free), 0 },
                { "vg_extent_size", _SD_JSON_VARIANT_TYPE_INVALID, dispatch_number, offsetof(LvmRow, vg_extent), 0 },
                { "vg_missing_pv_count", _SD_JSON_VARIANT_TYPE_INVALID, dispatch_number, offsetof(LvmRow, vg_missing),
                  0 },
                { "lv_name", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(LvmRow, lv),
                  SD_JSON_MANDATORY },
                { "lv_size", _SD_JSON_VARIANT_TYPE_INVALID, dispatch_number, offsetof(LvmRow, lv_size), 0 },
                { "lv_tags", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(LvmRow, lv_tags), 0 },
                {},
        };

        *ret = (LvmRow) {};
        return sd_json_dispatch(v, fields, SD_JSON_ALLOW_EXTENSIONS, ret) < 0 ? -EBADMSG : 0;
}

int lvm_report_parse(const char *text, LvmReport *ret) {
        _cleanup_(lvm_report_done) LvmReport report = {};
        sd_json_variant *rows;

        if (sd_json_parse(text, 0, &report.json, NULL, NULL) < 0)
                return -EBADMSG;
        rows = sd_json_variant_by_key(sd_json_variant_by_index(sd_json_variant_by_key(report.json, "report"), 0), "pv");
        if (!rows || !sd_json_variant_is_array(rows))
                return -EBADMSG;
        report.rows = calloc(sd_json_variant_elements(rows) + 1, sizeof(LvmRow));
        if (!report.rows)
                return -ENOMEM;
        for (; report.n_rows < sd_json_variant_elements(rows); report.n_rows++)
                if (row_parse(sd_json_variant_by_index(rows, report.n_rows), report.rows + report.n_rows) < 0)
                        return -EBADMSG;
        *ret = report;
        report = (LvmReport) {};
        return 0;
}

/* --- tags ----------------------------------------------------------------------------------------------- */

/* The rest of the tag that starts with prefix, or NULL. */
static const char *tag_find(sd_json_variant *tags, const char *prefix) {
        for (size_t i = 0; i < sd_json_variant_elements(tags); i++) {
                sd_json_variant *tag = sd_json_variant_by_index(tags, i);
                const char *rest = sd_json_variant_is_string(tag) ? startswith(sd_json_variant_string(tag), prefix)
                                                                  : NULL;

                if (rest)
                        return rest;
        }
        return NULL;
}

static bool tags_contain(sd_json_variant *tags, const char *tag) {
        for (size_t i = 0; i < sd_json_variant_elements(tags); i++)
                if (streq_ptr(sd_json_variant_string(sd_json_variant_by_index(tags, i)), tag))
                        return true;
        return false;
}

/* The uuid of the pool that a row tells of: a logical volume of it, or the volume group made for it. */
static int row_pool(const LvmRow *row, sd_id128_t *ret) {
        sd_json_variant *tags = isempty(row->lv) ? row->vg_tags : row->lv_tags;
        const char *uuid;

        if (!tags || !tags_contain(tags, "quarry"))
                return -ENOENT;
        uuid = tag_find(tags, "quarry.uuid=");
        return uuid && sd_id128_from_string(uuid, ret) >= 0 ? 0 : -ENOENT;
}

/* Each part is taken once; a second logical volume in the same role makes the pool doubtful. */
static int part_set(char name[static 128], uint64_t *size, const LvmRow *row) {
        if (name[0])
                return streq(name, row->lv) ? 0 : -ENOTUNIQ;
        *size = row->lv_size;
        return buffer_format(name, 128, "%s", row->lv) ? 0 : -EBADMSG;
}

static int data_tags_set(LvmPool *pool, sd_json_variant *tags) {
        const char *name = tag_find(tags, "quarry.pool="), *chunk = tag_find(tags, "quarry.chunk="),
                   *origin = tag_find(tags, "quarry.origin="), *host = tag_find(tags, "quarry.host=");
        int r = origin ? pool_origin_from_string(origin) : -EINVAL;

        /* Tags come with disks from elsewhere: nothing in them is believed. */
        if (r < 0 || !name || !pool_name_is_valid(name) || !chunk || number_parse(chunk, &pool->chunk_size) < 0 ||
            pool->chunk_size < POOL_CHUNK_SIZE_MIN || pool->chunk_size > POOL_CHUNK_SIZE_MAX ||
            pool->chunk_size % POOL_CHUNK_SIZE_MIN != 0)
                return -EBADMSG;
        buffer_format(pool->info.name, sizeof(pool->info.name), "%s", name);
        pool->info.origin = (PoolOrigin) r;
        pool->info.chunk_size = pool->chunk_size;
        if (!host || pool->host)
                return 0;
        pool->host = strdup(host);
        return pool->host ? 0 : -ENOMEM;
}

/* Each repair makes another: the last one counts, and the others are kept. */
static int metadata_set(LvmPool *pool, const LvmRow *row) {
        const char *tag = tag_find(row->lv_tags, "quarry.generation=");
        uint64_t generation = 0;

        if (tag && number_parse(tag, &generation) < 0)
                return -EBADMSG;
        if (streq(pool->metadata, row->lv) || strv_contains(pool->old_metadata, row->lv))
                return 0;
        if (pool->metadata[0] && generation == pool->generation)
                return -ENOTUNIQ;
        if (pool->metadata[0] && generation < pool->generation)
                return strv_append(&pool->old_metadata, row->lv);
        if (pool->metadata[0] && strv_append(&pool->old_metadata, pool->metadata) < 0)
                return -ENOMEM;
        pool->metadata[0] = 0;
        pool->generation = generation;
        return part_set(pool->metadata, &pool->metadata_size, row);
}

static int role_set(LvmPool *pool, const LvmRow *row) {
        const char *role = isempty(row->lv) ? NULL : tag_find(row->lv_tags, "quarry.role=");

        if (!role)
                return 0;
        if (streq(role, "catalog"))
                return part_set(pool->catalog, &pool->catalog_size, row);
        if (streq(role, "metadata"))
                return metadata_set(pool, row);
        if (streq(role, "spare"))
                return part_set(pool->spare, &pool->spare_size, row);
        if (!streq(role, "data"))
                return 0;
        int r = part_set(pool->data, &pool->data_size, row);
        return r < 0 ? r : data_tags_set(pool, row->lv_tags);
}

/* --- pools ---------------------------------------------------------------------------------------------- */

static int pool_find_or_add(LvmPool **pools, size_t *count, sd_id128_t uuid, const LvmRow *row, LvmPool **ret) {
        LvmPool *more;

        for (size_t i = 0; i < *count; i++)
                if (sd_id128_equal((*pools)[i].info.uuid, uuid) && streq((*pools)[i].vg_uuid, row->vg_uuid)) {
                        *ret = *pools + i;
                        return 0;
                }
        more = realloc(*pools, (*count + 1) * sizeof(*more));
        if (!more)
                return -ENOMEM;
        *pools = more;
        *ret = more + (*count)++;
        **ret = (LvmPool) { .info.uuid = uuid,
                            .info.vg = strdup(row->vg),
                            .vg_uuid = strdup(row->vg_uuid),
                            .vg_free = row->vg_free,
                            .vg_extent = row->vg_extent };
        return (*ret)->info.vg && (*ret)->vg_uuid ? 0 : -ENOMEM;
}

/* The physical volumes of its volume group, and the file behind a loop device. */
static int devices_set(LvmPool *pool, const LvmReport *report) {
        char file[SYSFS_VALUE_MAX];
        dev_t device;

        for (size_t i = 0; i < report->n_rows; i++) {
                const LvmRow *row = report->rows + i;

                if (streq(row->vg_uuid, pool->vg_uuid) && row->pv[0] == '/' &&
                    !strv_contains(pool->info.devices, row->pv) && strv_append(&pool->info.devices, row->pv) < 0)
                        return -ENOMEM;
        }
        if (pool->info.origin != POOL_FILE || strv_length(pool->info.devices) != 1 ||
            probe_device_number(pool->info.devices[0], &device) < 0 ||
            sysfs_read(device, "loop/backing_file", file) < 0)
                return 0;
        pool->info.file = strdup(file);
        return pool->info.file ? 0 : -ENOMEM;
}

/* Until the end, so that later rows do not make it look like another, incomplete one. */
#define CHUNK_SIZE_DOUBTFUL UINT64_MAX

static int pools_collect(const LvmReport *report, LvmPool **pools, size_t *count) {
        for (size_t i = 0; i < report->n_rows; i++) {
                const LvmRow *row = report->rows + i;
                sd_id128_t uuid;
                LvmPool *pool;
                int r;

                if (row_pool(row, &uuid) < 0)
                        continue;
                r = pool_find_or_add(pools, count, uuid, row, &pool);
                if (r < 0)
                        return r;
                if (pool->chunk_size == CHUNK_SIZE_DOUBTFUL)
                        continue;
                r = role_set(pool, row);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        pool->chunk_size = CHUNK_SIZE_DOUBTFUL;
        }
        return 0;
}

static void pools_drop_doubtful(LvmPool *pools, size_t *count) {
        for (size_t i = 0; i < *count;) {
                if (pools[i].chunk_size != CHUNK_SIZE_DOUBTFUL) {
                        i++;
                        continue;
                }
                log_debug(NULL, "volume group %s: the tags of a pool contradict each other", pools[i].info.vg);
                lvm_pool_done(pools + i);
                pools[i] = pools[--*count];
        }
}

int lvm_report_pools(const LvmReport *report, LvmPool **ret, size_t *ret_count) {
        LvmPool *pools = NULL;
        size_t count = 0;
        int r;

        r = pools_collect(report, &pools, &count);
        pools_drop_doubtful(pools, &count);
        for (size_t i = 0; r >= 0 && i < count; i++)
                r = devices_set(pools + i, report);
        if (r < 0) {
                lvm_pools_free(pools, count);
                return r;
        }
        *ret = pools;
        *ret_count = count;
        return 0;
}
