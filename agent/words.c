#include "agent/words.h"

#include "agent/files.h"
#include "agent/locks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIGITS    "0123456789"
#define HEX       DIGITS "abcdef"
#define NAME      DIGITS "abcdefghijklmnopqrstuvwxyz.-"
#define WORD_SIZE 64  /* of a file, padded with line feeds */
#define OLD_S     900 /* a word that is older by the storage's clock is left out: its node is gone */
#define DEAD_S    86400 /* ... and one that is older still is removed */

/* --- the text of a word: "drover INSTANCE NUMBER HOLDS" */

static void print_word(char out[WORD_SIZE], char **argv)
{
        char text[WORD_SIZE + 1];

        memset(out, '\n', WORD_SIZE);
        int n = snprintf(text, sizeof(text), "drover %.16s %.19s %.1s", argv[0], argv[1], argv[2]);
        memcpy(out, text, (size_t)n);
}

/* Three words separated by spaces, whole: nothing of a file that somebody else wrote is believed
 * that does not look like ours. */
static bool read_facts(char *text, struct sharing_look *out)
{
        char *save = NULL, *instance = strtok_r(text, " \n", &save);
        char *number = strtok_r(NULL, " \n", &save), *holds = strtok_r(NULL, " \n", &save);

        if (!instance || !number || !holds || strlen(instance) != SHARING_INSTANCE_MAX - 1 ||
            instance[strspn(instance, HEX)] || strlen(number) > 18 ||
            number[strspn(number, DIGITS)] || (strcmp(holds, "0") != 0 && strcmp(holds, "1") != 0))
                return false;
        memcpy(out->instance, instance, SHARING_INSTANCE_MAX);
        out->number = strtoll(number, NULL, 10);
        out->holds = *holds == '1';
        return true;
}

static bool is_node(const char *name)
{
        size_t len = strlen(name);

        return len > 0 && len < 254 && *name != '.' && *name != '-' && !name[strspn(name, NAME)];
}

/* --- the tool */

static int open_words(void)
{
        /* .drover is there, the probe of a healthy pool has made it: if not, this is no pool */
        autoclose int drover = open(".drover", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (drover < 0)
                return -1;
        (void)mkdirat(drover, "words", 0755); /* where it is missing, opening it says so */
        return openat(drover, "words", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* *at: when, by the clock of the storage. */
static bool write_word(int words, const char *node, char **facts, time_t *at)
{
        char text[WORD_SIZE];
        struct stat s;
        autoclose int fd = openat(words, node, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);

        print_word(text, facts);
        if (fd < 0 || pwrite(fd, text, sizeof(text), 0) != (ssize_t)sizeof(text) || fsync(fd) ||
            fstat(fd, &s))
                return false;
        *at = s.st_mtim.tv_sec;
        return true;
}

/* False when there is none, or one of a node that is gone. Nobody but nodes has regular files here,
 * but a fifo would hold us for ever. */
static bool read_word(int words, const char *node, time_t now, struct sharing_look *out)
{
        char text[WORD_SIZE + 1] = "";
        struct stat s;
        autoclose int fd =
                openat(words, node, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (fd < 0 || fstat(fd, &s) || !S_ISREG(s.st_mode))
                return false;
        if (now - s.st_mtim.tv_sec > DEAD_S)
                (void)unlinkat(words, node, 0);
        if (now - s.st_mtim.tv_sec > OLD_S)
                return false;
        ssize_t n = read(fd, text, WORD_SIZE);
        if (n != WORD_SIZE || strncmp(text, "drover ", 7) != 0)
                return false;
        return read_facts(text + 7, out);
}

static enum sharing_lock ask_for_lock(const char *node)
{
        switch (lock_ask(node)) {
        case LOCK_REFUSED:
                return SHARING_REFUSED;
        case LOCK_GRANTED:
                return SHARING_GRANTED;
        default:
                return SHARING_NO_LOCK;
        }
}

static int tell_others(const char *pool, int words, const char *self, time_t now)
{
        DIR *d = fdopendir(words);
        const struct dirent *entry;
        size_t told = 0;

        if (!d) {
                close(words);
                return complain("cannot read the words in", pool);
        }
        while (told < SHARING_PEERS_MAX && (entry = readdir(d))) {
                struct sharing_look l = {.word = true};
                const char *node = entry->d_name;

                if (!is_node(node) || !strcmp(node, self) || !read_word(words, node, now, &l))
                        continue;
                l.lock = ask_for_lock(node);
                printf("%s %s %" PRId64 " %d %d\n", node, l.instance, l.number, l.holds,
                       (int)l.lock);
                told++;
        }
        closedir(d);
        return 0;
}

int words_tool(char **argv)
{
        const char *pool = argv[0], *node = argv[1];
        bool only_look = strtoll(argv[3], NULL, 10) == WORDS_NONE;
        time_t now = time(NULL);
        int words = open_words();

        if (words < 0)
                return complain("cannot open the words in", pool);
        if (!only_look && !write_word(words, node, argv + 2, &now)) {
                complain("cannot leave this node's word in", pool);
                close(words);
                return 1;
        }
        return tell_others(pool, words, node, now);
}

/* --- who runs it */

bool words_line(const char *line, size_t len, char node[254], struct sharing_look *out)
{
        struct sharing_look l = {.word = true};
        char text[512], *facts, *lock;

        if (len >= sizeof(text))
                return false;
        memcpy(text, line, len);
        text[len] = '\0';
        if (!(facts = strchr(text, ' ')) || !(lock = strrchr(text, ' ')) || lock <= facts)
                return false;
        *facts++ = *lock++ = '\0';
        if (!is_node(text) || *lock < '0' || *lock > '0' + SHARING_GRANTED || lock[1] ||
            !read_facts(facts, &l))
                return false;
        l.lock = (enum sharing_lock)(*lock - '0');
        memcpy(node, text, strlen(text) + 1);
        *out = l;
        return true;
}
