/* One HTTP request over curl: set-up, the callbacks, the two timeouts and what the end means. */
#include "kube/curlerr.h"
#include "kube/io.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HEADERS_MAX     ((size_t)64 << 10)
#define PROBLEM_MAX     ((size_t)64 << 10)
#define RETRY_AFTER_MAX 120 /* seconds; a server that says more is asked again all the same */
#define PEER_GONE_MS    30000

static size_t fail(struct kube_transfer *t, int code)
{
        t->code = code;
        return 0; /* anything but the size ends the transfer */
}

static int http_status(const struct kube_transfer *t)
{
        long v = 0;

        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &v);
        return (int)v;
}

static bool success(int http)
{
        return http >= 200 && http < 300;
}

/* How long the server may be silent now. */
static int64_t patience(const struct kube_transfer *t)
{
        return t->has_header ? t->silence_ms : t->answer_ms;
}

static struct mono end_of(const struct kube_transfer *t)
{
        struct mono at = mono_add_ms(t->started, t->deadline_ms);

        return t->until.ns && t->until.ns < at.ns ? t->until : at;
}

static bool too_late(const struct kube_transfer *t)
{
        return t->until.ns && mono_now().ns >= t->until.ns;
}

static void set_timer(struct kube_transfer *t)
{
        struct mono at = end_of(t);
        struct mono silent = mono_add_ms(t->heard, patience(t));

        kube_timer_set(t->client, &t->timer, patience(t) && silent.ns < at.ns ? silent : at);
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
        struct kube_transfer *t = arg;

        n *= size;
        t->heard = mono_now();
        t->header_bytes += n;
        if (t->header_bytes > HEADERS_MAX)
                return fail(t,
                            err_set(&t->err, -E2BIG, "the answer's header is larger than %zu bytes",
                                    HEADERS_MAX));
        /* The empty line after the last one; a 100 Continue has one too. */
        if (n == 2 && *data == '\r' && http_status(t) >= 200) {
                t->has_header = true;
                t->http = http_status(t);
                set_timer(t);
                if (t->answered && success(t->http))
                        t->answered(t);
        }
        return n;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
        struct kube_transfer *t = arg;
        int rc = 0;

        n *= size;
        t->heard = mono_now();
        if (success(t->http)) {
                if (t->sink && n)
                        rc = t->sink(t, data, n, &t->err);
                return rc < 0 ? fail(t, rc) : n;
        }
        size_t room = PROBLEM_MAX - t->problem.len;
        rc = buf_add(&t->problem, data, n < room ? n : room);
        return rc < 0 ? fail(t, err_sys(&t->err, rc, "read the answer")) : n;
}

/* The kernel gives up on a peer that acknowledges nothing, so that a dead one is noticed. */
static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
        unsigned ms = PEER_GONE_MS;

        (void)ctx;
        (void)purpose;
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
        return CURL_SOCKOPT_OK;
}

static struct curl_blob blob(const char *pem)
{
        return (struct curl_blob){(void *)(uintptr_t)pem, strlen(pem), CURL_BLOB_NOCOPY};
}

#define SET(h, option, value)                                                                      \
        do {                                                                                       \
                if (rc == CURLE_OK)                                                                \
                        rc = curl_easy_setopt(h, option, value);                                   \
        } while (0)

