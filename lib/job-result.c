#include "job-form.h"

#include <quarry/text.h>

void job_result_done(JobResult *result) {
        for (size_t i = 0; i < result->n_pools; i++)
                pool_info_done(&result->pools[i]);
        free(result->pools);
        free(result->devices);
        free(result->spaces);
        free(result->path);
        free(result->source_id);
        free(result->users);
        free(result->damage);
        free(result->kept);
        free(result->thin_ids);
        free(result->elapses);
        free(result->thins);
        free(result->host_keys);
        thin_delta_done(&result->delta);
        finding_list_done(&result->findings);
        *result = (JobResult) {};
}

static int pools_to_json(const JobResult *result, sd_json_variant **ret) {
        for (size_t i = 0; i < result->n_pools; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *v = NULL;
                int r = pool_info_to_json(&result->pools[i], &v);

                if (r >= 0)
                        r = sd_json_variant_append_array(ret, v);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int devices_to_json(const JobResult *result, sd_json_variant **ret) {
        for (size_t i = 0; i < result->n_devices; i++) {
                const JobDevice *d = &result->devices[i];
                int r = sd_json_variant_append_arraybo(ret, SD_JSON_BUILD_PAIR_UUID("uuid", d->uuid),
                                                       SD_JSON_BUILD_PAIR_UNSIGNED("usedBytes", d->used),
                                                       SD_JSON_BUILD_PAIR_BOOLEAN("stopped", d->stopped),
                                                       SD_JSON_BUILD_PAIR_CONDITION(
                                                               !sd_id128_is_null(d->content), "content",
                                                               SD_JSON_BUILD_UUID(d->content)),
                                                       SD_JSON_BUILD_PAIR_CONDITION(
                                                               d->unchanged, "unchanged", SD_JSON_BUILD_BOOLEAN(true)));

                if (r < 0)
                        return r;
        }
        return 0;
}

static int spaces_to_json(const JobResult *result, sd_json_variant **ret) {
        for (size_t i = 0; i < result->n_spaces; i++) {
                const JobSpace *s = &result->spaces[i];
                int r = sd_json_variant_append_arraybo(
                                ret,
                                SD_JSON_BUILD_PAIR_UUID("uuid", s->uuid),
                                SD_JSON_BUILD_PAIR_UNSIGNED("dataSizeBytes", s->data_size),
                                SD_JSON_BUILD_PAIR_UNSIGNED("dataUsedBytes", s->data_used),
                                SD_JSON_BUILD_PAIR_UNSIGNED("metadataSizeBytes", s->metadata_size),
                                SD_JSON_BUILD_PAIR_UNSIGNED("metadataUsedBytes", s->metadata_used),
                                SD_JSON_BUILD_PAIR_UNSIGNED("dirtyBytes", s->dirty),
                                SD_JSON_BUILD_PAIR_BOOLEAN("full", s->full),
                                SD_JSON_BUILD_PAIR_BOOLEAN("relieved", s->relieved),
                                SD_JSON_BUILD_PAIR_BOOLEAN("readOnly", s->read_only),
                                SD_JSON_BUILD_PAIR_BOOLEAN("failed", s->failed));

                if (r < 0)
                        return r;
        }
        return 0;
}

int thin_ids_to_json(const uint32_t *ids, size_t n, sd_json_variant **ret) {
        int r = sd_json_variant_new_array(ret, NULL, 0);

        for (size_t i = 0; r >= 0 && i < n; i++)
                r = sd_json_variant_append_arrayb(ret, SD_JSON_BUILD_UNSIGNED(ids[i]));
        return r;
}

static int thins_to_json(const JobResult *result, sd_json_variant **ret) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < result->n_thins; i++)
                r = sd_json_variant_append_arraybo(
                                ret,
                                SD_JSON_BUILD_PAIR_UNSIGNED("thinId", result->thins[i].thin_id),
                                SD_JSON_BUILD_PAIR_UNSIGNED("usedBytes", result->thins[i].used),
                                SD_JSON_BUILD_PAIR_UNSIGNED("exclusiveBytes", result->thins[i].exclusive));
        return r;
}

