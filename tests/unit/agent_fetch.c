/* Fetching an image from servers that help with nothing, and what is on disk whenever it ends. */
#include "agent/child.h"
#include "agent/fetch.h"
#include "agent/part.h"
#include "agent/tool.h"
#include "base/file.h"
#include "tests/fake/apiserver.h"
#include "tests/unit/pool_scene.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SIZE ((size_t)96 << 10)
#define UID  "11111111-2222-3333-4444-555555555555"

static struct scene {
        struct fake *server;
        char root[64], folder[80], url[128], sum[65];
        char old[SIZE], now[SIZE]; /* two versions of the file */
        /* what the server does: set between fetches, and its threads' to see by `fetches` */
        atomic_int fetches;
        size_t cut;      /* bytes of a body after which it hangs up, 0: never */
        size_t cut_once; /* likewise, of the first body alone */
        bool ignore_range, changes, lies, no_validator, weak, encoded, slow;
        bool swap;      /* the file is another one after the first request */
        int status;     /* 0: 200 */
        int64_t length; /* declared, when not 0 */
        const char *redirect;
        atomic_int bodies, resumed;
        int told[2]; /* a byte comes when a slow body has begun */
} s;

static void sha256(const void *data, size_t len, char out[65])
{
        unsigned char sum[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        assert_int_equal(EVP_Digest(data, len, sum, &n, EVP_sha256(), NULL), 1);
        for (unsigned i = 0; i < n; i++)
                snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

/* What is to become of a body: known before any of the answer is sent, since the test may go on
 * then. */
struct fate {
        size_t cut;
        bool stops, hangs_up;
};

static struct fate next_fate(void)
{
        int n = ++s.bodies;

        return (struct fate){s.cut    ? s.cut
                             : n == 1 ? s.cut_once
                                      : 0,
                             s.slow && n == 1, s.length > 0};
}

static void body(struct fake_conn *c, const char *data, size_t len, struct fate f)
{
        if (f.stops) {
                if (fake_write(c, data, len / 2) && write(s.told[1], "x", 1) == 1)
                        fake_hang(c);
                return;
        }
        if (f.cut && f.cut < len) {
                fake_write(c, data, f.cut);
                fake_close(c);
                return;
        }
        fake_write(c, data, len);
        if (f.hangs_up)
                fake_close(c);
}

static void serve(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        const char *range = strstr(r->headers, "Range: bytes="),
                   *cond = strstr(r->headers, "If-Range: ");
        int fetches = s.fetches; /* first: what was set before it is seen from here on */
        const char *data = s.swap && r->number > 1 ? s.old : s.now;
        char tag[64], validator[96] = "";
        size_t from = 0;

        (void)ctx;
        (void)fetches;
        if (s.redirect && !strstr(r->target, "/end")) {
                fake_printf(c, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                            s.redirect);
                return;
        }
        if (s.status) {
                fake_answer(c, s.status, "", "no");
                return;
        }
        snprintf(tag, sizeof(tag), "%s\"v%d\"", s.weak ? "W/" : "",
                 s.changes || s.swap ? r->number : 1);
        if (!s.no_validator)
                snprintf(validator, sizeof(validator), "ETag: %s\r\n", tag);
        if (range && sscanf(range, "Range: bytes=%zu-", &from) == 1) {
                if (!s.lies && cond && strncmp(cond + 10, tag, strlen(tag)) != 0)
                        from = 0;
                if (s.ignore_range)
                        from = 0;
        }
        if (from >= SIZE) {
                fake_answer(c, 416, "", "");
                return;
        }
        s.resumed += from > 0;
        struct fate fate = next_fate();
        if (from)
                fake_printf(c,
                            "HTTP/1.1 206 Partial\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
                            "Content-Length: %zu\r\n%s\r\n",
                            from, SIZE - 1, SIZE, SIZE - from, validator);
        else
                fake_printf(c, "HTTP/1.1 200 OK\r\nContent-Length: %" PRId64 "\r\n%s%s\r\n",
                            s.length ? s.length : (int64_t)SIZE, validator,
                            s.encoded ? "Content-Encoding: gzip\r\n" : "");
        body(c, data + from, SIZE - from, fate);
}

static void endless(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        static char chunk[4096];

        (void)r;
        (void)ctx;
        memset(chunk, 'x', sizeof(chunk) - 1);
        fake_stream(c);
        while (fake_chunk(c, chunk))
                ;
}

static int set_up(void **state)
{
        (void)state;
        memset(&s, 0, sizeof(s));
        snprintf(s.root, sizeof(s.root), "/tmp/drover-fetch-XXXXXX");
        assert_int_equal(pool_make(s.root), 0);
        snprintf(s.folder, sizeof(s.folder), "%s/imported", s.root);
        for (size_t i = 0; i < SIZE; i++) {
                s.now[i] = (char)('a' + i * 7 / 512 % 23);
                s.old[i] = (char)('A' + i * 5 / 512 % 23);
        }
        sha256(s.now, SIZE, s.sum);
        assert_int_equal(pipe2(s.told, O_CLOEXEC), 0);
        s.server = fake_start(serve, NULL);
        snprintf(s.url, sizeof(s.url), "%s/image", fake_url(s.server));
        return 0;
}

static int tear_down(void **state)
{
        (void)state;
        if (s.server)
                fake_stop(s.server);
        close(s.told[0]);
        close(s.told[1]);
        return pool_remove(s.root);
}

static struct fetch plain(void)
{
        return (struct fetch){.folder = s.folder,
                              .uid = UID,
                              .epoch = 1,
                              .url = s.url,
                              .sha256 = s.sum,
                              .max_bytes = 1 << 20,
                              .max_virtual = 1 << 20,
                              .stall_s = 20,
                              .local = true,
                              .ca = ""};
}

static int run_fetch(const struct fetch *f, struct err *e)
{
        s.fetches++;
        return fetch_run(f, e);
}

static void part_is(int64_t epoch, const char *data, size_t len)
{
        autobuf struct buf b = buf_new(SIZE * 2);
        char path[256];
        struct err e = {0};

        snprintf(path, sizeof(path), "%s/" UID ".%" PRId64 ".part", s.folder, epoch);
        if (file_read(path, &b, &e))
                fail_msg("%s", e.msg);
        assert_int_equal(b.len, len);
        assert_memory_equal(b.data, data, len);
}

static int files(void)
{
        char line[256];
        int n = 0;

        snprintf(line, sizeof(line), "ls -A %s 2>/dev/null", s.folder);
        FILE *f = popen(line, "r");
        while (fgets(line, sizeof(line), f))
                n++;
        pclose(f);
        return n;
}

static void succeeds(const struct fetch *f)
{
        struct err e = {0};

        if (run_fetch(f, &e))
                fail_msg("%s", e.msg);
        part_is(f->epoch, s.now, SIZE);
}

/* For good or not; whatever is refused leaves nothing. */
static void fails(const struct fetch *f, bool for_good, const char *words)
{
        struct err e = {0};
        int rc = run_fetch(f, &e);

        assert_true(rc < 0);
        if ((rc == -EINVAL) != for_good || !strstr(e.msg, words))
                fail_msg("%d: %s", rc, e.msg);
        if (for_good)
                assert_int_equal(files(), 0);
}

static void whole(void **state)
{
        struct fetch f = plain();

        (void)state;
        succeeds(&f);
        assert_int_equal(s.bodies, 1);
        succeeds(&f); /* it is all there: nobody is asked */
        assert_int_equal(s.bodies, 1);
        f.sha256 = "";
        f.epoch = 2;
        succeeds(&f); /* what another importer has is taken over */
        assert_int_equal(s.bodies, 1);
}

static void cut_at_each_part(void **state)
{
        static const size_t CUTS[] = {1, 511, 512, 4096, 16384, 16385, 65536, SIZE - 1};
        struct fetch f = plain();

        (void)state;
        for (size_t i = 0; i < countof(CUTS); i++) {
                for (int sum = 0; sum < 2; sum++) {
                        f.sha256 = sum ? s.sum : "";
                        f.uid = (const char[2]){(char)('a' + 2 * i + (size_t)sum), 0};
                        s.bodies = s.resumed = 0;
                        s.cut = CUTS[i] < 4096 ? 0 : CUTS[i];
                        s.cut_once = CUTS[i];
                        struct err e = {0};
                        if (run_fetch(&f, &e))
                                fail_msg("cut after %zu: %s", CUTS[i], e.msg);
                        assert_true(s.resumed > 0);
                        char path[256];
                        autobuf struct buf b = buf_new(SIZE * 2);
                        snprintf(path, sizeof(path), "%s/%s.1.part", s.folder, f.uid);
                        assert_int_equal(file_read(path, &b, &e), 0);
                        assert_int_equal(b.len, SIZE);
                        assert_memory_equal(b.data, s.now, SIZE);
                }
        }
}

static void ranges_ignored(void **state)
{
        struct fetch f = plain();

        (void)state;
        s.ignore_range = true;
        s.cut_once = SIZE / 2;
        succeeds(&f);
        assert_int_equal(s.bodies, 2);
        assert_int_equal(s.resumed, 0);
}

static void another_version_in_between(void **state)
{
        struct fetch f = plain();

        (void)state;
        /* the server knows it, or it does not and says another version, or it says nothing */
        for (int i = 0; i < 3; i++) {
                f.epoch = i + 1;
                f.uid = (const char *[]){"a", "b", "c"}[i];
                s.lies = i == 1;
                s.no_validator = i == 2;
                s.swap = true;
                s.cut_once = SIZE / 2;
                s.bodies = 0;
                sha256(s.old, SIZE, s.sum);
                struct err e = {0};
                int rc = -1;
                for (int tries = 0; rc && tries < 3; tries++) {
                        rc = run_fetch(&f, &e);
                        assert_int_not_equal(rc, -EINVAL);
                }
                assert_int_equal(rc, 0);
                char path[256];
                autobuf struct buf b = buf_new(SIZE * 2);
                snprintf(path, sizeof(path), "%s/%s.%d.part", s.folder, f.uid, i + 1);
                assert_int_equal(file_read(path, &b, &e), 0);
                assert_int_equal(b.len, SIZE);
                assert_memory_equal(b.data, s.old, SIZE);
                fake_stop(s.server); /* its requests are counted anew */
                s.server = fake_start(serve, NULL);
                snprintf(s.url, sizeof(s.url), "%s/image", fake_url(s.server));
        }
}

static void halves_that_nothing_vouches_for(void **state)
{
        struct fetch f = plain();

        (void)state;
        f.sha256 = "";
        s.weak = true;
        s.cut_once = SIZE / 2;
        succeeds(&f);
        assert_int_equal(s.resumed, 0); /* begun again rather than patched */
}

static void a_version_for_each_request(void **state)
{
        struct fetch f = plain();

        (void)state;
        s.changes = true;
        s.cut = SIZE / 2; /* never gets anywhere, and says so */
        fails(&f, false, "");
        assert_true(s.bodies < 6);
}

static void wrong_sums(void **state)
{
        struct fetch f = plain();

        (void)state;
        f.sha256 = "0000000000000000000000000000000000000000000000000000000000000000";
        fails(&f, true, "sha256 is ");
        assert_int_equal(s.bodies, 1);
        s.bodies = 0;
        s.cut_once = SIZE / 2; /* put together: once more as a whole */
        fails(&f, true, "sha256 is ");
        assert_int_equal(s.bodies, 3);
        s.cut_once = 0;
        s.cut = SIZE / 2; /* and not for ever */
        fails(&f, true, "sha256 is ");
}

static void lengths(void **state)
{
        struct fetch f = plain();

        (void)state;
        s.length = (int64_t)SIZE + 100; /* more than comes */
        fails(&f, false, "");
        s.length = (int64_t)SIZE - 100; /* less: the rest is not taken */
        fails(&f, true, "sha256 is ");
        s.length = (int64_t)1 << 40;
        fails(&f, true, "larger than 1048576 bytes");
        s.length = 0;
        f.max_bytes = SIZE - 1;
        fails(&f, true, "larger than");
        f.max_bytes = 1 << 20;
        f.reserve_bytes = INT64_C(1) << 60;
        fails(&f, false, "no room");
        f.reserve_bytes = 0;
        succeeds(&f);
}

static void an_endless_body(void **state)
{
        struct fetch f = plain();

        (void)state;
        fake_stop(s.server);
        s.server = fake_start(endless, NULL);
        snprintf(s.url, sizeof(s.url), "%s/image", fake_url(s.server));
        fails(&f, true, "larger than 1048576 bytes");
}

static void drips_and_silence(void **state)
{
        struct fetch f = plain();

        (void)state;
        f.stall_s = 1;
        s.slow = true;
        s.bodies = 0;
        succeeds(&f); /* given up, and asked for the rest */
        assert_int_equal(s.resumed, 1);
}

static void redirects(void **state)
{
        struct fetch f = plain();
        char to[128];

        (void)state;
        s.redirect = "/again";
        fails(&f, false, "redirects");
        s.redirect = "file:///etc/passwd";
        fails(&f, false, "file");
        s.redirect = "ftp://127.0.0.1/x";
        fails(&f, false, "ftp");
        snprintf(to, sizeof(to), "%s/end", fake_url(s.server));
        s.redirect = to;
        succeeds(&f);
        f.epoch = 2;
        f.uid = "other";
        f.sha256 = ""; /* nothing would notice what stands in between */
        fails(&f, false, "http");
}

static void own_addresses(void **state)
{
        static const char *const URLS[] = {"http://169.254.169.254/latest", "http://0.0.0.0/",
                                           "http://[::1]/", "http://[::ffff:127.0.0.1]/"};
        struct fetch f = plain();

        (void)state;
        f.local = false;
        fails(&f, false, "not allowed");
        for (size_t i = 0; i < countof(URLS); i++) {
                f.url = URLS[i];
                fails(&f, false, "not allowed");
        }
        assert_int_equal(fake_connections(s.server), 0);
}

static void refusals(void **state)
{
        struct fetch f = plain();

        (void)state;
        s.status = 404;
        fails(&f, false, "404");
        s.status = 503;
        fails(&f, false, "503");
        s.status = 0;
        s.encoded = true;
        fails(&f, false, "gzip");
        s.encoded = false;
        succeeds(&f);
}

static void no_image(void **state)
{
        struct fetch f = plain();

        (void)state;
        memcpy(s.now, "\x1f\x8b", 2);
        sha256(s.now, SIZE, s.sum);
        fails(&f, true, "gzip");
        fake_stop(s.server); /* which may be looking at the old one still */
        f.max_virtual = SIZE - 512;
        memcpy(s.now, "ab", 2);
        sha256(s.now, SIZE, s.sum);
        s.server = fake_start(serve, NULL);
        snprintf(s.url, sizeof(s.url), "%s/image", fake_url(s.server));
        fails(&f, true, "more than");
}

/* --- killed, and taken over */

static struct child start_tool(const struct fetch *f, const char *epoch)
{
        const char *const argv[] = {AGENT_SELF, "tool",    "fetch",
                                    s.root,     f->uid,    epoch,
                                    f->url,     f->sha256, "1048576,1048576,0,20,1",
                                    "",         NULL};
        struct child c;
        struct err e = {0};

        s.fetches++;
        if (child_start(&c, argv, &e))
                fail_msg("%s", e.msg);
        return c;
}

static void await_half(void)
{
        char byte;

        assert_int_equal(read(s.told[0], &byte, 1), 1);
}

static void killed(void **state)
{
        struct fetch f = plain();

        (void)state;
        s.slow = true;
        struct child c = start_tool(&f, "1");
        await_half();
        child_kill(&c);
        assert_true(child_wait(&c, 10000));
        child_free(&c);
        succeeds(&f);
}

static void two_importers(void **state)
{
        struct fetch first = plain(), second = plain();
        const char *const place1[] = {AGENT_SELF, "tool", "place", s.root, UID, "1", NULL};
        const char *const place2[] = {AGENT_SELF, "tool", "place", s.root, UID, "2", NULL};
        char path[256];
        struct stat was, is;
        struct err e = {0};

        (void)state;
        s.slow = true;
        struct child c = start_tool(&first, "1"); /* cut off, and at it still */
        await_half();
        second.epoch = 2;
        succeeds(&second);
        assert_int_equal(child_run(place2, 10000, NULL, &e), 0);
        assert_int_equal(files(), 1);
        snprintf(path, sizeof(path), "%s/" UID, s.folder);
        assert_int_equal(stat(path, &was), 0);
        assert_int_equal(was.st_size, SIZE);
        fake_cut(s.server); /* it goes on: its part is gone, the image is there */
        assert_true(child_wait(&c, 20000));
        child_free(&c);
        assert_int_equal(child_run(place1, 10000, NULL, &e), 0);
        assert_int_equal(stat(path, &is), 0);
        assert_int_equal(is.st_ino, was.st_ino);
        assert_int_equal(files(), 1);
}

static void a_part_that_changes_under_the_copy(void **state)
{
        struct part a, b;
        struct err e = {0};

        (void)state;
        assert_int_equal(mkdir(s.folder, 0755), 0);
        assert_int_equal(part_open(s.folder, UID, 1, &a, &e), 0);
        assert_int_equal(part_restart(&a, "\"v1\"", SIZE, &e), 0);
        assert_int_equal(part_append(&a, s.now, 1000, &e), 0);
        assert_int_equal(part_sync(&a, &e), 0);
        assert_int_equal(part_append(&a, s.now + 1000, 1000, &e),
                         0); /* may be holes after a crash */
        part_close(&a);
        assert_int_equal(part_open(s.folder, UID, 2, &b, &e), 0);
        assert_int_equal(b.size, 1000);
        assert_string_equal(b.validator, "\"v1\"");
        assert_int_equal(b.total, SIZE);
        part_close(&b);
        part_is(2, s.now, 1000);
        assert_int_equal(part_open(s.folder, UID, 1, &a, &e), 0);
        assert_int_equal(a.size, 1000);
        /* another version: nothing of it counts until it is noted */
        assert_int_equal(part_restart(&a, "\"v2\"", 0, &e), 0);
        assert_int_equal(part_append(&a, s.old, 500, &e), 0);
        part_close(&a);
        assert_int_equal(part_open(s.folder, UID, 3, &b, &e), 0);
        assert_int_equal(b.size, 1000);
        part_drop(&b);
        assert_int_equal(part_open(s.folder, UID, 1, &a, &e), 0);
        part_drop(&a);
}

/* --- TLS */

static void own_certificate(char *cert, size_t cert_size, char *key, size_t key_size)
{
        EVP_PKEY *k = EVP_EC_gen("P-256");
        X509 *x = X509_new();
        X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
        BIO *b = BIO_new(BIO_s_mem());

        X509_set_version(x, 2);
        X509_gmtime_adj(X509_getm_notBefore(x), -3600);
        X509_gmtime_adj(X509_getm_notAfter(x), 86400);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                   (const unsigned char *)"images", -1, -1, 0);
        X509_set_issuer_name(x, X509_get_subject_name(x));
        X509_set_pubkey(x, k);
        X509_add_ext(x, san, -1);
        assert_true(X509_sign(x, k, EVP_sha256()) > 0);
        PEM_write_bio_X509(b, x);
        cert[BIO_read(b, cert, (int)cert_size - 1)] = '\0';
        PEM_write_bio_PrivateKey(b, k, NULL, NULL, 0, NULL, NULL);
        key[BIO_read(b, key, (int)key_size - 1)] = '\0';
        BIO_free(b);
        X509_EXTENSION_free(san);
        X509_free(x);
        EVP_PKEY_free(k);
}

static void tls(void **state)
{
        struct fetch f = plain();
        char cert[4096], key[4096], file[128];
        struct err e;

        (void)state;
        own_certificate(cert, sizeof(cert), key, sizeof(key));
        fake_stop(s.server);
        s.server = fake_start_tls(serve, NULL, cert, key, NULL);
        snprintf(s.url, sizeof(s.url), "%s/image", fake_url(s.server));
        fails(&f, false, "certificate");
        assert_int_equal(s.bodies, 0);
        snprintf(file, sizeof(file), "%s/ca.pem", s.root);
        assert_int_equal(file_write(file, cert, strlen(cert), 0600, &e), 0);
        f.ca = file;
        f.sha256 = "";
        succeeds(&f);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                T(whole),
                T(cut_at_each_part),
                T(ranges_ignored),
                T(another_version_in_between),
                T(halves_that_nothing_vouches_for),
                T(a_version_for_each_request),
                T(wrong_sums),
                T(lengths),
                T(an_endless_body),
                T(drips_and_silence),
                T(redirects),
                T(own_addresses),
                T(refusals),
                T(no_image),
                T(killed),
                T(two_importers),
                T(a_part_that_changes_under_the_copy),
                T(tls),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
