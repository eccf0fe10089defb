// Becomes its owner for good, says so, and ends by itself five seconds later, whatever it is sent meanwhile: a SIGTERM that
// reaches it is another exit code. With "back" it is the user that it was again as soon as SIGKILL has been sent, and then a child
// of its supervisor ends. With "wait" it is so at once, waits for SIGTERM without a handler, and may not be looked into. With "many" a hundred children
// of its supervisor end once SIGKILL has been sent, and it shows who are still there, the ended included. With "obeyed" or "deaf" it waits for
// a child that is the user's, in a session of its own, and ends with the signal that has ended that; the latter ignores SIGTERM.
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void reached(int signal) {
  (void)signal;
  _exit(77);
}

// Waits until nobody has the other end of a pipe open.
static void wait_for_end(int *ends) {
  char byte;
  close(ends[1]);
  while (read(ends[0], &byte, 1) > 0) {
  }
}

static int wait_for_signal(void) {
  sigset_t term;
  int signal;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, 0);
  puts("waits");
  fflush(stdout);
  return sigwait(&term, &signal) == 0 ? 78 : 1;
}

// Each is its supervisor's, and the user's when it ends.
static void let_many_end(uid_t user) {
  for (int turn = 0; turn < 100; turn++) {
    const pid_t parent = fork();
    if (parent == 0) {
      if (fork() == 0 && setuid(user) != 0) _exit(1);
      _exit(0);
    }
    waitpid(parent, NULL, 0);
    usleep(10000);
  }
}

static int wait_for_child(uid_t user, int deaf) {
  int status;
  if (fork() == 0) {
    if (deaf) signal(SIGTERM, SIG_IGN);
    if (setsid() < 0 || setuid(user) != 0) _exit(1);
    puts("below");
    fflush(stdout);
    for (;;) pause();
  }
  return wait(&status) > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 1;
}

static void show_children_of(pid_t pid) {
  char path[64], list[4096];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
  FILE *file = fopen(path, "r");
  if (file == NULL || fgets(list, sizeof list, file) == NULL) _exit(1);
  puts(list);
  fflush(stdout);
}

int main(int count, char **arguments) {
  const int comes_back = count > 1 && *arguments[1] == 'b';
  const int many = count > 1 && *arguments[1] == 'm';
  const int waits = count > 1 && *arguments[1] == 'w';
  const int deaf = count > 1 && *arguments[1] == 'd';
  const int obeyed = count > 1 && *arguments[1] == 'o';
  const uid_t user = getuid();
  if (waits) return setuid(user) == 0 ? wait_for_signal() : 1;
  int in_reach[2], orphan[2];
  if (pipe(in_reach) != 0 || pipe(orphan) != 0) return 1;
  if ((comes_back || many) && fork() == 0) {
    // Stays the user's: SIGKILL for the group ends it, and SIGTERM does not.
    signal(SIGTERM, SIG_IGN);
    for (;;) pause();
  }
  if (setreuid(0, 0) != 0) return 1;
  if (deaf || obeyed) return wait_for_child(user, deaf);
  signal(SIGTERM, reached);
  if (comes_back && fork() == 0) {
    close(in_reach[1]);
    if (fork() == 0) wait_for_end(orphan);
    _exit(0);
  }
  puts("became root");
  fflush(stdout);
  if (!comes_back && !many) {
    sleep(5);
    return 0;
  }
  wait_for_end(in_reach);
  if (many) {
    let_many_end(user);
    show_children_of(getppid());
    return 0;
  }
  if (setuid(user) != 0) return 1;
  close(orphan[1]);
  for (;;) pause();
}
