/* The extender's preempt call: for each node, the pods that would have to go. */
#include "api/extender_scan.h"

#include <errno.h>
#include <stdio.h>

#define META "NodeNameToMetaVictims" /* of uids alone */
#define FULL "NodeNameToVictims"

struct parts {
        struct call_pod pod;
        bool pod_seen, meta_seen, full_seen;
        bool given;
        struct buf candidates,
                victims; /* rows; a candidate's victims are counted, not yet placed */
};

/* Where a victim stands, for messages. */
struct place {
        char pods[96]; /* NodeNameToVictims["node1"].Pods */
        size_t i;
};

/* Does the Pod stand for a VM? */
static bool read_labels(struct json_scan *s, const struct place *at)
{
        struct json_span key, value;
        bool seen = false, handle = false;

        if (!call_enter(s, JSON_OBJECT, "%s[%zu].metadata.labels", at->pods, at->i))
                return false;
        while (json_scan_member(s, &key)) {
                value = call_string(s);
                if (call_first(&seen, key, DROVER_VM_LABEL))
                        handle = value.len > sizeof("\"\"") - 1;
        }
        return handle;
}

static void read_metadata(struct json_scan *s, struct extender_victim *v, const struct place *at)
{
        bool uid_seen = false, labels_seen = false;
        struct json_span key;

        if (!call_enter(s, JSON_OBJECT, "%s[%zu].metadata", at->pods, at->i))
                return;
        while (json_scan_member(s, &key)) {
                if (call_first(&uid_seen, key, "uid"))
                        v->uid_text = call_string(s);
                else if (call_first(&labels_seen, key, "labels"))
                        v->handle = read_labels(s, at);
                else
                        json_scan_value(s);
        }
}

static void read_victim(struct json_scan *s, struct parts *p, bool full, const struct place *at)
{
        struct extender_victim v = {0};
        struct json_span key;
        bool seen = false;

        if (!call_element(s, JSON_OBJECT, "%s[%zu]", at->pods, at->i))
                return;
        while (json_scan_member(s, &key)) {
                if (!call_first(&seen, key, full ? "metadata" : "UID"))
                        json_scan_value(s);
                else if (full)
                        read_metadata(s, &v, at);
                else
                        v.uid_text = call_string(s);
        }
        if (!v.uid_text.text)
                json_scan_fail(s, -EINVAL, "%s[%zu]: no uid", at->pods, at->i);
        call_add(s, &p->victims, &v, sizeof(v), EXTENDER_VICTIMS_MAX, "victims");
}

static void read_victims(struct json_scan *s, struct parts *p, bool full, struct json_span name)
{
        struct place at = {.i = 0};

        snprintf(at.pods, sizeof(at.pods), "%s[%.*s].Pods", full ? FULL : META,
                 name.len < 64 ? (int)name.len : 64, name.text);
        if (!call_enter(s, JSON_ARRAY, "%s", at.pods))
                return;
        for (; json_scan_element(s); at.i++)
                read_victim(s, p, full, &at);
}

static void read_candidate(struct json_scan *s, struct parts *p, bool full, struct json_span name)
{
        struct extender_candidate c = {.name_text = name};
        bool pods_seen = false, violations_seen = false;
        size_t before = p->victims.len;
        struct json_span key;

        if (call_enter(s, JSON_OBJECT, "%s[%.*s]", full ? FULL : META, (int)name.len, name.text)) {
                while (json_scan_member(s, &key)) {
                        if (call_first(&pods_seen, key, "Pods"))
                                read_victims(s, p, full, name);
                        else if (call_first(&violations_seen, key, "NumPDBViolations") &&
                                 json_scan_type(s) == JSON_NUMBER)
                                c.violations = json_scan_value(s);
                        else
                                json_scan_value(s);
                }
        }
        c.nvictims = (p->victims.len - before) / sizeof(struct extender_victim);
        call_add(s, &p->candidates, &c, sizeof(c), EXTENDER_NODES_MAX, "nodes");
}

static void read_candidates(struct json_scan *s, struct parts *p, bool full)
{
        struct json_span key;

        if (!call_enter(s, JSON_OBJECT, "%s", full ? FULL : META))
                return;
        if (p->given)
                json_scan_fail(s, -EINVAL, META ": given, and " FULL " too");
        p->given = true;
        while (json_scan_member(s, &key))
                read_candidate(s, p, full, key);
}

