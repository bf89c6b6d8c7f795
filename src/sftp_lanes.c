/* The sums behind it, all found by measuring: logging in takes some twelve round trips, in which
 * one session carries twelve times what it may have under way; so only files of more than twice
 * that are worth another login. What is under way is what the link holds, and a little: more piles
 * up in the server, which takes twice as long to write then; and more than 3 MiB closes TCP's
 * window again and again. A session begins with little and may have more with each answer, for its
 * TCP begins so, too, and the others would have to wait for what it was asked for. */
#define _GNU_SOURCE
#include "sftp_lanes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "sftp_session.h"
#include "thread.h"

enum {
  FIRST = 256 * 1024,       /* bytes under way on a new lane */
  LEAST = 512 * 1024,       /* and later, on a link of no length, */
  MOST = 3 * 1024 * 1024,   /* and on any link; in between, by what the link holds */
  RATE = 400 * 1000 * 1000, /* bytes per second of a fast link */
  QUEUED = 1024 * 1024,     /* bytes that wait to go out */
  WORTH = 64 * 1024 * 1024, /* bytes that are worth another lane */
  OPENINGS = 12
};

/* Seconds from which on more lanes help: up to there one session fills a line of 1 Gbit/s. */
static const double LONG_ROUND_TRIP = 0.025;

bool lanes_init(struct lanes *lanes, struct sftp *sftp, const char *path, const char *name,
                const char *doing, struct failure *failure) {
  memset(lanes, 0, sizeof *lanes);
  sftp_hold(sftp);
  lanes->all[0].sftp = sftp;
  lanes->count = 1;
  lanes->openings = OPENINGS;
  lanes->path = strdup(path);
  lanes->name = strdup(name);
  snprintf(lanes->doing, sizeof lanes->doing, "going on with %s %s", doing, name);
  lanes->deadline = net_deadline(sftp->options.transfer_seconds);
  if (lanes->path != NULL && lanes->name != NULL) return true;
  return fail(failure, EXIT_INTERNAL, "out of memory");
}

void lanes_opened(struct lanes *lanes) {
  struct sftp *sftp = lanes->all[0].sftp;
  lanes->all[0].generation = sftp_generation(sftp);
  lanes->all[0].under_way = 0;
  lanes->all[0].may_be = FIRST;
  if (sftp->round_trip >= LONG_ROUND_TRIP) lanes->count = (size_t)sftp->options.sessions;
}

static bool is_usable(const struct lane *lane) {
  return lane->sftp != NULL && lane->generation == sftp_generation(lane->sftp);
}

bool lanes_check_same(const struct lanes *lanes, const struct sftp_attributes *now,
                      struct failure *failure) {
  const struct sftp_attributes *first = &lanes->attributes;
  bool same = now->has_size == first->has_size && now->size == first->size &&
              now->has_mtime == first->has_mtime && now->mtime == first->mtime;
  return same || !lanes->stays_the_same ||
         fail(failure, EXIT_TRY_AGAIN, "%s has changed while it was read", lanes->name);
}

/* ---- more lanes ---- */

/* Connects and opens the file there; what a thread does. */
static void *open_lane(void *context) {
  struct lane *lane = context;
  const struct lanes *lanes = lane->lanes;
  lane->failure.code = 0;
  if (sftp_connect(lane->sftp, &lane->failure) &&
      sftp_open_file(lane->sftp, lanes->path, lanes->flags, &lane->handle, &lane->failure)) {
    sftp_fstat(lane->sftp, &lane->handle, lanes->name, &lane->attributes, &lane->failure);
  }
  atomic_store(&lane->opened, true);
  return NULL;
}

static void start_opening(struct lanes *lanes, struct lane *lane) {
  struct failure ignored;
  const struct sftp *first = lanes->all[0].sftp;
  struct sftp_options options = first->options;
  options.attempts = 0;
  options.ssh.address = &lane->address;
  options.ssh.cancelled = &lane->cancelled;
  lanes->openings--;
  lane->lanes = lanes;
  atomic_store(&lane->opened, false);
  atomic_store(&lane->cancelled, false);
  /* The same address: a name may stand for several servers. */
  if (first->ssh == NULL || !ssh_peer(first->ssh, &lane->address)) return;
  lane->sftp = sftp_new(&options, &ignored);
  lane->opening = lane->sftp != NULL && thread_start(&lane->thread, open_lane, lane);
  if (lane->opening) return;
  sftp_close(lane->sftp);
  lane->sftp = NULL;
}

/* Waits for the thread. */
static void end_opening(struct lane *lane) {
  pthread_join(lane->thread, NULL);
  lane->opening = false;
  lane->generation = sftp_generation(lane->sftp);
  lane->under_way = 0;
  lane->may_be = FIRST;
}

/* Lets go of a lane, with a line that says why. */
static void give_up(struct lanes *lanes, struct lane *lane, const struct failure *failure) {
  char line[1200];
  snprintf(line, sizeof line, "%s; %s without that session", failure->text, lanes->doing);
  sftp_note(lanes->all[0].sftp, line);
  sftp_close(lane->sftp);
  lane->sftp = NULL;
}

/* Takes in the lanes that have been opened. One that can't be had is a hint not to ask again. */
static bool take_in(struct lanes *lanes, struct failure *failure) {
  for (size_t i = 1; i < lanes->count; i++) {
    struct lane *lane = &lanes->all[i];
    if (!lane->opening || !atomic_load(&lane->opened)) continue;
    end_opening(lane);
    if (lane->failure.code != 0) {
      give_up(lanes, lane, &lane->failure);
      lanes->openings = 0;
    } else if (!lanes_check_same(lanes, &lane->attributes, failure)) {
      return false;
    }
  }
  return true;
}

