/* Prints `bytes` bytes in lines of `length` bytes each as fast as it can, and how long it took to standard error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    long long bytes = atoll(argv[1]);
    int length = atoi(argv[2]);
    size_t size = 256 * 1024 / length * length;
    char *block = malloc(size);
    memset(block, 'x', size);
    for (size_t i = length - 1; i < size; i += length) block[i] = '\n';
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    long long left = bytes;
    while (left > 0) {
        ssize_t n = write(1, block, left < (long long)size ? left : (long long)size);
        if (n <= 0) return 1;
        left -= n;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    FILE *out = fopen(argv[3], "a");
    fprintf(out, "%.6f\n", (end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) / 1e9);
    return fclose(out);
}
