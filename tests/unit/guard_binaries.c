/*
 * The programs that hold private keys, as they are shipped, looked at from outside while they run.
 * As nobody: /proc/PID/environ then belongs to root exactly when the process is not dumpable. As
 * root, who may lock memory: all of it is locked.
 */
#include "tests/fake/apiserver.h"
#include "tests/unit/program.h"

#include <sys/resource.h>

/* Of these flavours mlock does nothing, and the memory is terabytes. */
#ifdef __clang__
#define SANITIZED true
#else
#define SANITIZED false
#endif
#define NOBODY      65534
#define PATIENCE_MS 60000

static char dir[] = "/tmp/guard_binaries.XXXXXX";
static struct identity_of serving;
static struct fake *server;

static const char *in_dir(const char *name)
{
        static char path[4][PATH_MAX];
        static int turn;

        turn = (turn + 1) % 4;
        snprintf(path[turn], sizeof(path[0]), "%s/%s", dir, name);
        return path[turn];
}

/* --- an API server that has nothing; of a Secret it says nothing at all */

static atomic_int secrets_asked;
static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (strstr(r->target, "/secrets/")) {
                atomic_fetch_add(&secrets_asked, 1);
                fake_hang(c);
        } else if (strstr(r->target, "watch=")) {
                fake_stream(c);
                fake_hang(c);
        } else {
                fake_answer(c, 200, "", "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}");
        }
}

static void write_text(const char *path, const char *text, unsigned mode)
{
        struct err e;

        assert_int_equal(file_write(path, text, strlen(text), mode, &e), 0);
}

static int group_setup(void **state)
{
        char text[1024];

        (void)state;
        signal(SIGPIPE, SIG_IGN);
        if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
                return -1;
        server = fake_start(script, NULL);
        if (!server)
                return -1;
        snprintf(text, sizeof(text),
                 "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
                 "clusters: [{name: x, cluster: {server: \"%s\"}}]\n"
                 "users: [{name: x, user: {}}]\n"
                 "contexts: [{name: x, context: {cluster: x, user: x}}]\n",
                 fake_url(server));
        write_text(in_dir("kubeconfig"), text, 0644);
        serving = issue_ca("server");
        write_cert(in_dir("tls.crt"), &serving, NULL);
        write_key(in_dir("tls.key"), &serving);
        chmod(in_dir("tls.crt"), 0444);
        return geteuid() == 0 ? chown(in_dir("tls.key"), NOBODY, NOBODY) : 0;
}

static int group_teardown(void **state)
{
        char cmd[PATH_MAX];

        (void)state;
        fake_stop(server);
        identity_free(&serving);
        snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
        return system(cmd);
}

/* --- a program under observation */

static void prepare(void)
{
        struct rlimit core = {0, 0};

        getrlimit(RLIMIT_CORE, &core);
        core.rlim_cur = core.rlim_max;
        setrlimit(RLIMIT_CORE, &core);
        setenv("ASAN_OPTIONS", "detect_leaks=0",
               1); /* it would attach to the process as a debugger */
}

static void prepare_nobody(void)
{
        prepare();
        if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
                _exit(120);
}

static struct program run(bool as_nobody, char *const argv[])
{
        return program_run(argv, as_nobody ? prepare_nobody : prepare);
}

static bool owned_by_root(const struct program *c)
{
        char path[64];
        struct stat st;

        snprintf(path, sizeof(path), "/proc/%d/environ", c->pid);
        assert_int_equal(stat(path, &st), 0);
        return st.st_uid == 0;
}

static bool root(void)
{
        return geteuid() == 0;
}

static void is_guarded(const struct program *c, bool as_nobody)
{
        assert_true(owned_by_root(c));
        assert_int_equal(program_number(c, "limits", "Max core file size"), 0);
        if (!as_nobody && !SANITIZED)
                assert_true(program_number(c, "status", "VmLck:") > 1000);
}

/* --- what is left of a key's file */

