/* A Llama-shaped model on a CPU: weights and activations in 8 bits, sums in 32, the rest in fp32.
 *
 * A pass reads tokens of one sequence or of several, each with keys and values of its own in one of the cache's slots.
 *
 * Every GROUP values of a row have a scale, of weights and of activations; the latter are chosen anew for each row, so
 * what a row gives does not depend on the rows beside it. Weights are kept as unsigned bytes around 128 in panels of PANEL rows,
 * four values of each side by side, as the processor's dot product of bytes takes them; 128 times the sum of the
 * activations is taken off again. Threads share the rows of a matrix and wait for each other in a loop.
 */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define X86 1
#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,avx2")))
#endif

enum { GROUP = 64, PANEL = 32, TILE = 6, MOST_THREADS = 16 };

typedef struct {
    int32_t layers, hidden, heads, shared, head, half, vocabulary, positions, slots, threads;
    float epsilon;
} Sizes;

typedef struct {              /* what a pass reads of one sequence: `count` tokens from place `at` of its slot on */
    int32_t slot, count, at, picked;
} Part;

typedef struct {
    int rows, width;          /* as a matrix [rows, width] */
    uint8_t *codes;           /* [rows / PANEL, width / 4, PANEL, 4] */
    float *scales;            /* [rows / PANEL, width / GROUP, PANEL] */
    float *bias;              /* [rows]; NULL for none */
} Matrix;

typedef struct {
    Matrix qkv, o, gate_up, down;
    float *before, *after;    /* the norms' weights [hidden] */
    float *keys, *values;     /* [slots, shared, places / LANES, head, LANES] and [slots, shared, places, head] */
} Layer;

typedef struct {
    int8_t *codes;            /* [tokens, width] */
    float *scales;            /* [tokens, width / GROUP] */
    int32_t *shift;           /* -128 times the sum of a group's codes */
} Codes;

typedef struct Model {
    Sizes s;
    Layer *layers;
    Matrix output;
    Matrix *table;            /* the embedding: `output` itself where they are one */
    Matrix own_table;
    float *norm, *cos, *sin;  /* angles [positions, head / 2] */
    int places;               /* positions rounded up to whole blocks */
    int room;                 /* tokens that the buffers below hold */
    float *stream, *qkv, *mixed, *wide, *scores;
    Codes in;
    int vectors;              /* whether the processor has the wide instructions */
    /* what the threads work on */
    const int32_t *ids;
    const Part *parts;
    int sequences, count, picked;
    int32_t *slot, *place;    /* of each token */
    float *logits;
    pthread_t workers[MOST_THREADS];
    struct { struct Model *model; int index; } seats[MOST_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int turn, waiting, generation;
    int stop;
} Model;

/* ---- threads */

static inline void relax(int spins) {
#ifdef X86
    if (spins < 2000) { _mm_pause(); return; }
#endif
    sched_yield();
}

static void barrier(Model *m) {
    int n = m->s.threads;
    if (n == 1) return;
    int now = atomic_load_explicit(&m->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&m->waiting, 1, memory_order_acq_rel) == n - 1) {
        atomic_store_explicit(&m->waiting, 0, memory_order_relaxed);
        atomic_store_explicit(&m->generation, now + 1, memory_order_release);
    } else {
        for (int i = 0; atomic_load_explicit(&m->generation, memory_order_acquire) == now; i++) relax(i);
    }
}

/* This thread's part of `count` things. */
static inline void part(const Model *m, int index, int count, int *from, int *to) {
    *from = (int)((int64_t)count * index / m->s.threads);
    *to = (int)((int64_t)count * (index + 1) / m->s.threads);
}

/* ---- rows */

enum { LANES = 16, SPAN = 64 };

#define TARGET
#define NAME(x) x##_plain
#define FMA(a, b, c) ((a) * (b) + (c))
#include "native_rows.h"
#undef TARGET
#undef NAME
#undef FMA
#ifdef X86
#define TARGET WIDE
#define NAME(x) x##_wide
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#include "native_rows.h"
#undef TARGET
#undef NAME
#undef FMA
#define DO(m, name, ...) ((m)->vectors ? name##_wide(__VA_ARGS__) : name##_plain(__VA_ARGS__))
#else
#define DO(m, name, ...) name##_plain(__VA_ARGS__)
#endif

