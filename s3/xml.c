#include "xml.h"

#include <quarry/text.h>

#include <expat.h>

#define PATH_SIZE 256u

typedef struct Reader {
        XML_Parser parser;
        const char *const *paths;
        int (*each)(size_t path, const char *text, void *userdata);
        void *userdata;
        char path[PATH_SIZE];
        ssize_t wanted; /* which of the paths it is at, or -1 */
        char text[XML_TEXT_MAX];
        size_t size;
        int failure;
} Reader;

static void fail(Reader *reader, int number) {
        if (reader->failure == 0)
                reader->failure = number;
        (void) XML_StopParser(reader->parser, XML_FALSE);
}

static void on_doctype(void *userdata, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
                       int has_subset) {
        fail(userdata, -EBADMSG);
}

static void look_up(Reader *reader) {
        reader->wanted = -1;
        reader->size = 0;
        for (size_t i = 0; reader->paths[i]; i++)
                if (streq(reader->paths[i], reader->path))
                        reader->wanted = (ssize_t) i;
}

static void on_start(void *userdata, const XML_Char *name, const XML_Char **attributes) {
        Reader *reader = userdata;
        size_t used = strlen(reader->path);

        if (!buffer_format(reader->path + used, sizeof(reader->path) - used, "%s%s", used > 0 ? "/" : "", name))
                return fail(reader, -EBADMSG);
        look_up(reader);
}

static void on_text(void *userdata, const XML_Char *text, int length) {
        Reader *reader = userdata;

        if (reader->wanted < 0)
                return;
        if ((size_t) length >= sizeof(reader->text) - reader->size)
                return fail(reader, -EBADMSG);
        memcpy(reader->text + reader->size, text, (size_t) length);
        reader->size += (size_t) length;
}

static void on_end(void *userdata, const XML_Char *name) {
        Reader *reader = userdata;
        char *slash = strrchr(reader->path, '/');

        if (reader->wanted >= 0) {
                reader->text[reader->size] = 0;
                int r = reader->each((size_t) reader->wanted, reader->text, reader->userdata);
                if (r < 0)
                        return fail(reader, r);
        }
        *(slash ?: reader->path) = 0;
        reader->wanted = -1; /* what stands between elements is nothing */
}

int xml_read(const char *data, size_t size, const char *const *paths,
             int (*each)(size_t path, const char *text, void *userdata), void *userdata) {
        Reader reader = { .paths = paths, .each = each, .userdata = userdata, .wanted = -1 };
        enum XML_Status status;

        if (size > INT32_MAX)
                return -EBADMSG;
        reader.parser = XML_ParserCreate("UTF-8");
        if (!reader.parser)
                return -ENOMEM;
        XML_SetUserData(reader.parser, &reader);
        XML_SetStartDoctypeDeclHandler(reader.parser, on_doctype);
        XML_SetElementHandler(reader.parser, on_start, on_end);
        XML_SetCharacterDataHandler(reader.parser, on_text);
        status = XML_Parse(reader.parser, data, (int) size, true);
        XML_ParserFree(reader.parser);
        if (reader.failure < 0)
                return reader.failure;
        return status == XML_STATUS_OK ? 0 : -EBADMSG;
}
