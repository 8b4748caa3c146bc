#include "agent/fetch.h"

#include "agent/files.h"
#include "agent/format.h"
#include "agent/part.h"
#include "agent/place.h"
#include "base/mono.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SAY_MS     1000
#define SYNC_MS    2000
#define SYNC_BYTES ((int64_t)32 << 20)
#define CONNECT_S  15

struct answer {
        char etag[PART_VALIDATOR_MAX], modified[PART_VALIDATOR_MAX], encoding[64];
        int64_t from, range_total; /* of a Content-Range; -1: none */
};

struct transfer_of {
        const struct fetch *f;
        CURL *curl;
        struct part part;
        struct answer answer;
        bool begun; /* the body's first byte has come, and is in its place */
        int64_t asked_from, limit;
        struct mono said, synced;
        struct err err; /* why a callback has ended it; .code 0: none has */
};

/* --- what is told */

bool fetch_line(const char *line, bool *checking, int64_t *done, int64_t *total)
{
        char word[16];

        if (sscanf(line, "%15s %" SCNd64 " %" SCNd64, word, done, total) != 3 ||
            (strcmp(word, "fetching") != 0 && strcmp(word, "checking") != 0))
                return false;
        *checking = word[0] == 'c';
        return true;
}

static void say(struct transfer_of *t, const char *word, int64_t done)
{
        struct mono now = mono_now();

        if (t->said.ns && mono_ms_between(t->said, now) < SAY_MS)
                return;
        t->said = now;
        printf("%s %" PRId64 " %" PRId64 "\n", word, done,
               t->part.total ? t->part.total : t->part.size);
}

static void say_checking(void *ctx, int64_t done)
{
        say(ctx, "checking", done);
}

/* --- room */

static int find_limit(struct transfer_of *t, struct err *e)
{
        struct statvfs s;

        if (fstatvfs(t->part.fd, &s))
                return err_sys(e, -errno, "cannot tell the free space of %s", t->f->folder);
        int64_t room = (int64_t)(s.f_bavail * s.f_frsize) - t->f->reserve_bytes;
        t->limit = t->part.size + (room > 0 ? room : 0);
        return 0;
}

static int check_size(struct transfer_of *t, int64_t size, struct err *e)
{
        if (size > t->f->max_bytes)
                return err_set(e, -EINVAL,
                               "the file is larger than %" PRId64 " bytes, which is the most that "
                               "is taken",
                               t->f->max_bytes);
        if (size > t->limit)
                return err_set(e, -ENOSPC,
                               "the pool has no room: of %" PRId64 " bytes it could take %" PRId64
                               ", and keep %" PRId64 " free",
                               size, t->limit, t->f->reserve_bytes);
        return 0;
}

/* --- the answer's header */

static bool header_is(const char *line, const char *name, char *out, size_t size)
{
        size_t n = strlen(name);

        if (strncasecmp(line, name, n) != 0 || line[n] != ':')
                return false;
        const char *v = line + n + 1 + strspn(line + n + 1, " \t");
        size_t len = strcspn(v, "\r\n");
        if (len < size)
                snprintf(out, size, "%.*s", (int)len, v);
        return true;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
        struct transfer_of *t = ctx;
        struct answer *a = &t->answer;
        char line[1024], range[128] = "";

        n *= size;
        snprintf(line, sizeof(line), "%.*s", (int)n, data);
        if (!strncasecmp(line, "HTTP/", 5)) /* of a redirect's target, for example */
                *a = (struct answer){.from = -1, .range_total = -1};
        else if (header_is(line, "Content-Range", range, sizeof(range)))
                (void)sscanf(range, "bytes %" SCNd64 "-%*[0-9]/%" SCNd64, &a->from,
                             &a->range_total);
        else if (!header_is(line, "ETag", a->etag, sizeof(a->etag)) &&
                 !header_is(line, "Last-Modified", a->modified, sizeof(a->modified)))
                (void)header_is(line, "Content-Encoding", a->encoding, sizeof(a->encoding));
        return n;
}

/* A weak ETag does not promise the same bytes. */
static const char *validator_of(const struct answer *a)
{
        return *a->etag && strncmp(a->etag, "W/", 2) != 0 ? a->etag : *a->etag ? "" : a->modified;
}

/* --- the answer's body */

/* Where the first byte belongs: behind what there is, or it all begins anew. */
static int begin_body(struct transfer_of *t, struct err *e)
{
        const struct answer *a = &t->answer;
        curl_off_t length = -1;
        long status = 0;

        curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        t->begun = true;
        if (*a->encoding && strcasecmp(a->encoding, "identity") != 0)
                return err_set(e, -EPROTO, "the server sends it encoded as %s, unasked",
                               a->encoding);
        if (status == 206 && t->asked_from && a->from == t->asked_from &&
            !strcmp(validator_of(a), t->part.validator)) {
                t->part.patched = true;
                if (a->range_total > 0)
                        t->part.total = a->range_total;
        } else if (status == 206) { /* not what was asked for: ask for all of it */
                int rc = part_restart(&t->part, "", 0, e);
                return rc ? rc
                          : err_set(e, -EPROTO,
                                    "the server sent a part of another version than "
                                    "was asked for");
        } else if (status == 200) {
                int rc = part_restart(&t->part, validator_of(a), length > 0 ? length : 0, e);
                if (rc)
                        return rc;
        } else {
                return err_set(e, -EPROTO, "the server answers %ld", status);
        }
        int rc = find_limit(t, e);
        return rc ? rc : check_size(t, t->part.total, e);
}