static void quantize(const Model *m, const float *x, int row, int width) {
    int groups = width / GROUP;
    DO(m, quantize, x, width, m->in.codes + (size_t)row * width, m->in.scales + (size_t)row * groups,
       m->in.shift + (size_t)row * groups);
}

/* RMSNorm of a row of the stream, into codes. */
static void norm(const Model *m, const float *weight, int row) {
    float values[m->s.hidden];
    DO(m, norm, m->stream + (size_t)row * m->s.hidden, weight, m->s.epsilon, m->s.hidden, values);
    quantize(m, values, row, m->s.hidden);
}

/* ---- matrix products */

/* One panel of weights times rows of codes: out [tokens, stride] = or += their products (`add`). */
static void panel_plain(const uint8_t *w, const float *scales, const float *bias, int width, const Codes *in, int tokens,
                        float *out, int stride, int add) {
    int groups = width / GROUP;
    for (int t = 0; t < tokens; t++) {
        const int8_t *a = in->codes + (size_t)t * width;
        float sums[PANEL] = {0};
        for (int g = 0; g < groups; g++) {
            int32_t whole[PANEL];
            for (int n = 0; n < PANEL; n++) whole[n] = in->shift[t * groups + g];
            for (int k = g * GROUP; k < (g + 1) * GROUP; k += 4)
                for (int n = 0; n < PANEL; n++)
                    for (int j = 0; j < 4; j++) whole[n] += (int32_t)w[((size_t)k / 4 * PANEL + n) * 4 + j] * a[k + j];
            for (int n = 0; n < PANEL; n++) sums[n] += (float)whole[n] * (in->scales[t * groups + g] * scales[g * PANEL + n]);
        }
        float *o = out + (size_t)t * stride;
        for (int n = 0; n < PANEL; n++) {
            float value = sums[n];
            if (bias) value += bias[n];
            o[n] = add ? o[n] + value : value;
        }
    }
}

#ifdef X86
#define INLINE static inline __attribute__((always_inline))

WIDE INLINE void tile(const int rows, const uint8_t *w, const float *scales, const float *bias, int width,
                      const int8_t *a, const float *as, const int32_t *shift, float *out, int stride, int add) {
    int groups = width / GROUP;
    __m512 sums[TILE][2];
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++) {
        __m512i acc[TILE][2];
        for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm512_set1_epi32(shift[r * groups + g]);
        const int8_t *x = a + g * GROUP;
        for (int k = 0; k < GROUP; k += 4, w += 4 * PANEL) {
            __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
            _mm_prefetch((const char *)(w + 4096), _MM_HINT_T0);
            _mm_prefetch((const char *)(w + 4096 + 64), _MM_HINT_T0);
            for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, x + (size_t)r * width + k, 4);
                __m512i b = _mm512_set1_epi32(four);
                acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], w0, b);
                acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], w1, b);
            }
        }
        __m512 s0 = _mm512_loadu_ps(scales + g * PANEL), s1 = _mm512_loadu_ps(scales + g * PANEL + 16);
        for (int r = 0; r < rows; r++) {
            __m512 scale = _mm512_set1_ps(as[r * groups + g]);
            sums[r][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][0]), _mm512_mul_ps(scale, s0), sums[r][0]);
            sums[r][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][1]), _mm512_mul_ps(scale, s1), sums[r][1]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < 2; j++) {
            float *o = out + (size_t)r * stride + 16 * j;
            __m512 value = sums[r][j];
            if (bias) value = _mm512_add_ps(value, _mm512_loadu_ps(bias + 16 * j));
            if (add) value = _mm512_add_ps(value, _mm512_loadu_ps(o));
            _mm512_storeu_ps(o, value);
        }
}

WIDE static void panel_dots(const uint8_t *w, const float *scales, const float *bias, int width, const Codes *in,
                            int tokens, float *out, int stride, int add) {
    int groups = width / GROUP;
    for (int t = 0; t < tokens; t += TILE) {
        const int8_t *a = in->codes + (size_t)t * width;
        const float *as = in->scales + (size_t)t * groups;
        const int32_t *shift = in->shift + (size_t)t * groups;
        float *o = out + (size_t)t * stride;
        switch (tokens - t) {
            case 1: tile(1, w, scales, bias, width, a, as, shift, o, stride, add); break;
            case 2: tile(2, w, scales, bias, width, a, as, shift, o, stride, add); break;
            case 3: tile(3, w, scales, bias, width, a, as, shift, o, stride, add); break;
            case 4: tile(4, w, scales, bias, width, a, as, shift, o, stride, add); break;
            case 5: tile(5, w, scales, bias, width, a, as, shift, o, stride, add); break;
            default: tile(6, w, scales, bias, width, a, as, shift, o, stride, add);
        }
    }
}
#endif

