#include "tests/fake/apiserver.h"
#include "tests/hostile/hostile.h"

#include "base/buf.h"

#include <dirent.h>
#include <sys/resource.h>

#define NOBODY 65534

static char dir[32];
static struct fake *apiserver;
static struct identity_of ca, serving, client;

static const char *in_dir(const char *name)
{
        static char path[8][PATH_MAX];
        static int turn;

        turn = (turn + 1) % 8;
        snprintf(path[turn], sizeof(path[0]), "%s/%s", dir, name);
        return path[turn];
}

/* --- the API server: one VM, one host, its heartbeat; no handle, no image */

static const char VMS[] =
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u1\",\"resourceVersion\":"
        "\"5\"},\"spec\":{\"cpu\":{\"cores\":1},\"memory\":{\"guest\":\"1Gi\"},\"nodeSelector\":{"
        "\"disk\":\"ssd\"},\"disks\":[{\"name\":\"root\",\"blank\":{\"size\":\"1Gi\"}}]}}";
static const char HOSTS[] =
        "{\"metadata\":{\"name\":\"node1\",\"resourceVersion\":\"6\"},\"status\":{\"capacity\":{"
        "\"cpus\":8,\"memory\":17179869184,\"slots\":3},\"used\":{\"cpus\":0,\"memory\":0,"
        "\"domains\":0},\"cpuModels\":[\"qemu64\"],\"bridges\":[\"br0\"],\"mounts\":[{\"pool\":"
        "\"default\",\"path\":\"/var/lib/drover\",\"fstype\":\"nfs4\",\"health\":\"Healthy\","
        "\"freeBytes\":9000000000}],\"domains\":[],\"conditions\":[{\"type\":\"Ready\",\"status\":"
        "\"True\"}]}}";
static char leases[512];

static const char *items_of(const char *target)
{
        return strstr(target, "/virtualmachines")       ? VMS
               : strstr(target, "/virtualmachinehosts") ? HOSTS
               : strstr(target, "/leases")              ? leases
                                                        : "";
}

static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        autobuf struct buf b = buf_new(1 << 16);

        (void)ctx;
        if (strstr(r->target, "watch=")) {
                fake_stream(c);
                fake_hang(c);
                return;
        }
        buf_addf(&b, "{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[%s]}",
                 items_of(r->target));
        fake_answer(c, 200, "", buf_str(&b));
}

static void write_kubeconfig(void)
{
        char text[1024];
        struct err e;
        int n = snprintf(text, sizeof(text),
                         "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
                         "clusters: [{name: x, cluster: {server: \"%s\"}}]\n"
                         "users: [{name: x, user: {}}]\n"
                         "contexts: [{name: x, context: {cluster: x, user: x}}]\n",
                         fake_url(apiserver));

        assert_int_equal(file_write(in_dir("kubeconfig"), text, (size_t)n, 0600, &e), 0);
}

void scene_start(void)
{
        static const char *const FILES[] = {".", "kubeconfig", "ca.crt", "tls.crt", "tls.key"};
        char now[RFC3339_MAX];

        signal(SIGPIPE, SIG_IGN);
        strcpy(dir, "/tmp/hostile.XXXXXX");
        assert_non_null(mkdtemp(dir));
        rfc3339_format(wall_us(), 6, now);
        snprintf(leases, sizeof(leases),
                 "{\"metadata\":{\"name\":\"drover-node-node1\",\"namespace\":\"drover-system\","
                 "\"resourceVersion\":\"7\"},\"spec\":{\"renewTime\":\"%s\"}}",
                 now);
        apiserver = fake_start(script, NULL);
        assert_non_null(apiserver);
        write_kubeconfig();
        ca = issue_ca("drover");
        serving = issue(&ca, "localhost", -1, "serverAuth", -60, 3600);
        client = issue(&ca, "drover-scheduler", -1, "clientAuth", -60, 3600);
        write_cert(in_dir("ca.crt"), &ca, NULL);
        write_cert(in_dir("tls.crt"), &serving, NULL);
        write_key(in_dir("tls.key"), &serving);
        for (size_t i = 0; i < countof(FILES) && geteuid() == 0; i++)
                assert_int_equal(chown(in_dir(FILES[i]), NOBODY, NOBODY), 0);
}

void scene_stop(void)
{
        char cmd[PATH_MAX];

        fake_stop(apiserver);
        identity_free(&ca);
        identity_free(&serving);
        identity_free(&client);
        snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
        assert_int_equal(system(cmd), 0);
}

/* --- what they are asked */

#define JSON_VALUES 262000 /* base/json.h's most, less what stands around them */

/* Of as many values as a review may have, which take the most memory. */
static void large_review(struct buf *b)
{
        buf_adds(b, "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\","
                    "\"request\":{\"uid\":\"705ab4f5\",\"kind\":{\"kind\":\"VirtualMachine\"},"
                    "\"namespace\":\"shop\",\"operation\":\"CREATE\",\"userInfo\":{\"username\":"
                    "\"anna\"},\"object\":{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\","
                    "\"managedFields\":[0");
        for (int i = 0; i < JSON_VALUES; i++)
                buf_adds(b, ",\"twenty-three-bytes-long\"");
        buf_adds(b, "]},\"spec\":{\"memory\":{\"guest\":\"1Gi\"}}}}}");
}

