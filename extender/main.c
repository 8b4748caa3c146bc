/*
 * drover-extender: answers kube-scheduler from what four watches show. It writes nothing to the
 * cluster.
 */
#include "base/guard.h"
#include "base/log.h"
#include "base/memory.h"
#include "extender/serve.h"
#include "extender/settings.h"
#include "kube/client.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SYNC_POLL_MS  50
#define COUNT_POLL_MS 1000
#define LINGER_MS     3000 /* the scheduler keeps its connection until it sees the endpoint gone */
#define DRAIN_MS      5000
#define HELP_MAX      8192
#define WATCHES       FLEET_KINDS
#define HEAPS         2           /* of malloc: fewer threads than that allocate much at once */
#define BIG           (256 << 10) /* bytes; such an allocation goes back to the system when freed */

struct feed {
        const char *kind;
        enum fleet_kind list;
        struct fleet *fleet;
        int (*apply)(struct fleet *f, enum kube_event type, const struct json *object,
                     struct err *e);
        struct kube_watch *watch;
};

static int apply_lease(struct fleet *f, enum kube_event type, const struct json *object,
                       struct err *e)
{
        return fleet_lease_event(f, type, object, mono_now(), wall_us(), e);
}

static void on_event(void *ctx, enum kube_event type, const struct json *object)
{
        const struct feed *feed = ctx;
        const struct json *meta = json_get(object, "metadata");
        struct err e;

        if (feed->apply(feed->fleet, type, object, &e) < 0)
                log_err(&e, "object not understood, its last state stays in use", "kind",
                        feed->kind, "namespace", json_str(meta, "namespace", ""), "name",
                        json_str(meta, "name", ""), NULL);
}

static void on_listing(void *ctx)
{
        const struct feed *feed = ctx;

        fleet_listing(feed->fleet, feed->list);
}

static void on_synced(void *ctx, const char *rv)
{
        const struct feed *feed = ctx;

        (void)rv;
        fleet_listed(feed->fleet, feed->list);
        log_msg(LOG_INFO, "list complete", "kind", feed->kind, NULL);
}

static void on_error(void *ctx, const struct err *e)
{
        const struct feed *feed = ctx;

        log_msg(LOG_WARN, "watch interrupted", "kind", feed->kind, "error", e->msg, NULL);
}

static int start_watches(struct kube_client *c, const struct settings *s,
                         struct feed feeds[WATCHES], struct err *e)
{
        const struct kube_watch_config cfg[WATCHES] = {
                {.resource = &KUBE_HOSTS},
                {.resource = &KUBE_VMS},
                {.resource = &KUBE_PODS, .label_selector = DROVER_VM_LABEL},
                {.resource = &KUBE_LEASES, .ns = s->ns},
        };

        for (int i = 0; i < WATCHES; i++) {
                struct kube_watch_config w = cfg[i];

                w.event = on_event;
                w.listing = on_listing;
                w.synced = on_synced;
                w.error = on_error;
                w.ctx = &feeds[i];
                if (kube_watch_start(c, &w, &feeds[i].watch, e) < 0)
                        return err_wrap(e, "watch %s", feeds[i].kind);
        }
        return 0;
}

static void stop_watches(struct feed feeds[WATCHES])
{
        for (int i = 0; i < WATCHES; i++)
                kube_watch_stop(feeds[i].watch);
}

static bool all_synced(const struct feed feeds[WATCHES])
{
        for (int i = 0; i < WATCHES; i++)
                if (!kube_watch_synced(feeds[i].watch))
                        return false;
        return true;
}

/* False after ms without a signal to end. */
static bool told_to_end(const sigset_t *signals, int ms)
{
        const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

        return sigtimedwait(signals, NULL, &t) > 0;
}

static void on_trouble(void *ctx, const struct err *e)
{
        (void)ctx;
        log_err(e, "certificate files changed and cannot be used, those before stay in use", NULL);
}

struct servers {
        struct http_server *https, *health;
};

