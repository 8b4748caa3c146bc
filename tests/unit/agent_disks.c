/*
 * What becomes of images and disks on a pool: which images are trusted, and that whatever moment a
 * tool is killed at, running it again leaves exactly one file and nothing else. The tools run under
 * ptrace, and are killed before and after each of their system calls that matter, in turn.
 */
#include "agent/child.h"
#include "agent/files.h"
#include "agent/format.h"
#include "agent/place.h"
#include "agent/tool.h"
#include "base/file.h"
#include "tests/unit/pool_scene.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UID     "11111111-2222-3333-4444-555555555555"
#define MAX     "1099511627776" /* 1 TiB */
#define MAX_INT ((int64_t)1 << 40)

static char pool[64];

static const char *in_pool(const char *name)
{
        static char path[16][256];
        static int i;

        i = (i + 1) % 16;
        snprintf(path[i], sizeof(path[i]), "%s/%s", pool, name);
        return path[i];
}

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* In the pool. */
static void shell(const char *fmt, ...)
{
        char line[2048], command[2200];
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(line, sizeof(line), fmt, ap);
        va_end(ap);
        snprintf(command, sizeof(command), "cd %s && { %s ; } >/dev/null", pool, line);
        if (system(command))
                fail_msg("%s", line);
}

/* All files of the pool but images/, sorted, one after the other. */
static void files_are(const char *want)
{
        autobuf struct buf out = buf_new(8192);
        char command[256];
        struct err e;
        const char *const argv[] = {"/bin/sh", "-c", command, NULL};

        snprintf(command, sizeof(command),
                 "cd %s && find . -type f ! -path './images/*' | LC_ALL=C sort | tr '\\n' ' '",
                 pool);
        assert_int_equal(child_run(argv, 10000, &out, &e), 0);
        assert_string_equal(buf_str(&out), want);
}

static int set_up(void **state)
{
        (void)state;
        snprintf(pool, sizeof(pool), "/tmp/drover-disks-XXXXXX");
        assert_int_equal(pool_make(pool), 0);
        shell("mkdir images imported && qemu-img create -q -f qcow2 images/base 1M && "
              "qemu-img create -q -f raw images/raw 1M");
        return 0;
}

static int tear_down(void **state)
{
        (void)state;
        return pool_remove(pool);
}

/* --- one run of a tool */

#define ARGS_MAX 9
struct run {
        char args[ARGS_MAX][256];
        int argc;
};

static struct run verb(const char *name, ...)
{
        struct run r = {.argc = 0};
        va_list ap;

        va_start(ap, name);
        for (const char *arg = name; arg; arg = va_arg(ap, const char *))
                snprintf(r.args[r.argc++], sizeof(r.args[0]), "%s", arg);
        va_end(ap);
        return r;
}

static void in_child(struct run *r)
{
        int null = open("/dev/null", O_WRONLY);
        char *argv[ARGS_MAX];

        for (int i = 0; i < r->argc; i++)
                argv[i] = r->args[i];
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        _exit(agent_tool(r->argc, argv));
}

/* The exit code. */
static int run(struct run *r)
{
        int status;
        pid_t pid = fork();

        if (!pid)
                in_child(r);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static bool matters(uint64_t nr)
{
        static const long CALLS[] = {
                SYS_openat, SYS_mkdirat, SYS_linkat, SYS_unlinkat,  SYS_renameat2,
#ifdef SYS_mkdir
                SYS_mkdir,  SYS_link,    SYS_unlink, SYS_rename,    SYS_rmdir,
#endif
                SYS_fsync,  SYS_clone,   SYS_wait4,  SYS_exit_group};

        for (size_t i = 0; i < countof(CALLS); i++)
                if ((long)nr == CALLS[i])
                        return true;
        return false;
}

/* Children of a tool that was killed fall to us: they are gone before anything else happens. */
static void reap_all(void)
{
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
                ;
}

/*
 * Runs the tool up to the n-th boundary of a call that matters and kills it there; false when it
 * came to its end before.
 */
static bool run_killed(struct run *r, int n)
{
        struct __ptrace_syscall_info info;
        uint64_t nr = 0;
        int status;
        pid_t pid = fork();

        if (!pid) {
                ptrace(PTRACE_TRACEME, 0, NULL, NULL);
                raise(SIGSTOP);
                in_child(r);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD), 0);
        for (int sig = 0;;) {
                assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)sig), 0);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                if (!WIFSTOPPED(status))
                        return false;
                sig = WSTOPSIG(status);
                if (sig != (SIGTRAP | 0x80))
                        continue;
                sig = 0;
                assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) > 0);
                if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
                        nr = info.entry.nr;
                if (matters(nr) && !n--)
                        break;
        }
        kill(pid, SIGKILL);
        reap_all();
        return true;
}

