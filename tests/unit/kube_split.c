#include "kube/split.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What came out, as "i:TEXT|" and "m:TEXT|" and "l:TEXT|". */
struct seen {
        char text[4096];
        int refuse_after; /* texts; 0: none */
};

static int note(struct seen *s, char kind, const char *text, size_t len, struct err *e)
{
        size_t n = strlen(s->text);

        snprintf(s->text + n, sizeof(s->text) - n, "%c:%.*s|", kind, (int)len, text);
        if (s->refuse_after && --s->refuse_after == 0)
                return err_set(e, -ESTALE, "refused");
        return 0;
}

static int on_line(void *ctx, const char *text, size_t len, struct err *e)
{
        return note(ctx, 'l', text, len, e);
}

static int on_item(void *ctx, const char *text, size_t len, struct err *e)
{
        return note(ctx, 'i', text, len, e);
}

static int on_metadata(void *ctx, const char *text, size_t len, struct err *e)
{
        return note(ctx, 'm', text, len, e);
}

static void lines_whatever_the_pieces(void **state)
{
        const char *in = "{\"a\":1}\n\n  \r\n{\"b\":\"x y\"}\r\n{}\nrest";

        (void)state;
        for (size_t piece = 1; piece <= strlen(in); piece++) {
                struct kube_lines l = kube_lines_new(100);
                struct seen s = {0};

                for (size_t at = 0; at < strlen(in); at += piece) {
                        size_t n = strlen(in) - at < piece ? strlen(in) - at : piece;
                        char *copy = malloc(n); /* reading past it is seen */
                        memcpy(copy, in + at, n);
                        assert_int_equal(kube_lines_feed(&l, copy, n, on_line, &s, NULL), 0);
                        free(copy);
                }
                assert_string_equal(s.text, "l:{\"a\":1}|l:{\"b\":\"x y\"}\r|l:{}|");
                assert_int_equal(l.part.len, 4);
                kube_lines_free(&l);
        }
}

static void line_bound(void **state)
{
        struct kube_lines l = kube_lines_new(4);
        struct seen s = {0};
        struct err e;

        (void)state;
        assert_int_equal(kube_lines_feed(&l, "abcd\n", 5, on_line, &s, &e), 0);
        assert_int_equal(kube_lines_feed(&l, "ab", 2, on_line, &s, &e), 0);
        assert_int_equal(kube_lines_feed(&l, "cd\n", 3, on_line, &s, &e), 0);
        assert_string_equal(s.text, "l:abcd|l:abcd|");
        assert_int_equal(kube_lines_feed(&l, "abcde\n", 6, on_line, &s, &e), -E2BIG);
        kube_lines_free(&l);
        l = kube_lines_new(4);
        assert_int_equal(kube_lines_feed(&l, "abcde", 5, on_line, &s, &e), -E2BIG);
        assert_string_equal(s.text, "l:abcd|l:abcd|");
        kube_lines_free(&l);
}

static void line_refused(void **state)
{
        struct kube_lines l = kube_lines_new(100);
        struct seen s = {.refuse_after = 2};
        struct err e;

        (void)state;
        assert_int_equal(kube_lines_feed(&l, "a\nb\nc\n", 6, on_line, &s, &e), -ESTALE);
        assert_string_equal(s.text, "l:a|l:b|");
        assert_string_equal(e.msg, "refused");
        kube_lines_free(&l);
}

static void big_line_gives_its_memory_back(void **state)
{
        struct kube_lines l = kube_lines_new(1 << 20);
        struct seen s = {0};
        char *big = malloc(300000);

        (void)state;
        memset(big, 'x', 300000);
        assert_int_equal(kube_lines_feed(&l, big, 300000, on_line, &s, NULL), 0);
        assert_true(l.part.cap >= 300000);
        assert_int_equal(kube_lines_feed(&l, "\n", 1, on_line, &s, NULL), 0);
        assert_int_equal(l.part.cap, 0);
        kube_lines_free(&l);
        free(big);
}

static int count(void *ctx, const char *text, size_t len, struct err *e)
{
        (void)text;
        (void)e;
        *(size_t *)ctx += len;
        return 0;
}

static void big_item_gives_its_memory_back(void **state)
{
        size_t seen = 0;
        struct kube_items items = kube_items_new(1 << 20, count, count, &seen);
        char *big = malloc(300000);

        (void)state;
        memset(big, 'x', 300000);
        assert_int_equal(kube_items_feed(&items, "{\"items\":[{\"a\":\"", 16, NULL), 0);
        assert_int_equal(kube_items_feed(&items, big, 300000, NULL), 0);
        assert_true(items.part.cap >= 300000);
        assert_int_equal(kube_items_feed(&items, "\"},", 3, NULL), 0);
        assert_int_equal(seen, 300008);
        assert_int_equal(items.part.cap, 0);
        kube_items_free(&items);
        free(big);
}

#define LIST(meta, items) "{\"kind\":\"PodList\",\"metadata\":" meta ",\"items\":" items "}"

