#include "api/extender_scan.h"

#include <errno.h>
#include <string.h>

/* What the body of a call has, as far as it has been read. */
struct parts {
        struct call_pod pod;
        bool pod_seen, names_seen, nodes_seen;
        bool has_names, has_nodes;
        struct buf nodes; /* of struct extender_node */
};

static void add_node(struct json_scan *s, struct parts *p, struct json_span text,
                     struct json_span name)
{
        const struct extender_node node = {text, name};

        call_add(s, &p->nodes, &node, sizeof(node), EXTENDER_NODES_MAX, "nodes");
}

static void read_names(struct json_scan *s, struct parts *p)
{
        if (!call_enter(s, JSON_ARRAY, "NodeNames"))
                return;
        p->has_names = true;
        for (size_t i = 0; json_scan_element(s); i++) {
                struct json_span name = call_string(s);

                if (!name.text)
                        json_scan_fail(s, -EINVAL, "NodeNames[%zu]: not a string", i);
                add_node(s, p, name, name);
        }
}

/* Of a Node; no text when there is none. */
static struct json_span read_name(struct json_scan *s, size_t i)
{
        struct json_span name = {NULL, 0}, key;
        bool seen = false;

        if (!call_enter(s, JSON_OBJECT, "Nodes.items[%zu].metadata", i))
                return name;
        while (json_scan_member(s, &key)) {
                if (call_first(&seen, key, "name"))
                        name = call_string(s);
                else
                        json_scan_value(s);
        }
        return name;
}

static void read_node(struct json_scan *s, struct parts *p, size_t i)
{
        struct json_span name = {NULL, 0}, key;
        bool seen = false;

        if (!call_element(s, JSON_OBJECT, "Nodes.items[%zu]", i))
                return;
        const char *began = s->at - 1; /* its brace */
        while (json_scan_member(s, &key)) {
                if (call_first(&seen, key, "metadata"))
                        name = read_name(s, i);
                else
                        json_scan_value(s);
        }
        if (!name.text)
                json_scan_fail(s, -EINVAL, "Nodes.items[%zu].metadata.name: missing", i);
        add_node(s, p, (struct json_span){began, (size_t)(s->at - began)}, name);
}

static void read_items(struct json_scan *s, struct parts *p)
{
        if (!call_enter(s, JSON_ARRAY, "Nodes.items"))
                return;
        for (size_t i = 0; json_scan_element(s); i++)
                read_node(s, p, i);
}

static void read_nodes(struct json_scan *s, struct parts *p)
{
        struct json_span key;
        bool seen = false;

        if (!call_enter(s, JSON_OBJECT, "Nodes"))
                return;
        p->has_nodes = true;
        while (json_scan_member(s, &key)) {
                if (call_first(&seen, key, "items"))
                        read_items(s, p);
                else
                        json_scan_value(s);
        }
}

static int read_args(struct json_scan *s, struct parts *p)
{
        struct json_span key;

        if (!call_element(s, JSON_OBJECT, "%s", ""))
                return json_scan_end(s);
        while (json_scan_member(s, &key)) {
                if (call_first(&p->pod_seen, key, "Pod"))
                        call_pod(s, &p->pod);
                else if (call_first(&p->names_seen, key, "NodeNames"))
                        read_names(s, p);
                else if (call_first(&p->nodes_seen, key, "Nodes"))
                        read_nodes(s, p);
                else
                        json_scan_value(s);
                if (p->has_names && p->has_nodes)
                        json_scan_fail(s, -EINVAL, "NodeNames: given, and Nodes too");
        }
        return json_scan_end(s);
}

