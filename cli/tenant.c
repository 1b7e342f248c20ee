/* quarry tenant ... */

#include "client.h"
#include "describe.h"
#include "must.h"
#include "report.h"
#include "table.h"
#include "verbs.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <quarry/json.h>
#include <quarry/tenant.h>
#include <quarry/text.h>

typedef struct Limit {
        bool set, removed; /* removed: none */
        uint64_t value;
} Limit;

static IdSet arg_users, arg_groups, arg_remove_users, arg_remove_groups;
static Limit arg_limits[_TENANT_LIMIT_MAX];
static const char *arg_pool, *arg_schedule;
static bool arg_dry_run, arg_if_absent;

/* --- options ---------------------------------------------------------------------------------------------- */

static int add_id(const Option *option, const char *value, int (*parse)(const Option *, const char *, Error *),
                  Error *err) {
        OptionNumber number = {};
        Option single = *option;

        single.target = &number;
        int r = parse(&single, value, err);
        if (r < 0)
                return r;
        const IdSet *other = option->target == &arg_users          ? &arg_remove_users
                             : option->target == &arg_remove_users ? &arg_users
                             : option->target == &arg_groups       ? &arg_remove_groups
                                                                   : &arg_groups;
        if (id_set_has(other, number.value)) {
                const char *what = startswith(option->name, "remove-") ?: option->name;

                return error_field(err, FIELD_ARGUMENTS, "--%s and --remove-%s exclude each other for %s", what, what,
                                   value);
        }
        r = id_set_add(option->target, number.value);
        if (r == -E2BIG)
                return error_field(err, FIELD_ARGUMENTS, "--%s: more than %u of them; a group can hold more",
                                   option->name, TENANT_MEMBERS_MAX);
        return must(r);
}

static int option_users(const Option *option, const char *value, Error *err) {
        return add_id(option, value, option_user, err);
}

static int option_groups(const Option *option, const char *value, Error *err) {
        return add_id(option, value, option_group, err);
}

static int take_none(Limit *limit, const char *value) {
        limit->set = true;
        limit->removed = streq(value, "none");
        return limit->removed;
}

static int option_number_limit(const Option *option, const char *value, Error *err) {
        Limit *limit = option->target;
        char echo[TEXT_ECHO_MAX];

        if (take_none(limit, value))
                return 0;
        if (number_parse(value, &limit->value) < 0 || limit->value > INT64_MAX)
                return error_field(err, FIELD_ARGUMENTS, "--%s: \"%s\" is neither a whole number nor none",
                                   option->name, text_echo(value, echo));
        return 0;
}

static int option_size_limit(const Option *option, const char *value, Error *err) {
        Limit *limit = option->target;
        Option size = *option;

        if (take_none(limit, value))
                return 0;
        size.target = &limit->value;
        return option_size(&size, value, err);
}

#define LIMIT_OPTIONS                                                                                        \
        { 0,                                                                                                 \
          "max-volumes",                                                                                     \
          "N",                                                                                               \
          "Most volumes that it may own, or none",                                                           \
          option_number_limit,                                                                               \
          &arg_limits[TENANT_LIMIT_VOLUMES] },                                                               \
                { 0,                                                                                         \
                  "max-snapshots",                                                                           \
                  "N",                                                                                       \
                  "Most snapshots of them, or none",                                                         \
                  option_number_limit,                                                                       \
                  &arg_limits[TENANT_LIMIT_SNAPSHOTS] },                                                     \
                { 0,                                                                                         \
                  "max-size",                                                                                \
                  "SIZE",                                                                                    \
                  "Most in the sizes of its volumes, or none",                                               \
                  option_size_limit,                                                                         \
                  &arg_limits[TENANT_LIMIT_SIZE] },                                                          \
                { 0,                                                                                         \
                  "max-used",                                                                                \
                  "SIZE",                                                                                    \
                  "Most that all this takes of the pool, or none",                                           \
                  option_size_limit,                                                                         \
                  &arg_limits[TENANT_LIMIT_USED] },                                                          \
                { 0,                                                                                         \
                  "max-tmpfs",                                                                               \
                  "SIZE",                                                                                    \
                  "Most in the sizes of its tmpfs volumes, or none",                                         \
                  option_size_limit,                                                                         \
                  &arg_limits[TENANT_LIMIT_TMPFS] },                                                         \
        {                                                                                                    \
                0, "snapshot-schedule", "RULES", "As in quarry help update, none or default", option_string, \
                        &arg_schedule                                                                        \
        }
