/*
 * drover-certs: makes and renews the certificates of Drover's components. `run` keeps at it, as a
 * Deployment of one; `ensure` does it once and ends.
 */
#include "base/guard.h"
#include "base/log.h"
#include "base/options.h"
#include "certs/keep.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SECURE_HEAP     ((size_t)256 << 10)
#define SECURE_HEAP_MIN 32
#define HELP_MAX        8192
#define ROWS            10

struct settings {
        const char *kubeconfig;
        int64_t port;
        struct ensure_config ensure;
};

static void fill_rows(struct settings *s, struct option_row rows[ROWS])
{
        struct ensure_config *c = &s->ensure;
        const struct option_row filled[ROWS] = {
                OPTION_TEXT("kubeconfig", NULL, "FILE",
                            "how to reach the API server; in a pod not needed", &s->kubeconfig),
                OPTION_TEXT("namespace", "DROVER_NAMESPACE", "NAME", "where the Secrets are",
                            &c->ns),
                OPTION_TEXT("webhook-service", "DROVER_WEBHOOK_SERVICE", "NAME",
                            "Service of the webhook", &c->webhook_service),
                OPTION_TEXT("extender-service", "DROVER_EXTENDER_SERVICE", "NAME",
                            "Service of the extender", &c->extender_service),
                OPTION_TEXT("webhook-config", "DROVER_WEBHOOK_CONFIG", "NAME",
                            "name of both webhook configurations", &c->webhook_config),
                OPTION_NUMBER("ca-days", "DROVER_CA_DAYS", "N", "lifetime of the CA", &c->ca_days,
                              1, 36500),
                OPTION_NUMBER("serving-days", "DROVER_SERVING_DAYS", "N",
                              "lifetime of serving certificates", &c->serving_days, 1, 3650),
                OPTION_NUMBER("client-days", "DROVER_CLIENT_DAYS", "N",
                              "lifetime of the scheduler's certificate", &c->client_days, 1, 3650),
                OPTION_NUMBER("settle-seconds", "DROVER_SETTLE_SECONDS", "N",
                              "how long a changed Secret may take to reach those who read it",
                              &c->settle_s, 1, 86400),
                OPTION_NUMBER("port", "DROVER_PORT", "PORT",
                              "of run: health and metrics, plain HTTP; 0 takes a free one",
                              &s->port, 0, 65535),
        };

        memcpy(rows, filled, sizeof(filled));
}

/*
 * Private keys pass through this process, in Secrets as JSON, too: every freed piece of memory,
 * whoever freed it, is overwritten at once. The secure heap is locked under a limit as well.
 */
static void guard_memory(void)
{
        struct err e;

        mallopt(M_PERTURB, 0x5A);
        if (guard_process(&e) < 0)
                log_msg(LOG_WARN, "keys in memory are not as safe as they could be", "error", e.msg,
                        NULL);
        CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_HEAP_MIN);
}

static int work(const struct settings *s, bool keep, const sigset_t *signals, struct err *e)
{
        struct kube_client *client = NULL;
        struct kube_config kube = {0};
        int rc = kube_config_load(s->kubeconfig, NULL, &kube, e);

        if (rc == 0)
                rc = kube_client_new(&kube, "drover-certs", &client, e);
        if (rc == 0) {
                rc = keep ? keep_run(client, &s->ensure, (uint16_t)s->port, signals, e)
                          : keep_once(client, &s->ensure, e);
                kube_client_free(client);
        }
        kube_config_free(&kube);
        return rc;
}

static int print_help(const struct option_row rows[ROWS])
{
        autobuf struct buf b = buf_new(HELP_MAX);

        return options_help(&b, "drover-certs run|ensure [FLAGS]",
                            "Makes and renews the CA and the certificates of Drover's components: "
                            "run keeps at it, ensure does it once. Changes nothing that is as it "
                            "should be.",
                            rows, ROWS) < 0 ||
                               fputs(buf_str(&b), stdout) < 0
                       ? 1
                       : 0;
}

int main(int argc, char **argv)
{
        struct settings s = {NULL,
                             9405,
                             {.ns = "drover-system",
                              .webhook_service = "drover-webhook",
                              .extender_service = "drover-extender",
                              .webhook_config = "drover",
                              .ca_days = 3650,
                              .serving_days = 90,
                              .client_days = 365,
                              .settle_s = 600}};
        struct option_row rows[ROWS];
        bool keep = argc > 1 && strcmp(argv[1], "run") == 0;
        bool verb = keep || (argc > 1 && strcmp(argv[1], "ensure") == 0);
        sigset_t signals;
        struct err e;
        int rc;

        log_init("drover-certs");
        fill_rows(&s, rows);
        rc = options_parse(argc - verb, argv + verb, rows, ROWS, NULL, &e);
        if (rc > 0)
                return print_help(rows);
        if (rc == 0 && !verb)
                rc = err_set(&e, -EINVAL, "say what to do: drover-certs run or ensure, see --help");
        if (rc == 0) {
                guard_memory();
                keep_block_signals(&signals); /* before any thread is made */
                signal(SIGPIPE, SIG_IGN);
                rc = work(&s, keep, &signals, &e);
        }
        if (rc < 0)
                log_err(&e, "cannot go on", NULL);
        return rc < 0 ? 1 : 0;
}
