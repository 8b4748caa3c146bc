#include "api/extender_scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define POD_TEXT_MAX   ((size_t)1 << 20) /* of its metadata */
#define POD_VALUES_MAX (1 << 14)

printf_like(4, 0) static bool enter(struct json_scan *s, enum json_type type, bool null_too,
                                    const char *fmt, va_list ap)
{
        enum json_type found = json_scan_type(s);
        char path[128];

        if (found == type) {
                json_scan_open(s);
                return s->rc == 0;
        }
        if (found == JSON_NONE || (found == JSON_NULL && null_too)) {
                json_scan_value(s); /* fails if there is none */
                return false;
        }
        vsnprintf(path, sizeof(path), fmt, ap);
        json_scan_fail(s, -EINVAL, "%s%snot %s", path, *path ? ": " : "",
                       type == JSON_OBJECT ? "an object" : "a list");
        return false;
}

bool call_enter(struct json_scan *s, enum json_type type, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        bool entered = enter(s, type, true, fmt, ap);
        va_end(ap);
        return entered;
}

bool call_element(struct json_scan *s, enum json_type type, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        bool entered = enter(s, type, false, fmt, ap);
        va_end(ap);
        return entered;
}

bool call_first(bool *seen, struct json_span key, const char *name)
{
        bool first = !*seen && json_span_is(key, name);

        *seen |= first;
        return first;
}

struct json_span call_string(struct json_scan *s)
{
        bool is_string = json_scan_type(s) == JSON_STRING;
        struct json_span value = json_scan_value(s);

        return is_string ? value : (struct json_span){NULL, 0};
}

void call_add(struct json_scan *s, struct buf *list, const void *row, size_t size, size_t most,
              const char *name)
{
        if (s->rc == 0 && list->len / size >= most)
                json_scan_fail(s, -E2BIG, "%s: more than %zu", name, most);
        if (s->rc == 0 && buf_add(list, row, size) < 0)
                json_scan_fail(s, -ENOMEM, "out of memory");
}

void call_pod(struct json_scan *s, struct call_pod *pod)
{
        struct json_span key, value;
        bool seen = false;

        if (!call_enter(s, JSON_OBJECT, "Pod"))
                return;
        pod->given = true;
        while (json_scan_member(s, &key)) {
                size_t before = s->values;

                value = json_scan_value(s);
                if (!call_first(&seen, key, "metadata"))
                        continue;
                pod->metadata = value;
                if (s->values - before > POD_VALUES_MAX || value.len > POD_TEXT_MAX)
                        json_scan_fail(s, -E2BIG, "Pod.metadata: %zu values in %zu bytes",
                                       s->values - before, value.len);
        }
}

int call_pod_decode(const struct call_pod *pod, struct pod **out, struct err *e)
{
        autobuf struct buf text = buf_new(2 * POD_TEXT_MAX);
        autojson struct json *j = NULL;

        if (!pod->given)
                return err_set(e, -EINVAL, "Pod: missing");
        buf_adds(&text, "{\"metadata\":");
        buf_add(&text, pod->metadata.text ? pod->metadata.text : "null",
                pod->metadata.text ? pod->metadata.len : 4);
        buf_adds(&text, "}");
        if (text.failed)
                return err_sys(e, text.error, "read the Pod");
        int rc = json_parse(text.data, text.len, text.len, &j, e);
        if (rc == 0)
                rc = pod_decode(j, out, e);
        if (rc < 0)
                err_wrap(e, "Pod");
        return rc;
}

int call_failure(const char *body, size_t len, size_t max, int rc, struct err *e)
{
        struct json_scan s;
        struct err of_text;

        json_scan_begin(&s, body, len, max, &of_text);
        json_scan_value(&s);
        if (json_scan_end(&s) == 0)
                return rc;
        if (e)
                *e = of_text;
        return s.rc;
}
