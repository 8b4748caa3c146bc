/*
 * drover-migrator: decides what starts, moves and stops, and is the only writer of
 * VirtualMachine.status. Several replicas watch; the one that holds the Lease acts.
 */
#include "base/log.h"
#include "base/options.h"
#include "http/server.h"
#include "kube/lease.h"
#include "migrator/images.h"
#include "migrator/metrics.h"
#include "migrator/snapshots.h"
#include "migrator/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS    1000
#define RETRY_MS   1000
#define STANDBY_MS 200 /* between looks for the signal to end */

struct config {
        const char *kubeconfig, *handle_image, *identity;
        int64_t port;
        struct permit_limits limits;
};

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
        (void)sig;
        stopping = 1;
}

static void work(struct world *w, const struct config *cfg, const struct actor *actor)
{
        char key[KUBE_KEY_MAX];
        struct err e;
        int rc;

        world_tick(w, mono_now());
        if (!kube_queue_take(w->queue, key, TICK_MS))
                return;
        rc = images_key(key)      ? images_work(actor, key, &e)
             : snapshots_key(key) ? snapshots_work(actor, key, &e)
                                  : worker_vm(actor, &cfg->limits, key, &e);
        if (rc < 0) {
                if (rc != -EAGAIN)
                        log_err(&e, "not carried out, will be tried again", "key", key, NULL);
                kube_queue_retry(w->queue, key);
        } else {
                kube_queue_forget(w->queue, key);
        }
        kube_queue_done(w->queue, key);
}

/* Until the end is asked for or the Lease is lost; then nothing more is written. */
static int lead(struct world *w, const struct config *cfg, struct kube_election *el,
                struct news *news)
{
        const struct actor actor = {w, cfg->handle_image, el, kube_election_term(el), news};
        bool taken_over = false;
        struct mono until;
        struct err e;

        log_msg(LOG_INFO, "leading", "identity", cfg->identity, NULL);
        while (!stopping) {
                if (!kube_election_leads(el, actor.term, &until)) {
                        log_msg(LOG_WARN, "the Lease is lost", NULL);
                        return 1; /* started again as a follower, with nothing remembered */
                }
                if (taken_over) {
                        work(w, cfg, &actor);
                } else if (world_take_over(w, &e) == 0) {
                        taken_over = true;
                } else {
                        log_err(&e, "what the last leader wrote is not known yet", NULL);
                        usleep(RETRY_MS * 1000);
                }
        }
        return 0;
}

static void election_error(void *ctx, const struct err *e)
{
        (void)ctx;
        log_err(e, "election", NULL);
}

static int run(struct kube_client *client, struct http_server *http, const struct config *cfg,
               struct err *e)
{
        const struct kube_election_config election = {
                .ns = DROVER_NAMESPACE,
                .name = "drover-migrator",
                .identity = cfg->identity,
                .lease_ms = ACT_LEASE_MS,
                .renew_ms = ACT_RENEW_MS,
                .retry_ms = 2000,
                .error = election_error,
        };
        struct kube_election *el = NULL;
        struct news *news = NULL;
        struct world w;
        int rc = world_start(client, &w, e);

        if (rc < 0)
                return rc;
        while (!stopping && !world_synced(&w))
                usleep(20000);
        http_server_ready(http, true);
        log_msg(LOG_INFO, "all lists complete", NULL);
        rc = news_start(client, &news, e);
        if (rc == 0)
                rc = kube_election_start(client, &election, &el, e);
        while (rc == 0 && !stopping && !kube_election_wait(el, STANDBY_MS))
                ;
        if (rc == 0 && !stopping)
                rc = lead(&w, cfg, el, news);
        kube_election_stop(el);
        news_stop(news);
        world_stop(&w);
        return rc;
}

static int parse(int argc, char **argv, struct config *cfg)
{
        const struct option_row rows[] = {
                OPTION_TEXT("kubeconfig", "KUBECONFIG", "FILE",
                            "kubeconfig; the pod's ServiceAccount when not given",
                            &cfg->kubeconfig),
                OPTION_TEXT("handle-image", "DROVER_HANDLE_IMAGE", "IMAGE",
                            "image of the VMs' handle pods", &cfg->handle_image),
                OPTION_TEXT("identity", "POD_NAME", "NAME", "who holds the Lease", &cfg->identity),
                OPTION_NUMBER("port", "DROVER_PORT", "PORT", "of health and metrics", &cfg->port, 0,
                              65535),
                OPTION_NUMBER("migrations", "DROVER_MIGRATIONS", "N",
                              "at a time in the whole cluster", &cfg->limits.total, 1, 1000),
                OPTION_NUMBER("migrations-per-node", "DROVER_MIGRATIONS_PER_NODE", "N",
                              "at a time out of a node, and into it", &cfg->limits.per_node, 1,
                              100),
        };
        struct buf help autobuf = buf_new(8192);
        struct err e;
        int rc = options_parse(argc, argv, rows, countof(rows), NULL, &e);

        if (rc < 0)
                fprintf(stderr, "drover-migrator: %s\n", e.msg);
        if (rc == 1) {
                options_help(&help, "drover-migrator [FLAGS]",
                             "Decides what starts, moves and stops; runs the migrations.", rows,
                             countof(rows));
                fputs(buf_str(&help), stdout);
        }
        return rc;
}

int main(int argc, char **argv)
{
        struct config cfg = {.handle_image = "drover/handle:dev",
                             .identity = "drover-migrator",
                             .port = 9402,
                             .limits = {5, 2}};
        struct http_config listen = {0};
        struct kube_config kc = {0};
        struct kube_client *client = NULL;
        struct http_server *http = NULL;
        struct err e;
        int rc = parse(argc, argv, &cfg);

        if (rc)
                return rc < 0 ? 2 : 0;
        log_init("drover-migrator");
        signal(SIGTERM, on_signal);
        signal(SIGINT, on_signal);
        signal(SIGPIPE, SIG_IGN);
        metrics_register();
        listen.port = (uint16_t)cfg.port;
        rc = http_server_start(&listen, NULL, 0, NULL, &http, &e);
        if (rc == 0)
                rc = kube_config_load(cfg.kubeconfig, NULL, &kc, &e);
        if (rc == 0)
                rc = kube_client_new(&kc, "drover-migrator", &client, &e);
        if (rc == 0)
                rc = run(client, http, &cfg, &e);
        if (rc < 0)
                log_err(&e, "cannot go on", NULL);
        kube_client_free(client);
        kube_config_free(&kc);
        http_server_stop(http, 0, 1000);
        return rc ? 1 : 0;
}