static int take_names(struct extender_args *args, struct err *e)
{
        const struct extender_node *node = args->nodes;

        args->names.v = arena_array(args->arena, args->names.n, sizeof(*args->names.v));
        for (size_t i = 0; args->names.v && i < args->names.n; i++) {
                args->names.v[i] = json_span_string(node[i].name, args->arena);
                if (!args->names.v[i])
                        return err_set(e, -ENOMEM, "out of memory");
        }
        return args->names.v ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int take_parts(struct parts *p, struct extender_args *args, struct err *e)
{
        int rc = call_pod_decode(&p->pod, &args->pod, e);

        if (rc < 0)
                return rc;
        if (!p->has_names && !p->has_nodes)
                return err_set(e, -EINVAL, "NodeNames: missing, and Nodes too");
        args->has_names = p->has_names;
        args->memory = p->nodes;
        p->nodes = buf_new(0);
        args->nodes = (const struct extender_node *)(const void *)args->memory.data;
        args->names.n = args->memory.len / sizeof(*args->nodes);
        args->arena = arena_new(API_ARENA_MAX);
        return args->arena ? take_names(args, e) : err_set(e, -ENOMEM, "out of memory");
}

int extender_args_decode(const char *body, size_t len, size_t max, struct extender_args *out,
                         struct err *e)
{
        struct parts p = {.nodes = buf_new(SIZE_MAX)};
        struct extender_args args = {.memory = buf_new(0)};
        struct json_scan s;

        json_scan_begin(&s, body, len, max, e);
        int rc = read_args(&s, &p);
        if (rc < 0)
                rc = call_failure(body, len, max, rc, e);
        else
                rc = take_parts(&p, &args, e);
        buf_free(&p.nodes);
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
        buf_free(&args->memory);
        *args = (struct extender_args){0};
}

bool extender_call(const char *body, size_t len, size_t max)
{
        static const char *const MEMBERS[] = {"Pod", "Nodes", "NodeNames"};
        struct json_scan s;
        struct json_span key;
        bool found = false;

        json_scan_begin(&s, body, len, max, NULL);
        if (!call_element(&s, JSON_OBJECT, "%s", ""))
                return false;
        while (json_scan_member(&s, &key)) {
                for (size_t i = 0; i < countof(MEMBERS); i++)
                        found |= json_span_is(key, MEMBERS[i]);
                json_scan_value(&s);
        }
        return json_scan_end(&s) == 0 && found;
}

/* --- replies */

static void add_span(struct buf *b, struct json_span span)
{
        buf_add(b, span.text, span.len);
}

/* {"node": "message", ...} */
static void add_failures(struct buf *b, const struct extender_args *args,
                         const struct extender_filter_result *r)
{
        buf_adds(b, "{");
        for (size_t i = 0; i < r->nfailures; i++) {
                buf_adds(b, i ? "," : "");
                add_span(b, args->nodes[r->failures[i].node].name);
                buf_adds(b, ":");
                json_quote(b, r->failures[i].message);
        }
        buf_adds(b, "}");
}

/* What fits, as it came. */
static void add_fit(struct buf *b, const struct extender_args *args,
                    const struct extender_filter_result *r)
{
        for (size_t i = 0; i < r->nfit; i++) {
                buf_adds(b, i ? "," : "");
                add_span(b, args->nodes[r->fit[i]].text);
        }
}

int extender_filter_encode(const struct extender_args *args, const struct extender_filter_result *r,
                           struct buf *b)
{
        static const struct extender_filter_result NONE = {0};
        const char *error = r->error ? r->error : "";

        if (*error)
                r = &NONE;
        buf_adds(b, args->has_names ? "{\"Nodes\":null,\"NodeNames\":["
                                    : "{\"Nodes\":{\"metadata\":{},\"items\":[");
        add_fit(b, args, r);
        buf_adds(b, args->has_names ? "]" : "]},\"NodeNames\":null");
        buf_adds(b, ",\"FailedNodes\":{},\"FailedAndUnresolvableNodes\":");
        add_failures(b, args, r);
        buf_adds(b, ",\"Error\":");
        json_quote(b, error);
        buf_adds(b, "}");
        return b->failed ? b->error : 0;
}

int extender_priorities_encode(const struct extender_args *args, const int *scores, struct buf *b)
{
        static const char *const DIGITS[] = {"0", "1", "2", "3", "4", "5",
                                             "6", "7", "8", "9", "10"};

        const char *before = "[{\"Host\":";

        for (size_t i = 0; i < args->names.n; i++) {
                if (scores[i] == EXTENDER_UNNAMED)
                        continue;
                buf_adds(b, before);
                before = ",{\"Host\":";
                add_span(b, args->nodes[i].name);
                buf_adds(b, ",\"Score\":");
                buf_adds(b, DIGITS[scores[i]]);
                buf_adds(b, "}");
        }
        buf_adds(b, *before == '[' ? "[]" : "]");
        return b->failed ? b->error : 0;
}
