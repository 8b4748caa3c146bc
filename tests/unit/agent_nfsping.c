/* NFS servers that answer, are silent, refuse, or talk nonsense; and where the server is. */
#include "agent/nfsping.h"
#include "base/mono.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* --- a server, on a thread of its own */

enum manner { ANSWERS, DENIES, SILENT, HANGS_UP, NONSENSE, ENDLESS };

static struct server {
        pthread_t thread;
        int listener, port;
        enum manner manner;
        int calls; /* read once the thread has ended */
        uint32_t program, version, procedure;
} server;

static bool read_all(int fd, void *data, size_t len)
{
        return recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

/* A call (RFC 5531): a record of XID, CALL, 2, program, version, procedure and credentials. */
static bool read_call(int fd, uint32_t *xid)
{
        uint32_t mark, word[64];

        if (!read_all(fd, &mark, 4))
                return false;
        size_t len = ntohl(mark) & 0x7fffffffU;
        if (len < 24 || len > sizeof(word) || !read_all(fd, word, len))
                return false;
        *xid = word[0];
        server.program = ntohl(word[3]);
        server.version = ntohl(word[4]);
        server.procedure = ntohl(word[5]);
        server.calls++;
        return true;
}

static void reply(int fd, uint32_t xid, uint32_t state)
{
        /* REPLY, accepted, no verifier, success; or denied */
        uint32_t word[] = {htonl(0x80000000U | 24), xid, htonl(1), htonl(state), 0, 0, 0};

        (void)!write(fd, word, sizeof(word));
}

static void misbehave(int fd)
{
        char junk[4096];

        memset(junk, 0x7f, sizeof(junk));
        do {
                if (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) < 0)
                        break;
        } while (server.manner == ENDLESS);
}

static void serve_one(int fd)
{
        char byte;
        uint32_t xid;

        if (server.manner == HANGS_UP || !read_call(fd, &xid))
                return;
        if (server.manner == ANSWERS)
                reply(fd, xid, 0);
        else if (server.manner == DENIES)
                reply(fd, xid, 1);
        else if (server.manner != SILENT)
                misbehave(fd);
        (void)!read(fd, &byte, 1); /* until the other side has gone */
}

static void *serve(void *arg)
{
        int fd = accept(server.listener, NULL, NULL);

        (void)arg;
        if (fd >= 0) {
                serve_one(fd);
                close(fd);
        }
        return NULL;
}