/*
 * Each boundary in turn, from the same beginning: before() sets it up, after a kill whole() must
 * hold, and after another run of it done().
 */
static void killed_everywhere(struct run *r, void (*before)(void), void (*whole)(void),
                              void (*done)(void))
{
        int n = 0;

        assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
        for (;; n++) {
                before();
                bool killed = run_killed(r, n);
                if (whole)
                        whole();
                if (killed)
                        assert_int_equal(run(r), 0);
                done();
                if (!killed)
                        break;
        }
        assert_true(n > 4);
        print_message("figure %s_boundaries %d\n", r->args[0], n);
}

static void no_disk(void)
{
        shell("rm -rf disks retained");
}

/* Under its own name there is nothing but a whole disk. */
static void disk_is_whole(void)
{
        struct image_format f;
        struct err e;
        const char *disk = in_pool("disks/u/root.qcow2");

        if (!access(disk, F_OK)) {
                shell("qemu-img check -q %s", disk);
                assert_true(format_check(disk, MAX_INT, false, &f, &e) <= 0);
        }
}

static void one_disk(void)
{
        disk_is_whole();
        files_are("./disks/u/root.qcow2 ");
}

static void clone_killed(void **state)
{
        struct run r = verb("clone", pool, "disks/u/root.qcow2", "2097152", pool, "images/base",
                            MAX, NULL);

        (void)state;
        killed_everywhere(&r, no_disk, disk_is_whole, one_disk);
}

static void copy_killed(void **state)
{
        struct run r =
                verb("copy", pool, "disks/u/root.qcow2", "2097152", pool, "images/base", MAX, NULL);

        (void)state;
        killed_everywhere(&r, no_disk, disk_is_whole, one_disk);
}

static void blank_killed(void **state)
{
        struct run r = verb("blank", pool, "disks/u/root.qcow2", "1048576", NULL);

        (void)state;
        killed_everywhere(&r, no_disk, disk_is_whole, one_disk);
}

/* The one that a move brings along: never in the place of another, whenever it is killed. */
static void new_killed(void **state)
{
        struct run r = verb("new", pool, "disks/u/root.qcow2", "1048576", NULL);

        (void)state;
        assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
        no_disk();
        for (int n = 0; run_killed(&r, n); n++) {
                disk_is_whole();
                if (access(in_pool("disks/u/root.qcow2"), F_OK)) {
                        assert_int_equal(run(&r), 0);
                        one_disk();
                }
                no_disk();
        }
        shell("mkdir -p disks/u && echo another > disks/u/root.qcow2");
        assert_int_equal(run(&r), 1);
        shell("grep -q another disks/u/root.qcow2");
        files_are("./disks/u/root.qcow2 ");
        no_disk();
}

static void folders_are_told(void **state)
{
        char *argv[] = {(char *)"folders", pool, (char *)"disks"};
        autobuf struct buf out = buf_new(8192);
        struct err e;

        (void)state;
        for (int there = 0; there < 2; there++) {
                no_disk();
                if (there)
                        shell("mkdir -p disks/a disks/b disks/.hidden");
                fflush(stdout); /* nothing of ours in its output */
                pid_t pid = fork();
                if (!pid) {
                        dup2(open(in_pool("told"), O_WRONLY | O_CREAT | O_TRUNC, 0600),
                             STDOUT_FILENO);
                        int rc = agent_tool(3, argv);
                        fflush(stdout);
                        _exit(rc);
                }
                assert_int_equal(waitpid(pid, NULL, 0), pid);
                buf_reset(&out);
                assert_int_equal(file_read(in_pool("told"), &out, &e), 0);
                const char *text = buf_str(&out);
                if (strcmp(text, there ? "a\nb\n" : "") != 0 &&
                    (!there || strcmp(text, "b\na\n") != 0))
                        fail_msg("told: \"%s\"", text);
        }
        unlink(in_pool("told"));
        no_disk();
}

static void no_claimed_disk(void)
{
        shell("rm -rf disks retained disk.img*");
}

/* Of its size as soon as it has its name: what comes then is the guest's. */
static void claimed_disk_is_whole(void)
{
        shell("test ! -e disk.img || test \"$(stat -c %%s disk.img)\" = 1048576");
}