#define POOL_OPTION { 0, "pool", "POOL", "Where its volumes lie", option_string, &arg_pool }

const Option tenant_create_options[] = {
        { 0, "user", "USER", "Who may work with its volumes; may be repeated", option_users, &arg_users },
        { 0, "group", "GROUP", "The same for a group's members", option_groups, &arg_groups },
        LIMIT_OPTIONS,
        POOL_OPTION,
        { 0, "if-absent", NULL, "Success if the same tenant is there already", option_flag, &arg_if_absent },
        {},
};

const Option tenant_update_options[] = {
        { 0, "user", "USER", "Who else may work with its volumes", option_users, &arg_users },
        { 0, "group", "GROUP", "The same for a group's members", option_groups, &arg_groups },
        { 0, "remove-user", "USER", "Who may no longer", option_users, &arg_remove_users },
        { 0, "remove-group", "GROUP", "The same for a group's members", option_groups, &arg_remove_groups },
        LIMIT_OPTIONS,
        POOL_OPTION,
        {},
};

const Option tenant_inspect_options[] = { POOL_OPTION, {} };

const Option tenant_rm_options[] = {
        POOL_OPTION,
        { 0, "dry-run", NULL, "Say what would be removed, and remove nothing", option_flag, &arg_dry_run },
        {},
};

/* --- create, update --------------------------------------------------------------------------------------- */

static sd_json_variant *build_ids(const IdSet *set) {
        sd_json_variant *list = NULL;

        for (size_t i = 0; i < set->n; i++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *id = NULL;

                must(sd_json_variant_new_unsigned(&id, set->list[i]));
                must(sd_json_variant_append_array(&list, id));
        }
        return list;
}

static void add_ids(sd_json_variant **parameters, const char *member, const IdSet *set) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *list = build_ids(set);

        if (list)
                must(sd_json_variant_set_field(parameters, member, list));
}

static void add_limits(sd_json_variant **parameters, bool is_new) {
        _cleanup_strv_ char **removed = NULL;

        for (int i = 0; i < _TENANT_LIMIT_MAX; i++) {
                const char *member = tenant_limit_to_string((TenantLimit) i);

                if (arg_limits[i].removed)
                        must(strv_append(&removed, member));
                else if (arg_limits[i].set)
                        must(sd_json_variant_set_field_unsigned(parameters, member, arg_limits[i].value));
        }
        if (removed && !is_new)
                must(sd_json_variant_set_field_strv(parameters, "removeLimits", removed));
}

static sd_json_variant *build_name(const char *name) {
        sd_json_variant *parameters = NULL;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("name", name),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_pool, "pool", SD_JSON_BUILD_STRING(arg_pool))));
        return parameters;
}

static int report_tenant(sd_json_variant *reply) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *document = NULL;
        sd_json_variant *tenant = sd_json_variant_by_key(reply, "tenant");

        if (!arg_json) {
                puts(json_string(tenant, "name"));
                return EXIT_DONE;
        }
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("tenant", tenant)));
        return report_document(document);
}

