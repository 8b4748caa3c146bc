#include "agent/virt.h"

#include "agent/sync.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEEPALIVE_S     5
#define KEEPALIVE_COUNT 3 /* a hung libvirtd is noticed after (1 + this) times that long */
#define IDLE_MAX        4
#define BACKOFF_MIN_MS  250
#define BACKOFF_MAX_MS  10000

#define CALLBACKS_OVER_MS 5000

struct virt {
        char *uri;
        struct virt_hooks hooks;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        virConnectPtr conn; /* under lock */
        bool closed;        /* conn has died; under lock */
        bool stopping;
        int callbacks; /* registrations that libvirt may still use; under lock */
        int lifecycle_id, iteration_id;
};

static pthread_once_t loop_once = PTHREAD_ONCE_INIT;
static int loop_rc;

static void silent(void *ctx, virErrorPtr error)
{
        (void)ctx;
        (void)error; /* errors are returned, not printed */
}

static void *run_loop(void *arg)
{
        (void)arg;
        for (;;)
                if (virEventRunDefaultImpl() < 0)
                        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        return NULL;
}

/* The event loop is the process's, not a connection's: started once, never ended. */
static void start_loop(void)
{
        pthread_t t;

        virSetErrorFunc(NULL, silent);
        if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
                loop_rc = -EIO;
                return;
        }
        loop_rc = -pthread_create(&t, NULL, run_loop, NULL);
        if (!loop_rc)
                pthread_detach(t);
}

int virt_error(struct err *e, const char *fmt, ...)
{
        char what[ERR_MSG_MAX];
        virErrorPtr last = virGetLastError();
        int code = last ? last->code : VIR_ERR_OK;
        const char *text = last && last->message ? last->message : "unknown libvirt error";
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(what, sizeof(what), fmt, ap);
        va_end(ap);
        int rc = -EIO;
        if (code == VIR_ERR_NO_DOMAIN)
                rc = -ENOENT;
        else if (code == VIR_ERR_NO_CONNECT || code == VIR_ERR_INVALID_CONN ||
                 (last && last->domain == VIR_FROM_RPC))
                rc = -ENOTCONN;
        return err_set(e, rc, "%s: %s", what, text);
}

static void on_close(virConnectPtr conn, int reason, void *opaque)
{
        struct virt *v = opaque;

        (void)reason;
        pthread_mutex_lock(&v->lock);
        if (v->conn == conn) {
                v->closed = true;
                pthread_cond_broadcast(&v->changed);
        }
        pthread_mutex_unlock(&v->lock);
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *opaque)
{
        struct virt *v = opaque;
        char uuid[VIR_UUID_STRING_BUFLEN];

        (void)conn;
        if (!virDomainGetUUIDString(dom, uuid))
                v->hooks.domain(v->hooks.ctx, uuid, event, detail);
        return 0;
}

static void on_iteration(virConnectPtr conn, virDomainPtr dom, int iteration, void *opaque)
{
        struct virt *v = opaque;
        char uuid[VIR_UUID_STRING_BUFLEN];

        (void)conn;
        if (!virDomainGetUUIDString(dom, uuid))
                v->hooks.iteration(v->hooks.ctx, uuid, iteration);
}

/*
 * libvirt may be amid a callback when its registration ends: only this one is the last. The
 * registrations are counted, so that v outlives them.
 */
static void on_last(void *opaque)
{
        struct virt *v = opaque;

        pthread_mutex_lock(&v->lock);
        v->callbacks--;
        pthread_cond_broadcast(&v->changed);
        pthread_mutex_unlock(&v->lock);
}

static int count_callback(struct virt *v, int rc)
{
        if (rc >= 0) {
                pthread_mutex_lock(&v->lock);
                v->callbacks++;
                pthread_mutex_unlock(&v->lock);
        }
        return rc;
}

static int register_event(struct virt *v, virConnectPtr c, int id,
                          virConnectDomainEventGenericCallback callback)
{
        return count_callback(v,
                              virConnectDomainEventRegisterAny(c, NULL, id, callback, v, on_last));
}

/* Drivers that live inside of this process know neither keepalive nor a closed connection. */
static int subscribe(struct virt *v, virConnectPtr c, struct err *e)
{
        if (virConnectSetKeepAlive(c, KEEPALIVE_S, KEEPALIVE_COUNT) < 0 ||
            count_callback(v, virConnectRegisterCloseCallback(c, on_close, v, on_last)) < 0) {
                if (virGetLastErrorCode() != VIR_ERR_NO_SUPPORT)
                        return virt_error(e, "keepalive");
                virResetLastError();
        }
        v->lifecycle_id = register_event(v, c, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle));
        v->iteration_id = register_event(v, c, VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_iteration));
        return v->lifecycle_id < 0 || v->iteration_id < 0 ? virt_error(e, "events") : 0;
}

