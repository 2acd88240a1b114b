/*
 * Calls of libc that fall short, for a process that is started with this library before all others (LD_PRELOAD).
 *
 * Only files whose path begins with HEARTWOOD_FAULTS_UNDER are concerned. What happens to them stands on a board, a
 * file that is mapped into memory (HEARTWOOD_FAULTS_BOARD): the process itself or whoever started it writes there which
 * call is to be struck and how, and reads there what was seen, after a SIGKILL too.
 *
 * B1 A call that is not struck does what it always does, and sets errno as it always does.
 * B2 Each matching call is counted once, whatever thread makes it.
 * B3 Nothing is allocated and no lock is taken unless syncs are to drop what was written.
 *
 * The board, int32 in the order of the machine:
 *
 *   offset  size  field
 *   0       4     calls: bits of the calls that count (see below)
 *   4       4     at: the first one of them that is struck, from 1; 0 strikes none
 *   8       4     times: how many are struck from there on; 0 means all
 *   12      4     action: see below
 *   16      4     code: errno of what fails
 *   20      4     bytes: of a short or torn write, what is written of it
 *   24      4     seen: calls that counted so far
 *   28      4     struck: calls that were struck
 *   32      4     last: bit of the call that was struck last
 *   36      4     again: syncs of a file after a sync of it failed; one that a descriptor is told of it by is none
 *   40      64    match: text that the path must contain; zeros match every path
 *   104     48    seen, for each bit, whether it counts or not
 *
 * Broken when the process and the reader of the board are not of one byte order, or a path is longer than PATH_MAX.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, PWRITE, PWRITEV, FSYNC, FDATASYNC, FTRUNCATE, RENAME, UNLINK, OPEN, READ, MKDIR, DSYNC, CALLS };
/* DSYNC is the sync in a write through a descriptor that was opened with O_DSYNC: such a call counts twice. */
/* SHORT writes a part once and fails from then on. TORN writes a part and ends the process. DROP fails a sync and takes
   back every write since the last one that succeeded. LIE takes them back and says that it succeeded. */
enum { FAIL, SHORT, TORN, KILL_BEFORE, KILL_AFTER, DROP, LIE };

struct board {
  int calls, at, times, action, code, bytes, seen, struck, last, again;
  char match[64];
  int each[CALLS];
};

#define FILES 4096
struct tracked {
  int under, failed, told, durable;
  char path[PATH_MAX];
};

static struct board *board;
static const char *under;
static struct tracked *files[FILES];

#define REAL(name) (resolve(), real_##name)
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static ssize_t (*real_pwritev64)(int, const struct iovec *, int, off64_t);
static ssize_t (*real_pread64)(int, void *, size_t, off64_t);
static ssize_t (*real_preadv64)(int, const struct iovec *, int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate64)(int, off64_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_open64)(const char *, int, ...);
static int (*real_openat64)(int, const char *, int, ...);
static int (*real_close)(int);