/* out [tokens, rows of w] = or += the codes times w, this thread's panels of it. */
static void product(const Model *m, const Matrix *w, int tokens, float *out, int add, int index) {
    int from, to;
    part(m, index, w->rows / PANEL, &from, &to);
    for (int p = from; p < to; p++) {
        const uint8_t *codes = w->codes + (size_t)p * PANEL * w->width;
        const float *scales = w->scales + (size_t)p * PANEL * (w->width / GROUP), *bias = w->bias ? w->bias + p * PANEL : NULL;
#ifdef X86
        if (m->vectors) {
            panel_dots(codes, scales, bias, w->width, &m->in, tokens, out + p * PANEL, w->rows, add);
            continue;
        }
#endif
        panel_plain(codes, scales, bias, w->width, &m->in, tokens, out + p * PANEL, w->rows, add);
    }
}

/* ---- attention */

static void turn(const Model *m, float *x, int position, float scale) {
    int half = m->s.head / 2;
    DO(m, turn, x, m->cos + (size_t)position * half, m->sin + (size_t)position * half, half, scale);
}

/* Queries [head] that share a key head, each over its first keys: q[r] -> out[r]. Keys [places / LANES, head, LANES],
 * values [places, head]; scores [rows, stride]. Later rows look at no fewer keys. */
typedef struct {
    const float *q[TILE];
    float *out[TILE];
    int length[TILE];
} Queries;

static void attend_plain(int rows, const Queries *all, const float *keys, const float *values, float *scores, int stride,
                         int head) {
    for (int r = 0; r < rows; r++) {
        int length = all->length[r];
        float *row = scores + (size_t)r * stride, *out = all->out[r];
        for (int t = 0; t < length; t++) {
            const float *k = keys + (size_t)(t / LANES) * head * LANES + t % LANES;
            row[t] = 0;
            for (int d = 0; d < head; d++) row[t] += all->q[r][d] * k[d * LANES];
        }
        float share = softmax_plain(row, length, length);
        for (int d = 0; d < head; d++) out[d] = 0;
        for (int t = 0; t < length; t++)
            for (int d = 0; d < head; d++) out[d] += row[t] * values[(size_t)t * head + d];
        for (int d = 0; d < head; d++) out[d] *= share;
    }
}

#ifdef X86
/* Keys and values are loaded once for all rows; what a row gives is the same whatever is beside it. */
WIDE INLINE void attend_tile(const int rows, const Queries *all, const float *keys, const float *values, float *scores,
                             int stride, int head) {
    int longest = all->length[rows - 1];
    for (int t = 0; t < longest; t += 2 * LANES) {
        const float *k = keys + (size_t)t * head;
        __m512 sums[TILE][2];
        for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
        for (int d = 0; d < head; d++, k += LANES) {
            __m512 k0 = _mm512_loadu_ps(k), k1 = _mm512_loadu_ps(k + (size_t)head * LANES);
            for (int r = 0; r < rows; r++) {
                __m512 q = _mm512_set1_ps(all->q[r][d]);
                sums[r][0] = _mm512_fmadd_ps(q, k0, sums[r][0]);
                sums[r][1] = _mm512_fmadd_ps(q, k1, sums[r][1]);
            }
        }
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < 2; j++) _mm512_storeu_ps(scores + (size_t)r * stride + t + j * LANES, sums[r][j]);
    }
    float share[TILE];
    for (int r = 0; r < rows; r++) share[r] = softmax_wide(scores + (size_t)r * stride, all->length[r], longest);
    for (int from = 0; from < head; from += SPAN) {
        __m512 sums[TILE][4];
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < 4; j++) sums[r][j] = _mm512_setzero_ps();
        for (int t = 0; t < longest; t++) {
            const float *v = values + (size_t)t * head + from;
            __m512 v0 = _mm512_loadu_ps(v), v1 = _mm512_loadu_ps(v + 16), v2 = _mm512_loadu_ps(v + 32), v3 = _mm512_loadu_ps(v + 48);
            for (int r = 0; r < rows; r++) {
                __m512 score = _mm512_set1_ps(scores[(size_t)r * stride + t]);
                sums[r][0] = _mm512_fmadd_ps(score, v0, sums[r][0]);
                sums[r][1] = _mm512_fmadd_ps(score, v1, sums[r][1]);
                sums[r][2] = _mm512_fmadd_ps(score, v2, sums[r][2]);
                sums[r][3] = _mm512_fmadd_ps(score, v3, sums[r][3]);
            }
        }
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < 4; j++)
                _mm512_storeu_ps(all->out[r] + from + 16 * j, _mm512_mul_ps(sums[r][j], _mm512_set1_ps(share[r])));
    }
}

