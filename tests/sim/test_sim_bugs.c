/* SPDX-License-Identifier: Apache-2.0
 *
 * test_sim_bugs.c - the simulation finds every bug of bugs/ within SEEDS seeds. One program for
 * each bug, built with it in. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEDS "2000"
enum { SECONDS = 120 }; /* a bug that makes it hang is found by the simulation's own bounds */

/* Whether the program found something; its words go to `said`. */
static int found(const char *name, char *said, size_t size)
{
    char path[1024];
    int out[2];
    (void)snprintf(path, sizeof path, "%s/sim_bug_%s", SIM_BUGS_DIR, name);
    said[0] = '\0';
    if (pipe(out) != 0) {
        perror("pipe");
        exit(1);
    }
    const pid_t pid = fork();
    if (pid == 0) {
        const int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, 1);
        (void)dup2(out[1], 2);
        (void)alarm(SECONDS);
        (void)execl(path, path, "--seeds", SEEDS, (char *)NULL);
        _exit(99);
    }
    (void)close(out[1]);
    size_t len = 0;
    for (ssize_t n; len + 1 < size && (n = read(out[0], said + len, size - 1 - len)) > 0;) {
        len += (size_t)n;
        said[len] = '\0';
    }
    (void)close(out[0]);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && WEXITSTATUS(status) == 99)) {
        (void)fprintf(stderr, "cannot run %s\n", path);
        exit(1);
    }
    said[strcspn(said, "\n")] = '\0';
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

int main(void)
{
    char names[] = SIM_BUGS;
    int n = 0, missed = 0;
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        char said[512];
        const int ok = found(name, said, sizeof said);
        printf("%s %s: %s\n", ok ? "found " : "MISSED", name, said);
        missed += !ok;
        n++;
    }
    printf("%d bugs, %d missed within " SEEDS " seeds each\n", n, missed);
    return missed || n < 20;
}
