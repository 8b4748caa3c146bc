/* Any bytes as JSON: read in place they are what the tree says, and the tree survives print. */
#include "base/json_scan.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_MAX ((size_t)64 << 20)

static void same(struct json_scan *s, const struct json *tree, struct arena *a)
{
        enum json_type type = json_scan_type(s);
        const struct json *c = json_first(tree);
        struct json_span key, value;

        must(type == json_type(tree));
        if (type == JSON_OBJECT || type == JSON_ARRAY) {
                json_scan_open(s);
                while (type == JSON_OBJECT ? json_scan_member(s, &key) : json_scan_element(s)) {
                        must(c && (type == JSON_ARRAY || json_span_is(key, json_key(c))));
                        same(s, c, a);
                        c = json_next(c);
                }
                must(!c);
                return;
        }
        value = json_scan_value(s);
        must(value.text);
        if (type == JSON_STRING)
                must(strcmp(json_span_string(value, a), json_string(tree)) == 0);
}

/* Infinity alone, which a text can mean and no JSON can say, becomes null. */
static void survives_print(const struct json *j)
{
        struct buf text = buf_new(ARENA_MAX), twice = buf_new(ARENA_MAX);
        struct json *again = NULL;
        struct err e;

        must(json_print(j, &text) == 0);
        must(json_parse(text.data, text.len, text.len, &again, &e) == 0);
        must(json_print(again, &twice) == 0 && strcmp(text.data, twice.data) == 0);
        json_free(again);
        buf_free(&text);
        buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct json *j = fuzz_json(data, size);
        struct arena *a = arena_new(ARENA_MAX);
        struct json_scan s;

        must(a);
        json_scan_begin(&s, (const char *)data, size, FUZZ_TEXT_MAX, NULL);
        if (j) {
                same(&s, j, a);
                must(json_scan_end(&s) == 0);
                survives_print(j);
        } else {
                struct json_span all = json_scan_value(&s);
                int rc = json_scan_end(&s);
                must(rc < 0 || all.len > 63); /* a number that is too long for the tree */
        }
        arena_free(a);
        json_free(j);
        return 0;
}
