/* Blocks have numbers. Both threads take the next block that nobody has taken yet: the helper
 * always, the scan's own thread while the block that it needs isn't ready. Each reads into slots of
 * its own, few and small: so they stay in the cache of the processor that it runs on, and what the
 * other one needs of a block is no more than its first and last record and what was found. */
#define _GNU_SOURCE
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "thread.h"

enum { THREADS = 2, SLOTS = 3 /* of each thread */, BLOCK = 256 * 1024 };

struct slot {
  bool used;
  uint64_t number; /* of its block */
  char *buffer;
  size_t size;  /* bytes read; less than a block: the file ends here */
  size_t first; /* offset behind the first line end */
  struct sieved sieved;
  bool ready;
  struct failure failure; /* code 0: none */
};

struct pool {
  struct supply supply;
  struct source *source;
  struct scan_options options;
  struct sieve sieve;
  uint64_t offset; /* of block 0 in the file */
  pthread_t helper;
  pthread_mutex_t mutex; /* guards what follows */
  pthread_cond_t changed;
  struct slot slots[THREADS][SLOTS];
  const struct slot *current; /* the one supplied last */
  uint64_t taken, supplied;   /* blocks begun by a thread, given to the scan */
  uint64_t last;              /* number of the block that ended the file, as far as known */
  bool stop;
};

/* ---- one block ---- */

/* Reads a whole block, unless the file ends first. */
static bool read_block(struct pool *pool, struct slot *slot, char *block) {
  uint64_t offset = pool->offset + slot->number * pool->options.block;
  slot->size = 0;
  while (slot->size < pool->options.block) {
    ssize_t got =
        pool->source->read_at(pool->source, block + slot->size, pool->options.block - slot->size,
                              offset + slot->size, &slot->failure);
    if (got < 0) return false;
    if (got == 0) break;
    slot->size += (size_t)got;
  }
  memset(block + slot->size, 0, SIFT_SLACK);
  return true;
}

/* Fills a slot. What fails is told when the scan comes to this block. */
static void work_on(struct pool *pool, struct slot *slot) {
  char *block = slot->buffer + scan_room(&pool->options);
  slot->failure.code = 0;
  if (!read_block(pool, slot, block)) return;
  const char *feed = memchr(block, '\n', slot->size);
  slot->first = feed == NULL ? slot->size : (size_t)(feed - block) + 1;
  sieve_bytes(&pool->sieve, block + slot->first, slot->size - slot->first, &slot->sieved,
              &slot->failure);
}

/* ---- taking turns; the mutex is held ---- */

/* A slot of the thread's own for the next block; NULL when all are in use, or the file has ended.
 */
static struct slot *free_slot(struct pool *pool, int thread) {
  for (int i = 0; i < SLOTS && pool->taken <= pool->last; i++) {
    if (!pool->slots[thread][i].used) return &pool->slots[thread][i];
  }
  return NULL;
}

/* Takes the next block and works on it, without the mutex. */
static void take_block(struct pool *pool, struct slot *slot) {
  slot->used = true;
  slot->ready = false;
  slot->number = pool->taken++;
  pthread_mutex_unlock(&pool->mutex);
  work_on(pool, slot);
  pthread_mutex_lock(&pool->mutex);
  bool ends = slot->failure.code != 0 || slot->size < pool->options.block;
  if (ends && slot->number < pool->last) pool->last = slot->number;
  slot->ready = true;
  pthread_cond_broadcast(&pool->changed);
}

static void *help(void *argument) {
  struct pool *pool = argument;
  pthread_mutex_lock(&pool->mutex);
  while (!pool->stop) {
    struct slot *slot = free_slot(pool, 1);
    if (slot != NULL)
      take_block(pool, slot);
    else
      pthread_cond_wait(&pool->changed, &pool->mutex);
  }
  pthread_mutex_unlock(&pool->mutex);
  return NULL;
}

