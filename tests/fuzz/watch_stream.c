/* Any bytes as a watch and as a list: cut into pieces anywhere, they yield the same objects. */
#include "kube/split.h"
#include "tests/fuzz/fuzz.h"

#define OBJECT_MAX 4096

struct seen {
        struct buf all;
        size_t n;
};

static int take(void *ctx, const char *text, size_t len, struct err *e)
{
        struct seen *s = ctx;
        struct json *j = NULL;

        must(len <= OBJECT_MAX);
        if (json_parse(text, len, OBJECT_MAX, &j, e) == 0) {
                (void)json_str(json_get(j, "object"), "kind", "");
                json_free(j);
        }
        s->n++;
        must(buf_add(&s->all, text, len) == 0 && buf_adds(&s->all, "\n") == 0);
        return 0;
}

/* step 0: all at once. */
static size_t piece(size_t step, size_t left)
{
        return !step || step > left ? left : step;
}

static int as_lines(const char *data, size_t size, size_t step, struct seen *s)
{
        struct kube_lines l = kube_lines_new(OBJECT_MAX);
        struct err e;
        int rc = 0;

        for (size_t at = 0; at < size && !rc; at += piece(step, size - at))
                rc = kube_lines_feed(&l, data + at, piece(step, size - at), take, s, &e);
        kube_lines_free(&l);
        return rc;
}

static int as_items(const char *data, size_t size, size_t step, struct seen *s)
{
        struct kube_items l = kube_items_new(OBJECT_MAX, take, take, s);
        struct err e;
        int rc = 0;

        for (size_t at = 0; at < size && !rc; at += piece(step, size - at))
                rc = kube_items_feed(&l, data + at, piece(step, size - at), &e);
        kube_items_free(&l);
        return rc;
}

static void compare(int (*feed)(const char *, size_t, size_t, struct seen *), const char *data,
                    size_t size, size_t step)
{
        struct seen whole = {buf_new(FUZZ_TEXT_MAX), 0}, cut = {buf_new(FUZZ_TEXT_MAX), 0};
        int rc = feed(data, size, 0, &whole);

        must(feed(data, size, step, &cut) == rc);
        must(whole.n == cut.n && whole.all.len == cut.all.len);
        must(!whole.n || !memcmp(whole.all.data, cut.all.data, whole.all.len));
        buf_free(&whole.all);
        buf_free(&cut.all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size < 2)
                return 0;
        size_t step = 1 + data[0];
        compare(as_lines, (const char *)data + 1, size - 1, step);
        compare(as_items, (const char *)data + 1, size - 1, step);
        return 0;
}
