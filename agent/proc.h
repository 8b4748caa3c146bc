/*
 * The QEMU process of a guest, seen through /proc and a pidfd: that it is the right one, and that
 * it is dead. Dead is what the handover of a guest rests on, so doubt always counts as alive.
 */
#ifndef DROVER_AGENT_PROC_H
#define DROVER_AGENT_PROC_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct guest_process {
        pid_t pid;
        int pidfd; /* -1 when none is open */
};

/*
 * Opens the process of the guest with that uuid: by libvirtd's pid file RUN/qemu/NAME.pid, else by
 * a walk through /proc. The command line is compared after the pidfd was taken, so that a pid used
 * again cannot be mistaken. -ENOENT when no such process lives.
 */
must_check int guest_process_open(const char *run, const char *name, const char *uuid,
                                  struct guest_process *out, struct err *e);
void guest_process_close(struct guest_process *g);
/* SIGKILL, and waits up to ms for its end. -ETIMEDOUT, or why it could not be sent. */
must_check int guest_process_kill(const struct guest_process *g, int ms, struct err *e);

/*
 * True once the process can never run guest code again: its pidfd says so, or every one of its
 * threads is flagged as exiting, twice in a row. A big guest's process takes long to free its
 * memory; its threads are past all user code milliseconds after the kill. Waits up to ms for the
 * pidfd.
 */
bool guest_process_dead(const struct guest_process *g, int ms);

/* The pid of a process whose command line has -uuid UUID; 0 when there is none, -1 when unsure. */
pid_t proc_find_guest(const char *uuid);

/*
 * Who listens on libvirtd's socket in RUN: libvirtd, or systemd for it. 0 when that cannot be seen
 * from here, as in another PID namespace, where no walk through /proc proves anything about guests.
 */
pid_t proc_socket_owner(const char *run);

/* Every thread of the process is exiting, or there is none any more. */
bool proc_exiting(pid_t pid);

#endif
