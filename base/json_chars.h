/* Kinds of bytes in a JSON string, for the files of base/ that run over such text. */
#ifndef DROVER_BASE_JSON_CHARS_H
#define DROVER_BASE_JSON_CHARS_H

#include <stddef.h>

enum { JSON_PLAIN, JSON_STOP, JSON_HIGH };

/* A table: of a document most bytes are looked at here. */
static const unsigned char JSON_KIND[256] = {
        [0 ... 31] = JSON_STOP, /* must not stand in a string */
        ['"'] = JSON_STOP,
        ['\\'] = JSON_STOP,
        [0x80 ... 0xFF] = JSON_HIGH, /* part of a UTF-8 sequence, or not */
};

/* The length of the valid UTF-8 sequence at s, of which left bytes may be read; 0: there is none.
 */
size_t json_utf8_length(const char *s, size_t left);

/* The first byte from p on that is not plain, or the end. */
const char *json_plain_end(const char *p, const char *end);

#endif
