/* quarry pool ... */

#include "client.h"
#include "describe.h"
#include "must.h"
#include "overview.h"
#include "report.h"
#include "table.h"
#include "verbs.h"

#include <quarry/json.h>
#include <quarry/text.h>

static const char *arg_vg, *arg_file, *arg_schedule;
static uint64_t arg_size, arg_metadata_size, arg_chunk_size;
static bool arg_dry_run, arg_forget, arg_yes, arg_repair;

const Option pool_create_options[] = {
        { 0, "vg", "VG", "Take free space of this volume group", option_string, &arg_vg },
        { 0, "file", "PATH", "Make a file for it, to try things out", option_string, &arg_file },
        { 0, "size", "SIZE", "How much to take, with --vg and --file", option_size, &arg_size },
        { 0, "metadata-size", "SIZE", "Space for the maps of volumes", option_size, &arg_metadata_size },
        { 0, "chunk-size", "SIZE", "Unit of allocation (64K), a multiple of 64K", option_size, &arg_chunk_size },
        {},
};

const Option pool_extend_options[] = {
        { 0, "size", "SIZE", "How much the pool is to have then", option_size, &arg_size },
        {},
};

const Option pool_check_options[] = {
        { 0, "repair", NULL, "Repair what is damaged, and keep it as it was too", option_flag, &arg_repair },
        {},
};

const Option pool_update_options[] = {
        { 0, "snapshot-schedule", "RULES", "RULE, RULE...: as in quarry help update; none", option_string,
          &arg_schedule },
        {},
};

const Option pool_rm_options[] = {
        { 0, "forget", NULL, "Its disks are gone: take it off the list, with its volumes", option_flag, &arg_forget },
        { 0, "dry-run", NULL, "Say what would be removed, and remove nothing", option_flag, &arg_dry_run },
        { 'y', "yes", NULL, "Do not ask", option_flag, &arg_yes },
        {},
};

const Column pool_columns[] = {
        { "name", "NAME", "Name", "name", COLUMN_TEXT, true, CUT_END },
        { "size", "SIZE", "Space for the contents of volumes", "dataSizeBytes", COLUMN_SIZE, true },
        { "used", "USED", "How much of it is taken", "dataUsedBytes", COLUMN_SIZE, true },
        { "use%",
          "USE%",
          "The same as a share",
          "dataUsedBytes",
          COLUMN_PERCENT,
          true,
          CUT_NOTHING,
          NULL,
          { "dataSizeBytes" } },
        { "meta%",
          "META%",
          "Share taken of the space for maps",
          "metadataUsedBytes",
          COLUMN_PERCENT,
          true,
          CUT_NOTHING,
          NULL,
          { "metadataSizeBytes" } },
        { "promised", "PROMISED", "Sum of the sizes of its volumes", "provisionedBytes", COLUMN_SIZE, true },
        { "volumes", "VOLUMES", "How many volumes it holds", "volumes", COLUMN_NUMBER, true },
        { "state", "STATE", "activating, active, degraded or unavailable", "state", COLUMN_TEXT, true,
          .values = "activating active degraded unavailable" },
        { "space", "SPACE", "ok, low, stopped or full", "space", COLUMN_TEXT, true, .values = "ok low stopped full" },
        { "max", "MAX", "How much may be promised", "provisionedMaxBytes", COLUMN_SIZE },
        { "meta", "META", "Space for the maps of volumes", "metadataSizeBytes", COLUMN_SIZE },
        { "chunk", "CHUNK", "Unit of allocation", "chunkSizeBytes", COLUMN_SIZE },
        { "origin", "ORIGIN", "devices, vg or file", "origin", .values = "devices vg file" },
        { "vg", "VG", "LVM volume group", "volumeGroup" },
        { "file", "FILE", "File beneath", "file", COLUMN_TEXT, false, CUT_START },
        { "devices", "DEVICES", "Physical volumes beneath", "devices", COLUMN_TEXT, false, CUT_END },
        { "failure", "FAILURE", "Why it is unavailable or degraded", "failure", COLUMN_TEXT, false, CUT_END },
        { "schedule", "SCHEDULE", "When snapshots are made of its volumes", "snapshotSchedule", COLUMN_TEXT, false,
          CUT_END },
        { "uuid", "UUID", "Identity", "uuid" },
        {},
};