static const struct {
        const char *in, *out; /* out NULL: not a list */
} lists[] = {
        {LIST("{\"resourceVersion\":\"5\"}", "[{\"a\":1},{\"b\":[{}]}]"),
         "m:{\"resourceVersion\":\"5\"}|i:{\"a\":1}|i:{\"b\":[{}]}|"},
        {LIST("{}", "[]"), "m:{}|"},
        {LIST("{}", "null"), "m:{}|"},
        {"{}", ""},
        {" \n{ \"items\" : [ { } , { \"x\" : \"]}\\\"{[\" } ] , \"metadata\" : { } } \n",
         "i:{ }|i:{ \"x\" : \"]}\\\"{[\" }|m:{ }|"},
        {"{\"n\":-1.5e3,\"t\":true,\"s\":\"}{\\\\\",\"o\":{\"items\":[{}]},\"a\":[[{}]],\"items\":["
         "{}]}",
         "i:{}|"},
        {"{\"metadata\":\"text\",\"items\":[]}", "m:\"text\"|"},
        {"{\"metadata\":7}", "m:7|"},
        {"{\"a_key_longer_than_sixteen_bytes\":{},\"itemsandmorethansixteen\":[1]}", ""},
        {"[]", NULL},
        {"x", NULL},
        {"{,}", NULL},
        {"{\"a\"}", NULL},
        {"{\"a\":}", NULL},
        {"{\"a\":1,}", NULL},
        {"{\"items\":[1]}", NULL},
        {"{\"items\":[{},]}", NULL},
        {"{\"items\":[{} {}]}", NULL},
        {"{\"items\":[{}x]}", NULL},
        {"{\"items\":{}}", NULL},
        {"{\"items\":\"x\"}", NULL},
        {"{\"items\":[{}]}{", NULL},
        {"{\"items\":[{}]}x", NULL},
        {"{\"it\\u0065ms\":[]}", NULL},
        {"{\"a\":1 2}", NULL},
        {"HTTP/1.1 200 OK", NULL},
        {"\xff\xfe", NULL},
};

/* Feeds text in pieces of n from memory that ends where the piece does. */
static int feed(struct kube_items *items, const char *text, size_t n, struct err *e)
{
        int rc = 0;

        for (size_t at = 0; rc == 0 && at < strlen(text); at += n) {
                size_t len = strlen(text) - at < n ? strlen(text) - at : n;
                char *copy = malloc(len);
                memcpy(copy, text + at, len);
                rc = kube_items_feed(items, copy, len, e);
                free(copy);
        }
        return rc;
}

static void lists_whatever_the_pieces(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
                for (size_t piece = 1; piece <= strlen(lists[i].in); piece++) {
                        struct seen s = {0};
                        struct kube_items items = kube_items_new(200, on_item, on_metadata, &s);
                        struct err e = {0};
                        int rc = feed(&items, lists[i].in, piece, &e);

                        if (rc != (lists[i].out ? 0 : -EBADMSG))
                                fail_msg("%s in pieces of %zu: %d", lists[i].in, piece, rc);
                        if (lists[i].out) {
                                assert_string_equal(s.text, lists[i].out);
                                assert_true(kube_items_done(&items));
                        }
                        kube_items_free(&items);
                }
        }
}

static void cut_list_is_not_done(void **state)
{
        const char *in = lists[0].in;

        (void)state;
        for (size_t n = 0; n < strlen(in); n++) {
                struct seen s = {0};
                struct kube_items items = kube_items_new(200, on_item, on_metadata, &s);

                assert_int_equal(kube_items_feed(&items, in, n, NULL), 0);
                assert_false(kube_items_done(&items));
                kube_items_free(&items);
        }
}

static void object_bound(void **state)
{
        struct seen s = {0};
        struct err e;

        (void)state;
        for (size_t piece = 1; piece < 20; piece++) {
                struct kube_items items = kube_items_new(10, on_item, on_metadata, &s);

                /* What is not wanted may be of any size. */
                assert_int_equal(feed(&items, "{\"x\":\"0123456789abcdef\",", piece, &e), 0);
                assert_int_equal(feed(&items, "\"items\":[{\"a\":1234},", piece, &e), 0);
                assert_int_equal(feed(&items, "{\"a\":12345},", piece, &e), -E2BIG);
                kube_items_free(&items);
        }
}

static void without_memory(void **state)
{
        const char *in = "{\"items\":[{\"a\":1}]}";

        (void)state;
        struct seen s = {0};
        struct err e;
        struct kube_items items = kube_items_new(100, on_item, on_metadata, &s);
        assert_int_equal(kube_items_feed(&items, in, 12, &e), 0);
        kube_items_free(&items);
        items = kube_items_new(100, on_item, on_metadata, &s);
        oom_arm(1);
        int rc = kube_items_feed(&items, in, 12, &e);
        assert_true(oom_disarm());
        assert_int_equal(rc, -ENOMEM);
        kube_items_free(&items);

        struct kube_lines l = kube_lines_new(100);
        oom_arm(1);
        rc = kube_lines_feed(&l, "abc", 3, on_line, &s, &e);
        assert_true(oom_disarm());
        assert_int_equal(rc, -ENOMEM);
        kube_lines_free(&l);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_whatever_the_pieces),
                cmocka_unit_test(line_bound),
                cmocka_unit_test(line_refused),
                cmocka_unit_test(big_line_gives_its_memory_back),
                cmocka_unit_test(big_item_gives_its_memory_back),
                cmocka_unit_test(lists_whatever_the_pieces),
                cmocka_unit_test(cut_list_is_not_done),
                cmocka_unit_test(object_bound),
                cmocka_unit_test(without_memory),
        };
        return cmocka_run_group_tests_name("kube_split", tests, NULL, NULL);
}
