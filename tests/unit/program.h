/*
 * For tests of the programs as they are shipped: starts one of the flavour that the test is of,
 * reads what it says, and looks at it through /proc.
 */
#ifndef DROVER_TESTS_UNIT_PROGRAM_H
#define DROVER_TESTS_UNIT_PROGRAM_H

#include "tests/unit/http_client.h"

#include <fcntl.h>
#include <sys/wait.h>

struct program {
        pid_t pid;
        FILE *log; /* what it writes */
};

/* The folder of the programs, beside that of the test. */
static inline const char *program_folder(void)
{
        static char path[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 8);

        assert_true(n > 0);
        path[n] = 0;
        for (int i = 0; i < 2; i++)
                *strrchr(path, '/') = 0;
        return strcat(path, "/bin");
}

/* Returns once argv[0] has been executed; prepare is called in the new process before. NULL: do
 * not. */
static inline struct program program_run(char *const argv[], void (*prepare)(void))
{
        char path[PATH_MAX + 64];
        int out[2], alive[2];

        snprintf(path, sizeof(path), "%s/%s", program_folder(), argv[0]);
        int fd = open(path, O_RDONLY | O_CLOEXEC); /* a folder on the way may be root's alone */
        assert_true(fd >= 0);
        assert_int_equal(pipe2(out, O_CLOEXEC) | pipe2(alive, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
                dup2(out[1], STDERR_FILENO);
                dup2(out[1], STDOUT_FILENO);
                if (prepare)
                        prepare();
                execveat(fd, "", argv, environ, AT_EMPTY_PATH);
                _exit(121);
        }
        close(fd);
        close(out[1]);
        close(alive[1]);
        char byte;
        assert_int_equal(read(alive[0], &byte, 1), 0);
        close(alive[0]);
        return (struct program){pid, fdopen(out[0], "r")};
}

static inline void program_kill(struct program *p)
{
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
        fclose(p->log);
}

/* Until it writes a line with that word. */
static inline void program_await(struct program *p, const char *word)
{
        char line[4096], last[4096] = "";

        while (fgets(line, sizeof(line), p->log)) {
                if (strstr(line, word))
                        return;
                memcpy(last, line, sizeof(last));
        }
        fail_msg("it ended without \"%s\": %s", word, last);
}

/* The number behind a word in a file of /proc/PID, -1: none. */
static inline long program_number(const struct program *p, const char *file, const char *word)
{
        char path[64], line[512];
        long n = -1;

        snprintf(path, sizeof(path), "/proc/%d/%s", p->pid, file);
        FILE *f = fopen(path, "re");
        assert_non_null(f);
        while (n < 0 && fgets(line, sizeof(line), f))
                if (strncmp(line, word, strlen(word)) == 0)
                        n = strtol(line + strlen(word), NULL, 10);
        fclose(f);
        return n;
}

#endif
