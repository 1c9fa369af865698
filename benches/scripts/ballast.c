/* Preloaded into a program, makes it hold as many megabytes as BALLAST says. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

__attribute__((constructor)) static void hold(void) {
    const char *text = getenv("BALLAST");
    size_t size = (text ? strtoul(text, NULL, 10) : 0) << 20;
    if (!size) return;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) memset(memory, 1, size);
    unsetenv("LD_PRELOAD");
}
