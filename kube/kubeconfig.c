/* kubeconfig files. Every error names the field it is about, as "clusters[NAME].server". */
#include "base/file.h"
#include "kube/base64.h"
#include "kube/config.h"
#include "kube/token.h"
#include "kube/yaml.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX_BYTES ((size_t)4 << 20)
#define ARENA_MAX      ((size_t)8 << 20)

struct reader {
        yaml_document_t doc;
        struct arena *arena;
        const char *dir;     /* of the file: relative paths start there */
        const char *section; /* "clusters" or "users" */
        const char *name;    /* of the entry in it */
        yaml_node_t *node;   /* its "cluster" or "user" */
};

static int no_memory(struct err *e)
{
        return err_sys(e, -ENOMEM, "read the configuration");
}

static int wrong(const struct reader *r, struct err *e, const char *field, const char *what)
{
        return err_set(e, -EINVAL, "%s[%s].%s: %s", r->section, r->name, field, what);
}

static const char *text(struct reader *r, const char *field)
{
        return kube_yaml_text(kube_yaml_get(&r->doc, r->node, field));
}

/* A field that says we should behave in a way that we do not know is refused, not ignored. */
static int refuse(struct reader *r, const char *const fields[], struct err *e)
{
        for (int i = 0; fields[i]; i++)
                if (kube_yaml_get(&r->doc, r->node, fields[i]))
                        return wrong(r, e, fields[i], "is not supported");
        return 0;
}

static int full_path(struct reader *r, const char *path, const char **out, struct err *e)
{
        *out = *path == '/' ? arena_strdup(r->arena, path)
                            : arena_printf(r->arena, "%s/%s", r->dir, path);
        return *out ? 0 : no_memory(e);
}

/* FIELD-data (base64) or FIELD (a path) as PEM text; *out stays NULL when neither is there. */
static int pem(struct reader *r, const char *field, const char **out, struct err *e)
{
        autobuf struct buf b = buf_new(FILE_MAX_BYTES);
        char data_field[64];
        const char *data, *path;
        int rc;

        snprintf(data_field, sizeof(data_field), "%s-data", field);
        data = text(r, data_field);
        path = text(r, field);
        if (data) {
                field = data_field;
                rc = kube_base64_decode(data, &b);
                if (rc == -ENOMEM)
                        return no_memory(e);
                if (rc < 0)
                        return wrong(r, e, field, rc == -EINVAL ? "is not base64" : "is too large");
        } else if (path && *path) {
                rc = full_path(r, path, &path, e);
                if (rc == 0)
                        rc = file_read(path, &b, e);
                if (rc < 0)
                        return e ? err_wrap(e, "%s[%s].%s", r->section, r->name, field) : rc;
        } else {
                return 0;
        }
        if (!strstr(buf_str(&b), "-----BEGIN "))
                return wrong(r, e, field, "has no PEM text in it");
        *out = arena_strdup(r->arena, buf_str(&b));
        return *out ? 0 : no_memory(e);
}

static int server(struct reader *r, struct kube_config *cfg, struct err *e)
{
        const char *url = text(r, "server");
        size_t n, scheme;

        if (!url || !*url)
                return wrong(r, e, "server", "is missing");
        scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
        n = strlen(url);
        while (n > scheme && url[n - 1] == '/')
                n--;
        if (!scheme || n == scheme || strpbrk(url, " \t\r\n?#@"))
                return wrong(r, e, "server", "is not a URL like https://host:port");
        cfg->server = arena_printf(r->arena, "%.*s", (int)n, url);
        return cfg->server ? 0 : no_memory(e);
}

static int cluster(struct reader *r, struct kube_config *cfg, struct err *e)
{
        static const char *const unknown[] = {"proxy-url", "tls-server-name", NULL};
        int rc = refuse(r, unknown, e);

        if (rc == 0)
                rc = server(r, cfg, e);
        if (rc == 0)
                rc = pem(r, "certificate-authority", &cfg->ca_pem, e);
        if (rc < 0)
                return rc;
        cfg->insecure = kube_yaml_true(kube_yaml_get(&r->doc, r->node, "insecure-skip-tls-verify"));
        if (cfg->insecure && cfg->ca_pem)
                return wrong(r, e, "insecure-skip-tls-verify",
                             "contradicts the certificate-authority beside it");
        return 0;
}

