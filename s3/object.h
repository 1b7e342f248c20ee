#pragma once

/* What may be asked about objects, by requests to the service. */

#include "request.h"

#define LISTING_MAX (UINT32_C(8) << 20) /* bytes of an answer: of 1000 long keys, quoted */

int object_put(Service *service, const char *name, const void *data, size_t size, Error *err);
/* Returns 0 if there is none, 1 if there is. */
int object_get(Service *service, const char *name, Answer *ret, Error *err);
int object_has(Service *service, const char *name, Error *err);
/* One that is not there is no error. */
int object_remove(Service *service, const char *name, Error *err);
/* Each whose name begins with kind and a slash, and is one of ours; what each() returns < 0 ends it. */
int object_list(Service *service, const S3Place *place, const char *kind, int (*each)(const char *name, void *userdata),
                void *userdata, Error *err);
