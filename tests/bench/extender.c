/*
 * The extender in process: 5,000 hosts, 10,000 VMs, 10,000 handle pods; calls about 500 of the
 * nodes, as names and as whole Node objects of 1.2 MB. One line a figure, compared with its target.
 *
 *   extender [CALLS [KIND]]      CALLS of each kind (2000), or of the one kind
 */
#include "extender/serve.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HOSTS     5000
#define VMS       10000
#define ASKED     500
#define MODELS    90
#define NODE_TEXT 2400 /* bytes of a Node without managedFields and with few images */
#define BODY_MAX  ((size_t)8 << 20)
#define WALL      INT64_C(1767225600000000)

static struct fleet *fleet;
static struct service service;
static struct mono now = {INT64_C(1000000000000)};
static bool short_of_a_target;
static const char *kind; /* NULL: all */

static struct mono scene_now(void)
{
        return now;
}

static void die(const char *what, const struct err *e)
{
        fprintf(stderr, "%s: %s\n", what, e ? e->msg : "failed");
        exit(1);
}

/* --- the cluster */

typedef int event_fn(struct fleet *f, enum kube_event type, const struct json *object,
                     struct err *e);

static void feed(event_fn *fn, const struct buf *text)
{
        struct json *j = NULL;
        struct err e;

        if (text->failed || json_parse(text->data, text->len, BODY_MAX, &j, &e) < 0 ||
            fn(fleet, KUBE_ADDED, j, &e) < 0)
                die(buf_str(text), &e);
        json_free(j);
}

static int heartbeat(struct fleet *f, enum kube_event type, const struct json *object,
                     struct err *e)
{
        return fleet_lease_event(f, type, object, now, WALL, e);
}

static void add_host(struct buf *b, int i)
{
        buf_reset(b);
        buf_addf(b,
                 "{\"metadata\":{\"name\":\"worker-%04d.rack%02d.example.com\"},\"status\":{"
                 "\"capacity\":{\"cpus\":128,\"memory\":1099511627776,\"slots\":200,"
                 "\"cpuOvercommitPercent\":%d},\"used\":{\"cpus\":%d,\"memory\":%lld,\"domains\":2"
                 "},\"bridges\":[\"br0\",\"br-storage\",\"br%d\"],\"cpuModels\":[",
                 i, i % 50, i % 2 ? 100 : 150, 8 + i % 40, (long long)(8 + i % 100) << 30, i % 7);
        for (int m = 0; m < MODELS; m++)
                buf_addf(b, "%s\"Model-%d-IBRS\"", m ? "," : "", m + i % 3);
        buf_addf(b,
                 "],\"mounts\":[{\"pool\":\"default\",\"path\":\"/var/lib/drover\",\"fstype\":"
                 "\"nfs4\",\"source\":\"nas:/srv/drover\",\"health\":\"Healthy\",\"identity\":"
                 "\"7f1c1b2e\",\"freeBytes\":%lld}],\"domains\":["
                 "{\"uid\":\"8a6e0804-2bd0-4672-b79d-%012d\",\"state\":\"Running\"},"
                 "{\"uid\":\"8a6e0804-2bd0-4672-b79d-%012d\",\"state\":\"Running\"}],"
                 "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"Ready\"}]}}",
                 (long long)(i + 1) << 32, 2 * i, 2 * i + 1);
        feed(fleet_host_event, b);
        buf_reset(b);
        buf_addf(b,
                 "{\"metadata\":{\"namespace\":\"drover-system\",\"name\":\"drover-node-worker-"
                 "%04d.rack%02d.example.com\"},\"spec\":{\"renewTime\":"
                 "\"2026-01-01T00:00:00.000000Z\"}}",
                 i, i % 50);
        feed(heartbeat, b);
}

static void add_vm(struct buf *b, int i)
{
        buf_reset(b);
        buf_addf(b,
                 "{\"metadata\":{\"namespace\":\"tenant-%d\",\"name\":\"vm-%d\",\"uid\":"
                 "\"8a6e0804-2bd0-4672-b79d-%012d\"},\"spec\":{\"cpu\":{\"cores\":4,\"model\":"
                 "\"Model-89-IBRS\"},\"memory\":{\"guest\":\"8Gi\"},\"disks\":[{\"name\":"
                 "\"root\",\"blank\":{\"size\":\"1Gi\"}}],\"networks\":[{\"name\":\"n\"}]}}",
                 i % 100, i, i);
        feed(fleet_vm_event, b);
        buf_reset(b);
        buf_addf(b,
                 "{\"metadata\":{\"namespace\":\"tenant-%d\",\"name\":\"drover-vm-vm-%d-e1\","
                 "\"uid\":\"5f9d7b1a-9d5c-4f0f-8a3e-%012d\",\"labels\":{\"drover.dev/vm\":"
                 "\"vm-%d\"},\"annotations\":{\"drover.dev/vm-uid\":"
                 "\"8a6e0804-2bd0-4672-b79d-%012d\"}},\"spec\":{\"nodeName\":"
                 "\"worker-%04d.rack%02d.example.com\"},\"status\":{\"phase\":\"Running\"}}",
                 i % 100, i, i, i, i, i / 2, i / 2 % 50);
        feed(fleet_pod_event, b);
}

