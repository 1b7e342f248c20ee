#pragma once

/* What went wrong with a request: whether it passes, and how to say it. */

#include "answer.h"

#include <curl/curl.h>
#include <quarry/s3.h>

typedef struct Outcome {
        CURLcode result;
        char trouble[CURL_ERROR_SIZE]; /* of libcurl's, if result says so */
        long status;                   /* of HTTP, or 0 */
        bool is_short;                 /* the answer did not come whole, or is none */
        bool is_bare;                  /* an answer to HEAD, which has no text */
        Complaint complaint;
} Outcome;

bool outcome_is_done(const Outcome *outcome);
/* There is a service of S3, and it has no such object. */
bool outcome_is_missing(const Outcome *outcome);
/* It may go well later. */
bool outcome_is_passing(const Outcome *outcome);

/* Returns what a function with this error returns. */
int outcome_describe(const Outcome *outcome, const S3Place *place, Error *err);