/* --- create ---------------------------------------------------------------------------------------------- */

/* The daemon has another working directory. Links stay as they are: /dev/disk/by-id says more than /dev/sda. */
static int path_absolute(const char *path, char **ret, Error *err) {
        if (*path == '/') {
                *ret = must_have(strdup(path));
                return 0;
        }

        _cleanup_free_ char *here = getcwd(NULL, 0);
        if (!here)
                return error_errno(err, errno, "cannot tell the current directory");
        *ret = must_have(format_new("%s/%s", streq(here, "/") ? "" : here, path));
        return 0;
}

static int paths_absolute(char **paths, char ***ret, Error *err) {
        _cleanup_strv_ char **absolute = NULL;

        for (; *paths; paths++) {
                _cleanup_free_ char *path = NULL;

                int r = path_absolute(*paths, &path, err);
                if (r < 0)
                        return r;
                must(strv_append(&absolute, path));
        }
        *ret = TAKE_PTR(absolute);
        return 0;
}

/* Which of the three ways was meant must be beyond doubt before anything is taken. */
static int create_check(const char *name, char **devices, Error *err) {
        int ways = (*devices ? 1 : 0) + (arg_vg ? 1 : 0) + (arg_file ? 1 : 0);

        if (ways == 0) {
                error_field(err, FIELD_ARGUMENTS, "where shall it lie? Name block devices, or give --vg or --file");
                error_hint(err, "quarry pool create %s --file /var/lib/%s.img --size 10G", name, name);
                return error_code(err);
        }
        if (ways > 1)
                return error_field(err, FIELD_ARGUMENTS, "give only one of DEVICE..., --vg and --file");
        if (!*devices && arg_size == 0)
                return error_field(err, "--size", "%s needs --size: how much to take", arg_vg ? "--vg" : "--file");
        if (*devices && arg_size > 0)
                return error_field(err, "--size", "--size goes with --vg and --file; devices are taken whole");
        return 0;
}

static int create(const char *name, char **devices, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_strv_ char **paths = NULL;
        _cleanup_free_ char *file = NULL, *what = must_have(format_new("creating pool %s", name));
        int r;

        r = create_check(name, devices, err);
        if (r >= 0)
                r = paths_absolute(devices, &paths, err);
        if (r >= 0 && arg_file)
                r = path_absolute(arg_file, &file, err);
        if (r < 0)
                return r;

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("name", name),
                        SD_JSON_BUILD_PAIR_CONDITION(!!paths, "devices", SD_JSON_BUILD_STRV(paths)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!arg_vg, "volumeGroup", SD_JSON_BUILD_STRING(arg_vg)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!file, "file", SD_JSON_BUILD_STRING(file)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_size > 0, "sizeBytes", SD_JSON_BUILD_UNSIGNED(arg_size)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        arg_metadata_size > 0, "metadataSizeBytes",
                                        SD_JSON_BUILD_UNSIGNED(arg_metadata_size)),
                        SD_JSON_BUILD_PAIR_CONDITION(
                                        arg_chunk_size > 0, "chunkSizeBytes", SD_JSON_BUILD_UNSIGNED(arg_chunk_size))));
        Call call = { .method = API_POOL ".Create", .parameters = parameters, .what = what };
        return client_call(&call, ret, NULL, err);
}

static void say_next(const char *name, sd_json_variant *pool) {
        _cleanup_free_ char *size = table_size(sd_json_variant_by_key(pool, "dataSizeBytes"));
        bool is_default = streq(name, "default");

        fprintf(stderr, "Pool %s is ready, with %s for volumes.\n  next: quarry create NAME --size 1G%s%s\n", name,
                size, is_default ? "" : " --pool ", is_default ? "" : name);
}

