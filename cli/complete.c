#include "complete.h"

#include "client.h"
#include "must.h"
#include "overview.h"
#include "volume.h"

#include <quarry/backup-target.h>
#include <quarry/json.h>
#include <quarry/mount.h>
#include <quarry/text.h>

#include <ctype.h>
#include <dirent.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>

#define LIMIT_SECONDS 2

/* The word that is being typed. */
typedef struct Typed {
        const char *word;
        size_t kept; /* what is in front of what is looked for, and stays: "--pool=", "name,size," */
        const Verb *verb;
        const Verb *verbs;
} Typed;

static const char *typed_rest(const Typed *t) {
        return t->word + t->kept;
}

static bool offer(const Typed *t, const char *candidate, const char *suffix, const char *meaning) {
        _cleanup_free_ char *line = NULL;

        if (!startswith(candidate, typed_rest(t)))
                return false;
        line = must_have(format_new("%.*s%s%s", (int) t->kept, t->word, candidate, suffix));
        text_clean(line);
        printf("%s%s%s\n", line, meaning ? "\t" : "", meaning ?: "");
        return true;
}

/* --- verbs ------------------------------------------------------------------------------------------------- */

const Verb *verb_find(const Verb *verbs, char *const *words, size_t *ret_length) {
        for (const Verb *v = verbs; v->words && words[0]; v++) {
                const char *second = strchr(v->words, ' ');
                size_t first = second ? (size_t) (second - v->words) : strlen(v->words);

                if (strlen(words[0]) != first || strncmp(words[0], v->words, first) != 0)
                        continue;
                if (second && (!words[1] || !streq(words[1], second + 1)))
                        continue;
                *ret_length = second ? 2 : 1;
                return v;
        }
        return NULL;
}

const Option *const *verb_options(const Verb *verb, const Option *common, const Option *ret[static 4]) {
        size_t n = 0;

        ret[n++] = verb->options;
        if (verb->is_listing)
                ret[n++] = table_option_rows;
        ret[n++] = common;
        ret[n] = NULL;
        return ret;
}

/* noun: the word before, or NULL. Of verbs of two words the first is offered once. */
static void offer_verbs(const Typed *t, const char *noun) {
        const char *last = "";

        for (const Verb *v = t->verbs; v->words; v++) {
                size_t first = strcspn(v->words, " ");
                _cleanup_free_ char *word = must_have(strndup(v->words, first));
                bool has_second = v->words[first];

                if (noun && has_second && streq(word, noun))
                        (void) offer(t, v->words + first + 1, "", v->summary);
                if (noun || (has_second && startswith(last, word)))
                        continue;
                (void) offer(t, word, "", has_second ? NULL : v->summary);
                last = v->words;
        }
}

/* --- live names -------------------------------------------------------------------------------------------- */

static sd_json_variant *ask(const char *method, const char *collect, const char *type, const char *pool,
                            const char *const *fields) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *parameters = NULL;
        sd_json_variant *all = NULL;
        Error err = {};

        must(sd_json_buildo(
                        &parameters,
                        SD_JSON_BUILD_PAIR_CONDITION(!!type, "type", SD_JSON_BUILD_STRING(type)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!pool, "pool", SD_JSON_BUILD_STRING(pool)),
                        SD_JSON_BUILD_PAIR_CONDITION(!!fields, "fields", SD_JSON_BUILD_STRV((char **) fields))));
        Call call = { .method = method, .parameters = parameters, .collect = collect };
        if (client_call(&call, &all, NULL, &err) < 0)
                return NULL; /* who completes a word is not told of errors */
        return all;
}

static int text_compare(const void *a, const void *b) {
        return natural_compare(*(char *const *) a, *(char *const *) b);
}

static void offer_sorted(const Typed *t, char **texts, const char *suffix) {
        size_t n = strv_length(texts);

        if (n == 0)
                return;
        qsort(texts, n, sizeof(char *), text_compare);
        for (size_t i = 0; i < n; i++)
                if (i == 0 || !streq(texts[i], texts[i - 1]))
                        (void) offer(t, texts[i], suffix, NULL);
}