WIDE static void attend_wide(int rows, const Queries *all, const float *keys, const float *values, float *scores,
                             int stride, int head) {
    switch (rows) {
        case 1: attend_tile(1, all, keys, values, scores, stride, head); break;
        case 2: attend_tile(2, all, keys, values, scores, stride, head); break;
        case 3: attend_tile(3, all, keys, values, scores, stride, head); break;
        case 4: attend_tile(4, all, keys, values, scores, stride, head); break;
        case 5: attend_tile(5, all, keys, values, scores, stride, head); break;
        default: attend_tile(6, all, keys, values, scores, stride, head);
    }
}
#endif

/* Where a slot's keys or values of one key head begin. */
static inline size_t cached(const Model *m, int slot, int k) {
    return ((size_t)slot * m->s.shared + k) * m->places * m->s.head;
}

static void attention(Model *m, Layer *l, int index) {
    const Sizes *s = &m->s;
    int width = (s->heads + 2 * s->shared) * s->head, each = s->heads / s->shared, from, to;
    part(m, index, m->count * s->shared, &from, &to);
    for (int i = from; i < to; i++) {
        int t = i / s->shared, k = i % s->shared, place = m->place[t];
        float *key = m->qkv + (size_t)t * width + (s->heads + k) * s->head, *value = key + s->shared * s->head;
        float *keys = l->keys + cached(m, m->slot[t], k), *values = l->values + cached(m, m->slot[t], k);
        float *block = keys + (size_t)(place / LANES * LANES) * s->head + place % LANES;
        turn(m, key, place, 1);
        for (int d = 0; d < s->head; d++) block[d * LANES] = key[d];
        memcpy(values + (size_t)place * s->head, value, s->head * sizeof(float));
        for (int h = 0; h < each; h++)
            turn(m, m->qkv + (size_t)t * width + (k * each + h) * s->head, place, 1.0f / sqrtf((float)s->head));
    }
    barrier(m);
    /* Rows of a sequence and a key head, TILE at a time; threads take turns, because later tokens look at more keys. */
    int stride = m->places + SPAN, begin = 0, turns = 0;
    float *scores = m->scores + (size_t)index * TILE * stride;
    for (const Part *p = m->parts; p < m->parts + m->sequences; begin += p->count, p++)
        for (int rows = p->count * each, first = 0; first < rows; first += TILE)
            for (int k = 0; k < s->shared; k++) {
                if (turns++ % s->threads != index) continue;
                int some = rows - first < TILE ? rows - first : TILE;
                Queries all;
                for (int r = 0; r < some; r++) {
                    int t = (first + r) / each, head = k * each + (first + r) % each;
                    all.q[r] = m->qkv + (size_t)(begin + t) * width + (size_t)head * s->head;
                    all.out[r] = m->mixed + ((size_t)(begin + t) * s->heads + head) * s->head;
                    all.length[r] = p->at + t + 1;
                }
                size_t place = cached(m, p->slot, k);
                DO(m, attend, some, &all, l->keys + place, l->values + place, scores, stride, s->head);
            }
}

/* ---- the pass */

static void embed(const Model *m, int32_t id, float *out) {
    const Matrix *w = m->table;
    const uint8_t *codes = w->codes + (size_t)(id / PANEL) * PANEL * w->width + id % PANEL * 4;
    const float *scales = w->scales + (size_t)(id / PANEL) * PANEL * (w->width / GROUP) + id % PANEL;
    for (int k = 0; k < w->width; k++)
        out[k] = ((int)codes[(size_t)(k / 4) * PANEL * 4 + k % 4] - 128) * scales[k / GROUP * PANEL];
}