int verb_pool_create(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL, *document = NULL;
        const char *name = arguments[0];
        Error err = {};

        if (create(name, arguments + 1, &reply, &err) < 0)
                return report_error("cannot create pool", name, &err);

        sd_json_variant *pool = sd_json_variant_by_key(reply, "pool");
        if (arg_json) {
                must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("pool", pool)));
                return report_document(document);
        }
        puts(name);
        fflush(stdout);
        if (isatty(STDERR_FILENO))
                say_next(name, pool);
        return EXIT_DONE;
}

/* --- extend ---------------------------------------------------------------------------------------------- */

static int extend(const char *name, char **devices, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_free_ char *what = must_have(format_new("extending pool %s", name));
        _cleanup_strv_ char **paths = NULL;

        if (!*devices == (arg_size == 0))
                return error_field(err, FIELD_ARGUMENTS, "by what? Name block devices, or give --size");
        int r = paths_absolute(devices, &paths, err);
        if (r < 0)
                return r;
        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("name", name),
                        SD_JSON_BUILD_PAIR_CONDITION(!!paths, "devices", SD_JSON_BUILD_STRV(paths)),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_size > 0, "sizeBytes", SD_JSON_BUILD_UNSIGNED(arg_size))));
        Call call = { .method = API_POOL ".Extend", .parameters = parameters, .what = what };
        return client_call(&call, ret, NULL, err);
}

int verb_pool_extend(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL, *document = NULL;
        const char *name = arguments[0];
        Error err = {};

        if (extend(name, arguments + 1, &reply, &err) < 0)
                return report_error("cannot extend pool", name, &err);

        sd_json_variant *pool = sd_json_variant_by_key(reply, "pool");
        if (arg_json) {
                must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("pool", pool)));
                return report_document(document);
        }
        _cleanup_free_ char *size = table_size(sd_json_variant_by_key(pool, "dataSizeBytes"));
        puts(name);
        fflush(stdout);
        if (isatty(STDERR_FILENO))
                fprintf(stderr, "Pool %s has %s for volumes now.\n", name, size);
        return EXIT_DONE;
}

/* --- update ---------------------------------------------------------------------------------------------- */

int verb_pool_update(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL, *document = NULL;
        const char *name = arguments[0];
        Error err = {};

        if (!arg_schedule) {
                error_field(&err, FIELD_ARGUMENTS, "pool update: say what is to be changed");
                error_hint(&err, "quarry help pool update");
                return report_error(NULL, NULL, &err);
        }
        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("name", name),
                        SD_JSON_BUILD_PAIR_STRING("snapshotSchedule", arg_schedule)));
        Call call = { .method = API_POOL ".Update", .parameters = parameters };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error("cannot update pool", name, &err);
        if (!arg_json) {
                puts(name);
                return EXIT_DONE;
        }
        must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("pool", sd_json_variant_by_key(reply, "pool"))));
        return report_document(document);
}

/* --- ls, inspect ----------------------------------------------------------------------------------------- */

int verb_pool_ls(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *all = NULL, *rows = NULL, *document = NULL;
        Error err = {};

        int r = table_check_options(pool_columns, &err);
        if (r != 0)
                return r < 0 ? report_error("cannot list pools", NULL, &err) : EXIT_DONE;

        Call call = { .method = API_POOL ".List", .collect = "pools" };
        if (client_call(&call, &all, NULL, &err) < 0)
                return report_error("cannot list pools", NULL, &err);

        rows = table_select(pool_columns, all);
        if (arg_json) {
                must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("pools", rows)));
                return report_document(document);
        }
        if (sd_json_variant_elements(all) == 0 && isatty(STDOUT_FILENO))
                puts(OVERVIEW_EMPTY);
        else
                table_print(pool_columns, rows);
        return EXIT_DONE;
}

static int call_named(const char *method, const char *name, const char *doing, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_free_ char *what = doing ? must_have(format_new("%s pool %s", doing, name)) : NULL;

        must(sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_STRING("name", name)));
        Call call = { .method = method, .parameters = parameters, .what = what };
        return client_call(&call, ret, NULL, err);
}