static int start_servers(const struct settings *s, struct service *service, struct servers *out,
                         struct err *e)
{
        struct http_config https = s->https;

        https.trouble = on_trouble;
        if (!https.cert)
                log_msg(LOG_WARN, "no certificate given: serving plain HTTP", NULL);
        if (http_server_start(&https, SERVE_ROUTES, countof(SERVE_ROUTES), service, &out->https,
                              e) < 0)
                return err_wrap(e, "serve the scheduler");
        if (s->health.port && http_server_start(&s->health, NULL, 0, NULL, &out->health, e) < 0) {
                http_server_stop(out->https, 0, 0);
                return err_wrap(e, "serve health and metrics");
        }
        return 0;
}

static void serve_until_told(const struct servers *servers, struct service *service,
                             struct feed feeds[WATCHES], const sigset_t *signals)
{
        bool ready = false;

        while (!told_to_end(signals, ready ? COUNT_POLL_MS : SYNC_POLL_MS)) {
                service_count(service);
                if (ready || !all_synced(feeds))
                        continue;
                ready = true;
                memory_settle(); /* reading the lists took more than keeping them */
                http_server_ready(servers->https, true);
                if (servers->health)
                        http_server_ready(servers->health, true);
                log_msg(LOG_INFO, "ready", NULL);
        }
        log_msg(LOG_INFO, "told to end, finishing requests", NULL);
        if (servers->health)
                http_server_ready(servers->health, false);
        http_server_stop(servers->https, LINGER_MS, DRAIN_MS);
        if (servers->health)
                http_server_stop(servers->health, 0, 0);
}

static int run(const struct settings *s, struct kube_client *client, const sigset_t *signals,
               struct err *e)
{
        struct fleet *fleet = fleet_new(&s->fleet);
        struct feed feeds[WATCHES] = {
                {"VirtualMachineHost", FLEET_HOSTS, fleet, fleet_host_event, NULL},
                {"VirtualMachine", FLEET_VMS, fleet, fleet_vm_event, NULL},
                {"Pod", FLEET_PODS, fleet, fleet_pod_event, NULL},
                {"Lease", FLEET_LEASES, fleet, apply_lease, NULL}};
        struct servers servers = {NULL, NULL};
        struct service service;
        int rc;

        if (!fleet)
                return err_sys(e, -ENOMEM, "start");
        service_init(&service, fleet, s->https.max_body);
        service.client = s->client;
        rc = start_watches(client, s, feeds, e);
        if (rc == 0)
                rc = start_servers(s, &service, &servers, e);
        if (rc == 0)
                serve_until_told(&servers, &service, feeds, signals);
        stop_watches(feeds);
        fleet_free(fleet);
        return rc;
}

static int print_help(void)
{
        autobuf struct buf b = buf_new(HELP_MAX);

        return settings_help(&b) < 0 || fputs(buf_str(&b), stdout) < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
        struct kube_client *client = NULL;
        struct kube_config kube = {0};
        struct settings s;
        sigset_t signals;
        struct err e;
        int rc;

        log_init("drover-extender");
        if (guard_process(&e) < 0)
                log_msg(LOG_WARN, "its key is not as safe as it could be", "error", e.msg, NULL);
        rc = settings_parse(argc, argv, &s, &e);
        if (rc > 0)
                return print_help();
        /* Blocked before any thread is made, so that only sigtimedwait takes them. */
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        signal(SIGPIPE, SIG_IGN);
        mallopt(M_ARENA_MAX, HEAPS);
        mallopt(M_MMAP_THRESHOLD, BIG); /* bodies with whole Nodes */
        if (rc == 0)
                rc = kube_config_load(s.kubeconfig, NULL, &kube, &e);
        if (rc == 0)
                rc = kube_client_new(&kube, "drover-extender", &client, &e);
        if (rc == 0)
                rc = run(&s, client, &signals, &e);
        if (client)
                kube_client_free(client);
        kube_config_free(&kube);
        if (rc < 0)
                log_err(&e, "cannot go on", NULL);
        return rc < 0 ? 1 : 0;
}