/* 500 whole Nodes, as with nodeCacheCapable: false. */
static void large_call(struct buf *b)
{
        static char note[14600];

        memset(note, 'n', sizeof(note) - 1);
        buf_adds(b, "{\"Pod\":{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"shop\",\"labels\":{"
                    "\"drover.dev/vm\":\"web\"}}},\"NodeNames\":null,\"Nodes\":{\"items\":[");
        for (int i = 1; i <= 500; i++)
                buf_addf(b, "%s{\"metadata\":{\"name\":\"node%d\",\"annotations\":{\"a\":\"%s\"}}}",
                         i > 1 ? "," : "", i, note);
        buf_adds(b, "]}}");
}

struct target webhook = {
        .name = "webhook",
        .path = "/mutate?timeout=10s",
        .ask = "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{"
               "\"uid\":\"705ab4f5\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":\"Pod\"},"
               "\"resource\":{\"group\":\"\",\"version\":\"v1\",\"resource\":\"pods\"},"
               "\"namespace\":\"shop\",\"operation\":\"CREATE\",\"userInfo\":{\"username\":"
               "\"system:serviceaccount:drover-system:drover-migrator\"},\"object\":{\"metadata\":{"
               "\"name\":\"web-1\",\"labels\":{\"drover.dev/vm\":\"web\"},\"annotations\":{"
               "\"drover.dev/"
               "vm-uid\":\"u1\"}},\"spec\":{\"containers\":[{\"name\":\"handle\"}]}}}}",
        .answer = "\"allowed\":true,",
        .large = large_review,
        .max_body = (size_t)7 << 20,
        /* two large reviews at a time as trees, of values of 80 bytes, and their texts */
        .busy_kib = 2 * (JSON_VALUES * 80 / 1024 + 7 * 1024),
        .limit_kib = 256 * 1024,
};
struct target extender = {
        .name = "extender",
        .path = "/filter",
        .ask = "{\"Pod\":{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"shop\",\"labels\":{"
               "\"drover.dev/vm\":\"web\"}}},\"Nodes\":null,\"NodeNames\":[\"node1\",\"node2\"]}",
        .answer = "\"NodeNames\":[\"node1\"]",
        .large = large_call,
        .max_body = (size_t)16 << 20,
        /* an answer with the Nodes that fit, a worker */
        .busy_kib = 2 * 16 * 1024,
        .limit_kib = 384 * 1024,
};

/* --- the programs */

/* As in a pod: not root, and with a limit to the memory that may be locked. */
static void confine(void)
{
        const struct rlimit locked = {64 << 10, 64 << 10};

        if (setrlimit(RLIMIT_MEMLOCK, &locked) < 0 ||
            (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)))
                _exit(120);
}

/* A port that nobody else gets while *lease is open, and that another socket may bind. */
static uint16_t lease_port(int *lease)
{
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(own);
        int on = 1;

        *lease = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(*lease, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        assert_int_equal(bind(*lease, (struct sockaddr *)&own, sizeof(own)), 0);
        assert_int_equal(getsockname(*lease, (struct sockaddr *)&own, &len), 0);
        return ntohs(own.sin_port);
}

static SSL_CTX *client_context(int version_max)
{
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

        SSL_CTX_set_max_proto_version(ctx, version_max);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca.cert);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        assert_int_equal(SSL_CTX_use_certificate(ctx, client.cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, client.key), 1);
        return ctx;
}

static void *drain(void *log)
{
        char line[4096];

        while (fgets(line, sizeof(line), log))
                ;
        return NULL;
}

static pthread_t drainer;

void target_start(struct target *t)
{
        char program[64], port[32];

        t->port = lease_port(&t->lease);
        snprintf(program, sizeof(program), "drover-%s", t->name);
        snprintf(port, sizeof(port), "--port=%u", t->port);
        const char *argv[16] = {program,        port,
                                "--address",    "127.0.0.1",
                                "--kubeconfig", in_dir("kubeconfig"),
                                "--cert",       in_dir("tls.crt"),
                                "--key",        in_dir("tls.key")};
        if (t == &extender) {
                const char *more[] = {"--client-ca", in_dir("ca.crt"), "--health-port=0",
                                      "--silent-seconds=3600"};
                memcpy(argv + 10, more, sizeof(more));
        }
        t->program = program_run((char **)(uintptr_t)argv, confine);
        program_await(&t->program, "\"ready\"");
        pthread_create(&drainer, NULL, drain, t->program.log);
        t->tls = client_context(0);
        t->tls12 = client_context(TLS1_2_VERSION);
}

void target_stop(struct target *t)
{
        kill(t->program.pid, SIGKILL);
        pthread_join(drainer, NULL);
        program_kill(&t->program);
        SSL_CTX_free(t->tls);
        SSL_CTX_free(t->tls12);
        close(t->lease);
}

long target_rss_kib(const struct target *t)
{
        return program_number(&t->program, "status", "VmRSS:");
}

long target_peak_kib(const struct target *t)
{
        long peak = program_number(&t->program, "status", "VmHWM:");
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/clear_refs", t->program.pid);
        autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && write(fd, "5", 1) != 1) /* forget the highest RSS */
                complain("%s: %s", path, strerror(errno));
        return peak;
}

int target_fds(const struct target *t)
{
        char path[64];
        int n = 0;

        snprintf(path, sizeof(path), "/proc/%d/fd", t->program.pid);
        DIR *d = opendir(path);
        if (!d)
                return -1;
        for (struct dirent *e; (e = readdir(d));)
                n += e->d_name[0] != '.';
        closedir(d);
        return n;
}