static void gate(const Model *m, int row) {
    float *x = m->wide + (size_t)row * 2 * m->s.half;
    DO(m, gate, x, m->s.half);
    quantize(m, x, row, m->s.half);
}

/* Move the last rows of each sequence, those that are wanted, to the front. */
static void pick(const Model *m, float *rows, int width) {
    float *to = rows;
    for (const Part *p = m->parts; p < m->parts + m->sequences; p++) {
        rows += (size_t)p->count * width;
        memmove(to, rows - (size_t)p->picked * width, (size_t)p->picked * width * sizeof(float));
        to += (size_t)p->picked * width;
    }
}

static void run(Model *m, int index) {
    const Sizes *s = &m->s;
    int from, to, tokens = m->count;
    part(m, index, tokens, &from, &to);
    for (int t = from; t < to; t++) {
        embed(m, m->ids[t], m->stream + (size_t)t * s->hidden);
        norm(m, m->layers[0].before, t);
    }
    barrier(m);
    for (int i = 0; i < s->layers; i++) {
        Layer *l = m->layers + i;
        product(m, &l->qkv, tokens, m->qkv, 0, index);
        barrier(m);
        attention(m, l, index);
        barrier(m);
        if (i == s->layers - 1) {  /* from here on only the rows whose logits are wanted */
            if (index == 0 && m->picked < tokens) {
                pick(m, m->mixed, s->heads * s->head);
                pick(m, m->stream, s->hidden);
            }
            tokens = m->picked;
            part(m, index, tokens, &from, &to);
            barrier(m);
        }
        for (int t = from; t < to; t++) quantize(m, m->mixed + (size_t)t * s->heads * s->head, t, s->heads * s->head);
        barrier(m);
        product(m, &l->o, tokens, m->stream, 1, index);
        barrier(m);
        for (int t = from; t < to; t++) norm(m, l->after, t);
        barrier(m);
        product(m, &l->gate_up, tokens, m->wide, 0, index);
        barrier(m);
        for (int t = from; t < to; t++) gate(m, t);
        barrier(m);
        product(m, &l->down, tokens, m->stream, 1, index);
        barrier(m);
        const float *next = i + 1 < s->layers ? m->layers[i + 1].before : m->norm;
        for (int t = from; t < to; t++) norm(m, next, t);
        barrier(m);
    }
    product(m, &m->output, tokens, m->logits, 0, index);
    barrier(m);
}

static void *work(void *place) {
    Model *m = ((struct { Model *model; int index; } *)place)->model;
    int index = ((struct { Model *model; int index; } *)place)->index, seen = 0;
    for (;;) {
        /* A pass mostly follows soon: look for it for a while before going to sleep. */
        for (int i = 0; i < 50000 && atomic_load_explicit(&m->turn, memory_order_acquire) == seen; i++) relax(i);
        if (atomic_load_explicit(&m->turn, memory_order_acquire) == seen) {
            pthread_mutex_lock(&m->lock);
            while (atomic_load_explicit(&m->turn, memory_order_acquire) == seen) pthread_cond_wait(&m->wake, &m->lock);
            pthread_mutex_unlock(&m->lock);
        }
        seen = atomic_load_explicit(&m->turn, memory_order_acquire);
        if (m->stop) return NULL;
        run(m, index);
    }
}