static int pool_inspect(const char *name, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *reply = NULL;

        int r = call_named(API_POOL ".Inspect", name, NULL, &reply, err);
        if (r < 0)
                return r;
        *ret = sd_json_variant_ref(sd_json_variant_by_key(reply, "pool"));
        return 0;
}

int verb_pool_inspect(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot inspect pool" };
        bool first = true;

        for (char **name = arguments; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *pool = NULL;
                Error err = {};

                if (pool_inspect(*name, &pool, &err) < 0) {
                        report_failure(&report, *name, &err);
                        continue;
                }
                report_add(&report, pool);
                if (arg_json)
                        continue;
                if (!first)
                        putchar('\n');
                first = false;
                describe_pool(pool);
        }
        return report_finish(&report, "pools");
}

/* --- check ----------------------------------------------------------------------------------------------- */

static void print_check(const char *name, sd_json_variant *reply) {
        const char *damage = json_string(reply, "damage"), *kept = json_string(reply, "keptMetadata");

        if (isempty(damage))
                printf("%s: sound\n", name);
        else if (isempty(kept))
                printf("%s: damaged: %s\n  what to do: unmount its volumes, then: quarry pool check %s --repair\n",
                       name, damage, name);
        else
                printf("%s: repaired; it was damaged: %s\n"
                       "  as it was, the metadata is kept in %s\n"
                       "  what to do: quarry doctor, and look at the volumes; once all is well: lvremove %s\n",
                       name, damage, kept, kept);
}

int verb_pool_check(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL, *reply = NULL;
        const char *name = arguments[0];
        _cleanup_free_ char *what = must_have(format_new("%s pool %s", arg_repair ? "repairing" : "checking", name));
        Error err = {};

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_STRING("name", name),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_repair, "repair", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_POOL ".Check", .parameters = parameters, .what = what };
        if (client_call(&call, &reply, NULL, &err) < 0)
                return report_error(arg_repair ? "cannot repair pool" : "cannot check pool", name, &err);
        if (arg_json)
                report_document(reply);
        else
                print_check(name, reply);
        return sd_json_variant_boolean(sd_json_variant_by_key(reply, "sound")) ? EXIT_DONE : EXIT_FAILED;
}

/* --- rm, import, export ---------------------------------------------------------------------------------- */

static char *pool_extent(sd_json_variant *pool) {
        _cleanup_free_ char *size = table_size(sd_json_variant_by_key(pool, "dataSizeBytes")),
                            *used = table_size(sd_json_variant_by_key(pool, "dataUsedBytes"));
        uint64_t volumes = json_unsigned(pool, "volumes");

        return must_have(format_new("%s, %s used, %llu volume%s", size, used, (unsigned long long) volumes,
                                    volumes == 1 ? "" : "s"));
}

/* Why the daemon would refuse, as far as its description tells. */
static int removal_check(sd_json_variant *pool, const char *name, Error *err) {
        uint64_t volumes = json_unsigned(pool, "volumes");
        const char *state = json_string(pool, "state");

        if (arg_forget && !streq(state, "active") && !streq(state, "degraded"))
                return 0;
        if (arg_forget)
                return error_set(err, ERROR_POOL_BUSY, 0, "it is %s: only one whose disks are gone is forgotten",
                                 state);
        if (volumes == 0)
                return 0;
        error_set(err, ERROR_POOL_BUSY, 0, "it holds %llu volume%s", (unsigned long long) volumes,
                  volumes == 1 ? "" : "s");
        error_hint(err, "quarry ls --pool %s", name);
        return error_code(err);
}

static int dry_run(char **names) {
        _cleanup_(report_done) Report report = { .action = "cannot remove pool" };

        for (char **name = names; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *pool = NULL;
                Error err = {};

                int r = pool_inspect(*name, &pool, &err);
                if (r >= 0)
                        r = removal_check(pool, *name, &err);
                if (r < 0) {
                        report_failure(&report, *name, &err);
                        continue;
                }
                report_add(&report, pool);
                if (!arg_json) {
                        _cleanup_free_ char *extent = pool_extent(pool);
                        printf("would %s pool %s (%s)\n", arg_forget ? "forget" : "remove", *name, extent);
                }
        }
        return report_finish(&report, "wouldRemove");
}

