/* As whom the source of a bind volume is looked at. */

#include "job-form.h"

#include <quarry/text.h>

#include <limits.h>

void job_members_done(Job *job) {
        for (size_t i = 0; i < job->n_members; i++)
                free(job->members[i].groups);
        free(TAKE_PTR(job->members));
        job->n_members = 0;
}

int job_add_member(Job *job, uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups) {
        JobMember *more = reallocarray(job->members, job->n_members + 1, sizeof(*more));
        gid_t *copy = NULL;

        if (!more)
                return -ENOMEM;
        job->members = more;
        if (n_groups > 0) {
                copy = reallocarray(NULL, n_groups, sizeof(*copy));
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, groups, n_groups * sizeof(*copy));
        }
        more[job->n_members++] = (JobMember) { .uid = uid, .gid = gid, .groups = copy, .n_groups = n_groups };
        return 0;
}

int job_members_to_json(const Job *job, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = NULL;
        int r = sd_json_variant_new_array(&list, NULL, 0);

        for (size_t i = 0; i < job->n_members && r >= 0; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *groups = NULL;
                const JobMember *m = &job->members[i];

                r = sd_json_variant_new_array(&groups, NULL, 0);
                for (size_t g = 0; g < m->n_groups && r >= 0; g++)
                        r = sd_json_variant_append_arrayb(&groups, SD_JSON_BUILD_UNSIGNED(m->groups[g]));
                if (r >= 0)
                        r = sd_json_variant_append_arraybo(&list, SD_JSON_BUILD_PAIR_UNSIGNED("uid", m->uid),
                                                           SD_JSON_BUILD_PAIR_UNSIGNED("gid", m->gid),
                                                           SD_JSON_BUILD_PAIR_VARIANT("groups", groups));
        }
        if (r >= 0)
                *ret = TAKE_PTR(list);
        return r;
}

static int groups_from_json(sd_json_variant *v, gid_t **ret, size_t *ret_n, Error *err) {
        size_t n = sd_json_variant_elements(v);
        _cleanup_free_ gid_t *list = NULL;

        if (n > NGROUPS_MAX)
                return error_field(err, "groups", "a process has at most %d groups", NGROUPS_MAX);
        list = calloc(n + 1, sizeof(*list));
        if (!list)
                return error_oom(err);
        for (size_t i = 0; i < n; i++) {
                sd_json_variant *group = sd_json_variant_by_index(v, i);

                if (!sd_json_variant_is_unsigned(group) || sd_json_variant_unsigned(group) >= (gid_t) -1)
                        return error_field(err, "groups", "one of them is no gid");
                list[i] = (gid_t) sd_json_variant_unsigned(group);
        }
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

/* Whoever is named is nobody who may do more than others: root would reach everything. */
static int member_from_json(sd_json_variant *v, Job *job, Error *err) {
        struct {
                uint32_t uid, gid;
                sd_json_variant *groups;
        } p = {};
        static const sd_json_dispatch_field table[] = {
                { "uid", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(typeof(p), uid),
                  SD_JSON_MANDATORY },
                { "gid", SD_JSON_VARIANT_UNSIGNED, sd_json_dispatch_uint32, offsetof(typeof(p), gid),
                  SD_JSON_MANDATORY },
                { "groups", SD_JSON_VARIANT_ARRAY, sd_json_dispatch_variant_noref, offsetof(typeof(p), groups),
                  SD_JSON_MANDATORY },
                {},
        };
        _cleanup_free_ gid_t *groups = NULL;
        size_t n = 0;
        int r;

        if (sd_json_dispatch(v, table, 0, &p) < 0)
                return error_field(err, "members", "one of them is malformed");
        if (p.uid == 0 || p.uid == (uid_t) -1 || p.gid == (gid_t) -1)
                return error_field(err, "members", "one of them is root, or nobody");
        r = groups_from_json(p.groups, &groups, &n, err);
        if (r < 0)
                return r;
        return job_add_member(job, p.uid, p.gid, groups, n) < 0 ? error_oom(err) : 0;
}

int job_members_from_json(sd_json_variant *v, Job *job, Error *err) {
        size_t n = sd_json_variant_elements(v);
        int r = 0;

        if (n > JOB_MEMBERS_MAX)
                return error_field(err, "members", "there are more than %u of them", JOB_MEMBERS_MAX);
        job->for_members = true;
        for (size_t i = 0; i < n && r >= 0; i++)
                r = member_from_json(sd_json_variant_by_index(v, i), job, err);
        return r;
}