int verb_tenant_create(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = build_name(arguments[0]), *reply = NULL;
        Error err = {};

        add_ids(&parameters, "users", &arg_users);
        add_ids(&parameters, "groups", &arg_groups);
        add_limits(&parameters, true);
        if (arg_if_absent)
                must(sd_json_variant_set_field_boolean(&parameters, "ifAbsent", true));
        if (arg_schedule)
                must(sd_json_variant_set_field_string(&parameters, "snapshotSchedule", arg_schedule));
        Call call = { .method = API_TENANT ".Create", .parameters = parameters };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot create tenant", arguments[0], &err);
        return report_tenant(reply);
}

int verb_tenant_update(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = build_name(arguments[0]), *reply = NULL;
        bool something = arg_users.n + arg_groups.n + arg_remove_users.n + arg_remove_groups.n > 0 || arg_schedule;
        Error err = {};

        for (int i = 0; i < _TENANT_LIMIT_MAX; i++)
                something = something || arg_limits[i].set;
        if (!something) {
                error_field(&err, FIELD_ARGUMENTS, "tenant update: say what is to be changed");
                error_hint(&err, "quarry help tenant update");
                return report_error(NULL, NULL, &err);
        }
        add_ids(&parameters, "addUsers", &arg_users);
        add_ids(&parameters, "addGroups", &arg_groups);
        add_ids(&parameters, "removeUsers", &arg_remove_users);
        add_ids(&parameters, "removeGroups", &arg_remove_groups);
        add_limits(&parameters, false);
        if (arg_schedule)
                must(sd_json_variant_set_field_string(&parameters, "snapshotSchedule", arg_schedule));
        Call call = { .method = API_TENANT ".Update", .parameters = parameters };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot update tenant", arguments[0], &err);
        return report_tenant(reply);
}

/* --- ls, inspect ------------------------------------------------------------------------------------------ */

typedef const char *(*IdName)(uint32_t id);

static const char *user_name(uint32_t id) {
        const struct passwd *user = getpwuid(id);

        return user ? user->pw_name : NULL;
}

static const char *group_name(uint32_t id) {
        const struct group *group = getgrgid(id);

        return group ? group->gr_name : NULL;
}

/* By name where this host has one, else the number. */
static char **names(sd_json_variant *ids, IdName name_of) {
        char **texts = NULL;

        for (size_t i = 0; i < sd_json_variant_elements(ids); i++) {
                uint32_t id = (uint32_t) sd_json_variant_unsigned(sd_json_variant_by_index(ids, i));
                const char *name = name_of(id);
                char number[16];

                buffer_format(number, sizeof(number), "%" PRIu32, id);
                must(strv_append(&texts, name ?: number));
        }
        return texts;
}

static char **user_texts(sd_json_variant *row) {
        return names(sd_json_variant_by_key(row, "users"), user_name);
}

static char **group_texts(sd_json_variant *row) {
        return names(sd_json_variant_by_key(row, "groups"), group_name);
}

const Column tenant_columns[] = {
        { "name", "NAME", "Name", "name", COLUMN_TEXT, true },
        { "pool", "POOL", "Where its volumes lie", "pool" },
        { "volumes", "VOLUMES", "How many volumes it owns", "volumes", COLUMN_NUMBER, true },
        { "max-volumes", "MAX-VOL", "Most that it may own", "maxVolumes", COLUMN_NUMBER, true },
        { "snapshots", "SNAPS", "How many snapshots of them there are", "snapshots", COLUMN_NUMBER, true },
        { "max-snapshots", "MAX-SNAP", "Most that there may be", "maxSnapshots", COLUMN_NUMBER, true },
        { "size", "SIZE", "Sum of the sizes of its volumes", "sizeBytes", COLUMN_SIZE, true },
        { "max-size", "MAX-SIZE", "Most that this may be", "maxSizeBytes", COLUMN_SIZE, true },
        { "used", "USED", "Space taken in the pool, if that is limited", "usedBytes", COLUMN_SIZE, true },
        { "max-used", "MAX-USED", "Most that this may be", "maxUsedBytes", COLUMN_SIZE, true },
        { "tmpfs", "TMPFS", "Sum of the sizes of its tmpfs volumes", "tmpfsBytes", COLUMN_SIZE },
        { "max-tmpfs", "MAX-TMPFS", "Most that this may be", "maxTmpfsBytes", COLUMN_SIZE },
        { "users", "USERS", "Who may work with its volumes", "users", COLUMN_TEXT, true, CUT_END, user_texts },
        { "groups", "GROUPS", "The same for groups", "groups", COLUMN_TEXT, false, CUT_END, group_texts },
        { "schedule", "SCHEDULE", "When snapshots are made of its volumes", "snapshotSchedule", COLUMN_TEXT, false,
          CUT_END },
        { "created", "CREATED", "When it was made", "createdAt" },
        {},
};