static void one_claimed_disk(void)
{
        claimed_disk_is_whole();
        files_are("./disk.img ");
}

static void claim_killed(void **state)
{
        struct run r = verb("claim", pool, "1048576", "0", NULL);

        (void)state;
        killed_everywhere(&r, no_claimed_disk, claimed_disk_is_whole, one_claimed_disk);
        no_claimed_disk();
}

/* --- a VM goes */

static void a_vm(void)
{
        shell("rm -rf disks retained && mkdir -p disks/u && echo precious > disks/u/data.qcow2 && "
              "echo more > disks/u/root.qcow2 && echo half > disks/u/root.qcow2.0123.new");
}

static void nothing_lost(void)
{
        shell("cat disks/u/data.qcow2 retained/u/data.qcow2 2>/dev/null | grep -q precious");
}

static void retained(void)
{
        files_are("./disks/u/root.qcow2 ./disks/u/root.qcow2.0123.new ./retained/u/data.qcow2 ");
        nothing_lost();
}

static void retain_killed(void **state)
{
        struct run r = verb("retain", pool, "disks/u/data.qcow2", "retained/u", NULL);

        (void)state;
        killed_everywhere(&r, a_vm, nothing_lost, retained);
        /* what is there already is not replaced, whatever it is */
        shell("echo another > disks/u/data.qcow2");
        assert_int_equal(run(&r), 1);
        shell("grep -q another disks/u/data.qcow2 && grep -q precious retained/u/data.qcow2");
}

static void all_gone(void)
{
        files_are("");
        assert_int_equal(access(in_pool("disks/u"), F_OK), -1);
}

static void remove_killed(void **state)
{
        struct run r = verb("remove", pool, "disks/u", NULL);

        (void)state;
        killed_everywhere(&r, a_vm, NULL, all_gone);
}

/* --- snapshots */

#define TAG "drover-u-1"

/* images/want is what the snapshot in images/disk shows, and images/now what the disk does. */
static void a_disk(void)
{
        shell("test -e images/now || { qemu-img create -q -f qcow2 images/disk 1M && "
              "qemu-io -c 'write -P 1 0 512k' images/disk && "
              "qemu-img snapshot -c drover-u-0 images/disk && "
              "qemu-img convert -O raw images/disk images/want && "
              "qemu-io -c 'write -P 2 0 768k' images/disk && "
              "qemu-img convert -O raw images/disk images/now ; }");
        shell("rm -rf disks && mkdir -p disks/u && cp images/disk disks/u/root.qcow2");
}

static void shows(const char *what, const char *names)
{
        shell("qemu-img check -q disks/u/root.qcow2 && "
              "qemu-img convert -O raw disks/u/root.qcow2 images/got && cmp images/got images/%s "
              "&& test \"$(qemu-img snapshot -l disks/u/root.qcow2 | awk 'NR > 2 { print $2 }' | "
              "xargs)\" = '%s'",
              what, names);
        files_are("./disks/u/root.qcow2 ");
}

static void taken(void)
{
        shows("now", TAG);
}

static void snap_take_killed(void **state)
{
        struct run r = verb("snap-take", pool, "disks/u/root.qcow2", TAG, "drover-u-", NULL);

        (void)state;
        killed_everywhere(&r, a_disk, NULL, taken);
        r = verb("snap-take", pool, "disks/u/none.qcow2", TAG, "drover-u-", NULL);
        assert_int_equal(run(&r), 1);
}

static void dropped(void)
{
        shows("now", "");
}

static void snap_drop_killed(void **state)
{
        struct run r = verb("snap-drop", pool, "disks/u/root.qcow2", "drover-u-", NULL);

        (void)state;
        killed_everywhere(&r, a_disk, NULL, dropped);
        r = verb("snap-drop", pool, "disks/u/none.qcow2", "drover-u-", NULL);
        assert_int_equal(run(&r), 0);
        r = verb("snap-drop", pool, "../root.qcow2", "drover-u-", NULL);
        assert_int_equal(run(&r), 1);
}

static void applied(void)
{
        shows("want", "drover-u-0");
}

static void snap_apply_killed(void **state)
{
        struct run r = verb("snap-apply", pool, "disks/u/root.qcow2", "drover-u-0", NULL);

        (void)state;
        killed_everywhere(&r, a_disk, NULL, applied);
        r = verb("snap-apply", pool, "disks/u/root.qcow2", "drover-u-",
                 NULL); /* not the whole name */
        assert_int_equal(run(&r), 1);
        applied();
}

