// Stamps its own start and end with CLOCK_MONOTONIC, which is the clock of process.hrtime in Node.
// Usage: stamp FILE. Static, so that what is measured is not the dynamic linker.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int count, char **arguments) {
  long long stamps[2] = {now(), 0};
  int file = open(arguments[count - 1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  stamps[1] = now();
  return write(file, stamps, sizeof stamps) == sizeof stamps ? 0 : 1;
}