void lanes_grow(struct lanes *lanes, uint64_t left) {
  if (left < WORTH) return;
  for (size_t i = 1; i < lanes->count && lanes->openings > 0; i++) {
    struct lane *lane = &lanes->all[i];
    if (lane->sftp == NULL) start_opening(lanes, lane);
  }
}

/* ---- the first lane ---- */

/* Opens the file again after a drop: it must be the same file. */
static bool open_again(struct lanes *lanes, struct failure *failure) {
  struct lane *first = &lanes->all[0];
  struct sftp_attributes now;
  if (!sftp_open_file(first->sftp, lanes->path, lanes->flags, &first->handle, failure)) {
    return false;
  }
  lanes_opened(lanes);
  return sftp_fstat(first->sftp, &first->handle, lanes->name, &now, failure) &&
         lanes_check_same(lanes, &now, failure);
}

bool lanes_ready(struct lanes *lanes, struct failure *failure) {
  struct lane *first = &lanes->all[0];
  while (!is_usable(first)) {
    if (open_again(lanes, failure)) break;
    if (!sftp_recover(first->sftp, &lanes->tries, lanes->doing, failure)) return false;
  }
  return take_in(lanes, failure);
}

/* ---- using them ---- */

/* Whether a lane takes a request for so many bytes. */
static bool has_room(const struct lane *lane, uint32_t size) {
  if (lane->opening || !is_usable(lane) || sftp_queued(lane->sftp) >= QUEUED) return false;
  return lane->under_way == 0 || lane->under_way + size <= lane->may_be;
}

void lane_asked(struct lane *lane, uint32_t size) { lane->under_way += size; }

void lane_answered(struct lane *lane, uint32_t size) {
  double most = LEAST + lane->sftp->round_trip * RATE;
  if (most > MOST) most = MOST;
  lane->under_way -= size;
  lane->may_be = lane->may_be + size < most ? lane->may_be + size : (uint32_t)most;
}

struct lane *lanes_pick(struct lanes *lanes, uint32_t size) {
  struct lane *best = NULL;
  for (size_t i = 0; i < lanes->count; i++) {
    struct lane *lane = &lanes->all[i];
    if (!has_room(lane, size)) continue;
    if (best == NULL || lane->under_way < best->under_way) best = lane;
  }
  return best;
}

/* Sends and receives on one lane. */
static bool pump_lane(struct lanes *lanes, struct lane *lane, bool *any, struct failure *failure) {
  if (lane->sftp->ssh == NULL) return fail(failure, EXIT_UNAVAILABLE, "the connection is gone");
  if (sftp_exchange(lane->sftp, any, failure)) return true;
  sftp_drop(lane->sftp);
  if (lane == lanes->all || failure->code != EXIT_UNAVAILABLE) return false;
  give_up(lanes, lane, failure);
  *any = true; /* what was under way there can be asked for again */
  return true;
}

/* Fails when the whole transfer takes too long. */
static bool in_time(struct lanes *lanes, struct failure *failure) {
  struct sftp *sftp = lanes->all[0].sftp;
  if (net_milliseconds_left(&lanes->deadline) > 0) return true;
  sftp_drop(sftp);
  return fail(failure, EXIT_TRY_AGAIN, "%s takes longer than the %d seconds that it may",
              lanes->name, sftp->options.transfer_seconds);
}

bool lanes_pump(struct lanes *lanes, bool wait, struct failure *failure) {
  struct ssh *connected[SSH_WAIT_MOST];
  size_t count = 0;
  bool any = false;
  if (!in_time(lanes, failure)) return false;
  for (size_t i = 0; i < lanes->count; i++) {
    struct lane *lane = &lanes->all[i];
    bool did;
    if (lane->sftp == NULL || lane->opening) continue;
    if (!pump_lane(lanes, lane, &did, failure)) return false;
    if (lane->sftp != NULL) connected[count++] = lane->sftp->ssh;
    any = any || did;
  }
  return any || !wait || ssh_wait_any(connected, count, failure);
}

/* Ends a lane, or its opening. */
static void end_lane(struct lane *lane) {
  if (lane->sftp == NULL) return;
  atomic_store(&lane->cancelled, true);
  if (lane->opening) end_opening(lane);
  sftp_close(lane->sftp);
  lane->sftp = NULL;
}

bool lanes_join(struct lanes *lanes, struct failure *failure) {
  bool kept = true;
  for (size_t i = 1; i < SSH_WAIT_MOST && kept; i++) {
    struct lane *lane = &lanes->all[i];
    if (lane->sftp != NULL && !lane->opening) {
      kept = sftp_close_file(lane->sftp, &lane->handle, lanes->name, failure) ||
             failure->code == EXIT_UNAVAILABLE; /* all was confirmed, and the first lane syncs it */
    }
    end_lane(lane);
  }
  return kept;
}

/* Waits for what is under way on the first lane, for its pieces are about to go. */
static void settle(struct lane *first) {
  struct failure ignored = {0};
  while (is_usable(first) && first->under_way > 0) {
    if (!sftp_pump(first->sftp, true, &ignored)) return;
  }
}

void lanes_close(struct lanes *lanes) {
  struct failure ignored;
  struct lane *first = &lanes->all[0];
  settle(first);
  for (size_t i = 1; i < SSH_WAIT_MOST; i++) end_lane(&lanes->all[i]);
  if (first->handle.size > 0 && is_usable(first)) {
    sftp_close_file(first->sftp, &first->handle, lanes->name, &ignored);
  }
  free(lanes->path);
  free(lanes->name);
  sftp_release(first->sftp);
}
