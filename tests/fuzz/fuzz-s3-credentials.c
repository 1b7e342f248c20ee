/* A file that somebody wrote, or another program for its own use. */

#include "../../repo/s3-credentials.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = input_string(data, size);
        S3Credentials credentials = {};
        Error err = {};

        if (s3_credentials_parse(text, &credentials, &err) < 0) {
                assert_sentence(&err);
                assert(!*credentials.secret_access_key);
        } else
                assert(s3_credentials_check(&credentials, NULL) >= 0);
        return 0;
}
