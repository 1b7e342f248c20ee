#include <quarry/finding.h>

#include <quarry/text.h>

#include <stdarg.h>
#include <stdio.h>

#define TEXT_MAX 768

static const struct {
        const char *word;
        bool fixable;
} kinds[_FINDING_KIND_MAX] = {
#define FINDING_ROW(kind, word, fixable) [FINDING_##kind] = { word, fixable },
        FINDING_KINDS(FINDING_ROW)
#undef FINDING_ROW
};

const char *finding_kind_to_string(FindingKind kind) {
        return kind < _FINDING_KIND_MAX ? kinds[kind].word : NULL;
}

int finding_kind_from_string(const char *s) {
        for (int i = 0; i < _FINDING_KIND_MAX; i++)
                if (streq_ptr(kinds[i].word, s))
                        return i;
        return -EINVAL;
}

bool finding_kind_is_fixable(FindingKind kind) {
        return kind < _FINDING_KIND_MAX && kinds[kind].fixable;
}

static void finding_done(Finding *finding) {
        free(finding->object);
        free(finding->text);
        free(finding->hint);
}

void finding_list_done(FindingList *list) {
        for (size_t i = 0; i < list->n; i++)
                finding_done(&list->items[i]);
        free(list->items);
        *list = (FindingList) {};
}

static Finding *append(FindingList *list, Finding *finding) {
        Finding *more = NULL;

        if (finding->object && finding->text)
                more = reallocarray(list->items, list->n + 1, sizeof(*more));
        if (!more) {
                finding_done(finding);
                return NULL;
        }
        list->items = more;
        more[list->n] = *finding;
        return &more[list->n++];
}

_printf_(1, 0) static char *text_new(const char *format, va_list ap) {
        char text[TEXT_MAX];

        (void) vsnprintf(text, sizeof(text), format, ap);
        text_clean(text);
        return strdup(text);
}

Finding *finding_add(FindingList *list, FindingKind kind, const char *object, const char *format, ...) {
        Finding finding = { .kind = kind, .object = strdup(object) };
        va_list ap;

        if (finding.object)
                text_clean(finding.object);
        va_start(ap, format);
        finding.text = text_new(format, ap);
        va_end(ap);
        return append(list, &finding);
}

void finding_hint(Finding *finding, const char *format, ...) {
        va_list ap;

        if (!finding)
                return;
        free(finding->hint);
        va_start(ap, format);
        finding->hint = text_new(format, ap);
        va_end(ap);
}

void finding_filter(FindingList *list, bool (*keep)(const Finding *finding, void *userdata), void *userdata) {
        size_t kept = 0;

        for (size_t i = 0; i < list->n; i++)
                if (keep(&list->items[i], userdata))
                        list->items[kept++] = list->items[i];
                else
                        finding_done(&list->items[i]);
        list->n = kept;
}

int finding_join(FindingList *list, FindingList *from) {
        Finding *more;

        if (from->n == 0)
                return 0;
        more = reallocarray(list->items, list->n + from->n, sizeof(*more));
        if (!more)
                return -ENOMEM;
        memcpy(more + list->n, from->items, from->n * sizeof(*more));
        list->items = more;
        list->n += from->n;
        free(from->items);
        *from = (FindingList) {};
        return 0;
}

int finding_list_to_json(const FindingList *list, sd_json_variant **ret) {
        for (size_t i = 0; i < list->n; i++) {
                const Finding *f = &list->items[i];
                int r = sd_json_variant_append_arraybo(
                                ret,
                                SD_JSON_BUILD_PAIR_STRING("kind", finding_kind_to_string(f->kind)),
                                SD_JSON_BUILD_PAIR_STRING("object", f->object),
                                SD_JSON_BUILD_PAIR_CONDITION(
                                                !sd_id128_is_null(f->uuid), "uuid", SD_JSON_BUILD_UUID(f->uuid)),
                                SD_JSON_BUILD_PAIR_CONDITION(
                                                !sd_id128_is_null(f->pool), "poolUuid", SD_JSON_BUILD_UUID(f->pool)),
                                SD_JSON_BUILD_PAIR_STRING("message", f->text),
                                SD_JSON_BUILD_PAIR_CONDITION(!!f->hint, "hint", SD_JSON_BUILD_STRING(f->hint)),
                                SD_JSON_BUILD_PAIR_BOOLEAN("fixable", finding_kind_is_fixable(f->kind)),
                                SD_JSON_BUILD_PAIR_BOOLEAN("fixed", f->fixed));
                if (r < 0)
                        return r;
        }
        return 0;
}

typedef struct Parsed {
        Finding finding;
        const char *kind, *object, *text, *hint;
        bool fixable;
} Parsed;

static int finding_from_json(sd_json_variant *v, FindingList *list) {
        static const sd_json_dispatch_field table[] = {
#define CONST_STRING SD_JSON_VARIANT_STRING, sd_json_dispatch_const_string
                { "kind", CONST_STRING, offsetof(Parsed, kind), SD_JSON_MANDATORY },
                { "object", CONST_STRING, offsetof(Parsed, object), SD_JSON_MANDATORY },
                { "uuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(Parsed, finding.uuid), 0 },
                { "poolUuid", SD_JSON_VARIANT_STRING, sd_json_dispatch_id128, offsetof(Parsed, finding.pool), 0 },
                { "message", CONST_STRING, offsetof(Parsed, text), SD_JSON_MANDATORY },
                { "hint", CONST_STRING, offsetof(Parsed, hint), 0 },
                { "fixable", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, fixable), 0 },
                { "fixed", SD_JSON_VARIANT_BOOLEAN, sd_json_dispatch_stdbool, offsetof(Parsed, finding.fixed), 0 },
#undef CONST_STRING
                {},
        };
        Parsed p = {};
        Finding *f;
        int kind, r;

        r = sd_json_dispatch(v, table, 0, &p);
        kind = r < 0 ? r : finding_kind_from_string(p.kind);
        if (kind < 0)
                return kind == -ENOMEM ? kind : -EINVAL;
        f = finding_add(list, (FindingKind) kind, p.object, "%s", p.text);
        if (!f)
                return -ENOMEM;
        f->uuid = p.finding.uuid;
        f->pool = p.finding.pool;
        f->fixed = p.finding.fixed;
        if (p.hint)
                finding_hint(f, "%s", p.hint);
        return 0;
}

int finding_list_from_json(sd_json_variant *v, FindingList *ret) {
        FindingList list = {};
        int r = 0;

        if (v && !sd_json_variant_is_array(v))
                return -EINVAL;
        for (size_t i = 0; r >= 0 && v && i < sd_json_variant_elements(v); i++)
                r = finding_from_json(sd_json_variant_by_index(v, i), &list);
        if (r < 0) {
                finding_list_done(&list);
                return r;
        }
        *ret = list;
        return 0;
}