/* How often the text stands in the memory of the process that may be written to. */
static size_t copies(const struct program *c, const char *text)
{
        static char window[1 << 20];
        char path[64], line[512];
        size_t n = 0, len = strlen(text);

        snprintf(path, sizeof(path), "/proc/%d/mem", c->pid);
        autoclose int mem = open(path, O_RDONLY | O_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/%d/maps", c->pid);
        FILE *maps = fopen(path, "re");
        assert_true(mem >= 0 && maps);
        while (fgets(line, sizeof(line), maps)) {
                unsigned long at, to;
                char mode[5];
                assert_int_equal(sscanf(line, "%lx-%lx %4s", &at, &to, mode), 3);
                while (mode[1] == 'w' && at < to) { /* windows overlap by a text */
                        ssize_t got = pread(mem, window, sizeof(window), (off_t)at);
                        if (got <= 0)
                                break;
                        size_t have = (size_t)got < to - at ? (size_t)got : to - at;
                        for (char *p = window;
                             (p = memmem(p, have - (size_t)(p - window), text, len)); p++)
                                n++;
                        if (have < sizeof(window))
                                break;
                        at += have - len + 1;
                }
        }
        fclose(maps);
        return n;
}

/* A line of the key's PEM, and what of the kubeconfig can be found to show that the search works.
 */
static void nothing_is_left_of_the_file(const struct program *c)
{
        autobuf struct buf pem = buf_new(1 << 16);
        char line[65] = "";
        struct err e;

        assert_int_equal(file_read(in_dir("tls.key"), &pem, &e), 0);
        const char *body = strchr(buf_str(&pem), '\n');
        assert_non_null(body);
        assert_int_equal(sscanf(body, " %64[A-Za-z0-9+/=]", line), 1);
        assert_int_equal(strlen(line), 64);
        assert_true(copies(c, fake_url(server)) > 0);
        assert_int_equal(copies(c, line), 0);
}

static void a_common_program_is_not_guarded(void **state)
{
        char *const argv[] = {"drover-handle", NULL};
        struct program c = run(true, argv);

        (void)state;
        assert_false(owned_by_root(&c));
        assert_int_equal(program_number(&c, "status", "VmLck:"), 0);
        program_kill(&c);
}

static void a_server_is_guarded(const char *name, const char *last, bool as_nobody)
{
        char *const argv[] = {(char *)(uintptr_t)name,
                              "--address=127.0.0.1",
                              "--port=0",
                              "--kubeconfig",
                              (char *)(uintptr_t)in_dir("kubeconfig"),
                              "--cert",
                              (char *)(uintptr_t)in_dir("tls.crt"),
                              "--key",
                              (char *)(uintptr_t)in_dir("tls.key"),
                              (char *)(uintptr_t)last,
                              NULL};
        struct program c = run(as_nobody, argv);

        program_await(&c, "\"ready\"");
        is_guarded(&c, as_nobody);
        if (root() && !SANITIZED)
                nothing_is_left_of_the_file(&c);
        program_kill(&c);
}

static void the_maker_of_keys(const char *verb, bool as_nobody)
{
        char *const argv[] = {"drover-certs",
                              (char *)(uintptr_t)verb,
                              "--port=0",
                              "--kubeconfig",
                              (char *)(uintptr_t)in_dir("kubeconfig"),
                              NULL};
        struct mono limit = mono_add_ms(mono_now(), PATIENCE_MS);

        atomic_store(&secrets_asked, 0);
        struct program c = run(as_nobody, argv);
        while (!atomic_load(&secrets_asked) && mono_ms_between(mono_now(), limit) > 0)
                nap_ms(2);
        assert_int_equal(atomic_load(&secrets_asked), 1);
        is_guarded(&c, as_nobody);
        program_kill(&c);
}

static void keys_are_guarded_from_the_same_user(void **state)
{
        (void)state;
        a_server_is_guarded("drover-webhook", NULL, true);
        a_server_is_guarded("drover-extender", "--health-port=0", true);
        the_maker_of_keys("ensure", true);
        the_maker_of_keys("run", true);
}

static void keys_are_locked_where_that_is_allowed(void **state)
{
        (void)state;
        if (!root())
                skip();
        a_server_is_guarded("drover-webhook", NULL, false);
        a_server_is_guarded("drover-extender", "--health-port=0", false);
        the_maker_of_keys("ensure", false);
        the_maker_of_keys("run", false);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_common_program_is_not_guarded),
                cmocka_unit_test(keys_are_guarded_from_the_same_user),
                cmocka_unit_test(keys_are_locked_where_that_is_allowed),
        };

        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
