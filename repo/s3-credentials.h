#pragma once

/* How to get into an S3 service, as it stands in a file. */

#include <quarry/s3.h>

/* "access_key_id = ...", "secret_access_key = ..." and perhaps "session_token = ...", a line each; also with aws_
 * before the names and below [default], as AWS' tools write it, whose other profiles are passed over. Errors name a
 * line and never say what stands there. */
int s3_credentials_parse(const char *text, S3Credentials *ret, Error *err);
