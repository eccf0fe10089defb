// Becomes its owner for good, says so, and ends by itself five seconds later, whatever it is sent meanwhile: a SIGTERM that
// reaches it is another exit code.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void reached(int signal) {
  (void)signal;
  _exit(77);
}

int main(void) {
  if (setreuid(0, 0) != 0) return 1;
  signal(SIGTERM, reached);
  puts("became root");
  fflush(stdout);
  sleep(5);
  return 0;
}