static int token(struct reader *r, struct kube_config *cfg, struct err *e)
{
        const char *file = text(r, "tokenFile"), *fixed = text(r, "token");
        autofree char *checked = NULL;
        struct kube_token t = {0};
        int rc;

        if (file && *file) {
                rc = full_path(r, file, &cfg->token_file, e);
                if (rc == 0)
                        rc = kube_token_refresh(&t, cfg->token_file, mono_now(), 0, NULL, e);
                kube_token_free(&t);
                return rc < 0 && e ? err_wrap(e, "users[%s].tokenFile", r->name) : rc;
        }
        if (!fixed || !*fixed)
                return 0;
        rc = kube_token_parse(fixed, &checked, e);
        if (rc < 0)
                return e ? err_wrap(e, "users[%s].token", r->name) : rc;
        cfg->token = arena_strdup(r->arena, checked);
        return cfg->token ? 0 : no_memory(e);
}

static int user(struct reader *r, struct kube_config *cfg, struct err *e)
{
        static const char *const unknown[] = {"exec", "auth-provider", "username",  "password",
                                              "as",   "as-uid",        "as-groups", "as-user-extra",
                                              NULL};
        int rc = refuse(r, unknown, e);

        if (rc == 0)
                rc = pem(r, "client-certificate", &cfg->cert_pem, e);
        if (rc == 0)
                rc = pem(r, "client-key", &cfg->key_pem, e);
        if (rc < 0)
                return rc;
        if (!cfg->cert_pem != !cfg->key_pem)
                return wrong(r, e, cfg->cert_pem ? "client-key" : "client-certificate",
                             "is missing");
        return token(r, cfg, e);
}

/* Points r at SECTION[name].KEY. */
static int enter(struct reader *r, const char *section, const char *key, const char *name,
                 struct err *e)
{
        yaml_node_t *list = kube_yaml_get(&r->doc, yaml_document_get_root_node(&r->doc), section);
        yaml_node_t *entry = kube_yaml_named(&r->doc, list, name);

        r->section = section;
        r->name = name;
        r->node = kube_yaml_get(&r->doc, entry, key);
        if (!entry)
                return err_set(e, -EINVAL, "%s: there is none named \"%s\"", section, name);
        if (!r->node || r->node->type != YAML_MAPPING_NODE)
                return wrong(r, e, key, "is missing");
        return 0;
}

static int fill(struct reader *r, const char *context, struct kube_config *cfg, struct err *e)
{
        yaml_node_t *root = yaml_document_get_root_node(&r->doc);
        const char *cluster_name, *user_name, *ns;
        int rc;

        if (!root || root->type != YAML_MAPPING_NODE)
                return err_set(e, -EINVAL, "not a kubeconfig: no map of fields in it");
        if (!context)
                context = kube_yaml_text(kube_yaml_get(&r->doc, root, "current-context"));
        if (!context || !*context)
                return err_set(e, -EINVAL, "current-context is not set");
        rc = enter(r, "contexts", "context", context, e);
        if (rc < 0)
                return rc;
        cluster_name = text(r, "cluster");
        user_name = text(r, "user");
        ns = text(r, "namespace");
        cfg->ns = arena_strdup(r->arena, ns && *ns ? ns : "default");
        if (!cfg->ns)
                return no_memory(e);
        if (!cluster_name)
                return wrong(r, e, "context.cluster", "is missing");
        rc = enter(r, "clusters", "cluster", cluster_name, e);
        if (rc == 0)
                rc = cluster(r, cfg, e);
        if (rc < 0 || !user_name || !*user_name)
                return rc;
        rc = enter(r, "users", "user", user_name, e);
        return rc == 0 ? user(r, cfg, e) : rc;
}

static int read_document(const char *path, struct reader *r, struct err *e)
{
        autobuf struct buf b = buf_new(FILE_MAX_BYTES);
        int rc = file_read(path, &b, e);

        return rc < 0 ? rc : kube_yaml_parse(buf_str(&b), b.len, &r->doc, e);
}

static char *directory(struct arena *a, const char *path)
{
        const char *slash = strrchr(path, '/');

        if (!slash)
                return arena_strdup(a, ".");
        return arena_printf(a, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

int kube_config_file(const char *path, const char *context, struct kube_config *out, struct err *e)
{
        struct kube_config cfg = {.arena = arena_new(ARENA_MAX)};
        struct reader r = {.arena = cfg.arena};
        int rc;

        r.dir = cfg.arena ? directory(cfg.arena, path) : NULL;
        if (!r.dir) {
                kube_config_free(&cfg);
                return no_memory(e);
        }
        rc = read_document(path, &r, e);
        if (rc == 0) {
                rc = fill(&r, context, &cfg, e);
                yaml_document_delete(&r.doc);
        }
        if (rc < 0) {
                kube_config_free(&cfg);
                return e ? err_wrap(e, "kubeconfig %s", path) : rc;
        }
        *out = cfg;
        return 0;
}
