/*
 * Any body as a call of the scheduler: read in place as a tree would be read, and answered from a
 * small cluster. Whatever is asked, the answer is JSON and names nodes of the call alone, each of
 * them once for each time that it was named; of a preemption no handle comes back as a victim.
 */
#include "api/codec.h"
#include "extender/fleet.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_MAX ((size_t)64 << 20)
#define WALL      INT64_C(1767225600000000)
#define HANDLE    "u-handle"

static struct fleet *fleet;
static const struct mono now = {INT64_C(1000000000000)};

/* --- the cluster: node1 and node2 fit, node3 has a sick pool, node4 is silent, node5 is full */

typedef int event_fn(struct fleet *f, enum kube_event type, const struct json *object,
                     struct err *e);

static int heartbeat(struct fleet *f, enum kube_event type, const struct json *object,
                     struct err *e)
{
        return fleet_lease_event(f, type, object, now, WALL, e);
}

static void feed(event_fn *fn, const char *text)
{
        struct json *j = fuzz_json((const uint8_t *)text, strlen(text));
        struct err e;

        must(j && fn(fleet, KUBE_ADDED, j, &e) == 0);
        json_free(j);
}

static void add_host(int i)
{
        char text[1024];

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"node%d\"},\"status\":{\"capacity\":{\"cpus\":%d,"
                 "\"memory\":17179869184},\"bridges\":[\"br0\"],\"mounts\":[{\"pool\":\"default\","
                 "\"path\":\"/p\",\"health\":\"%s\",\"reason\":\"slow\",\"freeBytes\":%d}],"
                 "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
                 i, i == 5 ? 1 : 8, i == 3 ? "Unhealthy" : "Healthy", i * 1000);
        feed(fleet_host_event, text);
        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"drover-node-node%d\"},\"spec\":{\"renewTime\":"
                 "\"2026-01-01T00:00:00.000000Z\"}}",
                 i);
        if (i != 4)
                feed(heartbeat, text);
}

static void build(void)
{
        const struct fleet_config cfg = {.silent_ms = 20000, .migration_slots = 2};

        fleet = fleet_new(&cfg);
        must(fleet);
        for (int i = 1; i <= 5; i++)
                add_host(i);
        feed(fleet_vm_event,
             "{\"metadata\":{\"namespace\":\"default\",\"name\":\"demo\",\"uid\":\"u-demo\"},"
             "\"spec\":{\"cpu\":{\"cores\":2},\"memory\":{\"guest\":\"1Gi\"},\"disks\":[{\"name\":"
             "\"root\",\"blank\":{\"size\":\"1Gi\"}}],\"networks\":[{\"name\":\"n\"}]}}");
        feed(fleet_pod_event,
             "{\"metadata\":{\"namespace\":\"default\",\"name\":\"h\",\"uid\":\"" HANDLE "\","
             "\"labels\":{\"drover.dev/vm\":\"other\"}},\"spec\":{\"nodeName\":\"node1\"}}");
}

/* --- how a tree reads it */

/* The members of the kind, or NULL; *ok false when there is something else than null. */
static const struct json *as(const struct json *j, enum json_type type, bool *ok)
{
        if (json_type(j) == type)
                return j;
        *ok &= json_type(j) == JSON_NONE || json_type(j) == JSON_NULL;
        return NULL;
}

static const char *name_of(const struct json *el, bool whole)
{
        if (!whole)
                return json_string(el);
        const struct json *meta = json_get(el, "metadata");
        bool ok = json_type(el) == JSON_OBJECT;
        meta = as(meta, JSON_OBJECT, &ok);
        return ok ? json_str(meta, "name", NULL) : NULL;
}

static bool metadata_ok(const struct json *pod)
{
        struct json *j = json_new_object();
        struct pod *out = NULL;
        struct err e;

        if (json_get(pod, "metadata"))
                must(json_set(j, "metadata", json_clone(json_get(pod, "metadata"))));
        int rc = pod_decode(j, &out, &e);
        pod_free(out);
        json_free(j);
        return rc == 0;
}

/* Is it a call for filter and prioritize, and of which nodes (NULL: of none)? */
static bool is_call(const struct json *j, const struct json **nodes, bool *whole)
{
        bool ok = json_type(j) == JSON_OBJECT;
        const struct json *pod = as(json_get(j, "Pod"), JSON_OBJECT, &ok);
        const struct json *names = as(json_get(j, "NodeNames"), JSON_ARRAY, &ok);
        const struct json *list = as(json_get(j, "Nodes"), JSON_OBJECT, &ok);

        *whole = list;
        *nodes = names ? names : as(json_get(list, "items"), JSON_ARRAY, &ok);
        if (!ok || !pod || !names == !list)
                return false;
        for (const struct json *el = json_first(*nodes); el; el = json_next(el))
                if (!name_of(el, *whole))
                        return false;
        return metadata_ok(pod);
}

