/*
 * Certificate, key and client CA as files that others replace: cert-manager and kubelet swap a
 * symlink under them, an administrator may copy one after the other. A set is used only when it
 * was read whole and key and certificate belong together; until then the one before stays.
 */
#include "base/file.h"
#include "base/guard.h"
#include "http/internal.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX  ((size_t)1 << 20)
#define CHAIN_MAX 8
#define CA_MAX    32
#define NFILES    3

struct tls_set {
        atomic_uint refs;
        gnutls_pcert_st chain[CHAIN_MAX];
        unsigned nchain;
        gnutls_privkey_t key;
        /*
         * A list a CA: within one list GnuTLS takes the first of the issuer's name, which before
         * and after a rotation may be the same.
         */
        gnutls_x509_trust_list_t trust[CA_MAX];
        time_t expires;
};

/* A file as stat() finds it behind all symlinks. */
struct identity {
        dev_t dev;
        ino_t ino;
        off_t size;
        struct timespec mtime;
};

struct tls {
        char *path[NFILES]; /* certificate, key, client CA or NULL */
        struct identity seen[NFILES];
        pthread_mutex_t lock; /* now */
        struct tls_set *now;
        struct metric *loads, *expiry;
};

static int gnutls_err(struct err *e, int rc, const char *what, const char *path)
{
        return err_set(e, rc == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL, "%s %s: %s", what, path,
                       gnutls_strerror(rc));
}

static int read_pem(const char *path, struct buf *b, gnutls_datum_t *d, struct err *e)
{
        int rc = file_read(path, b, e);

        if (rc < 0)
                return rc;
        d->data = (unsigned char *)b->data;
        d->size = (unsigned)b->len;
        return 0;
}

static int load_chain(struct tls_set *set, const char *path, struct err *e)
{
        autobuf struct buf b = buf_new(FILE_MAX);
        gnutls_datum_t pem;
        gnutls_x509_crt_t leaf;

        int rc = read_pem(path, &b, &pem, e);
        if (rc < 0)
                return rc;
        unsigned n = CHAIN_MAX;
        rc = gnutls_pcert_list_import_x509_raw(set->chain, &n, &pem, GNUTLS_X509_FMT_PEM, 0);
        if (rc < 0)
                return gnutls_err(e, rc, "certificate", path);
        set->nchain = n;
        rc = gnutls_pcert_export_x509(&set->chain[0], &leaf);
        if (rc < 0)
                return gnutls_err(e, rc, "certificate", path);
        set->expires = gnutls_x509_crt_get_expiration_time(leaf);
        gnutls_x509_crt_deinit(leaf);
        return 0;
}

