/* A small cluster for the tests of extender/: objects as the watches would bring them. */
#ifndef DROVER_TESTS_UNIT_EXTENDER_SCENE_H
#define DROVER_TESTS_UNIT_EXTENDER_SCENE_H

#include "extender/fleet.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define GIB      ((int64_t)1 << 30)
#define WALL     INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */
#define SECOND   INT64_C(1000000000)
#define TEXT_MAX 8192

static struct fleet *fleet;
static struct mono now = {1000 * SECOND};

__attribute__((format(printf, 1, 2))) static inline struct json *object(const char *fmt, ...)
{
        char text[TEXT_MAX];
        struct json *j = NULL;
        struct err e;
        va_list ap;

        va_start(ap, fmt);
        int n = vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        if (json_parse(text, (size_t)n, sizeof(text), &j, &e) < 0)
                fail_msg("%s: %s", e.msg, text);
        return j;
}

typedef int event_fn(struct fleet *f, enum kube_event type, const struct json *object,
                     struct err *e);
static inline void event(event_fn *fn, enum kube_event type, struct json *j)
{
        struct err e;

        if (fn(fleet, type, j, &e) < 0)
                fail_msg("%s", e.msg);
        json_free(j);
}

/* A host of 8 CPUs and 16 GiB; domains are the elements of domains[], "" for none. */
static inline struct json *host_json(const char *name, const char *domains, const char *health)
{
        return object(
                "{\"metadata\":{\"name\":\"%s\"},\"status\":{\"capacity\":{\"cpus\":8,"
                "\"memory\":17179869184,\"slots\":3},\"used\":{\"cpus\":%d,\"memory\":%lld,"
                "\"domains\":%d},\"cpuModels\":[\"qemu64\"],\"bridges\":[\"br0\"],"
                "\"mounts\":[{\"pool\":\"default\",\"path\":\"/var/lib/drover\",\"fstype\":"
                "\"nfs4\",\"health\":\"%s\",\"reason\":\"%s\",\"freeBytes\":1000000}],"
                "\"domains\":[%s],\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
                name, *domains ? 2 : 0, *domains ? (long long)(2 * GIB) : 0, *domains ? 1 : 0,
                health, strcmp(health, "Healthy") == 0 ? "" : "probe did not answer for 5 s",
                domains);
}

static inline struct json *vm_json(const char *name, int cores, const char *status)
{
        return object(
                "{\"metadata\":{\"namespace\":\"default\",\"name\":\"%s\",\"uid\":\"u-%s\"},"
                "\"spec\":{\"cpu\":{\"cores\":%d},\"memory\":{\"guest\":\"1Gi\"},\"disks\":[{"
                "\"name\":\"root\",\"blank\":{\"size\":\"1Gi\"}}],\"networks\":[{\"name\":\"n\"}"
                "]},\"status\":%s}",
                name, name, cores, *status ? status : "{}");
}

static inline struct json *pod_json(const char *name, const char *vm, const char *node,
                                    const char *phase)
{
        return object("{\"metadata\":{\"namespace\":\"default\",\"name\":\"%s\",\"labels\":{"
                      "\"drover.dev/vm\":\"%s\"}},\"spec\":{\"nodeName\":\"%s\"},\"status\":{"
                      "\"phase\":\"%s\"}}",
                      name, vm, node, phase);
}

static inline void lease(const char *node, enum kube_event type, int64_t renewed_us)
{
        char text[RFC3339_MAX];
        struct err e;

        rfc3339_format(renewed_us, 1, text);
        struct json *j = object("{\"metadata\":{\"namespace\":\"drover-system\",\"name\":"
                                "\"drover-node-%s\"},\"spec\":{\"renewTime\":\"%s\"}}",
                                node, text);
        if (fleet_lease_event(fleet, type, j, now, WALL, &e) < 0)
                fail_msg("%s", e.msg);
        json_free(j);
}

/* node1 and node2, alive and healthy, and the VM default/demo that runs nowhere. */
static inline int scene_new(void **state)
{
        const struct fleet_config cfg = {.silent_ms = 20000, .migration_slots = 2};

        (void)state;
        now = (struct mono){1000 * SECOND};
        fleet = fleet_new(&cfg);
        event(fleet_host_event, KUBE_ADDED, host_json("node1", "", "Healthy"));
        event(fleet_host_event, KUBE_ADDED, host_json("node2", "", "Healthy"));
        lease("node1", KUBE_ADDED, WALL);
        lease("node2", KUBE_ADDED, WALL);
        event(fleet_vm_event, KUBE_ADDED, vm_json("demo", 4, ""));
        return 0;
}

static inline int scene_free(void **state)
{
        (void)state;
        fleet_free(fleet);
        fleet = NULL;
        return 0;
}

#endif
