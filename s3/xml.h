#pragma once

#include <quarry/base.h>

#define XML_TEXT_MAX 4096u /* bytes of what is taken out of a document */

/* What stands in a document under the given paths, "ListBucketResult/Contents/Key", ended by NULL: each() gets the
 * place in the list and the text between tags, and returns < 0 to end. Returns 0, -EBADMSG if it is not well-formed,
 * is deeper than any answer, has a document type, or more text than is read, or what each() returned. */
int xml_read(const char *data, size_t size, const char *const *paths,
             int (*each)(size_t path, const char *text, void *userdata), void *userdata);
