#include "kube/split.h"

#include <errno.h>
#include <string.h>

#define KEEP 65536

enum { START, KEY, KEY_TEXT, COLON, VALUE, INSIDE, NEXT, ITEM, ITEM_NEXT, DONE, BAD };

struct kube_items kube_items_new(size_t max, kube_text_fn *on_item, kube_text_fn *on_metadata,
                                 void *ctx)
{
        return (struct kube_items){
                .part = buf_new(max), .on_item = on_item, .on_metadata = on_metadata, .ctx = ctx};
}

void kube_items_free(struct kube_items *s)
{
        buf_free(&s->part);
}

bool kube_items_done(const struct kube_items *s)
{
        return s->state == DONE;
}

static bool key_is(const struct kube_items *s, const char *key)
{
        return s->key_len == strlen(key) && memcmp(s->key, key, s->key_len) == 0;
}

static bool wanted(const struct kube_items *s)
{
        return s->item || key_is(s, "metadata");
}

static int begin(struct kube_items *s, char c)
{
        s->depth = c == '{' || c == '[';
        s->string = c == '"';
        s->escape = false;
        s->scalar = !s->depth && !s->string;
        return INSIDE;
}

/* One byte between values; the state after it. */
static int between(struct kube_items *s, char c)
{
        if (s->state == KEY_TEXT) {
                if (c == '"')
                        return COLON;
                if (s->key_len < sizeof(s->key)) /* longer ones match none we know */
                        s->key[s->key_len++] = c;
                return c == '\\' ? BAD : KEY_TEXT;
        }
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
                return s->state;
        bool first = s->first;
        s->first = false;
        switch (s->state) {
        case START:
                s->first = true;
                return c == '{' ? KEY : BAD;
        case KEY:
                s->key_len = 0;
                s->item = false;
                return c == '"' ? KEY_TEXT : c == '}' && first ? DONE : BAD;
        case COLON:
                return c == ':' ? VALUE : BAD;
        case VALUE:
                if (key_is(s, "items") && c == '[') {
                        s->first = s->item = true;
                        return ITEM;
                }
                if ((key_is(s, "items") && c != 'n') || strchr(",:]}", c))
                        return BAD;
                return begin(s, c);
        case ITEM:
                return c == '{' ? begin(s, c) : c == ']' && first ? NEXT : BAD;
        case ITEM_NEXT:
                return c == ',' ? ITEM : c == ']' ? NEXT : BAD;
        case NEXT:
                return c == ',' ? KEY : c == '}' ? DONE : BAD;
        default:
                return BAD;
        }
}

/* How many bytes from p still belong to the value; *ended when the last of it is among them. */
static size_t inside(struct kube_items *s, const char *p, size_t len, bool *ended)
{
        size_t i = 0;

        for (; i < len && !*ended; i++) {
                char c = p[i];

                if (s->scalar) {
                        if (strchr(",]} \t\r\n", c) && c) {
                                *ended = true;
                                return i;
                        }
                } else if (s->string) {
                        if (s->escape)
                                s->escape = false;
                        else if (c == '\\')
                                s->escape = true;
                        else if (c == '"')
                                s->string = false;
                        *ended = !s->string && s->depth == 0;
                } else if (c == '"') {
                        s->string = true;
                } else if (c == '{' || c == '[') {
                        s->depth++;
                } else if (c == '}' || c == ']') {
                        *ended = --s->depth == 0;
                }
        }
        return i;
}

static int append(struct buf *b, const char *data, size_t len, struct err *e)
{
        int rc = buf_add(b, data, len);

        if (rc == -E2BIG)
                return err_set(e, rc, "an object of the list is larger than %zu bytes", b->limit);
        return rc < 0 ? err_sys(e, rc, "read a list") : 0;
}

static int emit(struct kube_items *s, const char *data, size_t len, struct err *e)
{
        kube_text_fn *fn = s->item ? s->on_item : s->on_metadata;
        int rc;

        if (!s->part.len && len <= s->part.limit)
                return fn(s->ctx, data, len, e);
        rc = append(&s->part, data, len, e);
        if (rc == 0)
                rc = fn(s->ctx, s->part.data, s->part.len, e);
        if (s->part.cap > KEEP)
                buf_free(&s->part);
        else
                buf_reset(&s->part);
        return rc;
}

/* The part of a value that starts at data[from]; *used is where it or the data ends. */
static int value(struct kube_items *s, const char *data, size_t len, size_t from, size_t start,
                 size_t *used, struct err *e)
{
        bool ended = false;
        int rc = 0;

        *used = from + inside(s, data + from, len - from, &ended);
        if (wanted(s))
                rc = ended ? emit(s, data + start, *used - start, e)
                           : append(&s->part, data + start, *used - start, e);
        if (ended)
                s->state = s->item ? ITEM_NEXT : NEXT;
        return rc;
}

int kube_items_feed(struct kube_items *s, const char *data, size_t len, struct err *e)
{
        size_t i = 0;
        int rc = 0;

        while (rc == 0 && i < len) {
                size_t start = i;

                if (s->state != INSIDE) {
                        s->state = between(s, data[i++]);
                        if (s->state == BAD)
                                return err_set(e, -EBADMSG, "the answer is not a list of objects");
                }
                if (s->state == INSIDE)
                        rc = value(s, data, len, i, start, &i, e);
        }
        return rc;
}
