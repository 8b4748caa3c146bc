#include "kube/split.h"

#include <errno.h>
#include <string.h>

#define KEEP 65536 /* a larger buffer is given back after the line that needed it */

struct kube_lines kube_lines_new(size_t max)
{
        return (struct kube_lines){.part = buf_new(max)};
}

void kube_lines_free(struct kube_lines *l)
{
        buf_free(&l->part);
}

static int append(struct buf *b, const char *data, size_t len, struct err *e)
{
        int rc = buf_add(b, data, len);

        if (rc == -E2BIG)
                return err_set(e, rc, "an event is larger than %zu bytes", b->limit);
        return rc < 0 ? err_sys(e, rc, "read an event") : 0;
}

static bool blank(const char *s, size_t len)
{
        while (len && (*s == ' ' || *s == '\t' || *s == '\r'))
                s++, len--;
        return len == 0;
}

int kube_lines_feed(struct kube_lines *l, const char *data, size_t len, kube_text_fn *line,
                    void *ctx, struct err *e)
{
        const char *end;
        int rc = 0;

        while (rc == 0 && (end = memchr(data, '\n', len))) {
                size_t n = (size_t)(end - data);

                if (l->part.len) {
                        rc = append(&l->part, data, n, e);
                        if (rc == 0 && !blank(l->part.data, l->part.len))
                                rc = line(ctx, l->part.data, l->part.len, e);
                        if (l->part.cap > KEEP)
                                buf_free(&l->part);
                        else
                                buf_reset(&l->part);
                } else if (!blank(data, n)) {
                        rc = n > l->part.limit ? append(&l->part, data, n, e)
                                               : line(ctx, data, n, e);
                }
                data = end + 1;
                len -= n + 1;
        }
        return rc == 0 && len ? append(&l->part, data, len, e) : rc;
}
