// second FIFO: says its process id there from a second thread, which stays when the first has ended.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *second(void *path) {
  FILE *ready = fopen(path, "w");
  if (ready == NULL || fprintf(ready, "%d\n", getpid()) < 0 || fclose(ready) != 0) abort();
  for (;;) pause();
}

int main(int count, char **arguments) {
  pthread_t thread;
  if (count != 2 || pthread_create(&thread, NULL, second, arguments[1]) != 0) return 2;
  pthread_exit(NULL);
}
