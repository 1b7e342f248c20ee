#pragma once

#include "s3-credentials.h"
#include "store.h"

/* Starts quarry-s3 for it; nothing is asked of the service yet. What credentials holds is handed on and not kept. What
 * is listed is not to be changed from within each(). */
int store_s3_new(const S3Place *place, const S3Credentials *credentials, Store **ret, Error *err);