/* The slot that has, or will have, a block; NULL when nobody has taken it. */
static struct slot *slot_of(struct pool *pool, uint64_t number) {
  for (int i = 0; i < THREADS * SLOTS; i++) {
    struct slot *slot = &pool->slots[i / SLOTS][i % SLOTS];
    if (slot->used && slot->number == number) return slot;
  }
  return NULL;
}

/* Waits for a block, working on it or others meanwhile. At most two blocks before it are in use, so
 * that there is a slot for it. */
static struct slot *wait_for(struct pool *pool, uint64_t number) {
  for (;;) {
    struct slot *slot = slot_of(pool, number), *free;
    if (slot != NULL && slot->ready) return slot;
    if ((free = free_slot(pool, 0)) != NULL)
      take_block(pool, free);
    else
      pthread_cond_wait(&pool->changed, &pool->mutex);
  }
}

/* Lets go of the blocks that the scan has left. The one supplied last stays, and the one before,
 * whose unfinished record the scan may still be taking over. */
static void free_left(struct pool *pool) {
  for (int i = 0; i < THREADS * SLOTS; i++) {
    struct slot *slot = &pool->slots[i / SLOTS][i % SLOTS];
    if (slot->used && slot->number + 2 <= pool->supplied) slot->used = false;
  }
}

/* ---- the scan's side ---- */

static char *next_block(struct supply *self, size_t *size, struct failure *failure) {
  struct pool *pool = (struct pool *)self;
  pthread_mutex_lock(&pool->mutex);
  free_left(pool);
  bool ended = pool->supplied > pool->last;
  struct slot *slot = wait_for(pool, ended ? pool->last : pool->supplied);
  if (!ended) pool->supplied++;
  pthread_cond_broadcast(&pool->changed);
  pthread_mutex_unlock(&pool->mutex);
  if (slot->failure.code != 0) {
    *failure = slot->failure;
    return NULL;
  }
  *size = ended ? 0 : slot->size;
  source_took(pool->source, slot->buffer + scan_room(&pool->options), *size);
  pool->current = slot;
  return slot->buffer;
}

struct supply *pool_supply(struct pool *pool) {
  return &pool->supply;
}

const struct sieved *pool_sieved(const struct pool *pool, const char *bytes) {
  const struct slot *slot = pool->current;
  if (slot == NULL) return NULL;
  bool known = bytes == slot->buffer + scan_room(&pool->options) + slot->first;
  return known ? &slot->sieved : NULL;
}

static void release(struct pool *pool) {
  for (int i = 0; i < THREADS * SLOTS; i++) {
    free(pool->slots[i / SLOTS][i % SLOTS].buffer);
    sieved_free(&pool->slots[i / SLOTS][i % SLOTS].sieved);
  }
  pthread_cond_destroy(&pool->changed);
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

struct pool *pool_start(struct source *source, const struct scan_options *options,
                        const struct sieve *sieve) {
  struct pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->supply.next = next_block;
  pool->source = source;
  pool->options = *options;
  if (pool->options.block > BLOCK) pool->options.block = BLOCK;
  pool->sieve = *sieve;
  pool->offset = source->raw_bytes;
  pool->last = UINT64_MAX;
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->changed, NULL);
  bool ready = true;
  for (int i = 0; i < THREADS * SLOTS; i++) {
    struct slot *slot = &pool->slots[i / SLOTS][i % SLOTS];
    slot->buffer = scan_new_buffer(&pool->options);
    ready = ready && slot->buffer != NULL;
  }
  if (ready && thread_start(&pool->helper, help, pool)) return pool;
  release(pool);
  return NULL;
}

void pool_stop(struct pool *pool) {
  if (pool == NULL) return;
  pthread_mutex_lock(&pool->mutex);
  pool->stop = true;
  pthread_cond_broadcast(&pool->changed);
  pthread_mutex_unlock(&pool->mutex);
  pthread_join(pool->helper, NULL);
  release(pool);
}
