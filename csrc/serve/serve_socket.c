/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/serve_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sees the pipe's end whatever the terminal or a supervisor signals to all of the server. */
static void leave_the_group(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    (void)setsid();
    for (int i = 0; i < 4; i++) {
        (void)signal(signals[i], SIG_IGN);
    }
    (void)prctl(PR_SET_NAME, "octavo-socket");
    (void)prctl(PR_SET_DUMPABLE, 0); /* it has the server's keys in its memory */
}

/* Listening sockets above all: the address would stay taken. */
static bool close_others(int pipe_fd, int file_fd)
{
    enum { PIPE, FILE_ITSELF, N_KEPT };
    const int from = pipe_fd > file_fd ? pipe_fd : file_fd;
    const int high = fcntl(pipe_fd, F_DUPFD, from + N_KEPT);
    return high >= 0 && dup2(file_fd, FILE_ITSELF) >= 0 && dup2(high, PIPE) >= 0 &&
           close_range(N_KEPT, ~0u, 0) == 0;
}

/* The file is held open by file_fd, or its number could be another's by then. */
static _Noreturn void wait_and_remove(const char *path, int pipe_fd, int file_fd)
{
    struct stat mine, now;
    char byte;
    leave_the_group();
    if (fstat(file_fd, &mine) != 0 || !close_others(pipe_fd, file_fd)) {
        _exit(1);
    }
    while (read(0, &byte, 1) < 0 && errno == EINTR) {
    }
    if (lstat(path, &now) == 0 && now.st_dev == mine.st_dev && now.st_ino == mine.st_ino) {
        (void)unlink(path);
    }
    _exit(0);
}

void oct_serve_socket_remove_later(const char *path)
{
    int ends[2];
    const int file = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0) {
        return;
    }
    if (pipe2(ends, O_CLOEXEC) == 0) {
        const pid_t pid = fork();
        if (pid == 0) {
            (void)close(ends[1]);
            wait_and_remove(path, ends[0], file);
        }
        (void)close(ends[0]);
        if (pid < 0) {
            (void)close(ends[1]);
        } /* else it closes with the process */
    }
    (void)close(file);
}
