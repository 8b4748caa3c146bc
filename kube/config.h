/*
 * Where the API server is and who we are: a kubeconfig file (certificate-authority[-data],
 * client-certificate[-data], client-key[-data], token, tokenFile, insecure-skip-tls-verify; exec
 * plugins are refused by name) or, inside a pod, the mounted ServiceAccount, whose token is read
 * again when it is a minute old, because kubelet rotates it.
 */
#ifndef DROVER_KUBE_CONFIG_H
#define DROVER_KUBE_CONFIG_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>

struct kube_config {
        struct arena *arena; /* owns the strings below */
        const char *server;  /* "https://host:port", no trailing slash */
        const char *ca_pem;  /* NULL: the system's */
        const char *cert_pem, *key_pem;
        const char *token;      /* fixed bearer token */
        const char *token_file; /* re-read; wins over token */
        const char *ns;         /* default namespace, never NULL */
        bool insecure;
        /*
         * Time of a synchronous call, its connection and retries included; no file says it. 0: 30
         * s. Who has somebody waiting for the answer sets less.
         */
        unsigned request_ms;
};

/* path NULL: $KUBECONFIG, else in-cluster, else ~/.kube/config. context NULL: current-context. */
must_check int kube_config_load(const char *path, const char *context, struct kube_config *out,
                                struct err *e);
must_check int kube_config_file(const char *path, const char *context, struct kube_config *out,
                                struct err *e);
/* dir is /var/run/secrets/kubernetes.io/serviceaccount in a pod. */
must_check int kube_config_in_cluster(const char *dir, const char *host, const char *port,
                                      struct kube_config *out, struct err *e);
void kube_config_free(struct kube_config *cfg);

#endif
