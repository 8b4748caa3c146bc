/* JSON for the tests of api/: literals with single quotes, and the fixtures in data/. */
#ifndef DROVER_TESTS_UNIT_API_TEXT_H
#define DROVER_TESTS_UNIT_API_TEXT_H

#include "base/file.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEXT_MAX ((size_t)32 << 20)

/* The text with double quotes, appended to b. */
static inline void quoted(struct buf *b, const char *text)
{
        assert_int_equal(buf_adds(b, text), 0);
        for (size_t i = 0; i < b->len; i++)
                if (b->data[i] == '\'')
                        b->data[i] = '"';
}

/* {'a': 1} */
static inline struct json *json_of(const char *text)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct json *j = NULL;
        struct err e = {0};

        quoted(&b, text);
        if (json_parse(b.data, b.len, TEXT_MAX, &j, &e) < 0)
                fail_msg("%s: %s", e.msg, text);
        return j;
}

static inline struct json *json_file(const char *name)
{
        autobuf struct buf path = buf_new(200);
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct json *j = NULL;
        struct err e = {0};

        buf_addf(&path, "tests/unit/data/%s", name);
        if (file_read(buf_str(&path), &b, &e) < 0 ||
            json_parse(b.data, b.len, TEXT_MAX, &j, &e) < 0)
                fail_msg("%s: %s", name, e.msg);
        return j;
}

/* part(j, "spec/affinity") */
static inline const struct json *part(const struct json *j, const char *path)
{
        char copy[200], *rest = copy;

        snprintf(copy, sizeof(copy), "%s", path);
        for (char *key; (key = strsep(&rest, "/"));)
                j = json_get(j, key);
        return j;
}

static inline void assert_json_equal(const struct json *a, const struct json *b)
{
        autobuf struct buf x = buf_new(TEXT_MAX);
        autobuf struct buf y = buf_new(TEXT_MAX);

        if (json_equal(a, b))
                return;
        assert_int_equal(json_print(a, &x), 0);
        assert_int_equal(json_print(b, &y), 0);
        fail_msg("%s\n is not\n%s", buf_str(&x), buf_str(&y));
}

#endif