static long rss_kib(void)
{
        long pages = 0;
        FILE *f = fopen("/proc/self/statm", "r");

        if (!f || fscanf(f, "%*d %ld", &pages) != 1)
                die("/proc/self/statm", NULL);
        fclose(f);
        return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* --- the calls */

static void add_pod(struct buf *b, const char *vm)
{
        buf_addf(b,
                 "{\"Pod\":{\"metadata\":{\"name\":\"drover-vm-%s-e1\",\"namespace\":\"tenant-0\","
                 "\"uid\":\"5f9d7b1a-9d5c-4f0f-8a3e-8a6e0804aaaa\",\"labels\":{\"drover.dev/vm\":"
                 "\"%s\"},\"annotations\":{\"drover.dev/placement\":\"0123456789abcdef\"}},"
                 "\"spec\":{\"containers\":[{\"name\":\"handle\",\"image\":\"drover/handle:dev\","
                 "\"resources\":{\"limits\":{\"drover.dev/vm\":\"1\",\"memory\":\"16Mi\"}}}],"
                 "\"affinity\":{\"nodeAffinity\":{"
                 "\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{"
                 "\"matchExpressions\":[{\"key\":\"drover.dev/hypervisor\",\"operator\":\"In\","
                 "\"values\":[\"true\"]}]}]}}},\"tolerations\":[{\"key\":\"node.kubernetes.io/"
                 "not-ready\",\"operator\":\"Exists\",\"effect\":\"NoExecute\"}]},\"status\":{"
                 "\"phase\":\"Pending\",\"qosClass\":\"Burstable\"}}",
                 vm, vm);
}

static void add_node(struct buf *b, int i)
{
        size_t began = b->len;

        buf_addf(b,
                 "{\"metadata\":{\"name\":\"worker-%04d.rack%02d.example.com\",\"uid\":\"9d5c\","
                 "\"labels\":{\"kubernetes.io/hostname\":\"worker-%04d\"}},\"spec\":{"
                 "\"podCIDR\":\"10.0.0.0/24\"},\"status\":{\"capacity\":{\"cpu\":\"128\"},"
                 "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"images\":[",
                 i, i % 50, i);
        for (int k = 0; b->len - began < NODE_TEXT - 120; k++)
                buf_addf(b,
                         "%s{\"names\":[\"registry.example.com/team/image-%d@sha256:%064d\"],"
                         "\"sizeBytes\":%d}",
                         k ? "," : "", k, k, 12345678 + k);
        buf_adds(b, "]}}");
}

static void make_call(struct buf *b, const char *vm, bool whole, int first)
{
        *b = buf_new(BODY_MAX);
        add_pod(b, vm);
        buf_adds(b, whole ? ",\"Nodes\":{\"metadata\":{},\"items\":[" : ",\"NodeNames\":[");
        for (int k = 0; k < ASKED; k++) {
                int i = first + k * (HOSTS / ASKED);

                if (k)
                        buf_adds(b, ",");
                if (whole)
                        add_node(b, i);
                else
                        buf_addf(b, "\"worker-%04d.rack%02d.example.com\"", i, i % 50);
        }
        buf_adds(b, whole ? "]},\"NodeNames\":null}" : "],\"Nodes\":null}");
}

/* Calls that ask about other nodes each: all of them in turn, as the scheduler does. */
#define TURNS (HOSTS / ASKED)
struct calls {
        struct buf body[TURNS];
};

static struct calls make_calls(const char *vm, bool whole)
{
        struct calls c;

        for (int i = 0; i < TURNS; i++)
                make_call(&c.body[i], vm, whole, i);
        return c;
}

static void free_calls(struct calls *c)
{
        for (int i = 0; i < TURNS; i++)
                buf_free(&c->body[i]);
}

static int by_value(const void *x, const void *y)
{
        int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

        return (a > b) - (a < b);
}

static void figure(const char *name, double value, const char *unit, double target)
{
        bool ok = value <= target;

        printf("figure %s %.1f %s target <= %.0f %s\n", name, value, unit, target,
               ok ? "ok" : "short");
        short_of_a_target |= !ok;
}

/* Of this thread alone: what else the machine does meanwhile is not the extender's. */
static int64_t busy_ns(void)
{
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void measure(const char *name, http_handler handler, const struct calls *c, int calls,
                    const char *must_say, double p50, double p99)
{
        int64_t *ns = calloc((size_t)calls, sizeof(*ns));
        char label[64];

        if (kind && strcmp(kind, name) != 0)
                calls = 0;
        for (int i = 0; i < calls; i++) {
                const struct buf *body = &c->body[i % TURNS];
                const struct http_request req = {.method = "POST",
                                                 .path = "/",
                                                 .query = "",
                                                 .content_type = "application/json",
                                                 .body = body->data,
                                                 .body_len = body->len};
                struct http_reply rep = {.status = 200, .body = buf_new((size_t)64 << 20)};
                int64_t began = busy_ns();

                handler(&service, &req, &rep);
                ns[i] = busy_ns() - began;
                if (rep.status != 200 || !strstr(buf_str(&rep.body), must_say)) {
                        fprintf(stderr, "%.2000s\n", buf_str(&rep.body));
                        die(name, NULL);
                }
                buf_free(&rep.body);
        }
        if (!calls)
                return free(ns);
        qsort(ns, (size_t)calls, sizeof(*ns), by_value);
        snprintf(label, sizeof(label), "extender_%s_p50", name);
        figure(label, (double)ns[calls / 2] / 1000, "us", p50);
        snprintf(label, sizeof(label), "extender_%s_p99", name);
        figure(label, (double)ns[calls - 1 - calls / 100] / 1000, "us", p99);
        free(ns);
}

int main(int argc, char **argv)
{
        const struct fleet_config cfg = {.silent_ms = 20000, .migration_slots = 2};
        int calls = argc > 1 ? atoi(argv[1]) : 2000;
        struct buf b = buf_new(BODY_MAX);
        struct calls names, refused, nodes;
        long before = rss_kib();

        kind = argc > 2 ? argv[2] : NULL;
        fleet = fleet_new(&cfg);
        service_init(&service, fleet, BODY_MAX);
        service.clock = scene_now;
        for (int i = 0; i < HOSTS; i++)
                add_host(&b, i);
        for (int i = 0; i < VMS; i++)
                add_vm(&b, i);
        buf_reset(&b);
        buf_adds(&b, "{\"metadata\":{\"namespace\":\"tenant-0\",\"name\":\"new\",\"uid\":\"n\"},"
                     "\"spec\":{\"cpu\":{\"cores\":4,\"model\":\"Model-89-IBRS\"},\"memory\":{"
                     "\"guest\":\"8Gi\"},\"disks\":[{\"name\":\"root\",\"blank\":{\"size\":"
                     "\"1Gi\"}}],\"networks\":[{\"name\":\"n\"}]}}");
        feed(fleet_vm_event, &b);
        buf_reset(&b);
        buf_adds(&b, "{\"metadata\":{\"namespace\":\"tenant-0\",\"name\":\"huge\",\"uid\":\"h\"},"
                     "\"spec\":{\"cpu\":{\"cores\":500,\"model\":\"Model-89-IBRS\"},\"memory\":"
                     "{\"guest\":\"8Gi\"},\"disks\":[{\"name\":\"root\",\"blank\":{\"size\":"
                     "\"1Gi\"}}],\"networks\":[{\"name\":\"n\"}]}}");
        feed(fleet_vm_event, &b);
        buf_free(&b);
        figure("extender_objects", (double)(rss_kib() - before) / 1024, "MiB", 6);
        names = make_calls("new", false);
        refused = make_calls("huge", false);
        nodes = make_calls("new", true);
        printf("calls of %zu and %zu bytes\n", names.body[0].len, nodes.body[0].len);
        measure("filter_names", serve_filter, &names, calls,
                "],\"FailedNodes\":{},\"FailedAndUnresolvableNodes\":{},", 200, 1000);
        measure("filter_refused", serve_filter, &refused, calls, "500 CPUs", 200, 1000);
        measure("prioritize_names", serve_prioritize, &names, calls, "Score\":1}", 200, 1000);
        measure("filter_nodes", serve_filter, &nodes, calls / 10,
                "\"FailedAndUnresolvableNodes\":{},", 3000, 6000);
        measure("prioritize_nodes", serve_prioritize, &nodes, calls / 10, "Score\":1}", 3000, 6000);
        free_calls(&names);
        free_calls(&refused);
        free_calls(&nodes);
        fleet_free(fleet);
        return short_of_a_target;
}
