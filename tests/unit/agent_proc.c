#include "agent/mountinfo.h"
#include "agent/proc.h"
#include "base/file.h"
#include "base/mono.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
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

#define UUID "0b1fe9c6-3a54-4c7a-9d6e-9c1d2b7f5a01"

/*
 * A process that looks like a guest: its command line has -uuid. The shell keeps its arguments, and
 * waits without any child, which would have them too until it has become something else.
 */
static pid_t start_guest(const char *uuid)
{
        pid_t pid = fork();
        int silence[2];

        if (!pid) {
                if (!pipe(silence) && dup2(silence[0], STDIN_FILENO) == STDIN_FILENO)
                        execl("/bin/sh", "qemu", "-c", "read x", "x", "-uuid", uuid, (char *)NULL);
                _exit(127);
        }
        /* until exec has happened */
        for (int i = 0; i < 200 && proc_find_guest(uuid) != pid; i++)
                usleep(10000);
        return pid;
}

static void end(pid_t pid)
{
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static void finds_by_uuid(void **state)
{
        struct guest_process g;
        struct err e;
        pid_t pid = start_guest(UUID);

        (void)state;
        assert_int_equal(guest_process_open("/nowhere", "vm", UUID, &g, &e), 0);
        assert_int_equal(g.pid, pid);
        assert_false(guest_process_dead(&g, 0));
        assert_false(proc_exiting(pid));
        end(pid);
        assert_true(guest_process_dead(&g, 0));
        guest_process_close(&g);
        assert_int_equal(proc_find_guest(UUID), 0);
        assert_int_equal(guest_process_open("/nowhere", "vm", UUID, &g, &e), -ENOENT);
}

/* A pid file that names somebody else, as after the pid was used again. */
static void a_stale_pid_file_is_no_proof(void **state)
{
        char run[] = "/tmp/drover-run-XXXXXX", path[128], text[16];
        struct guest_process g;
        struct err e;
        pid_t other = start_guest("0b1fe9c6-3a54-4c7a-9d6e-9c1d2b7f5a02");

        (void)state;
        assert_non_null(mkdtemp(run));
        snprintf(path, sizeof(path), "%s/qemu", run);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(path, sizeof(path), "%s/qemu/vm.pid", run);
        snprintf(text, sizeof(text), "%d", other);
        assert_int_equal(file_write(path, text, strlen(text), 0644, &e), 0);
        assert_int_equal(guest_process_open(run, "vm", UUID, &g, &e), -ENOENT);
        pid_t right = start_guest(UUID);
        assert_int_equal(guest_process_open(run, "vm", UUID, &g, &e), 0);
        assert_int_equal(g.pid, right);
        guest_process_close(&g);
        end(right);
        end(other);
        unlink(path);
        snprintf(path, sizeof(path), "%s/qemu", run);
        rmdir(path);
        rmdir(run);
}

static void *spin(void *arg)
{
        (void)arg;
        for (;;)
                pause();
        return NULL;
}

/* Stopped, a zombie, or with some of its threads gone: only the last of them all makes it dead. */
static void alive_until_all_threads_are_gone(void **state)
{
        int hello[2];
        char c;

        (void)state;
        assert_int_equal(pipe(hello), 0);
        pid_t pid = fork();
        if (!pid) {
                pthread_t t;
                pthread_create(&t, NULL, spin, NULL);
                if (write(hello[1], "x", 1) != 1)
                        _exit(1);
                pthread_exit(NULL); /* the leader is a zombie now, the other thread lives */
        }
        assert_int_equal(read(hello[0], &c, 1), 1);
        usleep(50000);
        struct guest_process g = {pid, -1};
        assert_false(proc_exiting(pid));
        assert_false(guest_process_dead(&g, 0)); /* no pidfd is never proof */
        kill(pid, SIGSTOP);
        usleep(20000);
        assert_false(proc_exiting(pid));
        kill(pid, SIGCONT);
        kill(pid, SIGKILL);
        for (int i = 0; i < 500 && !proc_exiting(pid); i++)
                usleep(1000);
        assert_true(proc_exiting(pid)); /* a zombie, not reaped yet */
        waitpid(pid, NULL, 0);
        assert_true(proc_exiting(pid)); /* and gone */
        close(hello[0]);
        close(hello[1]);
}

static void who_listens(void **state)
{
        (void)state;
        assert_int_equal(proc_socket_owner("/nowhere"), 0);
}

/* --- mountinfo */

static const char MOUNTS[] =
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "90 22 0:45 / /var/lib/drover rw,nosuid shared:9 master:2 - nfs4 10.0.0.1:/export rw,hard\n"
        "91 22 0:46 /sub /mnt/with\\040space ro,relatime - fuse.bindfs a\\134b rw\n"
        "92 22 0:47 / /var/lib/drover2 rw - tmpfs tmpfs rw\n"
        "93 90 0:48 / /var/lib/drover/images ro - ext4 /dev/vdb rw\n"
        "94 90 0:49 / /var/lib/drover rw - nfs4 10.0.0.2:/other rw\n"
        "junk\n"
        "95 22 0:50 / /cut rw -";

static void mount_points(void **state)
{
        struct mount_entry m;

        (void)state;
        assert_true(mountinfo_find(MOUNTS, "/var/lib/drover", &m));
        assert_string_equal(m.source, "10.0.0.2:/other"); /* the one on top */
        assert_string_equal(m.device, "0:49");
        assert_string_equal(m.fstype, "nfs4");
        assert_string_equal(m.options, "rw,rw");
        assert_false(m.read_only);
        assert_int_equal(m.id, 94);
        assert_true(mountinfo_find(MOUNTS, "/mnt/with space", &m));
        assert_string_equal(m.source, "a\\b");
        assert_string_equal(m.root, "/sub");
        assert_true(m.read_only);
        assert_string_equal(m.options, "ro,relatime,rw");
        assert_false(mountinfo_find(MOUNTS, "/var/lib", &m));
        assert_false(mountinfo_find(MOUNTS, "/cut", &m));
        assert_false(mountinfo_find("", "/", &m));
}

static void parts_of_a_mount(void **state)
{
        static const char TEXT[] =
                "1 0 0:45 / /a rw - nfs4 h:/x rw,vers=4.2,proto=tcp,addr=10.0.0.1,port=\n"
                "2 0 0:45 /x /b rw - nfs4 h:/x ro,noaddr=1,hard\n"
                "3 0 0:45 / /c rw - nfs4 h:/x rw";
        struct mount_entry a, b, c;
        char value[16];

        (void)state;
        assert_true(mountinfo_find(TEXT, "/a", &a));
        assert_true(mountinfo_find(TEXT, "/b", &b));
        assert_true(mountinfo_find(TEXT, "/c", &c));
        assert_true(mountinfo_option(&a, "addr", value, sizeof(value)));
        assert_string_equal(value, "10.0.0.1");
        assert_true(mountinfo_option(&a, "addr", value, 5)); /* cut */
        assert_string_equal(value, "10.0");
        assert_true(mountinfo_option(&a, "port", value, sizeof(value)));
        assert_string_equal(value, "");
        assert_false(mountinfo_option(&a, "rw", value, sizeof(value)));
        assert_false(mountinfo_option(&b, "addr", value, sizeof(value)));
        assert_true(b.read_only); /* the superblock is */
        assert_false(mountinfo_same(&a, &b));
        assert_true(mountinfo_same(&a, &c));
}

static void mounts_of_this_machine(void **state)
{
        struct mount_entry m;
        struct err e;

        (void)state;
        assert_int_equal(mountinfo_read("/proc/self/mountinfo", "/proc", &m, &e), 0);
        assert_string_equal(m.fstype, "proc");
        assert_int_equal(mountinfo_read("/proc/self/mountinfo", "/no/mount", &m, &e), -ENODEV);
        assert_int_equal(mountinfo_read("/no/file", "/", &m, &e), -ENOENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(finds_by_uuid),
                cmocka_unit_test(a_stale_pid_file_is_no_proof),
                cmocka_unit_test(alive_until_all_threads_are_gone),
                cmocka_unit_test(who_listens),
                cmocka_unit_test(mount_points),
                cmocka_unit_test(parts_of_a_mount),
                cmocka_unit_test(mounts_of_this_machine),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
