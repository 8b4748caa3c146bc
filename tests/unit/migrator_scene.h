/* For the tests of migrator/: a world whose stores are fed by hand. */
#ifndef DROVER_TESTS_UNIT_MIGRATOR_SCENE_H
#define DROVER_TESTS_UNIT_MIGRATOR_SCENE_H

#include "migrator/world.h"
#include "tests/unit/api_text.h"

#include <stdatomic.h>
#include <stdlib.h>

#define MIB ((int64_t)1 << 20)

static struct world scene;
static _Atomic int64_t scene_rv; /* of the last object made */

static inline int64_t next_rv(void)
{
        return ++scene_rv;
}

/* Single quotes. */
static inline struct json *object(const char *fmt, ...) printf_like(1, 2);

static inline struct json *object(const char *fmt, ...)
{
        char text[4096];
        va_list ap;
        int n;

        va_start(ap, fmt);
        n = vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        assert_in_range(n, 1, sizeof(text) - 1);
        return json_of(text);
}

/* Takes j. */
static inline void put(struct kube_store *store, struct json *j)
{
        kube_store_event(store, KUBE_MODIFIED, j);
        json_free(j);
}

static inline void drop(struct kube_store *store, struct json *j)
{
        kube_store_event(store, KUBE_DELETED, j);
        json_free(j);
}

/* A VM of so many cores; granted: 0, or cores of a restart. */
static inline struct json *vm_json(const char *name, const char *owner, int64_t cores,
                                   int64_t granted)
{
        return object("{'metadata':{'name':'%s','namespace':'default','uid':'u-%s','generation':1,"
                      "'finalizers':['drover.dev/vm'],'resourceVersion':'%lld'},"
                      "'spec':{'cpu':{'cores':%lld},'memory':{'guest':'64Mi'}},"
                      "'status':{'owner':{'node':'%s','epoch':1},"
                      "'running':{'cores':%lld,'memory':67108864},"
                      "'granted':{'epoch':%d,'restartedAt':'now','cores':%lld,'memory':67108864}}}",
                      name, name, (long long)next_rv(), (long long)cores, owner, (long long)cores,
                      granted ? 1 : 0, (long long)granted);
}

static inline struct json *migration_json(const char *name, const char *vm, const char *phase,
                                          const char *target)
{
        return object("{'metadata':{'name':'%s','namespace':'default','uid':'m-%s',"
                      "'resourceVersion':'%lld'},'spec':{'vm':'%s'},'status':{'phase':'%s',"
                      "'source':'somewhere','target':'%s','epoch':1,'vmUID':'u-%s'}}",
                      name, name, (long long)next_rv(), vm, phase, target, vm);
}

/* domains: elements of the list, as domain_json makes them. */
static inline struct json *host_json(const char *node, int slots, int used, const char *domains)
{
        return object("{'metadata':{'name':'%s','uid':'h-%s','resourceVersion':'%lld'},'status':{"
                      "'capacity':{'cpus':1000,'memory':%lld,'slots':%d},"
                      "'used':{'cpus':%d,'memory':%lld,'domains':%d},'domains':[%s],"
                      "'mounts':[{'pool':'default','path':'/p','health':'Healthy'}],"
                      "'conditions':[{'type':'Ready','status':'True'}]}}",
                      node, node, (long long)next_rv(), (long long)(1000000 * MIB), slots, used,
                      (long long)(64 * MIB * used), used, domains);
}

/* ",{...}" when there is something before it; cores of each 1 unless said. */
static inline void domain_json(struct buf *b, const char *vm, const char *state, int cores)
{
        buf_addf(b,
                 "%s{'uid':'u-%s','namespace':'default','name':'%s','epoch':1,'state':'%s',"
                 "'cores':%d,'memory':67108864}",
                 b->len ? "," : "", vm, vm, state, cores);
}

static inline struct capacity_load promised(const char *node, const char *vm)
{
        char key[KUBE_KEY_MAX];

        snprintf(key, sizeof(key), "default/%s", vm);
        struct room_view v = rooms_look(scene.rooms, node, key);
        kube_ref_put(v.host);
        return v.promised;
}

static inline void scene_make(struct kube_client *client)
{
        struct err e;

        scene_rv = 1;
        if (world_make(client, &scene, &e) < 0)
                fail_msg("%s", e.msg);
}

#endif