static void listen_somewhere(void)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(a);

        server = (struct server){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        assert_int_equal(bind(server.listener, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(listen(server.listener, 1), 0);
        assert_int_equal(getsockname(server.listener, (struct sockaddr *)&a, &len), 0);
        server.port = ntohs(a.sin_port);
}

static void start(enum manner m)
{
        listen_somewhere();
        server.manner = m;
        assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void stop(void)
{
        shutdown(server.listener, SHUT_RDWR);
        pthread_join(server.thread, NULL);
        close(server.listener);
}

/* --- pings of it */

/* As a thread that polls would; NFS_PING_PENDING when ms have gone by. */
static enum nfs_ping_state run(struct nfs_ping *p, int64_t ms)
{
        struct mono end = mono_add_ms(mono_now(), ms);
        enum nfs_ping_state s;

        while ((s = nfs_ping_step(p)) == NFS_PING_PENDING) {
                struct pollfd f = nfs_ping_fd(p);
                int64_t rest = mono_ms_between(mono_now(), end);
                if (rest <= 0)
                        break;
                assert_true(f.fd >= 0);
                assert_true(fcntl(f.fd, F_GETFD) & FD_CLOEXEC);
                poll(&f, 1, (int)rest);
        }
        return s;
}

static enum nfs_ping_state ping(int version, int64_t ms, char why[NFSPING_WHY_MAX])
{
        const struct nfs_server s = {"127.0.0.1", server.port, version};
        struct nfs_ping *p;
        struct err e;

        assert_int_equal(nfs_ping_start(&s, &p, &e), 0);
        enum nfs_ping_state state = run(p, ms);
        snprintf(why, NFSPING_WHY_MAX, "%s", nfs_ping_why(p));
        if (state != NFS_PING_PENDING)
                assert_int_equal(nfs_ping_fd(p).fd, -1); /* nothing to wait for any more */
        nfs_ping_free(p);
        return state;
}

static void one_that_answers(void **state)
{
        char why[NFSPING_WHY_MAX];

        (void)state;
        for (int version = 3; version <= 4; version++) {
                start(ANSWERS);
                assert_int_equal(ping(version, 20000, why), NFS_PING_ANSWERED);
                stop();
                assert_string_equal(why, "");
                assert_int_equal(server.calls, 1);
                assert_int_equal(server.program, 100003);
                assert_int_equal(server.version, version);
                assert_int_equal(server.procedure, 0); /* NULL */
        }
}

static void one_that_is_silent(void **state)
{
        char why[NFSPING_WHY_MAX];

        (void)state;
        start(SILENT);
        assert_int_equal(ping(4, 100, why), NFS_PING_PENDING);
        stop(); /* which it could not if the connection were still there */
        assert_int_equal(server.calls, 1);
}

static void those_that_fail(void **state)
{
        static const enum manner ROWS[] = {DENIES, HANGS_UP, NONSENSE, ENDLESS};
        char why[NFSPING_WHY_MAX];

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
                start(ROWS[i]);
                if (ping(4, 20000, why) != NFS_PING_FAILED || !*why || strchr(why, '\n'))
                        fail_msg("manner %d: \"%s\"", (int)ROWS[i], why);
                stop();
        }
}

static void one_that_is_not_there(void **state)
{
        char why[NFSPING_WHY_MAX];

        (void)state;
        listen_somewhere();
        close(server.listener);
        assert_int_equal(ping(4, 20000, why), NFS_PING_FAILED);
        assert_true(*why);
}

/* --- where the server is */

static void servers_of_mounts(void **state)
{
        static const struct {
                const char *fstype, *options;
                bool nfs;
                const char *address;
                int port, version;
        } ROWS[] = {
                {"nfs4", "rw,vers=4.2,proto=tcp,clientaddr=10.0.0.9,addr=10.0.0.1", true,
                 "10.0.0.1", 2049, 4},
                {"nfs4", "rw,vers=4.1,proto=tcp6,port=20490,addr=2001:db8::1", true, "2001:db8::1",
                 20490, 4},
                {"nfs", "rw,vers=3,proto=tcp,port=0,mountaddr=10.0.0.7,addr=10.0.0.1", true,
                 "10.0.0.1", 2049, 3},
                {"nfs", "rw,proto=tcp,addr=10.0.0.1", true, "10.0.0.1", 2049, 3},
                {"nfs", "rw,vers=3,proto=udp,addr=10.0.0.1", false, "", 0, 0},
                {"nfs4", "rw,proto=rdma,addr=10.0.0.1", false, "", 0, 0},
                {"nfs4", "rw,vers=4.2", false, "", 0, 0},
                {"nfs4", "rw,addr=nas.example", false, "", 0, 0}, /* nobody looks a name up */
                {"ext4", "rw,addr=10.0.0.1", false, "", 0, 0},
                {"fuse.bindfs", "rw", false, "", 0, 0},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
                struct mount_entry m = {0};
                struct nfs_server s = {0};
                snprintf(m.fstype, sizeof(m.fstype), "%s", ROWS[i].fstype);
                snprintf(m.options, sizeof(m.options), "%s", ROWS[i].options);
                if (nfs_server_of(&m, &s) != ROWS[i].nfs)
                        fail_msg("%s %s", ROWS[i].fstype, ROWS[i].options);
                assert_string_equal(s.address, ROWS[i].address);
                assert_int_equal(s.port, ROWS[i].port);
                assert_int_equal(s.version, ROWS[i].version);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_that_answers),  cmocka_unit_test(one_that_is_silent),
                cmocka_unit_test(those_that_fail),   cmocka_unit_test(one_that_is_not_there),
                cmocka_unit_test(servers_of_mounts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
