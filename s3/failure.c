#include "failure.h"

static bool code_is(const Outcome *outcome, const char *const *codes) {
        for (; *codes; codes++)
                if (streq(outcome->complaint.code, *codes))
                        return true;
        return false;
}

/* Of Amazon's, Ceph's and MinIO's. */
static const char *const codes_full[] = {
        "QuotaExceeded",       "QuotaExceededException",         "ServiceQuotaExceeded",
        "XMinioStorageFull",   "XMinioAdminBucketQuotaExceeded", "EntityTooLarge",
        "InsufficientStorage", "InsufficientCapacity",           NULL,
};
static const char *const codes_denied[] = {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AuthorizationHeaderMalformed",
        "AuthorizationQueryParametersError",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        NULL,
};
/* What came there was not what was sent, or came too slowly. */
static const char *const codes_passing[] = {
        "RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "SlowDown", "InternalError", NULL,
};

static bool is_full(const Outcome *outcome) {
        return outcome->status == 507 || code_is(outcome, codes_full);
}

static bool is_denied(const Outcome *outcome) {
        return outcome->status == 401 || outcome->status == 403 || code_is(outcome, codes_denied);
}

bool outcome_is_done(const Outcome *outcome) {
        return outcome->result == CURLE_OK && !outcome->is_short && (outcome->status == 200 || outcome->status == 204);
}

bool outcome_is_missing(const Outcome *outcome) {
        return outcome->result == CURLE_OK && outcome->status == 404 &&
               (outcome->is_bare || streq(outcome->complaint.code, "NoSuchKey"));
}

static bool result_is_passing(CURLcode result) {
        switch (result) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_CONNECT:
        case CURLE_OPERATION_TIMEDOUT:
        case CURLE_PARTIAL_FILE:
        case CURLE_GOT_NOTHING:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_WEIRD_SERVER_REPLY:
                return true;
        default:
                return false;
        }
}

bool outcome_is_passing(const Outcome *outcome) {
        if (outcome->result != CURLE_OK)
                return result_is_passing(outcome->result);
        if (outcome->is_short)
                return true;
        if (is_full(outcome))
                return false;
        return outcome->status == 408 || outcome->status == 429 || (outcome->status >= 500 && outcome->status != 501) ||
               code_is(outcome, codes_passing);
}

static int describe_trouble(const Outcome *outcome, const S3Place *place, Error *err) {
        int r;

        r = error_set(err, ERROR_FAILED, outcome->result == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : EIO, "%s",
                      *outcome->trouble ? outcome->trouble : curl_easy_strerror(outcome->result));
        if (outcome->result == CURLE_PEER_FAILED_VERIFICATION)
                error_hint(err,
                           "lay the certificate of who signs for %s below /usr/local/share/ca-certificates, and "
                           "update-ca-certificates",
                           place->endpoint);
        else
                error_hint(err, "curl --verbose %s", place->endpoint);
        return r;
}

static int describe_refusal(const Outcome *outcome, const S3Place *place, Error *err) {
        const Complaint *complaint = &outcome->complaint;
        ErrorKind kind = is_full(outcome)     ? ERROR_NO_SPACE
                         : is_denied(outcome) ? ERROR_PERMISSION_DENIED
                                              : ERROR_FAILED;
        int r;

        r = error_set(err, kind, 0, "the service answers %ld%s%s%s%s", outcome->status, *complaint->code ? " " : "",
                      complaint->code, *complaint->message ? ": " : "", complaint->message);
        if (kind == ERROR_NO_SPACE)
                error_hint(err, "make room at %s, or raise the limit of bucket %s", place->endpoint, place->bucket);
        else if (streq(complaint->code, "RequestTimeTooSkewed"))
                error_hint(err, "timedatectl; the clocks of this host and of the service differ");
        else if (kind == ERROR_PERMISSION_DENIED)
                error_hint(err, "look at the credentials, at what they may do in bucket %s, and at region %s",
                           place->bucket, place->region);
        else if (outcome->status >= 500)
                error_hint(err, "look after the service at %s, and run this again", place->endpoint);
        else
                error_hint(err, "look at endpoint %s and region %s: curl --verbose %s", place->endpoint, place->region,
                           place->endpoint);
        return r;
}

int outcome_describe(const Outcome *outcome, const S3Place *place, Error *err) {
        int r;

        if (outcome->result == CURLE_OK && outcome->status == 404 && streq(outcome->complaint.code, "NoSuchBucket")) {
                r = error_set(err, ERROR_FAILED, ENOENT, "there is no bucket %s at %s", place->bucket, place->endpoint);
                error_hint(err, "make bucket %s there, or name another", place->bucket);
                return r;
        }
        if (outcome->result != CURLE_OK)
                return describe_trouble(outcome, place, err);
        if (!outcome->is_short)
                return describe_refusal(outcome, place, err);
        r = error_set(err, ERROR_FAILED, EBADMSG, "the answer is not whole, or none of an S3 service");
        error_hint(err, "curl --verbose %s", place->endpoint);
        return r;
}
