/* drover-agent: a hypervisor node's hands. Puts the parts together and waits for the signal to end.
 */
#include "agent/arrivals.h"
#include "agent/copies.h"
#include "agent/doctor.h"
#include "agent/holds.h"
#include "agent/import.h"
#include "agent/mountpools.h"
#include "agent/moves.h"
#include "agent/offers.h"
#include "agent/pods.h"
#include "agent/publish.h"
#include "agent/snapshots.h"
#include "agent/starts.h"
#include "agent/tool.h"
#include "agent/vms.h"
#include "base/log.h"
#include "http/server.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define THREADS_MAX 64
#define END_MS      4000
#define PAUSING_MS  500
#define NOT_YET_MS  100
#define STACK_SIZE  ((size_t)512 << 10)

static int64_t dispatch(void *ctx, const char *key)
{
        static const struct {
                const char *kind;
                int64_t (*work)(struct agent *a, const char *rest);
        } KINDS[] = {
                {"vm", vm_work},
                {"domain", domain_work},
                {"addresses", addresses_work},
                {"pod", pod_work},
                {"move", move_work},
                {"erase", erase_work},
                {"domains", domains_work},
                {"facts", facts_work},
                {"node", node_work},
                {"arrival", arrival_work},
                {"clock", clock_work},
                {"offers", offers_work},
                {"image", image_work},
                {"leftover", leftover_work},
                {"prepare", prepare_work},
                {"stale", stale_work},
                {"claims", claims_work},
                {"snapshot", snapshot_work},
        };
        struct agent *a = ctx;
        size_t len = strcspn(key, "/");

        if (!a->started)
                return NOT_YET_MS;
        for (size_t i = 0; i < countof(KINDS); i++)
                if (strlen(KINDS[i].kind) == len && !strncmp(key, KINDS[i].kind, len))
                        return KINDS[i].work(a, key[len] ? key + len + 1 : "");
        return WORK_DONE;
}

/* --- what libvirt and the mounts tell */

static bool poke_move(void *ctx, const void *object)
{
        const struct migration *m = object;

        agent_poke(ctx, 0, "move/%s/%s", m->meta.ns, m->meta.name);
        return true;
}

static void connected(void *ctx)
{
        struct agent *a = ctx;

        a->libvirt_lost = false;
        log_msg(LOG_INFO, "connected to libvirtd", NULL);
        mounts_new_libvirtd(a->mounts);
        publish_libvirt(a->publisher, "");
        agent_poke(a, 0, "domains");
        agent_poke(a, 0, "facts");
        kube_store_each(a->moving, poke_move, a);
}

static void lost(void *ctx, const char *why)
{
        struct agent *a = ctx;

        if (!a->libvirt_lost) /* each further attempt says the same */
                log_msg(LOG_WARN, "libvirtd cannot be reached", "why", why, NULL);
        a->libvirt_lost = true;
        publish_libvirt(a->publisher, why);
}

/*
 * A guest that is suspended, or defined, may be in the pause of a migration, on its source or on
 * its target: what is to be told of it can wait until that is over.
 */
static void domain_event(void *ctx, const char *uuid, int event, int detail)
{
        struct agent *a = ctx;

        if (!moves_domain_event(a->moves, uuid, event, detail))
                agent_poke(a,
                           event == VIR_DOMAIN_EVENT_SUSPENDED || event == VIR_DOMAIN_EVENT_DEFINED
                                   ? PAUSING_MS
                                   : 0,
                           "domain/%s", uuid);
}

static void iteration(void *ctx, const char *uuid, int pass)
{
        moves_iteration(((struct agent *)ctx)->moves, uuid, pass);
}

static bool poke_vm(void *ctx, const void *object)
{
        const struct vm *vm = object;

        agent_poke(ctx, 0, "vm/%s/%s", vm->meta.ns, vm->meta.name);
        return true;
}

static void mounts_changed(void *ctx)
{
        struct agent *a = ctx;

        if (!a->started)
                return;
        publish_soon(a->publisher);
        proofs_nudge(a->proofs);
        agent_poke(a, 0, "stale");
        agent_poke(a, 0, "offers");          /* the file is there before the first move */
        kube_store_each(a->vms, poke_vm, a); /* some may have waited for their pool */
}

static void proofs_changed(void *ctx)
{
        struct agent *a = ctx;

        if (a->started)
                publish_soon(a->publisher);
}

/* --- beginning and end */

struct run {
        struct agent a;
        struct kube_watch *vms, *pods, *moving, *arriving, *images, *snapshots;
        struct http_server *health;
};

static int start_kube(struct run *r, struct err *e)
{
        struct kube_config cfg;
        int rc = kube_config_load(r->a.config.kubeconfig, NULL, &cfg, e);

        if (rc)
                return rc;
        rc = kube_client_new(&cfg, "drover-agent", &r->a.kube, e);
        kube_config_free(&cfg);
        return rc;
}

