#include <quarry/schedule.h>

#include <quarry/text.h>

#include <stdio.h>
#include <string.h>

#define SPACES " \t\n"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define EXPRESSION_CHARACTERS LETTERS "0123456789 *.,:/~@_+-"

bool schedule_expression_is_valid(const char *s) {
        size_t n = strlen(s);

        return n > 0 && n <= SCHEDULE_EXPRESSION_MAX && s[strspn(s, EXPRESSION_CHARACTERS)] == 0 && s[0] != '-' &&
               s[0] != ' ' && s[n - 1] != ' ' && !strstr(s, "  ");
}

/* The next word of s, and how long it is; 0 at the end. */
static size_t next_word(const char **s) {
        *s += strspn(*s, SPACES);
        return strcspn(*s, SPACES);
}

/* Appends a word, one space before it. */
static bool append_word(char *buf, size_t size, const char *word, size_t n) {
        size_t have = strlen(buf);

        return buffer_format(buf + have, size - have, "%s%.*s", have > 0 ? " " : "", (int) n, word);
}

static int check_expression(const char *expression, bool fits, const char *field, Error *err) {
        char echo[TEXT_ECHO_MAX];

        if (!*expression)
                return error_field(err, field, "a rule is a calendar expression and how many to keep: hourly keep 24");
        if (fits && schedule_expression_is_valid(expression))
                return 0;
        return error_field(err, field,
                           "\"%s\" is no calendar expression: it has at most %u of A-Z a-z 0-9 space * . , : / ~ @ _ + "
                           "-, and does not begin with -",
                           text_echo(expression, echo), SCHEDULE_EXPRESSION_MAX);
}

static int parse_keep(const char *s, size_t n, const char *expression, const char *field, unsigned *ret, Error *err) {
        char text[16];
        uint64_t keep;

        if (!buffer_format(text, sizeof(text), "%.*s", (int) n, s) || number_parse(text, &keep) < 0 || keep < 1 ||
            keep > SCHEDULE_KEEP_MAX)
                return error_field(err, field, "\"%s\": say how many are kept, 1 to %u: %s keep 24", expression,
                                   SCHEDULE_KEEP_MAX, expression);
        *ret = (unsigned) keep;
        return 0;
}

/* One rule, up to the comma behind its number, since the expression may have commas too. Returns whether another
 * follows. */
static int parse_rule(const char **s, const char *field, ScheduleRule *ret, Error *err) {
        bool fits = true, more;
        size_t n;
        int r;

        *ret = (ScheduleRule) {};
        while ((n = next_word(s)) > 0 && !(n == 4 && strncmp(*s, "keep", 4) == 0)) {
                fits = append_word(ret->expression, sizeof(ret->expression), *s, n) && fits;
                *s += n;
        }
        r = check_expression(ret->expression, fits, field, err);
        if (r < 0)
                return r;
        *s += n;
        (void) next_word(s);
        n = strcspn(*s, SPACES ",");
        r = parse_keep(*s, n, ret->expression, field, &ret->keep, err);
        if (r < 0)
                return r;
        *s += n;
        (void) next_word(s);
        more = **s == ',';
        if (!more && **s)
                return error_field(err, field, "behind \"%s keep %u\" comes a comma and the next rule, or nothing",
                                   ret->expression, ret->keep);
        *s += more;
        return more;
}

int schedule_parse(const char *s, const char *field, Schedule *ret, Error *err) {
        Schedule schedule = {};
        int more = 1;

        if (streq(s, SCHEDULE_NONE)) {
                *ret = schedule;
                return 0;
        }
        while (more > 0) {
                ScheduleRule rule;

                more = parse_rule(&s, field, &rule, err);
                if (more < 0)
                        return more;
                if (schedule.n == SCHEDULE_RULES_MAX)
                        return error_field(err, field, "a schedule has at most %u rules", SCHEDULE_RULES_MAX);
                for (size_t i = 0; i < schedule.n; i++)
                        if (streq(schedule.rules[i].expression, rule.expression))
                                return error_field(err, field, "\"%s\" is there twice", rule.expression);
                schedule.rules[schedule.n++] = rule;
        }
        *ret = schedule;
        return 0;
}

char *schedule_format(const Schedule *schedule) {
        char *text = NULL;
        size_t size = 0;
        FILE *f;

        if (schedule->n == 0)
                return strdup(SCHEDULE_NONE);
        f = open_memstream(&text, &size);
        if (!f)
                return NULL;
        for (size_t i = 0; i < schedule->n; i++)
                fprintf(f, "%s%s keep %u", i > 0 ? ", " : "", schedule->rules[i].expression, schedule->rules[i].keep);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

void schedule_run_done(ScheduleRun *run) {
        free(run->rule);
        free(run->failure);
        *run = (ScheduleRun) {};
}

int schedule_run_copy(const ScheduleRun *from, ScheduleRun *ret) {
        ScheduleRun run = *from;

        run.rule = strdup(from->rule);
        run.failure = from->failure ? strdup(from->failure) : NULL;
        if (!run.rule || (from->failure && !run.failure)) {
                schedule_run_done(&run);
                return -ENOMEM;
        }
        *ret = run;
        return 0;
}

char *schedule_prefix(const char *expression, char buf[static SCHEDULE_PREFIX_MAX + 1]) {
        bool is_word = expression[strspn(expression, LETTERS)] == 0;

        if (!is_word || !buffer_format(buf, SCHEDULE_PREFIX_MAX + 1, "%s-", expression))
                buffer_format(buf, SCHEDULE_PREFIX_MAX + 1, "auto-");
        return buf;
}