/* The disk has been made larger since, by hand: it gets the size that it had. */
static void snap_apply_resized(void **state)
{
        struct run r = verb("snap-apply", pool, "disks/u/root.qcow2", "drover-u-0", NULL);

        (void)state;
        a_disk();
        shell("qemu-img resize -q disks/u/root.qcow2 3M");
        assert_int_equal(run(&r), 0);
        applied();
}

static void no_mark(void)
{
        shell("rm -rf disks && mkdir -p disks/u && echo old > disks/u/restored");
}

static void mark_is_whole(void)
{
        shell("grep -qx -e old -e 0123456789abcdef disks/u/restored");
}

static void marked(void)
{
        shell("grep -qx 0123456789abcdef disks/u/restored");
        files_are("./disks/u/restored ");
}

static void mark_killed(void **state)
{
        struct run r = verb("mark", pool, "disks/u", "0123456789abcdef", NULL);

        (void)state;
        killed_everywhere(&r, no_mark, mark_is_whole, marked);
}

static void says(struct run r, const char *want)
{
        autobuf struct buf out = buf_new(4096);
        const char *argv[ARGS_MAX + 3] = {"/proc/self/exe", "tool"};
        struct err e;

        for (int i = 0; i < r.argc; i++)
                argv[i + 2] = r.args[i];
        assert_int_equal(child_run(argv, 10000, &out, &e), 0);
        assert_string_equal(buf_str(&out), want);
}

static void what_disks_say(void **state)
{
        (void)state;
        a_disk();
        says(verb("snap-has", pool, "disks/u/root.qcow2", "drover-u-0", NULL), "there\n");
        says(verb("snap-has", pool, "disks/u/root.qcow2", "drover-u-", NULL), "absent\n");
        says(verb("snap-has", pool, "disks/u/none.qcow2", "drover-u-0", NULL), "no file\n");
        says(verb("snap-take", pool, "disks/u/root.qcow2", TAG, "none", NULL), "1048576\n");
        says(verb("marked", pool, "disks/u", NULL), "-\n");
        shell("printf 0123456789abcdef > disks/u/restored");
        says(verb("marked", pool, "disks/u", NULL), "0123456789abcdef\n");
        /* a table that is cut short, and one that is none */
        struct run has = verb("snap-has", pool, "disks/u/root.qcow2", "x", NULL);
        shell("printf '\\377\\377' | dd of=disks/u/root.qcow2 bs=1 seek=62 conv=notrunc 2>&1");
        assert_int_equal(run(&has), 1);
        shell("echo no > disks/u/root.qcow2");
        assert_int_equal(run(&has), 1);
}

/* --- an image comes and goes */

static void parts(void)
{
        shell("rm -rf imported && mkdir imported && echo whole > imported/" UID ".2.part && "
              "echo '6 6 x' > imported/" UID ".2.note && echo ha > imported/" UID ".1.part && "
              "touch imported/" UID ".1.note.abc imported/other");
}

static void image_or_none(void)
{
        if (!access(in_pool("imported/" UID), F_OK))
                shell("grep -q whole imported/" UID);
}

static void placed(void)
{
        files_are("./imported/" UID " ./imported/other ");
        shell("grep -q whole imported/" UID);
}

static void place_killed(void **state)
{
        struct run r = verb("place", pool, UID, "2", NULL);

        (void)state;
        killed_everywhere(&r, parts, image_or_none, placed);
        parts();
        shell("echo first > imported/" UID);
        assert_int_equal(run(&r), 0);
        shell("grep -q first imported/" UID); /* a disk may stand on it */
}

static void placed_and_parts(void)
{
        parts();
        shell("echo first > imported/" UID);
}

static void unplaced(void)
{
        files_are("./imported/other ");
}

static void unplace_killed(void **state)
{
        struct run r = verb("unplace", pool, UID, pool, NULL);

        (void)state;
        killed_everywhere(&r, placed_and_parts, NULL, unplaced);
}

static const char *pools_with_one_missing(void)
{
        static char pools[200];

        snprintf(pools, sizeof(pools), "/nonexistent,%s", pool);
        return pools;
}