static void unsubscribe(struct virt *v, virConnectPtr c)
{
        if (v->lifecycle_id >= 0)
                (void)virConnectDomainEventDeregisterAny(c, v->lifecycle_id);
        if (v->iteration_id >= 0)
                (void)virConnectDomainEventDeregisterAny(c, v->iteration_id);
        (void)virConnectUnregisterCloseCallback(c, on_close);
        virResetLastError();
}

static int open_local(struct virt *v, virConnectPtr *out, struct err *e)
{
        virConnectPtr c = virConnectOpen(v->uri);

        if (!c)
                return virt_error(e, "%s", v->uri);
        v->lifecycle_id = v->iteration_id = -1;
        /* The close callback compares: let it see the connection before it can fire. */
        pthread_mutex_lock(&v->lock);
        v->conn = c;
        v->closed = false;
        pthread_mutex_unlock(&v->lock);
        int rc = subscribe(v, c, e);
        if (rc) {
                pthread_mutex_lock(&v->lock);
                v->conn = NULL;
                pthread_mutex_unlock(&v->lock);
                unsubscribe(v, c);
                virConnectClose(c);
                return rc;
        }
        *out = c;
        return 0;
}

/* --- connections for calls that nobody uses now, kept for the next one */

static struct {
        pthread_mutex_t lock;
        virConnectPtr v[IDLE_MAX];
        size_t n;
} idle = {.lock = PTHREAD_MUTEX_INITIALIZER};

static virConnectPtr take_idle(void)
{
        pthread_mutex_lock(&idle.lock);
        virConnectPtr c = idle.n ? idle.v[--idle.n] : NULL;
        pthread_mutex_unlock(&idle.lock);
        return c;
}

static void close_idle(void)
{
        virConnectPtr c;

        while ((c = take_idle()))
                virConnectClose(c);
}

/* --- the connection for events */

/* Waits until the connection dies or virt_stop; true for the latter. */
static bool wait_closed(struct virt *v)
{
        pthread_mutex_lock(&v->lock);
        while (!v->closed && !v->stopping)
                pthread_cond_wait(&v->changed, &v->lock);
        bool stop = v->stopping;
        v->conn = NULL;
        pthread_mutex_unlock(&v->lock);
        return stop;
}

static bool pause_for(struct virt *v, int64_t ms)
{
        struct timespec until = cond_until(ms);

        pthread_mutex_lock(&v->lock);
        while (!v->stopping && cond_wait_until(&v->changed, &v->lock, &until))
                ;
        bool stop = v->stopping;
        pthread_mutex_unlock(&v->lock);
        return stop;
}

static void *keep_connected(void *arg)
{
        struct virt *v = arg;
        int64_t backoff = BACKOFF_MIN_MS;
        bool stop = false;

        while (!stop) {
                struct err e;
                virConnectPtr c = NULL;
                if (open_local(v, &c, &e)) {
                        v->hooks.lost(v->hooks.ctx, e.msg);
                        stop = pause_for(v, backoff);
                        backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
                        continue;
                }
                backoff = BACKOFF_MIN_MS;
                v->hooks.connected(v->hooks.ctx);
                stop = wait_closed(v);
                unsubscribe(v, c);
                virConnectClose(c);
                close_idle();
                if (!stop)
                        v->hooks.lost(v->hooks.ctx, "libvirtd closed the connection");
        }
        return NULL;
}

int virt_start(const char *uri, const struct virt_hooks *hooks, struct virt **out, struct err *e)
{
        pthread_once(&loop_once, start_loop);
        if (loop_rc)
                return err_sys(e, loop_rc, "libvirt event loop");
        struct virt *v = calloc(1, sizeof(*v));
        if (!v || !(v->uri = strdup(uri))) {
                free(v);
                return err_set(e, -ENOMEM, "out of memory");
        }
        v->hooks = *hooks;
        pthread_mutex_init(&v->lock, NULL);
        cond_init(&v->changed);
        *out = v; /* the hooks may come before we return */
        int rc = -pthread_create(&v->thread, NULL, keep_connected, v);
        if (rc) {
                *out = NULL;
                free(v->uri);
                free(v);
                return err_sys(e, rc, "thread");
        }
        return 0;
}