static int start_health(struct run *r, struct err *e)
{
        const struct http_config cfg = {
                .address = "0.0.0.0",
                .port = (uint16_t)r->a.config.health_port,
                .threads = 1,
                .max_connections = 32,
                .max_body = 1024,
        };

        return http_server_start(&cfg, NULL, 0, NULL, &r->health, e);
}

static int start(struct run *r, struct err *e)
{
        struct agent *a = &r->a;
        const struct virt_hooks hooks = {connected, lost, domain_event, iteration, a};
        int rc = start_kube(r, e);

        a->table = table_new();
        a->starts = starts_new();
        a->copies = copies_new();
        a->holds = holds_new();
        a->work = work_new(THREADS_MAX, dispatch, a);
        if (!rc && (!a->table || !a->starts || !a->copies || !a->holds || !a->work))
                rc = err_set(e, -ENOMEM, "out of memory");
        if (!rc)
                rc = start_health(r, e);
        if (!rc)
                rc = mounts_start(&a->config, mounts_changed, a, &a->mounts, e);
        if (!rc)
                rc = proofs_start(&a->config, a->mounts, proofs_changed, a, &a->proofs, e);
        if (!rc)
                rc = vms_start(a, &r->vms, e);
        if (!rc)
                rc = pods_start(a, &r->pods, e);
        if (!rc)
                rc = moves_start(a, &r->moving, e);
        if (!rc)
                rc = arrivals_start(a, &r->arriving, e);
        if (!rc)
                rc = imports_start(a, &r->images, e);
        if (!rc)
                rc = snapshots_start(a, &r->snapshots, e);
        if (!rc)
                rc = publish_start(a, &a->publisher, e);
        if (!rc)
                rc = virt_start(a->config.libvirt_uri, &hooks, &a->virt, e);
        if (!rc) {
                a->started = true;
                agent_poke(a, 0, "node");
                agent_poke(a, 0, "offers");
                agent_poke(a, 0, "stale"); /* of an agent that was killed */
                proofs_nudge(a->proofs);   /* the mounts may have been quicker than the rest */
                http_server_ready(r->health, true);
        }
        return rc;
}

/*
 * Guests and running migrations do not notice. Whatever hangs in libvirt is not waited for: then
 * the process just ends.
 */
static void stop(struct run *r)
{
        struct agent *a = &r->a;

        a->ending = true;
        http_server_stop(r->health, 0, 100);
        kube_watch_stop(r->vms);
        kube_watch_stop(r->pods);
        kube_watch_stop(r->moving);
        kube_watch_stop(r->arriving);
        kube_watch_stop(r->images);
        kube_watch_stop(r->snapshots);
        if (moves_count(a->moves) || !work_free(a->work, END_MS)) {
                log_msg(LOG_INFO, "ending with work under way, which goes on without us", NULL);
                _exit(0);
        }
        virt_stop(a->virt);
        proofs_stop(a->proofs);
        mounts_stop(a->mounts);
        publish_stop(a->publisher); /* which has been asking both */
        proofs_free(a->proofs);
        mounts_free(a->mounts);
        moves_stop(a->moves);
        kube_store_free(a->vms);
        kube_store_free(a->pods);
        kube_store_free(a->moving);
        kube_store_free(a->arriving);
        kube_store_free(a->images);
        kube_store_free(a->snapshots);
        kube_client_free(a->kube);
        starts_free(a->starts);
        copies_free(a->copies);
        holds_free(a->holds);
        table_free(a->table);
        agent_config_free(&a->config);
}

/* Many threads that mostly sleep: small stacks and few malloc arenas keep the process small. */
static void keep_small(void)
{
        pthread_attr_t attr;

        mallopt(M_ARENA_MAX, 2);
        if (!pthread_attr_init(&attr)) {
                if (!pthread_attr_setstacksize(&attr, STACK_SIZE))
                        pthread_setattr_default_np(&attr);
                pthread_attr_destroy(&attr);
        }
}

int main(int argc, char **argv)
{
        static struct run r;
        sigset_t ends;
        int sig;
        struct err e;

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        if (argc > 1 && !strcmp(argv[1], "doctor"))
                return agent_doctor(argc - 2, argv + 2);
        if (argc > 1 && !strcmp(argv[1], "mount-pools"))
                return mount_pools_main(argc - 2, argv + 2);
        log_init("agent");
        int rc = agent_config_parse(argc, argv, &r.a.config, &e);
        if (rc > 0)
                return 0;
        if (rc) {
                fprintf(stderr, "drover-agent: %s\n", e.msg);
                return 2;
        }
        sigemptyset(&ends);
        sigaddset(&ends, SIGTERM);
        sigaddset(&ends, SIGINT);
        pthread_sigmask(SIG_BLOCK, &ends, NULL);
        signal(SIGPIPE, SIG_IGN);
        keep_small();
        if (start(&r, &e)) {
                log_err(&e, "cannot start", NULL);
                return 1;
        }
        log_msg(LOG_INFO, "agent runs", "node", r.a.config.node, NULL);
        sigwait(&ends, &sig);
        stop(&r);
        return 0;
}
