/* What an S3 service answers, or who pretends to be one. */

#include "../../s3/answer.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(listing_done) Listing listing = {};
        Complaint complaint;

        if (listing_parse((const char *) data, size, &listing) >= 0) {
                assert(strv_length(listing.keys) <= LISTING_KEYS_MAX);
                assert(!listing.is_truncated || listing.keys || *listing.token);
        } else
                assert(!listing.keys && !listing.token);
        complaint_parse((const char *) data, size, &complaint);
        assert(text_is_printable(complaint.code) && text_is_printable(complaint.message));
        return 0;
}
