// For LD_PRELOAD: the first `openat` of a file whose name is in HOLD_AT says so at the FIFO in HOLD_READY, and waits at the one in
// HOLD_UNTIL. Whatever a test does meanwhile happens between a look for the file and a look into it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int opened(int directory, const char *path, int flags, mode_t mode) {
  return syscall(SYS_openat, directory, path, flags, mode);
}

static void hold(void) {
  char byte = '\n';
  int ready = opened(AT_FDCWD, getenv("HOLD_READY"), O_WRONLY | O_CLOEXEC, 0);
  int until = opened(AT_FDCWD, getenv("HOLD_UNTIL"), O_RDONLY | O_CLOEXEC, 0);
  if (write(ready, &byte, 1) != 1 || read(until, &byte, 1) != 1) abort();
  close(ready);
  close(until);
}

int openat(int directory, const char *path, int flags, ...) {
  static int is_held;
  const char *at = getenv("HOLD_AT"), *name = strrchr(path, '/');
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  if (at && name && strcmp(name + 1, at) == 0 && !__atomic_exchange_n(&is_held, 1, __ATOMIC_RELAXED)) hold();
  return opened(directory, path, flags, mode);
}