static bool callbacks_over(struct virt *v)
{
        struct timespec until = cond_until(CALLBACKS_OVER_MS);

        pthread_mutex_lock(&v->lock);
        while (v->callbacks > 0 && cond_wait_until(&v->changed, &v->lock, &until))
                ;
        bool over = v->callbacks == 0;
        pthread_mutex_unlock(&v->lock);
        return over;
}

void virt_stop(struct virt *v)
{
        if (!v)
                return;
        pthread_mutex_lock(&v->lock);
        v->stopping = true;
        pthread_cond_broadcast(&v->changed);
        pthread_mutex_unlock(&v->lock);
        pthread_join(v->thread, NULL);
        if (!callbacks_over(v))
                return; /* libvirt still holds it: a leak is the lesser evil */
        pthread_mutex_destroy(&v->lock);
        pthread_cond_destroy(&v->changed);
        free(v->uri);
        free(v);
}

/* --- connections for calls */

void virt_release(virConnectPtr c)
{
        bool kept = false;

        if (virConnectIsAlive(c) == 1) {
                pthread_mutex_lock(&idle.lock);
                kept = idle.n < IDLE_MAX;
                if (kept)
                        idle.v[idle.n++] = c;
                pthread_mutex_unlock(&idle.lock);
        }
        if (!kept)
                virConnectClose(c);
        virResetLastError();
}

static void keep_alive(virConnectPtr c)
{
        if (virConnectSetKeepAlive(c, KEEPALIVE_S, KEEPALIVE_COUNT) < 0)
                virResetLastError(); /* one without keepalive is a connection still */
}

virConnectPtr virt_connect(struct virt *v, struct err *e)
{
        virConnectPtr c;

        if (!virt_connected(v)) {
                err_set(e, -ENOTCONN, "libvirtd of this node cannot be reached");
                return NULL;
        }
        while ((c = take_idle())) {
                if (virConnectIsAlive(c) == 1)
                        return c;
                virConnectClose(c);
        }
        c = virConnectOpen(v->uri);
        if (c)
                keep_alive(c);
        else
                virt_error(e, "%s", v->uri);
        return c;
}

bool virt_connected(struct virt *v)
{
        pthread_mutex_lock(&v->lock);
        bool yes = v->conn && !v->closed;
        pthread_mutex_unlock(&v->lock);
        return yes;
}

/* --- peers: the attempt runs on a thread of its own, for the system may take minutes to give up */

struct attempt {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        char *uri;
        bool done, abandoned;
        virConnectPtr conn;
        struct err error;
        int rc;
};

static void attempt_free(struct attempt *a)
{
        pthread_mutex_destroy(&a->lock);
        pthread_cond_destroy(&a->changed);
        free(a->uri);
        free(a);
}

static void *try_open(void *arg)
{
        struct attempt *a = arg;
        struct err e = {0};
        int rc = 0;
        virConnectPtr c = virConnectOpen(a->uri);

        if (!c)
                rc = virt_error(&e, "%s", a->uri);
        else
                keep_alive(c);
        pthread_mutex_lock(&a->lock);
        bool abandoned = a->abandoned;
        a->done = true;
        a->conn = c;
        a->rc = rc;
        a->error = e;
        pthread_cond_signal(&a->changed);
        pthread_mutex_unlock(&a->lock);
        if (abandoned) {
                if (c)
                        virConnectClose(c);
                attempt_free(a);
        }
        return NULL;
}

/* Waits for the attempt; true when it is done, else it frees itself later. */
static bool attempt_wait(struct attempt *a, int64_t ms)
{
        struct timespec until = cond_until(ms);

        pthread_mutex_lock(&a->lock);
        while (!a->done && cond_wait_until(&a->changed, &a->lock, &until))
                ;
        bool done = a->done;
        a->abandoned = !done;
        pthread_mutex_unlock(&a->lock);
        return done;
}

int virt_open_peer(const char *uri, int64_t ms, virConnectPtr *out, struct err *e)
{
        struct attempt *a = calloc(1, sizeof(*a));
        pthread_t t;

        if (!a || !(a->uri = strdup(uri))) {
                free(a);
                return err_set(e, -ENOMEM, "out of memory");
        }
        pthread_mutex_init(&a->lock, NULL);
        cond_init(&a->changed);
        int rc = -pthread_create(&t, NULL, try_open, a);
        if (rc) {
                attempt_free(a);
                return err_sys(e, rc, "thread");
        }
        pthread_detach(t);
        if (!attempt_wait(a, ms))
                return err_set(e, -ETIMEDOUT, "%s: no answer within %lld ms", uri, (long long)ms);
        rc = a->rc;
        if (rc && e)
                *e = a->error;
        else if (!rc)
                *out = a->conn;
        attempt_free(a);
        return rc;
}