static int sync_now_and_then(struct transfer_of *t, struct err *e)
{
        struct mono now = mono_now();

        if (t->part.size - t->part.synced < SYNC_BYTES && mono_ms_between(t->synced, now) < SYNC_MS)
                return 0;
        int rc = part_sync(&t->part, e);
        t->synced = mono_now();
        return rc ? rc : find_limit(t, e);
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
        struct transfer_of *t = ctx;
        struct err e = {0};
        int rc = t->begun ? 0 : begin_body(t, &e);

        n *= size;
        if (!rc)
                rc = check_size(t, t->part.size + (int64_t)n, &e);
        if (!rc)
                rc = part_append(&t->part, data, n, &e);
        if (!rc)
                rc = sync_now_and_then(t, &e);
        if (rc) {
                t->err = e;
                return 0; /* which ends the transfer */
        }
        say(t, "fetching", t->part.size);
        return n;
}

/* --- whom it may ask */

static bool own_v4(uint32_t a)
{
        return a >> 24 == 127 || a >> 24 == 0 || a >> 16 == 0xa9fe /* 169.254: metadata services */
               || a >> 28 >= 0xe;
}

static bool own_address(const struct sockaddr *sa)
{
        if (sa->sa_family == AF_INET)
                return own_v4(
                        ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr));
        if (sa->sa_family != AF_INET6)
                return true;
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_V4COMPAT(a))
                return own_v4((uint32_t)a->s6_addr[12] << 24 | (uint32_t)a->s6_addr[13] << 16 |
                              (uint32_t)a->s6_addr[14] << 8 | a->s6_addr[15]);
        return IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LINKLOCAL(a) ||
               IN6_IS_ADDR_MULTICAST(a);
}

/* After names are resolved and redirects followed: here nothing is hidden any more. */
static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
        struct transfer_of *t = ctx;

        (void)purpose;
        if (!t->f->local && own_address(&to->addr)) {
                err_set(&t->err, -EACCES, "loopback and link-local addresses are not allowed");
                return CURL_SOCKET_BAD;
        }
        t->err.code = 0;
        return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* --- one request */

static void set_up(struct transfer_of *t, const char *range, struct curl_slist *headers)
{
        const struct fetch *f = t->f;
        CURL *c = t->curl;

        curl_easy_setopt(c, CURLOPT_URL, f->url);
        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, *f->sha256 ? "http,https" : "https");
        curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)FETCH_REDIRECTS_MAX);
        curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_HTTP_CONTENT_DECODING, 0L);
        curl_easy_setopt(c, CURLOPT_USERAGENT, "drover-agent");
        curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT,
                         (long)(f->stall_s < CONNECT_S ? f->stall_s : CONNECT_S));
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)FETCH_STALL_BYTES);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)f->stall_s);
        curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
        curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t);
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        if (*range)
                curl_easy_setopt(c, CURLOPT_RANGE, range);
        if (*f->ca)
                curl_easy_setopt(c, CURLOPT_CAINFO, f->ca);
}

/* All of it has come, as far as the answer tells. */
static int end_body(struct transfer_of *t, struct err *e)
{
        int rc = t->begun ? 0 : begin_body(t, e);

        if (!rc)
                rc = part_sync(&t->part, e);
        if (!rc && t->part.total && t->part.size != t->part.total)
                rc = err_set(e, -EPROTO, "the server sent %" PRId64 " bytes of %" PRId64,
                             t->part.size, t->part.total);
        if (!rc)
                t->part.total = t->part.size;
        return rc;
}

/* What is said of a failure; what has come until then is kept. */
static int failed(struct transfer_of *t, CURLcode code, const char *text, struct err *e)
{
        long status = 0;
        struct err ignored;

        curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
        if (t->err.code) {
                *e = t->err;
                if (e->code != -EINVAL && t->begun)
                        (void)!part_sync(&t->part, &ignored);
                return e->code;
        }
        if (status == 416) { /* the file is another one: shorter */
                int rc = part_restart(&t->part, "", 0, e);
                return rc ? rc : err_set(e, -EPROTO, "the server has no such part of the file");
        }
        if (t->begun)
                (void)!part_sync(&t->part, &ignored);
        if (code == CURLE_HTTP_RETURNED_ERROR)
                return err_set(e, -EIO, "the server answers %ld", status);
        return err_set(e, -EIO, "%s", *text ? text : curl_easy_strerror(code));
}

