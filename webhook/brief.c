#include "webhook/brief.h"

#include "api/codec.h"
#include "webhook/texts.h"

#include <errno.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 20)

/* Members of one parent that VMs tend to have in common, with those that vary with them; in the
 * order of their parents. */
static const struct group {
        const char *parent, *keys[6];
} GROUPS[] = {
        {"status", {"running"}},
        {"spec", {"cpu", "disks"}},
        {"spec",
         {"nodeName", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints"}},
};

struct brief {
        const char *common[countof(GROUPS)]; /* "KEY":VALUE,... */
        char own[];                          /* {"metadata":{...},"status":{... without an end */
};

static void add_comma(struct buf *b)
{
        if (b->len && b->data[b->len - 1] != '{')
                buf_adds(b, ",");
}

static void add_key(struct buf *b, const char *key)
{
        add_comma(b);
        json_quote(b, key);
        buf_adds(b, ":");
}

/* The member, when the object has it. */
static void add(struct buf *b, const struct json *obj, const char *key)
{
        const struct json *j = json_get(obj, key);

        if (json_type(j) == JSON_NONE || json_type(j) == JSON_NULL)
                return;
        add_key(b, key);
        json_print(j, b);
}

static void add_own(struct buf *b, const struct json *vm)
{
        static const char *const META[] = {"name", "namespace", "uid", "deletionTimestamp"};
        const struct json *meta = json_get(vm, "metadata"), *status = json_get(vm, "status");

        buf_adds(b, "{\"metadata\":{");
        for (size_t i = 0; i < countof(META); i++)
                add(b, meta, META[i]);
        add_key(b, "annotations");
        buf_adds(b, "{");
        add(b, json_get(meta, "annotations"), DROVER_SCHEDULER_ANNOTATION);
        buf_adds(b, "}},\"status\":{");
        add(b, status, "phase");
        add(b, status, "owner");
}

static int hold_group(const struct json *vm, const struct group *g, const char **out)
{
        autobuf struct buf b = buf_new(TEXT_MAX);

        for (const char *const *key = g->keys; *key; key++)
                add(&b, json_get(vm, g->parent), *key);
        if (b.failed)
                return b.error;
        *out = text_hold(buf_str(&b));
        return *out ? 0 : -ENOMEM;
}

int brief_new(const struct json *vm, struct brief **out, struct err *e)
{
        autobuf struct buf own = buf_new(TEXT_MAX);
        struct brief *b = NULL;
        int rc = 0;

        add_own(&own, vm);
        if (own.failed)
                rc = own.error;
        else if (!(b = calloc(1, sizeof(*b) + own.len + 1)))
                rc = -ENOMEM;
        else
                memcpy(b->own, own.data, own.len + 1);
        for (size_t i = 0; i < countof(GROUPS) && !rc; i++)
                rc = hold_group(vm, &GROUPS[i], &b->common[i]);
        if (rc) {
                brief_free(b);
                return err_sys(e, rc, "keep a VM in brief");
        }
        *out = b;
        return 0;
}

void brief_free(struct brief *b)
{
        for (size_t i = 0; b && i < countof(GROUPS); i++)
                text_drop(b->common[i]);
        free(b);
}

static void print(const struct brief *b, struct buf *out)
{
        const char *parent = "status";

        buf_adds(out, b->own);
        for (size_t i = 0; i < countof(GROUPS); i++) {
                if (strcmp(GROUPS[i].parent, parent) != 0) {
                        parent = GROUPS[i].parent;
                        buf_adds(out, "}");
                        add_key(out, parent);
                        buf_adds(out, "{");
                }
                if (*b->common[i]) {
                        add_comma(out);
                        buf_adds(out, b->common[i]);
                }
        }
        buf_adds(out, "}}");
}

int brief_decode(const struct brief *b, struct vm **out, struct err *e)
{
        autobuf struct buf text = buf_new((countof(GROUPS) + 2) * TEXT_MAX);
        struct json *j autojson = NULL;

        print(b, &text);
        if (text.failed)
                return err_sys(e, text.error, "read a VM kept in brief");
        int rc = json_parse(text.data, text.len, text.limit, &j, e);
        return rc ? rc : vm_decode(j, out, e);
}
