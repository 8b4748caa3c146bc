/*
 * One request: its body is collected, bounded for itself and for all requests together, then it is
 * handed to its route. A request that is refused is read to its end all the same, as far as that is
 * bearable, so that the client gets to read the answer and may keep its connection.
 */
#include "http/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define REPLY_MAX    ((size_t)64 << 20)
#define CONTENT_TYPE "application/json"
#define TOO_LARGE    "the request's body is too large"

struct request {
        struct job job;
        struct http_server *server;
        struct conn *conn;
        struct mono start;
        struct http_target target;
        bool begun, answered;
        unsigned refusal; /* HTTP status; 0: go on */
        const char *why;
        struct buf body;
        size_t held; /* of the memory for large bodies */
        size_t seen; /* bytes of the body, kept or dropped */
        struct http_request req;
        struct http_reply rep;
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
        r->server = s;
        r->conn = conn;
        r->start = mono_now();
        r->body = buf_new(s->max_body);
        r->rep.body = buf_new(REPLY_MAX);
        memcpy(r->path, uri, size);
        char *mark = strchr(r->path, '?');
        if (mark)
                *mark = 0;
        r->req.path = r->path;
        r->req.query = mark ? mark + 1 : "";
        conn_busy(conn);
        atomic_fetch_add(&s->active, 1);
        return r;
}

/* Makes size bytes the request's share of the memory for large bodies; false: there is no more. */
static bool hold(struct http_server *s, struct request *r, size_t size)
{
        if (size <= HTTP_SMALL_BODY)
                size = 0;
        size_t all = atomic_fetch_add(&s->large_bytes, size - r->held) + size - r->held;
        if (size > r->held && all > HTTP_LARGE_BODIES * s->max_body) {
                atomic_fetch_sub(&s->large_bytes, size - r->held);
                return false;
        }
        if (size < r->held)
                atomic_store(&s->untidy, true);
        r->held = size;
        atomic_store_explicit(&r->conn->large, size > 0, memory_order_relaxed);
        return true;
}

static void drop_body(struct http_server *s, struct request *r)
{
        hold(s, r, 0);
        buf_free(&r->body);
}

void request_completed(void *cls, struct MHD_Connection *c, void **context,
                       enum MHD_RequestTerminationCode why)
{
        struct http_server *s = cls;
        struct request *r = *context;

        (void)c, (void)why;
        if (!r)
                return;
        drop_body(s, r);
        conn_idle(r->conn);
        buf_free(&r->rep.body);
        free(r);
        *context = NULL;
        atomic_fetch_sub(&s->active, 1);
}

static void refuse(struct http_server *s, struct request *r, unsigned status, const char *why)
{
        if (!r->refusal) {
                r->refusal = status;
                r->why = why;
        }
        drop_body(s, r);
}

static enum MHD_Result send_reply(struct http_server *s, struct MHD_Connection *c,
                                  struct request *r)
{
        struct http_reply *rep = &r->rep;
        char number[16];
        struct MHD_Response *res;

        if (rep->body.failed)
                http_reply_error(rep, MHD_HTTP_INTERNAL_SERVER_ERROR, "the answer grew too large");
        res = MHD_create_response_from_buffer(
                rep->body.len, rep->body.data ? rep->body.data : (char[]){""},
                rep->body.data ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_MUST_COPY);
        if (!res)
                return MHD_NO;
        rep->body = buf_new(0); /* the response's now */
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
        conn_phase(r->conn, CONN_PEER);
        enum MHD_Result rc = MHD_queue_response(c, rep->status, res);
        MHD_destroy_response(res);
        return rc;
}

static enum MHD_Result send_refusal(struct http_server *s, struct MHD_Connection *c,
                                    struct request *r)
{
        r->rep.retry_after = r->refusal == MHD_HTTP_SERVICE_UNAVAILABLE;
        http_reply_error(&r->rep, r->refusal, r->why);
        return send_reply(s, c, r);
}

/* Parameters do not matter: JSON is UTF-8 in any case. */
static bool is_json(const char *type)
{
        size_t n = strlen(CONTENT_TYPE);

        if (!type || strncasecmp(type, CONTENT_TYPE, n) != 0)
                return false;
        type += n + strspn(type + n, " \t");
        return !*type || *type == ';';
}

static void refuse_large(struct http_server *s, struct request *r)
{
        refuse(s, r, MHD_HTTP_SERVICE_UNAVAILABLE, "too many large requests at a time");
        crowd_press(s);
}

