#include <quarry/event.h>

#include <quarry/text.h>

#include <inttypes.h>
#include <stdio.h>

static const struct {
        const char *name, *id;
} classes[_EVENT_CLASS_MAX] = {
#define CLASS_ROW(class, name, id) [EVENT_##class] = { #name, id },
        EVENT_CLASSES(CLASS_ROW)
#undef CLASS_ROW
};

static const struct {
        const char *journal, *member;
        bool is_number;
} fields[_EVENT_FIELD_MAX] = {
#define FIELD_ROW(field, journal, member, number) [EVENT_FIELD_##field] = { "QUARRY_" #journal, #member, number },
        EVENT_FIELDS(FIELD_ROW)
#undef FIELD_ROW
};

void event_done(Event *event) {
        free(event->message);
        for (int i = 0; i < _EVENT_FIELD_MAX; i++)
                free(event->fields[i]);
        *event = (Event) {};
}

void event_set(Event *event, EventField field, const char *text) {
        char *copy;

        if (isempty(text))
                return;
        copy = strdup(text);
        if (!copy) {
                event->cut = true;
                return;
        }
        text_clean(copy);
        free(event->fields[field]);
        event->fields[field] = copy;
}

void event_set_number(Event *event, EventField field, uint64_t number) {
        char text[24];

        (void) buffer_format(text, sizeof(text), "%" PRIu64, number);
        event_set(event, field, text);
}

const char *event_class_id(EventClass class) {
        return classes[class].id;
}

int event_class_from_id(const char *message_id) {
        for (int i = 0; i < _EVENT_CLASS_MAX; i++)
                if (streq(classes[i].id, message_id))
                        return i;
        return -EINVAL;
}

const char *event_field_name(EventField field) {
        return fields[field].journal;
}

/* --- JSON ------------------------------------------------------------------------------------------------ */

static int add_field(const Event *event, EventField field, sd_json_variant **object) {
        const char *text = event->fields[field];
        uint64_t number;

        if (!text)
                return 0;
        if (!fields[field].is_number)
                return sd_json_variant_set_field_string(object, fields[field].member, text);
        return number_parse(text, &number) < 0
                       ? 0 /* of a journal that somebody else wrote */
                       : sd_json_variant_set_field_unsigned(object, fields[field].member, number);
}

int event_to_json(const Event *event, sd_json_variant **ret) {
        _cleanup_(sd_json_variant_unrefp) sd_json_variant *object = NULL;
        int r;

        r = sd_json_buildo(&object, SD_JSON_BUILD_PAIR_STRING("type", classes[event->class].name),
                           SD_JSON_BUILD_PAIR_UNSIGNED("timeUsec", event->at_usec),
                           SD_JSON_BUILD_PAIR_STRING("message", event->message ?: ""));
        for (int i = 0; i < _EVENT_FIELD_MAX && r >= 0; i++)
                r = add_field(event, (EventField) i, &object);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(object);
        return 0;
}

/* --- filter ---------------------------------------------------------------------------------------------- */

/* A name that looks like a UUID is a name, too. */
int event_filter_parse(const char *reference, const char *field, EventFilter *ret, Error *err) {
        EventFilter filter = {};
        sd_id128_t uuid;
        int r;

        r = reference_parse(reference, field, &filter.volume, err);
        if (r < 0)
                return r;
        if (isempty(filter.volume.pool) && isempty(filter.volume.tenant) && isempty(filter.volume.snapshot) &&
            strlen(filter.volume.name) == UUID_TEXT_MAX - 1 && sd_id128_from_string(filter.volume.name, &uuid) >= 0)
                (void) uuid_format(uuid, filter.uuid);
        *ret = filter;
        return 0;
}

static bool is_or_empty(const char *wanted, const char *have) {
        return isempty(wanted) || streq_ptr(wanted, have);
}

static bool has_name(const Reference *wanted, char *const *have) {
        return (streq_ptr(have[EVENT_FIELD_VOLUME], wanted->name) ||
                streq_ptr(have[EVENT_FIELD_NEW_NAME], wanted->name)) &&
               is_or_empty(wanted->snapshot, have[EVENT_FIELD_SNAPSHOT]) &&
               is_or_empty(wanted->tenant, have[EVENT_FIELD_TENANT]) &&
               is_or_empty(wanted->pool, have[EVENT_FIELD_POOL]);
}

bool event_filter_matches(const EventFilter *filter, const Event *event) {
        char *const *have = event->fields;

        if (!is_or_empty(filter->pool, have[EVENT_FIELD_POOL]) ||
            !is_or_empty(filter->tenant, have[EVENT_FIELD_TENANT]))
                return false;
        if (!isempty(filter->uuid) && (streq_ptr(filter->uuid, have[EVENT_FIELD_VOLUME_UUID]) ||
                                       streq_ptr(filter->uuid, have[EVENT_FIELD_SNAPSHOT_UUID])))
                return true;
        return isempty(filter->volume.name) || has_name(&filter->volume, have);
}
