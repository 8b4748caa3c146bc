/* Parts that stand in several kinds of objects: metadata, conditions, selectors. */
#include "api/decode.h"

#include <errno.h>

void dec_meta(struct dec *d, const struct at *object, struct meta *out)
{
        struct at m = dec_object(d, object, "metadata");

        *out = (struct meta){
                .name = dec_str(d, &m, "name", ""),
                .ns = dec_str(d, &m, "namespace", ""),
                .uid = dec_str(d, &m, "uid", ""),
                .rv = dec_str(d, &m, "resourceVersion", ""),
                .generation = dec_int(d, &m, "generation", 0),
                .created_us = dec_time(d, &m, "creationTimestamp"),
                .deleting = *dec_str(d, &m, "deletionTimestamp", ""),
                .labels = dec_kvs(d, &m, "labels"),
                .annotations = dec_kvs(d, &m, "annotations"),
                .finalizers = dec_strs(d, &m, "finalizers"),
        };
}

static void condition_list(struct dec *d, const struct at *arr, struct conditions *out)
{
        *out = (struct conditions){.v = dec_alloc(d, json_count(arr->j), sizeof(*out->v))};
        dec_each(d, arr, el)
        {
                dec_element(d, &el);
                out->v[out->n++] = (struct condition){
                        .type = dec_str(d, &el, "type", ""),
                        .status = dec_str(d, &el, "status", ""),
                        .reason = dec_str(d, &el, "reason", ""),
                        .message = dec_str(d, &el, "message", ""),
                        .since_us = dec_time(d, &el, "lastTransitionTime"),
                };
        }
}

struct refusals dec_refusals(struct dec *d, const struct at *up, const char *key)
{
        struct at at = dec_object(d, up, key);

        return (struct refusals){dec_int(d, &at, "count", 0), dec_time(d, &at, "lastAt")};
}

void dec_conditions(struct dec *d, const struct at *up, const char *key, struct conditions *out)
{
        struct at arr = dec_array(d, up, key);

        condition_list(d, &arr, out);
}

static struct requirements requirements(struct dec *d, const struct at *up, const char *key)
{
        struct at arr = dec_array(d, up, key);
        struct requirements out = {.v = dec_alloc(d, json_count(arr.j), sizeof(*out.v))};

        dec_each(d, &arr, el)
        {
                struct requirement *r = &out.v[out.n++];
                dec_element(d, &el);
                r->key = dec_str(d, &el, "key", "");
                r->op_text = dec_str(d, &el, "operator", "");
                r->op = selector_op_parse(r->op_text);
                r->values = dec_strs(d, &el, "values");
        }
        return out;
}

void dec_selector_term(struct dec *d, const struct at *at, struct selector_term *out)
{
        out->exprs = requirements(d, at, "matchExpressions");
        out->fields = requirements(d, at, "matchFields");
}

void dec_node_selector(struct dec *d, const struct at *at, struct node_selector *out)
{
        struct at arr = dec_array(d, at, "nodeSelectorTerms");

        *out = (struct node_selector){.v = dec_alloc(d, json_count(arr.j), sizeof(*out->v))};
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                dec_selector_term(d, &el, &out->v[out->n++]);
        }
}

void dec_label_selector(struct dec *d, const struct at *up, const char *key,
                        struct label_selector *out)
{
        struct at at = dec_object(d, up, key);

        *out = (struct label_selector){
                .match_labels = dec_kvs(d, &at, "matchLabels"),
                .exprs = requirements(d, &at, "matchExpressions"),
        };
}

/* The decoders of parts work in the caller's arena; path is what stands before the part. */
static bool begin_part(struct dec *d, struct arena *a, struct err *e, const struct at *root,
                       enum json_type type, const char *what)
{
        *d = (struct dec){.a = a, .e = e};
        if (json_type(root->j) != type)
                dec_fail(d, root, what);
        return d->rc == 0;
}

int meta_decode(struct arena *a, const struct json *obj, struct meta *out, struct err *e)
{
        struct at root = {.j = obj, .key = ""};
        struct meta meta = {0};
        struct dec d;

        if (begin_part(&d, a, e, &root, JSON_OBJECT, "not an object"))
                dec_meta(&d, &root, &meta);
        if (d.rc == 0)
                *out = meta;
        return d.rc;
}

int node_selector_decode(struct arena *a, const struct json *j, const char *path,
                         struct node_selector *out, struct err *e)
{
        struct at root = {.j = j, .key = path};
        struct node_selector selector = {0};
        struct dec d;

        if (begin_part(&d, a, e, &root, JSON_OBJECT, "not an object"))
                dec_node_selector(&d, &root, &selector);
        if (d.rc == 0)
                *out = selector;
        return d.rc;
}

int conditions_decode(struct arena *a, const struct json *arr, const char *path,
                      struct conditions *out, struct err *e)
{
        struct at root = {.j = arr, .key = path};
        struct conditions conditions = {0};
        struct dec d;

        if (begin_part(&d, a, e, &root, JSON_ARRAY, "not a list"))
                condition_list(&d, &root, &conditions);
        if (d.rc == 0)
                *out = conditions;
        return d.rc;
}