static CURLcode set_tls(CURL *h, const struct kube_config *cfg)
{
        CURLcode rc = CURLE_OK;

        SET(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        SET(h, CURLOPT_SSL_VERIFYPEER, cfg->insecure ? 0L : 1L);
        SET(h, CURLOPT_SSL_VERIFYHOST, cfg->insecure ? 0L : 2L);
        if (cfg->ca_pem) {
                struct curl_blob ca = blob(cfg->ca_pem);
                SET(h, CURLOPT_CAINFO_BLOB, &ca);
                SET(h, CURLOPT_CAPATH, NULL); /* else the system's are trusted too */
        }
        if (cfg->cert_pem) {
                struct curl_blob cert = blob(cfg->cert_pem), key = blob(cfg->key_pem);
                SET(h, CURLOPT_SSLCERT_BLOB, &cert);
                SET(h, CURLOPT_SSLCERTTYPE, "PEM");
                SET(h, CURLOPT_SSLKEY_BLOB, &key);
                SET(h, CURLOPT_SSLKEYTYPE, "PEM");
        }
        return rc;
}

static bool loopback(const char *server)
{
        return strstr(server, "://127.") || strstr(server, "://localhost") ||
               strstr(server, "://[::1]");
}

static CURLcode set_connection(CURL *h, struct kube_client *c)
{
        bool tls = strncmp(c->cfg.server, "https:", 6) == 0;
        CURLcode rc = CURLE_OK;

        SET(h, CURLOPT_PROTOCOLS_STR, "http,https");
        SET(h, CURLOPT_NOSIGNAL, 1L);
        SET(h, CURLOPT_PATH_AS_IS, 1L);
        SET(h, CURLOPT_CONNECTTIMEOUT_MS, (long)c->tune.connect_ms);
        SET(h, CURLOPT_SOCKOPTFUNCTION, on_socket);
        SET(h, CURLOPT_TCP_KEEPALIVE, 1L);
        SET(h, CURLOPT_TCP_KEEPIDLE, 15L);
        SET(h, CURLOPT_TCP_KEEPINTVL, 5L);
        SET(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        SET(h, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
        SET(h, CURLOPT_FRESH_CONNECT, c->suspect ? 1L : 0L);
        if (loopback(c->cfg.server))
                SET(h, CURLOPT_NOPROXY, "*");
        if (rc == CURLE_OK && tls)
                rc = set_tls(h, &c->cfg);
        return rc;
}

static int add_header(struct kube_transfer *t, const char *name, const char *value)
{
        autofree char *line = NULL;
        struct curl_slist *more;

        if (asprintf(&line, "%s%s", name, value) < 0) {
                line = NULL;
                return -ENOMEM;
        }
        more = curl_slist_append(t->headers, line);
        if (!more)
                return -ENOMEM;
        t->headers = more;
        return 0;
}

static int set_headers(struct kube_transfer *t)
{
        struct kube_client *c = t->client;
        const char *token = c->cfg.token_file ? c->token.value : c->cfg.token;
        int rc = add_header(t, "Accept: ", t->accept ? t->accept : "application/json");

        if (rc == 0)
                rc = add_header(t, "Expect:", "");
        if (rc == 0 && t->body)
                rc = add_header(t, "Content-Type: ", t->content_type);
        if (rc == 0 && token)
                rc = add_header(t, "Authorization: Bearer ", token);
        return rc;
}

/* The connection is there, and the request is about to be sent. */
static int before_request(void *arg, char *to, char *from, int to_port, int from_port)
{
        const struct kube_transfer *t = arg;

        (void)to;
        (void)from;
        (void)to_port;
        (void)from_port;
        return too_late(t) ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static CURLcode set_request(CURL *h, struct kube_transfer *t)
{
        CURLcode rc = CURLE_OK;

        SET(h, CURLOPT_URL, t->url);
        SET(h, CURLOPT_USERAGENT, t->client->user_agent);
        if (t->body) {
                SET(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_len);
                SET(h, CURLOPT_POSTFIELDS, t->body);
        }
        if (strcmp(t->method, "GET") != 0)
                SET(h, CURLOPT_CUSTOMREQUEST, t->method);
        SET(h, CURLOPT_HTTPHEADER, t->headers);
        SET(h, CURLOPT_PRIVATE, t);
        SET(h, CURLOPT_ERRORBUFFER, t->curl_error);
        SET(h, CURLOPT_HEADERFUNCTION, on_header);
        SET(h, CURLOPT_HEADERDATA, t);
        SET(h, CURLOPT_WRITEFUNCTION, on_body);
        SET(h, CURLOPT_WRITEDATA, t);
        SET(h, CURLOPT_PREREQFUNCTION, before_request);
        SET(h, CURLOPT_PREREQDATA, t);
        return rc;
}

static int set_up(struct kube_transfer *t)
{
        struct kube_client *c = t->client;
        CURLcode rc;

        if (too_late(t))
                return err_set(&t->err, -ETIMEDOUT, "too late to be sent");
        if (c->cfg.token_file) {
                int code = kube_token_refresh(&c->token, c->cfg.token_file, mono_now(),
                                              c->tune.token_age_ms, NULL, &t->err);
                if (code < 0)
                        return code;
        }
        t->easy = curl_easy_init();
        if (!t->easy || set_headers(t) < 0)
                return err_sys(&t->err, -ENOMEM, "start a request");
        rc = set_connection(t->easy, c);
        if (rc == CURLE_OK)
                rc = set_request(t->easy, t);
        if (rc != CURLE_OK || curl_multi_add_handle(c->multi, t->easy) != CURLM_OK)
                return err_set(&t->err, rc == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL,
                               "start a request: %s", curl_easy_strerror(rc));
        c->suspect = false;
        return 0;
}

static struct kube_transfer *transfer_of(struct kube_timer *timer)
{
        return (struct kube_transfer *)(void *)((char *)timer -
                                                offsetof(struct kube_transfer, timer));
}

static void on_timer(struct kube_timer *timer)
{
        struct kube_transfer *t = transfer_of(timer);
        struct mono now = mono_now();
        int64_t total = mono_ms_between(t->started, now), silent = mono_ms_between(t->heard, now);
        struct err e;

        if (t->code < 0) {
                e = t->err; /* of the start */
        } else if (now.ns >= end_of(t).ns) {
                err_set(&e, -ETIMEDOUT, "no whole answer within %lld ms", (long long)total);
        } else if (patience(t) && silent >= patience(t)) {
                err_set(&e, -ETIMEDOUT, "the server was silent for %lld ms", (long long)silent);
        } else {
                set_timer(t);
                return;
        }
        if (e.code == -ETIMEDOUT && !t->has_header && t->easy) {
                t->client->suspect = true;
                curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
        }
        kube_transfer_fail(t, &e);
}

void kube_transfer_start(struct kube_transfer *t)
{
        t->http = t->code = 0;
        t->retry_after_ms = 0;
        t->header_bytes = 0;
        t->has_header = false;
        t->curl_error[0] = 0;
        t->problem = buf_new(PROBLEM_MAX);
        t->started = t->heard = mono_now();
        t->timer.fire = on_timer;
        t->next = t->client->transfers;
        t->client->transfers = t;
        t->code = set_up(t);
        if (t->code < 0) /* told by the timer: the caller may not be ready to hear of it now */
                kube_timer_set(t->client, &t->timer, t->started);
        else
                set_timer(t);
}

/* No longer under way: off the list, off curl. */
static bool detach(struct kube_transfer *t)
{
        struct kube_transfer **p = t->client ? &t->client->transfers : NULL;

        while (p && *p && *p != t)
                p = &(*p)->next;
        if (!p || !*p)
                return false;
        *p = t->next;
        kube_timer_clear(t->client, &t->timer);
        if (t->easy) {
                curl_multi_remove_handle(t->client->multi, t->easy);
                curl_easy_cleanup(t->easy);
                t->easy = NULL;
        }
        curl_slist_free_all(t->headers);
        t->headers = NULL;
        return true;
}

void kube_transfer_cancel(struct kube_transfer *t)
{
        detach(t);
}

void kube_transfer_free(struct kube_transfer *t)
{
        buf_free(&t->problem);
}

void kube_transfer_fail(struct kube_transfer *t, const struct err *e)
{
        t->err = *e;
        t->code = e->code;
        detach(t);
        t->done(t);
}

/* After a 401, once: the token may have been replaced since it was read. */
static bool retry_token(struct kube_transfer *t)
{
        struct kube_client *c = t->client;
        bool changed;

        if (t->http != 401 || t->token_retried || !c->cfg.token_file)
                return false;
        t->token_retried = true;
        if (kube_token_refresh(&c->token, c->cfg.token_file, mono_now(), 0, &changed, NULL) < 0)
                return false;
        return changed;
}

void kube_transfer_finish(struct kube_transfer *t, CURLcode result)
{
        curl_off_t seconds = 0;

        t->http = http_status(t);
        curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &seconds);
        t->retry_after_ms = 1000 * (seconds < RETRY_AFTER_MAX ? seconds : RETRY_AFTER_MAX);
        if (t->code == 0 && result == CURLE_ABORTED_BY_CALLBACK && too_late(t))
                t->code = err_set(&t->err, -ETIMEDOUT, "too late to be sent");
        /* An answer that is an error says more than how its body ended. */
        if (t->code == 0 && result != CURLE_OK && (t->http < 300 || t->header_bytes == 0))
                t->code = kube_curl_error(&t->err, t->easy, result, t->curl_error);
        detach(t);
        if (t->code == 0 && retry_token(t)) {
                buf_free(&t->problem);
                kube_transfer_start(t);
                return;
        }
        t->done(t);
}