/* Its ranges are numbers in turn, offset and length: there may be many. */
static int delta_to_json(const ThinDelta *delta, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *ranges = NULL;
        int r = sd_json_variant_new_array(&ranges, NULL, 0);

        for (size_t i = 0; r >= 0 && i < delta->n_ranges; i++) {
                r = sd_json_variant_append_arrayb(&ranges, SD_JSON_BUILD_UNSIGNED(delta->ranges[i].offset));
                if (r >= 0)
                        r = sd_json_variant_append_arrayb(&ranges, SD_JSON_BUILD_UNSIGNED(delta->ranges[i].length));
        }
        return r < 0 ? r
                     : sd_json_buildo(ret, SD_JSON_BUILD_PAIR_UNSIGNED("chunkSizeBytes", delta->chunk_size),
                                      SD_JSON_BUILD_PAIR_UNSIGNED("totalBytes", delta->total),
                                      SD_JSON_BUILD_PAIR_UNSIGNED("count", delta->count),
                                      SD_JSON_BUILD_PAIR_VARIANT("ranges", ranges));
}

static int elapses_to_json(const JobResult *result, sd_json_variant **ret) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < result->n_elapses; i++)
                r = sd_json_variant_append_arrayb(ret, SD_JSON_BUILD_UNSIGNED(result->elapses[i]));
        return r;
}