/* Others may open files before this library is set up, so whoever comes first does this. */
static inline void resolve(void) {
  if (real_close != NULL) return;
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
  real_pwritev64 = dlsym(RTLD_NEXT, "pwritev64");
  real_pread64 = dlsym(RTLD_NEXT, "pread64");
  real_preadv64 = dlsym(RTLD_NEXT, "preadv64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_ftruncate64 = dlsym(RTLD_NEXT, "ftruncate64");
  real_rename = dlsym(RTLD_NEXT, "rename");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_mkdir = dlsym(RTLD_NEXT, "mkdir");
  real_open64 = dlsym(RTLD_NEXT, "open64");
  real_openat64 = dlsym(RTLD_NEXT, "openat64");
  real_close = dlsym(RTLD_NEXT, "close");
}

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("HEARTWOOD_FAULTS_BOARD");
  under = getenv("HEARTWOOD_FAULTS_UNDER");
  if (path == NULL || under == NULL) return;
  int fd = REAL(open64)(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *mapped = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  REAL(close)(fd);
  if (mapped != MAP_FAILED) board = mapped;
}

static int counts(const char *path) {
  return board != NULL && path != NULL && strncmp(path, under, strlen(under)) == 0;
}

static void name(struct tracked *file, const char *path) {
  strncpy(file->path, path, PATH_MAX - 1);
  file->path[PATH_MAX - 1] = 0;
}

static struct tracked *fileOf(int fd) {
  struct tracked *file = fd >= 0 && fd < FILES ? files[fd] : NULL;
  return file != NULL && file->under ? file : NULL;
}

static void end(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* Counts a call; answers which struck one it is, from 1, or 0 where it is left alone. */
static int strike(int call, const char *path) {
  __atomic_fetch_add(&board->each[call], 1, __ATOMIC_SEQ_CST);
  if ((board->calls & 1 << call) == 0 || strstr(path, board->match) == NULL) return 0;
  int seen = __atomic_add_fetch(&board->seen, 1, __ATOMIC_SEQ_CST);
  int nth = board->at == 0 ? 0 : seen - board->at + 1;
  if (nth < 1 || (board->times > 0 && nth > board->times)) return 0;
  __atomic_fetch_add(&board->struck, 1, __ATOMIC_SEQ_CST);
  board->last = 1 << call;
  if (board->action == KILL_BEFORE) end();
  return nth;
}

static int refused(void) {
  errno = board->code;
  return -1;
}

/* What a call that moves no bytes does once it is struck. */
#define STRUCK(call, path, really)                   \
  if (strike(call, path) > 0) {                      \
    if (board->action == TORN) end();                \
    if (board->action != KILL_AFTER) return refused(); \
    (void)!(really);                                 \
    end();                                           \
  }                                                  \
  return really

/* -- What syncs drop ---------------------------------------------------------------------------------------------- */

struct undo {
  struct undo *next;
  dev_t dev;
  ino_t ino;
  off64_t offset, size;
  size_t length;
  ssize_t bytes;
  unsigned long number;
  char old[];
};
static struct undo *undone;
static unsigned long writes;
static pthread_mutex_t undoing = PTHREAD_MUTEX_INITIALIZER;

/* Keeps what a write is about to cover. */
static void remember(int fd, size_t bytes, off64_t offset) {
  struct stat stat;
  if (board->action < DROP || fstat(fd, &stat) != 0) return;
  struct undo *kept = malloc(sizeof(struct undo) + bytes);
  if (kept == NULL) abort();
  *kept = (struct undo){.dev = stat.st_dev, .ino = stat.st_ino, .offset = offset, .size = stat.st_size,
                        .length = bytes};
  kept->bytes = REAL(pread64)(fd, kept->old, bytes, offset);
  pthread_mutex_lock(&undoing);
  kept->number = ++writes;
  kept->next = undone;
  undone = kept;
  pthread_mutex_unlock(&undoing);
}

/* Which writes to a file: up to a number, and of those the ones that lie between two offsets. */
struct span {
  unsigned long upTo;
  off64_t from, to;
};
static const struct span everything = {ULONG_MAX, 0, LLONG_MAX};

/* Forgets what was written to a file, after taking it back where asked, the newest first. */
static void forget(int fd, struct span span, int back) {
  struct stat stat;
  if (fstat(fd, &stat) != 0) return;
  pthread_mutex_lock(&undoing);
  for (struct undo **at = &undone; *at != NULL;) {
    struct undo *each = *at;
    int within = each->offset >= span.from && each->offset + (off64_t)each->length <= span.to;
    if (each->ino != stat.st_ino || each->dev != stat.st_dev || each->number > span.upTo || !within) {
      at = &each->next;
      continue;
    }
    if (back && each->bytes > 0) (void)!REAL(pwrite64)(fd, each->old, each->bytes, each->offset);
    if (back) (void)!REAL(ftruncate64)(fd, each->size);
    *at = each->next;
    free(each);
  }
  pthread_mutex_unlock(&undoing);
}

/* -- Calls that move bytes ---------------------------------------------------------------------------------------- */

static size_t lengthOf(const struct iovec *parts, int count) {
  size_t bytes = 0;
  for (int index = 0; index < count; index++) bytes += parts[index].iov_len;
  return bytes;
}

/* Writes the first bytes of several parts. */
static ssize_t writePart(int fd, const struct iovec *parts, int count, size_t bytes, off64_t offset) {
  size_t done = 0;
  for (int index = 0; index < count && done < bytes; index++) {
    size_t part = parts[index].iov_len < bytes - done ? parts[index].iov_len : bytes - done;
    ssize_t moved = REAL(pwrite64)(fd, parts[index].iov_base, part, offset + done);
    if (moved < 0) return moved;
    done += moved;
  }
  return done;
}

/* Does what becomes of a struck write; answers 0 where it is to be done as ever. */
static int struckWrite(int call, int fd, const struct iovec *parts, int count, off64_t offset, ssize_t *answer) {
  struct tracked *file = fileOf(fd);
  if (file == NULL) return 0;
  size_t all = lengthOf(parts, count), bytes = board->bytes;
  int nth = strike(call, file->path);
  if (nth == 0 || board->action >= DROP) {
    remember(fd, all, offset);
    return 0;
  }
  if (bytes >= all) bytes = all - 1;
  if (board->action == TORN || board->action == KILL_AFTER) {
    (void)!writePart(fd, parts, count, board->action == TORN ? bytes : all, offset);
    end();
  }
  *answer = board->action == SHORT && nth == 1 && bytes > 0 ? writePart(fd, parts, count, bytes, offset) : refused();
  return 1;
}

/* A sync failed: whoever syncs this file again, through whichever descriptor, does what must not be done. */
static void fail(int told, const char *path) {
  files[told]->told = 1;
  for (int fd = 0; fd < FILES; fd++) {
    if (fileOf(fd) != NULL && strcmp(files[fd]->path, path) == 0) files[fd]->failed = 1;
  }
}

/* Whether a durable write fails because a sync did through another descriptor: the kernel tells each of them once, so
   that who wrote beside that one, and whose bytes may be gone with it, hears of it. */
static int hears(struct tracked *file) {
  if (!file->failed || file->told) return 0;
  file->told = 1;
  return 1;
}

/* What becomes of a struck sync: 0 where it says that it succeeded. */
static int struckSync(int fd, const char *path) {
  if (board->action == TORN || board->action == KILL_AFTER) end();
  if (board->action != LIE) fail(fd, path);
  if (board->action >= DROP) forget(fd, everything, 1);
  return board->action == LIE ? 0 : refused();
}

/* The sync at the end of a write, where its descriptor asks for one. */
static ssize_t durably(int fd, off64_t offset, ssize_t written) {
  struct tracked *file = fileOf(fd);
  if (file == NULL || !file->durable || written <= 0) return written;
  if (file->told) __atomic_fetch_add(&board->again, 1, __ATOMIC_SEQ_CST);
  if (strike(DSYNC, file->path) > 0) return struckSync(fd, file->path) == 0 ? written : -1;
  /* What one that fails has taken back by now is not durable; what is forgotten before it fails is. */
  if (board->action >= DROP) forget(fd, (struct span){ULONG_MAX, offset, offset + written}, 0);
  return hears(file) ? refused() : written;
}

ssize_t write(int fd, const void *buffer, size_t bytes) {
  struct iovec part = {(void *)buffer, bytes};
  ssize_t answer;
  if (fileOf(fd) != NULL) {
    off64_t offset = lseek64(fd, 0, SEEK_CUR);
    if (struckWrite(WRITE, fd, &part, 1, offset, &answer)) {
      if (answer > 0) lseek64(fd, offset + answer, SEEK_SET);
      return answer;
    }
  }
  return REAL(write)(fd, buffer, bytes);
}

ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off64_t offset) {
  struct iovec part = {(void *)buffer, bytes};
  ssize_t answer;
  if (struckWrite(PWRITE, fd, &part, 1, offset, &answer)) return answer;
  return durably(fd, offset, REAL(pwrite64)(fd, buffer, bytes, offset));
}
ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t offset) { return pwrite64(fd, buffer, bytes, offset); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  ssize_t answer;
  if (struckWrite(PWRITEV, fd, parts, count, offset, &answer)) return answer;
  return durably(fd, offset, REAL(pwritev64)(fd, parts, count, offset));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

ssize_t pread64(int fd, void *buffer, size_t bytes, off64_t offset) {
  struct tracked *file = fileOf(fd);
  if (file == NULL) return REAL(pread64)(fd, buffer, bytes, offset);
  STRUCK(READ, file->path, REAL(pread64)(fd, buffer, bytes, offset));
}
ssize_t pread(int fd, void *buffer, size_t bytes, off_t offset) { return pread64(fd, buffer, bytes, offset); }

ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset) {
  struct tracked *file = fileOf(fd);
  if (file == NULL) return REAL(preadv64)(fd, parts, count, offset);
  STRUCK(READ, file->path, REAL(preadv64)(fd, parts, count, offset));
}
ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset) { return preadv64(fd, parts, count, offset); }