static int request(struct transfer_of *t, struct err *e)
{
        char range[32] = "", condition[PART_VALIDATOR_MAX + 16], text[CURL_ERROR_SIZE] = "";
        struct curl_slist *headers = NULL;

        t->curl = curl_easy_init();
        if (!t->curl)
                return err_set(e, -ENOMEM, "out of memory");
        t->begun = false;
        t->err = (struct err){0};
        t->asked_from = t->part.size;
        t->synced = mono_now();
        if (t->asked_from)
                snprintf(range, sizeof(range), "%" PRId64 "-", t->asked_from);
        if (*range && *t->part.validator) {
                snprintf(condition, sizeof(condition), "If-Range: %s", t->part.validator);
                headers = curl_slist_append(NULL, condition);
        }
        set_up(t, range, headers);
        curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, text);
        CURLcode code = curl_easy_perform(t->curl);
        int rc = code ? failed(t, code, text, e) : end_body(t, e);
        curl_slist_free_all(headers);
        curl_easy_cleanup(t->curl);
        t->curl = NULL;
        return rc;
}

/*
 * As often as it takes, while each request gets further than any before. Without a word from the
 * server by which to know the version again, only a checksum can tell that the halves fit.
 */
static int transfer(struct transfer_of *t, struct err *e)
{
        int64_t best = t->part.size;
        int rc;

        if (t->part.total && t->part.size == t->part.total)
                return 0;
        for (;;) {
                if (t->part.size && !*t->part.validator && !*t->f->sha256) {
                        rc = part_restart(&t->part, "", 0, e);
                        if (rc)
                                return rc;
                }
                rc = request(t, e);
                if (!rc || rc == -EINVAL || rc == -ENOSPC || t->part.size <= best)
                        return rc;
                best = t->part.size;
        }
}

/* --- all of it */

/* 1 when it has the sum that it must have, 0 when not. */
static int has_sum(struct transfer_of *t, struct err *e)
{
        char sum[PART_SHA256_SIZE] = "";
        int rc = part_sha256(&t->part, say_checking, t, sum, e);

        if (rc || !strcasecmp(sum, t->f->sha256))
                return rc ? rc : 1;
        err_set(e, -EINVAL, "the file's sha256 is %s and not %s as spec.source says", sum,
                t->f->sha256);
        return 0;
}

/* Halves may be of two files, whatever the server said: then once more as a whole. */
static int get(struct transfer_of *t, struct err *e)
{
        for (bool again = false;; again = true) {
                int rc = transfer(t, e);
                if (rc || !*t->f->sha256)
                        return rc;
                rc = has_sum(t, e);
                if (rc)
                        return rc > 0 ? 0 : rc;
                if (again || !t->part.patched)
                        return -EINVAL;
                rc = part_restart(&t->part, "", 0, e);
                if (rc)
                        return rc;
        }
}

static int get_and_check(struct transfer_of *t, struct err *e)
{
        struct image_format format;
        int rc = get(t, e);

        if (!rc)
                rc = format_check(t->part.path, t->f->max_virtual, true, &format, e);
        if (!rc && fchmod(t->part.fd, 0644)) /* QEMU may be another user */
                rc = err_sys(e, -errno, "cannot open %s to QEMU", t->part.path);
        if (!rc && fsync(t->part.fd))
                rc = err_sys(e, -errno, "cannot sync %s", t->part.path);
        return rc;
}

int fetch_run(const struct fetch *f, struct err *e)
{
        struct transfer_of t = {.f = f};
        char placed[PATH_MAX];
        struct stat s;

        snprintf(placed, sizeof(placed), "%s/%s", f->folder, f->uid);
        if (!stat(placed, &s)) { /* another was first */
                printf("checking %" PRId64 " %" PRId64 "\n", s.st_size, s.st_size);
                return 0;
        }
        if (make_folders(f->folder))
                return err_sys(e, -errno, "cannot create %s", f->folder);
        int rc = part_open(f->folder, f->uid, f->epoch, &t.part, e);
        if (!rc)
                rc = find_limit(&t, e);
        if (!rc)
                rc = get_and_check(&t, e);
        if (!rc)
                printf("checking %" PRId64 " %" PRId64 "\n", t.part.size, t.part.size);
        if (rc == -EINVAL)
                part_drop(&t.part);
        else
                part_close(&t.part);
        return rc;
}

int fetch_tool(char **argv)
{
        struct fetch f = {.folder = IMPORTED,
                          .uid = argv[1],
                          .epoch = strtoll(argv[2], NULL, 10),
                          .url = argv[3],
                          .sha256 = argv[4],
                          .ca = argv[6]};
        struct err e = {0};
        int local = 0;

        if (sscanf(argv[5], "%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%d", &f.max_bytes,
                   &f.max_virtual, &f.reserve_bytes, &f.stall_s, &local) != 5) {
                printf("\"%s\" are no limits\n", argv[5]);
                return 2;
        }
        f.local = local;
        if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
                printf("curl cannot be set up\n");
                return 1;
        }
        int rc = fetch_run(&f, &e);
        curl_global_cleanup();
        if (rc)
                printf("%s\n", e.msg);
        return rc == -EINVAL ? FETCH_REFUSED : rc ? 1 : 0;
}
