/*
 * One request: its body is collected, bounded for itself and for all requests together, then it is
 * handed to its route. A request that is refused is read to its end all the same, as far as that is
 * bearable, so that the client gets to read the answer and may keep its connection.
 */
#include "http/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REPLY_MAX  ((size_t)64 << 20)
#define DRAIN_MAX  ((size_t)16 << 20) /* bytes of a refused body that are read and dropped */
#define BODIES_MAX 8                  /* bodies of the largest size that are held at a time */

struct request {
        struct mono start;
        struct http_target target;
        bool begun;
        unsigned refusal; /* HTTP status; 0: go on */
        struct buf body;
        size_t seen; /* bytes of the body, kept or dropped */
        const char *query;
        char path[]; /* raw, and the query behind it */
};

/* Comes with the request line, when the headers are still to be read. */
void *request_begin(void *cls, const char *uri, struct MHD_Connection *c)
{
        struct http_server *s = cls;
        struct conn *conn = conn_of(c);
        size_t size = strlen(uri) + 1;
        struct request *r = conn ? calloc(1, sizeof(*r) + size) : NULL;

        if (!r)
                return NULL;
        r->start = mono_now();
        r->body = buf_new(s->max_body);
        memcpy(r->path, uri, size);
        char *mark = strchr(r->path, '?');
        if (mark)
                *mark = 0;
        r->query = mark ? mark + 1 : "";
        conn_busy(conn);
        atomic_fetch_add(&s->active, 1);
        return r;
}

/* Drops the body and gives its share of the server's memory back. */
static void drop_body(struct http_server *s, struct request *r)
{
        atomic_fetch_sub(&s->body_bytes, r->body.len);
        buf_free(&r->body);
}

void request_completed(void *cls, struct MHD_Connection *c, void **context,
                       enum MHD_RequestTerminationCode why)
{
        struct http_server *s = cls;
        struct request *r = *context;

        (void)why;
        if (!r)
                return;
        drop_body(s, r);
        free(r);
        *context = NULL;
        conn_idle(conn_of(c));
        atomic_fetch_sub(&s->active, 1);
}

static void refuse(struct http_server *s, struct request *r, unsigned status)
{
        if (!r->refusal)
                r->refusal = status;
        drop_body(s, r);
}

static enum MHD_Result send_reply(struct http_server *s, struct MHD_Connection *c,
                                  const struct request *r, struct http_reply *rep)
{
        char number[16];
        struct MHD_Response *res;

        if (rep->body.failed)
                http_reply_error(rep, MHD_HTTP_INTERNAL_SERVER_ERROR, "the answer grew too large");
        res = MHD_create_response_from_buffer(
                rep->body.len, rep->body.data ? rep->body.data : (char[]){""},
                rep->body.data ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_MUST_COPY);
        if (!res) {
                buf_free(&rep->body);
                return MHD_NO;
        }
        MHD_add_response_header(res, MHD_HTTP_HEADER_CONTENT_TYPE, rep->content_type);
        if (rep->retry_after) {
                snprintf(number, sizeof(number), "%u", rep->retry_after);
                MHD_add_response_header(res, MHD_HTTP_HEADER_RETRY_AFTER, number);
        }
        if (r->refusal == MHD_HTTP_METHOD_NOT_ALLOWED)
                MHD_add_response_header(res, MHD_HTTP_HEADER_ALLOW, r->target.allow);
        if (atomic_load(&s->stopping))
                MHD_add_response_header(res, MHD_HTTP_HEADER_CONNECTION, "close");
        snprintf(number, sizeof(number), "%u", rep->status);
        metric_add(s->responses, number, 1);
        metric_observe(s->seconds, r->target.label, (double)(mono_now().ns - r->start.ns) / 1e9);
        enum MHD_Result rc = MHD_queue_response(c, rep->status, res);
        MHD_destroy_response(res);
        return rc;
}

static enum MHD_Result send_refusal(struct http_server *s, struct MHD_Connection *c,
                                    const struct request *r)
{
        static const struct {
                unsigned status;
                const char *text;
        } TEXTS[] = {
                {MHD_HTTP_NOT_FOUND, "no such path"},
                {MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed"},
                {MHD_HTTP_CONTENT_TOO_LARGE, "the request's body is too large"},
                {MHD_HTTP_SERVICE_UNAVAILABLE, "too many large requests at a time"},
        };
        struct http_reply rep = {.body = buf_new(REPLY_MAX)};
        const char *text = "refused";

        for (size_t i = 0; i < countof(TEXTS); i++)
                if (TEXTS[i].status == r->refusal)
                        text = TEXTS[i].text;
        http_reply_error(&rep, r->refusal, text);
        rep.retry_after = r->refusal == MHD_HTTP_SERVICE_UNAVAILABLE;
        return send_reply(s, c, r, &rep);
}

/* The headers are here. */
static enum MHD_Result begin(struct http_server *s, struct MHD_Connection *c, const char *method,
                             struct request *r)
{
        const char *length =
                MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
        unsigned long long want = length ? strtoull(length, NULL, 10) : 0;

        r->begun = true;
        r->target = route_find(s, method, r->path);
        if (!r->target.handle)
                refuse(s, r, r->target.status);
        else if (want > s->max_body)
                refuse(s, r, MHD_HTTP_CONTENT_TOO_LARGE);
        if (want <= s->max_body + DRAIN_MAX)
                return MHD_YES;
        return send_refusal(s, c, r); /* unread; microhttpd closes the connection after it */
}

static enum MHD_Result take(struct http_server *s, struct request *r, const char *data, size_t len)
{
        r->seen += len;
        if (r->seen > s->max_body + DRAIN_MAX)
                return MHD_NO;
        if (r->refusal)
                return MHD_YES;
        size_t held = atomic_fetch_add(&s->body_bytes, len) + len;
        int rc = buf_add(&r->body, data, len);
        if (rc < 0)
                atomic_fetch_sub(&s->body_bytes, len);
        if (rc == -E2BIG)
                refuse(s, r, MHD_HTTP_CONTENT_TOO_LARGE);
        else if (rc < 0 || held > BODIES_MAX * s->max_body)
                refuse(s, r, MHD_HTTP_SERVICE_UNAVAILABLE);
        return MHD_YES;
}

static enum MHD_Result answer(struct http_server *s, struct MHD_Connection *c, const char *method,
                              struct request *r)
{
        const char *type =
                MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
        const char *cn = conn_of(c)->cn;
        struct http_reply rep = {
                .status = MHD_HTTP_OK,
                .content_type = "application/json",
                .body = buf_new(REPLY_MAX),
        };

        if (r->refusal)
                return send_refusal(s, c, r);
        const struct http_request req = {
                .method = method,
                .path = r->path,
                .query = r->query,
                .content_type = type ? type : "",
                .body = buf_str(&r->body),
                .body_len = r->body.len,
                .peer_cn = *cn ? cn : NULL,
        };
        r->target.handle(r->target.ctx, &req, &rep);
        drop_body(s, r);
        return send_reply(s, c, r, &rep);
}

/* First without data, then with each piece of the body, then without data again at its end. */
enum MHD_Result request_access(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *len, void **context)
{
        struct request *r = *context;

        (void)url, (void)version; /* url is decoded; ours is as it was sent */
        if (!r)
                return MHD_NO;
        if (!r->begun)
                return begin(cls, c, method, r);
        if (*len == 0)
                return answer(cls, c, method, r);
        enum MHD_Result rc = take(cls, r, data, *len);
        *len = 0;
        return rc;
}