static void offer_named(const Typed *t, const char *method, const char *collect) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *all = ask(method, collect, NULL, NULL, NULL);
        _cleanup_strv_ char **names = NULL;

        for (size_t i = 0; i < sd_json_variant_elements(all); i++)
                must(strv_append(&names, json_string(sd_json_variant_by_index(all, i), "name")));
        offer_sorted(t, names, "");
}

/* A member of one tenant need not name it. */
static bool tenant_may_be_left_out(const Typed *t, sd_json_variant *volumes) {
        const char *first = json_string(sd_json_variant_by_index(volumes, 0), "tenant");

        if (overview_sees_all() || strchr(typed_rest(t), '/'))
                return false;
        for (size_t i = 1; i < sd_json_variant_elements(volumes); i++)
                if (!streq(json_string(sd_json_variant_by_index(volumes, i), "tenant"), first))
                        return false;
        return true;
}

/* type: of those to be listed. A pool in front of the name stays there. */
static void offer_volumes(const Typed *t, const char *type) {
        static const char *const fields[] = { "name", "tenant", NULL };
        const char *colon = strchr(typed_rest(t), ':');
        _cleanup_free_ char *pool = colon ? must_have(strndup(typed_rest(t), (size_t) (colon - typed_rest(t)))) : NULL;
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *all = ask(API_VOLUME ".List", "volumes", type, pool, fields);
        _cleanup_strv_ char **names = NULL;
        Typed name = *t;

        name.kept += colon ? strlen(pool) + 1 : 0;
        bool is_short = tenant_may_be_left_out(&name, all);
        for (size_t i = 0; i < sd_json_variant_elements(all); i++) {
                sd_json_variant *volume = sd_json_variant_by_index(all, i);
                _cleanup_free_ char *reference = volume_reference(volume);

                must(strv_append(&names, is_short ? json_string(volume, "name") : reference));
        }
        offer_sorted(&name, names, "");
}

static void offer_backup_targets(const Typed *t) {
        _cleanup_strv_ char **names = NULL;
        Error ignored = {};

        if (backup_target_list(&names, &ignored) >= 0)
                offer_sorted(t, names, "");
}

/* KEY= of the labels that there are, and behind it the values. */
static void offer_labels(const Typed *t) {
        static const char *const fields[] = { "labels", NULL };
        _cleanup_(sd_json_variant_unrefp)
        sd_json_variant *all = ask(API_VOLUME ".List", "volumes", "all", NULL, fields);
        _cleanup_strv_ char **texts = NULL;
        bool has_key = strchr(typed_rest(t), '=');

        for (size_t i = 0; i < sd_json_variant_elements(all); i++) {
                sd_json_variant *labels = sd_json_variant_by_key(sd_json_variant_by_index(all, i), "labels");

                for (size_t j = 0; j + 1 < sd_json_variant_elements(labels); j += 2) {
                        const char *key = sd_json_variant_string(sd_json_variant_by_index(labels, j)),
                                   *value = sd_json_variant_string(sd_json_variant_by_index(labels, j + 1));
                        _cleanup_free_ char *text = must_have(format_new("%s=%s", key, has_key ? value : ""));

                        must(strv_append(&texts, text));
                }
        }
        offer_sorted(t, texts, "");
}

/* --- files, users ------------------------------------------------------------------------------------------ */

typedef enum FileKind { FILES_ALL, FILES_DEVICES, FILES_FOLDERS } FileKind;

static void offer_files(const Typed *t, FileKind kind) {
        const char *typed = typed_rest(t), *slash = strrchr(typed, '/'), *home = getenv("HOME");
        int folder_length = slash ? (int) (slash - typed) + 1 : 0;
        _cleanup_free_ char *folder = NULL;
        struct dirent **entries = NULL;
        Typed name = *t;

        if (startswith(typed, "~/") && home)
                folder = must_have(format_new("%s%.*s", home, folder_length - 1, typed + 1));
        else
                folder = must_have(format_new("%.*s", folder_length, typed));
        name.kept += (size_t) folder_length;
        int n = scandir(*folder ? folder : ".", &entries, NULL, alphasort);
        for (int i = 0; i < n; i++) {
                const char *entry = entries[i]->d_name;
                _cleanup_free_ char *path = must_have(format_new("%s%s", folder, entry));
                bool is_hidden = *entry == '.' && *typed_rest(&name) != '.';
                struct stat st;

                if (!is_hidden && !streq(entry, ".") && !streq(entry, "..") && stat(path, &st) >= 0 &&
                    (S_ISDIR(st.st_mode) || kind == FILES_ALL || (kind == FILES_DEVICES && S_ISBLK(st.st_mode))))
                        (void) offer(&name, entry, S_ISDIR(st.st_mode) ? "/" : "", NULL);
                free(entries[i]);
        }
        free(entries);
}

