/* Where a configuration comes from, and what every one must satisfy. */
#include "kube/config.h"

#include "base/file.h"
#include "kube/token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define CONFIG_MAX      ((size_t)8 << 20)
#define PEM_MAX         ((size_t)1 << 20)

void kube_config_free(struct kube_config *cfg)
{
        arena_free(cfg->arena);
        *cfg = (struct kube_config){0};
}

static int no_memory(struct err *e)
{
        return err_sys(e, -ENOMEM, "read the configuration");
}

/* dir/name as a string of the arena; the file's text too when *text is wanted. */
static int in_dir(struct arena *a, const char *dir, const char *name, const char **path,
                  const char **text, struct err *e)
{
        autobuf struct buf b = buf_new(PEM_MAX);
        const char *p = arena_printf(a, "%s/%s", dir, name);
        int rc;

        if (!p)
                return no_memory(e);
        if (path)
                *path = p;
        if (!text)
                return 0;
        rc = file_read(p, &b, e);
        if (rc < 0)
                return rc;
        *text = arena_strdup(a, buf_str(&b));
        return *text ? 0 : no_memory(e);
}

static int check_token(const char *path, struct err *e)
{
        struct kube_token t = {0};
        int rc = kube_token_refresh(&t, path, mono_now(), 0, NULL, e);

        kube_token_free(&t);
        return rc;
}

/* The namespace file is a help, not a need. */
static const char *own_namespace(struct arena *a, const char *dir)
{
        const char *text = NULL;
        size_t n;

        if (in_dir(a, dir, "namespace", NULL, &text, NULL) < 0)
                return "default";
        n = strcspn(text, " \t\r\n");
        return n ? arena_printf(a, "%.*s", (int)n, text) : "default";
}

static int fill_in_cluster(const char *dir, const char *host, const char *port,
                           struct kube_config *cfg, struct err *e)
{
        struct arena *a = cfg->arena;
        int rc = in_dir(a, dir, "token", &cfg->token_file, NULL, e);

        if (rc == 0)
                rc = check_token(cfg->token_file, e);
        if (rc == 0)
                rc = in_dir(a, dir, "ca.crt", NULL, &cfg->ca_pem, e);
        if (rc < 0)
                return rc;
        if (!strstr(cfg->ca_pem, "-----BEGIN "))
                return err_set(e, -EINVAL, "%s/ca.crt: no PEM certificate in it", dir);
        cfg->ns = own_namespace(a, dir);
        cfg->server = arena_printf(a, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host,
                                   port);
        return cfg->ns && cfg->server ? 0 : no_memory(e);
}

int kube_config_in_cluster(const char *dir, const char *host, const char *port,
                           struct kube_config *out, struct err *e)
{
        struct kube_config cfg = {.arena = arena_new(CONFIG_MAX)};
        int rc;

        dir = dir ? dir : SERVICE_ACCOUNT;
        host = host ? host : getenv("KUBERNETES_SERVICE_HOST");
        port = port ? port : getenv("KUBERNETES_SERVICE_PORT");
        if (!cfg.arena)
                rc = no_memory(e);
        else if (!host || !*host)
                rc = err_set(e, -EINVAL, "KUBERNETES_SERVICE_HOST is not set");
        else if (!port || !*port)
                rc = err_set(e, -EINVAL, "KUBERNETES_SERVICE_PORT is not set");
        else
                rc = fill_in_cluster(dir, host, port, &cfg, e);
        if (rc < 0) {
                kube_config_free(&cfg);
                return e ? err_wrap(e, "in-cluster configuration") : rc;
        }
        *out = cfg;
        return 0;
}

int kube_config_load(const char *path, const char *context, struct kube_config *out, struct err *e)
{
        autofree char *home = NULL;

        if (!path)
                path = getenv("KUBECONFIG");
        if (path && *path) {
                if (strchr(path, ':') && access(path, F_OK) < 0)
                        return err_set(e, -ENOTSUP, "KUBECONFIG names several files (%s); name one",
                                       path);
                return kube_config_file(path, context, out, e);
        }
        if (getenv("KUBERNETES_SERVICE_HOST") && access(SERVICE_ACCOUNT "/token", F_OK) == 0)
                return kube_config_in_cluster(NULL, NULL, NULL, out, e);
        if (!getenv("HOME"))
                return err_set(e, -ENOENT,
                               "neither KUBECONFIG nor HOME is set, and this is no pod");
        if (asprintf(&home, "%s/.kube/config", getenv("HOME")) < 0) {
                home = NULL;
                return no_memory(e);
        }
        return kube_config_file(home, context, out, e);
}
