/* What the two readers of the extender's calls share. */
#ifndef DROVER_API_EXTENDER_SCAN_H
#define DROVER_API_EXTENDER_SCAN_H

#include "api/extender.h"

/*
 * Steps into the value that comes next. False when it is null, which is passed and counts as
 * absent, and after a failure: one of another type fails, with the path from fmt before the reason.
 */
bool call_enter(struct json_scan *s, enum json_type type, const char *fmt, ...) printf_like(3, 4);
/* The same for what must not be null either. */
bool call_element(struct json_scan *s, enum json_type type, const char *fmt, ...) printf_like(3, 4);
/* The key is name, for the first time: of members given twice the first counts, as in a tree. */
bool call_first(bool *seen, struct json_span key, const char *name);
/* The string that comes next; no text, and passed, when it is something else. */
struct json_span call_string(struct json_scan *s);
/* Appends a row to a list with a bound of `most` rows; its name is for the failure. */
void call_add(struct json_scan *s, struct buf *list, const void *row, size_t size, size_t most,
              const char *name);

/* The Pod of a call. */
struct call_pod {
        bool given;
        struct json_span metadata;
};
void call_pod(struct json_scan *s, struct call_pod *pod);
must_check int call_pod_decode(const struct call_pod *pod, struct pod **out, struct err *e);

/* The failure of a call whose text is no JSON is that, wherever reading it stopped. */
int call_failure(const char *body, size_t len, size_t max, int rc, struct err *e);

#endif
