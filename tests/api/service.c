/* SPDX-License-Identifier: Apache-2.0 */
#include "api/service.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_US = 10 * 1000 * 1000 };

static void sleep_us(long us)
{
    const struct timespec t = {.tv_nsec = us * 1000};
    (void)nanosleep(&t, NULL);
}

/* ---- the server ---- */

static void *loop(void *arg)
{
    struct service *s = arg;
    const oct_status st = oct_http_run(s->http);
    OCT_ASSERT(st == OCT_OK);
    return NULL;
}

static void open_fake(struct service *s, const struct oct_engine_options *o)
{
    s->fake_options.on_events = o->on_events;
    s->fake_options.events_user = o->events_user;
    fake_open(&s->fake_options, &s->fake);
    s->e = s->fake.e;
    const oct_status st = oct_chat_init(
        &s->e->chat, s->fake.vocab, s->chat_template ? s->chat_template : SERVICE_TEMPLATE, NULL);
    cr_assert_eq(st, OCT_OK, "%s", oct_last_error());
}

static void open_engine(struct service *s)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_api_prepare_engine(s->api, s->http, &o);
    if (s->no_engine) {
        return;
    }
    if (s->model_path) {
        o.model_path = s->model_path;
        o.device = "cpu";
        o.n_threads = 1;
        o.chat_template = s->chat_template;
        cr_assert_eq(oct_engine_open(&o, &s->e), OCT_OK, "%s", oct_last_error());
    } else {
        open_fake(s, &o);
    }
    oct_api_set_engine(s->api, s->e);
}

void service_start(struct service *s)
{
    static const char *const names[] = {"fake", "alias"};
    if (!s->config.model_names) {
        s->config.model_names = names;
        s->config.n_model_names = 2;
    }
    json_set_alloc_funcs(oct_malloc, oct_free); /* as main.c does */
    (void)signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(oct_api_create(&s->config, &s->api), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_api_start(s->api), OCT_OK, "%s", oct_last_error());
    const struct oct_http_handler h = oct_api_handler(s->api);
    cr_assert_eq(oct_http_create(&s->limits, &h, &s->http), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_http_listen(s->http, "127.0.0.1", 0, NULL, &s->port), OCT_OK, "%s",
                 oct_last_error());
    open_engine(s);
    cr_assert_eq(pthread_create(&s->loop, NULL, loop, s), 0);
}

