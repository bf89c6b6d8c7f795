/* One variant of the fast lane; included by a file that has defined
 *   VARIANT          its name, without quotes
 *   TARGET           the attribute that lets its functions use the instructions
 *   struct step      64 bytes, as the processor likes to hold them
 *   load_step        reads them
 *   usable           whether the processor has the instructions
 *   step_equals      bit i: byte i equals a character
 *   ones             number of bits set
 *   inside_quotes    bit i: the number of bits set up to and with i is odd
 *   nth_one          the lowest bits dropped, n of them: the next one's index, 64 if there is none
 * or, in place of the last four and of one that finds the lowest bit, PLAIN_BITS.
 * First the structure of the whole run is found, without a branch that depends on the data: quotes
 * come in pairs, and what stands between them is neither delimiter nor line end. That is so only
 * as long as each quote that opens stands where a field begins and each that closes where one ends
 * (or before another quote): else the exact walk takes over, or the run ends there. Then each
 * record is judged from the masks: number of fields, where the value ends, whether the sketch
 * knows it. */

#include "sift_bits.h"
#ifdef PLAIN_BITS
#include "sift_plain_bits.h"
#endif

/* What the first pass leaves to the second. Masks have a word of zeros behind them. */
struct structure {
  uint64_t delimiters[SIFT_STEPS + 2];
  uint64_t quotes[SIFT_STEPS + 2];
  uint16_t ranks[SIFT_STEPS + 1]; /* delimiters before each step */
  uint16_t ends[SIFT_RUN + 2];    /* offsets of the line feeds that end records */
  size_t count;                   /* of the ends */
  size_t inner_lines;             /* line feeds in quotes */
  size_t steps;                   /* those whose structure is known */
};

/* Writes the offsets of the bits and returns the place behind them; two are written always, for
 * more than two line feeds in 64 bytes are rare. */
static TARGET inline uint16_t *note_ends(uint16_t *next, uint64_t ends, size_t base) {
  uint16_t *behind = next + ones(ends);
  next[0] = (uint16_t)(base + lowest(ends));
  ends &= ends - 1;
  next[1] = (uint16_t)(base + lowest(ends));
  ends &= ends - 1;
  for (next += 2; __builtin_expect(ends != 0, 0); ends &= ends - 1) {
    *next++ = (uint16_t)(base + lowest(ends));
  }
  return behind;
}

/* Finds delimiters and record ends of up to `steps` steps. */
static TARGET void find_structure(char delimiter, const char *bytes, size_t steps,
                                  struct structure *found) {
  uint64_t was_inside = 0, was_plain = 0, was_quote = 0; /* see struct quote_state */
  /* cppcheck-suppress ctuuninitvar ; the array is filled in here */
  uint16_t *ends = found->ends;
  size_t rank = 0, inner_lines = 0, i;
  for (i = 0; i < steps; i++) {
    struct step step = load_step(bytes + i * SIFT_STEP);
    uint64_t delimiters = step_equals(&step, delimiter);
    uint64_t feeds = step_equals(&step, '\n');
    uint64_t quotes = step_equals(&step, '"');
    uint64_t inside = inside_quotes(quotes) ^ was_inside;
    uint64_t plain = ~(inside | delimiters | feeds | quotes);
    uint64_t amiss = (quotes & (plain * 2 + was_plain)) | (plain & (quotes * 2 + was_quote));
    if (__builtin_expect(amiss != 0, 0)) {
      struct quote_state before = {was_inside, was_plain, was_quote};
      struct masks masks = {delimiters, feeds, quotes, step_equals(&step, '\r'), 0, 0};
      if (!walk_quotes(&before, &masks, bytes + i * SIFT_STEP)) break;
      quotes = masks.quotes;
      inside = masks.inside;
      plain = masks.plain;
    }
    was_inside = -(inside >> 63);
    was_plain = plain >> 63;
    was_quote = quotes >> 63;
    inner_lines += ones(feeds & inside);
    delimiters &= ~inside;
    found->delimiters[i] = delimiters;
    found->quotes[i] = quotes;
    found->ranks[i] = (uint16_t)rank;
    rank += ones(delimiters);
    ends = note_ends(ends, feeds & ~inside, i * SIFT_STEP);
  }
  found->delimiters[i] = found->delimiters[i + 1] = 0;
  found->quotes[i] = found->quotes[i + 1] = 0;
  found->ranks[i] = (uint16_t)rank;
  found->count = (size_t)(ends - found->ends);
  found->inner_lines = inner_lines;
  found->steps = i;
}