static bool removal_is_wanted(char **names) {
        bool known = false;

        for (char **name = names; *name; name++) {
                _cleanup_(sd_json_variant_unrefp) sd_json_variant *pool = NULL;
                Error err = {};

                if (pool_inspect(*name, &pool, &err) < 0)
                        continue;
                known = true;
                _cleanup_free_ char *extent = pool_extent(pool);
                fprintf(stderr, "  %s  (%s)\n", *name, extent);
        }
        if (arg_forget)
                return !known || terminal_confirm(names[1] ? "Forget these pools?" : "Forget this pool?");
        return !known || terminal_confirm(names[1] ? "Destroy these pools?" : "Destroy this pool?");
}

static int pool_remove(const char *name, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_free_ char *what = must_have(format_new("%s pool %s", arg_forget ? "forgetting" : "removing", name));

        must(sd_json_buildo(
                        &parameters, SD_JSON_BUILD_PAIR_STRING("name", name),
                        SD_JSON_BUILD_PAIR_CONDITION(arg_forget, "forget", SD_JSON_BUILD_BOOLEAN(true))));
        Call call = { .method = API_POOL ".Remove", .parameters = parameters, .what = what };
        return client_call(&call, NULL, NULL, err);
}

int verb_pool_rm(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot remove pool" };

        if (arg_dry_run)
                return dry_run(arguments);
        if (!arg_yes && terminal_can_ask() && !removal_is_wanted(arguments)) {
                Error err = {};

                error_set(&err, ERROR_FAILED, ECANCELED, "nothing was removed");
                return report_error(NULL, NULL, &err);
        }

        for (char **name = arguments; *name; name++) {
                Error err = {};

                if (pool_remove(*name, &err) < 0) {
                        report_failure(&report, *name, &err);
                        continue;
                }
                report_success(&report, *name);
                if (arg_forget && !arg_json)
                        fprintf(stderr,
                                "Nothing was changed on the disks of %s. Should they come back, it is found\n"
                                "again when quarryd starts, or by: quarry pool import\n",
                                *name);
        }
        return report_finish(&report, "removed");
}

static int import(char **devices, sd_json_variant **ret, Error *err) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        _cleanup_strv_ char **paths = NULL;

        int r = paths_absolute(devices, &paths, err);
        if (r < 0)
                return r;
        must(sd_json_buildo(
                        &parameters, SD_JSON_BUILD_PAIR_CONDITION(!!paths, "devices", SD_JSON_BUILD_STRV(paths))));
        Call call = { .method = API_POOL ".Import", .parameters = parameters, .collect = "pools", .what = "importing" };
        return client_call(&call, ret, NULL, err);
}

int verb_pool_import(char **arguments) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *pools = NULL, *document = NULL;
        Error err = {};

        if (import(arguments, &pools, &err) < 0)
                return report_error("cannot import", NULL, &err);

        if (arg_json) {
                must(sd_json_buildo(&document, SD_JSON_BUILD_PAIR_VARIANT("pools", pools)));
                return report_document(document);
        }
        for (size_t i = 0; i < sd_json_variant_elements(pools); i++)
                puts(json_string(sd_json_variant_by_index(pools, i), "name"));
        if (sd_json_variant_elements(pools) == 0 && isatty(STDERR_FILENO))
                fputs("No pool that is new to this host was found.\n", stderr);
        return EXIT_DONE;
}

int verb_pool_export(char **arguments) {
        _cleanup_(report_done) Report report = { .action = "cannot export pool" };
        Error err = {};

        if (call_named(API_POOL ".Export", arguments[0], "exporting", NULL, &err) < 0)
                report_failure(&report, arguments[0], &err);
        else
                report_success(&report, arguments[0]);
        return report_finish(&report, "exported");
}