static void an_image_in_use_stays(void **state)
{
        struct run r = verb("unplace", pool, UID, pool, NULL);
        struct run unsure = verb("unplace", pool, UID, pools_with_one_missing(), NULL);
        struct run clone =
                verb("clone", pool, "disks/u/root.qcow2", "0", pool, "imported/" UID, MAX, NULL);

        (void)state;
        shell("mv images/base imported/" UID);
        assert_int_equal(run(&clone), 0);
        assert_int_equal(run(&r), PLACE_IN_USE);
        shell("mkdir retained && mv disks/u retained/u");
        assert_int_equal(run(&r), PLACE_IN_USE);
        shell("echo garbage > retained/u/root.qcow2"); /* no qcow2: stands on nothing */
        /* a pool that is not mounted may hold a disk that stands on it */
        assert_int_equal(run(&unsure), 1);
        assert_int_equal(access(in_pool("imported/" UID), F_OK), 0);
        assert_int_equal(run(&r), 0);
        files_are("./retained/u/root.qcow2 ");
        /* one that cannot be read is no proof of anything */
        shell("printf 'QFI\\373\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0\\377\\0\\0\\0\\4\\0' > "
              "retained/u/root.qcow2 && "
              "truncate -s 100 retained/u/root.qcow2 && touch imported/" UID);
        assert_int_equal(run(&r), 1);
        assert_int_equal(access(in_pool("imported/" UID), F_OK), 0);
}

/* --- disks */

static void info_has(const char *disk, const char *words)
{
        autobuf struct buf out = buf_new(8192);
        const char *const argv[] = {"qemu-img", "info", in_pool(disk), NULL};
        struct err e;

        assert_int_equal(child_run(argv, 10000, &out, &e), 0);
        if (!strstr(buf_str(&out), words))
                fail_msg("no \"%s\" in %s", words, buf_str(&out));
}

static void overlays_and_copies(void **state)
{
        struct run raw = verb("clone", pool, "disks/u/a.qcow2", "0", pool, "images/raw", MAX, NULL);
        struct run over =
                verb("clone", pool, "disks/u/b.qcow2", "2097152", pool, "images/base", MAX, NULL);
        struct run copy =
                verb("copy", pool, "disks/u/c.qcow2", "0", pool, "images/base", MAX, NULL);
        struct run none =
                verb("clone", pool, "disks/u/d.qcow2", "0", pool, "images/none", MAX, NULL);
        struct run again = verb("blank", pool, "disks/u/b.qcow2", "99999999", NULL);

        (void)state;
        assert_int_equal(run(&raw), 0);
        info_has("disks/u/a.qcow2", "backing file format: raw");
        assert_int_equal(run(&over), 0);
        info_has("disks/u/b.qcow2", "2097152 bytes");
        info_has("disks/u/b.qcow2", "backing file: ../../images/base");
        shell("cp disks/u/b.qcow2 before");
        assert_int_equal(run(&again), 0); /* once there, never touched again */
        shell("cmp disks/u/b.qcow2 before && rm before");
        assert_int_equal(run(&copy), 0);
        shell("mv images/base gone && qemu-img check -q disks/u/c.qcow2 && mv gone images/base");
        assert_int_equal(run(&none), 1);
        files_are("./disks/u/a.qcow2 ./disks/u/b.qcow2 ./disks/u/c.qcow2 ");
}

static void what_is_left_is_cleared(void **state)
{
        struct run have = verb("have", pool, "disks/u/root.qcow2", NULL);

        (void)state;
        assert_int_equal(run(&have), 0); /* no folder, either */
        shell("mkdir -p disks/u && touch disks/u/root.qcow2 disks/u/root.qcow2.12.new "
              "disks/u/data.qcow2.12.new");
        assert_int_equal(run(&have), 0);
        files_are("./disks/u/data.qcow2.12.new ./disks/u/root.qcow2 ");
}

/* --- images that are not to be trusted */

static void refused(const char *make, const char *words)
{
        struct run clone =
                verb("clone", pool, "disks/u/bad.qcow2", "0", pool, "images/bad", MAX, NULL);
        struct run copy =
                verb("copy", pool, "disks/u/bad.qcow2", "0", pool, "images/bad", MAX, NULL);
        struct image_format f;
        struct err e = {0};

        shell("cd images && rm -f bad && %s", make);
        int rc = format_check(in_pool("images/bad"), MAX_INT, true, &f, &e);
        if (rc != -EINVAL || !strstr(e.msg, words))
                fail_msg("%s: %d %s", make, rc, e.msg);
        assert_int_equal(run(&clone), 1);
        assert_int_equal(run(&copy), 1);
        files_are("");
}

#define DATA_FILE "qemu-img create -q -f qcow2 -o data_file=elsewhere,data_file_raw=on bad 1M"

