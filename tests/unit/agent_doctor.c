/* The test across nodes, with processes for nodes and folders for what they have mounted. */
#include "agent/doctor.h"
#include "agent/tool.h"
#include "base/json.h"
#include "tests/unit/pool_scene.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RUN "0123456789abcdef"

static char root[] = "/tmp/drover-doctor-XXXXXX";
static char dir_a[64], dir_b[64];

static int make_pools(void **state)
{
        char drover[80];

        (void)state;
        if (!mkdtemp(root))
                return -1;
        snprintf(dir_a, sizeof(dir_a), "%s/a", root);
        snprintf(dir_b, sizeof(dir_b), "%s/b", root);
        for (size_t i = 0; i < 2; i++) {
                const char *dir = i ? dir_b : dir_a;
                snprintf(drover, sizeof(drover), "%s/.drover", dir);
                if (mkdir(dir, 0755) || pool_mount(dir) || mkdir(drover, 0755))
                        return -1;
        }
        return 0;
}

static int remove_pools(void **state)
{
        char command[128];

        (void)state;
        if (umount2(dir_a, MNT_DETACH) || umount2(dir_b, MNT_DETACH))
                return -1;
        snprintf(command, sizeof(command), "rm -rf %s", root);
        return system(command); /* NOLINT(cert-env33-c) */
}

/* A node that takes part. */
struct node {
        pid_t pid;
        FILE *in, *out;
        char said[32768]; /* all of it */
};

static void start(struct node *n, const char *name, const char *pool)
{
        int in[2], out[2];

        assert_int_equal(pipe(in), 0);
        assert_int_equal(pipe(out), 0);
        n->said[0] = '\0';
        n->pid = fork();
        if (!n->pid) {
                struct agent_config c = {
                        .node = name, .pools = {{.name = "default", .path = pool}}, .npools = 1};
                const bool usable[] = {true};
                struct arena *a = arena_new(1 << 20);
                struct findings f = findings_new(a, 64);

                dup2(in[0], STDIN_FILENO);
                dup2(out[1], STDOUT_FILENO);
                for (int fd = 3; fd < 64; fd++)
                        close(fd);
                doctor_share(&c, RUN, usable, &f);
                arena_free(a);
                _exit(0);
        }
        close(in[0]);
        close(out[1]);
        n->in = fdopen(in[1], "w");
        n->out = fdopen(out[0], "r");
}

/* Reads until a line has that in it; false at the end. */
static bool until(struct node *n, const char *what)
{
        char line[4096];

        while (fgets(line, sizeof(line), n->out)) {
                strncat(n->said, line, sizeof(n->said) - strlen(n->said) - 1);
                if (strstr(line, what))
                        return true;
        }
        return false;
}

static void go(struct node *n)
{
        fputs("go default=n1 default=n2 other=n3 \n", n->in);
        fflush(n->in);
}

static void end(struct node *n)
{
        int status;

        if (n->in)
                fclose(n->in);
        (void)until(n, "\n\n");
        fclose(n->out);
        assert_int_equal(waitpid(n->pid, &status, 0), n->pid);
        assert_int_equal(status, 0);
}

static size_t files_in(const char *dir)
{
        char path[96];
        size_t n = 0;
        struct dirent *entry;

        snprintf(path, sizeof(path), "%s/.drover", dir);
        DIR *d = opendir(path);
        assert_non_null(d);
        while ((entry = readdir(d)))
                n += entry->d_name[0] != '.';
        closedir(d);
        return n;
}

/* n1 on dir_a, n2 on the other; what both have said, once they have looked. */
static void meet(struct node *a, struct node *b, const char *other)
{
        start(a, "n1", dir_a);
        start(b, "n2", other);
        assert_true(until(a, "\"waiting\""));
        assert_true(until(b, "\"waiting\""));
        go(a);
        go(b);
        assert_true(until(a, "\"done\""));
        assert_true(until(b, "\"done\""));
        end(a);
        end(b);
}

static void the_same_directory(void **state)
{
        static struct node a, b;

        (void)state;
        meet(&a, &b, dir_a);
        assert_non_null(strstr(a.said, "\"left\":\"default\""));
        assert_non_null(strstr(a.said, "\"clock\":"));
        assert_non_null(strstr(a.said, "what n2 has written reads the same here"));
        assert_non_null(strstr(a.said, "a lock that n2 holds is refused here"));
        assert_non_null(strstr(b.said, "what n1 has written reads the same here"));
        assert_null(strstr(a.said, "\"fault\""));
        assert_null(strstr(a.said, "what n1 has")); /* not itself */
        assert_int_equal(files_in(dir_a), 0);
}

static void another_directory(void **state)
{
        static struct node a, b;

        (void)state;
        meet(&a, &b, dir_b);
        assert_non_null(strstr(a.said, "another directory is mounted"));
        assert_non_null(strstr(b.said, "another directory is mounted"));
        assert_non_null(strstr(a.said, "\"fault\""));
        assert_int_equal(files_in(dir_a), 0);
        assert_int_equal(files_in(dir_b), 0);
}

/* Whoever asked is gone before the answer: the files are removed all the same. */
static void nobody_listens(void **state)
{
        static struct node a;

        (void)state;
        start(&a, "n1", dir_a);
        assert_true(until(&a, "\"left\""));
        assert_int_equal(files_in(dir_a), 2);
        fclose(a.out);
        a.out = fopen("/dev/null", "r");
        end(&a);
        assert_int_equal(files_in(dir_a), 0);
}

static void make_old(const char *name, bool old)
{
        char path[160];

        snprintf(path, sizeof(path), "%s/.drover/%s", dir_b, name);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        struct timespec when[2] = {{.tv_sec = time(NULL) - (old ? 7200 : 60)}, {0}};
        when[1] = when[0];
        assert_int_equal(futimens(fd, when), 0);
        close(fd);
}

/* What killed runs have left goes; what is of now, or of a node with such a name, stays. */
static void old_files_are_swept(void **state)
{
#define OLD_RUN "00112233445566778899aabbccddeeff"
        static struct node a;

        (void)state;
        make_old("moves-doctor-" OLD_RUN "-n1", true);
        make_old("lock-doctor-" OLD_RUN "-n7", true);
        make_old("doctor-" OLD_RUN "-n1", true);
        make_old("doctor-" OLD_RUN "-n2", false);
        make_old("lock-doctor-1", true);
        make_old("moves-doctor-node-12", true);
        make_old("identity", true);
        start(&a, "n1", dir_b);
        assert_true(until(&a, "\"waiting\""));
        end(&a);
        assert_int_equal(files_in(dir_b), 4);
}

static void a_pool_that_is_gone(void **state)
{
        static struct node a;

        (void)state;
        start(&a, "n1", "/nonexistent/pool");
        assert_true(until(&a, "\"waiting\""));
        assert_null(strstr(a.said, "\"left\""));
        assert_non_null(strstr(a.said, "no token for the other nodes can be left"));
        end(&a);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_same_directory),  cmocka_unit_test(another_directory),
                cmocka_unit_test(nobody_listens),      cmocka_unit_test(old_files_are_swept),
                cmocka_unit_test(a_pool_that_is_gone),
        };

        signal(SIGPIPE, SIG_IGN);
        setenv("NODE_NAME", "n1", 1); /* of the children */
        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        if (argc > 1 && !strcmp(argv[1], "doctor"))
                return agent_doctor(argc - 2, argv + 2);
        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, make_pools, remove_pools);
}