int job_result_to_json(const JobResult *result, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *pools = NULL, *devices = NULL, *findings = NULL,
                                                          *thin_ids = NULL, *spaces = NULL, *thins = NULL,
                                                          *delta = NULL, *elapses = NULL, *keys = NULL,
                                                          *host_keys = NULL;

        int r = pools_to_json(result, &pools);
        if (r >= 0)
                r = devices_to_json(result, &devices);
        if (r >= 0)
                r = finding_list_to_json(&result->findings, &findings);
        if (r >= 0 && result->thin_ids_are_known)
                r = thin_ids_to_json(result->thin_ids, result->n_thin_ids, &thin_ids);
        if (r >= 0)
                r = spaces_to_json(result, &spaces);
        if (r >= 0)
                r = elapses_to_json(result, &elapses);
        if (r >= 0)
                r = thins_to_json(result, &thins);
        if (r >= 0 && result->delta.chunk_size > 0)
                r = delta_to_json(&result->delta, &delta);
        if (r >= 0 && (result->keys.n > 0 || *result->keys.host_key))
                r = volume_keys_to_json(&result->keys, &keys);
        if (r >= 0)
                r = host_keys_to_json(result->host_keys, result->n_host_keys, &host_keys);
        if (r < 0)
                return r;

        return sd_json_buildo(
                        ret,
                        SD_JSON_BUILD_PAIR_CONDITION(!!pools, "pools", SD_JSON_BUILD_VARIANT(pools)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!devices, "devices", SD_JSON_BUILD_VARIANT(devices)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!findings, "findings", SD_JSON_BUILD_VARIANT(findings)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!thin_ids, "thinIds", SD_JSON_BUILD_VARIANT(thin_ids)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!spaces, "spaces", SD_JSON_BUILD_VARIANT(spaces)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!elapses, "elapses", SD_JSON_BUILD_VARIANT(elapses)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!thins, "thins", SD_JSON_BUILD_VARIANT(thins)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!delta, "delta", SD_JSON_BUILD_VARIANT(delta)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!keys, "keys", SD_JSON_BUILD_VARIANT(keys)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!host_keys, "hostKeys", SD_JSON_BUILD_VARIANT(host_keys)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!result->path, "path", SD_JSON_BUILD_STRING(result->path)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        !!result->source_id, "sourceId", SD_JSON_BUILD_STRING(result->source_id)),
                        SD_JSON_BUILD_PAIR_BOOLEAN("open", result->open),
                        SD_JSON_BUILD_PAIR_UNSIGNED("usedBytes", result->used),
                        SD_JSON_BUILD_PAIR_UNSIGNED("freedBytes", result->freed),
                        SD_JSON_BUILD_PAIR_UNSIGNED("offset", result->offset),
                        SD_JSON_BUILD_PAIR_UNSIGNED("uid", result->uid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("gid", result->gid),
                        SD_JSON_BUILD_PAIR_UNSIGNED("mode", result->mode),
                        SD_JSON_BUILD_PAIR_CONDITION(!!result->damage, "damage", SD_JSON_BUILD_STRING(result->damage)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!result->kept, "kept", SD_JSON_BUILD_STRING(result->kept)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!result->users, "users", SD_JSON_BUILD_STRING(result->users)));
}

static int device_from_json(sd_json_variant *v, JobDevice *ret) {
        static const sd_json_dispatch_field table[] = {
                { "uuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(JobDevice, uuid),
                  SD_JSON_MANDATORY },
                { "usedBytes", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(JobDevice, used),
                  SD_JSON_MANDATORY },
                { "stopped", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(JobDevice, stopped), 0 },
                { "content", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(JobDevice, content), 0 },
                { "unchanged", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(JobDevice, unchanged), 0 },
                {},
        };

        int r = sd_json_dispatch(v, table, 0, ret);
        return r >= 0 && sd_id128_is_null(ret->uuid) ? -EINVAL : r;
}

static int devices_from_json(sd_json_variant *list, JobResult *result) {
        size_t n = list ? sd_json_variant_elements(list) : 0;

        if (n == 0)
                return 0;
        result->devices = calloc(n, sizeof(JobDevice));
        if (!result->devices)
                return -ENOMEM;

        for (; result->n_devices < n; result->n_devices++) {
                int r = device_from_json(sd_json_variant_by_index(list, result->n_devices),
                                         &result->devices[result->n_devices]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int space_from_json(sd_json_variant *v, JobSpace *ret) {
#define NUMBER SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64
        static const sd_json_dispatch_field table[] = {
                { "uuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(JobSpace, uuid), SD_JSON_MANDATORY },
                { "dataSizeBytes", NUMBER, offsetof(JobSpace, data_size), SD_JSON_MANDATORY },
                { "dataUsedBytes", NUMBER, offsetof(JobSpace, data_used), SD_JSON_MANDATORY },
                { "metadataSizeBytes", NUMBER, offsetof(JobSpace, metadata_size), SD_JSON_MANDATORY },
                { "metadataUsedBytes", NUMBER, offsetof(JobSpace, metadata_used), SD_JSON_MANDATORY },
                { "dirtyBytes", NUMBER, offsetof(JobSpace, dirty), 0 },
                { "full", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(JobSpace, full), 0 },
                { "relieved", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(JobSpace, relieved), 0 },
                { "readOnly", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(JobSpace, read_only), 0 },
                { "failed", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(JobSpace, failed), 0 },
                {},
        };
#undef NUMBER
        int r = sd_json_dispatch(v, table, 0, ret);

        return r >= 0 && (ret->data_used > ret->data_size || ret->metadata_used > ret->metadata_size) ? -EINVAL : r;
}

static int spaces_from_json(sd_json_variant *list, JobResult *result) {
        size_t n = list ? sd_json_variant_elements(list) : 0;

        if (n == 0)
                return 0;
        result->spaces = calloc(n, sizeof(JobSpace));
        if (!result->spaces)
                return -ENOMEM;
        for (; result->n_spaces < n; result->n_spaces++) {
                int r = space_from_json(sd_json_variant_by_index(list, result->n_spaces),
                                        &result->spaces[result->n_spaces]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int pools_from_json(sd_json_variant *list, JobResult *result) {
        size_t n = list ? sd_json_variant_elements(list) : 0;

        if (n == 0)
                return 0;
        result->pools = calloc(n, sizeof(PoolInfo));
        if (!result->pools)
                return -ENOMEM;

        for (; result->n_pools < n; result->n_pools++) {
                int r = pool_info_from_json(sd_json_variant_by_index(list, result->n_pools),
                                            &result->pools[result->n_pools]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int thin_ids_from_json(sd_json_variant *list, uint32_t **ret, size_t *ret_n) {
        size_t n = sd_json_variant_elements(list);
        _cleanup_free_ uint32_t *ids = calloc(n + 1, sizeof(*ids));

        if (!ids)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                sd_json_variant *v = sd_json_variant_by_index(list, i);

                if (!sd_json_variant_is_unsigned(v) || sd_json_variant_unsigned(v) > THIN_ID_MAX)
                        return -EINVAL;
                ids[i] = (uint32_t) sd_json_variant_unsigned(v);
        }
        *ret = TAKE_PTR(ids);
        *ret_n = n;
        return 0;
}

static int thins_from_json(sd_json_variant *list, JobResult *result) {
        static const sd_json_dispatch_field table[] = {
                { "thinId", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(ThinUsage, thin_id),
                  SD_JSON_MANDATORY },
                { "usedBytes", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(ThinUsage, used),
                  SD_JSON_MANDATORY },
                { "exclusiveBytes", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(ThinUsage, exclusive),
                  SD_JSON_MANDATORY },
                {},
        };
        size_t n = list ? sd_json_variant_elements(list) : 0;

        if (n == 0)
                return 0;
        result->thins = calloc(n, sizeof(*result->thins));
        if (!result->thins)
                return -ENOMEM;
        for (; result->n_thins < n; result->n_thins++) {
                ThinUsage *usage = &result->thins[result->n_thins];
                int r = sd_json_dispatch(sd_json_variant_by_index(list, result->n_thins), table, 0, usage);

                if (r < 0 || usage->thin_id > THIN_ID_MAX || usage->exclusive > usage->used)
                        return r == -ENOMEM ? r : -EINVAL;
        }
        return 0;
}

static int ranges_from_json(sd_json_variant *list, ThinDelta *ret) {
        size_t n = list ? sd_json_variant_elements(list) / 2 : 0;

        if (n == 0)
                return 0;
        if (sd_json_variant_elements(list) % 2 != 0 || n > JOB_RANGES_MAX)
                return -EINVAL;
        ret->ranges = calloc(n, sizeof(*ret->ranges));
        if (!ret->ranges)
                return -ENOMEM;
        for (; ret->n_ranges < n; ret->n_ranges++) {
                sd_json_variant *offset = sd_json_variant_by_index(list, 2 * ret->n_ranges),
                                *length = sd_json_variant_by_index(list, 2 * ret->n_ranges + 1);

                if (!sd_json_variant_is_unsigned(offset) || !sd_json_variant_is_unsigned(length))
                        return -EINVAL;
                ret->ranges[ret->n_ranges] = (ThinRange) { .offset = sd_json_variant_unsigned(offset),
                                                           .length = sd_json_variant_unsigned(length) };
        }
        return 0;
}

static int delta_from_json(sd_json_variant *v, ThinDelta *ret) {
        typedef struct Parsed {
                ThinDelta delta;
                sd_json_variant *ranges;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "chunkSizeBytes", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64,
                  offsetof(Parsed, delta.chunk_size), SD_JSON_MANDATORY },
                { "totalBytes", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Parsed, delta.total),
                  SD_JSON_MANDATORY },
                { "count", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Parsed, delta.count),
                  SD_JSON_MANDATORY },
                { "ranges", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, ranges),
                  SD_JSON_MANDATORY },
                {},
        };
        Parsed p = {};
        int r;

        if (!v)
                return 0;
        r = sd_json_dispatch(v, table, 0, &p);
        if (r < 0 || p.delta.chunk_size == 0)
                return r == -ENOMEM ? r : -EINVAL;
        *ret = p.delta;
        return ranges_from_json(p.ranges, ret);
}

static int elapses_from_json(sd_json_variant *list, JobResult *result) {
        size_t n = list ? sd_json_variant_elements(list) : 0;

        if (n == 0)
                return 0;
        result->elapses = calloc(n, sizeof(*result->elapses));
        if (!result->elapses)
                return -ENOMEM;
        for (; result->n_elapses < n; result->n_elapses++) {
                sd_json_variant *v = sd_json_variant_by_index(list, result->n_elapses);

                if (!sd_json_variant_is_unsigned(v) || sd_json_variant_unsigned(v) > INT64_MAX)
                        return -EINVAL;
                result->elapses[result->n_elapses] = sd_json_variant_unsigned(v);
        }
        return 0;
}

static int copy(const char *text, char **ret) {
        if (!text)
                return 0;
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

int job_result_from_json(sd_json_variant *v, JobResult *ret) {
        typedef struct Parsed {
                JobResult result;
                const char *path, *source_id, *users, *damage, *kept;
                sd_json_variant *pools, *devices, *findings, *thin_ids, *spaces, *elapses, *thins, *delta, *keys,
                        *host_keys;
        } Parsed;
        static const sd_json_dispatch_field table[] = {
                { "pools", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, pools), 0 },
                { "devices", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, devices), 0 },
                { "findings", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, findings), 0 },
                { "thinIds", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, thin_ids), 0 },
                { "spaces", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, spaces), 0 },
                { "thins", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, thins), 0 },
                { "delta", SD_JSON_VARIANT_OBJECT, sd_json_dispatch_variant_noref, offsetof(Parsed, delta), 0 },
                { "elapses", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, elapses), 0 },
                { "keys", SD_JSON_VARIANT_OBJECT, sd_json_dispatch_variant_noref, offsetof(Parsed, keys), 0 },
                { "hostKeys", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(Parsed, host_keys), 0 },
                { "path", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, path), 0 },
                { "sourceId", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, source_id), 0 },
                { "open", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, result.open), 0 },
                { "usedBytes", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Parsed, result.used), 0 },
                { "freedBytes", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Parsed, result.freed), 0 },
                { "offset", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint64, offsetof(Parsed, result.offset), 0 },
                { "uid", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, result.uid), 0 },
                { "gid", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, result.gid), 0 },
                { "mode", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(Parsed, result.mode), 0 },
                { "damage", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, damage), 0 },
                { "kept", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, kept), 0 },
                { "users", SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string, offsetof(Parsed, users), 0 },
                {},
        };
        Parsed p = {};

        int r = sd_json_dispatch(v, table, 0, &p);
        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;
        if (p.path && !path_is_plain(p.path))
                return -EINVAL;

        _cleanup_(job_result_done) JobResult result = p.result;
        if (copy(p.path, &result.path) < 0 || copy(p.source_id, &result.source_id) < 0 ||
            copy(p.users, &result.users) < 0 || copy(p.damage, &result.damage) < 0 || copy(p.kept, &result.kept) < 0)
                return -ENOMEM;
        r = pools_from_json(p.pools, &result);
        if (r >= 0)
                r = devices_from_json(p.devices, &result);
        if (r >= 0)
                r = finding_list_from_json(p.findings, &result.findings);
        result.thin_ids_are_known = p.thin_ids;
        if (r >= 0 && p.thin_ids)
                r = thin_ids_from_json(p.thin_ids, &result.thin_ids, &result.n_thin_ids);
        if (r >= 0)
                r = spaces_from_json(p.spaces, &result);
        if (r >= 0)
                r = elapses_from_json(p.elapses, &result);
        if (r >= 0)
                r = thins_from_json(p.thins, &result);
        if (r >= 0)
                r = delta_from_json(p.delta, &result.delta);
        if (r >= 0 && p.keys)
                r = volume_keys_from_json(p.keys, &result.keys);
        if (r >= 0 && p.host_keys)
                r = host_keys_from_json(p.host_keys, &result.host_keys, &result.n_host_keys);
        if (r < 0)
                return r == -ENOMEM ? r : -EINVAL;

        *ret = result;
        result = (JobResult) {};
        return 0;
}
