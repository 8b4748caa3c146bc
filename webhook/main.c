/*
 * drover-webhook: admission of virtual machines, of their pods, and of evictions. All that it
 * writes to the cluster is the migration that an eviction becomes.
 */
#include "base/guard.h"
#include "base/log.h"
#include "base/options.h"
#include "webhook/review.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define LINGER_MS 5000 /* pods that end still get requests (kubernetes#127335) */
#define DRAIN_MS  5000
#define API_MS    3000 /* of the 10 s that the API server waits for us, see webhook/evict.c */
#define HEAPS     2    /* of malloc: fewer threads than that allocate much at once */
#define BIG       (256 << 10) /* bytes; such an allocation goes back to the system when freed */

struct settings {
        struct http_config http;
        const char *kubeconfig, *scheduler;
        int64_t port, threads, slow_threads;
};

static int parse(int argc, char **argv, struct settings *s)
{
        const struct option_row rows[] = {
                OPTION_TEXT("address", "DROVER_ADDRESS", "IP", "listen on this address alone",
                            &s->http.address),
                OPTION_NUMBER("port", "DROVER_PORT", "PORT", "HTTPS port", &s->port, 0, 65535),
                OPTION_TEXT("cert", "DROVER_CERT", "FILE", "serving certificate, PEM",
                            &s->http.cert),
                OPTION_TEXT("key", "DROVER_KEY", "FILE", "its private key, PEM", &s->http.key),
                OPTION_TEXT("kubeconfig", "KUBECONFIG", "FILE",
                            "how to reach the API server; in a pod not needed", &s->kubeconfig),
                OPTION_TEXT("scheduler-name", "DROVER_SCHEDULER", "NAME",
                            "scheduler of VM pods; without it they keep the default one",
                            &s->scheduler),
                OPTION_NUMBER("threads", "DROVER_THREADS", "N", "HTTP threads; they never wait",
                              &s->threads, 1, 64),
                OPTION_NUMBER("slow-threads", "DROVER_SLOW_THREADS", "N",
                              "threads that wait for the API server", &s->slow_threads, 1, 64),
        };
        struct buf help autobuf = buf_new(8192);
        struct err e;
        int rc = options_parse(argc, argv, rows, countof(rows), NULL, &e);

        if (rc < 0)
                fprintf(stderr, "drover-webhook: %s\n", e.msg);
        if (rc == 1) {
                options_help(
                        &help, "drover-webhook [FLAGS]",
                        "Validates virtual machines and gives their pods the required affinity.",
                        rows, countof(rows));
                fputs(buf_str(&help), stdout);
        }
        s->http.port = (uint16_t)s->port;
        s->http.threads = (unsigned)s->threads;
        s->http.slow_threads = (unsigned)s->slow_threads;
        s->http.max_body = REVIEW_BODY_MAX;
        return rc;
}

static void trouble(void *ctx, const struct err *e)
{
        (void)ctx;
        log_err(e, "certificate files changed and cannot be used, those before stay in use", NULL);
}

/* False after ms without a signal to end. */
static bool told_to_end(const sigset_t *signals, int ms)
{
        const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

        return sigtimedwait(signals, NULL, &t) > 0;
}

static int serve(const struct settings *s, struct kube_client *client, const sigset_t *signals,
                 struct err *e)
{
        struct hosts hosts;
        struct webhook hook = {.client = client, .hosts = &hosts, .scheduler = s->scheduler};
        struct http_server *http;
        bool ready = false;
        int rc = cache_start(client, &hook.cache, e);

        if (rc < 0)
                return rc;
        hosts_init(&hosts, client);
        rc = http_server_start(&s->http, REVIEW_ROUTES, countof(REVIEW_ROUTES), &hook, &http, e);
        if (rc == 0) {
                while (!told_to_end(signals, ready ? 60000 : 20))
                        if (!ready && cache_synced(hook.cache)) {
                                ready = true;
                                http_server_ready(http, true);
                                log_msg(LOG_INFO, "ready", NULL);
                        }
                http_server_stop(http, LINGER_MS, DRAIN_MS);
        }
        hosts_free(&hosts);
        cache_stop(hook.cache);
        return rc;
}

int main(int argc, char **argv)
{
        struct settings s = {.scheduler = "",
                             .port = 8443,
                             .threads = 2,
                             .slow_threads = 8,
                             .http.trouble = trouble};
        struct kube_client *client = NULL;
        struct kube_config kube = {0};
        sigset_t signals;
        struct err e;
        int rc = parse(argc, argv, &s);

        if (rc)
                return rc < 0 ? 2 : 0;
        log_init("drover-webhook");
        if (guard_process(&e) < 0)
                log_msg(LOG_WARN, "its key is not as safe as it could be", "error", e.msg, NULL);
        signal(SIGPIPE, SIG_IGN);
        mallopt(M_ARENA_MAX, HEAPS);
        mallopt(M_MMAP_THRESHOLD, BIG); /* bodies of large objects */
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigprocmask(SIG_BLOCK, &signals, NULL); /* before any thread is made */
        review_register_metrics();
        rc = kube_config_load(s.kubeconfig, NULL, &kube, &e);
        kube.request_ms = API_MS;
        if (rc == 0)
                rc = kube_client_new(&kube, "drover-webhook", &client, &e);
        if (rc == 0)
                rc = serve(&s, client, &signals, &e);
        if (rc < 0)
                log_err(&e, "cannot go on", NULL);
        kube_client_free(client);
        kube_config_free(&kube);
        return rc ? 1 : 0;
}