static void offer_users(const Typed *t) {
        const struct passwd *user;

        setpwent();
        while ((user = getpwent()))
                (void) offer(t, user->pw_name, "", NULL);
        endpwent();
}

static void offer_groups(const Typed *t) {
        const struct group *group;

        setgrent();
        while ((group = getgrent()))
                (void) offer(t, group->gr_name, "", NULL);
        endgrent();
}

/* --- columns ----------------------------------------------------------------------------------------------- */

/* What is behind the last comma is typed now. */
static Typed last_of_list(const Typed *t) {
        const char *comma = strrchr(typed_rest(t), ',');
        Typed last = *t;

        if (comma)
                last.kept = (size_t) (comma + 1 - t->word);
        return last;
}

static void offer_columns(const Typed *t, const char *suffix) {
        for (const Column *c = t->verb->columns; c && c->name; c++)
                (void) offer(t, c->name, suffix, c->meaning);
}

static void offer_words(const Typed *t, const char *words, const char *separator) {
        for (const char *w = words + strspn(words, separator); *w; w += strspn(w, separator)) {
                _cleanup_free_ char *word = must_have(strndup(w, strcspn(w, separator)));

                (void) offer(t, word, "", NULL);
                w += strlen(word);
        }
}

static void offer_mount_options(const Typed *t) {
        Typed last = last_of_list(t);

        for (size_t i = 0; mount_option_word(i); i++)
                (void) offer(&last, mount_option_word(i), "", NULL);
}

static void offer_filters(const Typed *whole) {
        Typed t = last_of_list(whole);
        const char *term = typed_rest(&t);
        size_t length = strcspn(term, "=<>!");
        const Column *c = term[length] && t.verb->columns ? table_column(t.verb->columns, term, length) : NULL;

        if (!term[length]) {
                offer_columns(&t, "=");
                for (c = t.verb->columns; c && c->name; c++)
                        if (c->also)
                                (void) offer(&t, c->also, "=", c->meaning);
                return;
        }
        if (!c)
                return;
        t.kept += length + strspn(term + length, "=<>!");
        if (c->also && streq(c->also, "label"))
                offer_labels(&t);
        else if (c->kind == COLUMN_YES)
                offer_words(&t, "yes no", " ");
        else if (c->values)
                offer_words(&t, c->values, " ");
        else if (streq(c->name, "pool"))
                offer_named(&t, API_POOL ".List", "pools");
        else if (streq(c->name, "tenant"))
                offer_named(&t, API_TENANT ".List", "tenants");
}

/* --- by name ----------------------------------------------------------------------------------------------- */

/* NAME is what the verb is about; of a new one there is nothing to offer. */
static void offer_names(const Typed *t, const char *what) {
        const char *verb = t->verb->words, *second = strchr(verb, ' ');

        if (streq(second ? second + 1 : verb, "create"))
                return;
        if (startswith(verb, "pool "))
                offer_named(t, API_POOL ".List", "pools");
        else if (startswith(verb, "tenant "))
                offer_named(t, API_TENANT ".List", "tenants");
        else if (streq(verb, "backup target"))
                offer_backup_targets(t);
        else
                offer_volumes(t, streq(what, "NAME@SNAPSHOT")          ? "snapshot"
                                 : startswith(what, "NAME[@SNAPSHOT]") ? "all"
                                                                       : "volume");
}