static int load_key(struct tls_set *set, const char *path, struct err *e)
{
        autosecretfile struct secret file = {NULL, 0, false};

        int rc = secret_read(path, &file, e);
        if (rc < 0)
                return rc;
        const gnutls_datum_t pem = {(unsigned char *)file.data, (unsigned)file.len};
        rc = gnutls_privkey_init(&set->key);
        if (rc == 0)
                rc = gnutls_privkey_import_x509_raw(set->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
        return rc < 0 ? gnutls_err(e, rc, "key", path) : 0;
}

/* crt becomes the list's. */
static int add_trust(struct tls_set *set, size_t i, gnutls_x509_crt_t crt)
{
        int rc = gnutls_x509_trust_list_init(&set->trust[i], 0);

        if (rc == 0)
                rc = gnutls_x509_trust_list_add_cas(set->trust[i], &crt, 1, 0);
        if (rc == 1)
                return 0;
        gnutls_x509_crt_deinit(crt);
        return rc < 0 ? rc : GNUTLS_E_CERTIFICATE_ERROR;
}

static int load_trust(struct tls_set *set, const char *path, struct err *e)
{
        autobuf struct buf b = buf_new(FILE_MAX);
        gnutls_x509_crt_t crts[CA_MAX];
        unsigned n = CA_MAX;
        gnutls_datum_t pem;

        int rc = read_pem(path, &b, &pem, e);
        if (rc < 0)
                return rc;
        rc = gnutls_x509_crt_list_import(crts, &n, &pem, GNUTLS_X509_FMT_PEM,
                                         GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
        if (rc < 0)
                return gnutls_err(e, rc, "client CA", path);
        n = (unsigned)rc;
        rc = 0;
        for (unsigned i = 0; i < n; i++) {
                if (rc == 0)
                        rc = add_trust(set, i, crts[i]);
                else
                        gnutls_x509_crt_deinit(crts[i]);
        }
        return rc < 0 ? gnutls_err(e, rc, "client CA", path) : 0;
}

/* Files that are replaced one after the other are for a while of two different pairs. */
static int check_pair(const struct tls_set *set, const struct tls *t, struct err *e)
{
        unsigned char of_cert[64], of_key[64];
        size_t ncert = sizeof(of_cert), nkey = sizeof(of_key);
        gnutls_pubkey_t pub;

        int rc = gnutls_pubkey_init(&pub);
        if (rc < 0)
                return gnutls_err(e, rc, "key", t->path[1]);
        rc = gnutls_pubkey_import_privkey(pub, set->key, 0, 0);
        if (rc == 0)
                rc = gnutls_pubkey_get_key_id(pub, GNUTLS_KEYID_USE_SHA256, of_key, &nkey);
        gnutls_pubkey_deinit(pub);
        if (rc == 0)
                rc = gnutls_pubkey_get_key_id(set->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256,
                                              of_cert, &ncert);
        if (rc < 0)
                return gnutls_err(e, rc, "key", t->path[1]);
        if (ncert != nkey || memcmp(of_cert, of_key, nkey) != 0)
                return err_set(e, -EINVAL, "key %s does not belong to certificate %s", t->path[1],
                               t->path[0]);
        return 0;
}

static int load(const struct tls *t, struct tls_set **out, struct err *e)
{
        struct tls_set *set = calloc(1, sizeof(*set));

        if (!set)
                return err_sys(e, -ENOMEM, "load %s", t->path[0]);
        atomic_init(&set->refs, 1);
        int rc = load_chain(set, t->path[0], e);
        if (rc == 0)
                rc = load_key(set, t->path[1], e);
        if (rc == 0)
                rc = check_pair(set, t, e);
        if (rc == 0 && t->path[2])
                rc = load_trust(set, t->path[2], e);
        if (rc < 0) {
                tls_put(set);
                return rc;
        }
        *out = set;
        return 0;
}

static int identify(const struct tls *t, struct identity id[NFILES], struct err *e)
{
        memset(id, 0, NFILES * sizeof(id[0])); /* padding too: compared as bytes */
        for (size_t i = 0; i < NFILES; i++) {
                struct stat st;
                if (!t->path[i])
                        continue;
                if (stat(t->path[i], &st) < 0)
                        return err_sys(e, -errno, "look at %s", t->path[i]);
                id[i].dev = st.st_dev;
                id[i].ino = st.st_ino;
                id[i].size = st.st_size;
                id[i].mtime = st.st_mtim;
        }
        return 0;
}

/* Files that are others than the ones in use, read; NULL when they are the same. */
static int changed(struct tls *t, struct tls_set **out, struct err *e)
{
        struct identity
                id[NFILES]; /* taken first: a change while we read is seen at the next look */

        *out = NULL;
        int rc = identify(t, id, e);
        if (rc == 0 && memcmp(id, t->seen, sizeof(id)) == 0)
                return 0;
        if (rc == 0)
                rc = load(t, out, e);
        if (rc == 0)
                memcpy(t->seen, id, sizeof(id));
        metric_add(t->loads, rc < 0 ? "failed" : "ok", 1);
        return rc;
}

int tls_refresh(struct tls *t, struct err *e)
{
        struct tls_set *set, *old;
        int rc = changed(t, &set, e);

        if (!set)
                return rc;
        metric_set(t->expiry, NULL, (double)set->expires);
        pthread_mutex_lock(&t->lock);
        old = t->now;
        t->now = set;
        pthread_mutex_unlock(&t->lock);
        tls_put(old);
        return 0;
}

int tls_new(const char *cert, const char *key, const char *ca, struct tls **out, struct err *e)
{
        const char *const path[NFILES] = {cert, key, ca};
        struct tls *t = calloc(1, sizeof(*t));
        int rc = 0;

        if (!t)
                return err_sys(e, -ENOMEM, "TLS");
        pthread_mutex_init(&t->lock, NULL);
        for (size_t i = 0; i < NFILES; i++) {
                t->path[i] = path[i] ? strdup(path[i]) : NULL;
                if (path[i] && !t->path[i])
                        rc = err_sys(e, -ENOMEM, "TLS");
        }
        t->loads = metric_counter("drover_http_certificate_loads", "Readings of certificate files.",
                                  "result");
        t->expiry = metric_gauge("drover_http_certificate_expiry_timestamp_seconds",
                                 "When the serving certificate ends.", NULL);
        if (rc == 0)
                rc = tls_refresh(t, e);
        if (rc < 0) {
                tls_free(t);
                return rc;
        }
        *out = t;
        return 0;
}

void tls_free(struct tls *t)
{
        if (!t)
                return;
        tls_put(t->now);
        for (size_t i = 0; i < NFILES; i++)
                free(t->path[i]);
        pthread_mutex_destroy(&t->lock);
        free(t);
}

struct tls_set *tls_get(struct tls *t)
{
        pthread_mutex_lock(&t->lock);
        struct tls_set *set = t->now;
        atomic_fetch_add(&set->refs, 1);
        pthread_mutex_unlock(&t->lock);
        return set;
}

void tls_put(struct tls_set *set)
{
        if (!set || atomic_fetch_sub(&set->refs, 1) > 1)
                return;
        for (unsigned i = 0; i < set->nchain; i++)
                gnutls_pcert_deinit(&set->chain[i]);
        if (set->key)
                gnutls_privkey_deinit(set->key);
        for (size_t i = 0; i < CA_MAX && set->trust[i]; i++)
                gnutls_x509_trust_list_deinit(set->trust[i], 1);
        free(set);
}

bool tls_wants_client(const struct tls *t)
{
        return t->path[2] != NULL;
}

gnutls_pcert_st *tls_chain(struct tls_set *set, unsigned *n)
{
        *n = set->nchain;
        return set->chain;
}

gnutls_privkey_t tls_key(const struct tls_set *set)
{
        return set->key;
}

gnutls_x509_trust_list_t tls_trust(const struct tls_set *set, size_t i)
{
        return i < CA_MAX ? set->trust[i] : NULL;
}
