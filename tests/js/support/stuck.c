/*
 * A file system that takes what is written to it and never says so, and who waits for it with its memory locked.
 *
 *   stuck serve DIR    mounts it there, says so, and is it until it is ended
 *   stuck wait FILE    maps a file of it, writes, says so, and maps something else in that place
 *   stuck exec FILE    executes `sleep`, which closes a file of it
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, ROOT = 1, FILE_NODE = 2, FOR_LONG = 1000000, NO_SUCH_CALL = 38 };

static int device;

static void answer(const struct fuse_in_header *asked, int error, void *body, size_t size) {
  struct fuse_out_header head = { .len = sizeof head + size, .error = error, .unique = asked->unique };
  struct iovec parts[] = { { &head, sizeof head }, { body, size } };
  if (writev(device, parts, 2) < 0) perror("answer");
}

static struct fuse_attr about(unsigned long node) {
  struct fuse_attr attr = { .ino = node, .nlink = 1, .size = PAGE, .mode = S_IFREG | 0666 };
  if (node == ROOT) attr.mode = S_IFDIR | 0777;
  return attr;
}

static void take(const struct fuse_in_header *asked) {
  static char zeros[PAGE];
  struct fuse_init_out begun = { .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = PAGE, .max_readahead = PAGE };
  struct fuse_entry_out entry = { .nodeid = FILE_NODE, .attr = about(FILE_NODE), .attr_valid = FOR_LONG, .entry_valid = FOR_LONG };
  struct fuse_attr_out attr = { .attr = about(asked->nodeid), .attr_valid = FOR_LONG };
  struct fuse_open_out opened = { .fh = 1 };
  switch (asked->opcode) {
    case FUSE_INIT: return answer(asked, 0, &begun, sizeof begun);
    case FUSE_LOOKUP: return answer(asked, 0, &entry, sizeof entry);
    case FUSE_GETATTR: return answer(asked, 0, &attr, sizeof attr);
    case FUSE_OPEN: return answer(asked, 0, &opened, sizeof opened);
    case FUSE_READ: return answer(asked, 0, zeros, sizeof zeros);
    case FUSE_WRITE: case FUSE_FLUSH: case FUSE_FORGET: case FUSE_INTERRUPT: return;
    default: return answer(asked, -NO_SUCH_CALL, NULL, 0);
  }
}

static int serve(const char *directory) {
  static char asked[1 << 20];
  char options[100];
  device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
  if (device < 0 || mount("stuck", directory, "fuse", 0, options)) return 1;
  if (puts("mounted") < 0 || fflush(stdout)) return 2;
  while (read(device, asked, sizeof asked) > 0) take((void *)asked);
  return 0;
}

static int wait_for(const char *path) {
  int file = open(path, O_RDWR);
  char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (map == MAP_FAILED) return 1;
  *map = 1;
  if (puts("waits") < 0 || fflush(stdout)) return 2;
  // What was written has to go out first, and nobody may look at our memory meanwhile.
  mmap(map, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return 3;
}

static int exec_over(const char *path) {
  if (open(path, O_RDWR | O_CLOEXEC) < 0) return 1;
  execlp("sleep", "sleep", "600", NULL);
  return 3;
}

int main(int count, char **arguments) {
  if (count != 3) return 4;
  const char *what = arguments[1], *path = arguments[2];
  return strcmp(what, "serve") == 0 ? serve(path) : strcmp(what, "wait") == 0 ? wait_for(path) : exec_over(path);
}