/* Where a record's value lies, quotes included, as offsets from the record's start. */
struct place {
  size_t begin, end;
};

/* Finds the value of the record at [start, end). A delimiter is imagined in front of the record, so
 * that field n stands behind delimiter n; the window has room for fields that end within 63 bytes,
 * others are walked to. */
static TARGET inline struct place find_value(const struct sift_rules *rules,
                                             const struct structure *found, const char *bytes,
                                             size_t start, size_t end) {
  size_t column = rules->value_column;
  uint64_t window = window_at(found->delimiters, start) << 1 | 1;
  struct place value = {nth_one(window, column), nth_one(window, column + 1) - 1};
  if (__builtin_expect(column + 1 == rules->columns, 0)) {
    value.begin = behind_nth(found->delimiters, start, column);
    value.end = end - start;
    if (value.end > value.begin && bytes[end - 1] == '\r') value.end--;
  } else if (__builtin_expect(value.end >= 63, 0)) {
    value.begin = behind_nth(found->delimiters, start, column);
    value.end = behind_nth(found->delimiters, start, column + 1) - 1;
  }
  return value;
}

/* Takes the quotes off a value; false when there are more of them inside. */
static TARGET inline bool unquote(const struct structure *found, size_t start, const char *record,
                                  struct place *value) {
  if (value->end == value->begin || record[value->end - 1] != '"') return true;
  uint64_t quotes = window_at(found->quotes, start + value->begin);
  size_t size = value->end - value->begin;
  if (size > 64 || ones(quotes & low_bits(size)) != 2) return false;
  value->begin++;
  value->end--;
  return true;
}

/* Judges the records of the run; stops before one that needs care. */
static TARGET void judge_records(const struct sift_rules *rules, const char *bytes, size_t size,
                                 const struct structure *found, struct sifted *sifted) {
  size_t start = 0, rank = 0, count = 0, i;
  for (i = 0; i < found->count; i++) {
    size_t end = found->ends[i];
    if (__builtin_expect(end >= size, 0)) break;
    size_t rank_of_end = found->ranks[end / 64] +
                         ones(found->delimiters[end / 64] & ((UINT64_C(1) << end % 64) - 1));
    if (__builtin_expect(rank_of_end - rank != rules->columns - 1, 0)) break;
    struct place value = find_value(rules, found, bytes, start, end);
    if (!unquote(found, start, bytes + start, &value)) break;
    uint64_t mark = sketch_mark(bytes + start + value.end, value.end - value.begin);
    sifted->look_at[count] = (uint16_t)start;
    count += sketch_may_have(rules->sketch, mark);
    rank = rank_of_end;
    start = end + 1;
  }
  sifted->count = count;
  sifted->records = i;
  sifted->size = start;
  sifted->stopped = i < found->count && found->ends[i] < size;
}

static TARGET void run(const struct sift_rules *rules, const char *bytes, size_t size, size_t steps,
                       struct sifted *sifted) {
  struct structure found;
  size_t all = (size + SIFT_STEP - 1) / SIFT_STEP;
  if (steps > all) steps = all;
  find_structure(rules->delimiter, bytes, steps, &found);
  judge_records(rules, bytes, size, &found, sifted);
  if (found.steps < steps) sifted->stopped = true;
  size_t known = found.steps * SIFT_STEP < size ? found.steps * SIFT_STEP : size;
  sifted->lines = sifted->records;
  if (found.inner_lines > 0) {
    size_t beyond = found.count - sifted->records; /* line feeds of records left */
    sifted->lines +=
        found.inner_lines + beyond - count_feeds(bytes + sifted->size, known - sifted->size);
  }
}

static TARGET uint64_t separators(const char *bytes, char delimiter) {
  struct step step = load_step(bytes);
  return step_equals(&step, delimiter) | step_equals(&step, '\n');
}

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED_OF(one, other) one##other
#define JOINED(one, other) JOINED_OF(one, other)

const struct sift_variant JOINED(sift_, VARIANT) = {TEXT(VARIANT), run, separators, usable};
