#pragma once

/* What an S3 service writes in its answers. */

#include <quarry/base.h>
#include <quarry/text.h>

#define LISTING_KEYS_MAX 10000u /* of one answer; services give 1000 */

/* A part of what lies in a bucket. */
typedef struct Listing {
        Strv keys;
        bool is_truncated; /* there is more, behind the last of these or where the token says */
        char *token;       /* NULL, or empty, for none */
} Listing;

void listing_done(Listing *listing);

/* Returns 0, -EBADMSG if it is no such answer, or -ENOMEM. Keys are as they are in the bucket, whether the service
 * quoted them or not. */
int listing_parse(const char *data, size_t size, Listing *ret);

/* Why the service does not do something; both may be empty. */
typedef struct Complaint {
        char code[64];
        char message[192];
} Complaint;

/* Never fails: what is no such answer says nothing. */
void complaint_parse(const char *data, size_t size, Complaint *ret);
