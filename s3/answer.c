#include "answer.h"

#include "xml.h"

/* --- what is listed --------------------------------------------------------------------------------------- */

typedef struct Reading {
        Listing *listing;
        size_t keys;
        bool is_told, is_quoted;
} Reading;

enum { KEY, IS_TRUNCATED, TOKEN, ENCODING };

static const char *const listing_paths[] = {
        [KEY] = "ListBucketResult/Contents/Key",
        [IS_TRUNCATED] = "ListBucketResult/IsTruncated",
        [TOKEN] = "ListBucketResult/NextContinuationToken",
        [ENCODING] = "ListBucketResult/EncodingType",
        NULL,
};

void listing_done(Listing *listing) {
        strv_free(listing->keys);
        free(listing->token);
        *listing = (Listing) {};
}

static int hex_digit(char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
}

/* In place. False if it is not quoted as a URL is. */
static bool unquote(char *s) {
        char *to = s;

        for (; *s; s++) {
                if (*s != '%') {
                        *to++ = (char) (*s == '+' ? ' ' : *s);
                        continue;
                }
                int high = hex_digit(s[1]), low = high < 0 ? -1 : hex_digit(s[2]);
                if (low < 0 || (high == 0 && low == 0))
                        return false;
                *to++ = (char) (high << 4 | low);
                s += 2;
        }
        *to = 0;
        return true;
}

static int on_listing(size_t path, const char *text, void *userdata) {
        Reading *reading = userdata;
        Listing *listing = reading->listing;

        switch (path) {
        case KEY:
                return ++reading->keys > LISTING_KEYS_MAX ? -EBADMSG : strv_append(&listing->keys, text);
        case IS_TRUNCATED:
                reading->is_told = true;
                listing->is_truncated = streq(text, "true");
                return listing->is_truncated || streq(text, "false") ? 0 : -EBADMSG;
        case ENCODING:
                reading->is_quoted = true;
                return streq(text, "url") ? 0 : -EBADMSG;
        default:
                free(listing->token);
                listing->token = strdup(text);
                return listing->token ? 0 : -ENOMEM;
        }
}

int listing_parse(const char *data, size_t size, Listing *ret) {
        _cleanup_(listing_done) Listing listing = {};
        Reading reading = { .listing = &listing };
        int r;

        r = xml_read(data, size, listing_paths, on_listing, &reading);
        if (r < 0)
                return r;
        if (!reading.is_told || (listing.is_truncated && isempty(listing.token) && !listing.keys))
                return -EBADMSG;
        for (char **key = listing.keys; reading.is_quoted && key && *key; key++)
                if (!unquote(*key))
                        return -EBADMSG;
        *ret = listing;
        listing = (Listing) {};
        return 0;
}

/* --- what is refused -------------------------------------------------------------------------------------- */

enum { CODE, MESSAGE };

static const char *const complaint_paths[] = { [CODE] = "Error/Code", [MESSAGE] = "Error/Message", NULL };

static int on_complaint(size_t path, const char *text, void *userdata) {
        Complaint *complaint = userdata;

        if (path == CODE)
                (void) buffer_format(complaint->code, sizeof(complaint->code), "%s", text);
        else
                (void) buffer_format(complaint->message, sizeof(complaint->message), "%s", text);
        return 0;
}

void complaint_parse(const char *data, size_t size, Complaint *ret) {
        Complaint complaint = {};

        if (xml_read(data, size, complaint_paths, on_complaint, &complaint) < 0)
                complaint = (Complaint) {};
        text_clean(complaint.code);
        text_clean(complaint.message);
        *ret = complaint;
}
