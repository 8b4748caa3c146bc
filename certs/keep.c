#include "certs/keep.h"

#include "base/log.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "http/server.h"

#include <unistd.h>

#define PAUSE_S    60
#define SOON_S     5
#define FAILED_MAX 300 /* seconds to the next attempt, doubled each time: some failures last */
#define DRAIN_MS   1000
#define CHANGED    SIGUSR1 /* from the watch to the loop; pending twice is pending once */

static struct {
        struct metric *expiry, *runs, *right;
} metrics;

static void register_metrics(void)
{
        metrics.expiry = metric_gauge("drover_certificate_expiry_timestamp_seconds",
                                      "When the certificate in a Secret ends.", "secret");
        metrics.runs = metric_counter("drover_certificate_runs",
                                      "Examinations of all certificates.", "result");
        metrics.right = metric_gauge("drover_certificates_right_timestamp_seconds",
                                     "When all certificates were last as they should be.", NULL);
}

static void on_report(void *ctx, const char *object, const char *why, const struct err *failure)
{
        size_t *written = ctx;

        if (failure) {
                log_err(failure, "not as it should be", "object", object, NULL);
                return;
        }
        ++*written;
        log_msg(LOG_INFO, "written", "object", object, "why", why, NULL);
}

static void on_expires(void *ctx, const char *secret, int64_t at_s)
{
        (void)ctx;
        metric_set(metrics.expiry, secret, (double)at_s);
}

static int examine(struct kube_client *c, const struct ensure_config *cfg, size_t *written,
                   struct err *e)
{
        const struct ensure_hooks hooks = {on_report, on_expires, written};
        struct ensure_config now = *cfg;

        now.now_s = wall_us() / 1000000;
        int rc = ensure_all(c, &now, &hooks, e);
        metric_add(metrics.runs, rc < 0 ? "failed" : "ok", 1);
        if (rc >= 0)
                metric_set(metrics.right, NULL, (double)now.now_s);
        return rc;
}

int keep_once(struct kube_client *c, const struct ensure_config *cfg, struct err *e)
{
        size_t written = 0;
        int rc = examine(c, cfg, &written, e);

        if (rc >= 0 && written == 0)
                log_msg(LOG_INFO, "all certificates are as they should be", NULL);
        if (rc > 0)
                log_msg(LOG_INFO, "a rotation of the CA is under way: run again", NULL);
        return rc < 0 ? rc : 0;
}

void keep_block_signals(sigset_t *signals)
{
        sigemptyset(signals);
        sigaddset(signals, SIGTERM);
        sigaddset(signals, SIGINT);
        sigaddset(signals, CHANGED);
        sigprocmask(SIG_BLOCK, signals, NULL);
}

/* On the client's thread, which must not wait. */
static void on_event(void *ctx, enum kube_event type, const struct json *object)
{
        (void)ctx, (void)type, (void)object;
        kill(getpid(), CHANGED);
}

static void on_error(void *ctx, const struct err *e)
{
        (void)ctx;
        log_msg(LOG_WARN, "watch interrupted", "kind", "Secret", "error", e->msg, NULL);
}

/* 0 after so many seconds without a signal. */
static int wait_for_signal(const sigset_t *signals, int seconds)
{
        const struct timespec t = {seconds, 0};
        int signal = sigtimedwait(signals, NULL, &t);

        return signal < 0 ? 0 : signal;
}

static void keep(struct kube_client *c, const struct ensure_config *cfg, struct http_server *health,
                 const sigset_t *signals)
{
        int signal = 0, failed_s = SOON_S;
        size_t written = 0;
        struct err e;

        while (signal != SIGTERM && signal != SIGINT) {
                int rc = examine(c, cfg, &written, &e); /* has said what failed */

                if (rc >= 0) {
                        http_server_ready(health, true);
                        failed_s = SOON_S;
                }
                signal = wait_for_signal(signals, rc == 0 ? PAUSE_S : rc > 0 ? SOON_S : failed_s);
                if (rc < 0)
                        failed_s = signal == CHANGED           ? SOON_S
                                   : failed_s * 2 < FAILED_MAX ? failed_s * 2
                                                               : FAILED_MAX;
        }
}

int keep_run(struct kube_client *c, const struct ensure_config *cfg, uint16_t port,
             const sigset_t *signals, struct err *e)
{
        /* The bundle's Secret, which tells no secret: the CA's keys are read when needed alone. */
        const struct kube_watch_config bundle = {.resource = &KUBE_SECRETS,
                                                 .ns = cfg->ns,
                                                 .field_selector = "metadata.name=drover-ca",
                                                 .event = on_event,
                                                 .error = on_error};
        const struct http_config listen = {.port = port, .threads = 1, .max_connections = 32};
        struct http_server *health = NULL;
        struct kube_watch *watch = NULL;

        register_metrics();
        int rc = http_server_start(&listen, NULL, 0, NULL, &health, e);
        if (rc < 0)
                return err_wrap(e, "serve health and metrics");
        rc = kube_watch_start(c, &bundle, &watch, e);
        if (rc == 0) {
                keep(c, cfg, health, signals);
                kube_watch_stop(watch);
        }
        http_server_stop(health, 0, DRAIN_MS);
        return rc;
}
