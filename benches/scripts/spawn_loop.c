/* A bare loop: starts `count` times `sh -c COMMAND` (or the command itself with mode `direct`) on `threads` threads with
   posix_spawn and waits for each. Prints the seconds that it took. */
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;
static atomic_int left;
static char **command;

static void *work(void *unused) {
    (void)unused;
    while (atomic_fetch_sub(&left, 1) > 0) {
        pid_t pid;
        int status;
        if (posix_spawn(&pid, command[0], NULL, NULL, command, environ) != 0) exit(1);
        waitpid(pid, &status, 0);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    int threads = atoi(argv[1]);
    atomic_store(&left, atoi(argv[2]));
    char *shell[] = {"/bin/sh", "-c", argv[4], NULL};
    command = strcmp(argv[3], "direct") == 0 ? argv + 4 : shell;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pthread_t all[64];
    for (int i = 0; i < threads && i < 64; i++) pthread_create(&all[i], NULL, work, NULL);
    for (int i = 0; i < threads && i < 64; i++) pthread_join(all[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.6f\n", (end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) / 1e9);
    return 0;
}
