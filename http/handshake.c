/*
 * A handshake uses one set from its start to its end, however often the files change meanwhile.
 * Clients are verified by us and not by microhttpd, which would only ask for a certificate, check
 * nothing, and know the CA of its start alone.
 */
#include "http/internal.h"

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <string.h>

#define CHAIN_MAX 8

int handshake_certificate(gnutls_session_t session, const gnutls_datum_t *ca, int nca,
                          const gnutls_pk_algorithm_t *algos, int nalgos, gnutls_pcert_st **chain,
                          unsigned *n, gnutls_privkey_t *key)
{
        struct conn *c = gnutls_session_get_ptr(session);

        (void)ca, (void)nca, (void)algos, (void)nalgos;
        if (!c)
                return -1;
        if (!c->tls)
                c->tls = tls_get(c->server->tls);
        *chain = tls_chain(c->tls, n);
        *key = tls_key(c->tls);
        return 0;
}

/* The client's own name; what is not text (a NUL in it, say) GnuTLS shows as "#" and digits. */
static bool common_name(gnutls_x509_crt_t crt, char cn[CN_MAX])
{
        size_t size = CN_MAX;
        int rc = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, cn, &size);

        if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
                cn[0] = 0;
                return true;
        }
        return rc == 0 && strlen(cn) == size && cn[0] != '#';
}

/* 0 and the client's name, or the alert that says what is wrong. One CA that vouches is enough. */
static int verify_chain(struct conn *c, gnutls_x509_crt_t *crts, unsigned n)
{
        gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                         .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
        gnutls_alert_description_t alert = GNUTLS_A_UNKNOWN_CA;
        gnutls_x509_trust_list_t trust;

        for (size_t i = 0; (trust = tls_trust(c->tls, i)); i++) {
                unsigned status = 0;
                int rc = gnutls_x509_trust_list_verify_crt2(
                        trust, crts, n, &purpose, 1,
                        GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM), &status, NULL);
                if (rc < 0)
                        return GNUTLS_A_INTERNAL_ERROR;
                if (status == 0)
                        return common_name(crts[0], c->cn) ? 0 : GNUTLS_A_BAD_CERTIFICATE;
                if (!(status & GNUTLS_CERT_SIGNER_NOT_FOUND)) /* says more than "not mine" */
                        alert = status & (GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED)
                                        ? GNUTLS_A_CERTIFICATE_EXPIRED
                                        : GNUTLS_A_BAD_CERTIFICATE;
        }
        return (int)alert;
}

static int verify_peer(struct conn *c, gnutls_session_t session)
{
        unsigned total = 0, n = 0;
        const gnutls_datum_t *der = gnutls_certificate_get_peers(session, &total);
        gnutls_x509_crt_t crts[CHAIN_MAX];
        int alert = GNUTLS_A_BAD_CERTIFICATE, rc = 0;

        if (!der || total == 0)
                return GNUTLS_A_CERTIFICATE_REQUIRED;
        while (rc == 0 && n < total && n < CHAIN_MAX && gnutls_x509_crt_init(&crts[n]) == 0) {
                rc = gnutls_x509_crt_import(crts[n], &der[n], GNUTLS_X509_FMT_DER);
                n++;
        }
        if (rc == 0 && n == total)
                alert = verify_chain(c, crts, n);
        while (n > 0)
                gnutls_x509_crt_deinit(crts[--n]);
        return alert;
}

static int verify(gnutls_session_t session)
{
        struct conn *c = gnutls_session_get_ptr(session);
        int alert = c && c->tls ? verify_peer(c, session) : GNUTLS_A_INTERNAL_ERROR;

        if (alert == 0)
                return 0;
        gnutls_alert_send(session, GNUTLS_AL_FATAL, (gnutls_alert_description_t)alert);
        return -1;
}

/* The handshake had a request's time; from here the client may wait with its request. */
static int finished(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                    const gnutls_datum_t *msg)
{
        struct conn *c = gnutls_session_get_ptr(session);

        (void)type, (void)when, (void)msg;
        if (incoming && c)
                conn_idle(c);
        return 0;
}

void handshake_prepare(struct conn *c, gnutls_session_t session, bool want_client)
{
        gnutls_session_set_ptr(session, c);
        gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST,
                                           finished);
        if (!want_client)
                return;
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
        gnutls_session_set_verify_function(session, verify);
}
