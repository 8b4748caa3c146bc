#include "api/extender.h"

#include "api/decode.h"

#include <errno.h>
#include <string.h>

/* Names stay in the tree, which lives as long as the arguments: a call brings hundreds. */
static void decode_names(struct dec *d, const struct at *arr, struct extender_args *out)
{
        out->has_names = true;
        out->names.v = dec_alloc(d, json_count(arr->j), sizeof(*out->names.v));
        dec_each(d, arr, el)
        {
                const char *name = json_string(el.j);
                if (!name)
                        dec_fail(d, &el, "not a string");
                out->names.v[out->names.n++] = name;
        }
}

static void decode_nodes(struct dec *d, const struct at *nodes, struct extender_args *out)
{
        struct at items = dec_array(d, nodes, "items");

        out->names.v = dec_alloc(d, json_count(items.j), sizeof(*out->names.v));
        dec_each(d, &items, el)
        {
                dec_element(d, &el);
                struct at meta = dec_object(d, &el, "metadata");
                const char *name = json_str(meta.j, "name", NULL);
                if (!name)
                        dec_fail(d, &(struct at){NULL, &meta, "name", 0}, "missing");
                out->names.v[out->names.n++] = name;
        }
        out->nodes = items.j;
}

static int decode_args(struct extender_args *out, struct err *e)
{
        struct at root = {.j = out->tree, .key = ""};
        struct dec d = {.a = out->arena, .limit = API_ARENA_MAX, .e = e};

        if (json_type(root.j) != JSON_OBJECT)
                dec_fail(&d, &root, "not an object");
        struct at pod = dec_object(&d, &root, "Pod");
        struct at names = dec_array(&d, &root, "NodeNames");
        struct at nodes = dec_object(&d, &root, "Nodes");
        if (!pod.j)
                dec_fail(&d, &pod, "missing");
        if (names.j)
                decode_names(&d, &names, out);
        else if (nodes.j)
                decode_nodes(&d, &nodes, out);
        else
                dec_fail(&d, &names, "missing, and Nodes too");
        if (d.rc < 0)
                return d.rc;
        int rc = pod_decode(pod.j, &out->pod, e);
        if (rc < 0)
                err_wrap(e, "Pod");
        return rc;
}

int extender_args_decode(const char *body, size_t len, size_t max, struct extender_args *out,
                         struct err *e)
{
        struct extender_args args = {0};

        int rc = json_parse(body, len, max, &args.tree, e);
        if (rc < 0)
                return rc;
        args.arena = arena_new(API_ARENA_MAX);
        rc = args.arena ? decode_args(&args, e) : err_set(e, -ENOMEM, "out of memory");
        if (rc < 0)
                extender_args_free(&args);
        else
                *out = args;
        return rc;
}

void extender_args_free(struct extender_args *args)
{
        pod_free(args->pod);
        arena_free(args->arena);
        json_free(args->tree);
        *args = (struct extender_args){0};
}

/* {"node": "message", ...} of the failures of one kind. */
static void add_failures(struct buf *b, const struct extender_filter_result *r, bool unresolvable)
{
        const char *comma = "";

        buf_adds(b, "{");
        for (size_t i = 0; i < r->nfailures; i++) {
                if (r->failures[i].unresolvable != unresolvable)
                        continue;
                buf_adds(b, comma);
                json_quote(b, r->failures[i].node);
                buf_adds(b, ":");
                json_quote(b, r->failures[i].message);
                comma = ",";
        }
        buf_adds(b, "}");
}

/* The nodes that fit, as they came; fit is ascending, so one walk finds them. */
static void add_nodes(struct buf *b, const struct extender_args *args,
                      const struct extender_filter_result *r)
{
        const struct json *node = json_first(args->nodes);
        size_t at = 0;

        buf_adds(b, "{\"metadata\":{},\"items\":[");
        for (size_t i = 0; i < r->nfit; i++) {
                for (; node && at < r->fit[i]; at++)
                        node = json_next(node);
                buf_adds(b, i ? "," : "");
                json_print(node, b);
        }
        buf_adds(b, "]}");
}

static void add_names(struct buf *b, const struct extender_args *args,
                      const struct extender_filter_result *r)
{
        buf_adds(b, "[");
        for (size_t i = 0; i < r->nfit; i++) {
                buf_adds(b, i ? "," : "");
                json_quote(b, args->names.v[r->fit[i]]);
        }
        buf_adds(b, "]");
}

int extender_filter_encode(const struct extender_args *args, const struct extender_filter_result *r,
                           struct buf *b)
{
        static const struct extender_filter_result NONE = {0};
        const char *error = r->error ? r->error : "";

        if (*error)
                r = &NONE;
        buf_adds(b, "{\"Nodes\":");
        if (args->has_names)
                buf_adds(b, "null");
        else
                add_nodes(b, args, r);
        buf_adds(b, ",\"NodeNames\":");
        if (args->has_names)
                add_names(b, args, r);
        else
                buf_adds(b, "null");
        buf_adds(b, ",\"FailedNodes\":");
        add_failures(b, r, false);
        buf_adds(b, ",\"FailedAndUnresolvableNodes\":");
        add_failures(b, r, true);
        buf_adds(b, ",\"Error\":");
        json_quote(b, error);
        buf_adds(b, "}");
        return b->failed ? b->error : 0;
}

int extender_priorities_encode(const struct extender_args *args, const int *scores, struct buf *b)
{
        buf_adds(b, "[");
        for (size_t i = 0; i < args->names.n; i++) {
                buf_adds(b, i ? ",{\"Host\":" : "{\"Host\":");
                json_quote(b, args->names.v[i]);
                buf_addf(b, ",\"Score\":%d}", scores[i]);
        }
        buf_adds(b, "]");
        return b->failed ? b->error : 0;
}