static void offer_one_kind(const Typed *t, const char *what) {
        if (islower((unsigned char) *what))
                (void) offer(t, what, "", NULL);
        else if (startswith(what, "NAME"))
                offer_names(t, what);
        else if (streq(what, "FROM") || streq(what, "TO"))
                offer_volumes(t, "all");
        else if (streq(what, "POOL"))
                offer_named(t, API_POOL ".List", "pools");
        else if (streq(what, "TENANT"))
                offer_named(t, API_TENANT ".List", "tenants");
        else if (streq(what, "USER"))
                offer_users(t);
        else if (streq(what, "GROUP"))
                offer_groups(t);
        else if (streq(what, "FILE") || streq(what, "PATH"))
                offer_files(t, FILES_ALL);
        else if (streq(what, "TARGET") && startswith(t->verb->words, "backup "))
                offer_backup_targets(t);
        else if (streq(what, "TARGET") || streq(what, "DIR"))
                offer_files(t, FILES_FOLDERS);
        else if (streq(what, "DEVICE"))
                offer_files(t, FILES_DEVICES);
        else if (streq(what, "KEY=VALUE"))
                offer_labels(t);
        else if (streq(what, "OPTION,..."))
                offer_mount_options(t);
        else if (streq(what, "FILTER"))
                offer_filters(t);
        else if (streq(what, "VERB"))
                offer_verbs(t, NULL);
}

/* what: a word of a synopsis, or several with | between. */
static void offer_kind(const Typed *t, const char *what) {
        if (streq(what, "COLUMNS") || streq(what, "COLUMN")) {
                Typed last = streq(what, "COLUMNS") ? last_of_list(t) : *t;

                last.kept += strspn(typed_rest(&last), "+-");
                offer_columns(&last, "");
                if (streq(what, "COLUMNS") && last.kept == t->kept)
                        (void) offer(&last, "help", "", "Show the columns");
                return;
        }
        for (const char *w = what;; w++) {
                _cleanup_free_ char *word = must_have(strndup(w, strcspn(w, "|")));

                offer_one_kind(t, word);
                w += strlen(word);
                if (!*w)
                        return;
        }
}

/* --- where in the line ------------------------------------------------------------------------------------- */

/* What the argument of this number, from 0, is called in the synopsis; to be freed. NULL: there is none. */
static char *argument_name(const char *synopsis, size_t number) {
        _cleanup_free_ char *last = NULL;
        bool repeats = false, of_option = false;

        for (const char *w = synopsis + strspn(synopsis, " "); *w; w += strspn(w, " ")) {
                size_t length = strcspn(w, " ");
                _cleanup_free_ char *word = must_have(strndup(w, length));
                char *bare = word + strspn(word, "[(");
                bool is_value = of_option, is_option = *bare == '-';

                w += length;
                of_option = is_option && !strchr(bare, ']');
                if (is_option || is_value || streq(bare, "|") || startswith(bare, "OPTION"))
                        continue;
                repeats = strstr(bare, "...");
                if (repeats)
                        *strstr(bare, "...") = 0;
                size_t end = strlen(bare);
                if (end > 0 && (bare[end - 1] == ')' || (bare[end - 1] == ']' && !strchr(bare, '['))))
                        bare[end - 1] = 0;
                free(last);
                last = must_have(strdup(bare));
                if (number-- == 0)
                        return TAKE_PTR(last);
        }
        return repeats ? TAKE_PTR(last) : NULL;
}

/* Of a synopsis of several, "add NAME URL | rm NAME", that begins with this word, its own part, to be freed; offers
 * the words if it is the one that is typed. */
static char *alternative(const Typed *t, const char *first) {
        const char *part = t->verb->synopsis;

        for (size_t length; *part; part += length + strspn(part + length, " |")) {
                const char *end = strstr(part, " | ");
                size_t word = strcspn(part, " ");

                length = end ? (size_t) (end - part) : strlen(part);
                if (first && strlen(first) == word && strncmp(first, part, word) == 0)
                        return must_have(strndup(part, length));
                _cleanup_free_ char *name = must_have(strndup(part, word));
                if (!first)
                        (void) offer(t, name, "", NULL);
        }
        return NULL;
}

