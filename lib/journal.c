#include <quarry/journal.h>

#include <quarry/text.h>

#include <glob.h>
#include <systemd/sd-journal.h>

/* Who may write into the journal may write any field but those that begin with '_': by this one the journal itself says
 * whose entry it is. */
#define WRITTEN_BY "_SYSTEMD_UNIT=quarryd.service"

bool journal_is_readable(void) {
        static const char *const patterns[] = { "/var/log/journal/*/system.journal",
                                                "/run/log/journal/*/system.journal" };
        bool readable = false;

        for (size_t i = 0; i < ELEMENTSOF(patterns); i++) {
                glob_t found = {};

                if (glob(patterns[i], 0, NULL, &found) == 0)
                        for (size_t k = 0; k < found.gl_pathc; k++)
                                readable = readable || access(found.gl_pathv[k], R_OK) >= 0;
                globfree(&found);
        }
        return readable;
}

static int add_match(sd_journal *journal, const char *name, const char *value) {
        _cleanup_free_ char *match = NULL;

        if (isempty(value))
                return 0;
        match = format_new("%s=%s", name, value);
        return match ? sd_journal_add_match(journal, match, 0) : -ENOMEM;
}

static int add_alternative(sd_journal *journal, EventField field, const char *value) {
        int r;

        if (isempty(value))
                return 0;
        r = add_match(journal, event_field_name(field), value);
        return r < 0 ? r : sd_journal_add_disjunction(journal);
}

/* So that it need not read what cannot fit: only that, event_filter_matches() decides. */
static int add_filters(sd_journal *journal, const JournalQuery *query) {
        int r = 0;

        for (size_t i = 0; i < query->n && r >= 0; i++) {
                const EventFilter *f = &query->filters[i];

                r = add_alternative(journal, EVENT_FIELD_VOLUME, f->volume.name);
                if (r >= 0)
                        r = add_alternative(journal, EVENT_FIELD_NEW_NAME, f->volume.name);
                if (r >= 0)
                        r = add_alternative(journal, EVENT_FIELD_VOLUME_UUID, f->uuid);
                if (r >= 0)
                        r = add_alternative(journal, EVENT_FIELD_SNAPSHOT_UUID, f->uuid);
                if (r >= 0 && isempty(f->volume.name))
                        r = add_match(journal, event_field_name(EVENT_FIELD_POOL), f->pool);
                if (r >= 0 && isempty(f->volume.name))
                        r = add_match(journal, event_field_name(EVENT_FIELD_TENANT), f->tenant);
        }
        return r;
}

static int add_matches(sd_journal *journal, const JournalQuery *query) {
        int r;

        r = sd_journal_add_match(journal, WRITTEN_BY, 0);
        for (int i = 0; i < _EVENT_CLASS_MAX && r >= 0; i++)
                r = add_match(journal, "MESSAGE_ID", event_class_id((EventClass) i));
        if (r >= 0)
                r = sd_journal_add_conjunction(journal);
        return r < 0 ? r : add_filters(journal, query);
}

/* What follows "NAME="; NULL: it has none, or memory ran out. */
static char *field_get(sd_journal *journal, const char *name) {
        size_t skip = strlen(name) + 1, size;
        const void *data;
        char *text;

        if (sd_journal_get_data(journal, name, &data, &size) < 0 || size < skip)
                return NULL;
        text = strndup((const char *) data + skip, size - skip);
        if (text)
                text_clean(text);
        return text;
}

/* The line in the journal begins with what it is about, the message of an event does not. */
static char *message_get(sd_journal *journal) {
        _cleanup_free_ char *object = field_get(journal, "QUARRY_OBJECT"), *line = field_get(journal, "MESSAGE");
        const char *rest = object && line ? startswith(line, object) : NULL;

        rest = rest ? startswith(rest, ": ") : NULL;
        return rest ? strdup(rest) : TAKE_PTR(line);
}

/* Returns 0 for an entry that is none of ours. */
static int event_read(sd_journal *journal, Event *ret) {
        _cleanup_free_ char *id = field_get(journal, "MESSAGE_ID");
        int class = id ? event_class_from_id(id) : -EINVAL;
        uint64_t at;

        if (class < 0 || sd_journal_get_realtime_usec(journal, &at) < 0)
                return 0;
        *ret = (Event) { .class = (EventClass) class, .at_usec = at, .message = message_get(journal) };
        for (int i = 0; i < _EVENT_FIELD_MAX; i++)
                ret->fields[i] = field_get(journal, event_field_name((EventField) i));
        return 1;
}

static bool fits(const JournalQuery *query, const Event *event) {
        for (size_t i = 0; i < query->n; i++)
                if (event_filter_matches(&query->filters[i], event))
                        return true;
        return query->n == 0;
}

/* Returns 1 and the event if the entry is asked for, 0 if not, -ERANGE if it is too old. */
static int entry_take(sd_journal *journal, const JournalQuery *query, Event *ret) {
        Event event = {};

        if (event_read(journal, &event) == 0)
                return 0;
        if (event.at_usec >= query->since && (query->until == 0 || event.at_usec <= query->until) &&
            fits(query, &event)) {
                *ret = event;
                return 1;
        }
        int r = event.at_usec < query->since ? -ERANGE : 0;
        event_done(&event);
        return r;
}

static int read_on(sd_journal *journal, const JournalQuery *query, int (*on_event)(const Event *event, void *userdata),
                   void *userdata) {
        int r, done = 0;

        r = query->since > 0 ? sd_journal_seek_realtime_usec(journal, query->since) : sd_journal_seek_head(journal);
        while (r >= 0 && done == 0 && (r = sd_journal_next(journal)) > 0) {
                Event event = {};

                if (entry_take(journal, query, &event) > 0)
                        done = on_event(&event, userdata);
                event_done(&event);
        }
        return r < 0 ? r : done;
}

/* Backwards, and then told the other way round. */
static int read_newest(sd_journal *journal, const JournalQuery *query,
                       int (*on_event)(const Event *event, void *userdata), void *userdata) {
        Event *events = NULL;
        size_t n = 0, room = 0;
        int r, taken = 0, done = 0;

        r = query->until > 0 ? sd_journal_seek_realtime_usec(journal, query->until + 1) : sd_journal_seek_tail(journal);
        while (r >= 0 && n < query->limit && taken != -ERANGE && (r = sd_journal_previous(journal)) > 0) {
                if (n == room) {
                        Event *larger = reallocarray(events, room += 64, sizeof(*larger));

                        if (!larger) {
                                r = -ENOMEM;
                                break;
                        }
                        events = larger;
                }
                taken = entry_take(journal, query, &events[n]);
                n += taken > 0;
        }
        while (n > 0) {
                if (r >= 0 && done == 0)
                        done = on_event(&events[n - 1], userdata);
                event_done(&events[--n]);
        }
        free(events);
        return r < 0 ? r : done;
}

int journal_read(const JournalQuery *query, int (*on_event)(const Event *event, void *userdata), void *userdata,
                 Error *err) {
        sd_journal *journal = NULL;
        int r;

        r = sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
        if (r >= 0)
                r = add_matches(journal, query);
        if (r >= 0)
                r = (query->limit > 0 ? read_newest : read_on)(journal, query, on_event, userdata);
        sd_journal_close(journal);
        return r < 0 ? error_errno(err, r, "cannot read the journal") : r;
}