static int read_call(struct json_scan *s, struct parts *p)
{
        struct json_span key;

        if (!call_element(s, JSON_OBJECT, "%s", ""))
                return json_scan_end(s);
        while (json_scan_member(s, &key)) {
                if (call_first(&p->pod_seen, key, "Pod"))
                        call_pod(s, &p->pod);
                else if (call_first(&p->meta_seen, key, META))
                        read_candidates(s, p, false);
                else if (call_first(&p->full_seen, key, FULL))
                        read_candidates(s, p, true);
                else
                        json_scan_value(s);
        }
        return json_scan_end(s);
}

/* Strings for the spans, and each candidate's part of the victims. */
static bool take_strings(struct extender_preemption *out)
{
        struct extender_victim *victims = (void *)out->victims.data;
        size_t at = 0;

        for (size_t i = 0; i < out->n; i++) {
                struct extender_candidate *c = &out->v[i];

                c->name = json_span_string(c->name_text, out->arena);
                if (!c->name)
                        return false;
                c->victims = c->nvictims ? victims + at : NULL;
                at += c->nvictims;
        }
        for (size_t i = 0; i < at; i++) {
                victims[i].uid = json_span_string(victims[i].uid_text, out->arena);
                if (!victims[i].uid)
                        return false;
        }
        return true;
}

static int take_parts(struct parts *p, struct extender_preemption *out, struct err *e)
{
        int rc = call_pod_decode(&p->pod, &out->pod, e);

        if (rc < 0)
                return rc;
        if (!p->given)
                return err_set(e, -EINVAL, META ": missing, and " FULL " too");
        out->candidates = p->candidates;
        out->victims = p->victims;
        p->candidates = p->victims = buf_new(0);
        out->v = (void *)out->candidates.data;
        out->n = out->candidates.len / sizeof(*out->v);
        out->arena = arena_new(API_ARENA_MAX);
        return out->arena && take_strings(out) ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int extender_preemption_decode(const char *body, size_t len, size_t max,
                               struct extender_preemption *out, struct err *e)
{
        struct parts p = {.candidates = buf_new(SIZE_MAX), .victims = buf_new(SIZE_MAX)};
        struct extender_preemption args = {0};
        struct json_scan s;

        json_scan_begin(&s, body, len, max, e);
        int rc = read_call(&s, &p);
        if (rc < 0)
                rc = call_failure(body, len, max, rc, e);
        else
                rc = take_parts(&p, &args, e);
        buf_free(&p.candidates);
        buf_free(&p.victims);
        if (rc < 0)
                extender_preemption_free(&args);
        else
                *out = args;
        return rc;
}

void extender_preemption_free(struct extender_preemption *p)
{
        pod_free(p->pod);
        arena_free(p->arena);
        buf_free(&p->candidates);
        buf_free(&p->victims);
        *p = (struct extender_preemption){0};
}

static void add_candidate(struct buf *b, const struct extender_candidate *c)
{
        buf_add(b, c->name_text.text, c->name_text.len);
        buf_adds(b, ":{\"Pods\":[");
        for (size_t i = 0; i < c->nvictims; i++) {
                buf_adds(b, i ? ",{\"UID\":" : "{\"UID\":");
                buf_add(b, c->victims[i].uid_text.text, c->victims[i].uid_text.len);
                buf_adds(b, "}");
        }
        buf_adds(b, "],\"NumPDBViolations\":");
        buf_add(b, c->violations.text ? c->violations.text : "0",
                c->violations.text ? c->violations.len : 1);
        buf_adds(b, "}");
}

int extender_preemption_encode(const struct extender_preemption *p, const bool *keep, struct buf *b)
{
        const char *comma = "";

        buf_adds(b, "{\"NodeNameToMetaVictims\":{");
        for (size_t i = 0; i < p->n; i++) {
                if (!keep[i])
                        continue;
                buf_adds(b, comma);
                add_candidate(b, &p->v[i]);
                comma = ",";
        }
        buf_adds(b, "}}");
        return b->failed ? b->error : 0;
}