struct order {
    struct oct_http_task task;
    struct service *s;
    void (*fn)(struct service *s, void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void run_order(struct oct_http_task *t)
{
    struct order *o = (struct order *)t;
    o->fn(o->s, o->arg);
    pthread_mutex_lock(&o->lock);
    o->done = true;
    pthread_cond_signal(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

void service_on_loop(struct service *s, void (*fn)(struct service *s, void *arg), void *arg)
{
    struct order o = {.task.run = run_order, .s = s, .fn = fn, .arg = arg};
    pthread_mutex_init(&o.lock, NULL);
    pthread_cond_init(&o.changed, NULL);
    oct_http_post(s->http, &o.task);
    pthread_mutex_lock(&o.lock);
    while (!o.done) {
        pthread_cond_wait(&o.changed, &o.lock);
    }
    pthread_mutex_unlock(&o.lock);
    pthread_cond_destroy(&o.changed);
    pthread_mutex_destroy(&o.lock);
}

static void get_counts(struct service *s, void *arg)
{
    oct_api_get_counts(s->api, arg);
}

struct oct_api_counts service_counts(struct service *s)
{
    struct oct_api_counts c;
    service_on_loop(s, get_counts, &c);
    return c;
}

struct oct_engine_stats service_stats(struct service *s)
{
    struct oct_engine_stats st = {.size = sizeof st};
    oct_engine_get_stats(s->e, &st);
    return st;
}

static void get_n_calls(struct service *s, void *arg)
{
    *(size_t *)arg = oct_api_n_calls(s->api);
}

bool service_wait_idle(struct service *s)
{
    const int64_t until = oct_clock_us() + PATIENCE_US;
    size_t n = 1;
    while (n > 0 && oct_clock_us() < until) {
        service_on_loop(s, get_n_calls, &n);
        if (n > 0) {
            sleep_us(500);
        }
    }
    return n == 0;
}

static void stop(struct service *s, void *arg)
{
    (void)arg;
    oct_http_stop(s->http);
}

void service_stop(struct service *s)
{
    cr_expect(service_wait_idle(s), "calls are left");
    if (s->e) {
        cr_expect_eq(oct_engine_drain(s->e, PATIENCE_US), OCT_OK, "%s", oct_last_error());
        const struct oct_engine_stats st = service_stats(s);
        cr_expect(st.n_pages_used == 0 && st.n_running == 0 && st.n_waiting == 0,
                  "%d pages used, %d running, %d waiting", st.n_pages_used, st.n_running,
                  st.n_waiting);
    }
    service_end_now(s);
}

void service_end_now(struct service *s)
{
    service_on_loop(s, stop, NULL);
    pthread_join(s->loop, NULL);
    oct_api_stop(s->api);
    oct_http_destroy(s->http);
    if (s->fake.e) {
        fake_close(&s->fake);
    } else {
        oct_engine_close(s->e);
    }
    oct_api_destroy(s->api);
}

/* ---- the client ---- */

int service_connect(struct service *s)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(s->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = PATIENCE_US / 1000000};
    cr_assert(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

void service_write(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        const ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* the server has refused and closed: its answer is read */
        }
        p += n;
        len -= (size_t)n;
    }
}

char *service_request(const char *method, const char *path, const char *headers, const char *body,
                      size_t body_len, size_t *len)
{
    const size_t size = strlen(path) + strlen(headers) + body_len + 256;
    char *s = malloc(size);
    int n = snprintf(s, size, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s",
                     method, path, headers);
    if (body) {
        n += snprintf(s + n, size - (size_t)n,
                      "Content-Type: application/json\r\nContent-Length: %zu\r\n", body_len);
    }
    n += snprintf(s + n, size - (size_t)n, "\r\n");
    memcpy(s + n, body ? body : "", body_len);
    *len = (size_t)n + body_len;
    return s;
}

static void append(struct oct_buf *b, const void *data, size_t len)
{
    const oct_status st = oct_buf_append(b, data, len);
    OCT_ASSERT(st == OCT_OK);
}

static bool unchunk(const char *p, const char *end, struct oct_buf *out)
{
    while (p < end) {
        char *after;
        const size_t n = strtoul(p, &after, 16);
        if (after + 2 > end || after[0] != '\r' || (size_t)(end - after) < n + 4) {
            return false;
        }
        append(out, after + 2, n);
        p = after + 2 + n + 2;
        if (n == 0) {
            return true;
        }
    }
    return false;
}

struct answer service_read(int fd)
{
    struct answer a = {0};
    struct oct_buf all = {0};
    char block[65536], value[256];
    ssize_t n;
    append(&a.body, "", 0);
    append(&all, "", 0);
    while ((n = recv(fd, block, sizeof block, 0)) > 0) {
        append(&all, block, (size_t)n);
    }
    (void)close(fd);
    char *body = all.data ? strstr(all.data, "\r\n\r\n") : NULL;
    if (body) {
        const size_t head = (size_t)(body - all.data) + 4;
        const size_t len = all.len - head;
        a.head = strndup(all.data, head);
        a.status = atoi(all.data + strlen("HTTP/1.1 "));
        if (*answer_header(&a, "transfer-encoding", value)) {
            a.is_whole = unchunk(all.data + head, all.data + all.len, &a.body);
        } else {
            append(&a.body, all.data + head, len);
            a.is_whole = *answer_header(&a, "content-length", value) == '\0' ||
                         strtoul(value, NULL, 10) == len;
        }
    }
    oct_buf_free(&all);
    return a;
}

struct answer service_ask(struct service *s, const char *method, const char *path,
                          const char *headers, const char *body)
{
    size_t len;
    char *request = service_request(method, path, headers, body, body ? strlen(body) : 0, &len);
    const int fd = service_connect(s);
    service_write(fd, request, len);
    free(request);
    return service_read(fd);
}

struct answer service_post(struct service *s, const char *path, const char *body)
{
    return service_ask(s, "POST", path, "", body);
}

void answer_free(struct answer *a)
{
    free(a->head);
    oct_buf_free(&a->body);
    *a = (struct answer){0};
}

const char *answer_header(const struct answer *a, const char *name, char dst[256])
{
    const size_t len = strlen(name);
    dst[0] = '\0';
    for (const char *p = a->head; p && (p = strstr(p, "\r\n")) != NULL;) {
        p += 2;
        if (!strncasecmp(p, name, len) && p[len] == ':') {
            p += len + 1 + strspn(p + len + 1, " ");
            (void)snprintf(dst, 256, "%.*s", (int)strcspn(p, "\r"), p);
            break;
        }
    }
    return dst;
}

json_t *answer_json(const struct answer *a)
{
    json_error_t e;
    json_t *j = a->body.data ? json_loadb(a->body.data, a->body.len,
                                          JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e)
                             : NULL;
    cr_assert(j != NULL && a->is_whole, "status %d: \"%s\"", a->status,
              a->body.data ? a->body.data : "(no body)");
    return j;
}

void answer_expect_error(const struct answer *a, int status, const char *part)
{
    cr_assert_eq(a->status, status, "%d, not %d: %s", a->status, status, a->body.data);
    json_t *j = answer_json(a);
    const char *message = str_at(j, "error.message");
    cr_assert(message && strstr(message, part), "\"%s\" does not hold \"%s\"", a->body.data, part);
    cr_assert_eq(int_at(j, "error.code"), status, "%s", a->body.data);
    cr_assert(str_at(j, "error.type") && json_is_null(at(j, "error.param")));
    json_decref(j);
}

json_t *service_post_json(struct service *s, const char *path, const char *body)
{
    struct answer a = service_post(s, path, body);
    cr_assert_eq(a.status, 200, "%s: %d %s", body, a.status, a.body.data);
    json_t *j = answer_json(&a);
    answer_free(&a);
    return j;
}

/* ---- streams ---- */

struct events events_of(const struct answer *a)
{
    struct events ev = {.item = calloc(a->body.len / 8 + 1, sizeof *ev.item)};
    const char *p = a->body.data;
    bool done = false;
    while (p && *p) {
        const char *end = strstr(p, "\n\n");
        cr_assert(end && !strncmp(p, "data: ", 6) && !done, "%s", p);
        p += 6;
        done = !strncmp(p, "[DONE]\n", 7);
        if (!done) {
            ev.item[ev.n] =
                json_loadb(p, (size_t)(end - p), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
            cr_assert(ev.item[ev.n] != NULL, "%s", p);
            ev.n++;
        }
        p = end + 2;
    }
    const size_t shown = a->body.len < 600 ? a->body.len : 600;
    cr_assert(done, "%d: ...%s", a->is_whole,
              a->body.data ? a->body.data + a->body.len - shown : "");
    return ev;
}

void events_free(struct events *ev)
{
    for (size_t i = 0; i < ev->n; i++) {
        json_decref(ev->item[i]);
    }
    free(ev->item);
}

/* ---- the engine itself ---- */

static void collect(void *user, const struct oct_event *ev)
{
    append(user, ev->text, ev->text_len);
}

char *service_direct(struct service *s, const char *prompt, const struct oct_sampling *sampling,
                     size_t *len)
{
    struct oct_buf text = {0};
    struct oct_request q = OCT_REQUEST_INIT;
    uint64_t id;
    q.text = prompt;
    q.text_len = strlen(prompt);
    q.tokenize_flags |= OCT_TOKENIZE_SPECIAL;
    q.sampling = sampling;
    q.on_event = collect;
    q.user = &text;
    append(&text, "", 0);
    cr_assert_eq(oct_engine_submit(s->e, &q, &id), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_engine_wait(s->e, id, PATIENCE_US), OCT_OK, "%s", oct_last_error());
    char *out = malloc(text.len + 1);
    memcpy(out, text.data ? text.data : "", text.len);
    out[text.len] = '\0';
    *len = text.len;
    oct_buf_free(&text);
    return out;
}

/* ---- JSON ---- */

const json_t *at(const json_t *j, const char *path)
{
    char copy[256];
    (void)snprintf(copy, sizeof copy, "%s", path);
    char *save, *name = strtok_r(copy, ".", &save);
    for (; name && j; name = strtok_r(NULL, ".", &save)) {
        j = json_is_array(j) ? json_array_get(j, (size_t)atoi(name)) : json_object_get(j, name);
    }
    return j;
}

const char *str_at(const json_t *j, const char *path)
{
    return json_string_value(at(j, path));
}

long long int_at(const json_t *j, const char *path)
{
    const json_t *v = at(j, path);
    return json_is_integer(v) ? json_integer_value(v) : -1;
}
