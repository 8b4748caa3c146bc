#include "kube/curlerr.h"

#include <errno.h>

/* What connect(2) said, where it is known. */
static int connect_error(CURL *h)
{
        long os = 0;

        curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &os);
        return os > 0 ? -(int)os : -ECONNREFUSED;
}

static int code_of(CURL *h, CURLcode rc)
{
        switch (rc) {
        case CURLE_COULDNT_CONNECT:
                return connect_error(h);
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
                return -EHOSTUNREACH;
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        case CURLE_OUT_OF_MEMORY:
                return -ENOMEM;
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
                return -ECONNRESET;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_CIPHER:
                return -EKEYREJECTED;
        case CURLE_URL_MALFORMAT:
                return -EINVAL;
        default:
                return -EPROTO;
        }
}

int kube_curl_error(struct err *e, CURL *h, CURLcode rc, const char *text)
{
        return err_set(e, code_of(h, rc), "%s", *text ? text : curl_easy_strerror(rc));
}
