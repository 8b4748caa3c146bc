/*
 * A hostile API server for tests: plain sockets on 127.0.0.1, a thread a connection, and a script
 * of the test's that decides byte by byte what is answered. It helps with nothing: what it sends
 * may be wrong, late, cut or endless.
 */
#ifndef DROVER_TESTS_FAKE_APISERVER_H
#define DROVER_TESTS_FAKE_APISERVER_H

#include <stdbool.h>
#include <stddef.h>

struct fake;
struct fake_conn;

struct fake_request {
        const char *method;
        const char *target;  /* path and query as sent */
        const char *headers; /* all lines as sent */
        const char *body;    /* "" when there is none */
        size_t body_len;
        int number;     /* 1, 2, ... of the server, in order of arrival */
        int connection; /* 1, 2, ... of the server */
};

/* Answers one request; runs on the connection's thread. */
typedef void fake_script(struct fake_conn *c, const struct fake_request *r, void *ctx);

struct fake *fake_start(fake_script *script, void *ctx);
/* With TLS; client_ca_pem (may be NULL) makes a client certificate a must. */
struct fake *fake_start_tls(fake_script *script, void *ctx, const char *cert_pem,
                            const char *key_pem, const char *client_ca_pem);
/* Cuts all connections and waits for their threads. */
void fake_stop(struct fake *f);
/* "http://127.0.0.1:port" */
const char *fake_url(const struct fake *f);
int fake_requests(struct fake *f);
int fake_connections(struct fake *f);
/* Cuts all connections, as a server that dies; new ones are served. */
void fake_cut(struct fake *f);

/* For scripts. All are false once the peer or the server is gone. */
bool fake_write(struct fake_conn *c, const void *data, size_t len);
bool fake_puts(struct fake_conn *c, const char *s);
bool fake_printf(struct fake_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One byte at a time with ms between. */
bool fake_drip(struct fake_conn *c, const char *s, int ms);
bool fake_sleep(struct fake_conn *c, int ms);
/* Silence until the peer or the server goes. */
void fake_hang(struct fake_conn *c);
/* A whole answer with Content-Length; headers: further lines, each with CRLF, or "". */
bool fake_answer(struct fake_conn *c, int status, const char *headers, const char *body);
/* The body of a 404 for the object at the target's path, as a real API server writes it. */
void fake_missing(const char *target, char *body, size_t size);
/* The header of an endless chunked answer, and a chunk of it. */
bool fake_stream(struct fake_conn *c);
bool fake_chunk(struct fake_conn *c, const char *s);
/* The last chunk: a clean end. */
bool fake_stream_end(struct fake_conn *c);
/* The connection is closed when the script returns. */
void fake_close(struct fake_conn *c);

#endif