/* Room for a body of so many bytes, or the request is refused. */
static void make_room(struct http_server *s, struct request *r, size_t size)
{
        if (!hold(s, r, size)) {
                refuse_large(s, r);
                return;
        }
        if (buf_reserve(&r->body, size) < 0)
                refuse(s, r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
}

/* The headers are here. */
static enum MHD_Result begin(struct http_server *s, struct MHD_Connection *c, const char *method,
                             struct request *r)
{
        const char *length =
                MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
        const char *type =
                MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
        unsigned long long want = length ? strtoull(length, NULL, 10) : 0;

        r->begun = true;
        r->target = route_find(s, method, r->path);
        r->req.method = method;
        r->req.content_type = type ? type : "";
        if (!r->target.handle)
                refuse(s, r, r->target.status, r->target.why);
        else if (strcmp(method, "POST") == 0 && !is_json(type))
                refuse(s, r, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
                       "Content-Type: must be " CONTENT_TYPE);
        else if (want > s->max_body)
                refuse(s, r, MHD_HTTP_CONTENT_TOO_LARGE, TOO_LARGE);
        else if (want)
                make_room(s, r, (size_t)want);
        if (want <= s->max_body + HTTP_DRAIN_MAX)
                return MHD_YES;
        return send_refusal(s, c, r); /* unread; microhttpd closes the connection after it */
}

static enum MHD_Result take(struct http_server *s, struct request *r, const char *data, size_t len)
{
        r->seen += len;
        if (r->seen > s->max_body + HTTP_DRAIN_MAX)
                return MHD_NO;
        if (r->refusal)
                return MHD_YES;
        if (r->seen > s->max_body) {
                refuse(s, r, MHD_HTTP_CONTENT_TOO_LARGE, TOO_LARGE);
                return MHD_YES;
        }
        if (r->seen >= r->body.cap) { /* of a length that was not told */
                size_t twice = r->seen < s->max_body / 2 ? 2 * r->seen : s->max_body;
                make_room(s, r, twice);
        }
        if (!r->refusal)
                buf_add(&r->body, data, len); /* there is room */
        return MHD_YES;
}

static void call(struct request *r, bool may_block)
{
        r->rep.status = MHD_HTTP_OK;
        r->rep.content_type = "application/json";
        r->req.may_block = may_block;
        r->target.handle(r->target.ctx, &r->req, &r->rep);
}

static void reply_busy(struct request *r)
{
        r->rep.retry_after = 1;
        http_reply_error(&r->rep, MHD_HTTP_SERVICE_UNAVAILABLE,
                         "too many requests that have to wait");
}

/* On a slow thread. */
static void run_slowly(struct job *j, bool run)
{
        struct request *r = (struct request *)(void *)j;

        r->rep.later = false;
        buf_reset(&r->rep.body);
        if (run)
                call(r, true);
        if (!run || r->rep.later)
                reply_busy(r);
        metric_add(r->server->slow, run ? "run" : "late", 1);
}

/* The handler said `later`: true when it is to be called again, and until then nothing happens. */
static bool postpone(struct http_server *s, struct MHD_Connection *c, struct request *r)
{
        r->job = (struct job){.connection = c, .run = run_slowly};
        if (s->pool && pool_take(s->pool, &r->job))
                return true;
        metric_add(s->slow, "full", 1);
        reply_busy(r);
        return false;
}

static enum MHD_Result answer(struct http_server *s, struct MHD_Connection *c, struct request *r)
{
        const char *cn = r->conn->cn;

        if (r->refusal)
                return send_refusal(s, c, r);
        if (!r->answered) {
                r->answered = true; /* when we come here again */
                r->req.body = buf_str(&r->body);
                r->req.body_len = r->body.len;
                r->req.peer_cn = *cn ? cn : NULL;
                conn_phase(r->conn, CONN_OURS);
                call(r, !s->pool);
                if (r->rep.later && postpone(s, c, r))
                        return MHD_YES;
        }
        drop_body(s, r);
        return send_reply(s, c, r);
}

/*
 * First without data, then with each piece of the body, then without data again at its end, and
 * once more after a handler has run on a slow thread.
 */
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
                return answer(cls, c, r);
        enum MHD_Result rc = take(cls, r, data, *len);
        *len = 0;
        return rc;
}