static void start(Model *m) {
    pthread_mutex_lock(&m->lock);
    atomic_fetch_add_explicit(&m->turn, 1, memory_order_acq_rel);
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

/* Memory for a number of tokens; 0 where there is none. */
static int make_room(Model *m, int tokens) {
    const Sizes *s = &m->s;
    if (tokens <= m->room) return 1;
    int width = s->half > s->hidden ? s->half : s->hidden;
    if (s->heads * s->head > width) width = s->heads * s->head;
    size_t n = (size_t)tokens;
    void **all[] = {(void **)&m->stream, (void **)&m->qkv, (void **)&m->mixed, (void **)&m->wide,
                    (void **)&m->in.codes, (void **)&m->in.scales, (void **)&m->in.shift, (void **)&m->slot, (void **)&m->place};
    size_t sizes[] = {n * s->hidden * 4, n * (s->heads + 2 * s->shared) * s->head * 4, n * s->heads * s->head * 4,
                      n * 2 * s->half * 4, n * width, n * width / GROUP * 4, n * width / GROUP * 4, n * 4, n * 4};
    m->room = 0;
    for (int i = 0; i < 9; i++) {
        free(*all[i]);
        *all[i] = NULL;
        if (posix_memalign(all[i], 64, sizes[i] + 64)) return 0;
    }
    m->room = tokens;
    return 1;
}

static int fill(Matrix *w, int rows, int width, const int8_t *codes, const float *scales, const float *bias) {
    int padded = (rows + PANEL - 1) / PANEL * PANEL;
    if (rows != padded || width % GROUP) return 0;
    w->rows = rows;
    w->width = width;
    w->bias = NULL;
    if (posix_memalign((void **)&w->codes, 64, (size_t)rows * width + 8192)) return 0;
    int groups = width / GROUP;
    if (posix_memalign((void **)&w->scales, 64, (size_t)rows * groups * sizeof(float))) return 0;
    for (int n = 0; n < rows; n++)
        for (int g = 0; g < groups; g++)
            w->scales[((size_t)(n / PANEL) * groups + g) * PANEL + n % PANEL] = scales[(size_t)n * groups + g];
    if (bias) {
        if (posix_memalign((void **)&w->bias, 64, rows * sizeof(float))) return 0;
        memcpy(w->bias, bias, rows * sizeof(float));
    }
    for (int p = 0; p < rows / PANEL; p++)
        for (int n = 0; n < PANEL; n++) {
            const int8_t *row = codes + ((size_t)p * PANEL + n) * width;
            uint8_t *to = w->codes + (size_t)p * PANEL * width + n * 4;
            for (int k = 0; k < width; k += 4, to += PANEL * 4)
                for (int j = 0; j < 4; j++) to[j] = (uint8_t)(row[k + j] + 128);
        }
    return 1;
}

static float *copy(const float *from, size_t count) {
    float *to = NULL;
    if (posix_memalign((void **)&to, 64, count * sizeof(float) + 64)) return NULL;
    memcpy(to, from, count * sizeof(float));
    return to;
}

/* ---- what Python calls */

/* An empty model; `vectors` 0 keeps to plain C. NULL where memory is short or the sizes are not for this engine. */
Model *slm_open(const Sizes *sizes, const float *cos, const float *sin, const float *norm, int vectors) {
    Model *m = calloc(1, sizeof(Model));
    if (!m) return NULL;
    m->s = *sizes;
    Sizes *s = &m->s;
    if (s->threads < 1) s->threads = 1;
    if (s->threads > MOST_THREADS) s->threads = MOST_THREADS;
    if (s->head % SPAN || s->hidden % LANES || s->heads % s->shared || s->hidden % GROUP || s->half % GROUP || s->heads * s->head % GROUP) {
        free(m);
        return NULL;
    }
#ifdef X86
    __builtin_cpu_init();
    m->vectors = vectors && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
#endif
    size_t turns = (size_t)s->positions * (s->head / 2), places = ((size_t)s->positions + SPAN - 1) / SPAN * SPAN;
    size_t cache = places * s->shared * s->head * s->slots;
    m->places = (int)places;
    m->layers = calloc(s->layers, sizeof(Layer));
    m->cos = copy(cos, turns);
    m->sin = copy(sin, turns);
    m->norm = copy(norm, s->hidden);
    m->scores = calloc(s->threads * TILE * (places + SPAN), sizeof(float));
    int good = m->layers && m->cos && m->sin && m->norm && m->scores;
    for (int i = 0; good && i < s->layers; i++) {
        m->layers[i].keys = calloc(cache + SPAN, sizeof(float));
        m->layers[i].values = calloc(cache + SPAN, sizeof(float));
        good = m->layers[i].keys && m->layers[i].values;
    }
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    if (!good) return NULL; /* the process is out of memory and ends */
    for (int i = 1; i < s->threads; i++) {
        m->seats[i].model = m;
        m->seats[i].index = i;
        if (pthread_create(&m->workers[i], NULL, work, &m->seats[i])) { s->threads = i; break; }
    }
    return m;
}

int slm_vectors(const Model *m) { return m->vectors; }

/* A layer's matrix: 0 qkv, 1 o, 2 gate_up, 3 down; of layer -1: 0 the output layer, 1 an embedding of its own. */
int slm_matrix(Model *m, int layer, int which, int rows, int width, const int8_t *codes, const float *scales,
               const float *bias) {
    if (layer < 0) {
        Matrix *w = which ? &m->own_table : &m->output;
        if (!which && !m->table) m->table = w;
        if (which) m->table = w;
        return fill(w, rows, width, codes, scales, bias);
    }
    Layer *l = m->layers + layer;
    Matrix *all[] = {&l->qkv, &l->o, &l->gate_up, &l->down};
    return fill(all[which], rows, width, codes, scales, bias);
}

int slm_norms(Model *m, int layer, const float *before, const float *after) {
    m->layers[layer].before = copy(before, m->s.hidden);
    m->layers[layer].after = copy(after, m->s.hidden);
    return m->layers[layer].before && m->layers[layer].after;
}

/* One pass over the tokens of `sequences` parts, each in a slot of its own; the logits of the last `picked` tokens of each,
 * one part behind the other. 0 where a part has no place or a token is none, or memory is short. */
int slm_forward(Model *m, const Part *parts, int sequences, const int32_t *ids, float *logits) {
    int count = 0, picked = 0;
    for (int i = 0; i < sequences; i++) {
        const Part *p = parts + i;
        if (p->slot < 0 || p->slot >= m->s.slots || p->count < 1 || p->at < 0 || p->count > m->s.positions - p->at ||
            p->picked < 1 || p->picked > p->count)
            return 0;
        for (int j = 0; j < i; j++)
            if (parts[j].slot == p->slot) return 0;
        count += p->count;
        picked += p->picked;
    }
    for (int i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= m->s.vocabulary) return 0;
    if (!count || !make_room(m, count)) return 0;
    for (int i = 0, t = 0; i < sequences; i++)
        for (int j = 0; j < parts[i].count; j++, t++) {
            m->slot[t] = parts[i].slot;
            m->place[t] = parts[i].at + j;
        }
    m->ids = ids;
    m->parts = parts;
    m->sequences = sequences;
    m->count = count;
    m->picked = picked;
    m->logits = logits;
    if (m->s.threads > 1) start(m);
    run(m, 0);
    return 1;
}

/* Copy keys and values of a slot's first `length` places out of a layer, or back (`into`): [shared, whole blocks, head] and
 * [shared, length, head]. What lies behind `length` in the last block is written before it is looked at. */
void slm_cache(Model *m, int slot, int layer, int length, float *buffer, int into) {
    const Sizes *s = &m->s;
    Layer *l = m->layers + layer;
    int blocks = (length + LANES - 1) / LANES * LANES;
    for (int part = 0; part < 2; part++)
        for (int k = 0; k < s->shared; k++) {
            float *here = (part ? l->values : l->keys) + cached(m, slot, k);
            size_t count = (size_t)(part ? length : blocks) * s->head;
            memcpy(into ? here : buffer, into ? buffer : here, count * sizeof(float));
            buffer += count;
        }
}

void slm_close(Model *m) {
    m->stop = 1;
    if (m->s.threads > 1) start(m);
    for (int i = 1; i < m->s.threads; i++) pthread_join(m->workers[i], NULL);
    for (int i = 0; i < m->s.layers; i++) {
        Layer *l = m->layers + i;
        Matrix *all[] = {&l->qkv, &l->o, &l->gate_up, &l->down};
        for (int j = 0; j < 4; j++) { free(all[j]->codes); free(all[j]->scales); free(all[j]->bias); }
        free(l->before); free(l->after); free(l->keys); free(l->values);
    }
    Matrix *both[] = {&m->output, &m->own_table};
    for (int j = 0; j < 2; j++) { free(both[j]->codes); free(both[j]->scales); free(both[j]->bias); }
    free(m->layers); free(m->cos); free(m->sin); free(m->norm); free(m->scores);
    free(m->stream); free(m->qkv); free(m->mixed); free(m->wide);
    free(m->in.codes); free(m->in.scales); free(m->in.shift); free(m->slot); free(m->place);
    free(m);
}