int verb_tenant_ls(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *all = NULL, *rows = NULL, *document = NULL;
        Error err = {};

        int r = table_check_options(tenant_columns, &err);
        if (r != 0)
                return r < 0 ? report_error("cannot list tenants", NULL, &err) : EXIT_DONE;

        Call call = { .method = API_TENANT ".List", .collect = "tenants" };
        if (client_call(&call, &all, NULL, &err) < 0)
                return report_error("cannot list tenants", NULL, &err);

        rows = table_select(tenant_columns, all);
        if (arg_json) {
                must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("tenants", rows)));
                return report_document(document);
        }
        if (sd_json_variant_elements(all) == 0 && isatty(STDOUT_FILENO))
                puts("No tenants. How to make one: quarry help tenant create");
        else
                table_print(tenant_columns, rows);
        return EXIT_DONE;
}

static int tenant_inspect(const char *name, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = build_name(name), *reply = NULL;
        Call call = { .method = API_TENANT ".Inspect", .parameters = parameters };

        int r = client_call(&call, &reply, NULL, err);
        if (r < 0)
                return r;
        *ret = sd_json_variant_ref(sd_json_variant_by_key(reply, "tenant"));
        return 0;
}

int verb_tenant_inspect(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot inspect tenant" };
        bool first = true;

        for (char **name = arguments; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *tenant = NULL;
                _cleanup_strv_ char **users = NULL, **groups = NULL;
                Error err = {};

                if (tenant_inspect(*name, &tenant, &err) < 0) {
                        report_failure(&report, *name, &err);
                        continue;
                }
                report_add(&report, tenant);
                if (arg_json)
                        continue;
                if (!first)
                        putchar('\n');
                first = false;
                users = user_texts(tenant);
                groups = group_texts(tenant);
                describe_tenant(tenant, users, groups);
        }
        return report_finish(&report, "tenants");
}

/* --- rm --------------------------------------------------------------------------------------------------- */

static int dry_run(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot remove tenant" };

        for (char **name = arguments; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *tenant = NULL;
                Error err = {};

                int r = tenant_inspect(*name, &tenant, &err);
                if (r >= 0 && json_unsigned(tenant, "volumes") > 0) {
                        r = error_set(&err, ERROR_TENANT_BUSY, EBUSY, "it owns volumes");
                        error_hint(&err, "quarry ls --type all --tenant %s", *name);
                }
                if (r < 0) {
                        report_failure(&report, *name, &err);
                        continue;
                }
                report_add(&report, tenant);
                if (!arg_json)
                        printf("would remove tenant %s\n", *name);
        }
        return report_finish(&report, "wouldRemove");
}

int verb_tenant_rm(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot remove tenant" };
        Error err = {};

        if (arg_dry_run)
                return dry_run(arguments);
        for (char **name = arguments; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = build_name(*name);
                Call call = { .method = API_TENANT ".Remove", .parameters = parameters };

                err = (Error) {};
                if (client_call(&call, NULL, NULL, &err) < 0)
                        report_failure(&report, *name, &err);
                else
                        report_success(&report, *name);
        }
        return report_finish(&report, "removed");
}
