/*
 * JSON text read in place, from its beginning to its end, without a tree: for documents of which
 * little is wanted. What is passed is checked: RFC 8259 to the letter, UTF-8, no NUL ("\u0000"
 * neither), no half of a surrogate pair, JSON_DEPTH_MAX levels. json_parse takes what this takes.
 *
 *     json_scan_begin(&s, text, len, max, e);
 *     if (json_scan_type(&s) == JSON_OBJECT)
 *             for (json_scan_open(&s); json_scan_member(&s, &key);)
 *                     value = json_scan_value(&s);
 *     rc = json_scan_end(&s);
 *
 * After the first failure all of them do nothing and say that there is nothing more.
 */
#ifndef DROVER_BASE_JSON_SCAN_H
#define DROVER_BASE_JSON_SCAN_H

#include "base/json.h"

/* A value or a key as it stands in the text, a string with its quotes. */
struct json_span {
        const char *text; /* NULL: there is none */
        size_t len;
};

struct json_scan {
        const char *text, *at, *end;
        uint64_t objects; /* bit n: the n-th of the open values is an object */
        int depth;        /* open values */
        bool fresh;       /* the innermost has just been opened */
        size_t values;    /* that were met so far */
        int rc;
        struct err *e;
};

/* Fails with -E2BIG when len > max. The text must outlive the scan. */
void json_scan_begin(struct json_scan *s, const char *text, size_t len, size_t max, struct err *e);
/* 0 when the document was read to its end without a failure and nothing but white space follows. */
must_check int json_scan_end(struct json_scan *s);

/* The kind of the value that comes next, by its first byte; JSON_NONE for what begins none. */
enum json_type json_scan_type(struct json_scan *s);
/* Passes the value that comes next. */
struct json_span json_scan_value(struct json_scan *s);
/* Steps into the object or list that comes next, which json_scan_type has told. */
void json_scan_open(struct json_scan *s);
/* In an object: true at a member's value, false when the object is over and left behind. */
bool json_scan_member(struct json_scan *s, struct json_span *key);
/* In a list: true at an element, false when the list is over and left behind. */
bool json_scan_element(struct json_scan *s);
/* Fails with a reason of the caller's own, unless it has failed before. */
void json_scan_fail(struct json_scan *s, int code, const char *fmt, ...) printf_like(3, 4);

/* Is the span a string, or key, that reads so? */
bool json_span_is(struct json_span span, const char *string);
/* The string that the span, a string, stands for; NULL when out of memory. */
char *json_span_string(struct json_span span, struct arena *a);

#endif
