#include "api/encode.h"

#include "base/mono.h"

static struct json *must(struct enc *e, struct json *made)
{
        e->failed |= !made;
        return made;
}

struct enc enc_begin(void)
{
        struct enc e = {.failed = false};

        e.root = must(&e, json_new_object());
        return e;
}

struct json *enc_end(struct enc *e)
{
        if (!e->failed)
                return e->root;
        json_free(e->root);
        return NULL;
}

struct json *enc_object(struct enc *e, struct json *in, const char *key)
{
        return must(e, json_set(in, key, json_new_object()));
}

struct json *enc_array(struct enc *e, struct json *in, const char *key)
{
        return must(e, json_set(in, key, json_new_array()));
}

struct json *enc_element(struct enc *e, struct json *arr)
{
        return must(e, json_add(arr, json_new_object()));
}

void enc_str(struct enc *e, struct json *in, const char *key, const char *value)
{
        must(e, json_set_str(in, key, value));
}

void enc_int(struct enc *e, struct json *in, const char *key, int64_t value)
{
        must(e, json_set_int(in, key, value));
}

void enc_bool(struct enc *e, struct json *in, const char *key, bool value)
{
        must(e, json_set_bool(in, key, value));
}

void enc_time(struct enc *e, struct json *in, const char *key, int64_t us)
{
        char text[RFC3339_MAX];

        if (us == 0)
                return;
        rfc3339_format(us, 1, text);
        enc_str(e, in, key, text);
}

void enc_strs(struct enc *e, struct json *in, const char *key, const struct strs *values)
{
        struct json *arr = enc_array(e, in, key);

        for (size_t i = 0; i < values->n; i++)
                must(e, json_add(arr, json_new_string(values->v[i])));
}

static void add_condition(struct enc *e, struct json *arr, const struct condition *c)
{
        struct json *o = enc_element(e, arr);

        enc_str(e, o, "type", c->type);
        enc_str(e, o, "status", c->status);
        enc_str(e, o, "reason", c->reason);
        enc_str(e, o, "message", c->message);
        enc_time(e, o, "lastTransitionTime", c->since_us);
}

void enc_conditions(struct enc *e, struct json *in, const char *key, const struct conditions *c)
{
        struct json *arr = enc_array(e, in, key);

        for (size_t i = 0; i < c->n; i++)
                add_condition(e, arr, &c->v[i]);
}

void enc_refusals(struct enc *e, struct json *in, const char *key, const struct refusals *r)
{
        struct json *o = enc_object(e, in, key);

        if (!r->count)
                return;
        enc_int(e, o, "count", r->count);
        enc_time(e, o, "lastAt", r->last_us);
}

struct json *conditions_encode(const struct conditions *c)
{
        struct enc e = {.root = json_new_array()};

        e.failed = !e.root;
        for (size_t i = 0; i < c->n; i++)
                add_condition(&e, e.root, &c->v[i]);
        return enc_end(&e);
}

static void encode_requirements(struct enc *e, struct json *term, const char *key,
                                const struct requirements *r)
{
        struct json *arr = r->n ? enc_array(e, term, key) : NULL;

        for (size_t i = 0; i < r->n; i++) {
                struct json *o = enc_element(e, arr);
                enc_str(e, o, "key", r->v[i].key);
                enc_str(e, o, "operator",
                        r->v[i].op == OP_BAD ? r->v[i].op_text : selector_op_name(r->v[i].op));
                if (r->v[i].values.n)
                        enc_strs(e, o, "values", &r->v[i].values);
        }
}

struct json *node_selector_encode(const struct node_selector *s)
{
        struct enc e = enc_begin();
        struct json *terms = enc_array(&e, e.root, "nodeSelectorTerms");

        for (size_t i = 0; i < s->n; i++) {
                struct json *term = enc_element(&e, terms);
                encode_requirements(&e, term, "matchExpressions", &s->v[i].exprs);
                encode_requirements(&e, term, "matchFields", &s->v[i].fields);
        }
        return enc_end(&e);
}