static const Option *option_of(const Option *const *tables, const char *word) {
        bool is_long = word[1] == '-';
        size_t length = is_long ? strcspn(word + 2, "=") : 1;

        for (; *tables; tables++)
                for (const Option *o = *tables; o->name; o++)
                        if (is_long ? strlen(o->name) == length && strncmp(o->name, word + 2, length) == 0
                                    : o->letter == word[1])
                                return o;
        return NULL;
}

static void offer_options(const Typed *t, const Option *const *tables) {
        for (; *tables; tables++)
                for (const Option *o = *tables; o->name; o++) {
                        _cleanup_free_ char *name = must_have(format_new("--%s", o->name));

                        (void) offer(t, name, "", o->help);
                }
}

static bool is_option(const char *word) {
        return word[0] == '-' && word[1] && !isdigit((unsigned char) word[1]) && word[1] != '.';
}

/* How far the words are that are whole. */
typedef struct Typing {
        const Option *awaited; /* the option that the next word is the value of */
        bool ended;            /* by "--" */
        size_t n;              /* arguments that are no options */
        const char *first;     /* of these */
} Typing;

static void typing_read(Typing *typing, const Option *const *tables, const char *word) {
        bool has_value = word[0] == '-' && (word[1] == '-' ? strchr(word, '=') != NULL : word[1] && word[2]);

        if (typing->awaited)
                typing->awaited = NULL;
        else if (typing->ended || !is_option(word)) {
                typing->first = typing->first ?: word;
                typing->n++;
        } else if (streq(word, "--"))
                typing->ended = true;
        else {
                const Option *o = option_of(tables, word);

                typing->awaited = o && o->argument && !has_value ? o : NULL;
        }
}

/* before: the word in front of it. Of what is made anew there is nothing to offer. */
static void offer_argument(const Typed *t, const Typing *typing, const char *before) {
        bool has_parts = islower((unsigned char) *t->verb->synopsis);
        _cleanup_free_ char *part = has_parts ? alternative(t, typing->first) : NULL;
        _cleanup_free_ char *argument = NULL;

        if (has_parts && (!part || streq(typing->first, "add")))
                return;
        argument = argument_name(part ?: t->verb->synopsis, typing->n);
        if (argument && streq(argument, "VERB") && typing->n > 0)
                offer_verbs(t, before);
        else if (argument)
                offer_kind(t, argument);
}

/* words: those behind the verb's. */
static void complete_verb(Typed *t, const Option *const *tables, char **words) {
        Typing typing = {};

        for (; words[1]; words++)
                typing_read(&typing, tables, *words);
        const char *equals = strchr(t->word, '=');
        const Option *o = !typing.ended && !typing.awaited && equals && startswith(t->word, "--")
                                  ? option_of(tables, t->word)
                                  : NULL;

        if (typing.awaited)
                offer_kind(t, typing.awaited->argument);
        else if (o) {
                t->kept = (size_t) (equals + 1 - t->word);
                if (o->argument)
                        offer_kind(t, o->argument);
        } else if (!typing.ended && *t->word == '-')
                offer_options(t, tables);
        else
                offer_argument(t, &typing, words[-1]);
}

static void on_alarm(int number) {
        _exit(EXIT_FAILURE);
}

void complete_print(const Verb *verbs, const Option *common, const Option *top, char **words) {
        const Option *tables[4];
        size_t n = strv_length(words), length = 0;
        Typed t = { .word = n > 0 ? words[n - 1] : "", .verbs = verbs };

        (void) signal(SIGALRM, on_alarm);
        (void) alarm(LIMIT_SECONDS);
        while (n > 1 && words[0][0] == '-')
                words++, n--;
        t.verb = n > 1 ? verb_find(verbs, words, &length) : NULL;
        if (t.verb && length < n)
                complete_verb(&t, verb_options(t.verb, common, tables), words + length);
        else if (n == 2)
                offer_verbs(&t, words[0]);
        else if (n <= 1 && *t.word == '-')
                offer_options(&t, (const Option *[]) { top, common, NULL });
        else if (n <= 1)
                offer_verbs(&t, NULL);
}
