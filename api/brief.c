#include "api/codec.h"

#include <errno.h>

#define BRIEF_MAX ((size_t)1 << 20)

static void add_key(struct buf *b, const char *key)
{
        if (b->data[b->len - 1] != '{')
                buf_adds(b, ",");
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

/* The members named of one part, which stays open. */
static void add_part(struct buf *b, const struct json *vm, const char *part,
                     const char *const *keys)
{
        add_key(b, part);
        buf_adds(b, "{");
        for (; *keys; keys++)
                add(b, json_get(vm, part), *keys);
}

int vm_brief(const struct json *vm, char **out, struct err *e)
{
        static const char *const META[] = {"name", "namespace", "uid", "deletionTimestamp", NULL};
        static const char *const SPEC[] = {"cpu",
                                           "disks",
                                           "nodeName",
                                           "nodeSelector",
                                           "affinity",
                                           "tolerations",
                                           "topologySpreadConstraints",
                                           NULL};
        static const char *const STATUS[] = {"phase", "owner", "running", NULL};
        autobuf struct buf b = buf_new(BRIEF_MAX);

        if (buf_adds(&b, "{") < 0)
                return err_set(e, b.error, "out of memory");
        add_part(&b, vm, "metadata", META);
        add_key(&b, "annotations");
        buf_adds(&b, "{");
        add(&b, json_get(json_get(vm, "metadata"), "annotations"), DROVER_SCHEDULER_ANNOTATION);
        buf_adds(&b, "}}");
        add_part(&b, vm, "spec", SPEC);
        buf_adds(&b, "}");
        add_part(&b, vm, "status", STATUS);
        if (buf_adds(&b, "}}") < 0)
                return err_set(e, b.error, "keep a VM in brief");
        char *text = realloc(b.data, b.len + 1); /* no slack: there are many of these */
        if (!text)
                return err_set(e, -ENOMEM, "out of memory");
        b.data = NULL;
        *out = text;
        return 0;
}