/* -- Syncs and lengths -------------------------------------------------------------------------------------------- */

static int synced(int call, int fd, int (*really)(int)) {
  struct tracked *file = fileOf(fd);
  if (file == NULL) return really(fd);
  if (file->failed) __atomic_fetch_add(&board->again, 1, __ATOMIC_SEQ_CST);
  unsigned long upTo = __atomic_load_n(&writes, __ATOMIC_SEQ_CST);
  if (strike(call, file->path) > 0) {
    if (board->action == KILL_AFTER) (void)!really(fd);
    return struckSync(fd, file->path);
  }
  int answer = really(fd);
  if (answer == 0 && board->action >= DROP) forget(fd, (struct span){upTo, 0, LLONG_MAX}, 0);
  return answer;
}

int fsync(int fd) { return synced(FSYNC, fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(FDATASYNC, fd, REAL(fdatasync)); }

int ftruncate64(int fd, off64_t bytes) {
  struct tracked *file = fileOf(fd);
  if (file == NULL) return REAL(ftruncate64)(fd, bytes);
  STRUCK(FTRUNCATE, file->path, REAL(ftruncate64)(fd, bytes));
}
int ftruncate(int fd, off_t bytes) { return ftruncate64(fd, bytes); }

/* -- Names -------------------------------------------------------------------------------------------------------- */

/* A file that is open goes by its new name from then on. */
static int renamed(const char *from, const char *to) {
  int answer = REAL(rename)(from, to);
  for (int fd = 0; answer == 0 && fd < FILES; fd++) {
    if (fileOf(fd) != NULL && strcmp(files[fd]->path, from) == 0) name(files[fd], to);
  }
  return answer;
}

int rename(const char *from, const char *to) {
  if (!counts(from)) return REAL(rename)(from, to);
  STRUCK(RENAME, from, renamed(from, to));
}

int unlink(const char *path) {
  if (!counts(path)) return REAL(unlink)(path);
  STRUCK(UNLINK, path, REAL(unlink)(path));
}

int mkdir(const char *path, mode_t mode) {
  if (!counts(path)) return REAL(mkdir)(path, mode);
  STRUCK(MKDIR, path, REAL(mkdir)(path, mode));
}

/* A descriptor that was opened is of this path from now on. */
static int opened(int fd, const char *path, int flags) {
  if (fd < 0 || fd >= FILES) return fd;
  if (files[fd] == NULL && !counts(path)) return fd;
  if (files[fd] == NULL) files[fd] = malloc(sizeof(struct tracked));
  if (files[fd] == NULL) abort();
  files[fd]->under = counts(path);
  files[fd]->failed = files[fd]->told = 0;
  files[fd]->durable = (flags & O_DSYNC) == O_DSYNC;
  name(files[fd], path);
  return fd;
}

int openat64(int directory, const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (counts(path) && strike(OPEN, path) > 0) {
    if (board->action == TORN) end();
    if (board->action != KILL_AFTER) return refused();
    (void)!REAL(openat64)(directory, path, flags, mode);
    end();
  }
  return opened(REAL(openat64)(directory, path, flags, mode), path, flags);
}

#define OPENING(name)                                                      \
  int name(const char *path, int flags, ...) {                             \
    va_list rest;                                                          \
    va_start(rest, flags);                                                 \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                          \
    return openat64(AT_FDCWD, path, flags, mode);                          \
  }
OPENING(open)
OPENING(open64)

int openat(int directory, const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return openat64(directory, path, flags, mode);
}

int close(int fd) {
  if (fileOf(fd) != NULL) files[fd]->under = 0;
  return REAL(close)(fd);
}
