/*
 * A file system whose server the test is: one that takes what it is asked and never answers. A
 * process that has asked it something cannot even be killed until the server ends.
 */
#ifndef DROVER_TESTS_FUSE_SCENE_H
#define DROVER_TESTS_FUSE_SCENE_H

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

struct fuse_scene {
        int fd, end[2];
        pthread_t thread;
};

static inline void fuse_scene_begin(int fd, const struct fuse_in_header *in)
{
        struct {
                struct fuse_out_header head;
                struct fuse_init_out init;
        } out = {.head = {.len = sizeof(out), .unique = in->unique},
                 .init = {.major = FUSE_KERNEL_VERSION,
                          .minor = FUSE_KERNEL_MINOR_VERSION,
                          .max_write = 4096}};

        (void)!write(fd, &out, sizeof(out));
}

static inline void *fuse_scene_serve(void *arg)
{
        struct fuse_scene *f = arg;
        union {
                struct fuse_in_header in;
                char bytes[FUSE_MIN_READ_BUFFER * 2];
        } request;

        for (;;) {
                struct pollfd p[2] = {{.fd = f->fd, .events = POLLIN},
                                      {.fd = f->end[0], .events = POLLIN}};
                if (poll(p, 2, -1) < 0 || p[1].revents)
                        return NULL;
                if (read(f->fd, &request, sizeof(request)) >= (ssize_t)sizeof(request.in) &&
                    request.in.opcode == FUSE_INIT)
                        fuse_scene_begin(f->fd, &request.in);
        }
}

/* Mounted at the folder; false, which is said, where that is not possible. */
static inline bool fuse_scene_mount(struct fuse_scene *f, const char *folder)
{
        char options[128];

        f->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", f->fd);
        if (f->fd < 0 || mount("silent", folder, "fuse", 0, options) || pipe2(f->end, O_CLOEXEC) ||
            pthread_create(&f->thread, NULL, fuse_scene_serve, f)) {
                perror("a FUSE mount");
                return false;
        }
        return true;
}

/* The server ends: whoever waits for it gets an error, and may die at last. */
static inline void fuse_scene_end(struct fuse_scene *f)
{
        close(f->end[1]);
        pthread_join(f->thread, NULL);
        close(f->end[0]);
        close(f->fd);
}

#endif