static void hostile_images(void **state)
{
        (void)state;
        refused("qemu-img create -q -f qcow2 -b /etc/passwd -F raw bad", "backing file");
        refused("qemu-img create -q -f qcow2 -b base -F qcow2 bad", "backing file");
        refused(DATA_FILE, "data in another file");
        /* by the header alone: the file that it names is not there to be opened */
        refused(DATA_FILE " && rm elsewhere", "data in another file");
        refused("qemu-img create -q -f qcow2 --object secret,id=s,data=x -o "
                "encrypt.format=aes,encrypt.key-secret=s bad 1M",
                "encrypted");
        /* LUKS as the header says it: qemu-img makes none where CPU time is told in ticks */
        refused("cp base bad && printf '\\2' | dd of=bad bs=1 seek=35 conv=notrunc status=none",
                "encrypted");
        refused("qemu-img create -q -f qcow2 bad 2T", "more than 1099511627776");
        refused("qemu-img create -q -f raw bad 2T", "more than 1099511627776");
        refused("qemu-img create -q -f vmdk bad 1M", "a VMDK");
        refused("qemu-img create -q -f vdi bad 1M", "a VDI");
        refused("qemu-img create -q -f vpc bad 1M", "a VHD");
        refused("qemu-img create -q -f qcow bad 1M", "QCOW of version 1");
        refused("gzip -c base > bad", "gzip");
        refused("echo '<html>no such image</html>' > bad", "whole sectors");
        refused(": > bad", "whole sectors");
        refused("head -c 60 base > bad", "version 0");
        refused("cp base bad && printf '\\2' | dd of=bad bs=1 seek=79 conv=notrunc status=none",
                "corrupt");
        refused("mkfifo bad", "whole sectors");
        shell("rm -f images/bad");
}

static void a_short_one(void **state)
{
        struct image_format f;
        struct err e = {0};

        (void)state;
        shell("cd images && qemu-io -f qcow2 -c 'write 0 1M' base && truncate -s 400k base");
        assert_int_equal(format_check(in_pool("images/base"), MAX_INT, true, &f, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "cut short"));
}

static void good_images(void **state)
{
        struct image_format f;
        struct err e = {0};

        (void)state;
        assert_int_equal(format_check(in_pool("images/base"), MAX_INT, true, &f, &e), 0);
        assert_string_equal(f.name, "qcow2");
        assert_int_equal(f.virtual_size, 1 << 20);
        assert_int_equal(format_check(in_pool("images/raw"), MAX_INT, true, &f, &e), 0);
        assert_string_equal(f.name, "raw");
        shell("cd images && qemu-img create -q -f qcow2 -o compat=0.10 old 3M");
        assert_int_equal(format_check(in_pool("images/old"), MAX_INT, true, &f, &e), 0);
        assert_int_equal(f.virtual_size, 3 << 20);
        assert_int_equal(format_check(in_pool("images/none"), MAX_INT, true, &f, &e), -ENOENT);
}

/* --- several pools */

static void an_image_of_another_pool(void **state)
{
        char other[] = "/tmp/drover-disks-XXXXXX";
        char backing[128];

        (void)state;
        assert_int_equal(pool_make(other), 0);
        struct run clone =
                verb("clone", pool, "disks/u/a.qcow2", "0", other, "images/x", MAX, NULL);
        shell("mkdir %s/images && mv images/base %s/images/x", other, other);
        assert_int_equal(run(&clone), 0);
        snprintf(backing, sizeof(backing), "backing file: %s/images/x", other);
        info_has("disks/u/a.qcow2", backing);
        shell("rm disks/u/a.qcow2");
        /* what lies in its bare directory is not its image */
        assert_int_equal(umount2(other, MNT_DETACH), 0);
        assert_int_equal(run(&clone), 1);
        files_are("");
        assert_int_equal(pool_mount(other), 0);
        assert_int_equal(pool_remove(other), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                T(clone_killed),
                T(copy_killed),
                T(blank_killed),
                T(claim_killed),
                T(new_killed),
                T(folders_are_told),
                T(retain_killed),
                T(remove_killed),
                T(place_killed),
                T(unplace_killed),
                T(an_image_in_use_stays),
                T(overlays_and_copies),
                T(what_is_left_is_cleared),
                T(hostile_images),
                T(a_short_one),
                T(good_images),
                T(an_image_of_another_pool),
                T(snap_take_killed),
                T(snap_drop_killed),
                T(snap_apply_killed),
                T(snap_apply_resized),
                T(mark_killed),
                T(what_disks_say),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
