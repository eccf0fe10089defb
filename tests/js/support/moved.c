// moved MEBIBYTES: shows an environment of that size, far more than any process can begin with; says so and waits. Takes
// CONFIG_CHECKPOINT_RESTORE, and no right.
#include <linux/prctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

// A field of /proc/self/stat by its number in `man 5 proc_pid_stat`.
static unsigned long long field(int number) {
  static char line[4096];
  FILE *file = fopen("/proc/self/stat", "r");
  if (!file || !fgets(line, sizeof line, file)) exit(2);
  fclose(file);
  char *at = line;
  for (int i = 1; i < number; i++) {
    while (*at != ' ') at++;
    at++;
  }
  return strtoull(at, NULL, 10);
}

int main(int count, char **arguments) {
  if (count < 2) return 2;
  size_t size = strtoul(arguments[1], NULL, 10) << 20;
  // Never written to, so it takes no memory here.
  char *zeros = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (zeros == MAP_FAILED) return 2;
  struct prctl_mm_map map = {
      .start_code = field(26), .end_code = field(27), .start_data = field(45), .end_data = field(46),
      .start_brk = field(47), .brk = (uintptr_t)sbrk(0), .start_stack = field(28), .arg_start = field(48),
      .arg_end = field(49), .env_start = (uintptr_t)zeros, .env_end = (uintptr_t)zeros + size, .exe_fd = -1,
  };
  if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0)) {
    perror("moved");
    return 1;
  }
  puts("moved");
  fflush(stdout);
  pause();
}