static void read_alike(const struct json *j, int rc, const struct extender_args *args)
{
        const struct json *nodes;
        bool whole;

        must(is_call(j, &nodes, &whole) == (rc == 0));
        if (rc)
                return;
        must(args->has_names == !whole && args->names.n == json_count(nodes));
        size_t i = 0;
        for (const struct json *el = json_first(nodes); el; el = json_next(el), i++)
                must(strcmp(args->names.v[i], name_of(el, whole)) == 0);
}

/* --- the answers */

static struct json *parsed(const struct buf *b)
{
        struct json *j = NULL;
        struct err e;

        must(!b->failed && json_parse(b->data, b->len, b->len, &j, &e) == 0);
        return j;
}

static void names_each_once(const struct json *answer, const struct extender_args *args)
{
        const struct json *fit = args->has_names ? json_get(answer, "NodeNames")
                                                 : json_path(answer, "Nodes", "items", NULL);
        const struct json *failed = json_get(answer, "FailedAndUnresolvableNodes");
        const struct json *el = json_first(fit), *f = json_first(failed);

        must(json_count(json_get(answer, "FailedNodes")) == 0);
        for (size_t i = 0; i < args->names.n; i++) {
                const char *name = args->names.v[i];

                if (el && strcmp(name_of(el, !args->has_names), name) == 0) {
                        el = json_next(el);
                } else {
                        must(f && strcmp(json_key(f), name) == 0);
                        must(strstr(json_string(f), "[rule "));
                        f = json_next(f);
                }
        }
        must(!el && !f);
}

static void answer(const struct extender_args *args)
{
        struct arena *a = arena_new(ARENA_MAX);
        struct buf b = buf_new(ARENA_MAX);
        int *scores = calloc(args->names.n + 1, sizeof(*scores));
        struct fleet_verdict v;
        struct err e;

        must(a && scores);
        if (fleet_filter(fleet, args->pod, &args->names, now, a, &v, &e) == 0) {
                must(v.result.nfit + v.result.nfailures == args->names.n);
                must(extender_filter_encode(args, &v.result, &b) == 0);
                struct json *j = parsed(&b);
                names_each_once(j, args);
                json_free(j);
                must(fleet_scores(fleet, args->pod, &args->names, now, a, scores, &e) == 0);
                buf_reset(&b);
                must(extender_priorities_encode(args, scores, &b) == 0);
                j = parsed(&b);
                must(json_count(j) == args->names.n);
                json_free(j);
        }
        free(scores);
        buf_free(&b);
        arena_free(a);
}

static void answer_preemption(const struct extender_preemption *p)
{
        bool *keep = calloc(p->n + 1, sizeof(*keep));
        struct buf b = buf_new(ARENA_MAX);
        struct err e;

        must(keep);
        if (fleet_preempt(fleet, p, now, keep, &e))
                memset(keep, 0, p->n);
        must(extender_preemption_encode(p, keep, &b) == 0);
        struct json *j = parsed(&b);
        const struct json *el = json_first(json_get(j, "NodeNameToMetaVictims"));
        for (size_t i = 0; i < p->n; i++) {
                if (!keep[i])
                        continue;
                must(el && strcmp(json_key(el), p->v[i].name) == 0);
                const struct json *pods = json_get(el, "Pods");
                must(json_count(pods) > 0 && json_count(pods) == p->v[i].nvictims);
                for (const struct json *pod = json_first(pods); pod; pod = json_next(pod))
                        must(strcmp(p->v[i].name, "node1") != 0 ||
                             strcmp(json_str(pod, "UID", ""), HANDLE) != 0);
                el = json_next(el);
        }
        must(!el);
        json_free(j);
        buf_free(&b);
        free(keep);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct json *j = fuzz_json(data, size);
        const char *body = (const char *)data;
        struct extender_preemption preemption;
        struct extender_args args;
        struct err e;

        if (!fleet)
                build();
        int rc = extender_args_decode(body, size, FUZZ_TEXT_MAX, &args, &e);
        if (j) /* numbers of many digits are read, but make no tree */
                read_alike(j, rc, &args);
        if (rc == 0) {
                must(extender_call(body, size, FUZZ_TEXT_MAX));
                answer(&args);
                extender_args_free(&args);
        }
        if (extender_preemption_decode(body, size, FUZZ_TEXT_MAX, &preemption, &e) == 0) {
                answer_preemption(&preemption);
                extender_preemption_free(&preemption);
        }
        json_free(j);
        return 0;
}
