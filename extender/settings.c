#include "extender/settings.h"

#include "base/options.h"

#include <errno.h>
#include <string.h>

#define PORT_MAX 65535

/* As the words and variables give them, before they are judged. */
struct raw {
        const char *address, *cert, *key, *client_ca, *client, *kubeconfig, *ns, *score;
        int64_t port, health_port, threads, silent_s, migrations_per_node, max_body_mib;
};

static const struct raw defaults = {
        .client = "drover-scheduler",
        .ns = DROVER_NAMESPACE,
        .score = "spread",
        .port = 8443,
        .health_port = 9404,
        .threads = 2,
        .silent_s = CAPACITY_SILENT_MS / 1000,
        .migrations_per_node = 2,
        .max_body_mib = 16,
};

#define ROWS 14
static void fill_rows(struct raw *r, struct option_row rows[ROWS])
{
        const struct option_row filled[ROWS] = {
                OPTION_TEXT("address", "DROVER_ADDRESS", "IP", "listen on this address alone",
                            &r->address),
                OPTION_NUMBER("port", "DROVER_PORT", "PORT", "HTTPS port for the scheduler",
                              &r->port, 0, PORT_MAX),
                OPTION_NUMBER("health-port", "DROVER_HEALTH_PORT", "PORT",
                              "plain HTTP port of /healthz, /readyz and /metrics, 0: none",
                              &r->health_port, 0, PORT_MAX),
                OPTION_TEXT("cert", "DROVER_CERT", "FILE",
                            "serving certificate, PEM; without it plain HTTP", &r->cert),
                OPTION_TEXT("key", "DROVER_KEY", "FILE", "its private key, PEM", &r->key),
                OPTION_TEXT("client-ca", "DROVER_CLIENT_CA", "FILE",
                            "require a client certificate signed by one of these", &r->client_ca),
                OPTION_TEXT("client-name", "DROVER_CLIENT_NAME", "NAME",
                            "common name that the client's certificate must have, with client-ca; "
                            "\"\": any",
                            &r->client),
                OPTION_NUMBER("threads", "DROVER_THREADS", "N", "HTTP threads", &r->threads, 1, 64),
                OPTION_TEXT("kubeconfig", NULL, "FILE",
                            "how to reach the API server; in a pod not needed", &r->kubeconfig),
                OPTION_TEXT("namespace", "DROVER_NAMESPACE", "NAME",
                            "where the heartbeat Leases are", &r->ns),
                OPTION_NUMBER("silent-seconds", "DROVER_SILENT_SECONDS", "N",
                              "a host not heard from for longer is not chosen", &r->silent_s, 1,
                              3600),
                OPTION_TEXT("score", "DROVER_SCORE", "POLICY", "spread or pack", &r->score),
                OPTION_NUMBER("migrations-per-node", "DROVER_MIGRATIONS_PER_NODE", "N",
                              "that of the migrator: a host with less of them free scores worse",
                              &r->migrations_per_node, 1, 100),
                OPTION_NUMBER("max-body-mib", "DROVER_MAX_BODY_MIB", "N",
                              "largest call: 500 whole Nodes (nodeCacheCapable: false) may take "
                              "half of it",
                              &r->max_body_mib, 1, 64),
        };

        memcpy(rows, filled, sizeof(filled));
}

static int policy_parse(const char *text, enum capacity_policy *out)
{
        if (strcmp(text, "spread") == 0)
                *out = CAPACITY_SPREAD;
        else if (strcmp(text, "pack") == 0)
                *out = CAPACITY_PACK;
        else
                return -EINVAL;
        return 0;
}

int settings_parse(int argc, char **argv, struct settings *out, struct err *e)
{
        struct option_row rows[ROWS];
        struct raw r = defaults;
        struct settings s = {0};
        int rc;

        fill_rows(&r, rows);
        rc = options_parse(argc, argv, rows, ROWS, NULL, e);
        if (rc != 0)
                return rc;
        if (policy_parse(r.score, &s.fleet.policy) < 0)
                return err_set(e, -EINVAL, "score: \"%s\" is neither spread nor pack", r.score);
        if (!r.cert != !r.key)
                return err_set(e, -EINVAL, "cert and key: one without the other");
        if (r.client_ca && !r.cert)
                return err_set(e, -EINVAL, "client-ca: needs cert and key");
        s.fleet.silent_ms = r.silent_s * 1000;
        s.fleet.migration_slots = r.migrations_per_node;
        s.https = (struct http_config){
                .address = r.address,
                .port = (uint16_t)r.port,
                .cert = r.cert,
                .key = r.key,
                .client_ca = r.client_ca,
                .threads = (unsigned)r.threads,
                .max_body = (size_t)r.max_body_mib << 20,
        };
        s.health = (struct http_config){
                .address = r.address, .port = (uint16_t)r.health_port, .threads = 1};
        s.kubeconfig = r.kubeconfig;
        s.ns = r.ns;
        s.client = r.client_ca && *r.client ? r.client : NULL;
        *out = s;
        return 0;
}

int settings_help(struct buf *b)
{
        struct option_row rows[ROWS];
        struct raw r = defaults;

        fill_rows(&r, rows);
        return options_help(b, "drover-extender [FLAGS]",
                            "kube-scheduler extender: says which hypervisors can take a virtual "
                            "machine, and how well.",
                            rows, ROWS);
}
