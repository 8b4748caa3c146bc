/* The life of a client. */
#include "kube/io.h"

#include <errno.h>
#include <string.h>

#define CONFIG_MAX ((size_t)8 << 20)

static const struct kube_tuning DEFAULTS = {
        .connect_ms = 10000,
        .request_ms = 30000,
        .page_ms = 120000,
        .answer_ms = 30000,
        .page_silence_ms = 30000,
        .watch_silence_ms = 90000,
        .healthy_ms = 5000,
        .backoff_min_ms = 250,
        .backoff_max_ms = 30000,
        .token_age_ms = 60000,
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_state;

static void init_curl(void)
{
        curl_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int copy(struct arena *a, const char *from, const char **to)
{
        *to = arena_strdup(a, from);
        return from && !*to ? -ENOMEM : 0;
}

static int copy_config(const struct kube_config *from, struct kube_config *to)
{
        struct arena *a = arena_new(CONFIG_MAX);

        *to = (struct kube_config){.arena = a, .insecure = from->insecure};
        if (!a || copy(a, from->server, &to->server) || copy(a, from->ca_pem, &to->ca_pem) ||
            copy(a, from->cert_pem, &to->cert_pem) || copy(a, from->key_pem, &to->key_pem) ||
            copy(a, from->token, &to->token) || copy(a, from->token_file, &to->token_file) ||
            copy(a, from->ns, &to->ns))
                return -ENOMEM;
        return 0;
}

static void dispose(struct kube_client *c)
{
        kube_config_free(&c->cfg);
        kube_token_free(&c->token);
        free(c->user_agent);
        free(c);
}

int kube_client_new(const struct kube_config *cfg, const char *user_agent, struct kube_client **out,
                    struct err *e)
{
        struct kube_client *c;
        int rc;

        pthread_once(&curl_once, init_curl);
        if (curl_state != CURLE_OK)
                return err_set(e, -ENOMEM, "start libcurl: %s", curl_easy_strerror(curl_state));
        if (!cfg->server || (cfg->cert_pem && !cfg->key_pem))
                return err_set(e, -EINVAL, "the configuration names no %s",
                               cfg->server ? "key for the certificate" : "server");
        c = calloc(1, sizeof(*c));
        if (!c)
                return err_sys(e, -ENOMEM, "start a client");
        c->tune = DEFAULTS;
        c->user_agent = strdup(user_agent);
        if (!c->user_agent || copy_config(cfg, &c->cfg) < 0)
                rc = err_sys(e, -ENOMEM, "start a client");
        else
                rc = kube_io_start(c, e);
        if (rc < 0) {
                dispose(c);
                return rc;
        }
        *out = c;
        return 0;
}

void kube_client_limit(struct kube_client *c, int64_t ms)
{
        c->tune.request_ms = ms;
}

void kube_client_free(struct kube_client *c)
{
        if (!c)
                return;
        kube_io_stop(c);
        dispose(c);
}
